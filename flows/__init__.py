"""Uplift runs as Prefect flows.

``uplift_run``, ``nuisance_stage`` and ``treatment_stage`` are ordinary flows, imported when they
are first asked for: reading configs and data needs no Prefect.
"""

from importlib import import_module
from typing import Any

from flows.environment import prepare as _prepare

_FLOWS = {
    "uplift_run": "flows.uplift",
    "nuisance_stage": "flows.stages",
    "treatment_stage": "flows.stages",
}

__all__ = ["nuisance_stage", "treatment_stage", "uplift_run"]


def __getattr__(name: str) -> Any:
    if name in _FLOWS:
        _prepare()
        return getattr(import_module(_FLOWS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
