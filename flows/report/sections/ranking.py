"""Sections of a report on how good estimates are: their order, and their size by group."""

from typing import Any

from flows.inputs.study import Study
from flows.report import plots, tables
from flows.report.elements import arm_keys, arm_labels, typical
from flows.report.figures.judging import with_adjusted
from flows.report.figures.results import Results
from flows.report.sections.by_learner import by_learner, filled
from flows.report.tables import Record, Table
from metalearners.evaluation.findings import adjusted_p_values, claims_ranking
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
        last = {"treat_all": float(one.gain.gain.value[-1])}
        return [{**tables.values_of(one.qini.estimate), **p_values, **last, "rows": n_rows}]

    columns = [
        tables.figure("Qini", "estimate", scale),
        tables.figure("Std. error", "std_error", scale),
        tables.p_values("p-value", "p_value_greater"),
        tables.p_values("Adjusted p-value", "p_value_adjusted"),
        tables.figure("Treating all of these rows", "treat_all", scale),
        tables.count("Rows", "rows"),
    ]
    table = Table("Ranking on held-out rows", columns, [], file="qini")
    section = by_learner(study, judged, plots.gain_curves, table, records)
    return {**section, "tests": len(section["table"].records)}


def tops(study: Study, results: Results) -> dict[str, Any] | None:
    """Effects of the top rows above the average, with AUTOC; None without hold-out."""
    judged = _judged(results)
    if not judged:
        return None
    scale = typical(one.autoc.estimate.std_error for own in judged.values() for one in own)

    def records(name: str, k: int) -> list[Record]:
        one, adjusted = judged[name][k], results.learners[name].autoc_adjusted[k]
        p_values = {"p_value_greater": one.autoc.p_greater, "p_value_adjusted": adjusted}
        tenth = one.gain.uplift.at(0.1)
        at = {f"top_tenth.{key}": value for key, value in tables.values_of(tenth).items()}
        at = at if one.gain.begin <= 0.1 else {}  # of fewer rows, an error says nothing
        doubt = results.arms[k].doubt
        claimed = "yes" if claims_ranking(adjusted) else "not shown"
        claim = {"claimed": "can't be judged" if doubt else claimed}
        return [{**tables.values_of(one.autoc.estimate), **p_values, **claim, **at}]

    columns = [
        tables.with_interval("AUTOC (95 % interval)", scale),
        tables.p_values("p-value", "p_value_greater"),
        tables.p_values("Adjusted p-value", "p_value_adjusted"),
        tables.text("Better than chance", "claimed"),
        tables.with_interval(
            "Effect of the top tenth (pointwise 95 % interval)", scale, "top_tenth."
        ),
    ]
    table = Table("Effect of the top rows, held-out rows", columns, [], file="autoc")
    return by_learner(study, judged, plots.toc_curves, table, records)


def sequential(study: Study, results: Results) -> dict[str, Any] | None:
    """Tests of whether effects differ, by all rows; None where none was asked for."""
    if not results.sequential:
        return None
    adjusted = adjusted_p_values(results.sequential)
    every = [one.autoc.std_error for own in results.sequential.values() for one in own]

    def records(name: str, k: int) -> list[Record]:
        one = results.sequential[name][k]
        p_values = {"p_value_greater": one.p_greater, "p_value_adjusted": adjusted[name][k]}
        steps = {f"step_{s}": found.estimate for s, found in enumerate(one.steps, start=1)}
        return [{**tables.values_of(one.autoc), **p_values, **steps}]

    scale = typical(every)
    first = next(iter(results.sequential.values()))[0]
    columns = [
        tables.with_interval("Mean AUTOC (95 % interval)", scale),
        tables.p_values("p-value", "p_value_greater"),
        tables.p_values("Adjusted p-value", "p_value_adjusted"),
        *(tables.figure(f"Step {s}", f"step_{s}", scale) for s in range(1, len(first.steps) + 1)),
    ]
    table = Table(
        "Sequential test, rows of all folds but the first", columns, [], file="sequential"
    )
    rows = {
        name: {
            label: one.autoc
            for label, one in list(zip(arm_labels(study)[1:], own, strict=True))[: plots.MOST_ARMS]
        }
        for name, own in results.sequential.items()
    }
    return {
        "plot": plots.forest(rows, "Mean AUTOC", "Sequential test, by learner"),
        "legend": arm_keys(study),
        "table": filled(study, results.sequential, table, records),
    }


def gates(study: Study, results: Results) -> dict[str, Any] | None:
    """Effects of groups by estimate, and tests of their order; None without hold-out."""
    found = {name: [one.gates for one in own] for name, own in _judged(results).items()}
    if not found:
        return None
    known = [one for own in found.values() for one in own if one is not None]
    scale = typical(one.difference.std_error for one in known)

    def records(name: str, k: int) -> list[Record]:
        one, adjusted = found[name][k], results.learners[name].gates_adjusted[k]
        if one is None:
            return []
        return [{**tables.values_of(one.difference), **with_adjusted(one, adjusted)}]

    columns = [
        *tables.estimated(scale, "Highest less lowest"),
        tables.p_values("p-value, above 0", "p_greater"),
        tables.p_values("adjusted", "p_greater_adjusted"),
        tables.p_values("p-value, order wrong", "p_monotone"),
        tables.p_values("adjusted", "p_monotone_adjusted"),
    ]
    table = Table(
        "Effect of the highest fifth of the estimates less that of the lowest",
        columns,
        [],
        file="gates",
    )
    groups = {name: [one.groups if one else [] for one in own] for name, own in found.items()}
    section = by_learner(study, groups, plots.gates, table, records)
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
    section = by_learner(study, judged, plots.calibration, table, records)
    return {**section, "line": _line(study, results)}


def _line(study: Study, results: Results) -> Table:
    """The line of effects on estimates (BLP), where estimates aren't all tied."""
    judged = _judged(results)

    def records(name: str, k: int) -> list[Record]:
        one, adjusted = judged[name][k].blp, results.learners[name].blp_adjusted[k]
        if one is None:
            return []
        p_values = with_adjusted(one, adjusted)
        return [{**tables.values_of(one.slope), **tables.values_of(one.mean, "mean."), **p_values}]

    lines = [one.blp for own in judged.values() for one in own if one.blp is not None]
    columns = [
        tables.with_interval("Slope (95 % interval)", typical(x.slope.std_error for x in lines)),
        tables.p_values("p-value, slope 0", "p_value"),
        tables.p_values("adjusted", "p_value_adjusted"),
        tables.p_values("p-value, slope 1", "p_calibrated"),
        tables.p_values("adjusted", "p_calibrated_adjusted"),
    ]
    table = Table("Line of effects on estimates, held-out rows", columns, [], file="blp")
    return filled(study, judged, table, records)
