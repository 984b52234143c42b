"""The process of a single flow run of a deployment: Prefect's, in our surroundings.

`uplift serve` and the workers of a pool run ``python -P -m flows.cli.engine``. Prefect's own
command takes settings and modules from the working folder.
"""

import runpy

from flows.inputs.places import limit_to_working_folder
from flows.messages.output import make_lossy
from flows.server.environment import prepare

if __name__ == "__main__":
    # Whoever started this reads its output, and may die before the run ends. Rich, which writes
    # Prefect's log lines, ends a process whose output nobody reads.
    make_lossy()
    prepare()
    limit_to_working_folder()
    # Prefect puts the working folder first on the path when it imports a flow's module; one that is
    # imported already stays. So a package `flows` in that folder isn't run.
    import flows.backfill
    import flows.prune
    import flows.score
    import flows.tune
    import flows.uplift  # noqa: F401

    runpy.run_module("prefect.engine", run_name="__main__")
