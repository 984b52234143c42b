"""The stages of all learners side by side: a learner's second begins when its first is done."""

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass

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
from metalearners.fits.plan import Plan, plan_stage

NUISANCE = "nuisance"
TREATMENT = "treatment"


@dataclass(frozen=True, eq=False)
class Fitted:
    """The fits of a study's regressions."""

    study: Study  # with the learners that could be fitted
    fits: dict[Name, CrossFit]  # by (learner, model kind, ordinal)
    judging: Counts  # of the fits that judge held-out rows


def fit_learners(study: Study, place: Workspace, run: Run) -> Fitted:
    """Have all regressions of a study fitted, those of each learner and of evaluation.

    Raises FitError if evaluation's own fits failed, or those of every learner.
    """
    with ThreadPoolExecutor(len(study.learners) + 1) as threads:
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
        self._study = study
        self._place = place
        self._threads = threads
        self._running: dict[Future[dict[Name, CrossFit]], tuple[str, str]] = {}
        self._plans: dict[str, list[Plan]] = {NUISANCE: [], TREATMENT: [], JUDGING: []}
        self._phase = NUISANCE
        self.fits: dict[Name, CrossFit] = {}
        self.failed: dict[str, Exception] = {}
        self._failing: set[str] = set()
        self._ending: Exception | None = None
        self._ending_kind = NUISANCE  # of the stage whose failure ends all
        place.on_failure = self._note_failure

    def begin(self) -> None:
        """Begin the first stages."""
        study, store = self._study, self._place.store
        for name, asked in ask_nuisances(study).items():
            plan = plan_stage(asked, study.dataset, store)
            self._plans[NUISANCE].append(plan)
            if name == EVALUATION and study.judging is not None:
                judging = plan_stage(ask_judging(study), study.judging, store)
                self._plans[JUDGING].append(judging)
                plan = Plan({**plan.asked, **judging.asked})
            self._start(name, NUISANCE, plan)

    def finish(self, kind: str) -> None:
        """Wait until all stages of a kind have ended, and begin second ones as first ones end."""
        self._phase = kind
        self._check_some_left()
        while kind in [running for _, running in self._running.values()]:
            ended, _ = wait(self._running, return_when=FIRST_COMPLETED)
            for future in ended:
                self._take(future, *self._running.pop(future))

    def counts(self, kind: str) -> Counts:
        """What became of the units of a kind of stage, shared ones once."""
        return Counts.of(self._plans[kind], self._place)

    def _note_failure(self, name: str, kind: str, error: Exception) -> None:
        """End all stages where none of them can be of use any more."""
        self._failing.add(name)
        over = name == EVALUATION or self._failing >= set(self._study.learners)
        if over and self._ending is None:  # what else fails, fails as workers are closed
            self._ending, self._ending_kind = error, kind
            self._place.end_stages(error)

    def _start(self, name: str, kind: str, plan: Plan) -> None:
        # Prefect knows a sub-flow's parent by the context.
        call = copy_context().run
        future = self._threads.submit(call, run_stage, name, kind, plan, self._place)
        self._running[future] = name, kind

    def _take(self, future: Future[dict[Name, CrossFit]], name: str, kind: str) -> None:
        """Keep what a stage gave, and begin the next; a learner that failed is left out."""
        try:
            self.fits |= future.result()
            if kind == NUISANCE and name != EVALUATION:
                self._go_on(name)
        except Exception as error:
            if name == EVALUATION:
                if self._ending_kind == TREATMENT:
                    return  # no nuisance model failed: the phase ends, and the next tells of it
                ending = self._ending or error
                raise ending from ending.__cause__
            self.failed[name] = error
            if kind == self._phase:  # else the record of the run would lack the phase under way
                self._check_some_left()

    def _go_on(self, name: str) -> None:
        asked = ask_treatments(self._study, name, self.fits)
        if asked:
            plan = plan_stage(asked, self._study.dataset, self._place.store)
            self._plans[TREATMENT].append(plan)
            self._start(name, TREATMENT, plan)

    def _check_some_left(self) -> None:
        if len(self.failed) == len(self._study.learners):
            raise next(iter(self.failed.values()))
