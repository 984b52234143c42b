"""Tables of a report: records of plain values, and how a page shows them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import pandas as pd

from flows.report.elements import number, p_value, share
from metalearners.evaluation.means import Estimate

Record = Mapping[str, Any]
"""Plain values by name: a row of a table."""


@dataclass(frozen=True)
class Column:
    """A column of a table, as a page shows it: a text from one or more values of a record."""

    head: str
    of: tuple[str, ...]
    show: Callable[..., str] = str

    def text(self, record: Record) -> str:
        """Its cell; empty where the record has none of its values."""
        values = [record.get(key) for key in self.of]
        return "" if all(value is None for value in values) else self.show(*values)


@dataclass(frozen=True)
class Table:
    """A table: texts for a page, values for a file."""

    caption: str
    columns: Sequence[Column]
    records: Sequence[Record]
    names: int = 1  # number of leading columns that name the row
    file: str = ""  # name of the file in the run's folder; empty for none

    @property
    def head(self) -> list[str]:
        """Texts above the columns."""
        return [column.head for column in self.columns]

    @cached_property
    def rows(self) -> list[list[str]]:
        """Texts of the cells."""
        return [[column.text(one) for column in self.columns] for one in self.records]

    @property
    def first(self) -> Sequence[Sequence[str]]:
        """Rows that are shown: all, unless they are many."""
        return self.rows if len(self.rows) <= 30 else self.rows[:20]

    @property
    def rest(self) -> Sequence[Sequence[str]]:
        """Rows that are folded away."""
        return self.rows[len(self.first) :]

    @property
    def frame(self) -> pd.DataFrame:
        """The records, with all their values."""
        return pd.DataFrame(list(self.records))


def of_texts(
    caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], names: int = 1
) -> Table:
    """A table that has texts alone."""
    columns = [Column(text, (text,)) for text in head]
    return Table(caption, columns, [dict(zip(head, row, strict=True)) for row in rows], names)


def tables_of(shown: Any) -> Iterator[Table]:
    """The tables that have a file, wherever among the parts of a page."""
    if isinstance(shown, Table):
        yield from [shown] if shown.file else []
    elif isinstance(shown, Mapping):
        for part in shown.values():
            yield from tables_of(part)


# Records


def values_of(found: Estimate, prefix: str = "") -> dict[str, Any]:
    """An estimate as the values of a record."""
    names = ("estimate", "std_error", "ci_low", "ci_high")
    return {prefix + name: getattr(found, name) for name in names}


def ends_of(ends: tuple[float, float] | None, prefix: str = "joint") -> dict[str, Any]:
    """An interval as the values of a record."""
    low, high = ends or (None, None)
    return {f"{prefix}_low": low, f"{prefix}_high": high}


# Columns


def text(head: str, key: str) -> Column:
    """A column of labels."""
    return Column(head, (key,))


def count(head: str, key: str) -> Column:
    """A column of numbers of rows and such."""
    return Column(head, (key,), "{:,}".format)


def figure(head: str, key: str, scale: float | None = None) -> Column:
    """A column of numbers, rounded as `number` does."""
    return Column(head, (key,), partial(number, scale=scale))


def percent(head: str, key: str) -> Column:
    """A column of shares."""
    return Column(head, (key,), share)


def p_values(head: str, key: str) -> Column:
    """A column of p-values."""
    return Column(head, (key,), p_value)


def interval(
    head: str, scale: float | None = None, low: str = "ci_low", high: str = "ci_high"
) -> Column:
    """A column of intervals."""
    return Column(head, (low, high), partial(_between, scale))


def _between(scale: float | None, low: float | None, high: float | None) -> str:
    return f"{number(low, scale)} to {number(high, scale)}"


def with_interval(head: str, scale: float | None = None, prefix: str = "") -> Column:
    """A column of estimates with their intervals."""
    keys = tuple(prefix + name for name in ("estimate", "ci_low", "ci_high"))
    return Column(head, keys, partial(_around, scale))


def _around(scale: float | None, at: float | None, *ends: float | None) -> str:
    return f"{number(at, scale)} ({_between(scale, *ends)})"


def estimated(scale: float | None, head: str = "Estimate") -> list[Column]:
    """The columns of an estimate, its standard error and its interval."""
    return [
        figure(head, "estimate", scale),
        figure("Std. error", "std_error", scale),
        interval("95 % interval", scale),
    ]
