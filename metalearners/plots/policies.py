"""Pictures of policies: what treating by a budget gains."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from metalearners._typing import Floats
from metalearners.evaluation.means import Estimate
from metalearners.evaluation.targeting.curves import TargetingCurve
from metalearners.plots.canvas import Where, band, drawable, interval, line, panel, zero
from metalearners.plots.styles import Style, arm_style

_RULE = arm_style(1)


def targeting(
    curve: TargetingCurve,
    ax: Where = None,
    *,
    marks: Mapping[str, tuple[float, Estimate]] | None = None,
    styles: Mapping[str, Style] | None = None,
    outcome: str = "the outcome",
) -> Axes:
    """Gain above treating nobody by budget, with the band that holds at all budgets at once.

    Where nothing costs anything, by the share of rows treated.

    Parameters
    ----------
    curve : TargetingCurve
        As `targeting_curve` returns it.
    ax : Axes or Figure, optional
        Where to draw. An empty figure gets the size that suits; by default it is a new one.
    marks : mapping of str to tuple of float and Estimate, optional
        Other policies: their spend, or their share of rows treated where nothing costs anything,
        and their gain.
    styles : mapping of str to Style, optional
        Of the marks, by their names.
    outcome : str
        What is gained, for the axis.

    Returns
    -------
    Axes
    """
    free = not np.any(curve.spend > 0)
    axes = panel(
        ax,
        "Share of rows treated" if free else "Cost per row",
        f"Gain in {drawable(outcome, 18)}{'' if free else ', before cost'}",
    )
    zero(axes, upright=False)
    x = curve.treated if free else curve.spend
    axes.plot(np.append(0.0, x), np.append(0.0, curve.value), **line(_RULE))
    known = np.isfinite(curve.joint_low)
    band(axes, *_part(known, x, curve.joint_low, curve.joint_high), _RULE)
    others = marks or {}
    longest = max([float(x[-1]), *(at for at, _ in others.values())])
    apart = _apart([at for at, _ in others.values()], 0.025 * longest)
    for at, (name, (_, found)) in zip(apart, others.items(), strict=True):
        interval(axes, found, at, (styles or {}).get(name, _RULE), upright=True)
    axes.set_xlim(-0.03 * longest, 1.05 * longest or 1)
    return axes


def _apart(places: Sequence[float], step: float) -> list[float]:
    """Places beside each other where several are one, so that no mark hides another."""
    found = []
    for k, at in enumerate(places):
        same = [j for j, other in enumerate(places) if abs(other - at) < step]
        found.append(at + (same.index(k) - (len(same) - 1) / 2) * step)
    return found


def _part(known: Floats, *columns: Floats) -> tuple[Floats, Floats, Floats]:
    x, low, high = (column[known] for column in columns)
    return x, low, high
