"""Which features a base model takes: types of columns, missing values, the arm."""

from typing import Any

from sklearn import ensemble
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
    kinds,
)
from metalearners.base_models.nesting import inner_models, package_of, parts
from metalearners.base_models.rows import as_frame, as_pandas

# These convert features to plain arrays for their inner models.
_BOOSTING = (ensemble.AdaBoostRegressor, ensemble.AdaBoostClassifier)
_FLATTENING = (RFE, ensemble.BaggingRegressor, ensemble.BaggingClassifier, *_BOOSTING)

# Types, besides categories, that models of these packages refuse or crash on.
_NONE_TAKES = frozenset({TEXTS, ARROW_CATEGORIES})
_REFUSED = {
    "sklearn": _NONE_TAKES,
    "lightgbm": _NONE_TAKES | {OBJECTS, ARROW},
    "xgboost": _NONE_TAKES | {OBJECTS},
    "catboost": _NONE_TAKES | {CATEGORIES, NUMBERED},
    "cuml": _NONE_TAKES | {OBJECTS, CATEGORIES, NUMBERED},
}


def check_kinds(estimator: Any, X: Matrix, who: str) -> None:
    """Refuse columns of a type that a base model can't take; the message calls the model `who`.

    Pipelines and the user's classes may have any: they are expected to encode them.
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
        # Categories become texts in their plain arrays.
        return _NONE_TAKES | {CATEGORIES} if TEXTS in inner else frozenset()
    package = package_of(estimator)
    refused = _REFUSED.get(package, frozenset())
    if takes_categories(estimator):
        return refused - {TEXTS, CATEGORIES, NUMBERED} if package == "catboost" else refused
    if package == "sklearn":
        ignored = get_tags(estimator).no_validation  # as by a model of the mean
        return frozenset() if ignored else refused | {CATEGORIES}
    return refused and refused | {CATEGORIES, NUMBERED}


def as_read_by(estimator: Any, X: Matrix) -> Matrix:
    """Features in the container from which a base model reads their types.

    Boosting libraries recognise categories in pandas frames only, and LightGBM crashes on columns
    of polars and Arrow that aren't numbers: such frames become pandas frames.
    """
    frame = as_frame(X)
    if frame is None or hasattr(X, "iloc") or not any(map(_reads_pandas, parts(estimator))):
        return X
    return as_pandas(X) if kinds(X) else X


def _reads_pandas(part: Any) -> bool:
    boosting = type(part).__name__.startswith("HistGradientBoosting")
    return boosting or package_of(part) in ("lightgbm", "xgboost", "catboost")


def takes_missing(estimator: Any) -> bool:
    """Whether a base model can be fitted on missing feature values."""
    if not isinstance(estimator, Pipeline):
        models = inner_models(estimator)
        if models and not isinstance(estimator, _BOOSTING):  # which check their input themselves
            return all(map(takes_missing, models))
        return _replaces_values(estimator) or bool(get_tags(estimator).input_tags.allow_nan)
    steps = [step for _, step in estimator.steps if step not in (None, "passthrough")]
    for step in steps:
        if not takes_missing(step):
            return False
        if _replaces_values(step):
            return True
    return True


def takes_categories(estimator: Any) -> bool:
    """Whether a base model can be fitted on columns of a data frame's category type.

    A pipeline can: it is expected to encode them.
    """
    if isinstance(estimator, _FLATTENING):
        return False
    if models := inner_models(estimator):
        return all(map(takes_categories, models))
    params = estimator.get_params(deep=False)
    package = package_of(estimator)
    if package == "xgboost":
        return bool(params.get("enable_categorical", False))
    if package == "catboost":
        return bool(params.get("cat_features"))
    if type(estimator).__name__.startswith("HistGradientBoosting"):
        return params.get("categorical_features") == "from_dtype"
    return package == "lightgbm" or isinstance(estimator, Pipeline)


def takes_arm_as_category(estimator: Any) -> bool:
    """Whether a base model gets the treatment as one category column.

    A pipeline gets indicators, as a step such as a scaler would treat codes of arms as numbers.
    So does catboost, which needs the names of category columns.
    """
    if models := inner_models(estimator):
        return takes_categories(estimator) and all(map(takes_arm_as_category, models))
    indicators = isinstance(estimator, Pipeline) or package_of(estimator) == "catboost"
    return not indicators and takes_categories(estimator)


def _replaces_values(step: Any) -> bool:
    # Imputers do; a column transformer may, by one of its parts.
    return type(step).__name__.endswith(("Imputer", "ColumnTransformer"))
