"""Row weights: whether a base model takes them, and how all of its parts get them."""

import contextlib
from collections.abc import Iterator
from inspect import signature
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.base import is_classifier, is_regressor
from sklearn.feature_selection import RFECV
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from metalearners._typing import Array, Floats
from metalearners.base_models.nesting import inner_models, is_estimator, parts

WEIGHT = "sample_weight"
# These pass weights on by metadata routing only.
_ROUTING_ALONE = (RFECV, OneVsRestClassifier, OneVsOneClassifier)


def in_rows(weight: Array) -> Floats:
    """Weights with mean 1 over the rows with weights above 0: their unit changes no fit.

    Base models' penalties and limits, such as the least weight of a leaf, assume such weights.
    """
    if not weight.any():
        return weight
    relative = weight / weight.max()  # equal weights become exactly 1
    return np.asarray(relative / relative[relative > 0].mean())


def weight_argument(estimator: Any) -> str | None:
    """Name of `fit`'s argument for row weights within `routing_weights`; None if it has none."""
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        inner = weight_argument(last)
        if inner is None:
            return None
        return WEIGHT if _is_routed(estimator) else f"{name}__{inner}"
    names = {weight_argument(model) for model in inner_models(estimator)}
    if None in names:
        return None
    takes = has_fit_parameter(estimator, WEIGHT)
    if not names or _is_routed(estimator) or (takes and names == {WEIGHT}):
        return WEIGHT if takes or names else None
    return None if takes or isinstance(estimator, _ROUTING_ALONE) or len(names) > 1 else names.pop()


@contextlib.contextmanager
def routing_weights(estimator: Any) -> Iterator[None]:
    """Within it, an estimator that wraps others passes weights on to all of them.

    It uses scikit-learn's metadata routing. Without it, searches compare scores without weights,
    and RFECV and stacks of pipelines take no weights. Fits and scores of models use the weights;
    transformers, such as scalers, don't.
    """
    if not _is_routed(estimator):
        yield
        return
    with config_context(enable_metadata_routing=True):
        for part in filter(is_estimator, parts(estimator)):
            _request(part)
        yield


def _is_routed(estimator: Any) -> bool:
    """Whether an estimator wraps others that all support routing; catboost's don't."""
    inside = [part for part in parts(estimator) if is_estimator(part)]
    wraps = any(inner_models(part) for part in inside)
    return wraps and all(map(_supports_routing, inside))


def _supports_routing(part: Any) -> bool:
    try:
        part.get_metadata_routing()
    except (AttributeError, NotImplementedError):  # as scikit-learn's raise that lack it
        return False
    return True


def _request(part: Any) -> None:
    model = is_regressor(part) or is_classifier(part)
    if has_fit_parameter(part, WEIGHT):
        part.set_fit_request(sample_weight=model)
    if WEIGHT in signature(getattr(part, "score", len)).parameters:
        part.set_score_request(sample_weight=model)
    given = part.get_params(deep=False)
    if "scoring" in given and "cv" in given:
        part.set_params(scoring=_weighted(given["scoring"] or _default_scoring(part)))


def _default_scoring(part: Any) -> str | None:
    # The default of others is the `score` of their models, which requests weights itself.
    if isinstance(part, (RFECV, LogisticRegressionCV)):
        return "accuracy" if is_classifier(part) else "r2"
    return None


def _weighted(scoring: Any) -> Any:
    """Scorers that request weights, if they take any."""
    if isinstance(scoring, dict):
        return {name: _weighted(scorer) for name, scorer in scoring.items()}
    if isinstance(scoring, (list, tuple, set)):
        return {name: _weighted(name) for name in scoring}
    if isinstance(scoring, str) and scoring in get_scorer_names():
        scoring = get_scorer(scoring)
    requests = hasattr(scoring, "set_score_request")
    if requests and WEIGHT in scoring.get_metadata_routing().score.requests:
        scoring.set_score_request(sample_weight=True)
    return scoring
