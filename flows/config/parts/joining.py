"""The config of a run of several outcomes, put together from those of each."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from metalearners.registry import REGISTRY

if TYPE_CHECKING:
    from flows.config.parts.models import CompareConfig
    from flows.config.sections import Config

_Each = Mapping[str, Any]  # by outcome


def joined(configs: Mapping[str, "Config"]) -> "Config":
    """One config of several outcomes, which `Config.by_outcome` takes apart again."""
    first = next(iter(configs.values()))
    data = {
        "outcome": list(configs),
        "outcome_type": _one({name: c.data.outcome_type for name, c in configs.items()}),
        "positive": _one({name: c.data.positive for name, c in configs.items()}),
    }
    models = {
        key: _by_kind({name: getattr(c.models, key) for name, c in configs.items()})
        if key in REGISTRY
        else _one({name: getattr(c.models, key) for name, c in configs.items()})
        for key, _ in first.models
    }
    one = {
        "data": first.data.model_copy(update=data),
        "models": first.models.model_copy(update=models),
        "compare": first.compare and _compare(first.compare, configs),
        "targeting": next((c.targeting for c in configs.values() if c.targets), first.targeting),
    }
    return first.model_copy(update=one)


def _compare(first: "CompareConfig", configs: Mapping[str, "Config"]) -> "CompareConfig":
    sections = {name: c.compare for name, c in configs.items() if c.compare is not None}
    candidates = {}
    for key, own in first.candidates.items():
        each = {name: one.candidates[key].models for name, one in sections.items()}
        candidates[key] = own.model_copy(update={"models": _by_kind(each)})
    return first.model_copy(update={"candidates": candidates})


def _one(values: _Each) -> Any:
    """A value that is the same for all outcomes, or a map of those that there are."""
    found = list(values.values())
    if all(value == found[0] for value in found):
        return found[0]
    return {name: value for name, value in values.items() if value is not None}


def _by_kind(models: _Each) -> dict[str, Any]:
    """Base models by kind, each by outcome where they differ."""
    kinds = dict.fromkeys(kind for own in models.values() for kind in own)
    return {kind: _one({name: own.get(kind) for name, own in models.items()}) for kind in kinds}
