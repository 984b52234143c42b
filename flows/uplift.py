"""The parent flow: one uplift run, from a config to a folder."""

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from prefect import Flow, flow, get_run_logger, runtime
from prefect.states import Completed
from pydantic.json_schema import SkipJsonSchema

from flows.artifacts import run_page
from flows.config.data import DataConfig
from flows.config.files import write_json
from flows.config.form import described
from flows.config.names import DEFAULT_NAME
from flows.config.reading import config_among
from flows.config.sections import (
    CacheConfig,
    Config,
    EvaluationConfig,
    FoldsConfig,
    Learners,
    LogicalDate,
    ModelsConfig,
    ParallelismRule,
    RegistryConfig,
    ScheduleConfig,
    WatchConfig,
)
from flows.config.values import ClipRule, ShareBins
from flows.errors import InputError, LearnersFailedError
from flows.fitting.cache import cache_facts, signing_key
from flows.fitting.parallelism import Parallelism, choose, work_of
from flows.fitting.profiles import Profile, find_profile
from flows.fitting.regressions import expected
from flows.fitting.workspace import Workspace, workspace
from flows.inputs.study import Study
from flows.loading import Prepared, check_folders, load, with_body
from flows.messages import progress
from flows.messages.limits import shown
from flows.messages.outcome import cache_warning, outcome_lines, registry_warning
from flows.messages.secrets import without_secrets
from flows.recurring import alone, due, history, neighbours, scheduled_time
from flows.registry.registering import register_run
from flows.report.digest import effect_rows, history_pictures, pictures
from flows.report.history.page import render as render_history
from flows.report.history.page import sections_of as sections_of_history
from flows.report.page import render, sections_of
from flows.report.results import Results, evaluate
from flows.report.summary import summary_of
from flows.runs import Run, interrupted, peak_rss_bytes, recorded, whole_folder
from flows.schedule import fit_learners
from flows.server import prefect_patches
from flows.server.cancellation import interruptible
from flows.server.running import tracked
from flows.watching.changes import watch as watch_rows
from flows.watching.profile import FILE

EXAMPLE = "example"  # tag of the bundled example's deployment
_BY_SCHEDULE = "auto-scheduled"  # Prefect adds this tag where a schedule makes a run
_OF_ITS_SCHEDULE = {EXAMPLE, _BY_SCHEDULE}
_PACKAGES = ("prefect", "lightgbm", "scikit-learn", "numpy", "pandas", "pyarrow")

# Here, as whoever has the flows run imports this module: scripts, and workers of Prefect's too.
prefect_patches.apply("flows")


@tracked
@flow(name="uplift-run", validate_parameters=False)  # `config_among` does it, and says what to do
def uplift_run(
    data: DataConfig,
    learners: Learners = ["DRLearner"],  # noqa: B006 - never changed
    models: ModelsConfig = ModelsConfig(),
    clip: ClipRule = "auto",
    folds: FoldsConfig = FoldsConfig(),
    parallelism: ParallelismRule = "auto",
    cache: CacheConfig = CacheConfig(),
    evaluation: EvaluationConfig = EvaluationConfig(),
    output: Annotated[str, described("Folder of all runs")] = "runs",
    refresh: Annotated[bool, described("Fit again what the cache has")] = False,
    name: Annotated[str, described("Name of the job that repeats")] = DEFAULT_NAME,
    share_bins: ShareBins = True,
    date: LogicalDate = "",  # as Prefect's API takes no null for a text
    schedule: SkipJsonSchema[ScheduleConfig | None] = None,
    registry: RegistryConfig = RegistryConfig(),
    watch: WatchConfig = WatchConfig(),
) -> str:
    """Estimate what a treatment does to whom: fit learners, judge them, write a run's folder.

    Parameters
    ----------
    data : DataConfig
        Where the rows are and what their columns mean.
    learners : list of str
        Metalearners to fit. What they share is fitted once.
    models : ModelsConfig
        Base models by role, and a learner's own by model kind.
    clip : "auto" or float
        Bound of estimated propensities: a tenth of each arm's share, or [clip, 1 - clip].
    folds, evaluation : FoldsConfig, EvaluationConfig
        Cross-fitting; the hold-out and standard errors of curves.
    parallelism : "auto" or ParallelismConfig
        How fits are spread over the cores.
    cache : CacheConfig
        Where fits are kept for later runs.
    output : str
        Folder of all runs.
    refresh : bool
        Whether to fit again what the cache has.
    name : str
        Name of the job that repeats. `<output>/by-name/<name>/latest` is its latest run.
    share_bins : bool
        Whether LightGBM fits share bins of all rows.
    date : str, optional
        Logical date of the run: by default the scheduled time.
    schedule : ScheduleConfig, optional
        When runs of the config start; of it, a run uses the time zone alone.
    registry : RegistryConfig
        Where the run's model is registered.
    watch : WatchConfig
        What to do where rows differ from those of the last run of the name.

    Returns
    -------
    str
        The run's folder.

    Raises
    ------
    InputError
        If the data or the config are wrong; nothing has been fitted then.
    LearnersFailedError
        If some learners failed; the folder, which the message names, has the others' results.
    """
    config = config_among(locals())
    if not isinstance(refresh, bool):
        raise InputError(f"refresh: expected true or false; found {shown(repr(refresh))}.")
    check_folders(config)
    return _run(config, refresh)


def with_study(prepared: Prepared, refresh: bool) -> Flow[..., str]:
    """`uplift_run`, on a study that was loaded before."""
    config = prepared.study.config
    now = datetime.now(UTC)
    return with_body(uplift_run, lambda: _make(config, refresh, now, prepared))


def _run(config: Config, refresh: bool) -> Any:
    """Make the run, or of a schedule those that are due: each logical date once."""
    scheduled = scheduled_time()
    if _BY_SCHEDULE not in runtime.flow_run.tags:
        return _make(config, refresh, scheduled)
    with alone(config, get_run_logger().warning):
        moments = due(config, scheduled, datetime.now(UTC))
        if not moments:
            about = "The dates that are due have finished runs."
            return Completed(name="Skipped", message=about)
        for missed in moments[:-1]:
            _make_missed(config, refresh, missed)
        return _make(config, refresh, moments[-1])


def _make_missed(config: Config, refresh: bool, moment: datetime) -> None:
    try:
        _make(config, refresh, moment, suffix=f"-of-{moment:%Y%m%d-%H%M%S}")
    except Exception as error:
        if interrupted(error):
            raise
        about = without_secrets(str(error))
        get_run_logger().error("The run of the missed date %s failed: %s", moment, about)


def _make(
    config: Config,
    refresh: bool,
    moment: datetime,
    prepared: Prepared | None = None,
    suffix: str = "",
) -> str:
    """Make the run of a moment, its logical date where the config has none."""
    config = config.at(moment)
    name, tags = f"{runtime.flow_run.name}{suffix}", set(runtime.flow_run.tags)
    with (
        interruptible(),
        recorded(config, name, moment, example=tags >= _OF_ITS_SCHEDULE) as run,
        run_page(run) as page,
        workspace(config.cache, refresh, f"the run {name}") as place,
    ):
        with run.stage("load") as stage:
            study = load(config) if prepared is None else prepared.study
            earlier, run.old = neighbours(run)
            watched = watch_rows(study, earlier)
            study.warnings.extend(watched.warnings)
            for line in watched.warnings:
                progress.tell(f"Warning: {line}")
            stage["seconds"] = run.earlier = 0.0 if prepared is None else prepared.seconds
        chosen = _chosen(study)
        with place.working(chosen):
            fitted = fit_learners(study, place, run)
            study = fitted.study
            with run.stage("evaluate") as stage:
                results = evaluate(study, fitted.fits, versions(), chosen)
                stage |= vars(fitted.judging)
        with whole_folder(run, latest=not study.failed) as folder:
            with run.stage("report"):
                sections = write_files(folder, run, study, results, chosen)
                write_json(folder / FILE, watched.profile.model_dump(mode="json"))
                found = {**found_by(study, results), **watched.summary()}
                past = write_history(folder, run, summarize(run, study, found, chosen, place))
            found |= registered(run, study, found, folder / "model")
            summary = summarize(run, study, found, chosen, place)
            write_json(folder / "summary.json", summary)
        page.show_results(effect_rows(study, results, sections), pictures(study, sections))
        if past:
            page.show_history(history_pictures(past["effects"]["panels"]))
    for warning in (cache_warning(summary["cache"]), registry_warning(summary.get("model", {}))):
        if warning:
            get_run_logger().warning(warning)
    get_run_logger().info("\n".join(outcome_lines(summary)))
    if study.failed:
        raise LearnersFailedError(study.failed, run.folder, summary)
    return str(run.folder)


def _chosen(study: Study) -> Parallelism:
    asked = study.config.parallelism
    known = find_profile(study) if asked == "auto" else Profile()
    if known.problem:
        study.warnings.append(known.problem)
    return choose(asked, work_of(study.dataset, expected(study)), known.best)


def write_files(
    folder: Path, run: Run, study: Study, results: Results, chosen: Parallelism
) -> dict[str, Any]:
    """Write a run's files but its summary; what the report shows."""
    results.estimates.to_parquet(folder / "estimates.parquet", index=False)
    (folder / "config.yaml").write_text(study.config.to_yaml(), encoding="utf-8")
    results.bundle.save(folder / "model", signing_key())
    facts = {**run.facts(), **_measured(run, chosen)}
    sections = sections_of(study, results, facts)
    (folder / "report.html").write_text(render(sections), encoding="utf-8")
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
        get_run_logger().warning("The run has no history.html: %s", without_secrets(str(error)))
        return None
    return sections


def found_by(study: Study, results: Results) -> dict[str, Any]:
    """What a run found, for `summary.json`."""
    return {"status": "partial" if study.failed else "done", **summary_of(study, results)}


def registered(run: Run, study: Study, found: dict[str, Any], model: Path) -> dict[str, Any]:
    """Register the model of a run, in a folder; what `summary.json` says of it."""
    if study.failed or not study.config.registry.enabled:
        return {}
    about = run.name, run.logical_date, model
    told = register_run(study.config, *about, found, is_old=run.old)
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
