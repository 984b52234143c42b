"""Pictures of the rows of the arms: overlap of their propensities, balance of their features."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from metalearners._typing import Floats
from metalearners.plots.canvas import Where, bars, drawable, panel, zero
from metalearners.plots.effects import shares
from metalearners.plots.styles import FAINT, INK, PALE, Style, arm_style


def overlap(
    own: Floats,
    others: Floats,
    ax: Where = None,
    *,
    arm: str = "treatment",
    clip: tuple[float, float] = (0.0, 1.0),
    style: Style | None = None,
) -> Axes:
    """Histograms of an arm's propensity: among its own rows, filled, and among the others.

    Parameters
    ----------
    own, others : (n,) array
        Probabilities of the arm.
    ax : Axes or Figure, optional
        Where to draw. An empty figure gets the size that suits; by default it is a new one.
    arm : str
        The arm's label.
    clip : tuple of float
        Bounds that propensities are kept within, drawn as dashed lines.
    style : Style, optional
        Of the arm.

    Returns
    -------
    Axes
    """
    axes = panel(ax, f"Probability of {drawable(arm, 18)}", "Share of rows")
    top = min(1.0, 1.08 * float(max(own.max(), others.max())) + 0.02)
    edges = np.linspace(0, top, 41)
    colour = (style or arm_style(1)).colour
    axes.stairs(shares(own, edges), edges, fill=True, color=colour, alpha=0.45)
    axes.stairs(shares(others, edges), edges, color=INK, linewidth=1.1)
    for limit in clip:
        if 0 < limit < top:
            axes.axvline(limit, color=FAINT, linewidth=0.9, dashes=(4, 3))
    axes.set_xlim(0, top)
    return axes


def balance(
    features: Sequence[str],
    difference: Floats,
    noise: Floats | None = None,
    ax: Where = None,
    *,
    before: Floats | None = None,
) -> Axes:
    """Dots of standardized differences against the control, on bars of what chance explains.

    With the differences before weighting, it is the field's Love plot.

    Parameters
    ----------
    features : sequence of str
        p names.
    difference : (p, K-1) array
        A column for each arm, as `standardized_differences` returns them.
    noise : (p, K-1) array, optional
        Size of the differences that chance alone explains.
    before : (p, K-1) array, optional
        Differences before weighting, drawn as hollow dots.
    ax : Axes or Figure, optional
        Where to draw. An empty figure gets the size that suits; by default it is a new one.

    Returns
    -------
    Axes
    """
    axes = bars(ax, features, "Standardized difference", unit=0.24)
    zero(axes)
    for limit in (-0.1, 0.1):
        axes.axvline(limit, color=FAINT, linewidth=0.8, dashes=(4, 3))
    n_arms = difference.shape[1]
    offsets = np.linspace(-0.25, 0.25, n_arms) if n_arms > 1 else [0.0]  # so that no dot hides
    chance = np.zeros_like(difference) if noise is None else noise
    earlier = np.full_like(difference, np.nan) if before is None else before
    for j in range(n_arms):
        style = arm_style(j + 1)
        position = np.arange(len(features)) + offsets[j]
        axes.hlines(position, -chance[:, j], chance[:, j], color=PALE, linewidth=4)
        mark: dict[str, Any] = {
            "marker": style.marker,
            "color": style.colour,
            "linestyle": "",
            "markersize": 4.5,
        }
        axes.plot(earlier[:, j], position, mfc="white", **mark)
        axes.plot(difference[:, j], position, alpha=0.9, **mark)
    seen = [
        float(np.nan_to_num(np.abs(one)).max(initial=0)) for one in (difference, chance, earlier)
    ]
    reach = max(0.15, 1.1 * max(seen))
    axes.set_xlim(-reach, reach)
    return axes
