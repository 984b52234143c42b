"""The T-learner."""

from metalearners._typing import Columns, Floats, Name
from metalearners.dataset import Dataset
from metalearners.metalearner import VARIANT_OUTCOME_MODEL, MetaLearner
from metalearners.plan import Regression


class TLearner(MetaLearner):
    r"""One model of the outcome for each arm.

    .. math:: \hat\tau_k(x) = \hat\mu_k(x) - \hat\mu_0(x)

    Base models
    -----------
    variant_outcome_model : :math:`\mu_k(x) = E[Y \mid X = x, W = k]`, one an arm

    References
    ----------
    Künzel, Sekhon, Bickel and Yu (2019), PNAS 116(10), p. 4157.
    """

    NUISANCE_KINDS = (VARIANT_OUTCOME_MODEL,)
    TREATMENT_KINDS = ()
    SERVED = frozenset({VARIANT_OUTCOME_MODEL})
    MULTI_CLASS = True

    def nuisances(self, d: Dataset) -> dict[Name, Regression]:
        """mu_k(x) on the rows of arm k."""
        return self.outcomes_by_arm(d)

    def cate(self, eta: Columns, tau: Columns) -> Floats:
        """mu_k(x) - mu_0(x)."""
        mu = self.outcomes(eta, tau)
        return mu[:, 1:] - mu[:, :1]

    def outcomes(self, eta: Columns, tau: Columns) -> Floats:
        """mu_k(x)."""
        return self.arm_outcomes(eta)
