"""Which features a base model can be fitted on: types of columns, missing values, the arm."""

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

from metalearners._typing import Matrix
from metalearners.base_models.feature_types import (
    ARROW,
    ARROW_CATEGORIES,
    CATEGORIES,
    NUMBERED,
    OBJECTS,
    TEXTS,
)
from metalearners.base_models.nesting import inner_models, parts
from metalearners.base_models.rows import as_frame, as_pandas, kinds

# They hand plain arrays to their inner models, whatever they are given.
_BOOSTING = (AdaBoostRegressor, AdaBoostClassifier)
_FLATTENING = (RFE, BaggingRegressor, BaggingClassifier, *_BOOSTING)

# What models of these packages refuse, or end the process over, besides categories.
_NONE_TAKES = frozenset({TEXTS, ARROW_CATEGORIES})
_REFUSED = {
    "sklearn": _NONE_TAKES,
    "lightgbm": _NONE_TAKES | {OBJECTS, ARROW},
    "xgboost": _NONE_TAKES | {OBJECTS},
    "catboost": _NONE_TAKES | {CATEGORIES, NUMBERED},
    "cuml": _NONE_TAKES | {OBJECTS, CATEGORIES, NUMBERED},
}


def check_kinds(estimator: Any, X: Matrix, who: str) -> None:
    """Refuse columns of a type that a base model can't be fitted on.

    Pipelines are trusted to encode what they get, and so are classes of the user's own.

    Parameters
    ----------
    who : the base model in the message

    Raises
    ------
    ValueError
        If there are such columns.
    """
    refused = _refused_kinds(estimator)
    wrong = [f"{name} ({kind})" for name, kind in kinds(X).items() if kind in refused]
    if wrong:
        raise ValueError(
            f"Expected other types of features for {who}, a {type(estimator).__name__}; it can't "
            f"take {', '.join(wrong)}. Encode or convert them, as with .astype(float), or name a "
            "sklearn.pipeline.Pipeline with an encoder."
        )


def _refused_kinds(estimator: Any) -> frozenset[str]:
    if isinstance(estimator, Pipeline):
        return frozenset()
    if models := inner_models(estimator):
        inner = frozenset[str]().union(*map(_refused_kinds, models))
        if not isinstance(estimator, _FLATTENING):
            return inner
        # They hand on plain arrays, in which categories are texts.
        return _NONE_TAKES | {CATEGORIES} if TEXTS in inner else frozenset()
    root, refused = _root(estimator), _REFUSED.get(_root(estimator), frozenset())
    if takes_categories(estimator):
        return refused - {TEXTS, CATEGORIES, NUMBERED} if root == "catboost" else refused
    if root == "sklearn":
        unread = get_tags(estimator).no_validation  # as a model of the mean
        return frozenset() if unread else refused | {CATEGORIES}
    return refused and refused | {CATEGORIES, NUMBERED}


def as_read_by(estimator: Any, X: Matrix) -> Matrix:
    """Features in the container that a base model reads their types from.

    Boosting libraries know categories by pandas' type alone, and LightGBM ends the process over
    columns of polars and Arrow that aren't numbers: such frames become pandas ones.
    """
    frame = as_frame(X)
    if frame is None or hasattr(X, "iloc") or not any(map(_reads_pandas, parts(estimator))):
        return X
    return as_pandas(X) if kinds(X) else X


def _reads_pandas(part: Any) -> bool:
    boosting = type(part).__name__.startswith("HistGradientBoosting")
    return boosting or _root(part) in ("lightgbm", "xgboost", "catboost")


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
