"""Pictures of effects and of how good estimates are: results in, matplotlib axes out."""

from importlib import import_module
from typing import Any

_PLACES = {
    "Style": "styles",
    "arm_style": "styles",
    "learner_styles": "styles",
    "average_effects": "effects",
    "balance": "rows",
    "calibration": "groups",
    "drivers": "features",
    "estimates": "effects",
    "feature_effect": "features",
    "forest": "effects",
    "gates": "groups",
    "overlap": "rows",
    "qini": "ranking",
    "segments": "effects",
    "targeting": "policies",
    "toc": "ranking",
}
__all__ = [*_PLACES]  # noqa: PLE0604 - they are strings


def __getattr__(name: str) -> Any:
    if name in _PLACES:  # when it is asked for: matplotlib takes a while to be imported
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
