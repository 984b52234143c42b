"""The cache that a config names: opened, and seen from the command line."""

import contextlib
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich import filesize

from flows.config.files import check_folder
from flows.config.reading import parse
from flows.config.sections import CacheConfig
from flows.errors import InputError
from flows.inputs.places import check_allowed
from flows.server.environment import STATE_FOLDER, check_state_folder
from metalearners._typing import Ref
from metalearners.cache.fit_cache import Entry, FitCache
from metalearners.cache.layout import CLAIMS, INPUTS
from metalearners.cache.places import exists, open_storage
from metalearners.cache.storage import Storage
from metalearners.files.file_locks import locking
from metalearners.files.ownership import UntrustedError, UntrustedWarning, make_private
from metalearners.fits.store import Store
from metalearners.store import CachedStore, check_cache_makers

KEY_VARIABLE = "UPLIFT_CACHE_KEY"
_DAY = 86_400.0
_HOUR = 3600.0
T = TypeVar("T")
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_EXTRAS |= dict.fromkeys(("abfs", "abfss", "az", "adl"), "azure")


def open_cache(config: CacheConfig) -> FitCache:
    """The cache of a config; the environment may name a key that signs its fits.

    Raises InputError if there can be no such place.
    """
    age = config.max_age_days
    place = open_place(config.storage)
    return FitCache(place, signing_key(), None if age is None else age * _DAY)


def signing_key() -> bytes:
    """The secret that fits and models are signed with; empty where the environment has none."""
    return os.environ.get(KEY_VARIABLE, "").encode()


def check_cache(config: CacheConfig) -> str:
    """Refuse a cache that can't be used; one that can only be read is one.

    Returns
    -------
    A warning of others who may put fits into it; empty if none may

    Raises InputError if it can't be used, or any user of this machine may put fits into it.
    """
    check_state_of(config.storage)
    if not _only_readable(config.storage):
        check_usable(config.storage, "cache.storage")
    return _makers_warning(open_cache(config), "cache.storage")


def check_usable(location: str, where: str) -> None:
    """Refuse a URL that can't be reached, and a folder that can't be written to, which is made.

    Raises InputError, whose message begins with `where`.
    """
    if "://" not in location:
        with contextlib.suppress(OSError):  # which the check tells
            make_private(Path(location))
        check_folder(location, where)
        return
    storage = open_place(location, where)
    try:
        next(storage.items(CLAIMS), None)
    except OSError as error:
        raise InputError(
            f"{where}: expected a place that can be reached; {error}. Choose another."
        ) from None


def check_state_of(location: str) -> None:
    """Look at the state folder before at what lies in it."""
    if Path(location).resolve().is_relative_to(Path(STATE_FOLDER).resolve()):
        check_state_folder()


def _makers_warning(cache: FitCache, where: str) -> str:
    try:
        warning = check_cache_makers(cache)
    except UntrustedError as error:
        raise InputError(f"{where}: {error}") from None
    return warning and f"{where}: {warning}"


def _only_readable(folder: str) -> bool:
    return os.access(folder, os.R_OK | os.X_OK) and not os.access(folder, os.W_OK)


def open_place(location: str, where: str = "cache.storage") -> Storage:
    """The storage at a place that a config names.

    Raises InputError if there can be no such place.
    """
    return _opened(open_storage, location, where)


def is_there(location: str, where: str) -> bool:
    """Whether there is something at a place; an InputError if there can be no such place."""
    return _opened(exists, location, where)


def _opened(how: Callable[[str], T], location: str, where: str) -> T:
    try:
        return how(location)
    except (ImportError, ValueError, OSError) as error:
        extra = _EXTRAS.get(location.partition("://")[0])
        missing = extra if isinstance(error, ImportError) else None
        remedy = f"pip install 'uplift-flows[{missing}]'" if missing else "Name another"
        raise InputError(
            f"{where}: expected a folder or an fsspec URL; {location}: {error}. {remedy}."
        ) from None


def cache_facts(store: Store, config: CacheConfig) -> dict[str, Any]:
    """What `summary.json` says of the cache: where it is, and how many fits it failed for.

    `damaged` and `expired` ones were fitted again. `unkept` ones couldn't be written, and
    `unreachable` ones couldn't be looked up, for the first of which there is a reason.
    """
    counted = ("hits", "damaged", "expired", "unkept", "unreachable")
    if not isinstance(store, CachedStore):
        return {"storage": None, **dict.fromkeys(counted, 0), "reason": None}
    cache = store.cache
    counts = {name: len(getattr(cache, name)) for name in counted}
    reasons = [*cache.unreachable.values(), *cache.unkept.values()]
    return {"storage": config.storage, **counts, "reason": reasons[0] if reasons else None}


def open_existing(location: str, where: str = "--storage") -> FitCache:
    """A cache that there is already, for the commands that look at one.

    Raises InputError, whose message begins with `where`, if there is none, the process may not use
    it, or any user of this machine may put fits into it; nothing is made.
    """
    config = parse(CacheConfig, {"storage": location}, where.removesuffix("storage"))
    check_allowed(location)
    check_state_of(location)
    if not is_there(location, where):
        raise InputError(
            f"{where}: expected a cache; found nothing at {location}. Name a folder or an "
            "fsspec URL that runs have used as cache.storage."
        )
    cache = open_cache(config)
    warning = _makers_warning(cache, where)
    if warning:
        warnings.warn(warning, UntrustedWarning, stacklevel=2)
    return cache


def list_entries(cache: FitCache) -> list[Entry]:
    """A cache's fits, oldest first."""
    return sorted(cache.entries(), key=lambda entry: (entry.written or 0.0, entry.key))


def entry_facts(entry: Entry) -> dict[str, Any]:
    """A fit of a cache as plain values."""
    return {**asdict(entry), "age_seconds": entry.age}


def damaged_entries(cache: FitCache) -> list[Entry]:
    """The fits that runs can't use: damaged, or not written with this process's signing key."""
    return [entry for entry in list_entries(cache) if cache.is_damaged(entry.key)]


@dataclass(frozen=True)
class Pruned:
    """What `prune` deleted."""

    fits: int
    files: int  # that killed processes left
    folders: int  # of their inputs
    size: int  # of all that, in bytes

    def __str__(self) -> str:
        return (
            f"{self.fits} fits deleted, and of killed runs {self.files} files and {self.folders} "
            f"folders of inputs: {filesize.decimal(self.size)} freed"
        )


def prune(
    cache: FitCache,
    older_than: float | None = None,
    damaged: bool = False,
    everything: bool = False,
) -> Pruned:
    """Delete fits, and what killed processes left here and in the cache.

    A run that has just looked for a fit that goes makes it anew, so none is disturbed.

    Parameters
    ----------
    older_than : float, optional
        Delete fits that are older than so many days.
    damaged, everything : bool
        Delete fits that can't be used, or all fits.
    """
    unusable = _unusable(cache) if damaged else set()
    oldest = math.inf if older_than is None else older_than * _DAY
    wanted = [
        entry
        for entry in cache.entries()
        if everything or entry.key in unusable or (entry.age or 0.0) > oldest
    ]
    for entry in wanted:
        cache.remove(entry.key)
    left = cache.tidy()
    folders = list(_delete_dead_inputs())
    size = sum(e.size for e in wanted) + sum(item.size for item in left) + sum(folders)
    return Pruned(len(wanted), len(left), len(folders), size)


def _unusable(cache: FitCache) -> set[Ref]:
    """Keys of damaged fits.

    Raises InputError if no fit is whole: another signing key, or none, would be why.
    """
    found = damaged_entries(cache)
    if found and len(found) == len(list_entries(cache)):
        raise InputError(
            f"damaged: expected some fits that are whole; found none of {len(found)}, as if "
            f"they were signed with another key. Set {KEY_VARIABLE}, or delete all."
        )
    return {entry.key for entry in found}


def inputs_folder(state: Path, handle: str) -> Path:
    """Where a run's worker processes find their inputs."""
    return state / INPUTS / handle


@contextlib.contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Keep `prune` from a folder, if it exists; in the end it is deleted if it is empty."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            held.enter_context(locking(folder))
        yield
    with contextlib.suppress(OSError):
        folder.rmdir()


def _delete_dead_inputs() -> Iterator[int]:
    """Delete inputs that no run holds, in the state folder; sizes of what was there."""
    check_state_folder()
    for folder in Path(STATE_FOLDER, INPUTS).glob("*"):
        with contextlib.suppress(OSError), locking(folder) as free:
            # One that has just been made is held in a moment.
            if free and time.time() - folder.stat().st_mtime > _HOUR:
                yield sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
                shutil.rmtree(folder, ignore_errors=True)
