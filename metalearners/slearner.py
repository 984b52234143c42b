"""The S-learner."""

import warnings

import numpy as np

from metalearners._typing import Columns, Floats, Name
from metalearners.dataset import Dataset
from metalearners.metalearner import MetaLearner
from metalearners.plan import Regression

_BASE_MODEL = "base_model"


class SLearner(MetaLearner):
    r"""One model of the outcome, with the treatment among its features.

    .. math:: \hat\tau_k(x) = \hat\mu(x, k) - \hat\mu(x, 0)

    Base models
    -----------
    base_model : :math:`\mu(x, k) = E[Y \mid X = x, W = k]`

    The treatment is a category column where the base model takes categories, else one 0/1 column
    for each arm but the control. A linear base model then can't express that effects differ.
    It sees all features: a feature set is ignored, with a warning.

    References
    ----------
    Künzel, Sekhon, Bickel and Yu (2019), "Metalearners for estimating heterogeneous treatment
    effects using machine learning", PNAS 116(10), p. 4157.
    """

    NUISANCE_KINDS = (_BASE_MODEL,)
    TREATMENT_KINDS = ()
    SERVED = frozenset({_BASE_MODEL})
    MULTI_CLASS = True

    def nuisances(self, d: Dataset) -> dict[Name, Regression]:
        """mu(x, k) on all rows."""
        return {(_BASE_MODEL, "0"): self.regression(d, _BASE_MODEL, d.y, arm=d.w.astype(np.int64))}

    def columns(self, kind: str) -> None:
        """All features."""

    def check(self, d: Dataset) -> None:
        """Refuse features with a name that the treatment is to have."""
        super().check(d)
        taken = {"treatment", *(f"treatment_{k}" for k in range(1, self.n_variants))}
        clash = taken & {str(name) for name in getattr(d.X, "columns", ())}
        if clash:
            raise ValueError(
                f"Expected features of other names than the treatment's; found {sorted(clash)}. "
                "Rename them."
            )

    def _validate(self) -> None:
        super()._validate()
        if self.feature_set is not None:
            warnings.warn(
                "An S-learner uses all features: its feature_set is ignored.", stacklevel=3
            )

    def cate(self, eta: Columns, tau: Columns) -> Floats:
        """mu(x, k) - mu(x, 0)."""
        mu = eta[_BASE_MODEL, "0"]
        return mu[:, 1:] - mu[:, :1]
