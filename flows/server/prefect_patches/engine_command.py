"""`uplift serve` starts the process of a flow run by our command, `flows.cli.engine`.

What: The runner's `EngineCommandStarter` gets a command.
Why: Its default, ``python -m prefect.engine``, reads settings from files of the working folder,
and imports the flow from there if it has a package ``flows``.
Measured: The default command is ``None``, which means that one, on Prefect 3.8.8 and 3.9.1.
Until: `prefect.serve` or its runner takes the command as an argument.
"""

import functools
import importlib
import shlex
import sys
from typing import Any

COMMAND = (sys.executable, "-P", "-m", "flows.cli.engine")


def apply() -> None:
    """Have the runner of this process use the command."""
    runner: Any = importlib.import_module("prefect.runner.runner")
    starter = runner.EngineCommandStarter
    runner.EngineCommandStarter = functools.partial(starter, command=shlex.join(COMMAND))
