"""Sections of a report on effects: averages, estimates by row, ranking, calibration, drivers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from markupsafe import Markup

from flows.inputs.study import Study
from flows.report import plots
from flows.report.elements import (
    Panel,
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
from flows.report.results import Results
from metalearners._typing import Floats
from metalearners.evaluation.drivers import MOST_ALONE
from metalearners.evaluation.findings import claims_ranking
from metalearners.evaluation.means import Estimate
from metalearners.evaluation.ranking import Gain, Group

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
        "plot": plots.effects(labels[1:], adjusted, raw, study.config.data.outcome),
        "table": Table(caption, head, rows, names=2),
    }


def _estimate(found: Estimate, scale: float | None) -> list[str]:
    interval = f"{number(found.ci_low, scale)} to {number(found.ci_high, scale)}"
    return [number(found.estimate, scale), number(found.std_error, scale), interval]


def _panels(
    study: Study, draw: Callable[..., Markup], by_learner: Mapping[str, Sequence[Any]]
) -> list[Panel]:
    """A picture for each arm, of all learners' values for it."""

    def draw_arm(k: int, label: str) -> Markup:
        values = {name: own[k - 1] for name, own in by_learner.items()}
        return draw(values, study.config.data.outcome, styles_of(study, k), label)

    return panels_of(study, draw_arm)


def _table(
    study: Study,
    caption: str,
    head: Sequence[str],
    learners: Sequence[str],
    cells: Callable[[str, int], list[list[str]]],
) -> Table:
    """A table with rows for each arm and learner; `cells` gives them without their names."""
    rows = [
        [*who(study, label, name), *row]
        for k, label in enumerate(arm_labels(study)[1:])
        for name in learners
        for row in cells(name, k)
    ]
    named = who(study, "Arm", "Learner")
    return Table(caption, [*named, *head], rows, names=len(named))


def cates(study: Study, results: Results) -> dict[str, Any]:
    """How estimates by row are distributed."""
    learners = results.learners
    scale = typical(s for own in learners.values() for s in own.cate.std(axis=0))

    def cells(name: str, k: int) -> list[list[str]]:
        own = learners[name]
        return [_distribution(own.cate[:, k], own.mean_cate[k], scale)]

    head = ["Mean", "Std. dev.", *(f"{q} %" for q in _QUANTILES)]
    columns = {name: list(own.cate.T) for name, own in learners.items()}
    return {
        "panels": _panels(study, plots.cate_histogram, columns),
        "table": _table(study, "Estimated effects over the rows", head, [*learners], cells),
    }


def _distribution(values: Floats, mean: float, scale: float | None) -> list[str]:
    quantiles = np.quantile(values, [q / 100 for q in _QUANTILES]).tolist()
    return [number(value, scale) for value in (mean, float(values.std()), *quantiles)]


def gains(study: Study, results: Results) -> dict[str, Any] | None:
    """Gain curves with Qini coefficients; None without hold-out."""
    judged = {name: own.gains for name, own in results.learners.items() if own.gains}
    if not judged:
        return None
    scale = typical(gain.qini_error or 0 for own in judged.values() for gain in own)
    n_rows = f"{int((~study.dataset.train).sum()):,}"

    def cells(name: str, k: int) -> list[list[str]]:
        return [[*_gained(judged[name][k], results.learners[name].ranking[k], scale), n_rows]]

    tested = ["p-value", "Adjusted p-value", "Better than chance"]
    head = ["Qini", "Std. error", *tested, "Treating all", "Rows"]
    table = _table(study, "Ranking on held-out rows", head, [*judged], cells)
    panels = _panels(study, plots.gain_curves, judged)
    return {"panels": panels, "table": table, "tests": len(table.rows)}


def _gained(gain: Gain, p_adjusted: float, scale: float | None) -> list[str]:
    qini, error, end = (number(v, scale) for v in (gain.qini, gain.qini_error, gain.gain[-1]))
    if gain.qini_error is None:
        return [qini, error, "–", "–", "not tested", end]
    claim = "yes" if claims_ranking(p_adjusted) else "not shown"
    return [qini, error, p_value(gain.p_value), p_value(p_adjusted), claim, end]


def calibration(study: Study, results: Results) -> dict[str, Any] | None:
    """Estimates beside the effects found, by group; None without hold-out."""
    judged = {name: own.groups for name, own in results.learners.items() if own.groups}
    if not judged:
        return None
    every = [group for own in judged.values() for arm in own for group in arm]
    scale = typical(group.actual.std_error for group in every)

    def cells(name: str, k: int) -> list[list[str]]:
        groups = enumerate(judged[name][k], start=1)
        return [[str(i), *_group(group, scale)] for i, group in groups]

    head = ["Group", "Rows", "Estimated", "Found", *_ESTIMATE[1:]]
    caption = "Groups of held-out rows, lowest estimates first"
    return {
        "panels": _panels(study, plots.calibration, judged),
        "table": _table(study, caption, head, [*judged], cells),
    }


def _group(group: Group, scale: float | None) -> list[str]:
    return [f"{group.rows:,}", number(group.predicted, scale), *_estimate(group.actual, scale)]


def drivers(study: Study, results: Results) -> dict[str, Any]:
    """Pictures of the first learner's, a table of all, in one order of the features."""
    names, (learner, shown) = study.schema.names, next(iter(results.learners.items()))
    order = np.argsort(-shown.drivers.mean(axis=1), kind="stable")
    drawn = order[: plots.MOST_FEATURES]

    def draw(k: int, label: str) -> Markup:
        shares = shown.drivers[drawn, k - 1]
        return plots.drivers([names[j] for j in drawn], shares, plots.arm_style(k), label)

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
