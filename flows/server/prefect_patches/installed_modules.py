"""A flow's module is loaded from where it is installed, not from the working folder.

What: `prefect.utilities.importtools.load_module` is Python's own `import_module`.
Why: Prefect's puts the working folder first on the path for the time of the import, so that a
package ``flows`` there would be taken for ours.
Measured: of two modules of one name, Prefect's function takes the working folder's, also in an
interpreter with ``-P``, on Prefect 3.8.8 and 3.9.1.
Until: Prefect keeps to the path of an interpreter that runs with ``-P``.
"""

import importlib
from typing import Any

from flows.server.prefect_patches.import_hook import when_imported


def apply() -> None:
    """Have Prefect load modules as Python does."""
    when_imported("prefect.utilities.importtools", _load_installed)


def _load_installed(importtools: Any) -> None:
    importtools.load_module = importlib.import_module
