"""What the R- and the U-learner share: expectations to subtract, and the outcomes they imply."""

from typing import ClassVar

import numpy as np

from metalearners._typing import Columns, Floats, Name
from metalearners.data.dataset import Dataset
from metalearners.declaration.declaration import PROPENSITY_MODEL, TREATMENT_MODEL, Declaration
from metalearners.fits.plan import Regression

OUTCOME_MODEL = "outcome_model"
LEAST_RESIDUAL = 1e-9
"""Least absolute value of a treatment's residual in a denominator."""


class ByResiduals(Declaration):
    r"""A learner that explains residuals of the outcome by residuals of the treatment.

    For each arm k there are two residuals, on the rows of arms 0 and k:

    .. math:: Y - m_k(X), \quad 1[W = k] - g_k(X), \quad g_k = \frac{e_k}{e_0 + e_k}
    """

    NUISANCE_KINDS = (PROPENSITY_MODEL, OUTCOME_MODEL)
    TREATMENT_KINDS: ClassVar[tuple[str, ...]] = (TREATMENT_MODEL,)
    SERVED = frozenset({TREATMENT_MODEL})

    def nuisances(self, d: Dataset) -> dict[Name, Regression]:
        """e(x), and m_k(x) on the rows of arms 0 and k, or m(x) on all."""
        asked = self.propensity(d)
        for k in range(self.cardinality(OUTCOME_MODEL)):
            rows = None if self._pooled else (d.w == 0) | (d.w == k + 1)
            asked[OUTCOME_MODEL, str(k)] = self.regression(d, OUTCOME_MODEL, d.y, rows=rows)
        return asked

    def cardinality(self, kind: str) -> int:
        """Number of models of a kind."""
        return 1 if kind == OUTCOME_MODEL and self._pooled else super().cardinality(kind)

    @property
    def _pooled(self) -> bool:
        """Whether one outcome model of all rows serves all arms."""
        return False

    def _mean(self, eta: Columns, k: int) -> Floats:
        """(n,) m_k(x)."""
        return self.outcome_values(eta[OUTCOME_MODEL, "0" if self._pooled else str(k - 1)])

    def _treatment_residual(self, d: Dataset, eta: Columns, k: int) -> Floats:
        """(n,) 1[W = k] - g_k(x), with g clipped where it is estimated."""
        return (d.w == k) - np.clip(self.propensity_among(eta, k), *self.clip_of(d).among(k))

    def outcomes(self, eta: Columns, tau: Columns) -> Floats:
        r"""The outcomes that the models of residuals imply.

        .. math:: \mu_0 = m - \sum_k e_k \tau_k, \quad \mu_k = \mu_0 + \tau_k

        With a mean outcome for each arm, :math:`\mu_0` is the average of
        :math:`m_k - g_k \tau_k` over the arms, weighted by :math:`e_0 + e_k`.
        """
        e, effects = eta[PROPENSITY_MODEL, "0"], self.modelled_effects(tau)
        if self._pooled:
            control = self._mean(eta, 1) - (e[:, 1:] * effects).sum(axis=1)
        else:
            arms = range(1, self.n_variants)
            g = np.column_stack([self.propensity_among(eta, k) for k in arms])
            m = np.column_stack([self._mean(eta, k) for k in arms])
            control = np.average(m - g * effects, axis=1, weights=e[:, :1] + e[:, 1:])
        mu = control[:, None] + np.column_stack([np.zeros(len(effects)), effects])
        return np.stack([1 - mu, mu], axis=2) if self.is_classification else mu[:, :, None]
