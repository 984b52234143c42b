"""What a metalearner consists of: model kinds, base models, regressions and formulas."""

import copy
import warnings
from abc import ABC, abstractmethod
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import estimator_html_repr

from metalearners._typing import Array, Columns, Floats, Name
from metalearners.base_models.recipes import CalibratedClassifier
from metalearners.data.containers import Features
from metalearners.data.dataset import Dataset
from metalearners.declaration.by_kind import by_kind, check_dict
from metalearners.declaration.defaults import Role
from metalearners.declaration.prefitted import Prefitted
from metalearners.evaluation.overlap import Clip, ClipRule
from metalearners.fits.estimator_spec import EstimatorSpec
from metalearners.fits.plan import Regression

PROPENSITY_MODEL = "propensity_model"
VARIANT_OUTCOME_MODEL = "variant_outcome_model"
TREATMENT_MODEL = "treatment_model"
NUISANCE = "nuisance"
TREATMENT = "treatment"


@dataclass(eq=False, repr=False)
class Declaration(ABC, BaseEstimator):  # type: ignore[misc]
    """What a learner fits, and how its estimates follow from the fits.

    It estimates the conditional average treatment effect (CATE) of each arm k = 1, ..., K-1 against
    the control 0, tau_k(x) = E[Y(k) - Y(0) | X = x].

    A subclass names its model kinds and defines what differs from the defaults here: `nuisances`
    and `treatments` declare regressions, `cate` and `outcomes` combine their predictions. The same
    formulas serve training rows (with out-of-fold predictions) and new rows.

    Parameters
    ----------
    is_classification : bool
        Whether the outcome holds classes; base models then predict probabilities.
    n_variants : int
        Number of arms, the control included.
    nuisance_model_factory, treatment_model_factory : type, callable or dict
        Class of the base models, or what returns an estimator; or such by model kind.
    propensity_model_factory : type or callable
        The same of the propensity model, a classifier.
    nuisance_model_params, treatment_model_params, propensity_model_params : dict
        Parameters of the base models, or dicts of parameters by model kind.
    fitted_nuisance_models : dict of lists of CrossFitEstimator, optional
        Fitted models to use, by model kind.
    fitted_propensity_model : CrossFitEstimator, optional
        A fitted model to use.
    feature_set : list of int or str, or dict, optional
        Features of each model, by position or name, or such by model kind. None for all.
    n_folds : int or dict
        Number of folds for cross-fitting, or such by model kind; 1 fits without cross-fitting.
    random_state : int, optional
        Draws the folds, and the seeds of base models that have none. None is 0, so results repeat.
    clip : float or "auto"
        Bound of estimated propensities. ``auto`` keeps each arm's above a tenth of its share, a
        number keeps them in [clip, 1 - clip]. Known propensities are never clipped.
    arms : list, optional
        Labels of the arms in `w`, the control first; None where `w` holds 0 to n_variants - 1.
    calibrate_propensity : bool
        Whether each fit of the propensity model calibrates its probabilities on rows (or groups)
        that their model hasn't seen, by `CalibratedClassifier`. It makes six fits of one, and
        changes nothing where propensities are known or their model is fitted already.

    Raises ValueError if a needed base model is missing or of the wrong sort, or a number is out of
    range.
    """

    NUISANCE_KINDS: ClassVar[tuple[str, ...]]
    TREATMENT_KINDS: ClassVar[tuple[str, ...]] = ()
    SERVED: ClassVar[frozenset[str]]
    """Model kinds that effects of new rows need."""
    WEIGHTED: ClassVar[frozenset[str]] = frozenset()
    """Model kinds that are always fitted with row weights."""
    SWEPT: ClassVar[frozenset[str]] = frozenset()
    """Model kinds with the arm among their features, which predict at every arm."""
    MULTI_CLASS: ClassVar[bool] = False

    is_classification: bool
    n_variants: int
    nuisance_model_factory: Any = None
    treatment_model_factory: Any = None
    propensity_model_factory: Any = None
    nuisance_model_params: Any = None
    treatment_model_params: Any = None
    propensity_model_params: Any = None
    fitted_nuisance_models: Mapping[str, Sequence[Prefitted]] | None = None
    fitted_propensity_model: Prefitted | None = None
    feature_set: Any = None
    n_folds: Any = 10
    random_state: int | None = None
    clip: ClipRule = field(default="auto", kw_only=True)
    arms: Sequence[Any] | None = field(default=None, kw_only=True)
    calibrate_propensity: bool = field(default=False, kw_only=True)
    _known: Floats | None = field(default=None, init=False)
    _shares: Floats | None = field(default=None, init=False)

    @abstractmethod
    def __post_init__(self) -> None:
        """Check the arguments and start with models that aren't fitted."""

    # What a subclass gives

    @abstractmethod
    def nuisances(self, d: Dataset) -> dict[Name, Regression]:
        """Regressions of the first stage, by (model kind, ordinal)."""

    def treatments(self, d: Dataset, eta: Columns) -> dict[Name, Regression]:
        """Regressions of the second stage, given the first's out-of-fold predictions."""
        return {}

    def cate(self, eta: Columns, tau: Columns) -> Floats:
        """(n, K-1, 1 or n_classes) CATE estimates: the treatment models' predictions."""
        return self.as_tensor(self.modelled_effects(tau))

    def outcomes(self, eta: Columns, tau: Columns) -> Floats:
        """(n, K, 1 or n_classes) outcomes E[Y(k) | X]: the outcome models' predictions."""
        return self.arm_outcomes(eta)

    def _html_repr(self) -> str:
        """scikit-learn's diagram; it warns of our docstrings' section on base models."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Unknown section", UserWarning)
            return str(estimator_html_repr(self))

    # What it is made of, by model kind

    def cardinality(self, kind: str) -> int:
        """Number of models of a kind."""
        several = {PROPENSITY_MODEL: 1, VARIANT_OUTCOME_MODEL: self.n_variants}
        return several.get(kind, self.n_variants - 1)

    @classmethod
    def nuisance_model_specifications(cls) -> dict[str, dict[str, Callable[["Declaration"], Any]]]:
        """Functions of a learner by nuisance model kind: ``cardinality`` and ``predict_method``."""
        return {kind: _specification(kind) for kind in cls.NUISANCE_KINDS}

    @classmethod
    def treatment_model_specifications(cls) -> dict[str, dict[str, Callable[["Declaration"], Any]]]:
        """The same by treatment model kind."""
        return {kind: _specification(kind) for kind in cls.TREATMENT_KINDS}

    @property
    def init_args(self) -> dict[str, Any]:
        """Arguments of the constructor, with copies of prefitted models."""
        return {
            **self.get_params(deep=False),
            "fitted_nuisance_models": copy.deepcopy(self.fitted_nuisance_models),
        }

    def set_params(self, **params: Any) -> Self:
        """Set arguments of the constructor and check them; fitted models are dropped."""
        super().set_params(**params)
        if params:
            self.__post_init__()
        return self

    @property
    def seed(self) -> int:
        """Seed of folds and base models."""
        return 0 if self.random_state is None else self.random_state

    @property
    def kinds(self) -> tuple[str, ...]:
        """Model kinds of both stages."""
        return self.NUISANCE_KINDS + self.TREATMENT_KINDS

    @classmethod
    def role_of(cls, kind: str) -> Role:
        """What the models of a kind predict."""
        if kind == PROPENSITY_MODEL:
            return "propensity"
        return "outcome" if kind in cls.NUISANCE_KINDS else "treatment"

    def is_pairwise(self, kind: str) -> bool:
        """Whether each model of a kind is of one arm and the control."""
        return kind in self.TREATMENT_KINDS or 1 < self.cardinality(kind) < self.n_variants

    def arm_of(self, kind: str, ordinal: int) -> int | None:
        """Code of the arm that a model is about, alone or against the control; None for all."""
        if self.is_pairwise(kind):
            return ordinal + 1
        return None if self.cardinality(kind) == 1 else ordinal

    def predict_method(self, kind: str) -> str:
        """How a model kind predicts: ``predict`` or ``predict_proba``."""
        role = self.role_of(kind)
        classes = role == "propensity" or (role == "outcome" and self.is_classification)
        return "predict_proba" if classes else "predict"

    def spec(self, kind: str) -> EstimatorSpec:
        """The base model of a kind."""
        role = "propensity" if kind == PROPENSITY_MODEL else self._stage(kind)
        kinds = [k for k in self.unfitted if self._stage(k) == self._stage(kind)]
        own = [k for k in kinds if (k == PROPENSITY_MODEL) == (kind == PROPENSITY_MODEL)]
        factory = by_kind(getattr(self, f"{role}_model_factory"), kind, own)
        params = by_kind(getattr(self, f"{role}_model_params"), kind, own)
        params = {} if params is None else params
        check_dict(f"{role}_model_params", params, f"parameters of {kind}")
        return EstimatorSpec(factory, dict(params))

    def fitted_spec(self, kind: str) -> EstimatorSpec:
        """What is fitted of a kind: its base model, or a calibrated one."""
        spec = self.spec(kind)
        if not self._is_calibrated(kind):
            return spec
        return EstimatorSpec(CalibratedClassifier, {"estimator": spec.build()})

    def _is_calibrated(self, kind: str) -> bool:
        return kind == PROPENSITY_MODEL and self.calibrate_propensity

    def columns(self, kind: str) -> Features:
        """Positions or names of a kind's features; None for all."""
        chosen = by_kind(self.feature_set, kind, self.kinds)
        return None if chosen is None else tuple(chosen)

    def n_folds_of(self, kind: str) -> int:
        """Number of folds of a kind."""
        return int(by_kind(self.n_folds, kind, self.kinds))

    def _stage(self, kind: str) -> str:
        return NUISANCE if kind in self.NUISANCE_KINDS else TREATMENT

    @property
    def _prefitted(self) -> set[str]:
        propensity = {PROPENSITY_MODEL} if self.fitted_propensity_model is not None else set()
        return propensity | set(self.fitted_nuisance_models or {})

    @property
    def unfitted(self) -> list[str]:
        """Model kinds that aren't prefitted."""
        return [kind for kind in self.kinds if kind not in self._prefitted]

    # For subclasses

    def regression(self, d: Dataset, kind: str, target: Array, **more: Any) -> Regression:
        """A regression of one of the learner's kinds, with the weights of the data.

        Treatment models learn only from rows with out-of-fold predictions of the nuisances.
        """
        rows = more.pop("rows", None)
        if kind in self.TREATMENT_KINDS and d.cv is not None:
            rows = d.covered if rows is None else rows & d.covered
        if self._is_calibrated(kind) and d.groups is not None:
            more["fit_params"] = {"groups": np.unique(d.groups, return_inverse=True)[1]}
        return Regression(
            self.fitted_spec(kind),
            target,
            self.n_folds_of(kind),
            rows=rows,
            method=self.predict_method(kind),
            columns=self.columns(kind),
            serve=kind in self.SERVED,
            **{"weight": d.weight, **more},
        )

    def outcomes_by_arm(self, d: Dataset) -> dict[Name, Regression]:
        """mu_k(x) = E[Y | X = x, W = k] for each arm k."""
        return {
            (VARIANT_OUTCOME_MODEL, str(k)): self.regression(
                d, VARIANT_OUTCOME_MODEL, d.y, rows=d.w == k
            )
            for k in range(self.n_variants)
        }

    def propensity(self, d: Dataset) -> dict[Name, Regression]:
        """e_k(x) = P(W = k | X = x), all arms in one regression; none where they are known."""
        if d.propensity is not None:
            return {}
        return {(PROPENSITY_MODEL, "0"): self.regression(d, PROPENSITY_MODEL, d.w)}

    def with_known(self, eta: Columns, propensity: Floats | None) -> Columns:
        """The nuisance predictions, with the known propensities if there are any."""
        if propensity is None:
            return eta
        known = {(PROPENSITY_MODEL, "0"): propensity}
        return ChainMap(known, eta)  # type: ignore[arg-type] # as it is only read

    def bounds(self, known: bool, shares: Floats) -> Clip:
        """Bounds of propensities: none where they are known, else by the arms' shares.

        The (K,) `shares` count where this learner hasn't been fitted.
        """
        if known:
            return Clip.none(self.n_variants)
        return Clip.of(self.clip, shares if self._shares is None else self._shares)

    def clip_of(self, d: Dataset) -> Clip:
        """Bounds of the propensities of rows."""
        return self.bounds(d.propensity is not None or self._known is not None, d.shares)

    def propensity_among(self, eta: Columns, k: int) -> Floats:
        """(n,) P(W = k | X, W in {0, k}); one half where both arms have probability 0."""
        e = eta[PROPENSITY_MODEL, "0"]
        both = e[:, 0] + e[:, k]
        return np.divide(e[:, k], both, out=np.full_like(both, 0.5), where=both != 0)

    def arm_outcomes(self, eta: Columns) -> Floats:
        """(n, K, 1 or n_classes) predictions of the outcome models of all arms."""
        return np.stack(
            [eta[VARIANT_OUTCOME_MODEL, str(k)] for k in range(self.n_variants)], axis=1
        )

    def modelled_effects(self, tau: Columns) -> Floats:
        """(n, K-1) predictions of the treatment models of all arms."""
        arms = range(self.n_variants - 1)
        return np.stack([tau[TREATMENT_MODEL, str(k)][:, 0] for k in arms], axis=1)

    def outcome_values(self, predictions: Array) -> Floats:
        """Expected outcomes from (..., 1) means or (..., 2) probabilities of two classes."""
        return predictions[..., -1]

    def as_tensor(self, effects: Floats) -> Floats:
        """(n, K-1) effects as (n, K-1, 1), or (n, K-1, 2) with the negative class first."""
        if not self.is_classification:
            return effects[:, :, None]
        return np.stack([-effects, effects], axis=2)


def _specification(kind: str) -> dict[str, Callable[[Declaration], Any]]:
    return {
        "cardinality": lambda learner: learner.cardinality(kind),
        "predict_method": lambda learner: learner.predict_method(kind),
    }
