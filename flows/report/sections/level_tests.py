"""Tables of tests of whether an effect differs between levels."""

from collections.abc import Sequence
from typing import Any

from flows.inputs.study import Study
from flows.report import tables
from flows.report.elements import arm_labels
from flows.report.tables import Table
from metalearners.evaluation.averages.levels import LevelTest


def differences(
    study: Study, found: Sequence[LevelTest], kind: str, *, file: str
) -> dict[str, Any]:
    """Whether effects differ between the levels of segments or features, and how many tests."""
    labels = arm_labels(study)[1:]
    records = [
        {kind.lower(): one.segment, "arm": labels[one.arm - 1], "levels": one.levels}
        | {"p_value": one.p_value, "p_value_adjusted": one.p_adjusted}
        for one in found
    ]
    columns = [
        tables.text(kind, kind.lower()),
        tables.text("Arm", "arm"),
        tables.count("Levels" if kind == "Segment" else "Parts", "levels"),
        tables.p_values("p-value", "p_value"),
        tables.p_values("Adjusted p-value", "p_value_adjusted"),
    ]
    between = "levels of a segment" if kind == "Segment" else "parts of a feature"
    caption = f"Does the effect differ between the {between}?"
    return {
        "table": Table(caption, columns, records, names=2, file=file),
        "number": sum(one.p_value is not None for one in found),
    }
