"""The stages of all learners side by side: a learner's second begins when its first is done."""

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial

from flows.fitting.regressions import (
    EVALUATION,
    JUDGING,
    ask_judging,
    ask_nuisances,
    ask_treatments,
)
from flows.fitting.workspace import Workspace
from flows.inputs.study import Study
from flows.runs.records import Run
from flows.runs.stages import Counts, run_stage
from metalearners._typing import Name
from metalearners.fits.crossfit import CrossFit
from metalearners.fits.plan import Plan, Regression, plan_stage

NUISANCE = "nuisance"
TREATMENT = "treatment"


@dataclass(frozen=True, eq=False)
class Fitted:
    """The fits of a study's regressions."""

    study: Study  # with the learners that could be fitted
    fits: dict[str, dict[Name, CrossFit]]  # by outcome, and (learner, model kind, ordinal)
    judging: Counts  # of the fits that judge held-out rows


@dataclass(frozen=True, eq=False)
class _Stage:
    """A stage of a learner, or of evaluation, for an outcome."""

    study: Study
    learner: str
    kind: str

    @property
    def whose(self) -> str:
        """What the stage is called, without its kind."""
        return self.study.title(self.learner)

    @property
    def is_shared(self) -> bool:
        """Whether nothing comes of the outcome without it."""
        return self.learner == EVALUATION


def fit_learners(study: Study, place: Workspace, run: Run) -> Fitted:
    """Have all regressions of a study fitted: of each outcome, each learner, and evaluation.

    Raises FitError if evaluation's own fits failed, or those of every learner of an outcome.
    """
    studies = study.by_outcome.values()
    with ThreadPoolExecutor(sum(len(one.learners) + 1 for one in studies)) as threads:
        course = _Course(study, place, threads)
        try:
            with run.stage(NUISANCE) as stage:
                course.begin()
                course.finish(NUISANCE)
                stage |= vars(course.counts(NUISANCE))
            with run.stage(TREATMENT) as stage:
                course.finish(TREATMENT)
                stage |= vars(course.counts(TREATMENT))
        except BaseException as error:
            place.end_stages(error)  # the threads end without waiting for fits
            raise
    return Fitted(study.without(course.failed), course.fits, course.counts(JUDGING))


class _Course:
    """Stages under way, and what has come of those that have ended.

    This thread plans, and a thread each waits for its stage, whose fits all share one pool.
    """

    def __init__(self, study: Study, place: Workspace, threads: ThreadPoolExecutor) -> None:
        self._studies = study.by_outcome
        self._place = place
        self._threads = threads
        self._running: dict[Future[dict[Name, CrossFit]], _Stage] = {}
        self._plans: dict[str, list[Plan]] = {NUISANCE: [], TREATMENT: [], JUDGING: []}
        self._phase = NUISANCE
        self.fits: dict[str, dict[Name, CrossFit]] = {name: {} for name in self._studies}
        self.failed: dict[str, Exception] = {}  # by what the learner is called
        self._failing: set[str] = set()
        self._ending: Exception | None = None
        self._ending_kind = NUISANCE  # of the stage whose failure ends all
        place.on_failure = self._note_failure

    def begin(self) -> None:
        """Begin the first stages."""
        for study in self._studies.values():
            for name, asked in ask_nuisances(study).items():
                self._begin(_Stage(study, name, NUISANCE), asked)

    def _begin(self, stage: _Stage, asked: dict[Name, Regression]) -> None:
        study, store = stage.study, self._place.store
        plan = plan_stage(asked, study.dataset, store)
        self._plans[stage.kind].append(plan)
        if stage.is_shared and study.judging is not None:
            judging = plan_stage(ask_judging(study), study.judging, store)
            self._plans[JUDGING].append(judging)
            plan = Plan({**plan.asked, **judging.asked})
        # Prefect knows a sub-flow's parent by the context.
        call = copy_context().run
        run = partial(run_stage, stage.whose, stage.kind, plan, self._place)
        self._running[self._threads.submit(call, run)] = stage

    def finish(self, kind: str) -> None:
        """Wait until all stages of a kind have ended, and begin second ones as first ones end."""
        self._phase = kind
        self._check_some_left()
        while kind in [stage.kind for stage in self._running.values()]:
            ended, _ = wait(self._running, return_when=FIRST_COMPLETED)
            for future in ended:
                self._take(future, self._running.pop(future))

    def counts(self, kind: str) -> Counts:
        """What became of the units of a kind of stage, shared ones once."""
        return Counts.of(self._plans[kind], self._place)

    def _note_failure(self, whose: str, kind: str, error: Exception) -> None:
        """End all stages where some outcome can't have results any more."""
        self._failing.add(whose)
        over = any(_over(study, self._failing) for study in self._studies.values())
        if over and self._ending is None:  # what else fails, fails as workers are closed
            self._ending, self._ending_kind = error, kind
            self._place.end_stages(error)

    def _take(self, future: Future[dict[Name, CrossFit]], stage: _Stage) -> None:
        """Keep what a stage gave, and begin the next; a learner that failed is left out."""
        try:
            self.fits[stage.study.outcome] |= future.result()
            if stage.kind == NUISANCE and not stage.is_shared:
                self._go_on(stage)
        except Exception as error:
            if stage.is_shared:
                if self._ending_kind == TREATMENT:
                    return  # no nuisance model failed: the phase ends, and the next tells of it
                ending = self._ending or error
                raise ending from ending.__cause__
            self.failed[stage.whose] = error
            if stage.kind == self._phase:  # else the record of the run lacks the phase under way
                self._check_some_left()

    def _go_on(self, stage: _Stage) -> None:
        study = stage.study
        asked = ask_treatments(study, stage.learner, self.fits[study.outcome])
        if asked:
            self._begin(_Stage(study, stage.learner, TREATMENT), asked)

    def _check_some_left(self) -> None:
        for study in self._studies.values():
            titles = list(map(study.title, study.learners))
            if all(title in self.failed for title in titles):
                raise next(error for title, error in self.failed.items() if title in titles)


def _over(study: Study, failing: set[str]) -> bool:
    """Whether nothing can come of a study's outcome."""
    titles = map(study.title, study.learners)
    return study.title(EVALUATION) in failing or failing.issuperset(titles)
