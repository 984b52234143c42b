"""Sections of a report on how good estimates are: their order, and their size by group."""

from typing import Any

from flows.inputs.study import Study
from flows.report import plots, tables
from flows.report.elements import typical
from flows.report.figures.results import Results
from flows.report.sections.by_learner import by_learner
from flows.report.tables import Record, Table
from metalearners.evaluation.findings import claims_ranking
from metalearners.evaluation.judging.judgement import Judgement


def gains(study: Study, results: Results) -> dict[str, Any] | None:
    """Gain curves with Qini coefficients; None without hold-out."""
    judged = _judged(results)
    if not judged:
        return None
    scale = typical(one.qini.estimate.std_error for own in judged.values() for one in own)
    n_rows = int(study.judged.sum())

    def records(name: str, k: int) -> list[Record]:
        one, adjusted = judged[name][k], results.learners[name].qini_adjusted[k]
        p_values = {"p_value_greater": one.qini.p_greater, "p_value_adjusted": adjusted}
        last = {"claimed": claims_ranking(adjusted), "treat_all": float(one.gain.gain.value[-1])}
        return [{**tables.values_of(one.qini.estimate), **p_values, **last, "rows": n_rows}]

    columns = [
        tables.figure("Qini", "estimate", scale),
        tables.figure("Std. error", "std_error", scale),
        tables.p_values("p-value", "p_value_greater"),
        tables.p_values("Adjusted p-value", "p_value_adjusted"),
        tables.Column("Better than chance", ("claimed",), lambda x: "yes" if x else "not shown"),
        tables.figure("Treating all", "treat_all", scale),
        tables.count("Rows", "rows"),
    ]
    table = Table("Ranking on held-out rows", columns, [], file="qini")
    section = by_learner(study, judged, plots.gain_curves, table, records)
    return {**section, "tests": len(section["table"].records)}


def _judged(results: Results) -> dict[str, list[Judgement]]:
    """What held-out rows say of the learners; empty without such rows."""
    return {name: own.judged for name, own in results.learners.items() if own.judged}


def calibration(study: Study, results: Results) -> dict[str, Any] | None:
    """Estimates beside the effects found, by group; None without hold-out."""
    judged = {name: [one.groups for one in own] for name, own in _judged(results).items()}
    if not judged:
        return None
    every = [group for own in judged.values() for arm in own for group in arm]
    scale = typical(group.actual.std_error for group in every)

    def records(name: str, k: int) -> list[Record]:
        return [
            {"group": i, "rows": g.rows, "predicted": g.predicted, **tables.values_of(g.actual)}
            for i, g in enumerate(judged[name][k], start=1)
        ]

    columns = [
        tables.text("Group", "group"),
        tables.count("Rows", "rows"),
        tables.figure("Estimated", "predicted", scale),
        *tables.estimated(scale, "Found"),
    ]
    table = Table("Groups of held-out rows, lowest estimates first", columns, [], file="groups")
    return by_learner(study, judged, plots.calibration, table, records)
