"""Parquet and Feather: files that state their rows and the types of their columns."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.feather
import pyarrow.parquet
from fsspec.implementations.local import LocalFileSystem

from flows.inputs.formats.pieces import Piece
from flows.inputs.places import Place
from flows.inputs.room import least_bytes

_AT_ONCE = 8  # columns of a Parquet file
_ROWS = 1 << 16  # of a Parquet file that are decoded at once, where they are read in pieces
_BUFFER_BYTES = 1 << 20  # of a column that are read at once then


def open_arrow_files(place: Place) -> "ArrowFiles":
    """Files of Parquet or Feather."""
    return ParquetFiles(place) if place.format == "parquet" else FeatherFiles(place)


class ArrowFiles(ABC):
    """Files of one format, each of which states what it holds.

    Parameters
    ----------
    place : Place
        Where they lie.
    """

    def __init__(self, place: Place) -> None:
        self._place = place

    @abstractmethod
    def schema(self, file: str) -> pa.Schema:
        """Names and types of the columns of a file."""

    @abstractmethod
    def rows(self, file: str) -> int:
        """Number of rows of a file."""

    @abstractmethod
    def read(self, file: str, columns: Sequence[str], told: Callable[[float], None]) -> pa.Table:
        """Columns of a file; each share of it is told when it is read."""

    @abstractmethod
    def pieces(self, file: str, columns: Sequence[str]) -> Iterator[Piece]:
        """Columns of a file, some rows at a time."""

    def least_bytes(self, columns: Sequence[str]) -> int:
        """Bytes that columns of all files take in memory at least."""
        least = 0
        for file in self._place.files:
            schema = self.schema(file)
            least += least_bytes(self.rows(file), [schema.field(name).type for name in columns])
        return least

    def dataset(self) -> pa.dataset.Dataset:
        """All files as one, whose rows are read in parts, with the widest type of each column."""
        schemas = [self.schema(file) for file in self._place.files]
        return pa.dataset.dataset(
            list(self._place.files),
            pa.unify_schemas(schemas, promote_options="permissive"),
            format=self._place.format,
            filesystem=self._place.filesystem,
        )

    @property
    def states_rows(self) -> bool:
        """Whether the number of rows is known without reading them."""
        return True

    @property
    def _is_local(self) -> bool:
        return isinstance(self._place.filesystem, LocalFileSystem)

    def _seekable(self, file: str) -> contextlib.AbstractContextManager[Any]:
        if self._is_local:
            return contextlib.nullcontext(file)
        return self._place.filesystem.open(file, "rb")


class ParquetFiles(ArrowFiles):
    """Files of Parquet, each with a footer of its rows and types."""

    def schema(self, file: str) -> pa.Schema:
        """As the footer has it."""
        return self._footers[file].schema.to_arrow_schema()

    def rows(self, file: str) -> int:
        """As the footer has it."""
        return int(self._footers[file].num_rows)

    @cached_property
    def _footers(self) -> dict[str, pa.parquet.FileMetaData]:
        found = {}
        for file in self._place.files:
            with self._seekable(file) as place:
                found[file] = pa.parquet.read_metadata(place)
        return found

    def read(self, file: str, columns: Sequence[str], told: Callable[[float], None]) -> pa.Table:
        """By columns, as parts by rows would have to be put together in memory."""
        begins = range(0, max(len(columns), 1), _AT_ONCE)
        parts = []
        with (
            self._seekable(file) as place,
            pa.parquet.ParquetFile(place, metadata=self._footers[file]) as opened,
        ):
            for begin in begins:
                parts.append(opened.read(list(columns[begin : begin + _AT_ONCE])))
                told(1 / len(begins))
        if len(parts) == 1:
            return parts[0]
        return pa.table({name: part[name] for part in parts for name in part.column_names})

    def pieces(self, file: str, columns: Sequence[str]) -> Iterator[Piece]:
        """By groups of rows, of which a part lies in memory."""
        footer, how = self._footers[file], {"buffer_size": _BUFFER_BYTES, "pre_buffer": False}
        with (
            self._seekable(file) as place,
            pa.parquet.ParquetFile(place, metadata=footer, **how) as opened,
        ):
            for group in range(footer.num_row_groups):
                read = partial(_rows_of, opened, group, list(columns))
                yield Piece(footer.row_group(group).num_rows, read)


def _rows_of(opened: pa.parquet.ParquetFile, group: int, columns: list[str]) -> Iterator[pa.Table]:
    for batch in opened.iter_batches(_ROWS, [group], columns):
        yield pa.Table.from_batches([batch])


class FeatherFiles(ArrowFiles):
    """Files of Feather, each with a footer of its types; a batch of rows states their number."""

    def schema(self, file: str) -> pa.Schema:
        """As the footer has it."""
        return self._schemas[file]

    @cached_property
    def _schemas(self) -> dict[str, pa.Schema]:
        found = {}
        for file in self._place.files:
            with self._seekable(file) as place, pa.ipc.open_file(place) as reader:
                found[file] = reader.schema
        return found

    @property
    def states_rows(self) -> bool:
        """Not those of another machine."""
        return self._is_local

    def rows(self, file: str) -> int:
        """Of all batches of a file on this machine.

        It is mapped, as pyarrow reads a file whole to count its rows.
        """
        with pa.memory_map(file) as opened, pa.ipc.open_file(opened) as reader:
            return int(reader.count_rows())

    def read(self, file: str, columns: Sequence[str], told: Callable[[float], None]) -> pa.Table:
        """All at once."""
        with self._seekable(file) as place:
            table = pa.feather.read_table(place, list(columns))
        told(1.0)
        return table

    def pieces(self, file: str, columns: Sequence[str]) -> Iterator[Piece]:
        """By batches of rows, as the file has them."""
        fields = [self.schema(file).get_field_index(name) for name in columns]
        options = pa.ipc.IpcReadOptions(included_fields=fields)
        with (
            self._seekable(file) as place,
            pa.ipc.open_file(place, options=options) as reader,
        ):
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                rows = pa.Table.from_batches([batch]).select(list(columns))
                yield Piece(batch.num_rows, lambda rows=rows: [rows])  # type: ignore[misc]
