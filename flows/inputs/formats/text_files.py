"""Delimited text, such as CSV: its dialect is sniffed, its columns are read in their types.

pyarrow's reader does the work. Types are taken from the beginning of the first file, and all rows
are read with them. Columns of labels, which must stay as they are written, are read as text, and so
is every column if a later row has another type. What was read as text gets its type from all rows.
"""

import contextlib
import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.csv

from flows.errors import InputError
from flows.inputs.formats.column import Column
from flows.inputs.formats.column_types import (
    POINT,
    Marks,
    marks_of,
    retyped,
    typed,
    without_marks,
)
from flows.inputs.formats.pieces import Piece
from flows.inputs.room import Check, Open

_HEAD_BYTES = 1 << 20
_BLOCK_BYTES = 1 << 24
_SEPARATORS = (",", ";", "\t", "|")
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_DECLARED = re.compile('"?sep=(.)"?\r?\n')  # Excel reads and writes such a first line
_HEADER_LINES = 20  # names of columns may hold line ends
_WINDOWS = "cp1252"  # of bytes that are no UTF-8: it has the letters of Latin-1


@dataclass(frozen=True)
class Habits:
    """How files were written that were read before: it holds where new ones leave it open.

    Parameters
    ----------
    marks : Marks or None
        Of numbers.
    orders : dict
        ``day first`` or ``month first``, by column of dates.
    """

    marks: Marks | None = None
    orders: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {"marks": None if self.marks is None else vars(self.marks), "orders": self.orders}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Habits":
        """What `to_json` gave; of a model that knows none, nothing."""
        marks = values.get("marks")
        return cls(None if marks is None else Marks(**marks), values.get("orders", {}))


@dataclass(frozen=True)
class Asked:
    """What a config says of how data are read; None for what is to be sniffed."""

    separator: str | None = None
    encoding: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    missing: Sequence[str] = ()
    types: Mapping[str, str] = field(default_factory=dict)
    dates: Sequence[str] = ()
    usual: Habits = Habits()

    @property
    def of_columns(self) -> dict[str, str]:
        """``text``, ``number`` or ``date``, by column."""
        return {**self.types, **dict.fromkeys(self.dates, "date")}

    def of(self, values: pa.ChunkedArray, name: str, type: str | None) -> Column:
        """A column that has a type already, in the one that is asked for."""
        values = without_marks(values, self.missing)
        return retyped(values, type, self.marks(POINT), self.usual.orders.get(name, ""))

    def marks(self, sniffed: Marks) -> Marks:
        """How numbers are written: as is asked for, and else as sniffed."""
        decimal, thousands = self.decimal or sniffed.decimal, sniffed.thousands
        if self.thousands is not None:
            thousands = self.thousands
        if decimal == thousands and self.decimal is None:
            decimal = "," if thousands == "." else "."
        elif decimal == thousands:
            thousands = ""
        return Marks(decimal, thousands)


@dataclass(frozen=True)
class Dialect:
    """How a text file is written.

    Parameters
    ----------
    separator : str
        Between the fields of a row.
    encoding : str
        Of its bytes.
    marks : Marks
        Of its numbers.
    missing : sequence of str
        Fields that are missing values, as empty ones are.
    skipped : int
        Lines before the names of columns: one, where it says the separator for Excel.
    """

    separator: str = ","
    encoding: str = "utf-8"
    marks: Marks = POINT
    missing: Sequence[str] = ()
    skipped: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether it is what a reader of CSV expects."""
        return self == Dialect(self.separator, missing=self.missing) and self.separator in ",\t"

    def __str__(self) -> str:
        parts = {"separator": self.separator, "encoding": self.encoding, **vars(self.marks)}
        return ", ".join(f"{name} {value!r}" for name, value in parts.items() if value)


@dataclass(frozen=True)
class TextFiles:
    """Files of one dialect whose rows follow each other.

    Parameters
    ----------
    open : callable
        Opens one of them for reading bytes.
    open_all : callable
        Begins to read all of them: returns what opens one.
    dialect : Dialect
        How they are written.
    names : dict
        Names of the columns by file.
    asked : Asked
        What the config says of them.
    check : callable
        Refuses rows beyond memory.
    """

    open: Open
    open_all: Callable[[], Open]
    dialect: Dialect
    names: dict[str, list[str]]
    asked: Asked
    check: Check

    def read(
        self,
        columns: Sequence[str],
        labels: Collection[str] = (),
        types: Mapping[str, str] | None = None,
    ) -> tuple[dict[str, Column], list[int]]:
        """Columns of all rows, each in one type, and the number of rows of each file.

        Parameters
        ----------
        columns : sequence of str
            Their names.
        labels : collection of str
            Columns whose fields are labels, which are kept as they are written.
        types : mapping
            ``text``, ``number`` or ``date``, by column that is one, whatever it looks like.
        """
        types = types or {}
        kept = {*labels, *types}
        of_head = {n: type for n, type in self._types_of_head(columns).items() if n not in kept}
        try:
            parts = self._read(columns, of_head, in_threads=True)
        except pa.ArrowInvalid:  # a later row has another type, or the bytes aren't what they seem
            parts = self._read_as_texts(columns)
        table = pa.concat_tables(parts)
        found = {
            name: self._asked(name, table[name], types[name])
            if name in types
            else self._typed(table[name], name in labels)
            for name in columns
        }
        return found, [part.num_rows for part in parts]

    def pieces(self, file: str, columns: Sequence[str], open: Open) -> Iterator[Piece]:
        """Columns of a file as texts, some rows at a time; `open` opens it, as it may count."""
        how = _how(self.dialect, columns, {}, _BLOCK_BYTES)
        with self._told_of_encoding(), open(file) as stream:
            for block in pyarrow.csv.open_csv(stream, **how):
                rows = pa.Table.from_batches([block])
                yield Piece(block.num_rows, lambda rows=rows: [rows])  # type: ignore[misc]

    def _read_as_texts(self, columns: Sequence[str]) -> list[pa.Table]:
        with self._told_of_encoding():
            return self._read(columns, {}, in_threads=False)  # so that messages name the row

    @contextlib.contextmanager
    def _told_of_encoding(self) -> Iterator[None]:
        try:
            yield
        except pa.ArrowInvalid as error:
            if "UTF8" not in str(error):
                raise
            raise InputError(
                f"data.read.encoding: expected {self.dialect.encoding} in all rows of "
                f"{next(iter(self.names))} and the files beside it, as at their beginning; found "
                "other bytes. Name the encoding, such as cp1252."
            ) from None

    def _asked(self, name: str, values: pa.ChunkedArray, type: str) -> Column:
        order = self.asked.usual.orders.get(name, "")
        return self._complete(retyped(values, type, self.dialect.marks, order))

    def _complete(self, column: Column) -> Column:
        """A column without numbers that a mark of a missing value means, such as -9.0 for -9."""
        return replace(column, values=without_marks(column.values, self.asked.missing))

    def _typed(self, values: pa.ChunkedArray, is_label: bool) -> Column:
        if not pa.types.is_string(values.type):
            return self._complete(Column(values))
        return self._complete(typed(values, POINT if is_label else self.dialect.marks, is_label))

    def _types_of_head(self, columns: Sequence[str]) -> dict[str, pa.DataType]:
        try:
            head = self._first_rows(columns, _HEAD_BYTES)
        except pa.ArrowInvalid:  # a row may be longer
            head = self._first_rows(columns, _BLOCK_BYTES)
        types = {n: self._typed(head[n], is_label=False).values.type for n in columns}
        # pyarrow's own conversion knows no mark between thousands, and takes 007 for 7.
        grouped = bool(self.dialect.marks.thousands)
        apart = (pa.types.is_floating, pa.types.is_integer) if grouped else (pa.types.is_integer,)
        return {n: t for n, t in types.items() if not any(is_kind(t) for is_kind in apart)}

    def _first_rows(self, columns: Sequence[str], n_bytes: int) -> pa.Table:
        """Whole rows of the beginning of the first file, as texts."""
        with self.open(next(iter(self.names))) as stream:
            # By what follows the first block, pyarrow knows where its last row ends.
            beginning = io.BytesIO(stream.read(2 * n_bytes))
        how = _how(self.dialect, columns, {}, n_bytes)
        with pyarrow.csv.open_csv(beginning, **how) as blocks:
            return pa.Table.from_batches(islice(blocks, 1), blocks.schema)

    def _read(
        self, columns: Sequence[str], types: dict[str, pa.DataType], in_threads: bool
    ) -> list[pa.Table]:
        # Threads would hold a block each while rows are counted.
        self.check(partial(self._sizes, _how(self.dialect, columns, types, _BLOCK_BYTES)))
        how = _how(self.dialect, columns, types, _BLOCK_BYTES, in_threads)
        parts, open_next = [], self.open_all()
        for file in self.names:
            with open_next(file) as stream:
                parts.append(pyarrow.csv.read_csv(stream, **how))
        return parts

    def _sizes(self, how: Mapping[str, Any], open: Open) -> Generator[int]:
        """Bytes that blocks of rows take as they are read; none is kept."""
        for file in self.names:
            with open(file) as stream, pyarrow.csv.open_csv(stream, **how) as blocks:
                for block in blocks:
                    yield block.nbytes


def open_text_files(
    files: Sequence[str],
    open: Open,
    asked: Asked | None = None,
    open_all: Callable[[], Open] | None = None,
    check: Check = lambda sizes: None,
) -> TextFiles:
    """Text files; what isn't asked for is sniffed from the beginning of the first with rows."""
    asked = asked or Asked()
    first, heads, encodings = b"", {}, set()
    for file in files:
        head = _head_of(open, file, asked.encoding)
        encodings.add(asked.encoding or _encoding_of(head))
        first = first if first.count(b"\n") > 1 else head
        heads[file] = b"".join(head.splitlines(keepends=True)[:_HEADER_LINES])
    # A part whose beginning has no other letters is UTF-8 and Windows-1252 both.
    encoding = _WINDOWS if _WINDOWS in encodings else None
    dialect = dialect_of(first, replace(asked, encoding=asked.encoding or encoding))
    names = {file: _names(head, dialect) for file, head in heads.items()}
    return TextFiles(open, open_all or (lambda: open), dialect, names, asked, check)


def _names(head: bytes, dialect: Dialect) -> list[str]:
    rows = csv.reader(_decoded(head, dialect.encoding), delimiter=dialect.separator)
    return next(islice(rows, dialect.skipped, None), [])


def dialect_of(head: bytes, asked: Asked) -> Dialect:
    """The dialect of a file by its beginning."""
    encoding = asked.encoding or _encoding_of(head)
    text = _decoded(head, encoding).read()
    declared = _DECLARED.match(text)
    text = text[declared.end() :] if declared else text
    separator = asked.separator or (declared[1] if declared else _separator_of(text))
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=separator) if row]
    width = len(rows[0]) if rows else 0
    columns = zip(*(row for row in rows[1:] if len(row) == width), strict=True)
    fields = [pa.chunked_array([pa.array([f for f in column if f])]) for column in columns]
    sniffed = marks_of([f for f in fields if len(f)], separator == ";", asked.usual.marks)
    skipped = int(declared is not None)
    return Dialect(separator, encoding, asked.marks(sniffed), asked.missing, skipped)


def _encoding_of(head: bytes) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return encoding
    try:
        head.decode()
    except UnicodeDecodeError:
        return _WINDOWS
    return "utf-8"


def _separator_of(text: str) -> str:
    """The separator that gives most rows the same number of fields, and more than one."""

    def score(separator: str) -> tuple[float, int]:
        widths = [len(row) for row in csv.reader(io.StringIO(text), delimiter=separator) if row]
        if not widths:
            return 0.0, 0
        width, rows = Counter(widths).most_common(1)[0]
        return (rows / len(widths), width) if width > 1 else (0.0, 1)

    return max(_SEPARATORS, key=score)


def _head_of(open: Open, file: str, encoding: str | None) -> bytes:
    """The beginning of a file, without a line that may be cut."""
    with open(file) as stream:
        head = stream.read(_HEAD_BYTES)
    if len(head) < _HEAD_BYTES:
        return head
    encoding = encoding or _encoding_of(head)
    if not encoding.replace("-", "").lower().startswith(("utf16", "utf32")):
        return head[: head.rfind(b"\n") + 1]
    text = head.decode(encoding, errors="replace")  # letters have more bytes than one
    return text[: text.rfind("\n") + 1].encode(encoding)


def _decoded(head: bytes, encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(head), encoding, errors="replace", newline="")


def _how(
    dialect: Dialect,
    columns: Sequence[str],
    types: Mapping[str, pa.DataType],
    block_bytes: int,
    in_threads: bool = False,
) -> dict[str, Any]:
    """How pyarrow reads columns, those without a type as texts."""
    return {
        "read_options": pyarrow.csv.ReadOptions(
            use_threads=in_threads,
            block_size=block_bytes,
            encoding=dialect.encoding,
            skip_rows=dialect.skipped,
        ),
        "parse_options": pyarrow.csv.ParseOptions(
            delimiter=dialect.separator, newlines_in_values=True
        ),
        "convert_options": pyarrow.csv.ConvertOptions(
            include_columns=list(columns),
            column_types={name: types.get(name, pa.string()) for name in columns},
            null_values=["", *dialect.missing],
            strings_can_be_null=True,
            true_values=["true", "True", "TRUE"],
            false_values=["false", "False", "FALSE"],
            decimal_point=dialect.marks.decimal,
        ),
    }
