"""The cache that a config names: opened, and seen from the command line."""

import os

from flows.config import CacheConfig
from flows.errors import InputError
from flows.runs import check_folder
from metalearners.fit_cache import FitCache
from metalearners.storage import Storage, open_storage

KEY_VARIABLE = "UPLIFT_CACHE_KEY"
_DAY = 86_400.0
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_EXTRAS |= dict.fromkeys(("abfs", "abfss", "az", "adl"), "azure")


def open_cache(config: CacheConfig) -> FitCache:
    """The cache of a config; the environment may name a key that signs its fits.

    Raises
    ------
    InputError
        If there can be no such place.
    """
    age = config.max_age_days
    key = os.environ.get(KEY_VARIABLE, "").encode()
    return FitCache(open_place(config.storage), key, None if age is None else age * _DAY)


def check_cache(config: CacheConfig) -> None:
    """Refuse a cache that can't be used; one that can only be read is one.

    Raises
    ------
    InputError
        If it can't be.
    """
    if "://" in config.storage:
        storage = open_place(config.storage)
        try:
            next(storage.items("claims"), None)
        except OSError as error:
            raise InputError(
                f"cache.storage: expected a place that can be reached; {error}. Choose another."
            ) from None
    elif not _only_readable(config.storage):
        check_folder(config.storage, "cache.storage", mode=0o700)


def _only_readable(folder: str) -> bool:
    return os.access(folder, os.R_OK | os.X_OK) and not os.access(folder, os.W_OK)


def open_place(location: str) -> Storage:
    """The storage at a place that a config names.

    Raises
    ------
    InputError
        If there can be no such place.
    """
    try:
        return open_storage(location)
    except (ImportError, ValueError, OSError) as error:
        extra = _EXTRAS.get(location.partition("://")[0])
        remedy = f"pip install 'uplift-flows[{extra}]'" if extra else "Name another"
        raise InputError(
            f"cache.storage: expected a folder or an fsspec URL; {location}: {error}. {remedy}."
        ) from None
