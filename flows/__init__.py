"""Uplift runs from Python: as a call that returns its result, or as Prefect flows.

``run`` and ``compare`` are what the commands ``uplift run`` and ``uplift compare`` do, for a data
frame in memory too, and ``load`` finds an earlier run. ``uplift_run``, ``uplift_compare``,
``uplift_score``, ``uplift_tune``, ``uplift_backfill`` and ``cache_prune`` are ordinary flows. All
are imported when they are first asked for: reading configs and data needs no Prefect.
"""

from importlib import import_module
from typing import Any

from flows.server.environment import prepare as _prepare

__all__ = [
    "RunResult",
    "cache_prune",
    "compare",
    "load",
    "run",
    "uplift_backfill",
    "uplift_compare",
    "uplift_run",
    "uplift_score",
    "uplift_tune",
]

_FLOWS = {
    "cache_prune": "flows.prune",
    "uplift_backfill": "flows.backfill",
    "uplift_compare": "flows.comparing",
    "uplift_run": "flows.uplift",
    "uplift_score": "flows.score",
    "uplift_tune": "flows.tune",
}
_MODULES = {
    "RunResult": "flows.launch.result",
    "compare": "flows.launch.python",
    "load": "flows.launch.result",
    "run": "flows.launch.python",
    **_FLOWS,
}


def __getattr__(name: str) -> Any:
    if name in _FLOWS:  # their modules import Prefect
        _prepare()
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
