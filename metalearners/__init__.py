"""Causal metalearners, whose fits are planned as units with names; knows no orchestrator.

Learners are imported when they are first needed, so importing a smaller part doesn't wait for
scikit-learn.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from metalearners._moved import find_moved_modules
from metalearners.registry import REGISTRY

# For type checkers only, which can't read the registry: other classes are Any to them.
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
except PackageNotFoundError:  # pragma: no cover - the source tree isn't installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    if name in REGISTRY:
        return REGISTRY[name].load()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
