"""The process of a single flow run that `uplift serve` starts: Prefect's, in our surroundings.

Run as ``python -P -m flows.server.engine``. Prefect's own command would look for modules in the
working folder, and take settings from its files.
"""

import functools
import importlib
import runpy
import shlex
import sys
from typing import Any

from flows.server.environment import prepare
from flows.server.prefect_patches.import_hook import when_imported


def use() -> None:
    """Have the runner of this process start flow runs so; private in Prefect, so done here."""
    runner: Any = importlib.import_module("prefect.runner.runner")
    command = shlex.join([sys.executable, "-P", "-m", "flows.server.engine"])
    runner.EngineCommandStarter = functools.partial(runner.EngineCommandStarter, command=command)


def _load_as_installed(importtools: Any) -> None:
    """Have Prefect load the flow's module without the working folder first on the path."""
    importtools.load_module = importlib.import_module


if __name__ == "__main__":
    prepare()
    when_imported("prefect.utilities.importtools", _load_as_installed)
    runpy.run_module("prefect.engine", run_name="__main__")
