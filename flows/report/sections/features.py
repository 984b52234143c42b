"""Sections of a report on features: which of them estimates vary with, and who is affected."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from flows.inputs.study import Study
from flows.report import plots, tables
from flows.report.elements import Panel, arm_keys, arm_labels, panels_of, typical, who
from flows.report.figures.results import Results
from flows.report.sections.level_tests import differences
from flows.report.tables import Table
from metalearners.evaluation.averages.features import FeatureEffect
from metalearners.evaluation.drivers import MOST_ALONE
from metalearners.evaluation.findings import claims_ranking
from metalearners.plots.styles import arm_style


def drivers(study: Study, results: Results) -> dict[str, Any]:
    """Pictures of the first learner's, a table of all, in one order of the features."""
    names, (learner, shown) = study.schema.names, next(iter(results.learners.items()))
    order = np.argsort(-shown.drivers.mean(axis=1), kind="stable")
    drawn = order[: plots.MOST_FEATURES]

    def draw(k: int, label: str) -> Markup:
        shares = shown.drivers[drawn, k - 1]
        return plots.drivers([names[j] for j in drawn], shares, arm_style(k), label)

    by_who = [
        (k, label, name, f"{label}.{name}")
        for k, label in enumerate(arm_labels(study)[1:])
        for name in results.learners
    ]
    records = [
        {"feature": names[j]}
        | {key: float(results.learners[name].drivers[j, k]) for k, _, name, key in by_who}
        for j in order
    ]
    columns = [
        tables.text("Feature", "feature"),
        *(tables.percent(", ".join(who(study, *of)), key) for _, *of, key in by_who),
    ]
    table = Table("Share of the estimates' variance", columns, records, file="drivers")
    return {
        "panels": panels_of(study, draw),
        "table": table,
        "learner": learner,
        "in_blocks": len(names) > MOST_ALONE,
    }


def profiles(study: Study, results: Results) -> dict[str, Any] | None:
    """Features of the rows at both ends of the estimates; None without held-out rows.

    ``alike`` has the arms of which GATES don't show that effects differ as the estimates do.
    """
    found = results.described
    if found is None or not any(found.profiles):
        return None
    records = [
        {"arm": label, "feature": one.feature}
        | {"category": None if one.category is None else str(one.category)}
        | tables.values_of(one.lowest, "lowest.")
        | tables.values_of(one.highest, "highest.")
        | tables.values_of(one.difference, "difference.")
        for label, own in zip(arm_labels(study)[1:], found.profiles, strict=True)
        for one in own
    ]
    names = [tables.text("Arm", "arm")] if len(study.arms) > 2 else []
    names.append(tables.Column("Feature", ("feature", "category"), _feature))
    columns = [
        tables.figure("Lowest fifth", "lowest.estimate"),
        tables.figure("Highest fifth", "highest.estimate"),
        tables.with_interval("Difference (95 % interval)", prefix="difference."),
    ]
    caption = "Means of features among the rows of the lowest and of the highest estimates"
    p_values = [one["p_greater"] for one in results.learners[found.learner].gates_adjusted]
    labels = arm_labels(study)[1:]
    return {
        "table": Table(caption, [*names, *columns], records, names=len(names), file="profiles"),
        "alike": [
            label
            for label, p in zip(labels, p_values, strict=True)
            if p is None or not claims_ranking(p)
        ],
    }


def _feature(name: str, category: str | None) -> str:
    return name if category is None else f"share of {name} = {category}"


def along(study: Study, results: Results) -> dict[str, Any] | None:
    """Effects along the features that estimates vary with most; None without held-out rows."""
    found, labels = results.described, arm_labels(study)[1:]
    if found is None or not found.effects:
        return None
    scale = typical(one.effect.std_error for one in found.effects if one.effect is not None)
    records = [
        {"feature": one.feature, "part": one.part, "low": one.low, "high": one.high}
        | {"arm": labels[one.arm - 1], "rows": one.rows}
        | ({} if one.effect is None else tables.values_of(one.effect))
        | tables.ends_of(one.joint)
        for one in found.effects
    ]
    columns = [
        tables.text("Feature", "feature"),
        tables.text("Values", "part"),
        tables.text("Arm", "arm"),
        tables.count("Rows", "rows"),
        *tables.estimated(scale),
        tables.interval("95 % for all at once", scale, "joint_low", "joint_high"),
    ]
    caption = "Average effects along features, on held-out rows"
    return {
        "panels": [Panel(name, _along(study, found.effects, name)) for name in found.names],
        "table": Table(caption, columns, records, names=3, file="features"),
        "legend": arm_keys(study),
        "learner": found.learner,
        "tests": differences(study, found.tests, "Feature", file="feature_tests"),
    }


def _along(study: Study, found: Sequence[FeatureEffect], name: str) -> Markup:
    own = [one for one in found if one.feature == name]
    return plots.feature_effect(own, arm_labels(study)[1:], study.config.data.first_outcome)
