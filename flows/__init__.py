"""Uplift runs as Prefect flows.

``uplift_run`` and ``uplift_tune`` are ordinary flows, imported when they are first asked for:
reading configs and data needs no Prefect.
"""

from importlib import import_module
from typing import Any

from flows.server.environment import prepare as _prepare

__all__ = ["uplift_run", "uplift_tune"]

_MODULES = {"uplift_run": "flows.uplift", "uplift_tune": "flows.tune"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        _prepare()
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
