"""Sections of a report on the run: its stages, its models' errors, and repeats."""

from collections.abc import Mapping
from typing import Any

from flows.inputs.study import Study
from flows.report import plots, tables
from flows.report.elements import arm_labels
from flows.report.figures.results import Results
from flows.report.tables import Table
from metalearners.data.estimate_columns import arm_name

_STAGES = {
    "load": "Loading the data",
    "nuisance": "Nuisance models",
    "treatment": "Treatment models",
    "refits": "Refits on half-samples",
    "sequential": "Sequential test",
    "repeats": "Repeats",
    "evaluate": "Evaluation",
}
_MOVES = {"ate": "Average effect", "qini": "Qini", "autoc": "AUTOC"}


def course(study: Study, results: Results, run: Mapping[str, Any]) -> dict[str, Any]:
    """Time and fits by stage, and how well the shared outcome models predict."""
    records = [
        {"stage": _STAGES.get(stage["name"], stage["name"])}
        | {key: stage[key] for key in ("seconds", "executed", "reused")}
        for stage in run["stages"]
    ]
    columns = [
        tables.text("Stage", "stage"),
        tables.figure("Seconds", "seconds"),
        tables.count("Fitted", "executed"),
        tables.count("Reused", "reused"),
    ]
    names, seconds = ([one[key] for one in records] for key in ("stage", "seconds"))
    return {
        "plot": plots.stage_times(names, seconds),
        "table": Table("Time and fits of each stage", columns, records, file="stages"),
        "losses": _losses(study, results),
    }


def _losses(study: Study, results: Results) -> Table:
    """How well the shared outcome models predict."""
    d = study.dataset
    records = [
        {"arm": label, "rmse": loss, "deviation": float(d.y[(d.w == k) & d.covered].std())}
        for k, (label, loss) in enumerate(zip(arm_labels(study), results.losses, strict=True))
    ]
    columns = [
        tables.text("Arm", "arm"),
        tables.figure("Root mean squared error", "rmse"),
        tables.figure("Std. dev. of the outcome", "deviation"),
    ]
    caption = "Outcome models, out of fold on training rows"
    return Table(caption, columns, records, file="outcome_models")


def stability(study: Study, results: Results) -> dict[str, Any] | None:
    """How much figures move over repeats; None without such."""
    if not results.moves:
        return None
    records = [
        {
            "figure": _MOVES[move.figure],
            "arm": arm_name(move.arm),
            "learner": move.learner or "all",
            **vars(move.stability),
        }
        for move in results.moves
    ]
    names = [tables.text(head, head.lower()) for head in ("Figure", "Arm", "Learner")]
    heads = {"median": "Median", "lowest": "Lowest", "highest": "Highest"}
    heads["relative"] = "Spread over std. error"
    figures = [tables.figure(head, key) for key, head in heads.items()]
    caption = f"How figures move over {study.config.folds.repeats} draws of the folds"
    moves = {
        ", ".join(filter(None, (_MOVES[one.figure], one.learner, arm_name(one.arm)))): one.stability
        for one in results.moves
        if one.stability.relative > 0  # others have no error, or don't move
    }
    return {
        "plot": plots.moves(moves) if moves else None,
        "table": Table(caption, [*names, *figures], records, names=3, file="stability"),
    }
