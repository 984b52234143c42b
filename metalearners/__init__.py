"""Causal metalearners on a plan of named fit units; knows no orchestrator."""

from importlib.metadata import PackageNotFoundError, version

from metalearners.drlearner import DRLearner
from metalearners.rlearner import RLearner
from metalearners.slearner import SLearner
from metalearners.tlearner import TLearner
from metalearners.xlearner import XLearner

try:
    __version__ = version("uplift-flows")
except PackageNotFoundError:  # pragma: no cover - a source tree that isn't installed
    __version__ = "0+unknown"

__all__ = ["DRLearner", "RLearner", "SLearner", "TLearner", "XLearner", "__version__"]
