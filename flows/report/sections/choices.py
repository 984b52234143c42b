"""Sections of a report on choices: which learner, and what else changes."""

from typing import Any

from flows.inputs.study import Study
from flows.report import plots, tables
from flows.report.elements import Panel, typical
from flows.report.figures.results import Results
from flows.report.sections.effects import effects
from flows.report.tables import Table


def comparison(study: Study, results: Results) -> dict[str, Any] | None:
    """Candidates beside each other; None where the run is no comparison."""
    found = results.comparison
    if found is None:
        return None
    scale = typical(one.rate.std_error for one in found.ranking)
    losses = typical(one.dr_loss_to_best.std_error for one in found.ranking)
    records = [
        {"candidate": one.candidate, "dr_loss": one.dr_loss.estimate}
        | tables.values_of(one.rate)
        | tables.values_of(one.difference_to_best, "to_best.")
        | tables.values_of(one.dr_loss_to_best, "dr_loss_to_best.")
        for one in found.ranking
    ]
    columns = [
        tables.text("Candidate", "candidate"),
        tables.with_interval("AUTOC (95 % interval)", scale),
        tables.with_interval(f"Less that of {found.chosen}", scale, "to_best."),
        tables.figure("DR-loss", "dr_loss", losses),
        tables.with_interval(f"DR-loss less that of {found.chosen}", losses, "dr_loss_to_best."),
    ]
    caption = "Candidates, on rows that had no say in the choice"
    return {
        "plot": plots.candidates(found),
        "table": Table(caption, columns, records, file="comparison"),
        "found": found,
    }


def outcomes(study: Study, results: Results) -> dict[str, Any] | None:
    """Average effects on each outcome, where the run has several."""
    if len(results.by_outcome) < 2:
        return None
    panels, records = [], []
    for name, own in results.by_outcome.items():
        section = effects(study.by_outcome[name], own)
        panels.append(Panel(name, section["plot"]))
        adjusted = [one for one in section["table"].records if one["method"].startswith("adj")]
        claims = zip(adjusted, own.arms, strict=True)
        records += [{"outcome": name, **one, "claimed": arm.claimed} for one, arm in claims]
    columns = [
        tables.text("Outcome", "outcome"),
        tables.text("Arm", "arm"),
        tables.with_interval("Average effect (95 % interval)"),
        tables.interval("95 % for all arms at once", None, "joint_low", "joint_high"),
        tables.Column("Effect", ("claimed",), lambda x: "claimed" if x else "not claimed"),
    ]
    caption = "Average effects on all outcomes of the run"
    table = Table(caption, columns, records, names=2, file="outcomes")
    return {"panels": panels, "table": table}
