"""Queries as sources: their rows, in an order that follows from what they are."""

import contextlib
from collections.abc import Callable, Collection, Generator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from flows.dates.partitions import Window
from flows.dates.queries import DUCKDB, Query, sqlite_file
from flows.inputs.databases.database import Database
from flows.inputs.databases.duckdb import DuckDb
from flows.inputs.databases.postgresql import PostgreSql
from flows.inputs.databases.sqlite import Sqlite
from flows.inputs.formats.column import Column
from flows.inputs.formats.names import check_names
from flows.inputs.formats.table import Source
from flows.inputs.formats.text_files import Asked
from flows.inputs.places import check_allowed
from flows.inputs.room import check_room


def open_query(
    query: Query, asked: Asked, window: Window | None, files: Callable[[], Source]
) -> "QuerySource":
    """The rows of a query; DuckDB asks for those of `files`.

    Raises InputError if the process may not read there, or the query can't be answered.
    """
    return QuerySource(query, asked, database_of(query, window, files))


def database_of(query: Query, window: Window | None, files: Callable[[], Source]) -> Database:
    """The database that is asked a query; errors as for `open_query`."""
    days = query.days(window)
    if query.url == DUCKDB:
        return DuckDb(query, days, files())
    check_allowed(query.url, query.asked_of)
    return (Sqlite if sqlite_file(query.url) else PostgreSql)(query, days)


class QuerySource(Source):
    """The rows of a query, in an order that follows from what they are."""

    def __init__(self, query: Query, asked: Asked, database: Database) -> None:
        check_names(query.url, database.names)
        self._source = query.url
        self._row_id = query.row_id
        self._database = database
        self._asked = asked

    @property
    def names(self) -> list[str]:
        """Names of the columns of the query."""
        return self._database.names

    def _columns(
        self, columns: Sequence[str], labels: Collection[str], types: Mapping[str, str]
    ) -> dict[str, Column]:
        table = _in_order(self._table(columns), self._row_id)
        return {name: self._asked.of(table[name], name, types.get(name)) for name in columns}

    def _table(self, columns: Sequence[str]) -> pa.Table:
        """Rows as they come; they are refused when they take more than the free memory."""
        parts: list[pa.RecordBatch] = []

        def sizes() -> Generator[int]:
            for part in batches:
                parts.append(part)
                yield part.nbytes

        with contextlib.closing(self._database.batches(columns)) as batches:
            check_room(self._source, sizes(), fewer="Select fewer columns")
        tables = [pa.Table.from_batches([part]) for part in parts]
        return pa.concat_tables(tables, promote_options="permissive")

    @property
    def notes(self) -> list[str]:
        """What the files' reader has to say, and that rows have no order."""
        if self._row_id is not None:
            return self._database.notes
        return [
            *self._database.notes,
            "data.row_id isn't set: a query's rows have no order, so they are numbered in the "
            "order of their values. Name a column that says which row is which.",
        ]


def _in_order(table: pa.Table, first: str | None) -> pa.Table:
    """Rows in the order of a column, and of all others where it leaves that open.

    A database may give them in another order each time, and what is fitted depends on the order.
    """
    keys = {name: _decoded(table[name]) for name in table.column_names}
    keys = {name: values for name, values in keys.items() if not pa.types.is_nested(values.type)}
    names = sorted(keys, key=lambda name: name != first)
    order = pc.sort_indices(pa.table(keys), [(name, "ascending") for name in names])
    return table.take(order)


def _decoded(values: pa.ChunkedArray) -> pa.ChunkedArray:
    is_coded = pa.types.is_dictionary(values.type)
    return values.cast(values.type.value_type) if is_coded else values
