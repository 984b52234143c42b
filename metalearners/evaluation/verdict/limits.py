"""The limits of the lights: one table, which the checks use and the page on verdicts shows."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from metalearners.data.outcomes import MOST_UNSURE
from metalearners.evaluation.design import MISMATCH
from metalearners.evaluation.findings import LEVEL
from metalearners.evaluation.judging.tops import LEAST_ROWS
from metalearners.evaluation.means import FEWEST_CLUSTERS
from metalearners.evaluation.overlap import MOST_CLIPPED

Status: TypeAlias = Literal["ok", "warn", "bad"]


@dataclass(frozen=True)
class Limit:
    """From which value of a figure on a light warns, and from which it is bad.

    Parameters
    ----------
    check : str
        The light.
    figure : str
        What is compared with the limits, in words.
    warn, bad : float or None
        The limits; None where the figure never makes the light that.
    least : bool
        Whether values below a limit are worse; else values above it.
    """

    check: str
    figure: str
    warn: float | None
    bad: float | None = None
    least: bool = False

    @property
    def line(self) -> str:
        """Its line in the table of a page."""
        side = "below" if self.least else "above"
        told = ("" if one is None else f"{side} {one:g}" for one in (self.warn, self.bad))
        return f"| {self.check} | {self.figure} | {' | '.join(told)} |"

    def status(self, value: float) -> Status:
        """The light of a value."""
        if self._beyond(value, self.bad):
            return "bad"
        return "warn" if self._beyond(value, self.warn) else "ok"

    def _beyond(self, value: float, limit: float | None) -> bool:
        return limit is not None and (value < limit if self.least else value > limit)


RATIO = Limit(
    "sample ratio mismatch",
    "p-value of the arms' sizes, where the design gives them",
    None,
    MISMATCH,
    least=True,
)
CHANCE = Limit(
    "randomisation",
    "1 where features predict the arm, or chance isn't said to have drawn it; else the number of "
    "arms whose effect adjustment changes beyond chance (p < 0.01 over all arms)",
    0,
)
CLIPPED = Limit(
    "clipped rows", "largest share of what an arm's mean rests on in clipped rows", 0, MOST_CLIPPED
)
OVERLAP = Limit(
    "overlap",
    "smallest share of an arm's effective rows that weighting by inverse propensities leaves",
    0.5,
    0.1,
    least=True,
)
DRAWN_BALANCE = Limit(
    "balance",
    "by chance: smallest p-value of a feature, adjusted for all features and arms",
    LEVEL,
    0.001,
    least=True,
)
WEIGHTED_BALANCE = Limit(
    "balance",
    "else: largest standardized difference after weighting, where it is beyond the noise band of "
    "all features and arms at once",
    0.1,
    0.25,
)
CLUSTERS = Limit("clusters", "effective clusters of an arm", FEWEST_CLUSTERS, 10, least=True)
HELD_OUT_CLUSTERS = Limit(
    "clusters", "effective held-out clusters of an arm", FEWEST_CLUSTERS, least=True
)
ROWS = Limit("few rows", "effective rows of an arm, without clusters", LEAST_ROWS, 20, least=True)
HELD_OUT = Limit("few rows", "held-out rows of an arm", LEAST_ROWS, least=True)
TAILS = Limit(
    "heavy tails", "relative error of an arm's standard error, from its kurtosis", MOST_UNSURE, 0.5
)
SLOPE = Limit(
    "calibration",
    "p-value of the slope of effects on estimates being 1, where it is below 1, adjusted for all "
    "learners and arms",
    LEVEL,
    least=True,
)
MOVES = Limit("stability", "largest spread over draws of the folds, in standard errors", 1)
FAILED = Limit("failed learners", "learners that couldn't be fitted", 0)

LIMITS = (
    *(RATIO, CHANCE, CLIPPED, OVERLAP, DRAWN_BALANCE, WEIGHTED_BALANCE, CLUSTERS),
    *(HELD_OUT_CLUSTERS, ROWS, HELD_OUT, TAILS, SLOPE, MOVES, FAILED),
)
"""All limits; the order is that of severity, where lights have the same status."""

UNSURE = (ROWS.check, CLUSTERS.check, TAILS.check)
"""Checks that say how far intervals can be relied on."""
