"""What a finished run writes: its files, its place among models and runs, its summary."""

import platform
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prefect import get_run_logger

from flows.fitting.cache import cache_facts, signing_key
from flows.fitting.parallelism import Parallelism
from flows.fitting.workspace import Workspace
from flows.inputs.study import Study
from flows.messages.outcome import registry_warning
from flows.messages.secrets import problem_of
from flows.registry.evidence import Evidence
from flows.registry.registering import register_run
from flows.report.figures.results import Results
from flows.report.history.events import events_of, failed, late, promoted
from flows.report.history.page import render as render_history
from flows.report.history.page import sections_of as sections_of_history
from flows.report.history.points import history_of
from flows.report.page import render, sections_of
from flows.report.summary import summary_of
from flows.report.tables import tables_of
from flows.runs.records import Run, peak_rss_bytes
from flows.runs.recurring import history
from flows.watching.changes import Watched

_PACKAGES = ("prefect", "lightgbm", "scikit-learn", "numpy", "pandas", "pyarrow")


def write_files(
    folder: Path,
    run: Run,
    study: Study,
    results: Results,
    chosen: Parallelism,
    found: dict[str, Any],
) -> dict[str, Any]:
    """Write a run's files but its summary; what the report shows.

    `found` is what the run found, as in `summary.json`, so far.
    """
    results.estimates.to_parquet(folder / "estimates.parquet", index=False)
    (folder / "config.yaml").write_text(study.whole.to_yaml(), encoding="utf-8")
    results.bundle.save(folder / "model", signing_key())
    facts = {**run.facts(), **_measured(run, chosen), "found": found}
    sections = sections_of(study, results, facts)
    (folder / "report.html").write_text(render(sections), encoding="utf-8")
    (folder / "tables").mkdir()
    for table in tables_of(sections):
        table.frame.to_parquet(folder / "tables" / f"{table.file}.parquet", index=False)
    return sections


def write_history(folder: Path, run: Run, summary: dict[str, Any]) -> dict[str, Any] | None:
    """Write the page on the runs of the same name; what it shows, None without earlier runs.

    Parameters
    ----------
    summary : dict
        That of the run, as far as it has come.
    """
    try:
        found = history(run.config_name, run.output, ending=[summary])
        if len(found.points) < 2:
            return None
        sections = sections_of_history(found)
        (folder / "history.html").write_text(render_history(sections), encoding="utf-8")
    except Exception as error:  # the files of earlier runs are anyone's: no reason to lose this one
        get_run_logger().warning("The run has no history.html: %s", problem_of(error))
        return None
    return sections


def found_by(study: Study, results: Results) -> dict[str, Any]:
    """What a run found, for `summary.json`."""
    return {"status": "partial" if study.all_failed else "done", **summary_of(study, results)}


def events_so_far(
    run: Run,
    study: Study,
    found: dict[str, Any],
    earlier: Sequence[dict[str, Any]],
    watched: Watched,
    scheduled: datetime,
) -> list[dict[str, str]]:
    """The events of a run, but for those of its model; for `summary.json`."""
    points = history_of(run.config_name, [{**run.facts(), **found}, *earlier], []).points
    told = [
        *late(points[-1], run.started, scheduled),
        *events_of(points, watched),
        *failed(study.all_failed),
    ]
    return list(map(vars, told))


def told_of_model(run: Run, found: dict[str, Any]) -> list[dict[str, str]]:
    """The events of a run's model."""
    return list(map(vars, promoted(run.config_name, found.get("model") or {})))


def registered(
    run: Run, study: Study, results: Results, found: dict[str, Any], model: Path
) -> dict[str, Any]:
    """Register the model of a run, in a folder; what `summary.json` says of it."""
    if study.all_failed or not study.config.registry.enabled:
        return {}
    about = run.name, run.logical_date, model
    evidence = Evidence(study, results.outcomes)
    told = register_run(study.config, *about, found, evidence, is_old=run.old)
    warning = registry_warning(told)
    return {"model": told, **({"warnings": [*found["warnings"], warning]} if warning else {})}


def summarize(
    run: Run, study: Study, found: dict[str, Any], chosen: Parallelism, place: Workspace
) -> dict[str, Any]:
    """The content of `summary.json`, as far as the run has come."""
    measured = {**_measured(run, chosen), "peak_rss_bytes": peak_rss_bytes()}
    measured["cache"] = cache_facts(place.store, study.config.cache)
    return {**run.facts(), **measured, **found}


def _measured(run: Run, chosen: Parallelism) -> dict[str, Any]:
    return {
        "seconds": run.seconds,
        "fits": run.fits,
        "stages": run.stages,
        "parallelism": vars(chosen),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of what a run's numbers may depend on."""
    packages = {name: version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), **packages, "project": version("uplift-flows")}
