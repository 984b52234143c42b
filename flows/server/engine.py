"""The process of a single flow run that `uplift serve` starts: Prefect's, in our surroundings.

Run as ``python -P -m flows.server.engine``. Prefect's own command would look for modules in the
working folder, and take settings from its files.
"""

import runpy

from flows.server import prefect_patches
from flows.server.environment import prepare

if __name__ == "__main__":
    prepare()
    prefect_patches.apply("engine")
    runpy.run_module("prefect.engine", run_name="__main__")
