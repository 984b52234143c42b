"""What base models are made of: models within models, and the splitters and values beside them."""

from collections.abc import Iterator, Mapping
from typing import Any

from sklearn.base import is_classifier
from sklearn.linear_model import LogisticRegression, RidgeCV


def is_estimator(value: Any) -> bool:
    """Whether a value is an estimator or transformer, and no class of them."""
    return hasattr(value, "set_params") and not isinstance(value, type)


def is_splitter(value: Any) -> bool:
    """Whether a value, or a class, splits rows into folds as scikit-learn's splitters do."""
    return all(callable(getattr(value, name, None)) for name in ("split", "get_n_splits"))


def parts(value: Any) -> Iterator[Any]:
    """An estimator and all that is nested in it, in the values of a search's grid too."""
    yield value
    if is_estimator(value):
        value = value.get_params(deep=False)
    if isinstance(value, Mapping):
        value = list(value.values())
    for item in value if isinstance(value, (list, tuple)) else ():
        yield from parts(item)


def inner_models(estimator: Any) -> list[Any]:
    """Models that a model fits to the features it is given; none for one that is no wrapper.

    Not those of a pipeline's steps, which get what the steps before them made of the features.
    """
    given = estimator.get_params(deep=False)
    pairs = given.get("estimators") or []
    several = [pair[1] for pair in pairs if isinstance(pair, (tuple, list))]
    if given.get("passthrough") is True:  # a stack whose last model sees the features too
        default = LogisticRegression() if is_classifier(estimator) else RidgeCV()
        several.append(given["final_estimator"] or default)
    found = [given.get("estimator"), given.get("regressor"), *several]
    return [model for model in found if is_estimator(model)]
