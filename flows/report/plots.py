"""Pictures of a report: from numbers to an ``<img>`` that holds its own SVG."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from flows.report.canvas import (
    ARMS,
    FAINT,
    INK,
    PALE,
    SMALL,
    Style,
    arm_style,
    bars,
    dash,
    drawable,
    image_of,
    interval,
    pairs,
    panel,
    tick,
)
from metalearners._typing import Array, Floats
from metalearners.evaluation.judging.calibration import Group
from metalearners.evaluation.judging.curves import Gain
from metalearners.evaluation.judging.judgement import Judgement
from metalearners.evaluation.means import Estimate

MOST_FEATURES = 20
"""Features drawn in one picture."""

MOST_ARMS = 7
"""Arms that get pictures of their own."""


def rows_by_arm(labels: Sequence[str], fitted: Sequence[int], held_out: Sequence[int]) -> Markup:
    """Bars of the rows of each arm; held-out rows have a lighter shade."""
    figure, axes = bars(labels, "Rows")
    for k in range(len(labels)):
        colour = arm_style(k).colour
        axes.barh(k, fitted[k], color=colour, height=0.62)
        axes.barh(k, held_out[k], left=fitted[k], color=colour, alpha=0.4, height=0.62)
    total = np.add(fitted, held_out)
    axes.set_xlim(0, 1.05 * total.max())
    return image_of(figure, f"Rows of each arm: {pairs(labels, total)}.")


def balance(
    features: Sequence[str], differences: Floats, noise: Floats, labels: Sequence[str]
) -> Markup:
    """Dots of standardized differences against the control, on bars of what chance explains.

    `differences` and `noise` are (p, K-1): a row for each feature, a column for each arm.
    """
    figure, axes = bars(features, "Standardized difference", unit=0.24)
    axes.axvline(0, color=FAINT, linewidth=0.8)
    for limit in (-0.1, 0.1):
        axes.axvline(limit, color=FAINT, linewidth=0.8, dashes=(4, 3))
    n_arms = differences.shape[1]
    offsets = np.linspace(-0.25, 0.25, n_arms) if n_arms > 1 else [0.0]  # so that no dot hides
    for j, values in enumerate(differences.T):
        style = arm_style(j + 1)
        position = np.arange(len(features)) + offsets[j]
        axes.hlines(position, -noise[:, j], noise[:, j], color=PALE, linewidth=4)
        axes.plot(values, position, style.marker, color=style.colour, markersize=4.5, alpha=0.9)
    worst = float(np.nan_to_num(np.abs(differences)).max(initial=0))
    reach = max(0.15, 1.1 * worst, 1.1 * float(np.nan_to_num(noise).max(initial=0)))
    axes.set_xlim(-reach, reach)
    about = f"{len(features)} features by {', '.join(labels)}; largest size {worst:.2g}"
    return image_of(
        figure,
        f"Standardized differences of {about}. Lines at -0.1 and 0.1; grey bars hold 95 % of "
        "differences by chance alone.",
    )


def overlap(
    own: Floats, others: Floats, clip: tuple[float, float], style: Style, label: str
) -> Markup:
    """Histograms of an arm's propensity: among its own rows, and among the others."""
    figure, axes = panel(f"Probability of {drawable(label, 18)}", "Share of rows")
    top = min(1.0, 1.08 * float(max(own.max(), others.max())) + 0.02)
    edges = np.linspace(0, top, 41)
    axes.stairs(_shares(own, edges), edges, fill=True, color=style.colour, alpha=0.45)
    axes.stairs(_shares(others, edges), edges, color=INK, linewidth=1.1)
    for limit in clip:
        if 0 < limit < top:
            axes.axvline(limit, color=FAINT, linewidth=0.9, dashes=(4, 3))
    axes.set_xlim(0, top)
    return image_of(
        figure,
        f"Histogram of the probability of {label}: from {own.min():.3g} to {own.max():.3g} among "
        f"its own rows, from {others.min():.3g} to {others.max():.3g} among the others.",
    )


def effects(
    labels: Sequence[str], adjusted: Sequence[Estimate], raw: Sequence[Estimate], outcome: str
) -> Markup:
    """Forest plot: doubly robust effects, with joint intervals, above plain differences."""
    figure, axes = bars(labels, f"Effect on {drawable(outcome, 16)}, per row", unit=0.5)
    axes.axvline(0, color=FAINT, linewidth=0.8)
    for k, (ours, plain) in enumerate(zip(adjusted, raw, strict=True)):
        style = arm_style(k + 1)
        interval(axes, ours, k - 0.15, style)
        interval(axes, plain, k + 0.2, style, raw=True)
    values = pairs(labels, [f"{e.estimate:.3g}" for e in adjusted])
    return image_of(figure, f"Average effects with joint 95 % intervals: {values}.")


def cate_histogram(
    estimates: Mapping[str, Floats], outcome: str, styles: Mapping[str, Style], label: str
) -> Markup:
    """Histograms of the estimated effects of one arm, an outline for each learner."""
    figure, axes = panel(f"Estimated effect on {drawable(outcome, 18)}", "Share of rows")
    inner = [np.quantile(values, (0.01, 0.99)) for values in estimates.values()]
    low, high = min(q[0] for q in inner), max(q[1] for q in inner)
    margin = 0.02 * (high - low) or 0.5 * abs(high) or 1.0
    edges = np.linspace(low - margin, high + margin, 61)
    for name, values in estimates.items():
        colour, shares = styles[name].colour, _shares(values, edges)
        if len(estimates) == 1:
            axes.stairs(shares, edges, fill=True, color=colour, alpha=0.45)
        axes.stairs(shares, edges, color=colour, linewidth=1.2, linestyle=dash(styles[name]))
    if edges[0] < 0 < edges[-1]:
        axes.axvline(0, color=FAINT, linewidth=0.9, dashes=(4, 3))
    axes.set_xlim(edges[0], edges[-1])
    means = pairs(list(estimates), [f"{v.mean():.3g}" for v in estimates.values()])
    return image_of(figure, f"Histogram of the estimated effects of {label}; means: {means}.")


def gain_curves(
    judged: Mapping[str, Judgement], outcome: str, styles: Mapping[str, Style], label: str
) -> Markup:
    """Gain curves of one arm, with bands and the line of random treatment.

    Bands of several learners would hide each other. So each learner has a strip below, with the
    distance of its curve from the line.
    """
    figure, axes = panel("Share of rows treated, highest first", f"Gain in {drawable(outcome, 18)}")
    gains = {name: one.gain for name, one in judged.items()}
    last = next(iter(gains.values())).gain.value[-1]
    axes.plot([0, 1], [0, last], color=INK, linewidth=0.9, dashes=(4, 3))
    for name, gain in gains.items():
        style = styles[name]
        axes.plot(*_from_zero(gain.gain.share, gain.gain.value), **_line(style))
    axes.set_xlim(0, 1)
    if len(gains) > 1:
        _strips(figure, axes, gains, styles)
    else:
        (gain,) = gains.values()
        line = gain.above_line.share * last
        ends = (line + gain.above_line.joint_low, line + gain.above_line.joint_high)
        _band(axes, gain.above_line.share, *ends, next(iter(styles.values())))
    areas = pairs(list(judged), [f"{one.qini.estimate.estimate:.3g}" for one in judged.values()])
    return image_of(figure, f"Gain curve of {label}, from 0 to {last:.3g}; Qini: {areas}.")


def _strips(
    figure: Figure, axes: Axes, gains: Mapping[str, Gain], styles: Mapping[str, Style]
) -> None:
    """Add a strip for each learner below: its curve's distance from the line, with its band."""
    width, above = figure.get_size_inches()
    strip = 0.62
    height = above + strip * len(gains) + 0.1
    left, bottom, across, up = axes.get_position().bounds
    figure.set_size_inches(width, height)
    axes.set_position((left, 1 - above * (1 - bottom) / height, across, up * above / height))
    curves = [gain.above_line for gain in gains.values()]
    ends = [end for one in curves for end in (one.joint_low, one.joint_high, one.value)]
    reach = 1.1 * max(float(np.nanmax(np.abs(end), initial=0)) for end in ends) or 1.0
    for row, (name, gain) in enumerate(gains.items()):
        base = 0.1 + strip * (len(gains) - 1 - row)
        own = figure.add_axes((left, base / height, across, (strip - 0.08) / height))
        own.set(xlim=(0, 1), ylim=(-reach, reach), xticks=[])
        _strip(own, name, gain, styles[name])


def _strip(axes: Axes, name: str, gain: Gain, style: Style) -> None:
    curve = gain.above_line
    _band(axes, curve.share, curve.joint_low, curve.joint_high, style)
    axes.plot(*_from_zero(curve.share, curve.value), color=style.colour, linewidth=1.2)
    axes.axhline(0, color=INK, linewidth=0.9, dashes=(4, 3))
    axes.yaxis.set_major_locator(MaxNLocator(2, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(tick))
    axes.tick_params(labelsize=SMALL - 1, color=FAINT, labelcolor=INK, length=3)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(FAINT)
    axes.text(0.99, 0.98, name, transform=axes.transAxes, ha="right", va="top", fontsize=SMALL)


def _from_zero(share: Floats, value: Floats) -> tuple[Floats, Floats]:
    return np.append(0.0, share), np.append(0.0, value)


def _line(style: Style) -> dict[str, Any]:
    return {"color": style.colour, "linewidth": 1.6, "linestyle": dash(style)}


def _band(axes: Axes, share: Floats, low: Floats, high: Floats, style: Style) -> None:
    axes.fill_between(share, low, high, color=style.colour, alpha=0.16, linewidth=0)


def calibration(
    groups: Mapping[str, Sequence[Group]], outcome: str, styles: Mapping[str, Style], label: str
) -> Markup:
    """Mean doubly robust scores, with 95 % intervals, against mean estimates of the same rows."""
    of = drawable(outcome, 14)
    figure, axes = panel(f"Estimated effect on {of}", f"Effect on {of} found")
    for name, own in groups.items():
        for group in own:
            interval(axes, group.actual, group.predicted, styles[name], upright=True)
    seen = [g.predicted for own in groups.values() for g in own]
    if seen:
        axes.axline((seen[0], seen[0]), slope=1, color=INK, linewidth=0.9, dashes=(4, 3))
    count = pairs(list(groups), [f"{len(own)} groups" for own in groups.values()])
    return image_of(figure, f"Effects found against estimated effects of {label}: {count}.")


def drivers(features: Sequence[str], shares: Floats, style: Style, label: str) -> Markup:
    """Bars of the share of the estimates' variance that goes through each feature."""
    figure, axes = bars(features, "Share of variance", unit=0.21, width=3.4, most=16)
    axes.barh(np.arange(len(features)), shares, color=style.colour, height=0.66)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    top = f"{features[0]} with {shares[0]:.0%}" if len(features) else "none"
    return image_of(figure, f"Share of variance through each feature, {label}; first {top}.")


def stage_times(names: Sequence[str], seconds: Sequence[float]) -> Markup:
    """Bars of the time that each stage took."""
    figure, axes = bars(names, "Seconds")
    axes.barh(np.arange(len(names)), seconds, color=ARMS[1].colour, height=0.62)
    shown = pairs(names, [f"{value:.2g} s" for value in seconds])
    return image_of(figure, f"Time of each stage: {shown}.")


def settings_png(names: Sequence[str], settings: Sequence[Mapping[str, float]]) -> bytes:
    """Bars of the seconds that a run takes by setting, with a line from fastest to slowest turn.

    The first setting, which is kept, has a colour of its own.
    """
    figure, axes = bars(names, "Seconds for all fits of a run")
    seconds, fastest, slowest = (
        np.array([row[key] for row in settings]) for key in ("seconds", "fastest", "slowest")
    )
    colours = [ARMS[1].colour, *[ARMS[0].colour] * (len(names) - 1)]
    turns = np.array([seconds - fastest, slowest - seconds])
    rows = np.arange(len(names))
    axes.barh(rows, seconds, color=colours, height=0.62, xerr=turns, ecolor=INK)
    axes.set_xlim(0, 1.2 * max(slowest))
    for position, (value, end) in enumerate(zip(seconds, slowest, strict=True)):
        axes.text(end, position, f" {value:.3g}", va="center", fontsize=SMALL, color=INK)
    buffer = io.BytesIO()
    figure.set_dpi(144)
    FigureCanvasAgg(figure).print_png(buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def _shares(values: Array, edges: Floats) -> Floats:
    return np.histogram(values, edges)[0] / max(len(values), 1)
