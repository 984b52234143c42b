"""Learners fitted on more and more rows, each judged on the rows that come next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Unpack

import numpy as np
from sklearn.base import clone

from metalearners._typing import Array, Columns, Floats, Matrix, Name
from metalearners.base_models.rows import take
from metalearners.data.dataset import Dataset
from metalearners.data.folds import draw_folds
from metalearners.evaluation.judging.rate import Rate, rate
from metalearners.evaluation.judging.sequential import Sequential, sequential
from metalearners.fits.execute import run_stage
from metalearners.fits.plan import Regression
from metalearners.metalearner import Job, MetaLearner, Rows
from metalearners.showing.progress import counted
from metalearners.showing.results import Several


class Judge(Protocol):
    """A learner whose nuisance models give doubly robust scores, such as a DR-learner."""

    def check(self, d: Dataset) -> None:
        """Refuse rows that are too few to fit on."""

    def nuisances(self, d: Dataset) -> dict[Name, Regression]:
        """What its nuisance models are to learn."""

    def scores(self, d: Dataset, eta: Columns) -> Floats:
        """(n, K) doubly robust scores, from predictions of the nuisance models."""


@dataclass(frozen=True, eq=False)
class Step:
    """Rows to fit on, and the rows that come next.

    Parameters
    ----------
    d : Dataset
        All rows; those that don't come before the step are held out.
    next : (n,) array of bool
        The rows of the step.
    """

    d: Dataset
    next: Array


def sequential_rate(
    learner: MetaLearner,
    judge: Judge,
    X: Matrix,
    y: Any,
    w: Any,
    *,
    n_folds: int = 5,
    n_jobs: int | None = None,
    fit_params: Mapping[str, Any] | None = None,
    **rows: Unpack[Rows],
) -> list[Sequential]:
    """Test whether the effect differs between rows, by all of them; see `sequential`.

    Rows are put into folds, whole groups together. For each fold but the first, the learner and
    the nuisances of the judge's scores are fitted on the rows of earlier folds alone. AUTOC of the
    fold's rows follows. A test on out-of-fold estimates of one cross-fitting would reject too
    often, as folds share training rows with each other's scores.

    Parameters
    ----------
    learner : MetaLearner
        What orders rows; copies of it are fitted.
    judge : Judge
        Such as a DR-learner: its nuisance models give doubly robust scores.
    X, y, w, fit_params, n_jobs, **rows
        As for `MetaLearner.fit`. Folds in time, as `cv` has them, are the folds of the test too:
        those after the first block.
    n_folds : int
        Number of folds: one more than of steps.

    Returns
    -------
    list of Sequential
        By arm other than the control.

    Raises
    ------
    ValueError
        As for `MetaLearner.fit`, or if earlier folds are too few rows to fit on.
    """
    progress = rows.pop("progress", False)
    job = clone(learner).job(X, y, w, fit_params, False, (n_jobs,), **rows)
    steps = steps_of(job.d, n_folds)
    check_steps([learner, judge], steps)
    told = counted(steps, len(steps), "steps", progress)
    found = [step_rates({"": learner}, judge, job, step)[""] for step in told]
    return Several(sequential(own) for own in zip(*found, strict=True))


def steps_of(d: Dataset, n_folds: int) -> list[Step]:
    """The steps of all rows: n_folds - 1 of them, with rows in time one for each later block.

    Rows held out join the others. In time, they are the last block.
    """
    if d.cv is None:
        folds = draw_folds(d.strata, n_folds, d.seed, d.groups)
        return [
            Step(replace(d, held_out=folds >= k), np.asarray(folds == k)) for k in range(1, n_folds)
        ]
    blocks = [_mask(test, len(d)) for _, test in d.cv]
    if not d.train.all():
        blocks.append(~d.train)
    found = []
    for k in range(1, len(blocks)):
        # Models of the rows before a block know those that a fold trains on, and nothing later.
        later = np.any(blocks[k:], axis=0) | ~d.train
        found.append(Step(replace(d, held_out=later, cv=list(d.cv)[:k]), blocks[k]))
    return found


def check_steps(learners: Sequence[MetaLearner | Judge], steps: Sequence[Step]) -> None:
    """Refuse steps whose earlier rows are too few to fit on.

    Raises
    ------
    ValueError
        If that is so, or there is no step.
    """
    if not steps:
        raise ValueError("Expected two folds or more for a sequential test; found one block.")
    for k, step in enumerate(steps, start=1):
        d = step.d
        lacking = np.setdiff1d(d.strata, d.strata[d.train])
        if len(lacking):
            raise ValueError(
                f"Expected rows of each arm, and of each class in it, before step {k} of "
                f"{len(steps)} of the sequential test; found none {d.stratum_name(lacking[0])}. "
                "Use fewer folds or leave that arm out."
            )
        for learner in learners:
            learner.check(d)


def step_rates(
    learners: Mapping[str, MetaLearner], judge: Judge, job: Job, step: Step
) -> dict[str, list[Rate]]:
    """AUTOC of the rows of a step by learner and arm, fitted as the job says."""
    own = replace(job, d=step.d, for_new_rows=True)
    scores = _scores(judge, own)[step.next]
    found = {}
    for name, learner in learners.items():
        cate = _estimates(learner, own, step.next)
        found[name] = [
            _rate(step, cate[:, k], scores[:, k + 1] - scores[:, 0]) for k in range(cate.shape[1])
        ]
    return found


def _rate(step: Step, cate: Floats, scores: Floats) -> Rate:
    d, rows = step.d, step.next
    weight = None if d.weight is None else d.weight[rows]
    groups = None if d.groups is None else np.asarray(d.groups)[rows]
    return rate(cate, scores, weight, groups, arms=d.w[rows])


def _estimates(learner: MetaLearner, job: Job, rows: Array) -> Floats:
    """(m, K-1) estimates of rows by a copy of the learner fitted as the job says."""
    made = clone(learner).run(job).served()
    known = None if job.d.propensity is None else job.d.propensity[rows]
    return np.asarray(
        made.predict(take(job.d.X, np.flatnonzero(rows)), is_oos=True, propensity=known)[:, :, -1]
    )


def _scores(judge: Judge, job: Job) -> Floats:
    """(n, K) scores by nuisances that were fitted on the training rows; right for others alone."""
    d = replace(job.d, cv=None)
    asked = {
        name: replace(regression, n_folds=1, serve=True)
        for name, regression in judge.nuisances(d).items()
    }
    fitted = run_stage(asked, d, job.store, job.execute)
    return judge.scores(d, {name: fits.column for name, fits in fitted.items()})


def _mask(positions: Sequence[int] | Array, n_rows: int) -> Array:
    found = np.zeros(n_rows, dtype=bool)
    found[positions] = True
    return found
