"""Pictures of features: which of them the estimates vary with, and effects along them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from metalearners._typing import Floats
from metalearners.evaluation.averages.features import FeatureEffect
from metalearners.evaluation.means import Estimate
from metalearners.plots.canvas import Where, band, bars, drawable, legend, limit, panel, tick, zero
from metalearners.plots.effects import forest, joint, label_of
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


def feature_effect(
    found: Sequence[FeatureEffect],
    ax: Where = None,
    *,
    arms: Sequence[str] = (),
    outcome: str = "the outcome",
    keys: bool = True,
) -> Axes:
    """Effects along one feature, with the intervals that hold for all features and arms at once.

    Ranges of numbers have steps of one width, as they have about equally many rows, and bands;
    categories have dots, one below the other.

    Parameters
    ----------
    found : sequence of FeatureEffect
        Those of one feature, as `feature_effects` returns them.
    ax : Axes or Figure, optional
        Where to draw. An empty figure gets the size that suits; by default it is a new one.
    arms : sequence of str
        Labels of the arms, without the control; by default their codes.
    outcome : str
        Its name, for the axis.
    keys : bool
        Whether several arms get a legend.

    Returns
    -------
    Axes
    """
    known = [one for one in found if one.effect is not None]
    styles = {label_of(one.arm, arms): arm_style(one.arm) for one in known}
    ranges = [one for one in known if one.low is not None]
    if not ranges:
        x_label = f"Effect on {drawable(outcome, 16)}"
        rows = _by_category(known, arms)
        return forest(rows, ax, x_label=x_label, styles=styles, keys=keys, width=3.4)
    axes = panel(ax, drawable(ranges[0].feature, 24), f"Effect on {drawable(outcome, 16)}")
    zero(axes, upright=False)
    places = sorted({(one.low, one.high) for one in ranges})
    for one in ranges:
        _step(axes, one, places.index((one.low, one.high)), styles[label_of(one.arm, arms)])
    limit(axes, [joint(one.effect, one.joint) for one in ranges if one.effect], upright=True)
    ends = [low for low, _ in places] + [places[-1][1]]
    axes.set_xticks(range(len(ends)), [tick(float(f"{end:.3g}")) for end in ends])
    axes.set_xlim(0, len(places))
    legend(axes, styles, keys)
    return axes


def _by_category(
    found: Sequence[FeatureEffect], arms: Sequence[str]
) -> dict[str, dict[str, Estimate]]:
    rows: dict[str, dict[str, Estimate]] = {}
    for one in found:
        assert one.effect is not None
        rows.setdefault(one.part, {})[label_of(one.arm, arms)] = joint(one.effect, one.joint)
    return rows


def _step(axes: Axes, found: FeatureEffect, at: int, style: Style) -> None:
    assert found.effect is not None
    if found.joint is not None:
        low, high = (np.full(2, end) for end in found.joint)
        band(axes, np.array([at, at + 1.0]), low, high, style)
    axes.plot([at, at + 1], [found.effect.estimate] * 2, color=style.colour, linewidth=1.6)
    axes.plot(at + 0.5, found.effect.estimate, style.marker, color=style.colour, markersize=5)
