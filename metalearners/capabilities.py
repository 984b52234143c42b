"""Which features a base model can be fitted on: missing values, categories, the arm as one."""

from typing import Any

from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
)
from sklearn.feature_selection import RFE
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from metalearners.nesting import inner_models

# They hand plain arrays to their inner models, whatever they are given.
_BOOSTING = (AdaBoostRegressor, AdaBoostClassifier)
_FLATTENING = (RFE, BaggingRegressor, BaggingClassifier, *_BOOSTING)


def takes_missing(estimator: Any) -> bool:
    """Whether a base model can be fitted on missing feature values."""
    if not isinstance(estimator, Pipeline):
        models = inner_models(estimator)
        if models and not isinstance(estimator, _BOOSTING):  # these refuse them themselves
            return all(map(takes_missing, models))
        return _allow_nan(estimator)
    for _, step in estimator.steps:
        if step in (None, "passthrough"):
            continue
        if not (takes_missing(step) if inner_models(step) else _allow_nan(step)):
            return False
        if _replaces_values(step):
            return True
    return True


def takes_categories(estimator: Any) -> bool:
    """Whether a base model can be fitted on columns of a data frame's category type.

    A pipeline is trusted to encode them: what its steps make of a column isn't known before
    they are fitted.
    """
    if isinstance(estimator, _FLATTENING):
        return False
    if models := inner_models(estimator):
        return all(map(takes_categories, models))
    given = estimator.get_params(deep=False)
    root = _root(estimator)
    if root == "xgboost":
        return bool(given.get("enable_categorical", False))
    if root == "catboost":
        return bool(given.get("cat_features"))
    if type(estimator).__name__.startswith("HistGradientBoosting"):
        return given.get("categorical_features") == "from_dtype"
    return root == "lightgbm" or isinstance(estimator, Pipeline)


def takes_arm_as_category(estimator: Any) -> bool:
    """Whether a base model that has the treatment as a feature gets it as one category column.

    A pipeline gets indicators: a step such as a scaler would take codes of arms for numbers. So
    does catboost, which wants each category column named.
    """
    if models := inner_models(estimator):
        return takes_categories(estimator) and all(map(takes_arm_as_category, models))
    named = isinstance(estimator, Pipeline) or _root(estimator) == "catboost"
    return not named and takes_categories(estimator)


def _root(estimator: Any) -> str:
    return type(estimator).__module__.partition(".")[0]


def _allow_nan(estimator: Any) -> bool:
    return _replaces_values(estimator) or bool(get_tags(estimator).input_tags.allow_nan)


def _replaces_values(step: Any) -> bool:
    # An imputer fills values in; what a column transformer does is known only by its parts.
    return type(step).__name__.endswith(("Imputer", "ColumnTransformer"))
