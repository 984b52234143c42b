"""Sources whose rows are read in batches: memory holds some of them at a time."""

import json
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from hashlib import sha256
from typing import Any

import pandas as pd
import pyarrow as pa

from flows.errors import InputError
from flows.inputs.batches.columns import LABEL, ColumnReader, Writing
from flows.inputs.formats.column import Column
from flows.inputs.formats.column_types import POINT
from flows.inputs.formats.frames import as_frame
from flows.inputs.formats.json_blocks import JsonBlocks
from flows.inputs.formats.pieces import Batch, Piece, in_batches
from flows.inputs.formats.table import Source, reading
from flows.inputs.formats.text_files import Asked
from flows.inputs.source import FileSource, FrameSource, open_files
from flows.messages.progress import Steps

# Names that file systems have for what changes when a file does. None is of its last reading.
_MARKS = (
    *("mtime", "created", "modified", "modify", "last_modified", "LastModified", "Last-Modified"),
    *("ETag", "etag", "CRC", "Content-MD5", "Digest"),
)


@dataclass(frozen=True)
class RowBatch:
    """Some rows of a source, which follow each other.

    Parameters
    ----------
    number : int
        Of the batch, from 0.
    begin : int
        How many rows of the source are before it.
    rows : int
        How many rows it has.
    is_all : bool
        Whether the source has no other rows.
    columns : dict of Column
        By name; empty where the batch was passed over.
    """

    number: int
    begin: int
    rows: int
    is_all: bool
    columns: Mapping[str, Column]

    @property
    def where(self) -> str:
        """Which rows they are, as the beginning of a message; empty if they are all rows."""
        return "" if self.is_all else f"Rows {self.begin + 1:,} to {self.begin + self.rows:,}: "

    @property
    def digest(self) -> str:
        """What tells whether other rows are the same, read alike."""
        read = {name: (c.note, dict(c.missing)) for name, c in self.columns.items()}
        found = sha256(json.dumps([self.begin, read]).encode())
        table = pa.table({name: column.values for name, column in self.columns.items()})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table.combine_chunks())
        found.update(sink.getvalue())
        return found.hexdigest()

    def frame(self, labels: Collection[str], source: str) -> pd.DataFrame:
        """The rows in pandas; an InputError if a column has no type there."""
        return as_frame({n: column.values for n, column in self.columns.items()}, labels, source)


class Batches(Source):
    """Rows of columns that are read in batches."""

    def batches(
        self,
        kinds: Mapping[str, str],
        size: int,
        is_wanted: Callable[[int], bool] = lambda number: True,
        stage: str = "read",
    ) -> Iterator[RowBatch]:
        """All batches in their order, each with its columns in the types that all rows have.

        Parameters
        ----------
        kinds : mapping
            ``text``, ``number``, ``date`` or `LABEL`, by the name of a column.
        size : int
            Rows of a batch; the last may have fewer.
        is_wanted : callable
            Whether the batch of a number is read; others are passed over.
        stage : str
            What those who listen hear of, as batches are taken.

        Raises
        ------
        InputError
            If they can't be read.
        """
        with reading(self._source):
            readers = self._readers(kinds)
            # Made here, as a thread that takes the batches has no listeners.
            steps = self._progress(stage)
            batches = in_batches(self._pieces(kinds, steps), size, is_wanted)
        return self._read_by(readers, batches, steps)

    def _readers(self, kinds: Mapping[str, str]) -> dict[str, ColumnReader]:
        """What reads each column, after a look at all rows of those that need one."""
        types = self._types(kinds)
        readers = {n: ColumnReader(kind, types[n], self._writing(n)) for n, kind in kinds.items()}
        needed = {name: reader for name, reader in readers.items() if reader.needs_all_rows}
        if needed:
            self._show(needed, {name: kinds[name] for name in needed})
        self._check({name: reader.fault for name, reader in needed.items()})
        return readers

    def _show(self, readers: Mapping[str, ColumnReader], kinds: Mapping[str, str]) -> None:
        """Show all rows of some columns to their readers."""
        steps = self._progress("read")
        for piece in self._pieces(kinds, steps):
            for table in piece.read():
                for name, reader in readers.items():
                    reader.see(table[name])
            self._count(steps, piece.rows)

    def _read_by(
        self, readers: Mapping[str, ColumnReader], batches: Iterator[Batch], steps: Steps
    ) -> Iterator[RowBatch]:
        with reading(self._source):
            for batch in batches:
                table = batch.table
                found = {} if table is None else {n: r.read(table[n]) for n, r in readers.items()}
                read = RowBatch(batch.number, batch.begin, batch.rows, batch.is_all, found)
                self._check({name: column.fault for name, column in found.items()}, read.where)
                yield read
                self._count(steps, batch.rows)

    def _check(self, faults: Mapping[str, str], where: str = "") -> None:
        told = "; ".join(f"{name!r}: {fault}" for name, fault in faults.items() if fault)
        if told:
            raise InputError(
                f"{where}Expected numbers, or dates, in columns of {self._source} that have such "
                f"in the model; found other fields in {told}. Where such a field is a missing "
                "value, leave it empty."
            )

    def _writing(self, name: str) -> Writing:
        asked = self._asked
        return Writing(asked.marks(POINT), asked.missing, asked.usual.orders.get(name, ""), False)

    def _count(self, steps: Steps, rows: int) -> None:
        steps.count(rows)

    @property
    @abstractmethod
    def identity(self) -> dict[str, dict[str, str]]:
        """What changes when the rows do, by file."""

    @abstractmethod
    def _types(self, kinds: Mapping[str, str]) -> dict[str, pa.DataType]:
        """Types of columns in all pieces, by name."""

    @abstractmethod
    def _progress(self, stage: str) -> Steps:
        """Counts what is read, for those who listen."""

    @abstractmethod
    def _pieces(self, kinds: Mapping[str, str], steps: Steps) -> Iterator[Piece]:
        """Columns of all rows, labels and texts as they are written."""


def _kept(kinds: Mapping[str, str]) -> set[str]:
    """Columns whose values are read as they are written."""
    return {name for name, kind in kinds.items() if kind in (LABEL, "text")}


class FrameBatches(Batches, FrameSource):
    """A data frame in memory."""

    @property
    def identity(self) -> dict[str, dict[str, str]]:
        """Nothing: rows in memory have no place where they may change."""
        return {}

    def _types(self, kinds: Mapping[str, str]) -> dict[str, pa.DataType]:
        return {name: values.type for name, values in self._arrays(list(kinds)).items()}

    def _progress(self, stage: str) -> Steps:
        return Steps(stage, self._n_rows)

    def _pieces(self, kinds: Mapping[str, str], steps: Steps) -> Iterator[Piece]:
        rows = pa.table(self._arrays(list(kinds)))
        yield Piece(rows.num_rows, lambda: [rows])


class FileBatches(Batches, FileSource):
    """Files of one format, whose rows follow each other."""

    @property
    def identity(self) -> dict[str, dict[str, str]]:
        """The size of each file, and what else its file system says that changes with it."""
        with reading(self._source):
            self._place.filesystem.invalidate_cache()
            infos = {file: self._place.filesystem.info(file) for file in self._place.files}
        return {
            file: {name: str(info[name]) for name in ("size", *_MARKS) if info.get(name)}
            for file, info in infos.items()
        }

    def _types(self, kinds: Mapping[str, str]) -> dict[str, pa.DataType]:
        in_files = self._in_files(kinds)
        self._check_each_has(in_files)
        types = {field.name: field.type for field in self._common(in_files, _kept(kinds))}
        return types | {name: key.values.type for name, key in self._keys_of(kinds).items()}

    def _pieces(self, kinds: Mapping[str, str], steps: Steps) -> Iterator[Piece]:
        # Some column of the files is read, as others would be where none is named.
        in_files = self._in_files(kinds) or next(iter(self._names_by_file.values()))[:1]
        kept, keys = _kept(kinds), self._keys_of(kinds)
        common = self._common(in_files, kept)
        for i, file in enumerate(self._place.files):
            of_file = {name: column.values[i] for name, column in keys.items()}
            for piece in self._pieces_of(file, in_files, kept, steps):
                yield Piece(piece.rows, partial(_completed, piece, common, of_file))

    def _pieces_of(
        self, file: str, columns: Sequence[str], kept: Collection[str], steps: Steps
    ) -> Iterator[Piece]:
        if self._place.format == "text":
            return self._text.pieces(file, columns, lambda file: self._open(file, steps))
        if self._place.format == "json lines":
            return self._blocks.pieces(file, columns, kept, lambda file: self._open(file, steps))
        return self._arrow.pieces(file, columns)

    def _common(self, columns: Sequence[str], kept: Collection[str]) -> pa.Schema:
        """Types of columns that go with those of all files."""
        schemas = [self._types_in(file, columns, kept) for file in self._place.files]
        return pa.unify_schemas(schemas, promote_options="permissive")

    def _types_in(self, file: str, columns: Sequence[str], kept: Collection[str]) -> pa.Schema:
        if self._place.format == "text":
            return pa.schema(dict.fromkeys(columns, pa.string()))
        is_json = self._place.format == "json lines"
        schema = self._blocks.schema(file, kept) if is_json else self._arrow.schema(file)
        return pa.schema({name: schema.field(name).type for name in columns})

    def _in_files(self, columns: Iterable[str]) -> list[str]:
        return [n for n in columns if any(n in names for names in self._names_by_file.values())]

    def _keys_of(self, kinds: Mapping[str, str]) -> dict[str, Column]:
        """Columns that names of folders give, with a value for each file."""
        in_files = self._in_files(kinds)
        keys = [name for name in kinds if name not in in_files]
        types = {name: kind for name, kind in kinds.items() if kind != LABEL}
        return self._key_columns(keys, [1] * len(self._place.files), types)

    @cached_property
    def _blocks(self) -> JsonBlocks:
        return JsonBlocks(self._place.files, self._open_all())

    def _schema(self, file: str) -> pa.Schema:
        is_json = self._place.format == "json lines"
        return self._blocks.schema(file) if is_json else super()._schema(file)

    def _writing(self, name: str) -> Writing:
        plain = super()._writing(name)
        if name not in self._in_files([name]):
            return replace(plain, missing=())
        if self._place.format != "text":
            return plain
        return replace(plain, marks=self._text.dialect.marks, is_text_file=True)

    @property
    def _counts_rows(self) -> bool:
        return self._place.format in ("parquet", "feather")

    def _progress(self, stage: str) -> Steps:
        if not self._counts_rows:
            return self._steps(stage)  # in megabytes
        stated = self._arrow.states_rows
        return Steps(stage, sum(map(self._arrow.rows, self._place.files)) if stated else 0)

    def _count(self, steps: Steps, rows: int) -> None:
        if self._counts_rows:  # else the bytes are, as they are read
            steps.count(rows)


def _completed(
    piece: Piece, common: pa.Schema, keys: Mapping[str, pa.Scalar]
) -> Iterator[pa.Table]:
    """Rows of a file in the types of all files, with what the names of its folders say."""
    for table in piece.read():
        rows = table.select(common.names)
        if rows.schema.types != common.types:
            rows = pa.concat_tables([common.empty_table(), rows], promote_options="permissive")
        for name, value in keys.items():
            rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
        yield rows


def open_batches(source: str, asked: Asked, frame: Any = None) -> Batches:
    """The data at a place, or of a data frame, to be read in batches; as `open_source`."""
    return open_files(source, asked, FileBatches) if frame is None else FrameBatches(frame, asked)
