"""The process of a single flow run that `uplift serve` starts: Prefect's, in our surroundings.

Run as ``python -P -m flows.cli.engine``. Prefect's own command takes settings and modules from
the working folder.
"""

import runpy

from flows.server.environment import prepare

if __name__ == "__main__":
    prepare()
    # Prefect puts the working folder first on the path when it imports a flow's module; one that is
    # imported already stays. So a package `flows` in that folder isn't run.
    import flows.tune
    import flows.uplift  # noqa: F401

    runpy.run_module("prefect.engine", run_name="__main__")
