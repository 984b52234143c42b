"""The U-learner."""

import numpy as np

from metalearners._typing import Columns, Name
from metalearners.data.dataset import Dataset
from metalearners.declaration.residuals import LEAST_RESIDUAL, ByResiduals
from metalearners.fits.plan import Regression
from metalearners.metalearner import TREATMENT_MODEL, MetaLearner


class ULearner(ByResiduals, MetaLearner):
    r"""A regression of the outcome's residual over the treatment's.

    .. math:: \hat\tau_k(x) = E\left[\left.
        \frac{Y - \hat m_k(X)}{1[W = k] - \hat g_k(X)} \,\right|\, X = x, W \in \{0, k\}\right],
        \quad g_k = \frac{e_k}{e_0 + e_k}

    The R-learner weights the same target by the squared denominator, so that rows count most that
    are about as likely in one arm as in the other. Here all rows of the two arms count the same,
    and the treatment model needs no ``sample_weight``. The price is variance, as a small
    denominator inflates the noise of its row; `clip` bounds it. And an error m - m̂ of the outcome
    model, which the R-learner's weights remove, enters the effect times
    E[1/(1[W = k] - g) | X] = (2g - 1)/(g(1 - g)): 0 in an experiment with equal arms, large where
    g is near 0 or 1. Sampling weights count as in all learners.

    Estimates have shape (n, K-1, 1), or (n, K-1, n_classes) for classes. Errors: see `MetaLearner`.

    Base models
    -----------
    propensity_model : :math:`e_k(x) = P(W = k \mid X = x)`
    outcome_model : :math:`m_k(x) = E[Y \mid X = x, W \in \{0, k\}]`, one an arm but the control.
        With two arms that is E[Y | X = x]
    treatment_model : :math:`\tau_k(x)`, one an arm but the control, on the rows of the arm and the
        control. Rows whose denominator is 0 are left out: `clip` is 0 and the propensity model is
        certain of their arm, so they say nothing about the effect

    References
    ----------
    Künzel, Sekhon, Bickel and Yu (2019), "Metalearners for estimating heterogeneous treatment
    effects using machine learning", PNAS 116(10), supporting information: the U-learner.
    Nie and Wager (2021), "Quasi-oracle estimation of heterogeneous treatment effects",
    Biometrika 108(2), the simulations: the same with cross-fitting.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression, LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> X, w = rng.normal(size=(2000, 2)), rng.integers(0, 2, size=2000)
    >>> y = X[:, 0] + w * (1 + X[:, 1])
    >>> bases = (LinearRegression, LinearRegression, LogisticRegression)
    >>> learner = ULearner(False, 2, *bases, n_folds=5).fit(X, y, w)
    >>> learner.predict(np.array([[0.0, 2.0]]), is_oos=True).round(1)
    array([[[3.]]])
    """

    def treatments(self, d: Dataset, eta: Columns) -> dict[Name, Regression]:
        """Regressions of the residuals' ratios."""
        asked: dict[Name, Regression] = {}
        for k in range(1, self.n_variants):
            outcome, treatment = d.y - self._mean(eta, k), self._treatment_residual(d, eta, k)
            rows = ((d.w == 0) | (d.w == k)) & (np.abs(treatment) >= LEAST_RESIDUAL)
            ratio = np.divide(outcome, treatment, out=np.zeros_like(outcome), where=rows)
            regression = self.regression(d, TREATMENT_MODEL, ratio, rows=rows)
            asked[TREATMENT_MODEL, str(k - 1)] = regression
        return asked
