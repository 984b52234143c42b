"""Whether Prefect and the other packages are here, in versions that this one works with."""

import platform
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from flows.doctor.examination import Check, Places
from flows.errors import InputError

_OWN = "uplift-flows"
_OURS_ALONE = {"dev", "docs"}  # extras for this project's own tests and site


def needed_packages() -> list[Requirement]:
    """What must be installed here.

    Raises InputError if nothing says so.
    """
    return [each for each in _requirements() if _is_for("", each)]


def prefect_versions() -> SpecifierSet:
    """The versions of Prefect that this package works with."""
    return next(each for each in needed_packages() if each.name == "prefect").specifier


def _check_own(places: Places) -> str:
    return _own().version


def _check_prefect(places: Places) -> str:
    _refuse(_unmet(each for each in needed_packages() if each.name == "prefect"))
    return distribution("prefect").version


def _check_packages(places: Places) -> str:
    needed = [each for each in needed_packages() if each.name != "prefect"]
    _refuse(_unmet_by_python() | _unmet(needed) | _unmet(_optional(), if_there=True))
    python = platform.python_version()
    return f"Python {python} and {len(needed)} packages, in versions that this one needs"


def _own() -> Distribution:
    try:
        return distribution(_OWN)
    except PackageNotFoundError:
        raise InputError(
            f"Expected {_OWN} to be installed; found its files alone, so nothing says which "
            "packages it needs. Install it: pip install -e . in its folder."
        ) from None


def _requirements() -> list[Requirement]:
    return list(map(Requirement, _own().requires or []))


def _optional() -> list[Requirement]:
    """What users may install too."""
    extras = set(_own().metadata.get_all("Provides-Extra") or []) - _OURS_ALONE
    only = [each for each in _requirements() if not _is_for("", each)]
    return [each for each in only if any(_is_for(extra, each) for extra in extras)]


def _is_for(extra: str, requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _unmet_by_python() -> dict[str, str]:
    expected, found = SpecifierSet(_own().metadata["Requires-Python"]), platform.python_version()
    return {} if expected.contains(found, prereleases=True) else {f"python{expected}": found}


def _unmet(requirements: Iterable[Requirement], if_there: bool = False) -> dict[str, str]:
    """What is there instead of each package that isn't as required."""
    found = {f"{each.name}{each.specifier}": (each, _version(each.name)) for each in requirements}
    return {
        expected: version or "none"
        for expected, (each, version) in found.items()
        if not (each.specifier.contains(version, prereleases=True) if version else if_there)
    }


def _version(name: str) -> str:
    """The version of an installed package; empty for none, or one that pip left in pieces."""
    try:
        about = distribution(name).metadata
    except PackageNotFoundError:
        return ""
    return str((about.get_all("Version") or [""])[0])


def _refuse(unmet: dict[str, str]) -> None:
    if not unmet:
        return
    to_install = " ".join(f"'{each}'" for each in unmet)
    other_python = any(each.startswith("python") for each in unmet)
    remedy = "Use that Python" if other_python else f"python -m pip install {to_install}"
    raise InputError(f"Expected {', '.join(unmet)}; found {', '.join(unmet.values())}. {remedy}.")


CHECKS = (
    Check(_OWN, _check_own),
    Check("Prefect", _check_prefect, (_OWN,)),
    Check("packages", _check_packages, (_OWN,)),
)
