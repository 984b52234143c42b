"""`uplift serve` starts the process of a flow run by our command, `flows.server.engine`.

What: the runner's `EngineCommandStarter` gets a command.
Why: its default, ``python -m prefect.engine``, puts the working folder first on the path. There a
file ``prefect.py`` or a package ``flows`` would be run in place of the installed one.
Measured: the default's command is ``None``, which means that one, on Prefect 3.8.8 and 3.9.1.
Until: `prefect.serve` or its runner takes the command as an argument.
"""

import functools
import importlib
import shlex
import sys
from typing import Any

COMMAND = (sys.executable, "-P", "-m", "flows.server.engine")


def apply() -> None:
    """Have the runner of this process use the command."""
    runner: Any = importlib.import_module("prefect.runner.runner")
    starter = runner.EngineCommandStarter
    if not isinstance(starter, functools.partial):
        runner.EngineCommandStarter = functools.partial(starter, command=shlex.join(COMMAND))
