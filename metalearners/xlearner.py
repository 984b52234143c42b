"""The X-learner."""

import numpy as np

from metalearners._typing import Columns, Floats, Name
from metalearners.data.dataset import Dataset
from metalearners.fits.plan import Regression
from metalearners.metalearner import PROPENSITY_MODEL, VARIANT_OUTCOME_MODEL, MetaLearner

CONTROL_EFFECT_MODEL = "control_effect_model"
TREATMENT_EFFECT_MODEL = "treatment_effect_model"


class XLearner(MetaLearner):
    r"""Effects that are imputed in both arms, and averaged by the propensity.

    .. math:: \hat\tau_k(x) = g(x) \hat\tau_{0k}(x) + (1 - g(x)) \hat\tau_{kk}(x), \quad
        g = \frac{\hat e_k}{\hat e_0 + \hat e_k}

    Estimates have shape (n, K-1, 1), or (n, K-1, n_classes) for classes. Errors: see `MetaLearner`.

    Base models
    -----------
    variant_outcome_model : :math:`\mu_k(x) = E[Y \mid X = x, W = k]`, one an arm
    propensity_model : :math:`e_k(x) = P(W = k \mid X = x)`
    control_effect_model : :math:`\tau_{0k}(x) = E[\mu_k(X) - Y \mid X = x, W = 0]`, one an arm
        but the control
    treatment_effect_model : :math:`\tau_{kk}(x) = E[Y - \mu_0(X) \mid X = x, W = k]`, likewise

    References
    ----------
    Künzel, Sekhon, Bickel and Yu (2019), PNAS 116(10), equations 6 to 9.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression, LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> X, w = rng.normal(size=(200, 2)), np.arange(200) % 2
    >>> y = X[:, 0] + w * (1 + X[:, 1])
    >>> bases = (LinearRegression, LinearRegression, LogisticRegression)
    >>> learner = XLearner(False, 2, *bases, n_folds=5).fit(X, y, w)
    >>> learner.predict(np.array([[0.0, 2.0]]), is_oos=True).round(6)
    array([[[3.]]])
    """

    NUISANCE_KINDS = (VARIANT_OUTCOME_MODEL, PROPENSITY_MODEL)
    TREATMENT_KINDS = (CONTROL_EFFECT_MODEL, TREATMENT_EFFECT_MODEL)
    SERVED = frozenset({PROPENSITY_MODEL, CONTROL_EFFECT_MODEL, TREATMENT_EFFECT_MODEL})

    def nuisances(self, d: Dataset) -> dict[Name, Regression]:
        """mu_k(x) and e(x)."""
        return {**self.outcomes_by_arm(d), **self.propensity(d)}

    def treatments(self, d: Dataset, eta: Columns) -> dict[Name, Regression]:
        """Regressions of the imputed effects, each on the rows of its arm."""
        mu = self.outcome_values(self.arm_outcomes(eta))
        asked: dict[Name, Regression] = {}
        for k in range(1, self.n_variants):
            control = (CONTROL_EFFECT_MODEL, mu[:, k] - d.y, d.w == 0)
            treated = (TREATMENT_EFFECT_MODEL, d.y - mu[:, 0], d.w == k)
            for kind, imputed, rows in (control, treated):
                asked[kind, str(k - 1)] = self.regression(d, kind, imputed, rows=rows)
        return asked

    def cate(self, eta: Columns, tau: Columns) -> Floats:
        """The two effect estimates, weighted by the propensity."""
        effects = []
        for k in range(1, self.n_variants):
            g = self.propensity_among(eta, k)
            control = tau[CONTROL_EFFECT_MODEL, str(k - 1)][:, 0]
            treated = tau[TREATMENT_EFFECT_MODEL, str(k - 1)][:, 0]
            effects.append(g * control + (1 - g) * treated)
        return self.as_tensor(np.stack(effects, axis=1))
