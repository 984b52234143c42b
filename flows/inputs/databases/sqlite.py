"""SQLite: a file that is opened for reading, with columns in the types that they were declared."""

import contextlib
import re
import sqlite3
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from flows.dates.queries import sqlite_file
from flows.errors import InputError
from flows.inputs.databases.database import AT_ONCE, Answer, Database, in_batches

_READS = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
_DECIMAL = re.compile(r"\s*(?:DECIMAL|NUMERIC)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)\s*")
# By parts of a declared type, the first that fits, as SQLite itself reads them.
_TYPES = {
    "BOOL": pa.bool_(),
    "TIMESTAMPTZ": pa.timestamp("us", "UTC"),
    "WITH TIME ZONE": pa.timestamp("us", "UTC"),
    "TIMESTAMP": pa.timestamp("us"),
    "DATETIME": pa.timestamp("us"),
    "DATE": pa.date32(),
    "INT": pa.int64(),
    "CHAR": pa.string(),
    "CLOB": pa.string(),
    "TEXT": pa.string(),
    "REAL": pa.float64(),
    "FLOA": pa.float64(),
    "DOUB": pa.float64(),
}


class Sqlite(Database):
    """A file of SQLite."""

    @contextlib.contextmanager
    def _answer(self) -> Iterator[Answer]:
        from sqlalchemy import NullPool, create_engine, text

        days = {name: day.isoformat() for name, day in self._days.items()}
        query = text(self._query.sql)
        engine = create_engine("sqlite://", creator=self._open, poolclass=NullPool)
        with engine.connect() as connection:
            file: Any = connection.connection.driver_connection
            # A view is one query by SQLite's own grammar, and is not run here.
            plain = query.bindparams(**days).compile(engine, compile_kwargs={"literal_binds": True})
            file.execute(f'CREATE TEMP VIEW "the query" AS {plain}')
            columns = file.execute('PRAGMA table_info("the query")').fetchall()
            file.set_authorizer(_only_reads)
            result = connection.execution_options(stream_results=True).execute(query, days)
            names = list(result.keys())
            types = {name: _type(column[2]) for name, column in zip(names, columns, strict=True)}
            yield Answer(
                names,
                partial(
                    in_batches,
                    names,
                    result.partitions(AT_ONCE),
                    lambda name, values: _array(values, types[name]),
                    where=self._query.url,
                ),
            )

    def _open(self) -> sqlite3.Connection:
        file = sqlite_file(self._query.url)
        assert file is not None  # else PostgreSQL is asked
        if not file.is_file():
            raise InputError(
                f"Expected a file of SQLite at {file}; found none. Relative paths start from "
                f"{Path.cwd()}; an absolute one has four strokes, as sqlite:////data/shop.db."
            )
        _undo_half_written(file)
        return _connection(file, "ro")


def _undo_half_written(file: Path) -> None:
    """Have SQLite undo what a killed process left half written, which nobody can read before."""
    if not Path(f"{file.resolve()}-journal").exists():
        return
    with (
        contextlib.suppress(sqlite3.Error),  # told when the file is read
        contextlib.closing(_connection(file, "rw")) as connection,
    ):
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()


def _connection(file: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(file.resolve()))}?mode={mode}", uri=True)


def _only_reads(action: int, *_: str | None) -> int:
    return sqlite3.SQLITE_OK if action in _READS else sqlite3.SQLITE_DENY


def _type(declared: str) -> pa.DataType | None:
    """The type of a column; None for what was computed, whose rows say what it is."""
    name = declared.upper()
    if (found := _DECIMAL.fullmatch(name)) and 1 <= int(found[1]) <= 38:
        return pa.decimal128(int(found[1]), int(found[2] or 0))
    return next((type for part, type in _TYPES.items() if part in name), None)


def _array(values: Sequence[Any], type: pa.DataType | None) -> pa.Array:
    """Values of SQLite, which knows integers, floats, texts and bytes alone."""
    found = pa.array(values)
    if type is None or pa.types.is_null(found.type):
        return found if type is None else found.cast(type)
    if pa.types.is_temporal(type) and not pa.types.is_string(found.type):
        raise TypeError(f"{found.type} where dates are expected as texts, such as 2024-12-31")
    if pa.types.is_boolean(type) and set(values) - {0, 1, None}:
        raise TypeError("other values than 0 and 1 where true and false are expected")
    if pa.types.is_decimal(type) and pa.types.is_integer(found.type):
        found = found.cast(pa.float64())
    return found.cast(type)
