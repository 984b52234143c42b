"""Whether base models can take the features and weights that they would get."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from flows.config.sections import Config
from flows.errors import Faults, InputError
from flows.inputs.features import odd_names
from flows.inputs.models import REFERENCE, declared, make
from flows.inputs.rows import Columns, labelled
from metalearners.base_models.capabilities import takes_missing
from metalearners.base_models.weights import weight_argument
from metalearners.data.dataset import Dataset
from metalearners.fits.devices import check_device
from metalearners.intervals import half_sample
from metalearners.metalearner import PROPENSITY_MODEL, MetaLearner
from metalearners.resampling.steps import check_steps, steps_of


def check_models(columns: Columns, config: Config, faults: Faults) -> None:
    """Note base models that can't take the features or weights that they would get."""
    data = config.data
    known = (
        {PROPENSITY_MODEL} if data.propensity is not None or data.design == "randomised" else set()
    )
    for one in (*declared(config), REFERENCE):
        learner = make(one, config, 2)
        kinds = one.learner.NUISANCE_KINDS if one is REFERENCE else one.kinds
        for kind in (kind for kind in kinds if kind not in known):
            place, about = one.place(kind), (one.name, kind, learner, columns.X)
            faults.judge(place, partial(check_model, *about, data.weight is not None))
            faults.judge("names of features", partial(check_names, *about), [place])
            if config.parallelism == "auto" or config.parallelism.address is None:
                faults.judge(place, partial(check_device_of, place, kind, learner))


def try_models(
    config: Config, d: Dataset, learners: Mapping[str, MetaLearner], faults: Faults
) -> None:
    """Note base models that would be refused in their fits."""
    for one in (*declared(config), REFERENCE):
        for kind in one.kinds:
            check = partial(_try_model, config, d, learners[one.name], kind)
            faults.judge(one.place(kind), check, ["names of features"])


def _try_model(config: Config, d: Dataset, learner: MetaLearner, kind: str) -> None:
    try:
        learner.check_models(d, only=[kind])
    except ValueError as error:
        raise InputError(f"{config.data.place}: {error}") from None


def check_model(who: str, kind: str, learner: MetaLearner, X: pd.DataFrame, weighted: bool) -> None:
    """Refuse a base model that can't take the features or weights that it would get.

    Parameters
    ----------
    who : str
        Whose base model it is, for the message.
    kind : str
        Its model kind.
    weighted : bool
        Whether the rows have weights.

    Raises InputError if it can't.
    """
    estimator = learner.spec(kind).build()
    model = f"{type(estimator).__name__}, the {kind} of {who},"
    _check_features(estimator, X, model)
    if (weighted or kind in learner.WEIGHTED) and weight_argument(estimator) is None:
        raise InputError(
            f"Expected a base model whose fit takes sample_weight; {model} doesn't. Name another."
        )


def check_parts(learner: MetaLearner, d: Dataset, arms: list[Any], config: Config) -> None:
    """Refuse rows of which the parts that a config asks for are too few to fit the learner on."""
    _check_halves(learner, d, arms, config.evaluation.refits)
    if config.evaluation.sequential:
        try:
            check_steps([learner], steps_of(d, config.folds.n_folds))
        except ValueError as error:
            raise InputError(
                f"evaluation.sequential: {labelled(error, arms)} Set it to false for no such test."
            ) from None


def _check_halves(learner: MetaLearner, d: Dataset, arms: list[Any], draws: int) -> None:
    """Refuse rows of which half are too few to fit the learner on, whichever half is drawn."""
    # Without groups, halves of odd numbers differ by one row: every other is the smaller.
    differing = draws if d.groups is not None else min(draws, 2)
    try:
        for draw in range(differing):
            learner.check(half_sample(d, draw))
    except ValueError as error:
        raise InputError(
            f"evaluation.refits: on half of the rows: {labelled(error, arms)} Set refits to 0 for "
            "no intervals."
        ) from None


def check_device_of(place: str, kind: str, learner: MetaLearner) -> None:
    """Refuse a base model whose device this machine lacks; `place` is its place in the config."""
    estimator = learner.spec(kind).build()
    try:
        check_device(estimator, f"{type(estimator).__name__} of {place}")
    except ValueError as error:
        raise InputError(str(error)) from None


def _check_features(estimator: Any, X: pd.DataFrame, who: str) -> None:
    missing = [] if takes_missing(estimator) else [name for name in X if X[name].isna().any()]
    if missing:
        raise InputError(
            f"Expected no missing values in {', '.join(missing)}: {who} can't take them. "
            "Name a sklearn.pipeline.Pipeline with an imputer, or a model that can."
        )


def check_names(who: str, kind: str, learner: MetaLearner, X: pd.DataFrame) -> None:
    """Refuse names of features that the base model takes not."""
    estimator, odd = learner.spec(kind).build(), odd_names(X)
    if odd and type(estimator).__module__.startswith("lightgbm."):
        model = f"{type(estimator).__name__}, the {kind} of {who},"
        raise InputError(
            f'Expected other names than {odd}: {model} takes none with , : " [ ] {{ }} or line '
            "ends, and no two that differ by spaces for underscores. Rename those columns."
        )
