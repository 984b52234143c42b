"""How arms and learners are drawn in every picture: never by colour alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from metalearners.registry import REGISTRY


@dataclass(frozen=True)
class Style:
    """How an arm or a learner is drawn.

    Parameters
    ----------
    colour : str
        As ``#rrggbb``.
    marker : str
        As matplotlib has them.
    dash : str
        Lengths of dashes and gaps in points, such as ``"6 2"``; empty for a solid line.
    """

    colour: str
    marker: str = "o"
    dash: str = ""


# Okabe and Ito's palette, without the colours that are faint on white; grey is the control.
ARMS = [
    Style("#6b7280", "o"),
    Style("#0072b2", "o"),
    Style("#d55e00", "s"),
    Style("#009e73", "^"),
    Style("#aa4499", "D"),
    Style("#b07d00", "v"),
    Style("#56b4e9", "P"),
    Style("#332288", "X"),
]
# Markers and dashes of candidates, which no learner has.
_CANDIDATES = [("p", "3 1"), ("h", "1 1"), ("*", "5 1 1 1"), ("<", "2 4"), (">", "10 1")]
INK, FAINT, PALE = "#1f2933", "#6b7280", "#d9dde3"


def arm_style(code: int) -> Style:
    """How the arm of a code is drawn; 0 is the control."""
    return ARMS[code] if code < len(ARMS) else ARMS[1 + (code - 1) % (len(ARMS) - 1)]


def learner_style(name: str, candidates: Sequence[str] = ()) -> Style:
    """How a learner is drawn where several share a picture, or one of these candidates."""
    if name not in REGISTRY:
        at = candidates.index(name)
        arm, pattern = ARMS[1 + at % (len(ARMS) - 1)], _CANDIDATES[at % len(_CANDIDATES)]
        return Style(arm.colour, *pattern)
    entry = REGISTRY[name]
    return Style(entry.colour, entry.marker, entry.dash)


def learner_styles(names: Iterable[str]) -> dict[str, Style]:
    """How the learners and candidates of a picture are drawn."""
    named = list(names)
    candidates = [name for name in named if name not in REGISTRY]
    return {name: learner_style(name, candidates) for name in named}
