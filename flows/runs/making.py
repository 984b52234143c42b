"""How a run is made, from a config to a folder; of a schedule, those that are due."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prefect import get_run_logger, runtime
from prefect.states import Completed

from flows.config.files import write_json
from flows.config.sections import Config
from flows.errors import FitError, LearnersFailedError
from flows.fitting.cache import signing_key
from flows.fitting.parallelism import Parallelism, choose, work_of
from flows.fitting.parts.again import Again
from flows.fitting.parts.refits import Refits
from flows.fitting.parts.repeats import Repeats
from flows.fitting.parts.sequential import SequentialTest
from flows.fitting.profiles import Profile, find_profile
from flows.fitting.regressions import expected
from flows.fitting.workspace import Workspace, workspace
from flows.inputs.study import Study
from flows.messages import progress
from flows.messages.outcome import (
    cache_warning,
    comparison_rows,
    outcome_lines,
    registry_warning,
)
from flows.messages.secrets import problem_of, without_secrets
from flows.report.digest import decision_tables, effect_rows, history_pictures, pictures
from flows.report.evaluation import evaluate
from flows.report.figures.outcomes import of_outcomes, with_treat
from flows.report.figures.repeats import over_repeats
from flows.report.figures.results import Results
from flows.runs.announcing import announce, failure_announced
from flows.runs.artifacts import run_page
from flows.runs.course import fit_learners
from flows.runs.files import (
    events_so_far,
    found_by,
    registered,
    summarize,
    told_of_model,
    versions,
    write_files,
    write_history,
)
from flows.runs.loading import Prepared, load
from flows.runs.records import REFITS, REPEATS, SEQUENTIAL, Run, interrupted, recorded, whole_folder
from flows.runs.recurring import alone, due, earlier_runs, scheduled_time
from flows.runs.stages import Counts, run_parts
from flows.server.cancellation import interruptible
from flows.watching.changes import Watched
from flows.watching.changes import watch as watch_rows
from flows.watching.profile import FILE
from metalearners._typing import Name
from metalearners.fits.crossfit import CrossFit

EXAMPLE = "example"  # tag of the bundled example's deployment
_BY_SCHEDULE = "auto-scheduled"  # Prefect adds this tag where a schedule makes a run
_NO_REFITS = "The model has no refits, for intervals of effects"
_NO_REPEATS = "The figures are of one draw of the folds, without repeats"
_NO_SEQUENTIAL = "There is no sequential test of whether the effect differs between rows"
_OF_ITS_SCHEDULE = {EXAMPLE, _BY_SCHEDULE}


def make_due(config: Config, refresh: bool) -> Any:
    """Make the run, or of a schedule those that are due: each logical date once."""
    scheduled = scheduled_time()
    if _BY_SCHEDULE not in runtime.flow_run.tags:
        return make(config, refresh, scheduled)
    with alone(config, get_run_logger().warning):
        moments = due(config, scheduled, datetime.now(UTC))
        if not moments:
            about = "The dates that are due have finished runs."
            return Completed(name="Skipped", message=about)
        for missed in moments[:-1]:
            _make_missed(config, refresh, missed)
        return make(config, refresh, moments[-1])


def _make_missed(config: Config, refresh: bool, moment: datetime) -> None:
    try:
        make(config, refresh, moment, suffix=f"-of-{moment:%Y%m%d-%H%M%S}")
    except Exception as error:
        if interrupted(error):
            raise
        about = problem_of(error)
        get_run_logger().error("The run of the missed date %s failed: %s", moment, about)


def make(
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
        failure_announced(),
        recorded(config, name, moment, example=tags >= _OF_ITS_SCHEDULE) as run,
        run_page(run) as page,
        workspace(config.cache, refresh, f"the run {name}") as place,
    ):
        with run.stage("load") as stage:
            study, earlier, watched = _watched(config, run, prepared)
            stage["seconds"] = run.earlier = 0.0 if prepared is None else prepared.seconds
        chosen = _chosen(study)
        with place.working(chosen):
            fitted = fit_learners(study, place, run)
            study = fitted.study
            parts = _fit_all_parts(study, place, run)
            with run.stage("evaluate") as stage:
                own = {
                    name: _evaluated(one, fitted.fits[name], parts[name], chosen)
                    for name, one in study.by_outcome.items()
                }
                results = with_treat(study, of_outcomes(study, own), own)
                stage |= vars(fitted.judging)
        failed = study.all_failed
        with whole_folder(run, latest=not failed) as folder:
            with run.stage("report"):
                found = {**found_by(study, results), **watched.summary()}
                found["realised"] = watched.realised(study, results.outcomes)
                found["events"] = events_so_far(run, study, found, earlier, watched, moment)
                sections = write_files(folder, run, study, results, chosen, found)
                profile = watched.profile.with_effects(study, results.estimates)
                write_json(folder / FILE, profile.model_dump(mode="json"))
                past = write_history(folder, run, summarize(run, study, found, chosen, place))
            found |= registered(run, study, results, found, folder / "model")
            found["events"] += told_of_model(run, found)
            summary = summarize(run, study, found, chosen, place)
            write_json(folder / "summary.json", summary)
        announce(summary)
        page.show_results(effect_rows(study, results, sections), pictures(study, sections))
        page.show_verdict(summary["verdict"], summary["health"])
        page.show_tables(decision_tables(sections))
        if comparison := summary.get("comparison"):
            page.show_comparison(comparison_rows(comparison), comparison["rule"])
        if past:
            page.show_history(history_pictures(past["effects"]["panels"]))
    _log(summary)
    if failed:
        raise LearnersFailedError(failed, run.folder, summary)
    return str(run.folder)


@dataclass(frozen=True, eq=False)
class _Parts:
    """What is fitted on parts of an outcome's rows."""

    refits: Refits
    sequential: SequentialTest
    repeats: Repeats


def _fit_all_parts(study: Study, place: Workspace, run: Run) -> dict[str, _Parts]:
    """Fit learners on parts of the rows, by outcome."""
    parts = {
        name: _Parts(Refits(one, place), SequentialTest(one, place), Repeats(one, place))
        for name, one in study.by_outcome.items()
    }
    every = parts.values()
    _fit_parts(REFITS, [one.refits for one in every], run, _NO_REFITS)
    _fit_parts(SEQUENTIAL, [one.sequential for one in every], run, _NO_SEQUENTIAL)
    _fit_parts(REPEATS, [one.repeats for one in every], run, _NO_REPEATS)
    return parts


def _evaluated(
    study: Study, fits: dict[Name, CrossFit], parts: _Parts, chosen: Parallelism
) -> Results:
    """The results of one outcome."""
    given = parts.refits.of_learners(), parts.sequential.of_learners()
    results = evaluate(study, fits, versions(), chosen, *given)
    return over_repeats(study, results, parts.repeats.fitted())


def _fit_parts(name: str, every: Sequence[Again], run: Run, loss: str) -> None:
    """Fit learners on parts of the rows; if a fit fails, the run goes on without all of them."""
    if not any(again.count for again in every):
        return
    try:
        with run.stage(name) as stage:
            run_parts(name, every)
            stage |= vars(Counts.of_parts(every))
    except FitError as failed:
        about = without_secrets(str(failed)).rstrip(".")
        every[0].study.warnings.append(f"{loss}: {about}.")
        for again in every:
            again.failed = True


def _watched(
    config: Config, run: Run, prepared: Prepared | None
) -> tuple[Study, list[dict[str, Any]], Watched]:
    """A run's study, the summaries of earlier runs, and what differs from them."""
    study = load(config) if prepared is None else prepared.study
    earlier, run.old = earlier_runs(run)
    watched = watch_rows(study, earlier, signing_key())
    study.warnings.extend(watched.warnings)
    for line in watched.warnings:
        progress.tell(f"Warning: {line}")
    return study, earlier, watched


def _log(summary: dict[str, Any]) -> None:
    """Say in the log how a run ended."""
    logger = get_run_logger()
    for warning in (cache_warning(summary["cache"]), registry_warning(summary.get("model", {}))):
        if warning:
            logger.warning(warning)
    logger.info("\n".join(outcome_lines(summary)))


def _chosen(study: Study) -> Parallelism:
    asked = study.config.parallelism
    known = find_profile(study) if asked == "auto" else Profile()
    if known.problem:
        study.warnings.append(known.problem)
    evaluation = study.config.evaluation
    parts = evaluation.refits + evaluation.sequential * (study.config.folds.n_folds - 1)
    parts += 2 * len(study.repeats)  # of all rows, where those are of half
    work = work_of(study.dataset, expected(study)).with_refits(parts)
    return choose(asked, work, known.best)
