"""Base models that were fitted before, and what a learner requires of them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from metalearners._typing import Array, Matrix, Ref
from metalearners.base_models.estimators import factory_name
from metalearners.fits.crossfit import CrossFit


class Prefitted(Protocol):
    """A base model with the fits of one regression: a `CrossFitEstimator`."""

    @property
    def estimator_factory(self) -> Any:
        """Its class, or the callable that returns it."""

    @property
    def crossfit(self) -> CrossFit | None:
        """The fits; None before there are any."""

    def fitted(self) -> CrossFit:
        """The fits; an error where there are none."""

    def values(
        self, X: Matrix, is_oos: bool, oos_method: str | None, content: Ref | None = None
    ) -> Array:
        """(n, c) predictions."""


def check_prefitted_kinds(given: Any, allowed: Collection[str]) -> None:
    """Refuse what is no dict by model kinds that may be prefitted."""
    if given is None or (isinstance(given, Mapping) and set(given) <= set(allowed)):
        return
    found = sorted(given) if isinstance(given, Mapping) else type(given).__name__
    raise ValueError(
        "The keys present in fitted_nuisance_models should be a subset of "
        f"{sorted(allowed)}; found {found}."
    )


def check_prefitted(kind: str, models: Any, cardinality: int, method: str, swept: bool) -> None:
    """Refuse models that a kind can't use; `swept` kinds have the arm among their features."""
    several = isinstance(models, Sequence) and len(models) == cardinality
    if not several or not all(hasattr(model, "crossfit") for model in models):
        raise ValueError(
            f"Expected a list of {cardinality} CrossFitEstimator as the prefitted {kind}; found "
            f"{models!r}."
        )
    if any(model.crossfit is None for model in models):
        raise ValueError(f"Expected fitted models as the prefitted {kind}; call their fit.")
    for model in models:
        _check_fits(kind, model, method, swept)


def _check_fits(kind: str, model: Prefitted, method: str, swept: bool) -> None:
    unit, name = model.fitted().unit, factory_name(model.estimator_factory)
    if bool(unit.n_arms) != swept:
        raise ValueError(
            f"Expected as the prefitted {kind} a model that an S-learner fitted, with the arm "
            f"among its features, for an S-learner and no other; found {name}. Take it from such a "
            "learner."
        )
    if unit.method != method:
        raise ValueError(
            f"The model {kind} is supposed to be used with the predict method '{method}'; found a "
            f"prefitted {name}."
        )
