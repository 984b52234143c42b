"""JSON lines: labels are read as they are written, which pyarrow's guesses at types don't keep."""

import contextlib
import io
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from functools import cached_property
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from flows.errors import InputError
from flows.inputs.room import Check, Open
from flows.messages.limits import shown

_BLOCK_BYTES = 1 << 24
DIGITS = pa.decimal128(38, 0)
LARGEST_INTEGER = 2**53  # of a float that has each digit


class JsonFiles:
    """Files of JSON lines, each parsed once: any of their rows may have another column.

    Parameters
    ----------
    files : sequence of str
        The files.
    open : callable
        Opens one of them for reading bytes.
    check : callable
        Refuses rows beyond memory.
    """

    def __init__(self, files: Sequence[str], open: Open, check: Check) -> None:
        self._files = files
        self._open = open
        self._check = check

    @cached_property
    def tables(self) -> dict[str, pa.Table]:
        """All columns by file, in the types that pyarrow guesses."""
        self._check(self._sizes)
        return {file: self._parsed(file, {}) for file in self._files}

    def _sizes(self, open: Open) -> Generator[int]:
        """Bytes that blocks of rows take. Each has types of its own, none larger than in all."""
        with contextlib.suppress(pa.ArrowInvalid):  # who reads them all says better what is wrong
            for file in self._files:
                with open(file) as stream:
                    for lines in lines_of(stream):
                        yield pa.json.read_json(io.BytesIO(lines)).nbytes

    def read(self, file: str, columns: Sequence[str], kept: Collection[str]) -> pa.Table:
        """Columns of a file, those in `kept` as they are written.

        Raises InputError if one has numbers that can't be kept.
        """
        table = self.tables[file].select(list(columns))
        types = {
            name: type
            for name in columns
            if name in kept and (type := self._type_to_keep(table, name)) is not None
        }
        if not types:
            return table
        again = self._kept(file, types)
        for name in types:
            i = table.column_names.index(name)
            table = table.set_column(i, name, pc.cast(again[name], pa.string()))
        return table

    def _type_to_keep(self, table: pa.Table, name: str) -> pa.DataType | None:
        """The type in which a column loses nothing; None where its own type is one."""
        type = table.schema.field(name).type
        if pa.types.is_timestamp(type):
            return pa.string()
        is_number = pa.types.is_integer(type) or pa.types.is_floating(type)
        return DIGITS if is_number and name in self._long else None

    @cached_property
    def _long(self) -> set[str]:
        """Columns whose numbers, in one file or more, have more digits than they were read with."""
        return {
            name
            for table in self.tables.values()
            for name, values in zip(table.column_names, table.columns, strict=True)
            if pa.types.is_floating(values.type)
            and pc.any(pc.greater(pc.abs(values), LARGEST_INTEGER)).as_py()
        }

    def _kept(self, file: str, types: Mapping[str, pa.DataType]) -> pa.Table:
        with told_of_labels(file, [name for name in types if name in self._long]):
            return self._parsed(file, types)

    def _parsed(self, file: str, types: Mapping[str, pa.DataType]) -> pa.Table:
        options = pa.json.ParseOptions(
            explicit_schema=pa.schema(types) if types else None,
            unexpected_field_behavior="ignore" if types else "infer",
        )
        with self._open(file) as stream:
            return pa.json.read_json(stream, parse_options=options)


@contextlib.contextmanager
def told_of_labels(file: str, long: Sequence[str]) -> Iterator[None]:
    """Refuse what pyarrow can't read of columns of labels with many digits."""
    try:
        yield
    except pa.ArrowInvalid as error:
        if not long:
            raise
        raise InputError(
            f"Expected labels as texts, or as whole numbers of up to 38 digits, in {long} of "
            f"{file}; found others ({shown(str(error))}). Write them as texts, in quotes."
        ) from None


def lines_of(stream: BinaryIO) -> Iterator[bytes]:
    """Whole lines, some at a time; nothing after a line that is longer."""
    rest = b""
    while part := stream.read(_BLOCK_BYTES):
        lines, end, rest = (rest + part).rpartition(b"\n")
        if not end and len(rest) > _BLOCK_BYTES:
            yield rest  # a part of a line that nobody can read
            return
        if lines.strip():
            yield lines
    if rest.strip():
        yield rest
