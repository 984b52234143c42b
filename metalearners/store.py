"""Stores: they keep values under the digest of their content, and fits under their unit's key."""

import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from metalearners._typing import Ref
from metalearners.cache.fit_cache import FitCache
from metalearners.cache.folder_storage import FolderStorage
from metalearners.cache.places import open_storage
from metalearners.digests.names import is_kept
from metalearners.files.ownership import UntrustedWarning, check_makers, reachable_folders
from metalearners.fits.store import MemoryStore, Store, obtain
from metalearners.fits.unit import Fit

__all__ = ["CachedStore", "DirectoryStore", "MemoryStore", "Store", "obtain"]


class CachedStore(MemoryStore):
    """A store that keeps fits in a cache, where they outlive the process.

    Fits without a digest are kept for this process only.

    Parameters
    ----------
    cache : FitCache
        Where fits are kept.
    refresh : bool
        Find only what this object itself kept, so that every unit is fitted anew.
    """

    lasting = True

    def __init__(self, cache: FitCache, refresh: bool = False) -> None:
        super().__init__()
        self.cache = cache
        self.refresh = refresh

    def find(self, key: Ref) -> Fit | None:
        """The valid fit that this process or another kept under a key, or None."""
        fit = super().find(key)
        if fit is None and not self.refresh and is_kept(key):
            fit = self.cache.read(key)
            if fit is not None:
                super().keep(key, fit)
        return fit

    def keep(self, key: Ref, fit: Fit, label: str = "") -> None:
        """Keep a fit here, and in the cache if that can be written to."""
        if is_kept(key):
            self.cache.write(key, fit, label)  # first: it raises for a model that can't be pickled
        super().keep(key, fit)

    def claim(self, key: Ref) -> AbstractContextManager[None]:
        """Wait until nobody else fits a key's unit, and hold its claim in the context."""
        return self.cache.claim(key) if is_kept(key) else nullcontext()


class DirectoryStore(CachedStore):
    """A store whose fits outlive the process, in a folder, or at an fsspec URL.

    Parameters
    ----------
    location : Path or str
        A folder or a URL. A folder that doesn't exist is made, for its owner alone.
    refresh : bool
        Whether to ignore fits that other objects kept, so that every unit is fitted anew.
    signing_key : bytes
        A secret; only fits that were kept with the same secret are valid.

    Raises
    ------
    UntrustedError
        If any user of this machine may write to the folder, and there is no signing key. If some
        others may, an `UntrustedWarning` says so.
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
    """A warning of other users who may put fits into a cache, which are read as code; or "".

    Raises
    ------
    UntrustedError
        If any user of this machine may.
    """
    if cache.signing_key or not isinstance(cache.storage, FolderStorage):
        return ""  # nobody knows here who may write to a URL
    folder = cache.storage.folder
    return check_makers(folder, reachable_folders(folder))
