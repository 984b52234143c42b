"""How sentences show names, amounts and intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10

from metalearners.evaluation.means import Estimate
from metalearners.showing.results import Shown

_LEAST_P = 0.001
_LARGE = 1000
_MOST_NAMES = 6
_FEW = 0.01
INTERVAL = "95 % interval "
JOINT = "joint 95 % interval "


@dataclass(frozen=True)
class Words(Shown):
    """How a verdict shows figures.

    Parameters
    ----------
    outcome : str
        Its name.
    binary : bool
        Whether it is 0 or 1: its effects are then shown in percentage points.
    people : int
        Number of rows that it is about, for totals; 0 where none are told, as rows have weights.
    """

    outcome: str
    binary: bool = False
    people: int = 0

    def amount(self, value: float) -> str:
        """An effect, in units of the outcome."""
        return f"{number(100 * value)} percentage points" if self.binary else number(value)

    def mean(self, value: float) -> str:
        """A mean outcome."""
        return f"{number(100 * value)} %" if self.binary else number(value)

    def interval(self, low: float, high: float) -> str:
        """The ends of an interval of effects."""
        ends = [number(100 * end if self.binary else end) for end in (low, high)]
        return " to ".join(ends)

    def estimate(self, found: Estimate, kind: str = INTERVAL) -> str:
        """An estimate with its interval."""
        return f"{self.amount(found.estimate)} ({kind}{self.interval(found.ci_low, found.ci_high)})"

    def each(self, found: Estimate, kind: str = INTERVAL) -> str:
        """An estimate with its interval, as a mean over people."""
        shown = self.estimate(found, kind)
        return shown if self.binary else shown.replace(" (", " a person (", 1)

    def moves(
        self,
        arm: str,
        value: float,
        ends: tuple[float, float],
        means: tuple[float, float] | None = None,
    ) -> str:
        """What an arm does to the outcome, with an interval of the size that the verb says."""
        verb, low, high = ("raises", *ends) if value > 0 else ("lowers", -ends[1], -ends[0])
        size = f"{self.amount(abs(value))} ({INTERVAL}{self.interval(low, high)})"
        levels = f" from {self.mean(means[0])} to {self.mean(means[1])}," if means else ""
        return f"{arm} {verb} {self.outcome}{levels} by {size}"

    def in_all(self, found: Estimate, counted: bool) -> str:
        """A mean over people times their number, with a comma before it; empty without one.

        Where it is `counted`, it is how many people more have the outcome, and else an amount.
        """
        if not self.people:
            return ""
        at, *ends = (
            rounded(self.people * x) for x in (found.estimate, found.ci_low, found.ci_high)
        )
        what = "more in" if counted else "in all for"
        return f", {at} {what} {self.people:,} such people ({' to '.join(ends)})"


def money(found: Estimate) -> str:
    """An estimate in units of costs, as a mean over people."""
    ends = f"{number(found.ci_low)} to {number(found.ci_high)}"
    return f"{number(found.estimate)} ({INTERVAL}{ends})"


def given(names: Sequence[str], shares: Sequence[float], counts: Sequence[int]) -> str:
    """Which arm is for how many, the control last; counts of people, where they are known."""
    own = [count / sum(counts) for count in counts] if counts else shares
    told = [percent(share) for share in own]
    if counts:
        told = [f"{n:,} people ({share} of all)" for n, share in zip(counts, told, strict=True)]
    else:
        told = [f"{share} of people" for share in told]
    parts = [f"{arm} for {who}" for arm, who in zip(names, told, strict=True)]
    return several(
        [*(one for one, share in zip(parts[1:], own[1:], strict=True) if share), parts[0]]
    )


def number(value: float) -> str:
    """Three digits; large numbers in full."""
    return f"{value:,.0f}" if abs(value) >= _LARGE else f"{value + 0.0:.3g}"


def rounded(value: float) -> str:
    """Three digits, zeros for the others."""
    digits = 2 - floor(log10(abs(value))) if value else 0
    return number(round(value, digits))


def percent(share: float) -> str:
    """A share in percent; a small one isn't shown as nothing."""
    return f"{100 * share:.2g} %" if share < _FEW else f"{100 * share:.0f} %"


def p_value(p: float) -> str:
    """A p-value; the smallest ones as a bound."""
    return f"p = {p:.2g}" if p >= _LEAST_P else f"p < {_LEAST_P}"


def several(names: Sequence[str], last: str = "and") -> str:
    """Names in a row; of many, the first ones and how many more."""
    own = list(names)
    if len(own) > _MOST_NAMES:
        own = [*own[: _MOST_NAMES - 1], f"{len(own) - _MOST_NAMES + 1} more"]
    return f" {last} ".join([", ".join(own[:-1]), own[-1]] if len(own) > 1 else own)
