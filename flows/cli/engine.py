"""The process of a single flow run of a deployment: Prefect's, in our surroundings.

`uplift serve` and the workers of a pool run ``python -P -m flows.cli.engine``. Prefect's own
command takes settings and modules from the working folder.
"""

import runpy

from flows.inputs.places import limit_to_working_folder
from flows.server.environment import prepare

if __name__ == "__main__":
    prepare()
    limit_to_working_folder()
    # Prefect puts the working folder first on the path when it imports a flow's module; one that is
    # imported already stays. So a package `flows` in that folder isn't run.
    import flows.backfill
    import flows.prune
    import flows.tune
    import flows.uplift  # noqa: F401

    runpy.run_module("prefect.engine", run_name="__main__")
