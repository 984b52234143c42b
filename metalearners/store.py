"""Stores: they keep values under the digest of their content, and fits under their unit's key."""

import warnings
from pathlib import Path

from metalearners.cache.cached_store import CachedStore, check_cache_makers
from metalearners.cache.fit_cache import FitCache
from metalearners.cache.ownership import UntrustedWarning
from metalearners.cache.places import open_storage
from metalearners.fits.store import MemoryStore, Store, obtain

__all__ = ["CachedStore", "DirectoryStore", "MemoryStore", "Store", "obtain"]


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
