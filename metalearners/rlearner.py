"""The R-learner."""

import numpy as np

from metalearners._typing import Array, Columns, Floats, Name
from metalearners.dataset import Dataset
from metalearners.metalearner import PROPENSITY_MODEL, TREATMENT_MODEL, MetaLearner
from metalearners.plan import Regression

OUTCOME_MODEL = "outcome_model"


class RLearner(MetaLearner):
    r"""The effect that best explains residuals of the outcome by residuals of the treatment.

    .. math:: \hat\tau_k = \arg\min_\tau \sum_{i: W_i \in \{0, k\}}
        \left(Y_i - \hat m_k(X_i) - (1[W_i = k] - \hat g_k(X_i)) \tau(X_i)\right)^2, \quad
        g_k = \frac{e_k}{e_0 + e_k}

    fitted as a regression of the pseudo-outcome (Y - m)/(1[W = k] - g) with the squared
    denominator as weight.

    Base models
    -----------
    propensity_model : :math:`e_k(x) = P(W = k \mid X = x)`
    outcome_model : :math:`m_k(x) = E[Y \mid X = x, W \in \{0, k\}]`, one an arm but the control.
        With two arms that is E[Y | X = x]; with more, a regression over all arms would cost
        the loss its orthogonality
    treatment_model : :math:`\tau_k(x)`, one an arm but the control; its `fit` takes
        ``sample_weight``

    References
    ----------
    Nie and Wager (2021), "Quasi-oracle estimation of heterogeneous treatment effects",
    Biometrika 108(2), equation 4.
    """

    NUISANCE_KINDS = (PROPENSITY_MODEL, OUTCOME_MODEL)
    TREATMENT_KINDS = (TREATMENT_MODEL,)
    SERVED = frozenset({TREATMENT_MODEL})
    WEIGHTED = frozenset({TREATMENT_MODEL})

    def nuisances(self, d: Dataset) -> dict[Name, Regression]:
        """e(x), and m_k(x) on the rows of arms 0 and k."""
        asked = self.propensity(d)
        for k in range(1, self.n_variants):
            rows = (d.w == 0) | (d.w == k)
            regression = self.regression(d, OUTCOME_MODEL, d.y, rows=rows)
            asked[OUTCOME_MODEL, str(k - 1)] = regression
        return asked

    def treatments(self, d: Dataset, eta: Columns) -> dict[Name, Regression]:
        """The weighted regressions of the pseudo-outcomes."""
        asked: dict[Name, Regression] = {}
        for k in range(1, self.n_variants):
            m = self.outcome_values(eta[OUTCOME_MODEL, str(k - 1)])
            g = np.clip(self.propensity_among(eta, k), self.clip, 1 - self.clip)
            residual = (d.w == k) - g
            target, weight = pseudo_outcome(d.y, m, residual)
            if d.weight is not None:
                weight = weight * d.weight
            rows = (d.w == 0) | (d.w == k)
            regression = self.regression(d, TREATMENT_MODEL, target, rows=rows, weight=weight)
            asked[TREATMENT_MODEL, str(k - 1)] = regression
        return asked

    def cate(self, eta: Columns, tau: Columns) -> Floats:
        """The treatment models' predictions."""
        arms = range(self.n_variants - 1)
        return self.as_tensor(np.stack([tau[TREATMENT_MODEL, str(k)][:, 0] for k in arms], axis=1))


def pseudo_outcome(
    y: Array, m: Array, residual: Array, epsilon: float = 1e-9
) -> tuple[Floats, Floats]:
    """Target and weight that turn the R-loss into a weighted regression.

    Parameters
    ----------
    y, m : (n,) outcome and its expectation
    residual : (n,) treatment less its probability, bounded away from 0 by `epsilon`

    Returns
    -------
    (y - m) / residual and residual ** 2, both (n,)
    """
    residual = np.where(np.abs(residual) < epsilon, np.copysign(epsilon, residual), residual)
    return (y - m) / residual, residual**2
