"""The DR-learner."""

from typing import Any

import numpy as np

from metalearners._typing import Columns, Floats, Name
from metalearners.aipw import aipw_scores
from metalearners.dataset import Dataset
from metalearners.metalearner import (
    PROPENSITY_MODEL,
    TREATMENT_MODEL,
    VARIANT_OUTCOME_MODEL,
    MetaLearner,
)
from metalearners.plan import Regression


class DRLearner(MetaLearner):
    r"""A regression of doubly robust scores.

    .. math:: \hat\tau_k(x) = E[\hat\Gamma_k - \hat\Gamma_0 \mid X = x], \quad
        \hat\Gamma_k = \hat\mu_k(X) + \frac{1[W = k]}{\hat e_k(X)} (Y - \hat\mu_k(X))

    Base models
    -----------
    variant_outcome_model : :math:`\mu_k(x) = E[Y \mid X = x, W = k]`, one an arm
    propensity_model : :math:`e_k(x) = P(W = k \mid X = x)`
    treatment_model : :math:`\tau_k(x)`, one an arm but the control

    Parameters
    ----------
    adaptive_clipping : use the plain difference of outcome models for rows with a propensity
        below `clip`, instead of a score with a clipped one

    References
    ----------
    Kennedy (2023), "Towards optimal doubly robust estimation of heterogeneous causal effects",
    Electronic Journal of Statistics 17(2), algorithm 1.
    """

    NUISANCE_KINDS = (PROPENSITY_MODEL, VARIANT_OUTCOME_MODEL)
    TREATMENT_KINDS = (TREATMENT_MODEL,)
    SERVED = frozenset({TREATMENT_MODEL})

    def __init__(
        self,
        is_classification: bool,
        n_variants: int,
        nuisance_model_factory: Any = None,
        treatment_model_factory: Any = None,
        propensity_model_factory: Any = None,
        nuisance_model_params: Any = None,
        treatment_model_params: Any = None,
        propensity_model_params: Any = None,
        fitted_nuisance_models: Any = None,
        fitted_propensity_model: Any = None,
        feature_set: Any = None,
        n_folds: Any = 10,
        random_state: int | None = None,
        adaptive_clipping: bool = False,
        *,
        clip: float = 0.01,
    ) -> None:
        self.adaptive_clipping = adaptive_clipping
        super().__init__(
            is_classification,
            n_variants,
            nuisance_model_factory,
            treatment_model_factory,
            propensity_model_factory,
            nuisance_model_params,
            treatment_model_params,
            propensity_model_params,
            fitted_nuisance_models,
            fitted_propensity_model,
            feature_set,
            n_folds,
            random_state,
            clip=clip,
        )

    def nuisances(self, d: Dataset) -> dict[Name, Regression]:
        """mu_k(x) and e(x)."""
        return {**self.outcomes_by_arm(d), **self.propensity(d)}

    def treatments(self, d: Dataset, eta: Columns) -> dict[Name, Regression]:
        """The regressions of the scores' differences."""
        scores = self.scores(d, eta)
        return {
            (TREATMENT_MODEL, str(k - 1)): self.regression(
                d, TREATMENT_MODEL, scores[:, k] - scores[:, 0]
            )
            for k in range(1, self.n_variants)
        }

    def cate(self, eta: Columns, tau: Columns) -> Floats:
        """The treatment models' predictions."""
        arms = range(self.n_variants - 1)
        return self.as_tensor(np.stack([tau[TREATMENT_MODEL, str(k)][:, 0] for k in arms], axis=1))

    def scores(self, d: Dataset, eta: Columns) -> Floats:
        """(n, K) doubly robust scores of all rows, from out-of-fold nuisances."""
        e = self.with_known(eta, d.propensity)[PROPENSITY_MODEL, "0"]
        mu = [
            self.outcome_values(eta[VARIANT_OUTCOME_MODEL, str(k)]) for k in range(self.n_variants)
        ]
        outcomes = np.column_stack(mu)
        scores = aipw_scores(d.y, d.w, outcomes, np.clip(e, self.clip, 1 - self.clip))
        if not self.adaptive_clipping:
            return scores
        thin = np.asarray((e < self.clip).any(axis=1))
        return np.where(thin[:, None], outcomes, scores)
