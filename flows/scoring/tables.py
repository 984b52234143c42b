"""Tables of scores in databases: each is written in one transaction, so that it appears whole.

A mark, which is kept with the table itself, says of which rows its scores are. Only a table with
the same mark is replaced: others' tables, and scores of other rows, stay.
"""

import contextlib
import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc

from flows.config.files import check_file
from flows.dates.queries import DatabaseTable, quoted
from flows.errors import InputError
from flows.inputs.databases.database import WAIT, said
from flows.inputs.databases.passwords import password_of
from flows.messages.limits import shown

_ROWS = 10_000  # that are values of Python at a time
_MOST_BYTES = 63  # of a name in PostgreSQL, which would cut longer ones
# Reads the first column of all rows, some at a time.
Identities = Callable[[], Iterable[pa.ChunkedArray]]
# Types that both databases know by these names, and that are read as the same ones again.
_TYPES = {
    pa.bool_(): "BOOLEAN",
    pa.int8(): "SMALLINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.uint8(): "SMALLINT",
    pa.uint16(): "INTEGER",
    pa.uint32(): "BIGINT",
    pa.uint64(): "DECIMAL(20, 0)",
    pa.float32(): "REAL",
    pa.float64(): "DOUBLE PRECISION",
    pa.string(): "TEXT",
    pa.large_string(): "TEXT",
    pa.date32(): "DATE",
}


class _Database(ABC):
    """A database in a transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def run(self, statement: str) -> None:
        """Execute a statement."""
        self._connection.execute(statement)

    @abstractmethod
    def mark(self, table: DatabaseTable) -> str | None:
        """The mark of a table, empty where it has none; None if nothing has the table's name."""

    @abstractmethod
    def columns(self, name: str) -> list[Any]:
        """What tells whether tables have the same columns."""

    @abstractmethod
    def create(self, name: str, columns: Sequence[str], mark: str) -> None:
        """Create a table with a mark."""

    def empty(self, name: str, where: str) -> None:
        """Delete rows of a table, which no other process writes until the transaction's end."""
        self.run(f"DELETE FROM {name} {where}")

    @abstractmethod
    def insert(self, name: str, width: int, rows: Iterable[Sequence[Any]]) -> None:
        """Add rows to a table."""


class _PostgreSql(_Database):
    """PostgreSQL keeps a comment with each table: the mark."""

    def mark(self, table: DatabaseTable) -> str | None:
        asked = "SELECT c, obj_description(c, 'pg_class') FROM to_regclass(%s) AS found(c)"
        found, comment = self._connection.execute(asked, [table.sql]).fetchone()
        return None if found is None else comment or ""

    def columns(self, name: str) -> list[Any]:
        asked = (
            "SELECT attname, atttypid, atttypmod FROM pg_attribute WHERE attrelid = to_regclass(%s)"
            " AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        )
        return list(self._connection.execute(asked, [name]).fetchall())

    def create(self, name: str, columns: Sequence[str], mark: str) -> None:
        self.run(f"CREATE TABLE {name} ({', '.join(columns)})")
        self.run(f"COMMENT ON TABLE {name} IS {_literal(mark)}")

    def empty(self, name: str, where: str) -> None:
        # Else two processes may each delete what is there, and both add rows.
        self.run(f"LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE")
        super().empty(name, where)

    def insert(self, name: str, width: int, rows: Iterable[Sequence[Any]]) -> None:
        with self._connection.cursor().copy(f"COPY {name} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)


class _Sqlite(_Database):
    """SQLite keeps the text that created a table: the mark is a comment in it."""

    def mark(self, table: DatabaseTable) -> str | None:
        asked = "SELECT sql FROM sqlite_master WHERE name = ? COLLATE NOCASE"
        found = self._connection.execute(asked, [table.name]).fetchone()
        if found is None:
            return None
        comment = re.search(r"\(/\* (.*?) \*/", found[0] or "", re.DOTALL)
        return comment[1] if comment else ""

    def columns(self, name: str) -> list[Any]:
        return list(self._connection.execute(f"PRAGMA table_info({name})").fetchall())

    def create(self, name: str, columns: Sequence[str], mark: str) -> None:
        self.run(f"CREATE TABLE {name} (/* {mark} */ {', '.join(columns)})")

    def insert(self, name: str, width: int, rows: Iterable[Sequence[Any]]) -> None:
        places = ", ".join("?" * width)
        plain = (tuple(map(_for_sqlite, row)) for row in rows)
        self._connection.executemany(f"INSERT INTO {name} VALUES ({places})", plain)


def check_table(table: DatabaseTable, mark: str) -> None:
    """Prove that a table can be written, by one that isn't kept.

    Raises InputError if it can't, or the table has something else.
    """
    if table.file is not None:
        check_file(table.file, "--output")
    with _trying(table) as database:
        _is_ours(database, table, mark)
        database.create(_staging(table), ['"row" BIGINT'], _comment(mark))


def check_columns(
    table: DatabaseTable, mark: str, schema: pa.Schema, identities: Identities
) -> None:
    """Prove that a table can have some columns; an InputError if it can't."""
    long = [name for name in schema.names if len(name.encode()) > _MOST_BYTES]
    if long and table.file is None:
        raise InputError(
            f"--output: expected columns whose names have at most {_MOST_BYTES} bytes, as "
            f"PostgreSQL has them; found {shown(repr(long[0]))}. Write a file."
        )
    with _trying(table) as database:
        _put(database, table, mark, _plain(schema, table), (), "WHERE 1 = 0")
    _check_moments(schema.field(0), identities)


def _check_moments(field: pa.Field, identities: Identities) -> None:
    """Refuse times that a database would cut: it has millionths of a second."""
    if not pa.types.is_timestamp(field.type) or field.type.unit != "ns":
        return
    for moments in identities():
        finer = moments.filter(pc.not_equal(pc.nanosecond(moments), 0))
        if len(finer):
            raise InputError(
                "--output: expected times in whole millionths of a second, as databases have them; "
                f"found {finer[0]} in {shown(repr(field.name))}. Round them, or write a file."
            )


def write_table(table: DatabaseTable, mark: str, rows: pa.ipc.RecordBatchFileReader) -> None:
    """Write rows to a table, in place of one with the same mark.

    Raises InputError if the table has something else by now, or a column has a type that tables
    haven't; OSError if the database can't write it.
    """
    schema = _plain(rows.schema, table)
    try:
        with _transaction(table) as database:
            _put(database, table, mark, schema, _values(rows, schema))
    except InputError:
        raise
    except Exception as error:
        raise OSError(f"{table} isn't written: the database says: {said(error)}") from None


def _put(
    database: _Database,
    table: DatabaseTable,
    mark: str,
    schema: pa.Schema,
    rows: Iterable[Sequence[Any]],
    where: str = "",
) -> None:
    """Have a table of rows, in place of those of an earlier one, or of some of them.

    An earlier table with the same columns stays, with its indexes, rights and views.
    """
    staging, width = _staging(table), len(schema)
    columns = [f"{quoted(field.name)} {_type(field)}" for field in schema]
    database.create(staging, columns, _comment(mark))
    is_earlier = _is_ours(database, table, mark)
    if is_earlier and database.columns(staging) == database.columns(table.sql):
        database.run(f"DROP TABLE {staging}")
        database.empty(table.sql, where)
        _is_ours(database, table, mark)  # it may have been another's until it was locked
        database.insert(table.sql, width, rows)
        return
    database.insert(staging, width, rows)
    if _is_ours(database, table, mark):
        database.run(f"DROP TABLE {table.sql}")
    database.run(f"ALTER TABLE {staging} RENAME TO {quoted(table.name.rpartition('.')[2])}")


@contextlib.contextmanager
def _trying(table: DatabaseTable) -> Iterator[_Database]:
    """A transaction that isn't kept; an InputError with what the database says of an error."""
    try:
        with _transaction(table, keep=False) as database:
            yield database
    except InputError:
        raise
    except ImportError as error:
        raise InputError(
            f"--output: expected the driver of {table.url}; found none: {error}. Install "
            "uplift-flows[sql]."
        ) from None
    except Exception as error:  # each driver has errors of its own
        raise InputError(
            f"--output: expected a database in which {table} can be created or replaced; it says: "
            f"{said(error)}. Check what the environment says of the connection, or name another."
        ) from None


def _is_ours(database: _Database, table: DatabaseTable, mark: str) -> bool:
    """Whether there is a table to replace; an InputError if it has something else."""
    found = database.mark(table)
    if found in (None, _comment(mark)):
        return found is not None
    raise InputError(
        f"--output: expected a new table, or earlier scores of the same rows; found {table} with "
        f"{shown(found, 300) if found else 'something else'}. Name another table, or drop this one."
    )


@contextlib.contextmanager
def _transaction(table: DatabaseTable, keep: bool = True) -> Iterator[_Database]:
    """A transaction whose changes are kept, if wanted, where no error ends the context."""
    file = table.file
    if file is None:
        import psycopg

        password = password_of(table.url)
        with psycopg.connect(table.url, connect_timeout=WAIT, password=password) as connection:
            connection.execute(f"SET LOCAL lock_timeout = '{WAIT}s'")
            yield _PostgreSql(connection)
            if not keep:
                connection.rollback()
        return
    made = file if keep or file.exists() else ":memory:"  # the file is made with the table
    with contextlib.closing(sqlite3.connect(made, WAIT, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield _Sqlite(connection)
        connection.execute("COMMIT" if keep else "ROLLBACK")  # which an error's end does too


def _staging(table: DatabaseTable) -> str:
    """A name for the table until it is whole."""
    schema = table.name.rpartition(".")[0]
    return ".".join(quoted(part) for part in (schema, f"scores-{uuid4().hex}") if part)


def _comment(mark: str) -> str:
    return f"uplift-flows: {mark}".replace("\0", "").replace("*/", "* /")


def _literal(text: str) -> str:
    from psycopg.sql import Literal

    return Literal(text).as_string(None)


def _plain(schema: pa.Schema, table: DatabaseTable) -> pa.Schema:
    """Columns whose values Python and the database have too, each to its last digit."""
    return pa.schema([field.with_type(_known(field.type, table)) for field in schema])


def _known(type: pa.DataType, table: DatabaseTable) -> pa.DataType:
    """A type without codes and billionths of a second."""
    type = type.value_type if pa.types.is_dictionary(type) else type
    if pa.types.is_timestamp(type):
        return pa.timestamp("us", type.tz)
    # SQLite has numbers of 64 bits, and would make others floats.
    is_larger = pa.types.is_decimal(type) or type == pa.uint64()
    return pa.string() if is_larger and table.file is not None else type


def _type(field: pa.Field) -> str:
    if pa.types.is_timestamp(field.type):
        return "TIMESTAMP" if field.type.tz is None else "TIMESTAMP WITH TIME ZONE"
    if pa.types.is_decimal(field.type):
        return f"DECIMAL({field.type.precision}, {field.type.scale})"
    if field.type in _TYPES:
        return _TYPES[field.type]
    raise InputError(
        f"--output: expected columns of numbers, texts, dates and true/false; found "
        f"{shown(repr(field.name))} of {field.type}. Write a file."
    )


def _values(rows: pa.ipc.RecordBatchFileReader, schema: pa.Schema) -> Iterator[tuple[Any, ...]]:
    for number in range(rows.num_record_batches):
        table = pa.Table.from_batches([rows.get_batch(number)]).cast(schema)
        for begin in range(0, table.num_rows, _ROWS):
            part = table.slice(begin, _ROWS)
            yield from zip(*(column.to_pylist() for column in part.columns), strict=True)


def _for_sqlite(value: Any) -> Any:
    return str(value) if isinstance(value, date) else value
