"""Figures over many draws, the bounds they must keep, and whether they do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Columns = Mapping[str, np.ndarray]  # what was measured, a row a draw


@dataclass(frozen=True)
class Figure:
    """A number that draws give, with its bounds.

    Parameters
    ----------
    name : what it is
    of : the number, from what was measured
    least, most : its bounds; None where there is none
    percent : whether it is shown in percent
    """

    name: str
    of: Callable[[Columns], float]
    least: float | None = None
    most: float | None = None
    percent: bool = False

    def keeps(self, value: float) -> bool:
        """Whether a value lies within the bounds."""
        low = -np.inf if self.least is None else self.least
        high = np.inf if self.most is None else self.most
        return bool(low <= value <= high)

    def shown(self, value: float) -> str:
        """The figure with its value and its bounds in words."""
        return self.valued(value) + self.bounds()

    def valued(self, value: float) -> str:
        """The figure with its value."""
        return f"{self.name} {self._text(value)}"

    def bounds(self, more: str = "") -> str:
        """The bounds in words, within brackets; empty where there are none."""
        low, high = self.least, self.most
        if low is None and high is None:
            return ""
        if low is None or high is None:
            word, bound = ("at most", high) if low is None else ("at least", low)
            return f" ({word} {self._text(float(bound or 0))}{more})"
        return f" ({self._text(low)} to {self._text(high)}{more})"

    def _text(self, value: float) -> str:
        return f"{100 * value:.1f} %" if self.percent else f"{value:.3g}"


def _pooled_sd(values: np.ndarray) -> float:
    """Standard deviation over draws, arms together: the root of their mean variance."""
    return float(np.sqrt(values.var(axis=0, ddof=1).mean()))


def spread_over_raw(d: Columns) -> float:
    """The adjusted estimates' standard deviation over the raw ones'."""
    return _pooled_sd(d["estimate"]) / _pooled_sd(d["raw"])


def error_over_sd(d: Columns) -> float:
    """The mean standard error over the estimates' standard deviation."""
    return float(d["error"].mean()) / _pooled_sd(d["estimate"])


def coverage(d: Columns) -> float:
    """The share of intervals that hold the truth."""
    return float(d["covers"].mean())


def claimed(d: Columns) -> float:
    """The share of draws with a joint interval that leaves 0 out."""
    return float(d["claims"].mean())


SPREAD = Figure("sd over raw", spread_over_raw, most=1.02)
MEDIAN = Figure("sd over raw", lambda d: float(np.median(d["ratios"])), most=0.85)
SPREAD_ESTIMATED = Figure("sd over raw", spread_over_raw, most=1.10)
ERROR = Figure("SE over sd", error_over_sd, 0.93, 1.07)
ERROR_AT_LEAST = Figure("SE over sd", error_over_sd, 0.95)
CLAIMS = Figure("claims", claimed, most=0.06, percent=True)
COVERAGE = Figure("coverage", coverage, 0.93, 0.97, percent=True)
COVERAGE_AT_LEAST = Figure("coverage", coverage, 0.93, percent=True)


def below(d: Columns) -> float:
    """The share of z statistics in the lower tail of 2.5 %."""
    return float((d["z"] < -1.96).mean())


def above(d: Columns) -> float:
    """The share of z statistics in the upper tail of 2.5 %."""
    return float((d["z"] > 1.96).mean())


MEAN_Z = Figure("mean z", lambda d: float(d["z"].mean()), -0.1, 0.1)
QINI = (
    MEAN_Z,
    Figure("z below -1.96", below, 0.017, 0.035, percent=True),
    Figure("z above 1.96", above, 0.017, 0.035, percent=True),
)
# Of fewer draws, whose tails are told without a bound.
QINI_ESTIMATED = (
    MEAN_Z,
    Figure("z below -1.96", below, percent=True),
    Figure("z above 1.96", above, percent=True),
)


def promoted(d: Columns) -> float:
    """The share of years in which a challenger is promoted."""
    return float((d["month"] > 0).mean())


def promoted_soon(d: Columns) -> float:
    """The share of years in which one is promoted within four looks."""
    return float(((d["month"] > 0) & (d["month"] <= 4)).mean())


PROMOTED = Figure("promoted", promoted, most=0.08, percent=True)
NONE_PROMOTED = Figure("promoted", promoted, most=0.0, percent=True)
PROMOTED_SOON = Figure("promoted within four looks", promoted_soon, 0.80, percent=True)
DRIFTED = Figure("drift", lambda d: float(d["drift"].mean()), most=0.001, percent=True)
BELOW = Figure("p below .001", lambda d: float(d["below"].mean()), percent=True)
FOUND = Figure("found", lambda d: float(d["drift"][:, 0].mean()), 0.99, percent=True)


def _share(key: str) -> Callable[[Columns], float]:
    return lambda d: float(d[key].mean())


def _rejected(key: str) -> Callable[[Columns], float]:
    return lambda d: float((d[key] < 0.05).mean())


JUDGED = tuple(
    Figure(name, _share(key), 0.91, 0.98, percent=True)
    for name, key in {
        "AUTOC": "autoc",
        "QINI": "qini",
        "uplift at 30 %": "uplift",
        "GATES": "groups",
        "top less bottom group": "extremes",
        "BLP slope": "slope",
        "gain band": "gain band",
        "line band": "line band",
        "TOC band": "toc band",
        "segments": "segments",
        "segments at once": "segments at once",
        "AUTOC differences": "autoc differences",
        "DR-loss differences": "loss differences",
    }.items()
)
TARGETED = (
    *(
        Figure(key, _share(key), 0.91, 0.98, percent=True)
        for key in (
            *(
                f"{what} at {budget}"
                for what in ("gain", "difference")
                for budget in (0.1, 0.3, 0.6)
            ),
            *("gain band", "difference band", "area"),
        )
    ),
    # The band's at one of its points, where it may cover more; beside the pointwise interval there.
    Figure("highest", _share("highest"), 0.91, percent=True),
    Figure("highest, pointwise", _share("highest, pointwise"), percent=True),
)
SIZES = tuple(
    Figure(name, _rejected(key), 0.035, 0.065, percent=True)
    for name, key in {
        "AUTOC": "autoc",
        "AUTOC above 0": "autoc above",
        "QINI": "qini",
        "QINI above 0": "qini above",
        "top less bottom group": "extremes",
        "top above bottom group": "extremes above",
        "groups rise": "monotone",
        "BLP slope": "slope",
    }.items()
)
SEQUENTIAL = tuple(
    Figure(name, _rejected(key), 0.035, 0.065, percent=True)
    for name, key in {
        "sequential": "sequential",
        "sequential above 0": "sequential above",
        "hold-out above 0": "hold-out above",
    }.items()
)


def over_hold_out(d: Columns) -> float:
    """The power of the sequential test over that of a hold-out."""
    return float(_rejected("sequential above")(d) / _rejected("hold-out above")(d))


POWER = (
    Figure("sequential", _rejected("sequential above"), percent=True),
    Figure("hold-out", _rejected("hold-out above"), 0.4, 0.6, percent=True),
    Figure("ratio", over_hold_out, 1.15),
)
CALLED = (
    Figure("better than a constant", _share("better"), most=0.08, percent=True),
    Figure("better than the next", _share("better than the next"), most=0.08, percent=True),
)


def _said(question: str, answer: str, least: float | None = 0.91) -> Figure:
    """The share of verdicts that answer a question so."""
    name = f"{question}: {answer}"
    return Figure(name, lambda d: float((d[question] == answer).mean()), least, percent=True)


_ALIKE = Figure("target nobody differently", _share("alike"), 0.91, percent=True)
_GAIN = Figure("gain covered", _share("covers"), 0.91, 0.98, percent=True)
VERDICTS = {
    "null": (_ALIKE, _said("effect", "not shown"), _said("heterogeneity", "not shown")),
    "equal effects": (_said("target", "everybody"), _said("heterogeneity", "not shown")),
    "effects that differ": (_said("target", "by ranking"), _GAIN),
    "bad overlap": (_said("target", "in doubt"), _said("worst", "bad")),
    "a harmful arm": (_said("target", "nobody"), _said("effect", "yes")),
    "a harmful arm beside a good one": (
        _said("target", "everybody"),
        Figure("the harmful one left out", _share("left out"), 0.91, percent=True),
    ),
    "200 rows": (_ALIKE, _said("doubt", "few rows", None), _said("worst", "ok", None)),
}
CHOSEN = (
    Figure("chosen", _share("chosen"), 0.9, percent=True),
    Figure("rows, median", lambda d: float(np.median(d["rows"]))),
)
