"""What a metalearner is declared to be: its model kinds, base models, regressions and formulas."""

import copy
from abc import ABC, abstractmethod
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator

from metalearners._typing import Array, Columns, Floats, Name
from metalearners.base_models.rows import take
from metalearners.data.containers import Features, select
from metalearners.data.dataset import Dataset
from metalearners.declaration.by_kind import (
    by_kind,
    check_arms,
    check_clip,
    check_dict,
    check_feature_set,
    check_integer,
    check_seed,
    check_spec,
    check_switch,
)
from metalearners.declaration.prefitted import Prefitted, check_prefitted, check_prefitted_kinds
from metalearners.declaration.trial import TRIAL_ROWS, Arms, check_rows, check_stopping, check_trial
from metalearners.evaluation.overlap import Clip, ClipRule
from metalearners.fits.estimator_spec import EstimatorSpec
from metalearners.fits.plan import Regression

PROPENSITY_MODEL = "propensity_model"
VARIANT_OUTCOME_MODEL = "variant_outcome_model"
TREATMENT_MODEL = "treatment_model"
NUISANCE = "nuisance"
TREATMENT = "treatment"


class Declaration(ABC, BaseEstimator):  # type: ignore[misc]
    """What a learner fits, and what it makes of that.

    Estimates the conditional average treatment effect (CATE) of each arm k = 1, ..., K-1 against
    the control 0, tau_k(x) = E[Y(k) - Y(0) | X = x].

    A subclass names its model kinds and gives hooks: `nuisances` and `treatments` declare
    regressions, `cate` and `outcomes` put their predictions together. The same formulas serve
    training rows (with out-of-fold predictions) and new rows.

    Parameters
    ----------
    is_classification : whether the outcome holds classes; base models then are asked for
        probabilities
    n_variants : number of arms, the control included
    nuisance_model_factory, treatment_model_factory : class of the base models, or any callable
        that returns an estimator; or a dict of such by model kind
    propensity_model_factory : the same of the propensity model, a classifier
    nuisance_model_params, treatment_model_params, propensity_model_params : parameters of the
        base models, or dicts of parameters by model kind
    fitted_nuisance_models : fitted models to use, a list of `CrossFitEstimator` by model kind
    fitted_propensity_model : a fitted `CrossFitEstimator` to use
    feature_set : features of each model: None for all, or positions or names; or a dict of these
        by model kind
    n_folds : number of cross-fitting folds, or a dict by model kind; 1 fits without cross-fitting
    random_state : draws the folds and the seeds of base models that have none of their own;
        None is 0, so results repeat
    clip : bound of estimated propensities: ``auto`` keeps each arm's above a tenth of its share, a
        number into [clip, 1 - clip]. Known propensities are never clipped
    arms : labels of the arms in `w`, the control first; None where `w` holds 0 to n_variants - 1

    Raises
    ------
    ValueError
        If a needed base model is missing or of the wrong sort, or a number is out of range.
    """

    NUISANCE_KINDS: ClassVar[tuple[str, ...]]
    TREATMENT_KINDS: ClassVar[tuple[str, ...]]
    SERVED: ClassVar[frozenset[str]]
    """Model kinds that effects of new rows need."""
    WEIGHTED: ClassVar[frozenset[str]] = frozenset()
    """Model kinds that are always fitted with row weights."""
    SWEPT: ClassVar[frozenset[str]] = frozenset()
    """Model kinds with the arm among their features, which predict at every arm."""
    MULTI_CLASS: ClassVar[bool] = False

    _known: Floats | None
    _shares: Floats | None

    def __init__(
        self,
        is_classification: bool,
        n_variants: int,
        nuisance_model_factory: Any = None,
        treatment_model_factory: Any = None,
        propensity_model_factory: Any = None,
        nuisance_model_params: Any = None,
        treatment_model_params: Any = None,
        propensity_model_params: Any = None,
        fitted_nuisance_models: Mapping[str, Sequence[Prefitted]] | None = None,
        fitted_propensity_model: Prefitted | None = None,
        feature_set: Any = None,
        n_folds: Any = 10,
        random_state: int | None = None,
        *,
        clip: ClipRule = "auto",
        arms: Sequence[Any] | None = None,
    ) -> None:
        self.is_classification = is_classification
        self.n_variants = n_variants
        self.nuisance_model_factory = nuisance_model_factory
        self.treatment_model_factory = treatment_model_factory
        self.propensity_model_factory = propensity_model_factory
        self.nuisance_model_params = nuisance_model_params
        self.treatment_model_params = treatment_model_params
        self.propensity_model_params = propensity_model_params
        self.fitted_nuisance_models = fitted_nuisance_models
        self.fitted_propensity_model = fitted_propensity_model
        self.feature_set = feature_set
        self.n_folds = n_folds
        self.random_state = random_state
        self.clip = clip
        self.arms = arms
        self._begin()

    # What a subclass gives

    @abstractmethod
    def nuisances(self, d: Dataset) -> dict[Name, Regression]:
        """Regressions of the first stage, by (model kind, ordinal)."""

    def treatments(self, d: Dataset, eta: Columns) -> dict[Name, Regression]:
        """Regressions of the second stage, given the first's out-of-fold predictions."""
        return {}

    @abstractmethod
    def cate(self, eta: Columns, tau: Columns) -> Floats:
        """CATE estimates from both stages' predictions, of shape (n, K-1, 1 or n_classes)."""

    @abstractmethod
    def outcomes(self, eta: Columns, tau: Columns) -> Floats:
        """Conditional average outcomes E[Y(k) | X], of shape (n, K, 1 or n_classes)."""

    # What it is made of, by model kind

    def cardinality(self, kind: str) -> int:
        """Number of models of a kind."""
        several = {PROPENSITY_MODEL: 1, VARIANT_OUTCOME_MODEL: self.n_variants}
        return several.get(kind, self.n_variants - 1)

    @classmethod
    def nuisance_model_specifications(cls) -> dict[str, dict[str, Callable[["Declaration"], Any]]]:
        """Number of models (``cardinality``) and ``predict_method`` of each nuisance model kind.

        Both are functions of a learner.
        """
        return {kind: _specification(kind) for kind in cls.NUISANCE_KINDS}

    @classmethod
    def treatment_model_specifications(cls) -> dict[str, dict[str, Callable[["Declaration"], Any]]]:
        """The same of each treatment model kind."""
        return {kind: _specification(kind) for kind in cls.TREATMENT_KINDS}

    @property
    def init_args(self) -> dict[str, Any]:
        """Arguments that make an unfitted twin, with copies of prefitted models."""
        return {
            **self.get_params(deep=False),
            "fitted_nuisance_models": copy.deepcopy(self.fitted_nuisance_models),
        }

    def set_params(self, **params: Any) -> Self:
        """Set constructor arguments, with the constructor's checks; what was fitted is dropped."""
        super().set_params(**params)
        if params:
            self._begin()
        return self

    @property
    def seed(self) -> int:
        """Seed of folds and base models."""
        return 0 if self.random_state is None else self.random_state

    @property
    def kinds(self) -> tuple[str, ...]:
        """Model kinds of both stages."""
        return self.NUISANCE_KINDS + self.TREATMENT_KINDS

    def is_pairwise(self, kind: str) -> bool:
        """Whether each model of a kind is of one arm and the control."""
        return kind in self.TREATMENT_KINDS or 1 < self.cardinality(kind) < self.n_variants

    def arm_of(self, kind: str, ordinal: int) -> int | None:
        """Code of the arm that a model is of, itself or against the control; None where of all."""
        if self.is_pairwise(kind):
            return ordinal + 1
        return None if self.cardinality(kind) == 1 else ordinal

    def predict_method(self, kind: str) -> str:
        """How a model kind predicts: ``predict`` or ``predict_proba``."""
        if kind == PROPENSITY_MODEL:
            return "predict_proba"
        outcome = kind in self.NUISANCE_KINDS and self.is_classification
        return "predict_proba" if outcome else "predict"

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

    # Helpers of the subclasses

    def regression(self, d: Dataset, kind: str, target: Array, **more: Any) -> Regression:
        """A regression of one of the learner's kinds, weighted as the data are.

        Treatment models learn from rows whose nuisances were predicted out of fold alone.
        """
        rows = more.pop("rows", None)
        if kind in self.TREATMENT_KINDS and d.cv is not None:
            rows = d.covered if rows is None else rows & d.covered
        return Regression(
            **{
                "estimator": self.spec(kind),
                "target": target,
                "n_folds": self.n_folds_of(kind),
                "weight": d.weight,
                "method": self.predict_method(kind),
                "columns": self.columns(kind),
                "serve": kind in self.SERVED,
                "rows": rows,
                **more,
            }
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
        """The nuisance predictions, with the known propensities among them where there are any."""
        if propensity is None:
            return eta
        known = {(PROPENSITY_MODEL, "0"): propensity}
        return ChainMap(known, eta)  # type: ignore[arg-type] # as it is only read

    def bounds(self, known: bool, shares: Floats) -> Clip:
        """Bounds of propensities: none where they are known, else by the arms' shares.

        Parameters
        ----------
        shares : (K,) to use where no fit of this learner has seen the arms
        """
        if known:
            return Clip.none(self.n_variants)
        return Clip.of(self.clip, shares if self._shares is None else self._shares)

    def clip_of(self, d: Dataset) -> Clip:
        """Bounds of the propensities of rows."""
        return self.bounds(d.propensity is not None or self._known is not None, d.shares)

    def propensity_among(self, eta: Columns, k: int) -> Floats:
        """(n,) P(W = k | X, W in {0, k}); one half for a row that is given to neither arm."""
        e = eta[PROPENSITY_MODEL, "0"]
        both = e[:, 0] + e[:, k]
        return np.divide(e[:, k], both, out=np.full_like(both, 0.5), where=both != 0)

    def arm_outcomes(self, eta: Columns) -> Floats:
        """(n, K, 1 or n_classes) predictions of the outcome models of all arms."""
        return np.stack(
            [eta[VARIANT_OUTCOME_MODEL, str(k)] for k in range(self.n_variants)], axis=1
        )

    def outcome_values(self, predictions: Array) -> Floats:
        """Expected outcomes from (..., 1) means or (..., 2) probabilities of two classes."""
        return predictions[..., -1]

    def as_tensor(self, effects: Floats) -> Floats:
        """(n, K-1) effects as (n, K-1, 1), or (n, K-1, 2) with the negative class first."""
        if not self.is_classification:
            return effects[:, :, None]
        return np.stack([-effects, effects], axis=2)

    # Validation

    def check(self, d: Dataset) -> None:
        """Refuse data that this learner can't be fitted on, before anything is fitted."""
        if self.is_classification and len(d.classes) > 2 and not self.MULTI_CLASS:
            raise ValueError(
                f"{type(self).__name__} does not support multiclass classification; found "
                f"{len(d.classes)} classes. It only supports binary outcomes: use an S- or "
                "T-learner, or one class against the rest."
            )
        if self.is_classification and not self.MULTI_CLASS and d.classes.tolist() != [0, 1]:
            raise ValueError(
                f"{type(self).__name__} computes with classes 0 and 1; found "
                f"{d.classes.tolist()}. Encode the outcome of interest as 1."
            )
        for kind in self.kinds:
            if kind not in self._prefitted:
                d.splits(self.n_folds_of(kind))
            select(d.X, self.columns(kind))

    def check_models(self, d: Dataset, fit_params: Mapping[str, Any] | None = None) -> None:
        """Refuse base models that would refuse their parameters or features when they are fitted.

        Parameters
        ----------
        fit_params : as for `MetaLearner.fit`
        """
        few = take(d.X, np.arange(min(len(d), TRIAL_ROWS)))
        for kind in self.unfitted:
            if kind == PROPENSITY_MODEL and d.propensity is not None:
                continue
            spec, who = self.spec(kind), f"the {self._stage(kind)} model {kind}"
            given = fit_params_of(fit_params or {}, self._stage(kind), kind)
            check_stopping(spec.build(), given, f"{spec.name} for {who}")
            check_rows(spec.build(), self._rows_of(kind, d), f"{spec.name} for {who}")
            classes = np.arange(self.n_variants) if kind == PROPENSITY_MODEL else d.classes
            learnt = classes if self.predict_method(kind) == "predict_proba" else classes[:0]
            products = bool(getattr(self, "interactions", False))
            arms = Arms(self.n_variants, products) if kind in self.SWEPT else Arms()
            check_trial(spec, select(few, self.columns(kind)), learnt, who, arms)

    def _rows_of(self, kind: str, d: Dataset) -> int:
        """Rows of the smallest fit of a kind, or more."""
        arms = [self.arm_of(kind, i) for i in range(self.cardinality(kind))]
        counts = np.bincount(d.w[d.train], minlength=self.n_variants)
        control = counts[0] if self.is_pairwise(kind) else 0
        fewest = min(counts.sum() if arm is None else counts[arm] + control for arm in arms)
        n_folds = self.n_folds_of(kind)
        # Folds' training rows, which are so many in the mean; those of given folds aren't.
        return int(fewest if n_folds == 1 or d.cv is not None else fewest * (1 - 1 / n_folds))

    def unkept(self) -> list[str]:
        """Sentences on the base models whose fits no store can keep, as no digest says all."""
        specs = {self.spec(kind) for kind in self.unfitted}
        return sorted({_said_unkept(spec) for spec in specs if spec.unkept})

    def _begin(self) -> None:
        """Check the constructor's arguments."""
        self._validate()

    def _validate(self) -> None:
        self._check_switches()
        check_integer("n_variants", self.n_variants, at_least=2)
        check_seed(self.random_state)
        check_arms(self.arms, self.n_variants)
        self._check_prefitted()
        for name in ("nuisance_model_factory", "nuisance_model_params"):
            value = getattr(self, name)
            if isinstance(value, Mapping) and PROPENSITY_MODEL in value:
                instead = name.replace("nuisance", "propensity")
                raise ValueError(
                    f"{instead.replace('_', ' ').capitalize()} should be defined using {instead} "
                    f"and not {name}; found {PROPENSITY_MODEL} in it."
                )
        for kind in self.kinds:
            n_folds = by_kind(self.n_folds, kind, self.kinds)
            check_integer(f"n_folds of {kind}", n_folds, at_least=1)
            check_feature_set(kind, by_kind(self.feature_set, kind, self.kinds))
        self._check_models()
        check_clip(self.clip)

    def _check_models(self) -> None:
        if PROPENSITY_MODEL in self.unfitted and self.propensity_model_factory is None:
            raise ValueError(
                "propensity_model_factory or fitted_propensity_model needs to be defined as the "
                f"{type(self).__name__} has a propensity model."
            )
        for kind in self.unfitted:
            weighted, method = kind in self.WEIGHTED, self.predict_method(kind)
            check_spec(self.spec(kind), kind, self._stage(kind), method, weighted)

    def _check_switches(self) -> None:
        for name, parameter in signature(type(self)).parameters.items():
            if parameter.annotation is bool:
                check_switch(name, getattr(self, name))

    def _check_prefitted(self) -> None:
        allowed = set(self.NUISANCE_KINDS) - {PROPENSITY_MODEL}
        given = self.fitted_nuisance_models
        check_prefitted_kinds(given, allowed)
        lists = dict(given or {})
        if self.fitted_propensity_model is not None:
            lists[PROPENSITY_MODEL] = [self.fitted_propensity_model]
        for kind, models in lists.items():
            method, swept = self.predict_method(kind), kind in self.SWEPT
            check_prefitted(kind, models, self.cardinality(kind), method, swept)

    def _check_synchronized(self) -> None:
        numbers = {kind: self.n_folds_of(kind) for kind in self.kinds}
        if len(set(numbers.values())) > 1:
            raise ValueError(
                "When using synchronization of cross-fitting, all provided n_folds values must be "
                f"equal; found {numbers}. Pass synchronize_cross_fitting=False to let them differ."
            )
        if min(numbers.values()) < 2:
            raise ValueError(
                f"Need at least two folds to use synchronization; found {numbers}. Pass "
                "synchronize_cross_fitting=False to fit without cross-fitting."
            )


def _said_unkept(spec: EstimatorSpec) -> str:
    return (
        f"Fits of {spec.name} are neither shared nor kept, as what they depend on can't be "
        f"followed or stored: {', '.join(spec.unkept[:3])}."
    )


def fit_params_of(given: Mapping[str, Any], stage: str, kind: str) -> dict[str, Any]:
    """Arguments of a kind's `fit`, of those that are given for all or by stage and kind."""
    by_stage = bool(given) and set(given) <= {NUISANCE, TREATMENT}
    return dict(given.get(stage, {}).get(kind, {}) if by_stage else given)


def _specification(kind: str) -> dict[str, Callable[[Declaration], Any]]:
    return {
        "cardinality": lambda learner: learner.cardinality(kind),
        "predict_method": lambda learner: learner.predict_method(kind),
    }
