"""How sentences show names, amounts and intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

from metalearners.evaluation.means import Estimate
from metalearners.showing.results import Shown

_LEAST_P = 0.001
_LARGE = 1000
_MOST_NAMES = 6
_FEW = 0.01


@dataclass(frozen=True)
class Words(Shown):
    """How a verdict shows figures.

    Parameters
    ----------
    outcome : str
        Its name.
    binary : bool
        Whether it is 0 or 1: its effects are then shown in percentage points.
    """

    outcome: str
    binary: bool = False

    def amount(self, value: float) -> str:
        """An effect, in units of the outcome."""
        return f"{number(100 * value)} percentage points" if self.binary else number(value)

    def interval(self, low: float, high: float) -> str:
        """The ends of an interval of effects."""
        ends = [number(100 * end if self.binary else end) for end in (low, high)]
        return " to ".join(ends)

    def estimate(self, found: Estimate, kind: str = "95 % interval ") -> str:
        """An estimate with its interval."""
        return f"{self.amount(found.estimate)} ({kind}{self.interval(found.ci_low, found.ci_high)})"

    def each(self, found: Estimate, kind: str = "95 % interval ") -> str:
        """An estimate with its interval, as a mean over people."""
        shown = self.estimate(found, kind)
        return shown if self.binary else shown.replace(" (", " a person (", 1)

    def moves(self, arm: str, value: float, ends: tuple[float, float], kind: str = "") -> str:
        """What an arm does to the outcome, with an interval of the size that the verb says."""
        verb, low, high = ("raises", *ends) if value > 0 else ("lowers", -ends[1], -ends[0])
        size = f"{self.amount(abs(value))} ({kind}{self.interval(low, high)})"
        return f"{arm} {verb} {self.outcome} by {size}"


def money(found: Estimate) -> str:
    """An estimate in units of costs, as a mean over people."""
    return f"{number(found.estimate)} (95 % interval {' to '.join(map(number, _ends(found)))})"


def _ends(found: Estimate) -> tuple[float, float]:
    return found.ci_low, found.ci_high


def number(value: float) -> str:
    """Three digits; large numbers in full."""
    return f"{value:,.0f}" if abs(value) >= _LARGE else f"{value + 0.0:.3g}"


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
