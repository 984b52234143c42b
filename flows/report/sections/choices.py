"""Sections of a report on choices: which learner."""

from typing import Any

from flows.inputs.study import Study
from flows.report import plots, tables
from flows.report.elements import typical
from flows.report.figures.results import Results
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
