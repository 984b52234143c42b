"""Pictures of a report: those of the library and of the run's course, each with its text."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from flows.report.figures.results import ArmResult
from flows.report.images import image_of, pairs
from metalearners import plots
from metalearners._typing import Floats
from metalearners.evaluation.averages.features import FeatureEffect
from metalearners.evaluation.averages.hidden import Sensitivity
from metalearners.evaluation.averages.segments import SegmentEffect
from metalearners.evaluation.judging.calibration import Group
from metalearners.evaluation.judging.comparison import Comparison
from metalearners.evaluation.judging.judgement import Judgement
from metalearners.evaluation.means import Estimate
from metalearners.evaluation.repeats import Stability
from metalearners.evaluation.targeting.curves import TargetingCurve
from metalearners.plots.canvas import SMALL, bars, drawable
from metalearners.plots.styles import ARMS, FAINT, INK, Style, arm_style, learner_styles

MOST_FEATURES = 20
"""Features drawn in one picture."""

MOST_ARMS = 7
"""Arms that get pictures of their own."""


def rows_by_arm(labels: Sequence[str], fitted: Sequence[int], held_out: Sequence[int]) -> Markup:
    """Bars of the rows of each arm; held-out rows have a lighter shade."""
    axes = bars(Figure(), labels, "Rows")
    for k in range(len(labels)):
        colour = arm_style(k).colour
        axes.barh(k, fitted[k], color=colour, height=0.62)
        axes.barh(k, held_out[k], left=fitted[k], color=colour, alpha=0.4, height=0.62)
    total = np.add(fitted, held_out)
    axes.set_xlim(0, 1.05 * total.max())
    return image_of(axes, f"Rows of each arm: {pairs(labels, total)}.")


def balance(
    features: Sequence[str], differences: Floats, noise: Floats, labels: Sequence[str]
) -> Markup:
    """Dots of standardized differences against the control, on bars of what chance explains.

    `differences` and `noise` are (p, K-1): a row for each feature, a column for each arm.
    """
    worst = float(np.nan_to_num(np.abs(differences)).max(initial=0))
    about = f"{len(features)} features by {', '.join(labels)}; largest size {worst:.2g}"
    return image_of(
        plots.balance(features, differences, noise, Figure()),
        f"Standardized differences of {about}. Lines at -0.1 and 0.1; grey bars hold 95 % of "
        "differences by chance alone.",
    )


def overlap(
    own: Floats, others: Floats, clip: tuple[float, float], style: Style, label: str
) -> Markup:
    """Histograms of an arm's propensity: among its own rows, and among the others."""
    return image_of(
        plots.overlap(own, others, Figure(), arm=label, clip=clip, style=style),
        f"Histogram of the probability of {label}: from {own.min():.3g} to {own.max():.3g} among "
        f"its own rows, from {others.min():.3g} to {others.max():.3g} among the others.",
    )


def effects(labels: Sequence[str], arms: Sequence[ArmResult], outcome: str) -> Markup:
    """Forest plot: doubly robust effects above plain differences; joint intervals of several."""
    adjusted = {label: arm.ate for label, arm in zip(labels, arms, strict=True)}
    raw = {label: arm.difference for label, arm in zip(labels, arms, strict=True)}
    joint = {label: arm.joint for label, arm in zip(labels, arms, strict=True)}
    joint = joint if len(arms) > 1 else {}
    values = pairs(labels, [f"{arm.ate.estimate:.3g}" for arm in arms])
    return image_of(
        plots.average_effects(adjusted, Figure(), raw=raw, joint=joint, outcome=outcome),
        f"Average effects with{' joint' if joint else ''} 95 % intervals: {values}.",
    )


def forest(
    rows: Mapping[str, Mapping[str, Estimate]], x_label: str, about: str, **more: Any
) -> Markup:
    """Estimates by arm with intervals, a row for each label; `more` as for the plot."""
    labels = list(dict.fromkeys(label for row in rows.values() for label in row))
    styles = {label: arm_style(k) for k, label in enumerate(labels, start=1)}
    about_axes = {"x_label": drawable(x_label, 32), "styles": styles, "keys": False}
    axes = plots.forest(rows, Figure(), **about_axes, **more)
    return image_of(axes, f"{about}: {_told(rows)}.")


def _told(rows: Mapping[str, Mapping[str, Estimate]]) -> str:
    """Estimates by row and mark, for those who hear a picture."""
    return "; ".join(
        f"{label}: {pairs(list(row), [f'{one.estimate:.3g}' for one in row.values()])}"
        for label, row in rows.items()
    )


def segments(found: Sequence[SegmentEffect], labels: Sequence[str], outcome: str) -> Markup:
    """Effects of segments with joint intervals."""
    drawn = [one for one in found if one.arm <= MOST_ARMS]
    names = list(dict.fromkeys(one.segment for one in found))
    return image_of(
        plots.segments(drawn, Figure(), arms=labels, outcome=outcome, keys=False),
        f"Average effects of segments by {', '.join(names)}, with joint 95 % intervals.",
    )


def sensitivity(labels: Sequence[str], found: Sequence[Sensitivity], outcome: str) -> Markup:
    """Average effects above what they may be with a hidden confounder."""
    effects = {label: one.effect for label, one in zip(labels, found, strict=True)}
    bounds = {
        label: replace(one.effect, ci_low=one.bounds.ci_low, ci_high=one.bounds.ci_high)
        for label, one in zip(labels, found, strict=True)
    }
    values = pairs(labels, [f"{one.ci_low:.3g} to {one.ci_high:.3g}" for one in bounds.values()])
    return image_of(
        plots.average_effects(effects, Figure(), raw=bounds, outcome=outcome),
        f"Average effects, and bounds with a hidden confounder: {values}.",
    )


def weighting(
    features: Sequence[str], before: Floats, after: Floats, labels: Sequence[str]
) -> Markup:
    """Dots of standardized differences after weighting, on hollow ones of those before.

    `before` and `after` are (p, K-1): a row for each feature, a column for each arm.
    """
    sizes = (f"{float(np.abs(own).max(initial=0)):.2g}" for own in (before, after))
    return image_of(
        plots.balance(features, after, ax=Figure(), before=before),
        f"Standardized differences by {', '.join(labels)}; largest size {next(sizes)} before "
        f"weighting, {next(sizes)} after. Lines at -0.1 and 0.1.",
    )


def cate_histogram(
    estimates: Mapping[str, Floats], outcome: str, styles: Mapping[str, Style], label: str
) -> Markup:
    """Histograms of the estimated effects of one arm, an outline for each learner."""
    means = pairs(list(estimates), [f"{v.mean():.3g}" for v in estimates.values()])
    return image_of(
        plots.estimates(estimates, Figure(), outcome=outcome, styles=styles, keys=False),
        f"Histogram of the estimated effects of {label}; means: {means}.",
    )


def gain_curves(
    judged: Mapping[str, Judgement], outcome: str, styles: Mapping[str, Style], label: str
) -> Markup:
    """Gain curves of one arm, with bands and the line of random treatment."""
    last = next(iter(judged.values())).gain.gain.value[-1]
    areas = pairs(list(judged), [f"{one.qini.estimate.estimate:.3g}" for one in judged.values()])
    return image_of(
        plots.qini(judged, Figure(), outcome=outcome, styles=styles, keys=False),
        f"Gain curve of {label}, from 0 to {last:.3g}; Qini: {areas}.",
    )


def toc_curves(
    judged: Mapping[str, Judgement], outcome: str, styles: Mapping[str, Style], label: str
) -> Markup:
    """Effects of the rows with the highest estimates above the average."""
    areas = pairs(list(judged), [f"{one.autoc.estimate.estimate:.3g}" for one in judged.values()])
    return image_of(
        plots.toc(judged, Figure(), outcome=outcome, styles=styles, keys=False),
        f"Effect of the top rows above the average, {label}; AUTOC: {areas}.",
    )


def gates(
    groups: Mapping[str, Sequence[Group]], outcome: str, styles: Mapping[str, Style], label: str
) -> Markup:
    """Effects found in groups of rows by estimate."""
    ends = [
        f"{own[0].actual.estimate:.3g} to {own[-1].actual.estimate:.3g}"
        for own in groups.values()
        if own
    ]
    named = [name for name, own in groups.items() if own]
    return image_of(
        plots.gates(groups, Figure(), outcome=outcome, styles=styles, keys=False),
        f"Effects of {label} from the group of the lowest to that of the highest estimates: "
        f"{pairs(named, ends)}.",
    )


def feature_effect(found: Sequence[FeatureEffect], labels: Sequence[str], outcome: str) -> Markup:
    """Effects along a feature with joint intervals."""
    drawn = [one for one in found if one.arm <= MOST_ARMS]
    return image_of(
        plots.feature_effect(drawn, Figure(), arms=labels, outcome=outcome, keys=False),
        f"Average effects by {found[0].feature}, in {len({(o.low, o.category) for o in found})} "
        "parts, with joint 95 % intervals.",
    )


def candidates(found: Comparison) -> Markup:
    """AUTOC of candidates less that of the best, with intervals that hold for all at once."""
    rows = {one.candidate: {one.candidate: one.difference_to_best} for one in found.ranking}
    styles = learner_styles([one.candidate for one in found.ranking])
    x_label = f"AUTOC less that of {drawable(found.chosen, 16)}"
    axes = plots.forest(rows, Figure(), x_label=x_label, styles=styles, keys=False)
    return image_of(axes, f"{x_label}: {_told(rows)}.")


def targeting(
    curve: TargetingCurve,
    marks: Mapping[str, tuple[float, Estimate]],
    styles: Mapping[str, Style],
    outcome: str,
) -> Markup:
    """Gain by budget with its band, and other policies beside it."""
    values = pairs(list(marks), [f"{found.estimate:.3g}" for _, found in marks.values()])
    axes = plots.targeting(curve, Figure(), marks=marks, styles=styles, outcome=outcome)
    return image_of(axes, f"Gain by budget, up to {float(curve.value[-1]):.3g}; {values}.")


def moves(rows: Mapping[str, Stability]) -> Markup:
    """Ranges of figures over draws, in standard errors around the median."""
    shown = {label: {"": _in_errors(one)} for label, one in rows.items()}
    axes = plots.forest(shown, Figure(), x_label="Standard errors from the median")
    for end in (-1, 1):
        axes.axvline(end, color=FAINT, linewidth=0.8, dashes=(4, 3))
    worst = max((one.relative for one in rows.values()), default=0)
    return image_of(axes, f"Ranges of figures over draws; largest spread {worst:.2g} errors.")


def _in_errors(found: Stability) -> Estimate:
    error = found.spread / found.relative
    low, high = ((end - found.median) / error for end in (found.lowest, found.highest))
    return Estimate(0.0, 1.0, low, high, np.inf)


def calibration(
    groups: Mapping[str, Sequence[Group]], outcome: str, styles: Mapping[str, Style], label: str
) -> Markup:
    """Mean doubly robust scores, with 95 % intervals, against mean estimates of the same rows."""
    count = pairs(list(groups), [f"{len(own)} groups" for own in groups.values()])
    return image_of(
        plots.calibration(groups, Figure(), outcome=outcome, styles=styles, keys=False),
        f"Effects found against estimated effects of {label}: {count}.",
    )


def drivers(features: Sequence[str], shares: Floats, style: Style, label: str) -> Markup:
    """Bars of the share of the estimates' variance that goes through each feature."""
    top = f"{features[0]} with {shares[0]:.0%}" if len(features) else "none"
    return image_of(
        plots.drivers(features, shares, Figure(), style=style),
        f"Share of variance through each feature, {label}; first {top}.",
    )


def stage_times(names: Sequence[str], seconds: Sequence[float]) -> Markup:
    """Bars of the time that each stage took."""
    axes = bars(Figure(), names, "Seconds")
    axes.barh(np.arange(len(names)), seconds, color=ARMS[1].colour, height=0.62)
    shown = pairs(names, [f"{value:.2g} s" for value in seconds])
    return image_of(axes, f"Time of each stage: {shown}.")


def settings_png(names: Sequence[str], settings: Sequence[Mapping[str, float]]) -> bytes:
    """Bars of the seconds that a run takes by setting, with a line from fastest to slowest turn.

    The first setting, which is kept, has a colour of its own.
    """
    figure = Figure()
    axes = bars(figure, names, "Seconds for all fits of a run")
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
