"""Pictures of features: which of them the estimates vary with."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from metalearners._typing import Floats
from metalearners.plots.canvas import Where, bars
from metalearners.plots.styles import Style, arm_style


def drivers(
    features: Sequence[str], share: Floats, ax: Where = None, *, style: Style | None = None
) -> Axes:
    """Bars of the share of the estimates' variance that goes through each feature.

    Parameters
    ----------
    features : sequence of str
        p names, the first on top.
    share : (p,) array
        A column of what `effect_drivers` returns.
    ax : Axes or Figure, optional
        Where to draw. An empty figure gets the size that suits; by default it is a new one.
    style : Style, optional
        Of the arm.

    Returns
    -------
    Axes
    """
    axes = bars(ax, features, "Share of variance", unit=0.21, width=3.4, most=16)
    colour = (style or arm_style(1)).colour
    axes.barh(np.arange(len(features)), share, color=colour, height=0.66)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    return axes
