"""Installed packages: which one holds a module, and in which version."""

import json
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import (
    PackageNotFoundError,
    distribution,
    packages_distributions,
    version,
)
from pathlib import Path

version_of = cache(version)
# Names of distributions by the module that they install. This reads the lists of files of all.
distributions = cache(packages_distributions)
_NAMED_OTHERWISE = {"sklearn": "scikit-learn"} | dict.fromkeys(
    ("metalearners", "flows"), "uplift-flows"
)


def installed_as(module: str) -> str | None:
    """Name of the distribution that holds a module; None for editable and other modules."""
    file = getattr(sys.modules.get(module), "__file__", None)
    for name in _holders(module.partition(".")[0]):
        # A script may have the same name as a package.
        if not is_editable(name) and (file is None or _is_file_of(name, file)):
            return name
    return None


@cache
def _holders(root: str) -> Sequence[str]:
    """Names of the distributions that install a module: first the one of its name is asked."""
    if root in sys.stdlib_module_names:
        return ()
    name = _NAMED_OTHERWISE.get(root, root)
    try:
        about = distribution(name)
    except PackageNotFoundError:
        return distributions().get(root, ())
    modules, files = (about.read_text(part) or "" for part in ("top_level.txt", "RECORD"))
    holds = root in modules.split() or f"\n{root}/" in f"\n{files}"
    return (about.name,) if holds else distributions().get(root, ())


@cache
def _is_file_of(name: str, file: str) -> bool:
    place, here = Path(str(distribution(name).locate_file(""))), Path(file)
    # An environment may be a link, and so may the packages in it (such as uv's, Bazel's and Nix's).
    return here.is_relative_to(place) or here.resolve().is_relative_to(place.resolve())


@cache
def is_editable(name: str) -> bool:
    """Whether a distribution was installed in editable mode."""
    about = distribution(name).read_text("direct_url.json")
    return bool(about and json.loads(about).get("dir_info", {}).get("editable"))
