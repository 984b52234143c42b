"""The parent flow: one uplift run, from a config to a folder."""

import dataclasses
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from prefect import flow, get_run_logger, runtime

from flows.artifacts import run_page
from flows.config.files import write_json
from flows.config.reading import config_among
from flows.config.sections import (
    CacheConfig,
    ClipRule,
    DataConfig,
    EvaluationConfig,
    FoldsConfig,
    LearnerName,
    ModelsConfig,
    ParallelismConfig,
)
from flows.fitting.cache import cache_facts, signing_key
from flows.fitting.foresight import Column, stand_ins
from flows.fitting.parallelism import Parallelism, choose, work_of
from flows.fitting.profiles import Profile, find_profile
from flows.fitting.workspace import Workspace, workspace
from flows.inputs.study import Study
from flows.loading import check_folders, take_study
from flows.report.page import render
from flows.report.results import (
    EVALUATION,
    JUDGING,
    Results,
    evaluate,
)
from flows.report.summary import summary_of
from flows.runs import (
    Run,
    cache_warning,
    outcome_lines,
    peak_rss_bytes,
    recorded,
    whole_folder,
)
from flows.server import prefect_patches
from flows.server import running as liveness
from flows.server.cancellation import interruptible
from flows.stages import (
    Counts,
    evaluation_stage,
    nuisance_stage,
    run_stage,
    treatment_stage,
)
from metalearners._typing import Name
from metalearners.bundle import arm_name
from metalearners.fits.crossfit import CrossFit
from metalearners.fits.plan import Regression
from metalearners.metalearner import MetaLearner

_PACKAGES = ("prefect", "lightgbm", "scikit-learn", "numpy", "pandas", "pyarrow")

# Here, as whoever has the flows run imports this module: scripts, and workers of Prefect's too.
prefect_patches.apply("flows")


@liveness.seen_to
@flow(name="uplift-run")
def uplift_run(
    data: DataConfig,
    learners: list[LearnerName] = ["DRLearner"],  # noqa: B006 - never changed
    models: ModelsConfig = ModelsConfig(),
    clip: ClipRule = "auto",
    folds: FoldsConfig = FoldsConfig(),
    parallelism: Literal["auto"] | ParallelismConfig = "auto",
    cache: CacheConfig = CacheConfig(),
    evaluation: EvaluationConfig = EvaluationConfig(),
    output: str = "runs",
    refresh: bool = False,
) -> str:
    """Estimate what a treatment does to whom: fit learners, judge them, write a run's folder.

    Parameters
    ----------
    data : where the rows are and what their columns mean
    learners : metalearners to fit; what they share is fitted once
    models : base models by role, and a learner's own by model kind
    clip : bound of estimated propensities: auto for a tenth of each arm's share, or a number for
        [clip, 1 - clip]
    folds : cross-fitting
    parallelism : auto, or how fits are spread over the cores
    cache : where fits are kept for later runs
    evaluation : hold-out and standard errors of curves
    output : folder of all runs
    refresh : fit anew what the cache has

    Returns
    -------
    The run's folder

    Raises
    ------
    InputError
        If the data or the config are wrong; nothing has been fitted then.
    """
    config = config_among(locals())
    check_folders(config)
    name = str(runtime.flow_run.name)
    with (
        interruptible(),
        recorded(output, name) as run,
        run_page(run),
        workspace(cache, refresh, f"the run {name}") as place,
    ):
        with run.stage("load") as stage:
            study, run.earlier = take_study(config)
            stage["seconds"] = run.earlier
        chosen = _chosen(study)
        with place.working(chosen):
            with run.stage("nuisance") as stage:
                asked = ask_nuisances(study)
                nuisances, counts = run_stage(nuisance_stage, asked, study.dataset, place)
                stage |= vars(counts)
            with run.stage("treatment") as stage:
                asked = ask_treatments(study, nuisances)
                treatments, counts = run_stage(treatment_stage, asked, study.dataset, place)
                stage |= vars(counts)
            with run.stage("evaluate") as stage:
                judged, counts = judge_nuisances(study, place)
                stage |= vars(counts)
                results = evaluate(study, nuisances | treatments | judged, versions(), chosen)
        with whole_folder(run) as folder:
            with run.stage("report"):
                write_files(folder, run, study, results, chosen)
            summary = summarize(run, study, results, chosen, place)
            write_json(folder / "summary.json", summary)
    warning = cache_warning(summary["cache"])
    if warning:
        get_run_logger().warning(warning)
    get_run_logger().info("\n".join(outcome_lines(summary)))
    return str(run.folder)


def _chosen(study: Study) -> Parallelism:
    asked = study.config.parallelism
    known = find_profile(study) if asked == "auto" else Profile()
    if known.problem:
        study.warnings.append(known.problem)
    return choose(asked, work_of(study.dataset, expected(study)), known.best)


def ask_nuisances(study: Study) -> dict[Name, Regression]:
    """Regressions of the first stage: of each learner, and those that evaluation shares."""
    d = study.dataset
    asked = {
        (name, *key): regression
        for name, learner in study.learners.items()
        for key, regression in _labelled(name, learner, learner.nuisances(d), study).items()
    }
    shared = study.reference.nuisances(d)
    for key, regression in _labelled(EVALUATION, study.reference, shared, study).items():
        # Held-out rows enter average effects and evaluation with nuisances of all training rows.
        served = dataclasses.replace(regression, serve=d.held_out is not None)
        asked[EVALUATION, *key] = served
    return asked


def judge_nuisances(study: Study, place: Workspace) -> tuple[dict[Name, CrossFit], Counts]:
    """Nuisances of the held-out rows alone, which no candidate's fit has a part in."""
    if study.judging is None:
        return {}, Counts()
    own = study.reference.nuisances(study.judging)
    asked = {
        (JUDGING, *key): regression
        for key, regression in _labelled(JUDGING, study.reference, own, study).items()
    }
    return run_stage(evaluation_stage, asked, study.judging, place)


def expected(study: Study) -> list[dict[Name, Regression]]:
    """Regressions of both stages, before anything is fitted: the second's as many and as large."""
    nuisances = ask_nuisances(study)
    return [nuisances, ask_treatments(study, stand_ins(nuisances, study.dataset))]


def ask_treatments(study: Study, nuisances: Mapping[Name, Column]) -> dict[Name, Regression]:
    """Regressions of the second stage, from the first's out-of-fold predictions."""
    asked = {}
    for name, learner in study.learners.items():
        eta = {key[1:]: fits.column for key, fits in nuisances.items() if key[0] == name}
        known = learner.with_known(eta, study.dataset.propensity)
        treatments = learner.treatments(study.dataset, known)
        for key, regression in _labelled(name, learner, treatments, study).items():
            asked[name, *key] = regression
    return asked


def _labelled(
    name: str, learner: MetaLearner, asked: Mapping[Name, Regression], study: Study
) -> dict[Name, Regression]:
    """Regressions that say learner, model kind and arm, in the data's own labels."""
    labelled: dict[Name, Regression] = {}
    for (kind, ordinal), regression in asked.items():
        code = learner.arm_of(kind, int(ordinal))
        arm = "" if code is None else f" arm {arm_name(study.arms[code])}"
        label = f"{name} {kind}{arm}"
        labelled[kind, ordinal] = dataclasses.replace(regression, label=label)
    return labelled


def write_files(
    folder: Path, run: Run, study: Study, results: Results, chosen: Parallelism
) -> None:
    """A run's files but its summary."""
    results.estimates.to_parquet(folder / "estimates.parquet", index=False)
    (folder / "config.yaml").write_text(study.config.to_yaml(), encoding="utf-8")
    results.bundle.save(folder / "model", signing_key())
    facts = {**run.facts(), **_measured(run, chosen)}
    (folder / "report.html").write_text(render(study, results, facts), encoding="utf-8")


def summarize(
    run: Run, study: Study, results: Results, chosen: Parallelism, place: Workspace
) -> dict[str, Any]:
    """The content of `summary.json`."""
    measured = {**_measured(run, chosen), "peak_rss_bytes": peak_rss_bytes()}
    measured["cache"] = cache_facts(place.store, study.config.cache)
    return {**run.facts(), "status": "done", **measured, **summary_of(study, results)}


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
