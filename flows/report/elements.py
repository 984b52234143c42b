"""Parts of a report's sections: pictures with titles, legends, numbers."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from flows.inputs.study import Study
from flows.report import plots
from metalearners.data.estimate_columns import arm_name
from metalearners.plots.styles import Style, arm_style, learner_styles


@dataclass(frozen=True)
class Key:
    """An entry of a legend."""

    style: Style
    label: str


@dataclass(frozen=True)
class Panel:
    """A picture with its title."""

    title: str
    image: Markup


def number(value: float | None, scale: float | None = None) -> str:
    """A number in three significant digits, with thousands separators.

    With a scale, such as the standard error, its digits decide the number of decimals: numbers
    that belong together are rounded alike.
    """
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(scale) if scale and math.isfinite(scale) else abs(value)
    if size == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(size)))
    if decimals > 6:
        return f"{value:.2e}"
    text = f"{value:,.{decimals}f}"
    return text.removeprefix("-") if not text.strip("-0.,") else text


def share(value: float) -> str:
    """A share as a percentage."""
    return f"{100 * value:.1f} %"


def spoken(label: str) -> str:
    """An arm's label inside a sentence, where a bare number would read as a quantity."""
    return label if any(c.isalpha() for c in label) else f"arm {label}"


def arm_labels(study: Study) -> list[str]:
    """Labels of the arms, the control first."""
    return [arm_name(arm) for arm in study.arms]


def legend(study: Study) -> list[Key]:
    """The learners' keys, where several share a picture."""
    if len(study.learners) == 1:
        return []
    return [Key(style, name) for name, style in learner_styles(study.learners).items()]


def arm_keys(study: Study) -> list[Key]:
    """The arms' keys, where several share a picture; without the control."""
    labels = arm_labels(study)[1 : plots.MOST_ARMS + 1]
    keys = [Key(arm_style(k), label) for k, label in enumerate(labels, start=1)]
    return keys if len(keys) > 1 else []


def styles_of(study: Study, code: int) -> dict[str, Style]:
    """How learners are drawn in an arm's picture: a single one in the arm's colour."""
    if len(study.learners) == 1:
        return dict.fromkeys(study.learners, arm_style(code))
    return learner_styles(study.learners)


def who(study: Study, arm: str, learner: str) -> list[str]:
    """The names of a table's row: arm and learner, but neither where there is only one."""
    if len(study.learners) == 1:
        return [arm]
    return [learner] if len(study.arms) == 2 else [arm, learner]


def panels_of(study: Study, draw: Callable[[int, str], Markup], first: int = 1) -> list[Panel]:
    """A picture for each arm from the first on, if there are not too many."""
    labels = arm_labels(study)[: plots.MOST_ARMS + 1]
    return [Panel(label, draw(k, label)) for k, label in enumerate(labels) if k >= first]


def p_value(value: float) -> str:
    """A p-value in three digits, or that it is below a thousandth."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def typical(sizes: Iterable[float]) -> float | None:
    """The median of the positive sizes: its digits decide how a table is rounded."""
    known = [size for size in sizes if size > 0]
    return float(np.median(known)) if known else None
