"""Estimators of effects of other packages as base models that have the arm among their features."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.utils.validation import check_is_fitted

from metalearners._typing import Array, Floats, Matrix
from metalearners.base_models.capabilities import takes_missing
from metalearners.base_models.rows import as_frame
from metalearners.base_models.weights import WEIGHT

_OUTCOMES, _ARMS, _SEEDS = ("y", "Y"), ("treatment", "T", "w"), ("random_state", "seed")
_CONTROL = "control_name"  # causalml's classes know the control by a label


@dataclass(frozen=True)
class Calls:
    """How a class is fitted, and how it tells effects.

    Parameters
    ----------
    outcome, arm, seed : str
        Names of the outcomes, the arms and the seed among the arguments of `fit`; no seed is "".
    weighted : bool
        Whether `fit` takes row weights.
    method : str
        ``effect`` or ``predict``.
    contrasts : bool
        Whether that takes two arms, T0 and T1, as EconML's does.
    """

    outcome: str
    arm: str
    seed: str
    weighted: bool
    method: str
    contrasts: bool

    @classmethod
    def of(cls, factory: Any) -> "Calls":
        """The calls of a class; a ValueError if it can't be called as EconML's and causalml's."""
        method = next((m for m in ("effect", "predict") if callable(getattr(factory, m, 0))), "")
        fits = isinstance(factory, type) and callable(getattr(factory, "fit", None))
        taken = _arguments(factory.fit) if fits else {}
        outcome, arm, seed = (
            next((name for name in names if name in taken), "")
            for names in (_OUTCOMES, _ARMS, _SEEDS)
        )
        known = ("X", outcome, arm)
        needed = [n for n, one in taken.items() if one.default is one.empty and n not in known]
        if "X" not in taken or not outcome or not arm or needed or not method:
            name = getattr(factory, "__name__", repr(factory))
            found = f"{name}.fit({', '.join(taken)})" if fits else f"{name} without fit"
            raise ValueError(
                "Expected a class with effect or predict whose fit takes X, y or Y, and treatment, "
                f"T or w, and nothing else without a default; found {found}"
                f"{'' if method else ', and neither effect nor predict'}. Wrap it in such a class."
            )
        contrasts = {"T0", "T1"} <= _arguments(getattr(factory, method)).keys()
        return cls(outcome, arm, seed, WEIGHT in taken, method, contrasts)


def _arguments(function: Any) -> dict[str, inspect.Parameter]:
    """A method's arguments by name, without those that take any."""
    listed = list(inspect.signature(function).parameters.values())[1:]
    any_of = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {one.name: one for one in listed if one.kind not in any_of}


class OutsideEstimator(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    r"""The effect of a row's arm against the control, by another package's estimator of effects.

    Its features end with a 0/1 column for each arm but the control, as those of an S-learner do.
    The estimator gets the other features as an array of floats, outcomes as floats, and arms as
    codes from 0, the control; as texts if it has a ``control_name``. Of parameters that its class
    has and that are unset, ``discrete_treatment`` is true, ``random_state`` is this model's, and
    ``n_jobs`` is 1: forests sum in the order of their threads, which changes the last bits.

    Parameters
    ----------
    factory : type
        A class with `fit` and `effect` or `predict`: ``fit(Y, T, X=...)`` and ``effect(X, T0=...,
        T1=...)`` as EconML's, ``fit(X, treatment, y)`` and ``predict(X)`` as causalml's, or
        ``fit(X, y, w)``. Arguments go by name. `predict`, and an `effect` without arms, return an
        effect for each row and each arm but the control.
    params : mapping, optional
        Arguments of the class.
    n_arms : int
        Number of arms, the control included.
    encoder : transformer, optional
        Makes numbers of the features; fitted with the estimator, on the same rows.
    random_state : int, optional
        Seed of the estimator.

    Raises ValueError if the class can't be called so, or a parameter says something else of arms.
    """

    def __init__(
        self,
        factory: Any,
        params: Mapping[str, Any] | None = None,
        n_arms: int = 2,
        encoder: Any = None,
        random_state: int | None = None,
    ) -> None:
        self.factory = factory
        self.params = params
        self.n_arms = n_arms
        self.encoder = encoder
        self.random_state = random_state
        Calls.of(factory)
        _check_arms(params or {})

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.encoder is not None and takes_missing(self.encoder)
        return tags

    def fit(self, X: Matrix, y: Array, sample_weight: Array | None = None) -> Self:
        """Fit the estimator.

        Parameters
        ----------
        X : matrix of shape (n, p + K - 1)
            Features, and then a 0/1 column for each arm but the control.
        y : array of shape (n,)
            Outcomes.
        sample_weight : array of shape (n,), optional
            Row weights.
        """
        calls = Calls.of(self.factory)
        features, arm = self._split(X)
        self.encoder_ = None if self.encoder is None else clone(self.encoder).fit(features)
        given: dict[str, Any] = {"X": self._numbers(features), calls.outcome: np.asarray(y, float)}
        given[calls.arm] = self._labels(arm)
        if sample_weight is not None:
            given[WEIGHT] = np.asarray(sample_weight, float)
        if calls.seed:
            given[calls.seed] = self.random_state
        self.estimator_ = self.made()
        self.estimator_.fit(**given)
        return self

    def predict(self, X: Matrix) -> Floats:
        """(m,) effects of each row's arm; 0 for the control."""
        check_is_fitted(self)
        features, arm = self._split(X)
        effects, numbers = np.zeros(len(arm)), self._numbers(features)
        for k in np.unique(arm[arm > 0]).tolist():
            rows = np.flatnonzero(arm == k)
            effects[rows] = self._effects(numbers[rows], k)
        return effects

    def _split(self, X: Matrix) -> tuple[Matrix, Array]:
        """The features, and the (n,) codes of the arms."""
        if sparse.issparse(X):
            raise ValueError(
                f"Expected an array or a data frame for {self.factory.__name__}; found a sparse "
                "matrix. Pass X.toarray()."
            )
        width = X.shape[1] - (self.n_arms - 1)
        frame = as_frame(X)
        if frame is None:
            features, indicators = X[:, :width], X[:, width:]
        else:
            names = frame.columns
            features = frame.select(names[:width]).to_native()
            indicators = frame.select(names[width:]).to_numpy()
        return features, (indicators @ np.arange(1, self.n_arms)).astype(np.int64)

    def _numbers(self, features: Matrix) -> Floats:
        if self.encoder_ is not None:
            features = self.encoder_.transform(features)
        try:
            return np.asarray(features, dtype=float)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"Expected features that are numbers for {self.factory.__name__}; found others "
                f"({error}). Pass an encoder."
            ) from None

    def made(self) -> Any:
        """The estimator, unfitted."""
        params, named = dict(self.params or {}), inspect.signature(self.factory).parameters
        unset = {"random_state": self.random_state, "n_jobs": 1, "discrete_treatment": True}
        for name, value in {**unset, _CONTROL: "0"}.items():
            if name in named and params.get(name) is None:
                params[name] = value
        return self.factory(**params)

    def _labels(self, arm: Array) -> Array:
        """Arms as the estimator knows them: texts sort as codes do."""
        if _CONTROL not in inspect.signature(self.factory).parameters:
            return arm
        digits = len(str(self.n_arms))
        return np.array(["0", *(f"{k:0{digits}}" for k in range(1, self.n_arms))])[arm]

    def _effects(self, X: Floats, k: int) -> Floats:
        """(m,) effects of an arm."""
        calls, name = Calls.of(self.factory), self.factory.__name__
        tell = getattr(self.estimator_, calls.method)
        found = np.asarray(tell(X, T0=0, T1=k) if calls.contrasts else tell(X), float)
        width = 1 if calls.contrasts else self.n_arms - 1
        if found.size != len(X) * width or (found.ndim > 1 and found.shape[0] != len(X)):
            raise ValueError(
                f"Expected an effect for each of {len(X)} rows and {width} arms from "
                f"{name}.{calls.method}; found shape {found.shape}. Give it parameters by which it "
                "tells each arm from the control."
            )
        effects = found.reshape(len(X), width)[:, 0 if calls.contrasts else k - 1]
        if not np.isfinite(effects).all():
            raise ValueError(
                f"Expected finite effects from {name}.{calls.method}; found "
                f"{int((~np.isfinite(effects)).sum())} others. Change its parameters."
            )
        return effects


def _check_arms(params: Mapping[str, Any]) -> None:
    """Refuse parameters that say something else of arms than the data."""
    if params.get("discrete_treatment") not in (None, True):
        raise ValueError(
            "Expected discrete_treatment as true, as arms have no order; found "
            f"{params['discrete_treatment']!r}. Leave it out."
        )
    if params.get(_CONTROL) is not None:
        raise ValueError(
            f"Expected no {_CONTROL}, as the control is the data's; found "
            f"{params[_CONTROL]!r}. Leave it out."
        )
