"""Sections that show each learner's figures of each arm."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from markupsafe import Markup

from flows.inputs.study import Study
from flows.report import tables
from flows.report.elements import arm_labels, panels_of, styles_of
from flows.report.tables import Column, Record, Table


def by_learner(
    study: Study,
    values: Mapping[str, Any],
    draw: Callable[..., Markup],
    table: Table,
    records: Callable[[str, int], list[Record]],
) -> dict[str, Any]:
    """A picture for each arm, of all learners, and a table with rows for each arm and learner.

    Parameters
    ----------
    values : mapping
        What `draw` draws, by learner and by arm other than the control.
    table : Table
        The table's columns, without those of arm and learner, and no records.
    records : callable
        Those of a learner and an arm, without their names.
    """

    def draw_arm(k: int, label: str) -> Markup:
        own = {learner: by_arm[k - 1] for learner, by_arm in values.items()}
        return draw(own, study.config.data.first_outcome, styles_of(study, k), label)

    return {"panels": panels_of(study, draw_arm), "table": filled(study, values, table, records)}


def filled(
    study: Study,
    learners: Mapping[str, Any],
    table: Table,
    records: Callable[[str, int], list[Record]],
) -> Table:
    """A table with the rows of each arm and learner."""
    rows = [
        {"arm": label, "learner": learner, **record}
        for k, label in enumerate(arm_labels(study)[1:])
        for learner in learners
        for record in records(learner, k)
    ]
    names = named(study)
    return replace(table, columns=[*names, *table.columns], records=rows, names=len(names))


def named(study: Study) -> list[Column]:
    """Columns of arm and learner, but neither where there is only one."""
    arm, learner = tables.text("Arm", "arm"), tables.text("Learner", "learner")
    if len(study.learners) == 1:
        return [arm]
    return [learner] if len(study.arms) == 2 else [arm, learner]
