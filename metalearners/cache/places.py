"""The storage at a place: a folder or an fsspec URL."""

from pathlib import Path

import fsspec

from metalearners.cache.folder_storage import FolderStorage
from metalearners.cache.remote_storage import RemoteStorage, protocols
from metalearners.cache.storage import Storage


def open_storage(location: str | Path) -> Storage:
    """The storage at a folder, which is made if it doesn't exist, or at an fsspec URL.

    Raises
    ------
    ValueError, ImportError
        If the URL's protocol is unknown, or its package isn't installed.
    """
    if isinstance(location, Path) or "://" not in location:
        return FolderStorage(location)
    filesystem, path = fsspec.core.url_to_fs(location)
    if "file" in protocols(filesystem):
        return FolderStorage(path)
    return RemoteStorage(location, filesystem, path)


def exists(location: str) -> bool:
    """Whether something is at a place; makes nothing.

    Raises
    ------
    ValueError, ImportError
        If the URL's protocol is unknown, or its package isn't installed.
    OSError
        If the place can't be reached.
    """
    filesystem, path = fsspec.core.url_to_fs(location)
    try:
        return bool(filesystem.exists(path))
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
