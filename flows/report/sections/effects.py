"""Sections of a report on effects: averages, and estimates by row."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flows.inputs.study import Study
from flows.report import plots, tables
from flows.report.elements import arm_keys, arm_labels, spoken, typical
from flows.report.figures.averages import BY_CHANCE
from flows.report.figures.results import ArmResult, Results
from flows.report.sections.by_learner import by_learner
from flows.report.sections.level_tests import differences
from flows.report.tables import Record, Table
from metalearners.data.estimate_columns import arm_name
from metalearners.evaluation.average_effects import AverageEffect
from metalearners.evaluation.averages.arms import ArmDifference
from metalearners.evaluation.averages.hidden import Confounder
from metalearners.evaluation.averages.targets import ALL, OVERLAP, TREATED
from metalearners.plots.effects import joint

_POPULATIONS = {
    ALL: "All rows (ATE)",
    TREATED: "Rows of the arm (ATT)",
    OVERLAP: "Rows with overlap (ATO)",
}
_QUANTILES = (5, 25, 50, 75, 95)


def effects(study: Study, results: Results) -> dict[str, Any]:
    """Average effects by arm, with standard errors and intervals."""
    arms, labels = results.arms, arm_labels(study)
    scale = typical(arm.ate.std_error for arm in arms)
    columns = [
        tables.text("Arm", "arm"),
        tables.text("Method", "method"),
        *tables.estimated(scale),
        tables.interval("95 % for all arms at once", scale, "joint_low", "joint_high"),
    ]
    records = [row for both in zip(labels[1:], arms, strict=True) for row in _both(*both)]
    caption = f"Average effect against {spoken(labels[0])}, per row"
    return {
        "plot": plots.effects(labels[1:], arms, study.config.data.first_outcome),
        "table": Table(caption, columns, records, names=2, file="average_effects"),
    }


def _both(label: str, arm: ArmResult) -> list[Record]:
    """An arm's adjusted and raw effect."""
    adjusted = {**tables.values_of(arm.ate), **tables.ends_of(arm.joint)}
    return [
        {"arm": label, "method": "adjusted (AIPW)", **adjusted},
        {"arm": label, "method": "raw difference", **tables.values_of(arm.difference)},
    ]


def populations(study: Study, results: Results) -> dict[str, Any]:
    """Average effects of the rows of an arm, and of rows that might be in either."""
    labels, arms = arm_labels(study)[1:], results.arms
    ate = [AverageEffect(arm.ate, arm.joint) for arm in arms]
    found = {ALL: ate, **results.averages.targets}
    scale = typical(one.effect.std_error for own in found.values() for one in own)
    records = [
        {"population": _POPULATIONS[target], "target": target, "arm": label}
        | tables.values_of(one.effect)
        | tables.ends_of(one.joint)
        for target, own in found.items()
        for label, one in zip(labels, own, strict=True)
    ]
    columns = [
        tables.text("Average over", "population"),
        tables.text("Arm", "arm"),
        *tables.estimated(scale),
        tables.interval("95 % for all arms at once", scale, "joint_low", "joint_high"),
    ]
    shown = {
        _POPULATIONS[target]: {
            label: joint(one.effect, one.joint)
            for label, one in list(zip(labels, own, strict=True))[: plots.MOST_ARMS]
        }
        for target, own in found.items()
    }
    caption = f"Average effects on {study.config.data.first_outcome}, by population"
    return {
        "plot": plots.forest(shown, f"Effect on {study.config.data.first_outcome}", caption),
        "table": Table(caption, columns, records, names=2, file="populations"),
        "legend": arm_keys(study),
    }


def arms(study: Study, results: Results) -> dict[str, Any]:
    """Mean outcomes by arm, and differences of each two arms other than the control."""
    labels, found = arm_labels(study), results.averages
    outcome = study.config.data.first_outcome
    scale = typical(one.std_error for one in found.means)
    means = [
        {"arm": label, **tables.values_of(one)}
        for label, one in zip(labels, found.means, strict=True)
    ]
    columns = [tables.text("Arm", "arm"), *tables.estimated(scale, "Mean")]
    caption = f"Mean of {outcome} if all rows were in the arm, adjusted for the features"
    return {
        "means": Table(caption, columns, means, file="arm_means"),
        "differences": _differences(labels, found.pairs, outcome),
    }


def _differences(
    labels: list[str], pairs: Sequence[ArmDifference], outcome: str
) -> dict[str, Any] | None:
    """Each two arms beside each other; None without such."""
    if not pairs:
        return None
    scale = typical(one.effect.std_error for one in pairs)
    names = [f"{labels[one.arm]} − {labels[one.other]}" for one in pairs]
    records = [
        {"arm": labels[one.arm], "other": labels[one.other]}
        | tables.values_of(one.effect)
        | tables.ends_of(one.joint)
        for one in pairs
    ]
    columns = [
        tables.text("Arm", "arm"),
        tables.text("Less arm", "other"),
        *tables.estimated(scale, "Difference"),
        tables.interval("95 % for all these pairs at once", scale, "joint_low", "joint_high"),
    ]
    caption = f"Differences between arms in the mean of {outcome}, per row"
    rows = {
        name: {"": joint(one.effect, one.joint)} for name, one in zip(names, pairs, strict=True)
    }
    return {
        "plot": plots.forest(rows, f"Difference in {outcome}", caption, width=5.2, most=36),
        "table": Table(caption, columns, records, names=2, file="arm_differences"),
    }


def segments(study: Study, results: Results) -> dict[str, Any] | None:
    """Average effects by level of the segments; None without such."""
    found, labels = results.averages.segments, arm_labels(study)[1:]
    if not found:
        return None
    scale = typical(one.effect.std_error for one in found if one.effect is not None)
    records = [
        {"segment": one.segment, "level": "none" if one.level is None else str(one.level)}
        | {"arm": labels[one.arm - 1]}
        | ({} if one.effect is None else tables.values_of(one.effect))
        | {**tables.ends_of(one.joint), "rows": one.rows}
        for one in found
    ]
    columns = [
        *(tables.text(head, head.lower()) for head in ("Segment", "Level", "Arm")),
        tables.count("Rows", "rows"),
        *tables.estimated(scale),
        tables.interval("95 % for all at once", scale, "joint_low", "joint_high"),
    ]
    return {
        "plot": plots.segments(found, labels, study.config.data.first_outcome),
        "table": Table("Average effects by segment", columns, records, names=3, file="segments"),
        "legend": arm_keys(study),
        "without": sum(one.effect is None for one in found),
        "tests": differences(
            study, results.averages.segment_tests, "Segment", file="segment_tests"
        ),
    }


def sensitivity(study: Study, results: Results) -> dict[str, Any]:
    """How strong hidden confounding must be to explain an average effect away."""
    found, labels = results.averages.sensitivity, arm_labels(study)[1:]
    if found is None:
        return {"absent": BY_CHANCE}
    scale = typical(one.effect.std_error for one in found)
    records = [
        {"arm": label, **tables.values_of(one.effect)}
        | {f"bounds_{end}": value for end, value in vars(one.bounds).items()}
        | {"robustness_value": one.robustness, "robustness_value_significant": one.robustness_ci}
        for label, one in zip(labels, found, strict=True)
    ]
    columns = [
        tables.text("Arm", "arm"),
        tables.with_interval("Average effect (95 % interval)", scale),
        tables.interval("With the confounder", scale, "bounds_low", "bounds_high"),
        tables.interval("and with chance", scale, "bounds_ci_low", "bounds_ci_high"),
        tables.percent("Explains it away from", "robustness_value"),
        tables.percent("Makes it uncertain from", "robustness_value_significant"),
    ]
    caption = "Average effects with a hidden confounder"
    return {
        "absent": "",
        "plot": plots.sensitivity(labels, found, study.config.data.first_outcome),
        "table": Table(caption, columns, records, file="sensitivity"),
        "confounder": Confounder(),
    }


def realised(found: Mapping[str, Any]) -> Table | None:
    """Effects that the last run's model predicted for the rows, beside their average effects."""
    rows = found.get("realised", {}).get("effects", [])
    if not rows:
        return None
    scale = typical(row["actual"]["std_error"] for row in rows)
    kinds = {
        "predicted": "Predicted",
        "actual": "Average effect",
        "difference": "Difference",
    }
    columns = [
        tables.text("Learner", "learner"),
        tables.text("Arm", "arm"),
        *(tables.with_interval(head, scale, f"{kind}.") for kind, head in kinds.items()),
        tables.p_values("p", "p_value"),
    ]
    records = [
        {"learner": row["learner"], "arm": arm_name(row["arm"]), "p_value": row["p_value"]}
        | {f"{kind}.{key}": value for kind in kinds for key, value in row[kind].items()}
        for row in rows
    ]
    return Table(
        f"Effects that the model of {found['since']} predicts for new rows on average, and their "
        "average effects, with 95 % intervals. p is that of a model that is right on average",
        columns,
        records,
        names=2,
        file="realised",
    )


def cates(study: Study, results: Results) -> dict[str, Any]:
    """How estimates by row are distributed."""
    estimates = {name: own.known.T for name, own in results.learners.items()}
    scale = typical(s for own in estimates.values() for s in own.std(axis=1))

    def record(name: str, k: int) -> list[Record]:
        column = estimates[name][k]
        found = np.quantile(column, [q / 100 for q in _QUANTILES]).tolist()
        quantiles = {f"q{q:02}": value for q, value in zip(_QUANTILES, found, strict=True)}
        mean = results.learners[name].mean_cate[k]
        return [{"mean": mean, "deviation": float(column.std()), **quantiles}]

    columns = [
        tables.figure("Mean", "mean", scale),
        tables.figure("Std. dev.", "deviation", scale),
        *(tables.figure(f"{q} %", f"q{q:02}", scale) for q in _QUANTILES),
    ]
    table = Table("Estimated effects over the rows", columns, [], file="estimate_quantiles")
    return by_learner(study, estimates, plots.cate_histogram, table, record)
