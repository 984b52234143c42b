"""Prefect takes no settings from the files of the working folder.

What: Prefect's readers of ``.env``, ``prefect.toml``, ``pyproject.toml`` and of the file of
profiles that these may name return nothing. Environment variables set what they did.
Why: The files may be another project's, and Prefect reads them while it is imported.
Measured: A ``.env`` with another database's address moved the embedded server's database there
(Prefect 3.8.8); on 3.9.1 a ``.env`` still sets what it names.
Until: Prefect has a switch for it. 3.9.1 has none.
"""

import sys
from types import SimpleNamespace
from typing import Any

from flows.server.prefect_patches.import_hook import when_imported


def apply() -> None:
    """Change the readers, unless a script has imported Prefect with its settings already."""
    if "prefect" not in sys.modules:
        when_imported("prefect.settings.sources", _read_none)


def _read_none(sources: Any) -> None:
    sources.FilteredDotEnvSettingsSource._read_env_files = lambda self: {}
    sources.TomlConfigSettingsSourceBase._read_file = lambda self, path: {}
    # The same files may name a file of profiles.
    sources._get_profiles_path_from_toml = lambda path, keys: None
    sources.dotenv = SimpleNamespace(dotenv_values=lambda path: {})
