"""The R-learner."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, Unpack

import numpy as np
import pandas as pd

from metalearners._typing import Array, Columns, Floats, Matrix, Name
from metalearners.data.arguments import number
from metalearners.data.dataset import Dataset
from metalearners.declaration.residuals import LEAST_RESIDUAL, OUTCOME_MODEL, ByResiduals
from metalearners.evaluation.judging.losses import residual_squares
from metalearners.evaluation.means import same_rows
from metalearners.fits.plan import Regression
from metalearners.metalearner import TREATMENT_MODEL, MetaLearner, Rows

__all__ = ["OUTCOME_MODEL", "RLearner", "pseudo_outcome", "r_loss"]


@dataclass(eq=False, repr=False)
class RLearner(ByResiduals, MetaLearner):
    r"""The effect by which residuals of the treatment best explain those of the outcome.

    .. math:: \hat\tau_k = \arg\min_\tau \sum_{i: W_i \in \{0, k\}}
        \left(Y_i - \hat m_k(X_i) - (1[W_i = k] - \hat g_k(X_i)) \tau(X_i)\right)^2, \quad
        g_k = \frac{e_k}{e_0 + e_k}

    fitted as a regression of the pseudo-outcome (Y - m)/(1[W = k] - g) with the squared
    denominator as weight.

    Estimates have shape (n, K-1, 1), or (n, K-1, n_classes) for classes. Errors: see `MetaLearner`.

    Base models
    -----------
    propensity_model : :math:`e_k(x) = P(W = k \mid X = x)`
    outcome_model : :math:`m_k(x) = E[Y \mid X = x, W \in \{0, k\}]`, one an arm but the control.
        With two arms that is E[Y | X = x]; with more, a regression over all arms would cost
        the loss its orthogonality
    treatment_model : :math:`\tau_k(x)`, one an arm but the control; its `fit` takes
        ``sample_weight``

    Parameters
    ----------
    outcome_rows : str
        ``pair``: an outcome model for each arm, on the rows of the arm and the control; ``all``:
        one outcome model on all rows, as in other libraries. Both are the same with two arms.

    References
    ----------
    Nie and Wager (2021), "Quasi-oracle estimation of heterogeneous treatment effects",
    Biometrika 108(2), equation 4.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression, LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> X, w = rng.normal(size=(2000, 2)), rng.integers(0, 2, size=2000)
    >>> y = X[:, 0] + w * (1 + X[:, 1])
    >>> bases = (LinearRegression, LinearRegression, LogisticRegression)
    >>> learner = RLearner(False, 2, *bases, n_folds=5).fit(X, y, w)
    >>> learner.predict(np.array([[0.0, 2.0]]), is_oos=True).round(1)
    array([[[3.]]])
    """

    WEIGHTED = frozenset({TREATMENT_MODEL})

    outcome_rows: str = field(default="pair", kw_only=True)

    @property
    def _pooled(self) -> bool:
        return self.outcome_rows == "all"

    def fit_all_treatment(  # type: ignore[override] # an argument more, as in the published API
        self,
        X: Matrix,
        y: Any,
        w: Any,
        n_jobs_cross_fitting: int | None = None,
        fit_params: Mapping[str, Any] | None = None,
        synchronize_cross_fitting: bool = True,
        n_jobs_base_learners: int | None = None,
        epsilon: float = LEAST_RESIDUAL,
        **rows: Unpack[Rows],
    ) -> Self:
        """Fit the treatment models on the rows that the nuisance models were fitted on.

        Parameters
        ----------
        epsilon : float
            Least absolute value of the treatment's residual in a denominator. The other
            parameters are those of `fit`.
        """
        allowed = pd.Interval(0, np.inf, closed="neither")
        self._epsilon = number(
            epsilon, allowed, "Expected an epsilon above 0", f"The default is {LEAST_RESIDUAL}."
        )
        jobs = (n_jobs_cross_fitting, n_jobs_base_learners)
        self._fit_treatments(self.job(X, y, w, fit_params, synchronize_cross_fitting, jobs, **rows))
        return self

    def treatments(self, d: Dataset, eta: Columns) -> dict[Name, Regression]:
        """Weighted regressions of the pseudo-outcomes."""
        asked: dict[Name, Regression] = {}
        for k in range(1, self.n_variants):
            residual = self._treatment_residual(d, eta, k)
            target, weight = pseudo_outcome(d.y, self._mean(eta, k), residual, self._epsilon)
            if d.weight is not None:
                weight = weight * d.weight
            rows = (d.w == 0) | (d.w == k)
            regression = self.regression(d, TREATMENT_MODEL, target, rows=rows, weight=weight)
            asked[TREATMENT_MODEL, str(k - 1)] = regression
        return asked

    def _reset_models(self) -> None:
        super()._reset_models()
        self._epsilon = LEAST_RESIDUAL

    def losses(self, d: Dataset, made: Columns) -> dict[str, float]:
        """The R-loss of each arm against the control."""
        effects = self.modelled_effects(made)
        losses = {}
        for k in range(1, self.n_variants):
            m, g = self._mean(made, k), self.propensity_among(made, k)
            known = np.isfinite(effects[:, k - 1]) & np.isfinite(m) & np.isfinite(g)
            rows = known & ((d.w == 0) | (d.w == k))
            weight = None if d.weight is None else d.weight[rows]
            tau, y, w = effects[rows, k - 1], d.y[rows], d.w[rows] == k
            loss = r_loss(tau, m[rows], g[rows], y, w, weight) if rows.any() else float("nan")
            losses[f"r_loss_{k}_vs_0"] = loss
        return losses

    def _validate(self) -> None:
        if self.outcome_rows not in ("pair", "all"):
            raise ValueError(
                f"Expected outcome_rows 'pair' or 'all'; found {self.outcome_rows!r}. Other "
                "libraries use 'all'."
            )
        super()._validate()


def r_loss(
    cate_estimates: Any,
    outcome_estimates: Any,
    propensity_scores: Any,
    outcomes: Any,
    treatments: Any,
    sample_weight: Any = None,
) -> float:
    r"""Square root of the R-loss, in units of the outcome.

    .. math:: \sqrt{\frac{1}{n} \sum_i
        \left(Y_i - \hat m(X_i) - (W_i - \hat e(X_i)) \hat\tau(X_i)\right)^2}

    Parameters
    ----------
    cate_estimates, outcome_estimates, propensity_scores : arrays of shape (n,)
        Estimates of tau, m and e.
    outcomes, treatments : arrays of shape (n,)
        Outcome, and treatment as 0 or 1.
    sample_weight : array of shape (n,), optional
        Weights of the rows in the mean.

    Raises
    ------
    ValueError
        If they aren't finite numbers of one length, are pandas series of different indexes,
        propensities are no probabilities, or treatments differ from 0 and 1.

    References
    ----------
    Nie and Wager (2021), Biometrika 108(2), equation 4.

    Examples
    --------
    >>> r_loss([2.0, 2.0], [1.0, 1.0], [0.5, 0.5], [2.0, 0.0], [1, 0])
    0.0
    """
    given = {
        "cate_estimates": cate_estimates,
        "outcome_estimates": outcome_estimates,
        "propensity_scores": propensity_scores,
        "outcomes": outcomes,
        "treatments": treatments,
    }
    (tau, m, e, y, w), weight, _ = same_rows(sample_weight, None, **given)
    _check_range("propensity_scores from 0 to 1", e, (e >= 0) & (e <= 1))
    _check_range("treatments of 0 or 1", w, (w == 0) | (w == 1))
    return float(np.sqrt(np.average(residual_squares(tau, m, e, y, w), weights=weight)))


def _check_range(expected: str, values: Floats, fits: Array) -> None:
    if not fits.all():
        raise ValueError(
            f"Expected {expected}; found {int((~fits).sum())} others, such as "
            f"{values[~fits][0]:.4g}. Pass those of one arm and the control."
        )


def pseudo_outcome(
    y: Array, m: Array, residual: Array, epsilon: float = LEAST_RESIDUAL
) -> tuple[Floats, Floats]:
    """Target and weight that turn the R-loss into a weighted regression.

    Parameters
    ----------
    y, m : arrays of shape (n,)
        Outcome and its expectation.
    residual : array of shape (n,)
        Treatment less its probability.
    epsilon : float
        Least absolute value of the residual.

    Returns
    -------
    (y - m) / residual and residual ** 2, both (n,)
    """
    residual = np.where(np.abs(residual) < epsilon, np.copysign(epsilon, residual), residual)
    return (y - m) / residual, residual**2
