"""What comes from outside: environment variables, and files of the working folder."""

import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.metadata import packages_distributions
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from packaging.utils import canonicalize_name

import flows
from flows.config.problems import nearest_of
from flows.doctor.examination import Check, Places
from flows.doctor.packages import needed_packages
from flows.errors import TRACEBACK_VARIABLE, InputError
from flows.fitting.cache import KEY_VARIABLE, signing_key
from flows.inputs.databases.passwords import BLOCKS_VARIABLE
from flows.inputs.models import IMPORT_ROOTS_VARIABLE
from flows.inputs.places import DATA_ROOTS_VARIABLE

VARIABLES = (
    KEY_VARIABLE,
    DATA_ROOTS_VARIABLE,
    IMPORT_ROOTS_VARIABLE,
    BLOCKS_VARIABLE,
    TRACEBACK_VARIABLE,
)
_LEAST_KEY = 16  # bytes
_OWN_PACKAGES = ("flows", "metalearners", "deployments")
# Settings that lead Prefect to another server, database or folder.
_MOVING = re.compile(r"PREFECT_(API_URL|HOME|PROFILES_PATH|(API|SERVER)_DATABASE_\w+)")
_DOTENV_NAME = re.compile(r"^\s*(?:export\s+)?(\w+)\s*=", re.MULTILINE)


def _check_variables(places: Places) -> str:
    ours = sorted(name for name in os.environ if name.startswith("UPLIFT_"))
    unknown = {name: nearest_of(name, VARIABLES) for name in ours if name not in VARIABLES}
    if unknown:
        hints = {name: f" (did you mean {near}?)" for name, near in unknown.items() if near}
        found = [name + hints.get(name, "") for name in unknown]
        raise InputError(
            f"Expected environment variables from {', '.join(VARIABLES)}; found "
            f"{', '.join(found)}, which has no effect. Correct the name, or unset it."
        )
    return f"{', '.join(ours)} set" if ours else "no UPLIFT_ variable is set"


def _check_signing_key(places: Places) -> str:
    key = signing_key()
    remedy = 'Make one: python -c "import secrets; print(secrets.token_hex(32))"'
    if key and len(key) < _LEAST_KEY:
        raise InputError(
            f"{KEY_VARIABLE}: expected a secret of at least {_LEAST_KEY} bytes, as whoever guesses "
            f"it can sign code that runs here; found a shorter one. {remedy}"
        )
    if not key and places.cache_folder is None:
        raise InputError(
            f"{KEY_VARIABLE}: expected a secret for a cache on another machine, as whoever may "
            f"write to {places.storage} can run code in your runs; found none. {remedy}"
        )
    return "fits and models are signed" if key else "none, and none is needed for a private folder"


def _check_settings_files(places: Places) -> str:
    readers = {".env": _names_in_dotenv, "prefect.toml": _names_in_toml}
    readers["pyproject.toml"] = partial(_names_in_toml, table=("tool", "prefect"))
    for file, names_in in readers.items():
        try:
            names = sorted(set(filter(_MOVING.fullmatch, names_in(Path(file).read_text()))))
        except (OSError, ValueError):  # none, or none that Prefect can read
            continue
        if names:
            raise InputError(
                f"Expected no settings that move Prefect's server or database in the working "
                f"folder; found {', '.join(names)} in {file}. `uplift` ignores it, but Prefect's "
                f"own commands here don't, and use another server. Take it out of {file}."
            )
    return "no file here moves Prefect's server or database"


def _names_in_dotenv(text: str) -> Iterator[str]:
    return (name.upper() for name in _DOTENV_NAME.findall(text))


def _names_in_toml(text: str, table: tuple[str, ...] = ()) -> Iterator[str]:
    """The environment variables of the same effect as the keys of Prefect's table."""
    content: Any = tomllib.loads(text)
    for key in table:
        content = content.get(key, {})
    return (f"PREFECT_{name}".upper() for name in _leaves(content))


def _leaves(table: Mapping[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from (f"{key}_{name}" for name in _leaves(value))
        else:
            yield key


def _check_modules(places: Places) -> str:
    here = {module.name: module.ispkg for module in iter_modules([str(Path.cwd())])}
    hiding = sorted(set(here) & _names_to_import()) if here else []
    if hiding:
        files = [f"{name}/__init__.py" if here[name] else f"{name}.py" for name in hiding]
        raise InputError(
            f"Expected no files in {Path.cwd()} that hide modules of this installation from "
            f"scripts there and from `python -m`; found {', '.join(files)}. `uplift` itself looks "
            "elsewhere. Rename them, or work in another folder."
        )
    return "no file here hides a module of this installation"


def _names_to_import() -> set[str]:
    """Modules that runs import; ours aren't hidden by themselves, where a checkout is run."""
    needed = {canonicalize_name(each.name) for each in needed_packages()}
    theirs = {
        name
        for name, packages in packages_distributions().items()
        if needed & {canonicalize_name(package) for package in packages}
    }
    is_checkout = Path(*flows.__path__).parent == Path.cwd()
    return theirs | sys.stdlib_module_names | set(() if is_checkout else _OWN_PACKAGES)


CHECKS = (
    Check("variables", _check_variables),
    Check("signing key", _check_signing_key),
    Check("settings files", _check_settings_files),
    Check("modules", _check_modules, ("uplift-flows",)),
)
