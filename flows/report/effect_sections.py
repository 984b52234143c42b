"""Sections of a report on effects: averages, estimates by row, ranking, calibration, drivers."""

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
from flows.report.results import ArmResult, Results
from metalearners._typing import Floats
from metalearners.bundle import arm_name
from metalearners.evaluation.drivers import MOST_ALONE
from metalearners.evaluation.findings import claims_ranking
from metalearners.evaluation.means import Estimate
from metalearners.evaluation.ranking import Gain, Group

_ESTIMATE = ("Estimate", "Std. error", "95 % interval")
_QUANTILES = (5, 25, 50, 75, 95)


def effects(study: Study, results: Results) -> dict[str, Any]:
    """Average effects by arm, with standard errors and intervals."""
    arms = results.arms
    scale = typical(arm.ate.std_error for arm in arms)
    rows = [
        row
        for arm in arms
        for row in (
            [
                arm_name(arm.label),
                "adjusted (AIPW)",
                *_estimate(arm.ate, scale),
                _joint(arm, scale),
            ],
            [arm_name(arm.label), "raw difference", *_estimate(arm.difference, scale), ""],
        )
    ]
    control = spoken(arm_labels(study)[0])
    head = ["Arm", "Method", *_ESTIMATE, "95 % for all arms at once"]
    adjusted = [replace(arm.ate, ci_low=arm.joint[0], ci_high=arm.joint[1]) for arm in arms]
    raw = [arm.difference for arm in arms]
    return {
        "plot": plots.effects(arm_labels(study)[1:], adjusted, raw, study.config.data.outcome),
        "table": Table(f"Average effect against {control}, per row", head, rows, names=2),
    }


def _joint(arm: ArmResult, scale: float | None) -> str:
    return f"{number(arm.joint[0], scale)} to {number(arm.joint[1], scale)}"


def _estimate(found: Estimate, scale: float | None) -> list[str]:
    interval = f"{number(found.ci_low, scale)} to {number(found.ci_high, scale)}"
    return [number(found.estimate, scale), number(found.std_error, scale), interval]


def cates(study: Study, results: Results) -> dict[str, Any]:
    """How estimates by row are distributed."""

    def draw(k: int, label: str) -> Markup:
        columns = {name: own.cate[:, k - 1] for name, own in results.learners.items()}
        outcome = study.config.data.outcome
        return plots.cate_histogram(columns, outcome, styles_of(study, k), label)

    scale = typical(s for own in results.learners.values() for s in own.cate.std(axis=0))
    rows = [
        [*who(study, label, name), *_distribution(own.cate[:, k], own.mean_cate[k], scale)]
        for k, label in enumerate(arm_labels(study)[1:])
        for name, own in results.learners.items()
    ]
    named = who(study, "Arm", "Learner")
    head = [*named, "Mean", "Std. dev.", *(f"{q} %" for q in _QUANTILES)]
    table = Table("Estimated effects over the rows", head, rows, names=len(named))
    return {"panels": panels_of(study, draw), "table": table}


def _distribution(values: Floats, mean: float, scale: float | None) -> list[str]:
    quantiles = np.quantile(values, [q / 100 for q in _QUANTILES]).tolist()
    return [number(value, scale) for value in (mean, float(values.std()), *quantiles)]


def gains(study: Study, results: Results) -> dict[str, Any] | None:
    """Gain curves with Qini coefficients; None without hold-out."""
    judged = {name: own.gains for name, own in results.learners.items() if own.gains}
    p_values = {name: own.ranking for name, own in results.learners.items()}
    if not judged:
        return None

    def draw(k: int, label: str) -> Markup:
        gains = {name: own[k - 1] for name, own in judged.items()}
        return plots.gain_curves(gains, study.config.data.outcome, styles_of(study, k), label)

    scale = typical(gain.qini_error or 0 for own in judged.values() for gain in own)
    n_rows = f"{int((~study.dataset.train).sum()):,}"
    rows = [
        [*who(study, label, name), *_gained(own[k], p_values[name][k], scale), n_rows]
        for k, label in enumerate(arm_labels(study)[1:])
        for name, own in judged.items()
    ]
    named = who(study, "Arm", "Learner")
    tested = ["p-value", "Adjusted p-value", "Better than chance"]
    head = [*named, "Qini", "Std. error", *tested, "Treating all", "Rows"]
    table = Table("Ranking on held-out rows", head, rows, names=len(named))
    return {"panels": panels_of(study, draw), "table": table, "tests": len(rows)}


def _gained(gain: Gain, p_adjusted: float, scale: float | None) -> list[str]:
    qini, error, end = (number(v, scale) for v in (gain.qini, gain.qini_error, gain.gain[-1]))
    if gain.qini_error is None:
        return [qini, error, "–", "–", "not tested", end]
    claim = "yes" if claims_ranking(p_adjusted) else "not shown"
    return [qini, error, p_value(gain.p_value), p_value(p_adjusted), claim, end]


def calibration(study: Study, results: Results) -> dict[str, Any] | None:
    """Estimates beside effects found, by group; None without hold-out."""
    judged = {name: own.groups for name, own in results.learners.items() if own.groups}
    if not judged:
        return None

    def draw(k: int, label: str) -> Markup:
        groups = {name: own[k - 1] for name, own in judged.items()}
        return plots.calibration(groups, study.config.data.outcome, styles_of(study, k), label)

    every = [group for own in judged.values() for arm in own for group in arm]
    scale = typical(group.actual.std_error for group in every)
    rows = [
        [*who(study, label, name), str(i), *_group(g, scale)]
        for k, label in enumerate(arm_labels(study)[1:])
        for name, own in judged.items()
        for i, g in enumerate(own[k], start=1)
    ]
    named = who(study, "Arm", "Learner")
    head = [*named, "Group", "Rows", "Estimated", "Found", *_ESTIMATE[1:]]
    caption = "Groups of held-out rows, lowest estimates first"
    table = Table(caption, head, rows, names=len(named))
    return {"panels": panels_of(study, draw), "table": table}


def _group(group: Group, scale: float | None) -> list[str]:
    return [f"{group.rows:,}", number(group.predicted, scale), *_estimate(group.actual, scale)]


def drivers(study: Study, results: Results) -> dict[str, Any]:
    """Pictures of the first learner's, a table of all, in one order of the features."""
    names, first = study.schema.names, next(iter(results.learners.values())).drivers
    order = np.argsort(-first.mean(axis=1), kind="stable")
    drawn = order[: plots.MOST_FEATURES]

    def draw(k: int, label: str) -> Markup:
        shares = first[drawn, k - 1]
        return plots.drivers([names[j] for j in drawn], shares, plots.arm_style(k), label)

    columns = {
        _column(label, name, study): own.drivers[:, k]
        for k, label in enumerate(arm_labels(study)[1:])
        for name, own in results.learners.items()
    }
    rows = [[names[j], *(share(values[j]) for values in columns.values())] for j in order]
    return {
        "panels": panels_of(study, draw),
        "table": Table("Share of the estimates' variance", ["Feature", *columns], rows),
        "learner": next(iter(results.learners)),
        "in_blocks": len(names) > MOST_ALONE,
    }


def _column(label: str, learner: str, study: Study) -> str:
    if len(study.learners) == 1:
        return label
    return learner if len(study.arms) == 2 else f"{label}, {learner}"
