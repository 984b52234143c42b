"""Encoders for base models that can't take the features as they are, written into the config."""

from math import inf
from typing import Any

import pandas as pd
from sklearn.pipeline import Pipeline

from flows.config.parts.models import CandidateConfig, ModelSpec
from flows.config.sections import Config
from flows.inputs.features import categories_of
from flows.inputs.models import place_of_candidate, resolve
from metalearners.base_models.capabilities import takes_categories, takes_missing
from metalearners.base_models.nesting import inner_models

_LEVELS = 30  # columns for a feature of texts


def with_encoders(config: Config, X: pd.DataFrame) -> tuple[Config, list[str]]:
    """Put an encoder before each base model that can't take texts or missing values.

    A pipeline is expected to encode them itself. The encoders are scikit-learn's. They are fitted
    with the base model, on the same rows.

    Parameters
    ----------
    config : Config
        A config whose base models can be built.
    X : DataFrame of shape (n, p)
        The features.

    Returns
    -------
    config : Config
        The config with pipelines in place of such models.
    told : list of str
        What was put before which model.
    """
    categories = categories_of(X)
    numbers = [name for name in X if name not in categories]
    gaps = bool(X[numbers].isna().any(axis=None))
    most_levels = max((X[name].nunique() for name in categories), default=0)
    told: dict[str, list[str]] = {}

    def encoded(model: ModelSpec | None, where: str) -> ModelSpec | None:
        if model is None:  # the default, which takes them
            return None
        estimator = resolve(model, where).build()
        if isinstance(estimator, Pipeline):
            return model
        takes = takes_categories(estimator) and most_levels <= _most_levels(estimator)
        texts = [] if takes else categories
        # Models that take missing values are trees, to which scales don't matter.
        rest = [] if takes_missing(estimator) else numbers
        if not texts and not (rest and gaps):
            return model
        told.setdefault(_sentence(texts, rest), []).append(f"{where} ({type(estimator).__name__})")
        return _behind(_encoder(texts, rest), model)

    def candidate(given: CandidateConfig, where: str) -> CandidateConfig:
        if given.estimator is None:
            models = {k: encoded(m, f"{where}.models.{k}") for k, m in given.models.items()}
            return given.model_copy(update={"models": models})
        if given.encoder is not None:
            return given
        told.setdefault(_sentence(categories, numbers), []).append(where)
        return given.model_copy(update={"encoder": _encoder(categories, numbers)})

    changes: dict[str, Any] = {}
    for name, given in config.models if categories or gaps else ():
        own = isinstance(given, dict)
        changes[name] = (
            {kind: encoded(model, f"models.{name}.{kind}") for kind, model in given.items()}
            if own
            else encoded(given, f"models.{name}")
        )
    models = config.models.model_copy(update=changes)
    config = config.model_copy(update={"models": models})
    if config.compare and (categories or gaps):
        given = config.compare.candidates.items()
        candidates = {name: candidate(one, place_of_candidate(name)) for name, one in given}
        compare = config.compare.model_copy(update={"candidates": candidates})
        config = config.model_copy(update={"compare": compare})
    return config, [
        f"An encoder stands before {' and '.join(whose)}: {done} The run's config.yaml has it."
        for done, whose in told.items()
    ]


def _most_levels(estimator: Any) -> float:
    """Levels that a base model takes in one category: scikit-learn's has a bin for each."""
    if models := inner_models(estimator):
        return min(map(_most_levels, models))
    has_bins = type(estimator).__name__.startswith("HistGradientBoosting")
    return estimator.max_bins if has_bins else inf


def _sentence(texts: list[str], numbers: list[str]) -> str:
    levels = (
        f"it makes 0/1 columns of the levels of {', '.join(texts)}, one for all rare ones beyond "
        f"{_LEVELS - 1}."
    )
    gaps = (
        "It fills missing numbers with the median, beside a column that says where, and scales "
        "numbers."
    )
    return " ".join([levels] * bool(texts) + [gaps] * bool(numbers))


def _encoder(texts: list[str], numbers: list[str]) -> ModelSpec:
    transformers = []
    if texts:
        levels = {
            "handle_unknown": "infrequent_if_exist",
            "max_categories": _LEVELS,
            "sparse_output": False,  # some base models take no sparse matrix
        }
        transformers.append(["texts", _spec("preprocessing.OneHotEncoder", levels), texts])
    if numbers:
        # A column may be missing in all rows of a fold.
        filled = {"strategy": "median", "add_indicator": True, "keep_empty_features": True}
        steps = [
            ["fill", _spec("impute.SimpleImputer", filled)],
            ["scale", _spec("preprocessing.StandardScaler", {})],
        ]
        transformers.append(["numbers", _spec("pipeline.Pipeline", {"steps": steps}), numbers])
    # What isn't named here are the columns that say the arm to an S-learner.
    kept = {"transformers": transformers, "remainder": "passthrough"}
    return ModelSpec(**_spec("compose.ColumnTransformer", kept))


def _behind(encoder: ModelSpec, model: ModelSpec) -> ModelSpec:
    steps = [["encoder", encoder.model_dump()], ["model", model.model_dump()]]
    return ModelSpec(**_spec("pipeline.Pipeline", {"steps": steps}))


def _spec(name: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"estimator": f"sklearn.{name}", "params": params}
