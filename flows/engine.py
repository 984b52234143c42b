"""The process of a single flow run that `uplift serve` starts: Prefect's, in our surroundings.

Run as ``python -P -m flows.engine``. Prefect's own command would look for modules in the working
folder, and take settings from its files.
"""

import functools
import importlib
import runpy
import shlex
import sys
from typing import Any

from flows.environment import prepare


def use() -> None:
    """Have the runner of this process start flow runs so; private in Prefect, so done here."""
    runner: Any = importlib.import_module("prefect.runner.runner")
    command = shlex.join([sys.executable, "-P", "-m", "flows.engine"])
    runner.EngineCommandStarter = functools.partial(runner.EngineCommandStarter, command=command)


if __name__ == "__main__":
    prepare()
    runpy.run_module("prefect.engine", run_name="__main__")
