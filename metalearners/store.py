"""Where values lie under the digest of their content, and fits under their unit's key."""

import warnings
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from metalearners._typing import Ref
from metalearners.cache.fit_cache import FitCache
from metalearners.cache.ownership import UntrustedWarning, check_makers, reachable_folders
from metalearners.cache.storage import FolderStorage, open_storage
from metalearners.data.containers import is_matrix
from metalearners.digests.digest import digest, identify, is_kept, matrix_digest, unkept
from metalearners.fits.unit import Fit, FitUnit


class Store(Protocol):
    """Inputs by content digest; fits by key."""

    def put(self, value: Any) -> Ref:
        """Keep an input; returns the name to get it by."""

    def get(self, ref: Ref) -> Any:
        """The input of that name."""

    def only(self, refs: Iterable[Ref]) -> "Store":
        """A store of some of the inputs alone."""

    def forget_fits(self) -> None:
        """Let go of the fits in memory."""

    def find(self, key: Ref) -> Fit | None:
        """The fit kept under a key; None if there is none, or none that is whole."""

    def keep(self, key: Ref, fit: Fit, label: str = "") -> None:
        """Keep a fit; the label says what its unit is for."""

    def claim(self, key: Ref) -> AbstractContextManager[None]:
        """Wait until nobody else fits a key's unit, and have it for oneself."""


class MemoryStore:
    """A store that ends with its process."""

    def __init__(self) -> None:
        self._inputs: dict[Ref, Any] = {}
        self._fits: dict[Ref, Fit] = {}
        self._names: dict[int, tuple[Any, Ref]] = {}

    def put(self, value: Any) -> Ref:
        """Keep an input under the digest of its content.

        A value put before is known by its identity, so a matrix shared by many regressions is
        hashed once; inputs must not change afterwards. One that has no digest, such as a callback,
        gets a name of its own.
        """
        known = self._names.get(id(value))
        if known is not None and known[0] is value:
            return known[1]
        flat = isinstance(value, np.ndarray) and value.ndim != 2
        matrix = is_matrix(value) and not flat
        ref = "-".join(matrix_digest(value)) if matrix else _name_of(value)
        value = self._inputs.setdefault(ref, value)
        self._names[id(value)] = (value, ref)
        return ref

    def get(self, ref: Ref) -> Any:
        """The input of that name."""
        return self._inputs[ref]

    def only(self, refs: Iterable[Ref]) -> "MemoryStore":
        """A store of some of the inputs and nothing else: what a worker elsewhere is sent."""
        part = MemoryStore()
        part._inputs = {ref: self.get(ref) for ref in refs}
        return part

    def forget_fits(self) -> None:
        """Let go of the fits in memory, and keep the inputs."""
        self._fits.clear()

    def find(self, key: Ref) -> Fit | None:
        """The fit kept under a key, or None."""
        return self._fits.get(key)

    def fetch(self, key: Ref) -> Fit:
        """The fit that must be under a key.

        Raises
        ------
        KeyError
            If there is none.
        """
        fit = self.find(key)
        if fit is None:
            raise KeyError(f"No fit under {key}.")
        return fit

    def keep(self, key: Ref, fit: Fit, label: str = "") -> None:
        """Keep a fit."""
        self._fits[key] = fit

    def claim(self, key: Ref) -> AbstractContextManager[None]:
        """Nothing: nobody else has this store."""
        return nullcontext()


def _name_of(value: Any) -> Ref:
    named = identify(lambda: digest(value))
    return unkept() if named.gaps else named.digest


def obtain(unit: FitUnit, store: Store, fit: Callable[[FitUnit, Store], Fit]) -> None:
    """Have a unit's fit in a store: one that is there, whoever made it, or else a new one.

    Parameters
    ----------
    fit : makes it; not called where another process has meanwhile
    """
    with store.claim(unit.key):
        if store.find(unit.key) is None:
            store.keep(unit.key, fit(unit, store), unit.label)


class CachedStore(MemoryStore):
    """A store whose fits outlive the process, in a cache.

    Fits that no digest names are kept for the process alone.

    Parameters
    ----------
    cache : where they are kept
    refresh : find only what this object kept itself, so that every unit is fitted anew
    """

    def __init__(self, cache: FitCache, refresh: bool = False) -> None:
        super().__init__()
        self.cache = cache
        self.refresh = refresh

    def find(self, key: Ref) -> Fit | None:
        """The fit kept under a key, by this process or another, if it is whole."""
        fit = super().find(key)
        if fit is None and not self.refresh and is_kept(key):
            fit = self.cache.read(key)
            if fit is not None:
                super().keep(key, fit)
        return fit

    def keep(self, key: Ref, fit: Fit, label: str = "") -> None:
        """Keep a fit here, and in the cache if that can be written to."""
        if is_kept(key):
            self.cache.write(key, fit, label)  # first, as it raises where one can't be pickled
        super().keep(key, fit)

    def claim(self, key: Ref) -> AbstractContextManager[None]:
        """Wait until nobody else fits a key's unit, and have it for oneself."""
        return self.cache.claim(key) if is_kept(key) else nullcontext()


class DirectoryStore(CachedStore):
    """A store whose fits outlive the process, in a folder, or at an fsspec URL.

    Parameters
    ----------
    location : a folder, made for its owner alone if it doesn't exist, or a URL
    refresh : find only what this object kept itself, so that every unit is fitted anew
    signing_key : a secret; fits are only valid if they were kept with the same one

    Raises
    ------
    UntrustedError
        If any user of this machine may write to the folder, and there is no signing key. Where
        some others may, an `UntrustedWarning` says so.
    """

    def __init__(
        self, location: Path | str, refresh: bool = False, signing_key: bytes = b""
    ) -> None:
        cache = FitCache(open_storage(location), signing_key)
        warning = check_cache_makers(cache)
        if warning:
            warnings.warn(warning, UntrustedWarning, stacklevel=2)
        super().__init__(cache, refresh)


def check_cache_makers(cache: FitCache) -> str:
    """A warning of others who may put fits into a cache that are read as code; empty if none may.

    Raises
    ------
    UntrustedError
        If any user of this machine may.
    """
    if cache.signing_key or not isinstance(cache.storage, FolderStorage):
        return ""  # who may write to a URL isn't known here
    folder = cache.storage.folder
    return check_makers(folder, reachable_folders(folder))
