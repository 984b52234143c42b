"""Causal metalearners on a plan of named fit units; knows no orchestrator.

Learners are imported when they are first asked for: whoever wants a smaller part needn't wait for
scikit-learn.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metalearners.drlearner import DRLearner
    from metalearners.rlearner import RLearner
    from metalearners.slearner import SLearner
    from metalearners.tlearner import TLearner
    from metalearners.xlearner import XLearner

__all__ = ["DRLearner", "RLearner", "SLearner", "TLearner", "XLearner", "__version__"]

try:
    __version__ = version("uplift-flows")
except PackageNotFoundError:  # pragma: no cover - a source tree that isn't installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"metalearners.{name.lower()}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
