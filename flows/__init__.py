"""Uplift runs as Prefect flows.

``uplift_run`` is an ordinary flow, imported when it is first asked for: reading configs and data
needs no Prefect.
"""

from importlib import import_module
from typing import Any

from flows.environment import prepare as _prepare

__all__ = ["uplift_run"]


def __getattr__(name: str) -> Any:
    if name == "uplift_run":
        _prepare()
        return import_module("flows.uplift").uplift_run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
