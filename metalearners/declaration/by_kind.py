"""Constructor arguments that may be one value for all model kinds or a dict by kind."""

from collections.abc import Collection, Iterator, Mapping, Set
from typing import Any

import numpy as np

from metalearners.base_models.estimators import check_role
from metalearners.base_models.weights import weight_argument
from metalearners.declaration.trial import check_parameters
from metalearners.fits.estimator_spec import EstimatorSpec


def by_kind(value: Any, kind: str, kinds: Collection[str]) -> Any:
    """A kind's value: from a dict by kind, whose keys include all `kinds`, or one for all kinds."""
    if isinstance(value, Mapping) and kinds and set(value) >= set(kinds):
        return value.get(kind)
    return value


def is_whole(value: Any) -> bool:
    """Whether a value is an integer, of Python or numpy, and no bool."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def check_integer(name: str, value: Any, at_least: int) -> None:
    """Refuse what is no whole number, or below a bound."""
    if not is_whole(value) or value < at_least:
        kinds = {0: "an integer of 0 or more", 1: "a strictly positive integer"}
        expected = kinds.get(at_least, f"an integer strictly greater than {at_least - 1}")
        raise ValueError(f"{name} needs to be {expected}. Found {value!r}.")


def check_switch(name: str, value: Any) -> None:
    """Refuse what is neither True nor False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"Expected {name} as True or False; found {value!r}. Pass one of them.")


def check_seed(value: Any) -> None:
    """Refuse a random_state that is neither None nor a whole number of 0 or more."""
    if value is not None:
        check_integer("random_state", value, at_least=0)


def check_dict(name: str, value: Any, content: str) -> None:
    """Refuse what is no dict."""
    if not isinstance(value, Mapping):
        raise ValueError(
            f"Expected {name} as a dict of {content}; found {value!r}. Pass {{}} for none."
        )


def build(spec: EstimatorSpec, what: str, remedy: str) -> Any:
    """An estimator of a specification.

    Raises ValueError if its parameters don't fit its factory, or that returns no estimator.
    """
    try:
        estimator = spec.build()
        check_parameters(estimator)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Expected parameters of {spec.name} for {what}; found "
            f"{sorted(map(str, spec.params))}: {str(error).rstrip('.')}. {remedy}"
        ) from None
    if not hasattr(estimator, "fit") or isinstance(estimator, type):
        raise ValueError(
            f"Expected a callable that returns an estimator for {what}; found {spec.factory!r}, "
            f"which returns {estimator!r}. Return one, or pass its class."
        )
    return estimator


def is_base_model(factory: Any) -> bool:
    """Whether a value is a class with `fit`, or another callable, which may return an estimator."""
    return hasattr(factory, "fit") if isinstance(factory, type) else callable(factory)


def check_spec(spec: EstimatorSpec, kind: str, stage: str, method: str, weighted: bool) -> None:
    """Refuse a base model that can't play its role.

    Raises ValueError if there is none, it is no factory of estimators with scikit-learn's
    interface, its parameters don't fit, it predicts something else, or it takes no weights where it
    must.
    """
    if spec.factory is None:
        argument = "propensity_model" if kind == "propensity_model" else "nuisance_model"
        fitted = f"fitted_{argument}{'' if kind == 'propensity_model' else 's'}"
        either = f"Either in {argument}_factory or in {fitted}."
        where = either if stage == "nuisance" else "Pass a class as treatment_model_factory."
        raise ValueError(f"A model for the {stage} model {kind} needs to be defined. {where}")
    if not is_base_model(spec.factory):
        raise ValueError(
            f"Expected a class with fit and {method}, or a callable that returns such an "
            f"estimator, for the {stage} model {kind}, or a dict of such that names every model "
            f"kind of its stage; found {spec.factory!r}. Pass its parameters as params."
        )
    remedy = "A dict by model kind names every kind of its stage."
    estimator = build(spec, f"the {stage} model {kind}", remedy)
    check_role(estimator, method, kind)
    if weighted and weight_argument(estimator) is None:
        raise ValueError(
            f"The model {kind} is fitted with weights; {spec.name}.fit takes no "
            "sample_weight. Use another class."
        )


def check_feature_set(kind: str, chosen: Any) -> None:
    """Refuse what is no collection of positions or of names."""
    if chosen is None:
        return
    plain = isinstance(chosen, (str, bytes, Mapping, Set)) or not isinstance(chosen, Collection)
    if plain or not all(is_whole(each) or isinstance(each, str) for each in chosen):
        raise ValueError(
            f"Expected the feature_set of {kind} as None or a list of positions or of names, or a "
            f"dict of such by every model kind; found {chosen!r}. Pass np.flatnonzero of a mask."
        )


def check_arms(arms: Any, n_variants: int) -> None:
    """Refuse labels that repeat, or are more or fewer than the arms."""
    if arms is None:
        return
    unordered = isinstance(arms, (str, Set, Mapping, Iterator))
    try:
        labels: Any = [arms] if unordered else list(arms)
        different = len(set(labels))
    except TypeError:  # no collection, or one of labels that aren't hashable
        labels, different = arms, 0
    if different != n_variants or len(labels) != n_variants:
        raise ValueError(
            f"Expected arms with n_variants = {n_variants} different labels, the control first; "
            f"found {labels}. Pass a list of numbers or texts."
        )


def check_clip(value: Any) -> None:
    """Refuse what is neither a bound of propensities nor ``auto``."""
    bound = isinstance(value, (int, float, np.floating)) and 0 <= value < 0.5
    if not bound and not (isinstance(value, str) and value == "auto"):
        raise ValueError(
            f"clip needs to be in [0, 0.5); found {value!r}. Pass such a number, or 'auto'."
        )


def check_n_jobs(name: str, value: Any) -> None:
    """Refuse what is no number of workers."""
    if value is not None and (not is_whole(value) or value == 0):
        raise ValueError(
            f"Expected {name} as None or a whole number of workers other than 0, -1 for all cores; "
            f"found {value!r}."
        )
