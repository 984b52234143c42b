"""The RA-learner."""

import numpy as np

from metalearners._typing import Columns, Name
from metalearners.data.dataset import Dataset
from metalearners.fits.plan import Regression
from metalearners.metalearner import TREATMENT_MODEL, VARIANT_OUTCOME_MODEL, MetaLearner


class RALearner(MetaLearner):
    r"""A regression of effects that the outcome models impute: regression adjustment.

    .. math:: \hat\tau_k(x) = E\left[\left. 1[W = k] (Y - \hat\mu_0(X))
        + 1[W = 0] (\hat\mu_k(X) - Y) \,\right|\, X = x, W \in \{0, k\}\right]

    The X-learner imputes the same effects and fits a model in each arm. Here one model learns from
    both arms. There are no propensities: known propensities change nothing.

    Estimates have shape (n, K-1, 1), or (n, K-1, n_classes) for classes. Errors: see `MetaLearner`.

    Base models
    -----------
    variant_outcome_model : :math:`\mu_k(x) = E[Y \mid X = x, W = k]`, one an arm
    treatment_model : :math:`\tau_k(x)`, one an arm but the control, on the rows of the arm and the
        control. Rows of other arms have no outcome under either: their imputed effect would be
        :math:`\mu_k - \mu_0` alone, which teaches nothing that the outcome models don't say

    References
    ----------
    Curth and van der Schaar (2021), "Nonparametric estimation of heterogeneous treatment effects:
    from theory to learning algorithms", AISTATS, PMLR 130, pseudo-outcome regression: RA-learner.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> rng = np.random.default_rng(0)
    >>> X, w = rng.normal(size=(200, 2)), np.arange(200) % 2
    >>> y = X[:, 0] + w * (1 + X[:, 1])
    >>> learner = RALearner(False, 2, LinearRegression, LinearRegression, n_folds=5).fit(X, y, w)
    >>> learner.predict(np.array([[0.0, 2.0]]), is_oos=True).round(6)
    array([[[3.]]])
    """

    NUISANCE_KINDS = (VARIANT_OUTCOME_MODEL,)
    TREATMENT_KINDS = (TREATMENT_MODEL,)
    SERVED = frozenset({TREATMENT_MODEL})

    def nuisances(self, d: Dataset) -> dict[Name, Regression]:
        """mu_k(x) on the rows of arm k."""
        return self.outcomes_by_arm(d)

    def treatments(self, d: Dataset, eta: Columns) -> dict[Name, Regression]:
        """Regressions of the imputed effects, on both arms' rows."""
        mu = self.outcome_values(self.arm_outcomes(eta))
        asked: dict[Name, Regression] = {}
        for k in range(1, self.n_variants):
            imputed = np.where(d.w == 0, mu[:, k] - d.y, d.y - mu[:, 0])
            rows = (d.w == 0) | (d.w == k)
            regression = self.regression(d, TREATMENT_MODEL, imputed, rows=rows)
            asked[TREATMENT_MODEL, str(k - 1)] = regression
        return asked
