"""Tabular data in: files, by one reader a format, data frames in memory, and queries."""

import contextlib
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, BinaryIO, TypeVar, cast

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import pyarrow as pa

from flows.dates.partitions import Window
from flows.dates.queries import Query
from flows.errors import InputError
from flows.inputs.databases.source import open_query
from flows.inputs.formats.arrow_files import ArrowFiles, open_arrow_files
from flows.inputs.formats.column import Column
from flows.inputs.formats.column_types import Marks, typed
from flows.inputs.formats.frames import UNREADABLE, as_arrow, check_plain
from flows.inputs.formats.json_lines import JsonFiles
from flows.inputs.formats.names import check_names, check_texts, keys_in
from flows.inputs.formats.table import TECHNICAL, Source, Table, reading
from flows.inputs.formats.text_files import Asked, TextFiles, open_text_files
from flows.inputs.places import Place, compression_of, find_source
from flows.inputs.room import NAME_FEWER, Open, check_room, may_not_fit
from flows.messages.limits import shown
from flows.messages.progress import Counted, Steps
from metalearners._typing import Array

__all__ = ["IN_MEMORY", "FileSource", "FrameSource", "Source", "Table", "open_source"]

# The source of a config whose rows are a data frame of the process.
IN_MEMORY = "a data frame in memory"

Files = TypeVar("Files", bound="FileSource")


def open_source(
    source: str,
    asked: Asked | None = None,
    frame: Any = None,
    window: Window | None = None,
    query: Query | None = None,
) -> "Source":
    """The data at a place, or of a data frame: names of columns are read, and no rows yet.

    Of a source or a query that names dates, the window says which rows are read. DuckDB queries
    the source.

    Raises InputError if there is nothing that can be read, or the process may not read there.
    """
    if query is not None:
        rows = partial(open_source, source, asked, frame, window)  # of files
        return open_query(query, asked or Asked(), window, rows)
    if frame is not None:
        return FrameSource(frame, asked or Asked())
    return open_files(source, asked or Asked(), FileSource, window)


def open_files(source: str, asked: Asked, kind: type[Files], window: Window | None = None) -> Files:
    """The files at a place, as one of the sources of files; errors as for `open_source`."""
    if source == IN_MEMORY:
        raise InputError(
            f"data.source: expected a place of data; the config is of a run on {IN_MEMORY}, which "
            "no file has. Name a file with its rows, or call flows.run(config, source=frame)."
        )
    with reading(source):
        place, notes = find_source(source, window)
        opened = kind(source, place, asked, notes)
        opened.names  # noqa: B018 - fails on a file of another format
    return opened


class FileSource(Source):
    """Files of one format, whose rows follow each other."""

    def __init__(self, source: str, place: Place, asked: Asked, notes: Sequence[str]) -> None:
        self._source = source
        self._place = place
        self._asked = asked
        self._of_place = list(notes)
        self._n_rows: list[int] = []  # of the files that were read

    @cached_property
    def names(self) -> list[str]:
        """Names of the columns of all files; those that names of folders give come last."""
        found = [name for names in self._names_by_file.values() for name in names]
        return list(dict.fromkeys([*found, *self._keys]))

    def whole(self) -> Any:
        """All columns; of files that state their types as a data set, which is read in parts."""
        if self._place.format not in ("parquet", "feather") or self._keys:
            return super().whole()
        self._check_each_has(self.names)
        return self._arrow.dataset()

    def _columns(
        self, columns: Sequence[str], labels: Collection[str], types: Mapping[str, str]
    ) -> dict[str, Column]:
        in_files = [
            name for name in columns if any(name in n for n in self._names_by_file.values())
        ]
        self._check_each_has(in_files)
        self._check_stated(in_files)
        if self._place.format == "text":
            found, rows = self._text.read(in_files, labels, types)
        else:
            found, rows = self._read_arrow(in_files, labels, types)
        keys = [name for name in columns if name not in in_files]
        self._n_rows = rows
        return found | self._key_columns(keys, rows, types)

    @cached_property
    def _names_by_file(self) -> dict[str, list[str]]:
        if self._place.format == "text":
            found = self._text.names
        else:
            found = {file: self._schema(file).names for file in self._place.files}
        for file, names in found.items():
            check_names(file, names)
        return found

    def _check_stated(self, columns: Sequence[str]) -> None:
        """Refuse rows beyond memory by what the files state."""
        if self._place.format in ("parquet", "feather") and self._arrow.states_rows:
            check_room(self._source, [self._arrow.least_bytes(columns)])

    def _check_blocks(self, blocks: Callable[[Open], Generator[int]]) -> None:
        """Refuse rows beyond memory by the bytes of their blocks, which are read to be counted."""
        if not self._may_not_fit():
            return
        steps = self._steps("count (MB)")
        is_json = self._place.format == "json lines"
        fewer = "Write them as Parquet and name fewer columns" if is_json else NAME_FEWER
        with contextlib.closing(blocks(lambda file: self._open(file, steps))) as parts:
            check_room(self._source, parts, lambda: steps.share, fewer)

    def _may_not_fit(self) -> bool:
        return may_not_fit(self._sizes, lambda file: compression_of(file) is not None)

    @cached_property
    def _arrow(self) -> ArrowFiles:
        return open_arrow_files(self._place)

    @cached_property
    def _text(self) -> TextFiles:
        return open_text_files(
            self._place.files, self._open, self._asked, self._open_all, self._check_blocks
        )

    @cached_property
    def _sizes(self) -> dict[str, int]:
        """Bytes by file; 0 where a server doesn't say."""
        return {file: self._place.filesystem.size(file) or 0 for file in self._place.files}

    def _steps(self, stage: str = "read (MB)") -> Steps:
        """Counts the bytes of all files."""
        return Steps(stage, sum(self._sizes.values()), unit=1_000_000)

    def _open_all(self) -> Callable[[str], BinaryIO]:
        """Begin to read all files, whose bytes are counted for those who listen."""
        steps = self._steps()
        return lambda file: self._open(file, steps)

    def _open(self, file: str, steps: Steps | None = None) -> BinaryIO:
        stream = self._place.filesystem.open(file, "rb")
        stream = stream if steps is None else Counted(stream, steps)
        kind = compression_of(file)
        return cast(BinaryIO, stream if kind is None else pa.CompressedInputStream(stream, kind))

    def _schema(self, file: str) -> pa.Schema:
        if self._place.format == "json lines":
            return self._json.tables[file].schema
        return self._arrow.schema(file)

    @cached_property
    def _json(self) -> JsonFiles:
        return JsonFiles(self._place.files, self._open, self._check_blocks)

    def _table(
        self, file: str, columns: Sequence[str], kept: Collection[str], steps: Steps
    ) -> pa.Table:
        size = self._sizes[file]
        if self._place.format != "json lines":
            return self._arrow.read(file, columns, lambda share: steps.count(int(share * size)))
        table = self._json.read(file, columns, kept)
        steps.count(size)
        return table

    def _read_arrow(
        self, columns: Sequence[str], labels: Collection[str], types: Mapping[str, str]
    ) -> tuple[dict[str, Column], list[int]]:
        steps = self._steps()
        kept = {*labels, *(name for name, type in types.items() if type == "text")}
        parts = [self._table(file, columns, kept, steps) for file in self._place.files]
        table = pa.concat_tables(parts, promote_options="permissive")
        found = {name: self._asked.of(table[name], name, types.get(name)) for name in columns}
        return found, [part.num_rows for part in parts]

    def _check_each_has(self, columns: Sequence[str]) -> None:
        for file, names in self._names_by_file.items():
            absent = [name for name in columns if name not in names]
            if absent:
                raise InputError(
                    f"Expected the same columns in all files of {self._source}; {file} has no "
                    f"{', '.join(absent)}. Add them or leave the file out."
                )

    @cached_property
    def _keys(self) -> dict[str, list[str | None]]:
        """Values of the folders named key=value, a value a file."""
        by_file = [keys_in(file) for file in self._place.files]
        names = dict.fromkeys(name for keys in by_file for name in keys)
        return {name: [keys.get(name) for keys in by_file] for name in names}

    def _key_columns(
        self, columns: Sequence[str], rows: Sequence[int], types: Mapping[str, str]
    ) -> dict[str, Column]:
        found = {}
        for name in columns:
            texts = pa.chunked_array([pa.array(self._keys[name], pa.string())])
            asked = name in types
            column = (
                self._asked.of(texts, name, types[name]) if asked else typed(texts, labels=True)
            )
            index = pa.array([i for i, n in enumerate(rows) for _ in range(n)], pa.int64())
            found[name] = replace(column, values=column.values.take(index))
        return found

    @property
    def _marks(self) -> Marks | None:
        return self._text.dialect.marks if self._place.format == "text" else None

    @property
    def _begins(self) -> Array | None:
        begins = [self._place.begins[file] for file in self._place.files if self._place.begins]
        return np.repeat(np.array(begins, "datetime64[us]"), self._n_rows) if begins else None

    @property
    def notes(self) -> list[str]:
        """Which partitions have no files, and how a text file is read."""
        if self._place.format != "text" or self._text.dialect.is_plain:
            return self._of_place
        return [*self._of_place, f"{self._source} is read with {self._text.dialect}."]


class FrameSource(Source):
    """A data frame of pandas, polars or pyarrow; only the columns that are read are converted."""

    def __init__(self, frame: Any, asked: Asked) -> None:
        names = frame.column_names if isinstance(frame, pa.Table) else list(frame.columns)
        check_texts(names, IN_MEMORY)
        check_names(IN_MEMORY, names)
        self._source = IN_MEMORY
        self._asked = asked
        found = nw.from_native(frame, eager_only=True)
        self._n_rows = len(found)
        self._values = {name: found[name] for name in names}
        index = getattr(frame, "index", pd.Index([]))
        levels = {name: index.get_level_values(i) for i, name in enumerate(index.names)}
        self._index = {name: level for name, level in levels.items() if isinstance(name, str)}

    @cached_property
    def names(self) -> list[str]:
        """Names of the columns; those that pandas' index has come last."""
        return list(dict.fromkeys([*self._values, *self._index]))

    @property
    def data_names(self) -> list[str]:
        """Names of the columns, without the index."""
        return [name for name in self._values if not TECHNICAL.match(name)]

    def _columns(
        self, columns: Sequence[str], labels: Collection[str], types: Mapping[str, str]
    ) -> dict[str, Column]:
        return {
            name: self._asked.of(values, name, types.get(name))
            for name, values in self._arrays(columns).items()
        }

    def _arrays(self, columns: Sequence[str]) -> dict[str, pa.ChunkedArray]:
        found, faults = {}, []
        for name in columns:
            try:
                found[name] = pa.chunked_array([self._array(name)])
            except UNREADABLE as error:
                faults.append(f"{name!r}: {shown(str(error))}")
        check_plain(faults, IN_MEMORY)
        return found

    def _array(self, name: str) -> pa.Array:
        if name not in self._values:
            return as_arrow(self._index[name].to_series())
        values = self._values[name]
        native = values.to_native()
        return as_arrow(native) if isinstance(native, pd.Series) else values.to_arrow()
