"""Installed packages: which one holds a module, and in which version."""

import inspect
import json
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import distribution, packages_distributions, version
from pathlib import Path
from typing import Any

from metalearners._typing import Ref
from metalearners.digests.names import combine


@cache
def distributions() -> Mapping[str, list[str]]:
    """Names of distributions by the module that they install; it reads all of them once."""
    return packages_distributions()


def installed_as(module: str) -> str | None:
    """Name of the distribution that holds a module; None for editable and other modules."""
    for name in distributions().get(module.partition(".")[0], ()):
        if not is_editable(name) and _lies_in(name, module):
            return name
    return None


def _lies_in(name: str, module: str) -> bool:
    """Whether a module's file lies in its distribution: a script may have the same name."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is None or _is_file_of(name, file)


@cache
def _is_file_of(name: str, file: str) -> bool:
    place = Path(str(distribution(name).locate_file("")))
    return Path(file).resolve().is_relative_to(place.resolve())


def source_digest(code: Any) -> Ref:
    """Digest of the source of a module, class or function."""
    return combine("source", [inspect.getsource(code)])


@cache
def version_of(name: str) -> str:
    """Version of a distribution."""
    return version(name)


@cache
def is_editable(name: str) -> bool:
    """Whether a distribution was installed in editable mode."""
    about = distribution(name).read_text("direct_url.json")
    return bool(about and json.loads(about).get("dir_info", {}).get("editable"))
