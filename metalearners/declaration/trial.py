"""Refusals of base models whose fit would fail, before anything is fitted.

They call scikit-learn's checks of parameters, apply rules, and fit one round on a few rows. An
error on a few rows counts only where the whole fit is sure to raise it too: the model is one of a
library, and the error is the same on twice the rows.
"""

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn import get_config
from sklearn.base import is_classifier, is_regressor
from sklearn.pipeline import Pipeline

from metalearners._typing import Array, Matrix
from metalearners.base_models.capabilities import as_read_by, takes_arm_as_category
from metalearners.base_models.nesting import is_estimator, parts
from metalearners.base_models.rows import take, with_arm
from metalearners.data.containers import column_names
from metalearners.fits.estimator_spec import EstimatorSpec

TRIAL_ROWS = 80
_ROWS = (40, TRIAL_ROWS)
_BOOSTING = {"lightgbm", "xgboost", "catboost"}
_STOPPING = {
    "lightgbm": {
        *("early_stopping_rounds", "early_stopping_round", "early_stopping", "n_iter_no_change")
    },
    "xgboost": {"early_stopping_rounds"},
}
# Numbers of rounds: in one round a model reads its parameters and names.
_ROUNDS = {
    *("n_estimators", "num_iterations", "num_iteration", "n_iter", "num_tree", "num_trees"),
    *("num_round", "num_rounds", "nrounds", "num_boost_round", "max_iter", "iterations"),
}
# Shares of the rows: of a few rows they might leave none.
_SHARES = {
    *("subsample", "sub_row", "bagging", "bagging_fraction"),
    *("pos_bagging_fraction", "pos_bagging", "neg_bagging_fraction", "neg_bagging"),
}
_WRAPPING = {"estimator", "estimators", "base_estimator", "regressor", "steps", "cv"}
# Another machine may have the devices that these name.
_DEVICES = ("device", "device_type", "task_type", "tree_learner", "tree")
_LEAF = (
    *("min_child_samples", "min_data_in_leaf", "min_data_per_leaf", "min_data", "min_samples_leaf"),
)
_BY_FEATURE = {
    *("monotone_constraints", "mc", "monotone_constraint", "monotonic_cst", "feature_contri"),
    *("feature_contrib", "fc", "fp", "feature_penalty", "max_bin_by_feature"),
}
_OF_THE_ROWS = "constant or ignored"  # CatBoost's words where all features of a few rows are equal
_LABELS = ((1.0, 2.0), (0.0, 1.0))  # some losses refuse one of them


@dataclass(frozen=True)
class Arms:
    """Arms among the features."""

    n: int = 0
    products: bool = False  # whether the arms' products with the features are features too


def check_parameters(estimator: Any) -> None:
    """Raise scikit-learn's ValueError on wrong parameters already now, for nested models too."""
    if get_config()["skip_parameter_validation"]:
        return
    for part in filter(is_estimator, parts(estimator)):
        # Private in scikit-learn, whose `fit` calls them first; that of another class may not.
        fit_module = str(getattr(type(part).fit, "__module__", "")) if hasattr(part, "fit") else ""
        if hasattr(part, "_parameter_constraints") and fit_module.startswith("sklearn."):
            part._validate_params()
        if isinstance(part, Pipeline):
            part._validate_steps()


def check_stopping(estimator: Any, fit_params: Mapping[str, Any], who: str) -> None:
    """Refuse boosting models that stop early while `fit` gets no ``eval_set`` to judge by."""
    if any(name.endswith(("eval_set", "eval_X")) for name in fit_params):
        return
    early = list(_early(estimator)) + [
        name
        for name, value in fit_params.items()
        if isinstance(value, (list, tuple)) and any(map(_stops, value))
    ]
    if early:
        raise ValueError(
            f"Expected {who} with an eval_set, by which it would stop early; found "
            f"{', '.join(early)} without one. Pass it as fit_params, or leave early stopping out."
        )


def _early(estimator: Any) -> Iterator[str]:
    """Parameters by which boosting models in an estimator would stop early."""
    for part in filter(is_estimator, parts(estimator)):
        params = part.get_params(deep=False)
        for name in _STOPPING.get(_package(part), ()):
            if isinstance(params.get(name), (int, np.integer)) and params[name] > 0:
                yield f"{name}={params[name]}"
        callbacks = params.get("callbacks")
        if isinstance(callbacks, (list, tuple)) and any(map(_stops, callbacks)):
            yield "callbacks"


def _stops(callback: Any) -> bool:
    # LightGBM's callback has this attribute; xgboost's may judge by the training rows.
    return _package(callback) == "lightgbm" and hasattr(callback, "stopping_rounds")


def check_rows(estimator: Any, n_rows: int, who: str) -> None:
    """Refuse LightGBM with the user's objective on fewer rows than two leaves need.

    LightGBM then has no feature to split by. With a built-in objective it warns and predicts the
    mean.
    """
    params = estimator.get_params(deep=False) if is_estimator(estimator) else {}
    if _package(estimator) != "lightgbm" or not callable(params.get("objective")):
        return
    leaf = [params[name] for name in _LEAF if isinstance(params.get(name), (int, np.integer))]
    if params.get("feature_pre_filter", True) and n_rows < 2 * min(leaf):
        raise ValueError(
            f"Expected {2 * min(leaf)} rows or more for each fit of {who}, two leaves of "
            f"min_child_samples, as its objective is a function; found {n_rows}. Lower "
            "min_child_samples, or use more rows."
        )


def check_trial(spec: EstimatorSpec, X: Matrix, learnt: Array, who: str, arms: Arms) -> None:
    """Refuse a base model whose fit on a few rows of X fails.

    It learns these classes or numbers, or numbers that no loss refuses where there are none.
    """
    estimator = spec.build(seed=0, threads=1)
    if not _can_be_tried(estimator):
        return
    _check_lengths(estimator, _features(estimator, X, 2, arms).shape[1], f"{spec.name} for {who}")
    _limit_to_one_round(estimator)
    said = set()
    for labels in [learnt] if len(learnt) else _LABELS:
        for n in _ROWS:
            rows = _features(estimator, X, n, arms)
            said.add(_error_of_fit(estimator, rows, np.resize(labels, n)))
            if None in said or len(said) > 1:
                return
    raise ValueError(
        f"Expected parameters, features and classes that {spec.name} takes for {who}; found "
        f"{sorted(map(str, spec.params))}. It says: {said.pop()}. Change those."
    )


def _package(value: Any) -> str:
    return type(value).__module__.partition(".")[0]


def _check_lengths(estimator: Any, n_features: int, who: str) -> None:
    """Refuse lists that aren't as long as there are features: some of them crash LightGBM."""
    params = estimator.get_params(deep=False) if _package(estimator) == "lightgbm" else {}
    for name in sorted(_BY_FEATURE & set(params)):
        value = params[name].split(",") if isinstance(params[name], str) else params[name]
        if isinstance(value, (list, tuple, np.ndarray)) and 0 < len(value) != n_features:
            raise ValueError(
                f"Expected {name} of {who} with a value for each of {n_features} features, those "
                f"of the treatment included; found {len(value)}. Complete it, or leave it out."
            )
    groups = params.get("interaction_constraints")
    listed = [i for group in groups if isinstance(group, list) for i in group] if groups else []
    outside = [i for i in listed if isinstance(i, int) and not 0 <= i < n_features]
    if outside:
        raise ValueError(
            f"Expected interaction_constraints of {who} among positions below {n_features}; found "
            f"{outside}. Name others."
        )


def _can_be_tried(estimator: Any) -> bool:
    """Whether an error on a few rows means that the fit will fail too.

    It needn't where a model wraps others, which split the rows, or has functions, which may need
    all rows. And scikit-learn's models get drawn features here, without columns that they name.
    """
    if _package(estimator) not in {"sklearn", *_BOOSTING} or not is_estimator(estimator):
        return False
    params = estimator.get_params(deep=False)
    listed = [v for value in params.values() if isinstance(value, (list, tuple)) for v in value]
    named = _package(estimator) == "sklearn" and any(isinstance(v, (str, dict)) for v in listed)
    local = all(params.get(name) in (None, "cpu", "CPU", "serial") for name in _DEVICES)
    functions = any(map(callable, [*params.values(), *listed]))
    model = is_classifier(estimator) or is_regressor(estimator)
    return model and local and not named and not functions and not _WRAPPING & set(params)


def _limit_to_one_round(estimator: Any) -> None:
    """Set a model to one round on some of the rows, without early stopping."""
    params = estimator.get_params(deep=False)
    package = _package(estimator)
    changes: dict[str, Any] = {}
    if package in ("xgboost", "catboost") and not any(params.get(name) for name in _ROUNDS):
        changes["n_estimators"] = 1
    for name, value in params.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if name in _ROUNDS and number and value > 1:
            changes[name] = 1
        elif name in _SHARES and number and 0 < value < 0.1:
            changes[name] = 0.1
        elif name in _STOPPING.get(package, ()):
            changes[name] = 0 if package == "lightgbm" else None
        elif name in ("early_stopping", "use_best_model") and value is True:
            changes[name] = False
        elif name == "callbacks" or (name == "n_iter_no_change" and "early_stopping" not in params):
            changes[name] = None
    estimator.set_params(**changes)


def _features(estimator: Any, X: Matrix, n: int, arms: Arms) -> Matrix:
    """Rows for a trial; drawn numbers for scikit-learn's models, where types don't matter."""
    rows = take(X, np.arange(n) % X.shape[0])
    if arms.n:
        categorical = not arms.products and takes_arm_as_category(estimator)
        rows = with_arm(rows, np.arange(n) % arms.n, arms.n, categorical, arms.products)
    if _package(estimator) != "sklearn":
        return as_read_by(estimator, rows)  # other types may crash LightGBM
    drawn = np.random.default_rng(0).uniform(size=rows.shape)
    names = column_names(rows)  # parameters may refer to them
    return drawn if names is None else pd.DataFrame(drawn, columns=names)


def _error_of_fit(estimator: Any, X: Matrix, y: Array) -> str | None:
    """A model's error in its fit; None without one, or where something else may have caused it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimator.fit(X, y)
    except (np.linalg.LinAlgError, OSError, MemoryError, ImportError):
        return None
    except Exception as error:
        if _OF_THE_ROWS in str(error):
            return None
        text = re.sub(
            r"^\[[\d:]+\] ", "", str(error).strip()
        )  # xgboost's errors begin with the time
        return text.partition("\n")[0].rstrip(".")
    return None
