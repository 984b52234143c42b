"""The T-learner."""

from metalearners._typing import Columns, Floats, Name
from metalearners.data.dataset import Dataset
from metalearners.fits.plan import Regression
from metalearners.metalearner import VARIANT_OUTCOME_MODEL, MetaLearner


class TLearner(MetaLearner):
    r"""One model of the outcome for each arm.

    .. math:: \hat\tau_k(x) = \hat\mu_k(x) - \hat\mu_0(x)

    Estimates have shape (n, K-1, 1), or (n, K-1, n_classes) for classes. Errors: see `MetaLearner`.

    Base models
    -----------
    variant_outcome_model : :math:`\mu_k(x) = E[Y \mid X = x, W = k]`, one an arm

    References
    ----------
    Künzel, Sekhon, Bickel and Yu (2019), PNAS 116(10), p. 4157.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> rng = np.random.default_rng(0)
    >>> X, w = rng.normal(size=(200, 2)), np.arange(200) % 2
    >>> y = X[:, 0] + w * (1 + X[:, 1])
    >>> learner = TLearner(False, 2, LinearRegression, n_folds=5).fit(X, y, w)
    >>> learner.predict(np.array([[0.0, 2.0]]), is_oos=True).round(6)
    array([[[3.]]])
    """

    NUISANCE_KINDS = (VARIANT_OUTCOME_MODEL,)
    SERVED = frozenset({VARIANT_OUTCOME_MODEL})
    MULTI_CLASS = True

    def nuisances(self, d: Dataset) -> dict[Name, Regression]:
        """mu_k(x) on the rows of arm k."""
        return self.outcomes_by_arm(d)

    def cate(self, eta: Columns, tau: Columns) -> Floats:
        """mu_k(x) - mu_0(x)."""
        mu = self.arm_outcomes(eta)
        return mu[:, 1:] - mu[:, :1]
