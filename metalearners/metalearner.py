"""What all metalearners share: they declare regressions, and are fitted by running a plan."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator

from metalearners._typing import Array, Columns, Floats, Matrix, Name
from metalearners.crossfit import CrossFit
from metalearners.dataset import Dataset, as_outcome, check_arms, check_propensity
from metalearners.estimators import EstimatorSpec, check_role, weight_argument
from metalearners.execute import joblib_executor, run_stage
from metalearners.fit import predict_with
from metalearners.plan import Regression, select
from metalearners.store import MemoryStore

PROPENSITY_MODEL = "propensity_model"
VARIANT_OUTCOME_MODEL = "variant_outcome_model"
TREATMENT_MODEL = "treatment_model"
NUISANCE = "nuisance"
TREATMENT = "treatment"

T = TypeVar("T")


class MetaLearner(BaseEstimator):  # type: ignore[misc]
    """Base of the five learners.

    Estimates the conditional average treatment effect (CATE) of each arm k = 1, ..., K-1 against
    the control 0, tau_k(x) = E[Y(k) - Y(0) | X = x].

    A subclass names its model kinds and gives three hooks: `nuisances` and `treatments` declare
    regressions, `cate` puts their predictions together. The same `cate` serves training rows
    (with out-of-fold predictions) and new rows (with those of the served models).

    Parameters
    ----------
    is_classification : whether the outcome holds classes; base models then are asked for
        probabilities
    n_variants : number of arms, the control included
    nuisance_model_factory, treatment_model_factory : class of the base models, or a dict of
        classes by model kind
    propensity_model_factory : class of the propensity model, a classifier
    nuisance_model_params, treatment_model_params, propensity_model_params : parameters of the
        base models, or dicts of parameters by model kind
    fitted_nuisance_models, fitted_propensity_model : not available yet
    feature_set : features of each model: None for all, or positions or names; or a dict of these
        by model kind
    n_folds : number of cross-fitting folds, or a dict by model kind; 1 fits without cross-fitting
    random_state : draws the folds and the seeds of base models that have none of their own;
        None is 0, so results repeat
    clip : propensities are clipped into [clip, 1 - clip]

    Raises
    ------
    ValueError
        If a needed base model is missing or of the wrong sort, or a number is out of range.
    """

    NUISANCE_KINDS: ClassVar[tuple[str, ...]]
    TREATMENT_KINDS: ClassVar[tuple[str, ...]]
    SERVED: ClassVar[frozenset[str]]
    """Model kinds that predictions for new rows need."""
    WEIGHTED: ClassVar[frozenset[str]] = frozenset()
    """Model kinds that are always fitted with row weights."""
    MULTI_CLASS: ClassVar[bool] = False

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
        fitted_nuisance_models: Any = None,
        fitted_propensity_model: Any = None,
        feature_set: Any = None,
        n_folds: Any = 10,
        random_state: int | None = None,
        *,
        clip: float = 0.01,
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
        self._validate()

    # What a learner is made of

    @abstractmethod
    def nuisances(self, d: Dataset) -> dict[Name, Regression]:
        """Regressions of the first stage, by (model kind, ordinal)."""

    def treatments(self, d: Dataset, eta: Columns) -> dict[Name, Regression]:
        """Regressions of the second stage, given the first's out-of-fold predictions."""
        return {}

    @abstractmethod
    def cate(self, eta: Columns, tau: Columns) -> Floats:
        """CATE estimates from both stages' predictions, of shape (n, K-1, 1 or n_classes)."""

    # Fitting and predicting

    def set_params(self, **params: Any) -> Self:
        """Set constructor arguments, with the constructor's checks."""
        super().set_params(**params)
        self._validate()
        return self

    def fit(
        self,
        X: Matrix,
        y: Any,
        w: Any,
        n_jobs_cross_fitting: int | None = None,
        fit_params: None = None,
        synchronize_cross_fitting: bool = True,
        n_jobs_base_learners: int | None = None,
        *,
        sample_weight: Any = None,
        groups: Any = None,
        propensity: Any = None,
    ) -> Self:
        """Fit all base models.

        Parameters
        ----------
        X : (n, p) features
        y : (n,) outcome
        w : (n,) treatment, coded 0 (control) to ``n_variants - 1``
        n_jobs_cross_fitting, n_jobs_base_learners : workers over folds and over models; they
            multiply into one flat pool, with scikit-learn's meaning of None, 1, N and -1
        fit_params : not available yet
        synchronize_cross_fitting : whether all model kinds must share one number of folds. Kinds
            with equal numbers always share their folds
        sample_weight : (n,) sampling weights
        groups : (n,) labels of clusters that folds must not split
        propensity : (n, K) known probabilities of the arms, used in place of a propensity model

        Raises
        ------
        ValueError
            If the data can't be fitted: see the message for what was expected.
        """
        if fit_params is not None:
            raise NotImplementedError("fit_params is not available yet: pass None.")
        if synchronize_cross_fitting:
            self._check_synchronized()
        codes = np.asarray(w)
        check_arms(codes, self.n_variants)  # the cast to integers would cut off fractions
        d = Dataset(
            X=X,
            y=as_outcome(y, self.is_classification),
            w=codes.astype(np.int64),
            n_variants=self.n_variants,
            is_classification=self.is_classification,
            weight=None if sample_weight is None else np.asarray(sample_weight, dtype=float),
            groups=None if groups is None else np.asarray(groups),
            propensity=None if propensity is None else np.asarray(propensity, dtype=float),
            seed=self.seed,
        )
        self.check(d)
        store = MemoryStore()
        execute = joblib_executor(_pool(n_jobs_cross_fitting, n_jobs_base_learners))
        nuisances = run_stage(self.nuisances(d), d, store, execute)
        columns = {name: fitted.column for name, fitted in nuisances.items()}
        eta = self.with_known(columns, d.propensity)
        treatments = run_stage(self.treatments(d, eta), d, store, execute)
        return self.adopt(d, nuisances, treatments)

    def adopt(
        self, d: Dataset, nuisances: Mapping[Name, CrossFit], treatments: Mapping[Name, CrossFit]
    ) -> Self:
        """Take the fitted regressions of both stages, whoever ran them."""
        fitted = {**nuisances, **treatments}
        self.models_ = {name: f.model for name, f in fitted.items() if name[0] in self.SERVED}
        eta = {name: f.column for name, f in nuisances.items()}
        tau = {name: f.column for name, f in treatments.items()}
        self.in_sample_ = self.cate(self.with_known(eta, d.propensity), tau)
        return self

    def predict(
        self, X: Matrix, is_oos: bool, oos_method: str = "overall", *, propensity: Any = None
    ) -> Floats:
        """CATE estimates.

        Parameters
        ----------
        X : (n, p) features
        is_oos : False for the rows fitted on, in their order: each is estimated by models that
            haven't seen it. True for other rows
        oos_method : ``overall``, the models of all training rows; others are not available yet
        propensity : (n, K) known probabilities, where the learner was fitted with such

        Returns
        -------
        (n, K-1, 1) for a numeric outcome, (n, K-1, n_classes) for classes
        """
        if not hasattr(self, "models_"):
            raise ValueError(f"Expected a fitted {type(self).__name__}; call fit first.")
        if not is_oos:
            return self._in_sample(X.shape[0])
        if oos_method != "overall":
            raise NotImplementedError(f"oos_method {oos_method!r} is not available yet.")
        known = self._known(propensity, X.shape[0])
        columns = {name: self._predict_one(name, X) for name in self.models_}
        return self.cate(self.with_known(columns, known), columns)

    def _in_sample(self, n_rows: int) -> Floats:
        if not hasattr(self, "in_sample_"):
            raise ValueError(
                "This learner was stored without its estimates of the rows fitted on. "
                "Use is_oos=True."
            )
        if n_rows != len(self.in_sample_):
            raise ValueError(
                f"Expected the {len(self.in_sample_)} rows fitted on; found {n_rows} rows, "
                "unlike data encountered in training. Use is_oos=True for other rows."
            )
        return self.in_sample_.copy()

    def _known(self, propensity: Any, n_rows: int) -> Floats | None:
        """Known propensities of new rows; refuses their absence where no model gives them."""
        if propensity is None:
            if PROPENSITY_MODEL in self.SERVED and (PROPENSITY_MODEL, "0") not in self.models_:
                raise ValueError(
                    f"{type(self).__name__} was fitted with known propensities; pass those of the "
                    "new rows as `propensity`."
                )
            return None
        known = np.asarray(propensity, dtype=float)
        check_propensity(known, self.n_variants)
        if len(known) != n_rows:
            raise ValueError(f"Expected {n_rows} rows in propensity, as in X; found {len(known)}.")
        return known

    def _predict_one(self, name: Name, X: Matrix) -> Array:
        kind = name[0]
        features = select(X, self.columns(kind))
        arms = self.n_variants if kind == "base_model" else 0
        return predict_with(self.models_[name], features, self.predict_method(kind), arms)

    # Helpers of the subclasses

    @property
    def seed(self) -> int:
        """Seed of folds and base models."""
        return 0 if self.random_state is None else self.random_state

    @property
    def kinds(self) -> tuple[str, ...]:
        """Model kinds of both stages."""
        return self.NUISANCE_KINDS + self.TREATMENT_KINDS

    def predict_method(self, kind: str) -> str:
        """How a model kind predicts: ``predict`` or ``predict_proba``."""
        if kind == PROPENSITY_MODEL:
            return "predict_proba"
        outcome = kind in self.NUISANCE_KINDS and self.is_classification
        return "predict_proba" if outcome else "predict"

    def spec(self, kind: str) -> EstimatorSpec:
        """The base model of a kind."""
        role = _ROLES.get(kind, NUISANCE if kind in self.NUISANCE_KINDS else TREATMENT)
        factory = self._by_kind(getattr(self, f"{role}_model_factory"), kind)
        params = self._by_kind(getattr(self, f"{role}_model_params"), kind)
        return EstimatorSpec(factory, dict(params or {}))

    def columns(self, kind: str) -> tuple[Any, ...] | None:
        """Positions or names of a kind's features; None for all."""
        chosen = self._by_kind(self.feature_set, kind)
        return None if chosen is None else tuple(chosen)

    def regression(self, d: Dataset, kind: str, target: Array, **more: Any) -> Regression:
        """A regression of one of the learner's kinds, weighted as the data are."""
        return Regression(
            **{
                "estimator": self.spec(kind),
                "target": target,
                "n_folds": self._by_kind(self.n_folds, kind),
                "weight": d.weight,
                "method": self.predict_method(kind),
                "columns": self.columns(kind),
                "serve": kind in self.SERVED,
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

    def with_known(self, eta: Columns, propensity: Floats | None) -> dict[Name, Array]:
        """The nuisance predictions, with the known propensities among them where there are any."""
        known: dict[Name, Array] = {}
        if propensity is not None:
            known[PROPENSITY_MODEL, "0"] = propensity
        return {**eta, **known}

    def propensity_among(self, eta: Columns, k: int) -> Floats:
        """(n,) P(W = k | X, W in {0, k}); one half for a row that is given to neither arm."""
        e = eta[PROPENSITY_MODEL, "0"]
        both = e[:, 0] + e[:, k]
        return np.divide(e[:, k], both, out=np.full_like(both, 0.5), where=both != 0)

    def outcome_values(self, predictions: Array) -> Floats:
        """(n,) expected outcomes from (n, 1) means or (n, 2) probabilities of two classes."""
        return predictions[:, -1]

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
            d.splits(self._by_kind(self.n_folds, kind))

    def _validate(self) -> None:
        if self.fitted_nuisance_models is not None or self.fitted_propensity_model is not None:
            raise NotImplementedError("Prefitted models are not available yet: pass None.")
        check_integer("n_variants", self.n_variants, at_least=2)
        for name in ("nuisance_model_factory", "nuisance_model_params"):
            value = getattr(self, name)
            if isinstance(value, Mapping) and PROPENSITY_MODEL in value:
                raise ValueError(
                    f"Expected {name} without {PROPENSITY_MODEL}: use the argument "
                    f"{name.replace('nuisance', 'propensity')}."
                )
        for kind in self.kinds:
            n_folds = self._by_kind(self.n_folds, kind)
            check_integer(f"n_folds of {kind}", n_folds, at_least=1)
            spec = self.spec(kind)
            if spec.factory is None:
                raise ValueError(
                    f"A model for the {'nuisance' if kind in self.NUISANCE_KINDS else 'treatment'} "
                    f"model {kind} needs to be defined: pass a class."
                )
            estimator = spec.build()
            check_role(estimator, self.predict_method(kind), kind)
            if kind in self.WEIGHTED and weight_argument(estimator) is None:
                raise ValueError(
                    f"The model {kind} is fitted with weights; {type(estimator).__name__}.fit "
                    "takes no sample_weight. Use another class."
                )
        if not 0 <= self.clip < 0.5:
            raise ValueError(f"clip needs to be in [0, 0.5); found {self.clip}.")

    def _check_synchronized(self) -> None:
        numbers = {kind: self._by_kind(self.n_folds, kind) for kind in self.kinds}
        if len(set(numbers.values())) > 1 or min(numbers.values()) < 2:
            raise ValueError(
                f"Expected one number of folds of at least 2 for all model kinds; found {numbers}. "
                "Pass synchronize_cross_fitting=False to let them differ."
            )

    def _by_kind(self, value: Any, kind: str) -> Any:
        """A constructor argument's value for one kind: it may be one for all, or a dict by kind."""
        if isinstance(value, Mapping) and kind in value and set(value) >= self._kinds_of(kind):
            return value[kind]
        return value

    def _kinds_of(self, kind: str) -> set[str]:
        stage = self.NUISANCE_KINDS if kind in self.NUISANCE_KINDS else self.TREATMENT_KINDS
        return set(stage) - {PROPENSITY_MODEL}


_ROLES = {PROPENSITY_MODEL: "propensity"}


def check_integer(name: str, value: Any, at_least: int) -> None:
    """Refuse what is no whole number, or below a bound."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if whole and value >= at_least:
        return
    if at_least == 1:
        expected = "an integer that is strictly positive"
    else:
        expected = f"an integer strictly greater than {at_least - 1}"
    raise ValueError(f"{name} needs to be {expected}. Found {value!r}.")


def _pool(*n_jobs: int | None) -> int | None:
    """One worker count for two levels of parallelism: their product, None where none is set."""
    if all(n is None for n in n_jobs):
        return None
    return int(np.prod([effective_n_jobs(n) for n in n_jobs if n is not None]))
