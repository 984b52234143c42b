"""Queries in place of files: the databases that they may ask, and the days that they may name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from flows.dates.partitions import Window, days_of
from flows.errors import InputError
from flows.messages.limits import shown
from flows.messages.secrets import without_secrets

DUCKDB = "duckdb://"
SQLITE = "sqlite:///"
POSTGRESQL = "postgresql://"
ROWS = "rows"
"""What a query of DuckDB calls the rows of the source."""

# A host may be empty: the driver's environment names it then. What else a driver takes from an
# address, such as other hosts or files, is the environment's to say.
_HOST = r"[\w.-]*(:\d{1,5})?"
IN_POSTGRESQL = rf"{POSTGRESQL}{_HOST}/[^\s/?#%=@:,]+"
"""Pattern of its databases' addresses."""
_DATABASE = re.compile(rf"{IN_POSTGRESQL}|{SQLITE}[^\s?#\0][^?#\0]*|{DUCKDB}", re.ASCII)
_DAYS = ("begin", "date")
_TABLE = re.compile(r"(\w{1,63}\.)?\w{1,63}", re.ASCII)


@dataclass(frozen=True)
class Query:
    """A question to a database.

    Parameters
    ----------
    sql : str
        One statement that only reads.
    url : str
        Of the database.
    row_id : str, optional
        Column by which its rows are put in order.
    """

    sql: str
    url: str
    row_id: str | None = None

    @property
    def asked_of(self) -> str:
        """The database and what it is asked: another query of it is another source."""
        return f"{self.url}\n{self.sql}"

    def days(self, window: Window | None) -> dict[str, date]:
        """The days that the query names: parameters, so that no text is put together.

        Raises InputError if it names some and there is no window.
        """
        named = days_named(self.sql)
        if not named:
            return {}
        if window is None:
            raise InputError(
                f"Expected a query of one set of rows; {self.url} is asked for :{named[0]}, which "
                "a run's config alone may. Write the day."
            )
        found = dict(zip(_DAYS, days_of(window), strict=True))
        return {name: found[name] for name in named}

    def of_columns(self, columns: Sequence[str], order: str | None = None) -> "Query":
        """The query for some of its columns, with the rows in the order of one of them."""
        # A colon would begin a parameter.
        names = ", ".join(quoted(name).replace(":", r"\:") for name in columns)
        last = "" if order is None else f" ORDER BY {quoted(order)}".replace(":", r"\:")
        inner = self.sql.strip().rstrip(";")
        return replace(self, sql=f'SELECT {names} FROM (\n{inner}\n) AS "the rows"{last}')


@dataclass(frozen=True)
class DatabaseTable:
    """A table of a database, as ``ADDRESS#TABLE`` names it.

    Parameters
    ----------
    url : str
        Of the database.
    name : str
        Of the table, as the database has it; in PostgreSQL also with its schema.
    """

    url: str
    name: str

    def __str__(self) -> str:
        return f"{self.url}#{self.name}"

    @property
    def sql(self) -> str:
        """Its name in a statement."""
        return ".".join(map(quoted, self.name.split(".")))

    @property
    def file(self) -> Path | None:
        """The file of SQLite that it lies in; None in PostgreSQL."""
        return sqlite_file(self.url)

    @property
    def query(self) -> Query:
        """All its rows."""
        return Query(f"SELECT * FROM {self.sql}", self.url)


def quoted(name: str) -> str:
    """The name of a column or a table in a statement."""
    return '"' + name.replace('"', '""') + '"'


def sqlite_file(url: str) -> Path | None:
    """The file that an address of SQLite names; None for any other place."""
    return Path(url.removeprefix(SQLITE)) if url.startswith(SQLITE) else None


def is_database(place: str) -> bool:
    """Whether a place is in PostgreSQL or in SQLite."""
    return place.startswith((POSTGRESQL, SQLITE))


def table_at(place: str) -> DatabaseTable:
    """The table that a place names, or a ValueError that says how one is named."""
    url, _, name = place.partition("#")
    # Schemas of SQLite are those of a connection.
    if not _TABLE.fullmatch(name) or (url.startswith(SQLITE) and "." in name):
        raise ValueError(
            "expected a table as postgresql://host:port/database#table or "
            f"sqlite:///folder/file#table; found {shown(repr(place))}. Name it behind a #, with "
            "letters, digits and _, and a schema in PostgreSQL alone."
        )
    return DatabaseTable(check_database(url), name)


def days_named(sql: str) -> list[str]:
    """Parameters of a query."""
    from sqlalchemy import text  # takes 0.3 s to import

    return list(text(sql).compile().params)


def check_database(url: str) -> str:
    """The address of a database, or a ValueError that says which there are."""
    if not _DATABASE.fullmatch(url):
        raise ValueError(
            "expected postgresql://host:port/database, sqlite:///folder/file or duckdb://, without "
            f"more; found {shown(repr(url))}. Users, passwords and other settings of a connection "
            "are those of the environment: PGUSER, PGPASSWORD or PGPASSFILE, PGSSLMODE."
        )
    return url


def check_query(sql: str) -> str:
    """The query, or a ValueError if it holds a secret or names what no run has."""
    if without_secrets(sql) != sql:
        raise ValueError(
            "expected a query without credentials, as configs are kept with each run; found an "
            "address with some. Give them to the database."
        )
    others = [name for name in days_named(sql) if name not in _DAYS]
    if others:
        raise ValueError(
            f"expected :date and :begin as the only parameters; found :{others[0]}. Where it is "
            "none, put a backslash before its colon."
        )
    return sql
