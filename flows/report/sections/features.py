"""Sections of a report on features: which of them the estimates vary with."""

from typing import Any

import numpy as np
from markupsafe import Markup

from flows.inputs.study import Study
from flows.report import plots, tables
from flows.report.elements import arm_labels, panels_of, who
from flows.report.figures.results import Results
from flows.report.tables import Table
from metalearners.evaluation.drivers import MOST_ALONE
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
