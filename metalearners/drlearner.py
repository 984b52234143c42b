"""The DR-learner."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from metalearners._typing import Columns, Floats, Matrix, Name
from metalearners.cross_fit_estimator import OVERALL
from metalearners.data.containers import check_matrix
from metalearners.data.dataset import Dataset
from metalearners.evaluation.average_effects import AverageEffect, aipw_scores, average_effects
from metalearners.evaluation.means import mean_with_error
from metalearners.fits.plan import Regression
from metalearners.metalearner import (
    PROPENSITY_MODEL,
    TREATMENT_MODEL,
    VARIANT_OUTCOME_MODEL,
    MetaLearner,
)


@dataclass(eq=False, repr=False)
class DRLearner(MetaLearner):
    r"""A regression of doubly robust scores.

    .. math:: \hat\tau_k(x) = E[\hat\Gamma_k - \hat\Gamma_0 \mid X = x], \quad
        \hat\Gamma_k = \hat\mu_k(X) + \frac{1[W = k]}{\hat e_k(X)} (Y - \hat\mu_k(X))

    Estimates have shape (n, K-1, 1), or (n, K-1, n_classes) for classes. Errors: see `MetaLearner`.

    Base models
    -----------
    variant_outcome_model : :math:`\mu_k(x) = E[Y \mid X = x, W = k]`, one an arm
    propensity_model : :math:`e_k(x) = P(W = k \mid X = x)`
    treatment_model : :math:`\tau_k(x)`, one an arm but the control

    Parameters
    ----------
    adaptive_clipping : bool
        Whether rows with a propensity below its bound get the difference of the outcome models,
        instead of a score with a clipped propensity.

    References
    ----------
    Kennedy (2023), "Towards optimal doubly robust estimation of heterogeneous causal effects",
    Electronic Journal of Statistics 17(2), algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression, LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> X, w = rng.normal(size=(200, 2)), np.arange(200) % 2
    >>> y = X[:, 0] + w * (1 + X[:, 1])
    >>> bases = (LinearRegression, LinearRegression, LogisticRegression)
    >>> learner = DRLearner(False, 2, *bases, n_folds=5).fit(X, y, w)
    >>> learner.predict(np.array([[0.0, 2.0]]), is_oos=True).round(6)
    array([[[3.]]])
    >>> effect, error = learner.average_treatment_effect(X, y, w, is_oos=False)
    >>> bool(abs(effect - (1 + X[:, 1].mean())).item() < 1e-6)
    True
    """

    NUISANCE_KINDS = (PROPENSITY_MODEL, VARIANT_OUTCOME_MODEL)
    TREATMENT_KINDS = (TREATMENT_MODEL,)
    SERVED = frozenset({TREATMENT_MODEL})

    adaptive_clipping: bool = False

    def nuisances(self, d: Dataset) -> dict[Name, Regression]:
        """mu_k(x) and e(x)."""
        return {**self.outcomes_by_arm(d), **self.propensity(d)}

    def treatments(self, d: Dataset, eta: Columns) -> dict[Name, Regression]:
        """Regressions of the differences of the scores."""
        scores = self.scores(d, eta)
        effects = scores[:, 1:] - scores[:, :1]
        return {
            (TREATMENT_MODEL, str(k)): self.regression(d, TREATMENT_MODEL, effects[:, k])
            for k in range(self.n_variants - 1)
        }

    def average_treatment_effect(
        self,
        X: Matrix,
        y: Any,
        w: Any,
        is_oos: bool,
        *,
        sample_weight: Any = None,
        groups: Any = None,
        propensity: Any = None,
    ) -> tuple[Floats, Floats]:
        """Average treatment effects (AIPW) and their standard errors, both (K-1,).

        Only the nuisance models need to be fitted. The error is the scores' standard deviation
        over the square root of n; where there are groups it is that of `average_effects`, which
        also returns intervals.

        Parameters
        ----------
        X, y, w : arrays of shape (n, p), (n,) and (n,)
            Rows to average over.
        is_oos : bool
            False for the rows fitted on, in their order.
        sample_weight, groups, propensity
            As for `fit`; with `is_oos` False, those of the fit.

        Raises
        ------
        ValueError
            If the nuisance models aren't fitted, or the rows fitted on get other facts than in the
            fit.
        """
        scores, d = self._known_scores(X, y, w, is_oos, sample_weight, groups, propensity)
        effects, ddof = scores[:, 1:] - scores[:, :1], 0 if d.groups is None else 1
        means = [mean_with_error(one, d.weight, d.groups, ddof=ddof) for one in effects.T]
        return np.array([m.estimate for m in means]), np.array([m.std_error for m in means])

    def average_effects(
        self,
        X: Matrix,
        y: Any,
        w: Any,
        is_oos: bool,
        *,
        sample_weight: Any = None,
        groups: Any = None,
        propensity: Any = None,
        level: float = 0.95,
    ) -> list[AverageEffect]:
        """Average treatment effects with intervals, one an arm but the control.

        Parameters and errors as for `average_treatment_effect`; `level` is that of the intervals.
        """
        scores, d = self._known_scores(X, y, w, is_oos, sample_weight, groups, propensity)
        return average_effects(scores, d.w, d.weight, d.groups, level)

    def _known_scores(
        self, X: Matrix, y: Any, w: Any, is_oos: bool, weight: Any, groups: Any, propensity: Any
    ) -> tuple[Floats, Dataset]:
        """(n, K) scores and the rows, without rows that lack out-of-fold predictions."""
        models = self._nuisance_models.get(VARIANT_OUTCOME_MODEL, [])
        if not models or any(model.crossfit is None for model in models):
            raise ValueError(
                "The nuisance models need to be fitted before average effects are estimated. "
                "Call fit_all_nuisance first, or fit."
            )
        check_matrix(X)
        given = {"sample_weight": weight, "groups": groups, "propensity": propensity}
        d = self.dataset(X, y, w, **self.row_facts(X, is_oos, **given), judged=True)
        scores = self.scores(d, self._predictions(X, is_oos, OVERALL, propensity))
        known = np.flatnonzero(np.isfinite(scores).all(axis=1))
        if len(known) < len(d):
            warnings.warn(
                f"{len(d) - len(known)} of {len(d)} rows have no out-of-fold predictions and are "
                "left out of the average.",
                stacklevel=3,
            )
            d = d.part(known)
        return scores[known], d

    def _pseudo_outcome(
        self,
        X: Matrix,
        y: Any,
        w: Any,
        treatment_variant: int,
        is_oos: bool,
        oos_method: str = OVERALL,
    ) -> Floats:
        """(n,) doubly robust scores of one arm's effect."""
        if treatment_variant not in range(1, self.n_variants):
            raise ValueError(
                f"Expected a treatment_variant from 1 to {self.n_variants - 1}; found "
                f"{treatment_variant!r}."
            )
        made = self._predictions(X, is_oos, oos_method)
        scores = self.scores(self.dataset(X, y, w, judged=True), made)
        return scores[:, treatment_variant] - scores[:, 0]

    def scores(self, d: Dataset, eta: Columns) -> Floats:
        """(n, K) doubly robust scores of all rows, from out-of-fold predictions."""
        e = self.with_known(eta, d.propensity)[PROPENSITY_MODEL, "0"]
        outcomes = self.outcome_values(self.arm_outcomes(eta))
        clip = self.clip_of(d)
        scores = aipw_scores(d.y, d.w, outcomes, clip.apply(e))
        if not self.adaptive_clipping:
            return scores
        thin = np.asarray((e < clip.lower).any(axis=1))
        return np.where(thin[:, None], outcomes, scores)
