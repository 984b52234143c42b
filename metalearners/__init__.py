"""Causal metalearners on a plan of named fit units; knows no orchestrator.

Learners are imported when they are first asked for: whoever wants a smaller part needn't wait for
scikit-learn.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from metalearners._moved import find_moved_modules
from metalearners.registry import REGISTRY

# Type checkers can't read the registry: classes that aren't listed here are Any to them. Nothing
# else reads this list.
if TYPE_CHECKING:
    from metalearners.drlearner import DRLearner as DRLearner
    from metalearners.ralearner import RALearner as RALearner
    from metalearners.rlearner import RLearner as RLearner
    from metalearners.slearner import SLearner as SLearner
    from metalearners.tlearner import TLearner as TLearner
    from metalearners.ulearner import ULearner as ULearner
    from metalearners.xlearner import XLearner as XLearner

find_moved_modules()

__all__ = [*sorted(REGISTRY), "__version__"]  # noqa: PLE0604 - they are strings

try:
    __version__ = version("uplift-flows")
except PackageNotFoundError:  # pragma: no cover - a source tree that isn't installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    if name in REGISTRY:
        return REGISTRY[name].load()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
