"""The S-learner, and its like that has another package's estimator of effects as base model."""

import warnings
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from metalearners._typing import Columns, Floats, Name
from metalearners.base_models.capabilities import takes_arm_as_category
from metalearners.base_models.recipes.outside import Calls, OutsideEstimator
from metalearners.data.containers import column_names
from metalearners.data.dataset import Dataset
from metalearners.declaration.defaults import Role
from metalearners.fits.estimator_spec import EstimatorSpec
from metalearners.fits.plan import Regression
from metalearners.metalearner import MetaLearner

_BASE_MODEL = "base_model"
EFFECT_MODEL = "effect_model"


@dataclass(eq=False, repr=False)
class SLearner(MetaLearner):
    r"""One model of the outcome, with the treatment among its features.

    .. math:: \hat\tau_k(x) = \hat\mu(x, k) - \hat\mu(x, 0)

    Estimates have shape (n, K-1, 1), or (n, K-1, n_classes) for classes. Errors: see `MetaLearner`.

    Base models
    -----------
    base_model : :math:`\mu(x, k) = E[Y \mid X = x, W = k]`

    The treatment is a category column where the base model takes categories, else one 0/1 column
    for each arm but the control. A linear base model then can't express that effects differ,
    unless `interactions` are among its features. It uses all features: a feature set is ignored,
    with a warning.

    Parameters
    ----------
    interactions : bool
        Whether products of the (numeric) features and the arms' 0/1 columns are features too; the
        treatment then never is a category column.

    References
    ----------
    Künzel, Sekhon, Bickel and Yu (2019), "Metalearners for estimating heterogeneous treatment
    effects using machine learning", PNAS 116(10), p. 4157.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> rng = np.random.default_rng(0)
    >>> X, w = rng.normal(size=(200, 2)), np.arange(200) % 2
    >>> y = X[:, 0] + w * (1 + X[:, 1])
    >>> learner = SLearner(False, 2, LinearRegression, n_folds=5, interactions=True)
    >>> learner.fit(X, y, w).predict(X, is_oos=False).shape
    (200, 1, 1)
    >>> learner.predict(np.array([[0.0, 2.0]]), is_oos=True).round(6)
    array([[[3.]]])
    """

    NUISANCE_KINDS = (_BASE_MODEL,)
    SERVED = frozenset({_BASE_MODEL})
    SWEPT = frozenset({_BASE_MODEL})
    MULTI_CLASS = True

    interactions: bool = field(default=False, kw_only=True)

    def nuisances(self, d: Dataset) -> dict[Name, Regression]:
        """mu(x, k) on all rows."""
        arm = d.w.astype(np.int64)
        asked = self.regression(d, _BASE_MODEL, d.y, arm=arm, interactions=self.interactions)
        return {(_BASE_MODEL, "0"): asked}

    def cardinality(self, kind: str) -> int:
        """One model for all arms."""
        return 1

    def columns(self, kind: str) -> None:
        """All features."""

    def check(self, d: Dataset) -> None:
        """Refuse features with a name of the treatment's columns."""
        super().check(d)
        fitted_here = _BASE_MODEL in self.unfitted and not self.interactions
        as_category = fitted_here and takes_arm_as_category(self.spec(_BASE_MODEL).build())
        if as_category and isinstance(d.X, np.ndarray):
            warnings.warn(
                "X is turned into a data frame, as the treatment is to be a category column.",
                stacklevel=4,
            )
        taken = {"treatment", *(f"treatment_{k}" for k in range(1, self.n_variants))}
        clash = taken & {str(name) for name in column_names(d.X) or ()}
        if clash:
            raise ValueError(
                f"Expected features of other names than the treatment's; found {sorted(clash)}. "
                "Rename them."
            )

    def _validate(self) -> None:
        super()._validate()
        if self.feature_set is not None:
            warnings.warn(
                "An S-learner uses all features: its feature_set is ignored.", stacklevel=4
            )

    def cate(self, eta: Columns, tau: Columns) -> Floats:
        """mu(x, k) - mu(x, 0)."""
        mu = self.outcomes(eta, tau)
        return mu[:, 1:] - mu[:, :1]

    def outcomes(self, eta: Columns, tau: Columns) -> Floats:
        """mu(x, k)."""
        return eta[_BASE_MODEL, "0"]


@dataclass(eq=False, repr=False)
class OutsideLearner(SLearner):
    r"""Effects by an estimator of another package, such as EconML's and causalml's forests.

    .. math:: \hat\tau_k(x) = \hat f(x, k), \quad \hat f(x, 0) = 0

    Folds, weights, seeds and stores are those of the other learners. It has no models of outcomes.
    Of two classes 0 and 1, effects are on the second, as differences of probabilities. Estimates
    have shape (n, K-1, 1), or (n, K-1, 2). Errors: see `MetaLearner`, and if the class can't be
    called (see `OutsideEstimator`) or takes no weights where there are some.

    Base models
    -----------
    effect_model : :math:`f(x, k) = E[Y(k) - Y(0) \mid X = x]`

    `nuisance_model_factory` is the other package's class, `nuisance_model_params` its arguments.

    Parameters
    ----------
    encoder : transformer, optional
        Makes numbers of the features.
    """

    NUISANCE_KINDS = (EFFECT_MODEL,)
    SERVED = frozenset({EFFECT_MODEL})
    SWEPT = frozenset({EFFECT_MODEL})
    MULTI_CLASS = False

    interactions: bool = field(default=False, init=False)
    encoder: Any = field(default=None, kw_only=True)

    @classmethod
    def role_of(cls, kind: str) -> Role:
        """Its only model predicts effects."""
        return "treatment"

    def spec(self, kind: str) -> EstimatorSpec:
        """The estimator of effects as a base model with the arm among its features."""
        own = super().spec(kind)
        if own.factory is None:  # which is refused
            return own
        arms = {"n_arms": self.n_variants, "encoder": self.encoder}
        return EstimatorSpec(
            OutsideEstimator, {"factory": own.factory, "params": dict(own.params), **arms}
        )

    def nuisances(self, d: Dataset) -> dict[Name, Regression]:
        """f(x, k) on all rows."""
        arm = d.w.astype(np.int64)
        return {(EFFECT_MODEL, "0"): self.regression(d, EFFECT_MODEL, d.y, arm=arm)}

    def check(self, d: Dataset) -> None:
        """Refuse weights that the estimator doesn't take, too."""
        super().check(d)
        own = self.spec(EFFECT_MODEL).params["factory"]
        if d.weight is not None and not Calls.of(own).weighted:
            raise ValueError(
                f"Expected an estimator whose fit takes sample_weight; {own.__name__} doesn't. "
                "Name another, or leave the weights out."
            )

    def cate(self, eta: Columns, tau: Columns) -> Floats:
        """f(x, k)."""
        return self.as_tensor(eta[EFFECT_MODEL, "0"][:, 1:, 0])

    def outcomes(self, eta: Columns, tau: Columns) -> NoReturn:
        """Raise a ValueError: it has no models of outcomes."""
        raise ValueError(
            "Expected a learner with models of outcomes, such as a T-learner; found an "
            "OutsideLearner, which has none."
        )

    def evaluate(self, *arguments: Any, **more: Any) -> NoReturn:
        """Raise a ValueError: no row shows its own effect, by which a score would go."""
        raise ValueError(
            "Expected a learner with models of outcomes, such as a T-learner; found an "
            "OutsideLearner. Compare its effects: metalearners.evaluation.compare."
        )
