"""Modules under the names that they had before they moved into folders.

An import by such a name still works, with a `DeprecationWarning` that names the new module.
"""

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType

MOVED = {
    "aipw": ("evaluation.average_effects", "evaluation.means"),
    "auto": ("workers.auto",),
    "balance": ("evaluation.balance",),
    "containers": ("data.containers", "base_models.rows"),
    "crossfit": ("fits.crossfit",),
    "dataset": ("data.dataset",),
    "defaults": ("declaration.defaults",),
    "design": ("evaluation.design",),
    "digest": ("digests.digest", "digests.matrices", "digests.names", "digests.walk"),
    "drivers": ("evaluation.drivers",),
    "estimators": ("fits.estimator_spec", "base_models.estimators"),
    "execute": ("fits.execute",),
    "findings": ("evaluation.findings",),
    "fit": ("fits.fit", "base_models.training"),
    "fit_cache": ("cache.fit_cache",),
    "folds": ("data.folds",),
    "multiplicity": ("evaluation.multiplicity",),
    "overlap": ("evaluation.overlap",),
    "plan": ("fits.plan",),
    "schema": ("data.schema",),
    "scoring": ("evaluation.base_model_scores",),
    "storage": ("cache.storage", "cache.places", "cache.folder_storage", "cache.remote_storage"),
    "ties": ("evaluation.ties",),
    "unit": ("fits.unit",),
    "weights": ("base_models.weights",),
}


class _Moved(MetaPathFinder, Loader):
    """Finds modules by their earlier names."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        parent, _, module = name.rpartition(".")
        if parent != "metalearners" or module not in MOVED:
            return None
        return spec_from_loader(name, self)

    def exec_module(self, module: ModuleType) -> None:
        places = [f"metalearners.{place}" for place in MOVED[module.__name__.rpartition(".")[2]]]
        message = f"{module.__name__} is now {' and '.join(places)}. Import it from there."
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        for place in places:
            names = vars(import_module(place))
            vars(module).update({k: v for k, v in names.items() if not k.startswith("__")})


def find_moved_modules() -> None:
    """Let imports find modules by their earlier names."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.append(_Moved())
