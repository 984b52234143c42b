"""Sections of a report on effects: averages, estimates by row, ranking, calibration, drivers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from markupsafe import Markup

from flows.inputs.study import Study
from flows.report import plots
from flows.report.elements import (
    Table,
    arm_labels,
    number,
    p_value,
    panels_of,
    share,
    spoken,
    styles_of,
    typical,
    who,
)
from flows.report.figures.results import Results
from metalearners.data.estimate_columns import arm_name
from metalearners.evaluation.drivers import MOST_ALONE
from metalearners.evaluation.findings import claims_ranking
from metalearners.evaluation.judging.judgement import Judgement
from metalearners.evaluation.means import Estimate
from metalearners.plots.styles import arm_style

_ESTIMATE = ("Estimate", "Std. error", "95 % interval")
_QUANTILES = (5, 25, 50, 75, 95)


def effects(study: Study, results: Results) -> dict[str, Any]:
    """Average effects by arm, with standard errors and intervals."""
    arms, labels = results.arms, arm_labels(study)
    scale = typical(arm.ate.std_error for arm in arms)
    rows = []
    for label, arm in zip(labels[1:], arms, strict=True):
        joint = f"{number(arm.joint[0], scale)} to {number(arm.joint[1], scale)}"
        rows.append([label, "adjusted (AIPW)", *_estimate(arm.ate, scale), joint])
        rows.append([label, "raw difference", *_estimate(arm.difference, scale), ""])
    head = ["Arm", "Method", *_ESTIMATE, "95 % for all arms at once"]
    adjusted = [replace(arm.ate, ci_low=arm.joint[0], ci_high=arm.joint[1]) for arm in arms]
    raw = [arm.difference for arm in arms]
    caption = f"Average effect against {spoken(labels[0])}, per row"
    return {
        "plot": plots.effects(labels[1:], adjusted, raw, study.config.data.first_outcome),
        "table": Table(caption, head, rows, names=2),
    }


def realised(found: Mapping[str, Any]) -> Table | None:
    """Effects that the last run's model predicted for the rows, beside their average effects."""
    rows = found.get("realised", {}).get("effects", [])
    if not rows:
        return None
    scale = typical(row["actual"]["std_error"] for row in rows)
    return Table(
        f"Effects that the model of {found['since']} predicts for new rows on average, and their "
        "average effects, with 95 % intervals. p is that of a model that is right on average",
        ["Learner", "Arm", "Predicted", "Average effect", "Difference", "p"],
        [
            [
                row["learner"],
                arm_name(row["arm"]),
                *(_with_interval(row[key], scale) for key in ("predicted", "actual", "difference")),
                p_value(row["p_value"]),
            ]
            for row in rows
        ],
        names=2,
    )


def _with_interval(found: Mapping[str, float], scale: float | None) -> str:
    value, low, high = (number(found[key], scale) for key in ("estimate", "ci_low", "ci_high"))
    return f"{value} ({low} to {high})"


def _estimate(found: Estimate, scale: float | None) -> list[str]:
    interval = f"{number(found.ci_low, scale)} to {number(found.ci_high, scale)}"
    return [number(found.estimate, scale), number(found.std_error, scale), interval]


def _by_learner(
    study: Study,
    values: Mapping[str, Any],
    draw: Callable[..., Markup],
    caption: str,
    head: Sequence[str],
    cells: Callable[[str, int], list[list[str]]],
) -> dict[str, Any]:
    """A picture for each arm, of all learners, and a table with rows for each arm and learner.

    Parameters
    ----------
    values : mapping
        What `draw` draws, by learner and by arm other than the control.
    cells : callable
        The table's rows of a learner and an arm, without their names.
    """
    names, outcome = who(study, "Arm", "Learner"), study.config.data.first_outcome

    def draw_arm(k: int, label: str) -> Markup:
        own = {learner: by_arm[k - 1] for learner, by_arm in values.items()}
        return draw(own, outcome, styles_of(study, k), label)

    rows = [
        [*who(study, label, learner), *row]
        for k, label in enumerate(arm_labels(study)[1:])
        for learner in values
        for row in cells(learner, k)
    ]
    table = Table(caption, [*names, *head], rows, names=len(names))
    return {"panels": panels_of(study, draw_arm), "table": table}


def cates(study: Study, results: Results) -> dict[str, Any]:
    """How estimates by row are distributed."""
    estimates = {name: own.known.T for name, own in results.learners.items()}
    scale = typical(s for own in estimates.values() for s in own.std(axis=1))

    def cells(name: str, k: int) -> list[list[str]]:
        column, mean = estimates[name][k], results.learners[name].mean_cate[k]
        quantiles = np.quantile(column, [q / 100 for q in _QUANTILES]).tolist()
        return [[number(value, scale) for value in (mean, float(column.std()), *quantiles)]]

    caption = "Estimated effects over the rows"
    head = ["Mean", "Std. dev.", *(f"{q} %" for q in _QUANTILES)]
    return _by_learner(study, estimates, plots.cate_histogram, caption, head, cells)


def gains(study: Study, results: Results) -> dict[str, Any] | None:
    """Gain curves with Qini coefficients; None without hold-out."""
    judged = _judged(results)
    if not judged:
        return None
    scale = typical(one.qini.estimate.std_error for own in judged.values() for one in own)
    n_rows = f"{int(study.judged.sum()):,}"

    def cells(name: str, k: int) -> list[list[str]]:
        adjusted = results.learners[name].qini_adjusted[k]
        return [[*_gained(judged[name][k], adjusted, scale), n_rows]]

    tested = ["p-value", "Adjusted p-value", "Better than chance"]
    head = ["Qini", "Std. error", *tested, "Treating all", "Rows"]
    caption = "Ranking on held-out rows"
    section = _by_learner(study, judged, plots.gain_curves, caption, head, cells)
    return {**section, "tests": len(section["table"].rows)}


def _judged(results: Results) -> dict[str, list[Judgement]]:
    """What held-out rows say of the learners; empty without such rows."""
    return {name: own.judged for name, own in results.learners.items() if own.judged}


def _gained(judged: Judgement, p_adjusted: float, scale: float | None) -> list[str]:
    found, end = judged.qini.estimate, float(judged.gain.gain.value[-1])
    qini, error, last = (number(v, scale) for v in (found.estimate, found.std_error, end))
    claim = "yes" if claims_ranking(p_adjusted) else "not shown"
    return [qini, error, p_value(judged.qini.p_greater), p_value(p_adjusted), claim, last]


def calibration(study: Study, results: Results) -> dict[str, Any] | None:
    """Estimates beside the effects found, by group; None without hold-out."""
    judged = {name: [one.groups for one in own] for name, own in _judged(results).items()}
    if not judged:
        return None
    every = [group for own in judged.values() for arm in own for group in arm]
    scale = typical(group.actual.std_error for group in every)

    def cells(name: str, k: int) -> list[list[str]]:
        return [
            [str(i), f"{g.rows:,}", number(g.predicted, scale), *_estimate(g.actual, scale)]
            for i, g in enumerate(judged[name][k], start=1)
        ]

    head = ["Group", "Rows", "Estimated", "Found", *_ESTIMATE[1:]]
    caption = "Groups of held-out rows, lowest estimates first"
    return _by_learner(study, judged, plots.calibration, caption, head, cells)


def drivers(study: Study, results: Results) -> dict[str, Any]:
    """Pictures of the first learner's, a table of all, in one order of the features."""
    names, (learner, shown) = study.schema.names, next(iter(results.learners.items()))
    order = np.argsort(-shown.drivers.mean(axis=1), kind="stable")
    drawn = order[: plots.MOST_FEATURES]

    def draw(k: int, label: str) -> Markup:
        shares = shown.drivers[drawn, k - 1]
        return plots.drivers([names[j] for j in drawn], shares, arm_style(k), label)

    columns = {
        ", ".join(who(study, label, name)): own.drivers[:, k]
        for k, label in enumerate(arm_labels(study)[1:])
        for name, own in results.learners.items()
    }
    rows = [[names[j], *(share(values[j]) for values in columns.values())] for j in order]
    return {
        "panels": panels_of(study, draw),
        "table": Table("Share of the estimates' variance", ["Feature", *columns], rows),
        "learner": learner,
        "in_blocks": len(names) > MOST_ALONE,
    }
