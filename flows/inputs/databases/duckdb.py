"""DuckDB in this process: it is handed the rows of the source, and can open nothing itself."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from typing import Any

import pyarrow as pa

from flows.dates.queries import ROWS, Query, quoted
from flows.errors import InputError
from flows.inputs.databases.database import AT_ONCE, Answer, Database
from flows.inputs.formats.table import Source
from metalearners.workers.machine import machine

# A query can't read or write a file, attach a database, or load an extension, nor change that.
_SETTINGS: dict[str, Any] = {
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "python_enable_replacements": False,  # variables of this program are no tables
    "temp_directory": "",
    "threads": 1,  # several would add floats in another order each time
}


class DuckDb(Database):
    """DuckDB over the rows of a source."""

    _extra = "duckdb"

    def __init__(self, query: Query, days: Mapping[str, date], files: Source) -> None:
        super().__init__(query, days)
        self._files = files

    @cached_property
    def _rows(self) -> Any:
        return self._files.whole()

    @property
    def notes(self) -> list[str]:
        """Those of the files."""
        return self._files.notes

    @contextlib.contextmanager
    def _answer(self) -> Iterator[Answer]:
        import duckdb

        memory = f"{max(machine().memory // 2**20, 1)}MiB"
        with duckdb.connect(config={**_SETTINGS, "memory_limit": memory}) as connection:
            connection.register(ROWS, self._rows)
            connection.execute("SET TimeZone = 'UTC'; SET lock_configuration = true")
            found = [statement.type.name for statement in connection.extract_statements(self._sql)]
            if found != ["SELECT"]:
                raise InputError(
                    "Expected one SELECT as the query; found "
                    f"{', '.join(found) or 'nothing'}. Leave one query."
                )
            relation = connection.sql(self._sql, params=self._parameters)
            yield Answer(relation.columns, lambda columns: _batches(relation, columns))

    @property
    def _sql(self) -> str:
        return str(self._compiled)

    @property
    def _parameters(self) -> list[Any]:
        return [self._days[name] for name in self._compiled.positiontup or ()]

    @property
    def _compiled(self) -> Any:
        """The query with parameters as DuckDB writes them."""
        from sqlalchemy import text
        from sqlalchemy.engine.default import DefaultDialect

        return text(self._query.sql).compile(dialect=DefaultDialect(paramstyle="numeric_dollar"))


def _batches(relation: Any, columns: Sequence[str]) -> Iterable[pa.RecordBatch]:
    reader = relation.project(", ".join(map(quoted, columns))).to_arrow_reader(AT_ONCE)
    yield pa.RecordBatch.from_pylist([], reader.schema)
    yield from reader
