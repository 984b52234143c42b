"""Rows from the highest priority down, and running totals by arm: definitions are read off them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from metalearners._typing import Array, Floats
from metalearners.evaluation.means import same_rows
from metalearners.showing.results import Shown


@dataclass(frozen=True, eq=False)
class Curve(Shown):
    """A curve of outcomes gained over the number of rows from the top.

    Parameters
    ----------
    rows : (m,) array
        Numbers of rows, from 0 to all.
    value : (m,) array
        From 0, in units of the outcome unless it is normalised.
    """

    rows: Floats
    value: Floats

    @property
    def above_line(self) -> float:
        """Area between the curve and the straight line to its end, by trapezoids."""
        return float(np.trapezoid(self.value, self.rows) - self.rows[-1] * self.value[-1] / 2)


@dataclass(frozen=True, eq=False)
class Totals:
    """(m,) running totals of ranked rows."""

    treated: Floats  # numbers of rows, or sums of what they count
    control: Floats
    y_treated: Floats  # sums of outcomes
    y_control: Floats

    @classmethod
    def of(cls, y: Floats, treated: Floats, control: Floats) -> "Totals":
        """The totals after each row; `treated` and `control` say what it counts in its arm."""
        return cls(*map(np.cumsum, (treated, control, y * treated, y * control)))

    def at(self, ends: Array) -> "Totals":
        """The totals at some of the rows only."""
        return Totals(*(column[ends] for column in vars(self).values()))

    @property
    def rows(self) -> Floats:
        """(m,) numbers of rows of both arms."""
        return self.treated + self.control

    def lift(self, absent: float) -> Floats:
        """(m,) differences of means; `absent` is the mean of an arm without rows."""
        treated = _ratio(self.y_treated, self.treated, absent)
        return treated - _ratio(self.y_control, self.control, absent)

    def incremental(self, absent: float) -> Floats:
        """(m,) Yt - Yc nt / nc; `absent` is nt / nc without rows of the control."""
        return self.y_treated - self.y_control * _ratio(self.treated, self.control, absent)


def _ratio(part: Floats, whole: Floats, absent: float) -> Floats:
    return np.divide(part, whole, out=np.full(len(whole), absent), where=whole > 0)


def checked(priority: Any, y: Any, w: Any, binary: bool = False) -> list[Floats]:
    """Priorities, outcomes and arms as floats.

    Raises
    ------
    ValueError
        If they aren't finite and of the same rows, if an arm is missing or there are more than
        two; or if outcomes must be `binary` and aren't 0 and 1, with rows of both.
    """
    (priority, y, w), _, _ = same_rows(None, None, priority=priority, y=y, w=w)
    _check_codes("arms in w, 0 (control) and 1 (treated)", w, "Pass rows of one arm and control.")
    if binary:
        _check_codes("outcomes in y, 0 and 1", y, "For other outcomes, take causalml or radcliffe.")
    return [priority, y, w]


def _check_codes(expected: str, values: Floats, remedy: str) -> None:
    found = np.unique(values)
    if not np.array_equal(found, [0, 1]):
        listed = ", ".join(f"{one:g}" for one in found[:5]) + (", ..." if len(found) > 5 else "")
        raise ValueError(f"Expected rows of both {expected}; found {listed}. {remedy}")


def by_row(priority: Floats) -> Array:
    """(n,) rows from the highest priority down; tied rows stay in the order they are given in."""
    return np.argsort(-priority, kind="stable")


def quotient(name: str, part: float, whole: float, size: float, remedy: str) -> float:
    """A coefficient, refused where what it is divided by is 0 up to rounding of a `size`."""
    if abs(whole) <= 1e-12 * size:
        raise ValueError(f"Expected {name} other than 0 to divide by; found 0. {remedy}")
    return float(part / whole)
