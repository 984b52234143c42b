"""The rows of a query in batches, as the database sends them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from functools import partial, reduce

import pyarrow as pa

from flows.dates.partitions import Window
from flows.dates.queries import Query
from flows.inputs.batches.source import Batches
from flows.inputs.databases.database import Database
from flows.inputs.databases.source import QuerySource, database_of
from flows.inputs.formats.pieces import Piece
from flows.inputs.formats.table import Source
from flows.inputs.formats.text_files import Asked
from flows.messages.progress import Steps


class QueryBatches(Batches, QuerySource):
    """The rows of a query, in the order of a column if the query has it.

    Parameters
    ----------
    query : Query
        Of a database.
    asked : Asked
        How its columns are read.
    window : Window, optional
        The days that it may name.
    order : str, optional
        The column.
    files : callable
        The rows that DuckDB is asked for.

    Raises InputError if the process may not read there, or the query can't be answered.
    """

    def __init__(
        self,
        query: Query,
        asked: Asked,
        window: Window | None,
        order: str | None,
        files: Callable[[], Source],
    ) -> None:
        super().__init__(query, asked, database_of(query, window, files))
        self._query = query
        self._order = order if order in self.names else None
        self._stated: dict[str, pa.DataType] = {}

    @property
    def notes(self) -> list[str]:
        """What the reader of files has to say, and that rows have no order."""
        if self._order is not None:
            return self._database.notes
        return [
            *self._database.notes,
            "Rows are numbered as the database gives them, which may be another order each time. "
            "Set data.row_id in the model's config, and select that column.",
        ]

    @property
    def identity(self) -> dict[str, dict[str, str]]:
        """Nothing: a database doesn't say when its rows last changed."""
        return {self._source: {}}

    def _types(self, kinds: Mapping[str, str]) -> dict[str, pa.DataType]:
        """Types that the database states; of what it computes, by the rows."""
        with closing(self._asked_for(kinds, None).batches(list(kinds))) as batches:
            stated = first = next(batches).schema  # it has no rows
            if pa.null() in stated.types:
                first = next((batch.schema for batch in batches), stated)
        found = {field.name: field.type for field in first}
        computed = [name for name in kinds if pa.types.is_null(stated.field(name).type)]
        found |= self._of_all_rows([n for n in computed if _varies(found[n], kinds[n])])
        self._stated = {field.name: field.type for field in stated}
        self._stated |= {name: _settled(found[name], kinds[name]) for name in computed}
        return dict(self._stated)

    def _of_all_rows(self, columns: list[str]) -> dict[str, pa.DataType]:
        """Types that hold the values of all rows, as those of a model's training have."""
        if not columns:
            return {}
        with closing(self._asked_for(columns, None).batches(columns)) as batches:
            schemas = (batch.schema for batch in batches)
            return {field.name: field.type for field in reduce(_both, schemas)}

    def _progress(self, stage: str) -> Steps:
        return Steps(stage, 0)  # nobody knows how many rows there will be

    def _pieces(self, kinds: Mapping[str, str], steps: Steps) -> Iterator[Piece]:
        schema = pa.schema({name: self._stated[name] for name in kinds})
        with closing(self._asked_for(kinds, self._order).batches(list(kinds))) as batches:
            for batch in batches:
                yield Piece(batch.num_rows, partial(_as_stated, batch, schema))

    def _asked_for(self, columns: Iterable[str], order: str | None) -> Database:
        return self._database.asking(self._query.of_columns(list(columns), order))


def _varies(found: pa.DataType, kind: str) -> bool:
    """Whether other rows of what a database computes may have a wider type than the first."""
    return kind != "number" and not pa.types.is_string(found)


def _both(one: pa.Schema, other: pa.Schema) -> pa.Schema:
    return pa.unify_schemas([one, other], promote_options="permissive")


def _settled(found: pa.DataType, kind: str) -> pa.DataType:
    """The type of values that a database computes, of which the first rows have one."""
    # Decimals of other rows may have other digits, and integers may be followed by fractions.
    if kind == "number" and (pa.types.is_integer(found) or pa.types.is_decimal(found)):
        return pa.float64()
    return pa.string() if pa.types.is_null(found) else found


def _as_stated(batch: pa.RecordBatch, schema: pa.Schema) -> list[pa.Table]:
    return [pa.Table.from_batches([batch]).cast(schema)]
