"""Pictures of how well estimates order rows: curves over the share of rows treated."""

from collections.abc import Mapping
from dataclasses import fields

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from metalearners._typing import Floats
from metalearners.evaluation.judging.curves import Curve, Gain
from metalearners.evaluation.judging.judgement import Judgement
from metalearners.plots.canvas import (
    SMALL,
    Styles,
    Where,
    band,
    by_name,
    drawable,
    legend,
    line,
    panel,
    styles_of,
    tick,
)
from metalearners.plots.styles import FAINT, INK, Style

_SHARE = "Share of rows treated, highest first"

_FIRST = 0.05

Judged = Judgement | Gain
"""What has the curves of a learner: `judge` and `gain_curve` return such."""


def qini(
    judged: Judged | Mapping[str, Judged],
    ax: Where = None,
    *,
    outcome: str = "the outcome",
    styles: Styles = None,
    keys: bool = True,
) -> Axes:
    """Gain by the share of rows treated, and the line of treating as many at random.

    The area between curve and line is Qini. A single learner has the band of their distance, which
    holds at all shares at once. Bands of several would hide each other. So each has a strip below,
    with the distance and its band, if there is room: not where axes are given.

    Parameters
    ----------
    judged : Judgement or Gain, or mapping of str to such
        Of one arm; of several learners by name.
    ax : Axes or Figure, optional
        Where to draw. An empty figure gets the size that suits; by default it is a new one.
    outcome : str
        Its name, for the axis.
    styles : mapping of str to Style, optional
        By learner; by default those of the registry.
    keys : bool
        Whether several learners get a legend.

    Returns
    -------
    Axes
        Those of the curves.
    """
    axes = panel(ax, _SHARE, f"Gain in {drawable(outcome, 18)}")
    gains = _gains(judged)
    styles = styles_of(gains, styles)
    last = next(iter(gains.values())).gain.value[-1]
    axes.plot([0, 1], [0, last], color=INK, linewidth=0.9, dashes=(4, 3))
    for name, gain in gains.items():
        axes.plot(*_from_zero(gain.gain), **line(styles[name]))
    axes.set_xlim(0, 1)
    if len(gains) == 1:
        ((name, gain),) = gains.items()
        _band(axes, gain.above_line, styles[name], gain.above_line.share * last)
    elif not isinstance(ax, Axes):
        _strips(axes, {name: gain.above_line for name, gain in gains.items()}, styles)
    legend(axes, styles, keys)
    return axes


def toc(
    judged: Judged | Mapping[str, Judged],
    ax: Where = None,
    *,
    outcome: str = "the outcome",
    styles: Styles = None,
    keys: bool = True,
) -> Axes:
    """Effect of the rows with the highest estimates above the average effect, by their share.

    The targeting operator characteristic: its mean over shares is AUTOC. Bands are as those of
    `qini`. Curves are drawn from where bands hold, or from 5 % of the rows where none does, as the
    first few rows tell next to nothing.

    Parameters
    ----------
    judged : Judgement or Gain, or mapping of str to such
        Of one arm; of several learners by name.
    ax, outcome, styles, keys
        As for `qini`.

    Returns
    -------
    Axes
    """
    axes = panel(ax, _SHARE, f"Effect on {drawable(outcome, 14)} above average")
    gains = _gains(judged)
    styles = styles_of(gains, styles)
    axes.axhline(0, color=INK, linewidth=0.9, dashes=(4, 3))
    curves = {name: _from(gain.begin, gain.toc) for name, gain in gains.items()}
    for name, curve in curves.items():
        axes.plot(curve.share, curve.value, **line(styles[name]))
    axes.set_xlim(0, 1)
    if len(curves) == 1:
        ((name, curve),) = curves.items()
        _band(axes, curve, styles[name])
    elif not isinstance(ax, Axes):
        _strips(axes, curves, styles)
    legend(axes, styles, keys)
    return axes


def _gains(judged: Judged | Mapping[str, Judged]) -> dict[str, Gain]:
    named = by_name(judged)
    return {name: one if isinstance(one, Gain) else one.gain for name, one in named.items()}


def _from(begin: float, curve: Curve) -> Curve:
    """The part of a curve whose band is known; where no part is, without its first rows."""
    known = curve.share >= (begin if begin < 1 else _FIRST)
    return Curve(*(getattr(curve, one.name)[known] for one in fields(curve)))


def _strips(axes: Axes, curves: Mapping[str, Curve], styles: Mapping[str, Style]) -> None:
    """Add a strip for each learner below: its curve's distance from a line, with its band."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    width, above = figure.get_size_inches()
    strip = 0.62
    height = above + strip * len(curves) + 0.1
    left, bottom, across, up = axes.get_position().bounds
    figure.set_size_inches(width, height)
    axes.set_position((left, 1 - above * (1 - bottom) / height, across, up * above / height))
    ends = [x for one in curves.values() for x in (one.joint_low, one.joint_high, one.value)]
    reach = 1.1 * max(float(np.nanmax(np.abs(end), initial=0)) for end in ends) or 1.0
    for row, (name, curve) in enumerate(curves.items()):
        base = 0.1 + strip * (len(curves) - 1 - row)
        own = figure.add_axes((left, base / height, across, (strip - 0.08) / height))
        own.set(xlim=(0, 1), ylim=(-reach, reach), xticks=[])
        _strip(own, name, curve, styles[name])


def _strip(axes: Axes, name: str, curve: Curve, style: Style) -> None:
    _band(axes, curve, style)
    axes.plot(curve.share, curve.value, color=style.colour, linewidth=1.2)
    axes.axhline(0, color=INK, linewidth=0.9, dashes=(4, 3))
    axes.yaxis.set_major_locator(MaxNLocator(2, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(tick))
    axes.tick_params(labelsize=SMALL - 1, color=FAINT, labelcolor=INK, length=3)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(FAINT)
    axes.text(
        *(0.99, 0.98, drawable(name, 24)),
        transform=axes.transAxes,
        ha="right",
        va="top",
        fontsize=SMALL,
        color=INK,
    )


def _from_zero(curve: Curve) -> tuple[Floats, Floats]:
    return np.append(0.0, curve.share), np.append(0.0, curve.value)


def _band(axes: Axes, curve: Curve, style: Style, above: Floats | float = 0.0) -> None:
    band(axes, curve.share, above + curve.joint_low, above + curve.joint_high, style)
