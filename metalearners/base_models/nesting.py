"""Models within base models, and the splitters and values beside them."""

from collections.abc import Iterator, Mapping
from typing import Any

from sklearn.base import is_classifier
from sklearn.linear_model import LogisticRegression, RidgeCV


def package_of(value: Any) -> str:
    """The package that defines a value's class, such as ``lightgbm``."""
    return type(value).__module__.partition(".")[0]


def is_estimator(value: Any) -> bool:
    """Whether a value is an estimator or transformer, not a class of them."""
    return hasattr(value, "set_params") and not isinstance(value, type)


def is_splitter(value: Any) -> bool:
    """Whether a value, or a class, splits rows into folds as scikit-learn's splitters do."""
    return all(callable(getattr(value, name, None)) for name in ("split", "get_n_splits"))


def parts(value: Any) -> Iterator[Any]:
    """An estimator and all that is nested in it, also in the values of a search's grid."""
    yield value
    if is_estimator(value):
        value = value.get_params(deep=False)
    if isinstance(value, Mapping):
        value = list(value.values())
    for item in value if isinstance(value, (list, tuple)) else ():
        yield from parts(item)


def inner_models(estimator: Any) -> list[Any]:
    """Models that a wrapper fits to its own features; none for other models.

    A pipeline's steps aren't among them: they get what the steps before made of the features.
    """
    params = estimator.get_params(deep=False)
    pairs = params.get("estimators") or []
    models = [params.get(name) for name in ("estimator", "regressor", "classifier")]
    models += [pair[1] for pair in pairs if isinstance(pair, (tuple, list))]
    if params.get("passthrough") is True:  # a stack whose last model sees the features too
        default = LogisticRegression() if is_classifier(estimator) else RidgeCV()
        models.append(params["final_estimator"] or default)
    return list(filter(is_estimator, models))
