"""Pictures of effects: averages with intervals, and estimates by row."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes

from metalearners._typing import Array, Floats
from metalearners.evaluation.averages.segments import SegmentEffect
from metalearners.evaluation.means import Estimate
from metalearners.plots.canvas import (
    Styles,
    Where,
    bars,
    by_name,
    dash,
    drawable,
    ends_beyond,
    interval,
    legend,
    limit,
    panel,
    styles_of,
    zero,
)
from metalearners.plots.styles import FAINT, arm_style


def average_effects(
    effects: Mapping[str, Estimate],
    ax: Where = None,
    *,
    raw: Mapping[str, Estimate] | None = None,
    joint: Mapping[str, tuple[float, float]] | None = None,
    outcome: str = "the outcome",
) -> Axes:
    """Average effects of arms as dots with their intervals, one below the other (forest plot).

    Parameters
    ----------
    effects : mapping of str to Estimate
        By the arm's label, in units of the outcome.
    ax : Axes or Figure, optional
        Where to draw. An empty figure gets the size that suits; by default it is a new one.
    raw : mapping of str to Estimate, optional
        Unadjusted effects of the same arms, drawn below as hollow dots.
    joint : mapping of str to tuple of float, optional
        Ends of the intervals that hold for all arms at once, drawn as thin lines with end marks.
    outcome : str
        Its name, for the axis.

    Returns
    -------
    Axes
    """
    axes = bars(ax, list(effects), f"Effect on {drawable(outcome, 16)}, per row", unit=0.5)
    zero(axes)
    for k, (label, found) in enumerate(effects.items()):
        at = k - 0.15 if raw else k
        interval(axes, found, at, arm_style(k + 1))
        if joint:
            ends_beyond(axes, joint[label], at, arm_style(k + 1))
        if raw:
            interval(axes, raw[label], k + 0.2, arm_style(k + 1), raw=True)
    return axes


def forest(
    rows: Mapping[str, Mapping[str, Estimate]],
    ax: Where = None,
    *,
    x_label: str = "Effect",
    styles: Styles = None,
    keys: bool = True,
    width: float = 4.3,
    most: int = 24,
) -> Axes:
    """Estimates with their intervals, a row for each label, one or more marks in each.

    An interval more than twelve times as long as the shortest may leave the picture.

    Parameters
    ----------
    rows : mapping of str to mapping of str to Estimate
        By the row's label, estimates by arm or learner; some may be absent.
    ax : Axes or Figure, optional
        As for `average_effects`.
    x_label : str
        What the estimates are.
    styles : mapping of str to Style, optional
        By arm or learner; by default those of learners, or that of an arm where there is only one.
    keys : bool
        Whether several arms or learners get a legend.
    width : float
        Of a figure, in inches.
    most : int
        Characters of a label; of longer ones, the middle is cut.

    Returns
    -------
    Axes
    """
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    styles = styles_of(names, styles)
    several = max(map(len, rows.values()), default=1) > 1
    unit = 0.26 + 0.1 * (len(names) - 1) * several
    axes = bars(ax, list(rows), x_label, unit=unit, width=width, most=most)
    zero(axes)
    places = np.linspace(-0.3, 0.3, len(names) + 2)[1:-1] * several
    offsets = dict(zip(names, places, strict=True))
    for k, row in enumerate(rows.values()):
        for name, found in row.items():
            interval(axes, found, k + offsets[name], styles[name])
    limit(axes, [found for row in rows.values() for found in row.values()])
    legend(axes, styles, keys)
    return axes


def segments(
    found: Sequence[SegmentEffect],
    ax: Where = None,
    *,
    arms: Sequence[str] = (),
    outcome: str = "the outcome",
    keys: bool = True,
) -> Axes:
    """Effects of segments, with the intervals that hold for all of them at once.

    Parameters
    ----------
    found : sequence of SegmentEffect
        As `segment_effects` returns them; those without an effect are left out.
    ax, outcome
        As for `average_effects`.
    arms : sequence of str
        Labels of the arms, without the control; by default their codes.
    keys : bool
        Whether several arms get a legend.

    Returns
    -------
    Axes
    """
    rows: dict[str, dict[str, Estimate]] = {}
    for one in found:
        if one.effect is not None:
            level = "none" if one.level is None else one.level
            row = rows.setdefault(f"{one.segment}: {level}", {})
            row[label_of(one.arm, arms)] = joint(one.effect, one.joint)
    styles = {label_of(one.arm, arms): arm_style(one.arm) for one in found}
    x_label = f"Effect on {drawable(outcome, 16)}, per row"
    return forest(rows, ax, x_label=x_label, styles=styles, keys=keys)


def joint(found: Estimate, ends: tuple[float, float] | None) -> Estimate:
    """An estimate with the interval that holds for several at once."""
    return found if ends is None else replace(found, ci_low=ends[0], ci_high=ends[1])


def label_of(arm: int, arms: Sequence[str]) -> str:
    """An arm's label, or its code where there are no labels."""
    return arms[arm - 1] if arms else str(arm)


def estimates(
    cate: Array | Mapping[str, Floats],
    ax: Where = None,
    *,
    outcome: str = "the outcome",
    styles: Styles = None,
    keys: bool = True,
) -> Axes:
    """Histograms of estimated effects; the outermost 1 % on each side may lie outside.

    Parameters
    ----------
    cate : (n,) array, or mapping of str to (n,) array
        Estimates of one arm's effect; of several learners by name.
    ax, outcome
        As for `average_effects`.
    styles : mapping of str to Style, optional
        By learner; by default those of the registry.
    keys : bool
        Whether several learners get a legend.

    Returns
    -------
    Axes
    """
    axes = panel(ax, f"Estimated effect on {drawable(outcome, 18)}", "Share of rows")
    named = by_name(cate)
    styles = styles_of(named, styles)
    inner = [np.quantile(values, (0.01, 0.99)) for values in named.values()]
    low, high = min(q[0] for q in inner), max(q[1] for q in inner)
    margin = 0.02 * (high - low) or 0.5 * abs(high) or 1.0
    edges = np.linspace(low - margin, high + margin, 61)
    for name, values in named.items():
        colour, found = styles[name].colour, shares(values, edges)
        if len(named) == 1:
            axes.stairs(found, edges, fill=True, color=colour, alpha=0.45)
        axes.stairs(found, edges, color=colour, linewidth=1.2, linestyle=dash(styles[name]))
    if edges[0] < 0 < edges[-1]:
        axes.axvline(0, color=FAINT, linewidth=0.9, dashes=(4, 3))
    axes.set_xlim(edges[0], edges[-1])
    legend(axes, styles, keys)
    return axes


def shares(values: Array, edges: Floats) -> Floats:
    """Shares of the values between edges; those outside count in the whole."""
    return np.histogram(values, edges)[0] / max(len(values), 1)
