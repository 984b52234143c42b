"""What databases have in common: the rows of one query, in batches of Arrow."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import chain
from typing import Any, Self

import pyarrow as pa

from flows.dates.queries import Query
from flows.errors import InputError, UnreadableError
from flows.inputs.formats.frames import UNREADABLE, check_plain
from flows.messages.limits import shown

_HALF_WRITTEN = "SQLITE_READONLY_ROLLBACK"  # by SQLite's own name
AT_ONCE = 10_000
"""Rows of a batch."""
WAIT = 15
"""Seconds for a connection, or for the lock of a file or a table."""


@dataclass(frozen=True)
class Answer:
    """The columns of a query that runs.

    Parameters
    ----------
    names : list of str
        Of the columns.
    batches : callable
        Reads some of them, from the first row on, once.
    """

    names: list[str]
    batches: Callable[[Sequence[str]], Iterable[pa.RecordBatch]]


class Database(ABC):
    """A database that answers one query, and says no to what would change it.

    Parameters
    ----------
    query : Query
        What it is asked.
    days : mapping
        The days that the query names.
    """

    _extra = "sql"  # with the driver

    def __init__(self, query: Query, days: Mapping[str, date]) -> None:
        self._query = query
        self._days = days

    def asking(self, query: Query) -> Self:
        """The same database, which is asked another query that names the same days."""
        other = copy(self)
        other._query = query
        vars(other).pop("names", None)  # those of this query
        return other

    @cached_property
    def names(self) -> list[str]:
        """Names of the columns, without reading rows."""
        with self._told(), self._answer() as answer:
            return answer.names

    def batches(self, columns: Sequence[str]) -> Generator[pa.RecordBatch]:
        """Columns of all rows, in the types that the database gives them.

        Raises InputError with what the database says, if it can't answer.
        """
        with self._told(), self._answer() as answer:
            yield from answer.batches(columns)

    @property
    def notes(self) -> list[str]:
        """What a reader should know of how the rows were read."""
        return []

    @abstractmethod
    def _answer(self) -> AbstractContextManager[Answer]:
        """Ask, and stop the query in the end."""

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what a database raises into a refusal."""
        try:
            yield
        except (InputError, MemoryError):
            raise
        except ImportError as error:
            raise InputError(
                f"Expected the driver of {self._query.url}; found none: {error}. Install "
                f"uplift-flows[{self._extra}]."
            ) from None
        except Exception as error:  # each driver has errors of its own
            raise UnreadableError(
                f"Expected the rows of one query that only reads, from {self._query.url}; the "
                f"database says: {said(error)}. Check the query, and what the environment says of "
                "the connection."
            ) from None


def said(error: Exception) -> str:
    """What a database says of an error, in one line."""
    own = getattr(error, "orig", None) or error  # SQLAlchemy's has the whole statement too
    # All that PostgreSQL says has a line with the name of a cursor.
    first = getattr(getattr(own, "diag", None), "message_primary", None)
    told = shown(" ".join((first or str(own)).split()).rstrip("."), 300)
    if getattr(own, "sqlite_errorname", "") != _HALF_WRITTEN:
        return told
    return f"{told}, as its last writer was killed; who may write to the file must open it once"


def in_batches(
    names: Sequence[str],
    parts: Iterable[Sequence[Sequence[Any]]],
    convert: Callable[[str, Sequence[Any]], pa.Array],
    columns: Sequence[str],
    where: str,
) -> Iterator[pa.RecordBatch]:
    """Rows of Python's values as batches of some columns; the first has none but the types.

    Raises InputError if a value hasn't the type of its column.
    """
    at = {name: names.index(name) for name in columns}
    for rows in chain([()], parts):
        arrays, faults = [], []
        for name in columns:
            try:
                arrays.append(convert(name, [row[at[name]] for row in rows]))
            except UNREADABLE as error:
                faults.append(f"{name!r}: {shown(str(error))}")
        check_plain(faults, where, "with CAST in the query")
        yield pa.record_batch(arrays, list(columns))
