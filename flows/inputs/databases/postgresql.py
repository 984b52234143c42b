"""PostgreSQL: a transaction that only reads, and a cursor on the server, which takes one query."""

import contextlib
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import pyarrow as pa

from flows.dates.queries import POSTGRESQL
from flows.inputs.databases.database import AT_ONCE, WAIT, Answer, Database, in_batches
from flows.inputs.databases.passwords import password_of

# By PostgreSQL's own names, as Parquet keeps them. Others, such as enumerations, are texts or
# refused.
_TYPES = {
    "bool": pa.bool_(),
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
    "interval": pa.duration("us"),
    "bytea": pa.binary(),
}
_MOST_DIGITS = 76  # of Arrow's decimals


class PostgreSql(Database):
    """PostgreSQL, by its libpq: the environment says who logs in, and with which password."""

    @contextlib.contextmanager
    def _answer(self) -> Iterator[Answer]:
        from psycopg import adapters
        from sqlalchemy import NullPool, create_engine, text

        address = self._query.url.replace(POSTGRESQL, "postgresql+psycopg://", 1)
        login = {"connect_timeout": WAIT, "password": password_of(self._query.url)}
        engine = create_engine(address, poolclass=NullPool, connect_args=login).execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True, stream_results=True
        )
        with (
            engine.connect() as connection,
            connection.execute(text(self._query.sql), dict(self._days)) as result,
        ):
            described: Any = result.cursor.description  # type: ignore[union-attr]
            types = {column.name: _type(column, adapters.types) for column in described}
            yield Answer(
                [column.name for column in described],
                partial(
                    in_batches,
                    list(result.keys()),
                    result.partitions(AT_ONCE),
                    lambda name, values: _array(values, types[name]),
                    where=self._query.url,
                ),
            )


def _type(column: Any, known: Any) -> pa.DataType | None:
    """The type of a column; None for numbers of any digits, whose rows say how many they have."""
    found = known.get(column.type_code)
    name = "" if found is None else found.name
    if name != "numeric":
        return _TYPES.get(name, pa.string())
    if column.precision is None or column.precision > _MOST_DIGITS:
        return None
    large = column.precision > 38
    return (pa.decimal256 if large else pa.decimal128)(column.precision, column.scale)


def _array(values: Sequence[Any], type: pa.DataType | None) -> pa.Array:
    return pa.array([_plain(value) for value in values], type)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal) and value.is_nan():
        return None  # as floats have it
    return str(value) if isinstance(value, UUID) else value
