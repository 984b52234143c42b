"""Intervals for CATE estimates, from refits on half-samples."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy as np
from scipy import stats
from sklearn.base import clone

from metalearners._typing import Floats, Matrix
from metalearners.data.dataset import Dataset
from metalearners.data.folds import draw_half
from metalearners.evaluation.means import check_level
from metalearners.fits.store import MemoryStore
from metalearners.metalearner import Job, MetaLearner, Rows
from metalearners.showing.progress import counted
from metalearners.showing.results import Shown


@dataclass(frozen=True, eq=False)
class Intervals(Shown):
    """CATE estimates with their uncertainty, each (n, K-1, 1 or n_classes).

    Parameters
    ----------
    estimate : array
        Of the learner fitted on all rows.
    std_error : array
        Spread over half-samples.
    low, high : array
        Ends of the intervals: pointwise, not simultaneous over rows.
    """

    estimate: Floats
    std_error: Floats
    low: Floats
    high: Floats


def cate_intervals(
    learner: MetaLearner,
    X_new: Matrix,
    X: Matrix,
    y: Any,
    w: Any,
    *,
    draws: int = 100,
    level: float = 0.95,
    n_jobs: int | None = None,
    fit_params: Mapping[str, Any] | None = None,
    propensity_new: Any = None,
    **rows: Unpack[Rows],
) -> Intervals:
    r"""Intervals for the CATE of new rows.

    The learner, with its nuisances, is fitted again on halves of the rows (of the groups, where
    there are groups), drawn without replacement and balanced in the arms. Where an estimate is a
    mean of independent parts, the difference between that of a half-sample and that of the whole
    sample has the variance of the latter, so

    .. math:: \widehat{SE}(x)^2 = \frac{1}{B} \sum_b (\hat\tau_b(x) - \hat\tau(x))^2

    **What the intervals don't cover.** They measure how estimates scatter, not how far they lie
    from the truth: a regularised base model (trees, boosting, lasso, forests) is biased towards
    smooth and small effects, and no resampling shows that. Expect coverage at the stated level
    only of well-specified parametric base models, such as a linear model of a linear effect. Where
    half of the rows are too few for stable nuisances, such as propensities without a penalty,
    intervals are too wide. For averages use `DRLearner.average_effects`, whose intervals do cover.

    Parameters
    ----------
    learner : MetaLearner
        The learner; a copy of it is fitted.
    X_new : array or data frame of shape (m, p)
        Features of the rows to estimate for.
    X, y, w, fit_params, **rows
        Rows to fit on, as for `MetaLearner.fit`. Fits on half-samples are kept only in a `store`
        that is passed.
    draws : int
        Number of half-samples, B; each fits the learner once.
    level : float
        Of the intervals.
    n_jobs : int, optional
        Workers, with scikit-learn's meaning of None, 1, N and -1.
    propensity_new : as for `MetaLearner.predict`, optional
        Known propensities of the new rows.

    Raises
    ------
    ValueError
        If a number is out of range, or half of the rows are too few for the folds.

    References
    ----------
    Politis, Romano and Wolf (1999), "Subsampling", chapter 2.
    """
    _check(learner, draws)
    check_level(level)
    whole = clone(learner)
    progress = rows.pop("progress", False)
    job = whole.job(X, y, w, fit_params, False, (n_jobs,), **rows)
    estimate = whole.run(job).predict(X_new, is_oos=True, propensity=propensity_new)

    def again(draw: int) -> Floats:
        # Draws share no fits or pseudo-outcomes: a store for each frees them.
        own = job if rows.get("store") is not None else replace(job, store=MemoryStore())
        fitted = refitted(learner, own, draw)
        return fitted.predict(X_new, is_oos=True, propensity=propensity_new)

    told = counted(range(draws), draws, "half-samples", progress)
    return intervals_of(estimate, map(again, told), level)


def refits(
    learner: MetaLearner,
    X: Matrix,
    y: Any,
    w: Any,
    *,
    draws: int = 100,
    n_jobs: int | None = None,
    fit_params: Mapping[str, Any] | None = None,
    **rows: Unpack[Rows],
) -> list[MetaLearner]:
    """The learner fitted again on half-samples, for new rows alone, as a stored model keeps them.

    `metalearners.bundle.Bundle.of` takes them. Parameters and errors as for `cate_intervals`, whose
    intervals those of the bundle are.
    """
    _check(learner, draws)
    progress = rows.pop("progress", False)
    job = clone(learner).job(X, y, w, fit_params, False, (n_jobs,), **rows)
    told = counted(range(draws), draws, "half-samples", progress)
    return [refitted(learner, job, draw) for draw in told]


def refitted(learner: MetaLearner, job: Job, draw: int) -> MetaLearner:
    """A copy of the learner, fitted for new rows alone on half of the training rows of a job.

    The half is drawn balanced in the arms (for classes, arms x classes), of the groups where
    there are groups, and the folds are drawn anew.

    Raises
    ------
    ValueError
        If half of the rows are too few for the folds.
    """
    half = half_sample(job.d, draw)
    return clone(learner).run(replace(job, d=half, for_new_rows=True)).served()


def half_sample(d: Dataset, draw: int) -> Dataset:
    """The data set with only a half of its training rows to fit on."""
    groups = None if d.groups is None else d.groups[d.train]
    held_out = np.ones(len(d), dtype=bool)
    held_out[d.train] = ~draw_half(d.strata[d.train], d.seed + draw, groups)
    return replace(d, held_out=held_out, seed=d.seed + draw)


def intervals_of(estimate: Floats, again: Iterable[Floats], level: float) -> Intervals:
    """Intervals around estimates, from those of refits on half-samples; see `cate_intervals`."""
    squares, draws = np.zeros_like(estimate), 0
    for other in again:
        squares += (other - estimate) ** 2
        draws += 1
    error = np.sqrt(squares / draws)
    half_width = float(-stats.norm.ppf((1 - level) / 2)) * error
    return Intervals(estimate, error, estimate - half_width, estimate + half_width)


def _check(learner: MetaLearner, draws: int) -> None:
    if not isinstance(learner, MetaLearner):
        raise ValueError(f"Expected a learner; found {learner!r}. Pass an instance, no class.")
    if learner.unfitted != list(learner.kinds):
        raise ValueError(
            "Expected a learner without prefitted models, as each half-sample fits all of them; "
            f"found {sorted(set(learner.kinds) - set(learner.unfitted))}. Pass factories."
        )
    if not isinstance(draws, (int, np.integer)) or draws < 2:
        raise ValueError(f"Expected draws as a whole number of 2 or more; found {draws!r}.")
