"""Inputs of units for workers in other processes: in files, read once a worker and mapped."""

import contextlib
import hashlib
import os
import platform
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from metalearners._typing import Ref
from metalearners.cache.folder_storage import FolderStorage
from metalearners.cache.places import open_storage
from metalearners.cache.regular_files import open_regular
from metalearners.cache.storage import Storage
from metalearners.data.containers import is_matrix
from metalearners.fits.fit import fit_unit
from metalearners.fits.store import MemoryStore, Store
from metalearners.fits.unit import Fit, FitUnit

_INLINE_BYTES = 1 << 16  # what is smaller goes with the unit


@dataclass(frozen=True, eq=False)
class Shipment:
    """A unit with what its fit reads: all that a worker elsewhere is sent.

    Parameters
    ----------
    unit : to fit
    inline : small inputs
    files : digest of the file of each of the others
    location : of the storage that has the files
    """

    unit: FitUnit
    inline: Mapping[Ref, Any]
    files: Mapping[Ref, str]
    location: str


@dataclass(eq=False)
class SharedInputs:
    """Writes inputs to a storage, each once.

    Parameters
    ----------
    storage : that workers can read; `clear` deletes what was written
    """

    storage: Storage
    _files: dict[Ref, str] = field(default_factory=dict)
    _small: dict[Ref, Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _cleared: bool = False

    def ship(self, unit: FitUnit, store: Store) -> Shipment:
        """A unit ready to be sent; what is large lies in the storage then."""
        with self._lock:
            if self._cleared:  # a file written now would stay
                raise RuntimeError("These workers were closed.")
            for ref in unit.inputs:
                if ref not in self._files and ref not in self._small:
                    self._share(ref, store.get(ref))
        inline = {ref: self._small[ref] for ref in unit.inputs if ref in self._small}
        files = {ref: self._files[ref] for ref in unit.inputs if ref in self._files}
        return Shipment(unit, inline, files, self.storage.location)

    def clear(self) -> None:
        """Delete the files, for good; workers that have mapped them keep what they have."""
        with self._lock:
            self._cleared = True
            for ref in self._files:
                with contextlib.suppress(OSError):
                    self.storage.remove(ref)
            self._files.clear()
        if isinstance(self.storage, FolderStorage):
            with contextlib.suppress(OSError):  # something else lies in it
                self.storage.folder.rmdir()

    def _share(self, ref: Ref, value: Any) -> None:
        small = value.nbytes < _INLINE_BYTES if isinstance(value, np.ndarray) else None
        if small or (small is None and not is_matrix(value)):
            self._small[ref] = value
            return
        with self.storage.writing(ref) as path:
            joblib.dump(value, path)
            self._files[ref] = _digest(path)


def receive(shipment: Shipment) -> None:
    """Read a shipment's inputs ahead of its fit, those that this process hasn't read yet."""
    received = _Received(shipment)
    for ref in shipment.unit.inputs:
        received.get(ref)


def fit_shipment(shipment: Shipment, threads: int | None) -> Fit:
    """Fit a unit in a worker; what `SharedInputs.ship` sent it is read from the storage once."""
    return fit_unit(shipment.unit, _Received(shipment), threads)


class _Received(MemoryStore):
    """The inputs of a shipment."""

    def __init__(self, shipment: Shipment) -> None:
        super().__init__()
        self._shipment = shipment

    def get(self, ref: Ref) -> Any:
        if ref in self._shipment.inline:
            return self._shipment.inline[ref]
        location = self._shipment.location
        try:
            with _opening:
                place = _place(location)
            return place.get(ref, self._shipment.files[ref])
        except (OSError, ImportError, ValueError) as error:
            raise OSError(
                f"Expected this run's inputs at {location}, where the run wrote them; the worker "
                f"on {platform.node()} can't read them: {error}. Run and workers need one storage "
                "that all of them reach under the same name: name it as the cache's."
            ) from None


class _Place:
    """What this process has read from a storage."""

    def __init__(self, location: str) -> None:
        if "://" not in location and not Path(location).is_dir():  # opened, it would be made
            raise FileNotFoundError(f"{location} doesn't exist there")
        self._storage = open_storage(location)
        self._values: dict[Ref, Any] = {}
        self._lock = threading.Lock()

    def get(self, ref: Ref, digest: str) -> Any:
        """An input, mapped into memory."""
        with self._lock:
            if ref not in self._values:
                self._values[ref] = self._read(ref, digest)
            return self._values[ref]

    def _read(self, ref: Ref, digest: str) -> Any:
        # A copy from elsewhere is deleted as soon as it is mapped, so that none is left behind by
        # a worker that is killed; it takes its room on the disk until it is no longer mapped.
        with tempfile.TemporaryDirectory() as folder:
            path = self._storage.local(ref, Path(folder))
            if not _is_whole(path, digest):
                raise OSError(f"The input {ref} in {self._storage.location} was altered.")
            return joblib.load(path, mmap_mode="r")


_opening = threading.Lock()


@lru_cache(maxsize=4)  # a worker may serve several runs at a time; older ones are let go
def _place(location: str) -> _Place:
    return _Place(location)


def _digest(path: Path) -> str:
    """The digest of a file, after its size."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        return f"{size}-{hashlib.file_digest(file, 'blake2b').hexdigest()}"


def _is_whole(path: Path, digest: str) -> bool:
    with open_regular(path) as file:  # one of another size may take hours to be read
        size = os.fstat(file.fileno()).st_size
    return digest.startswith(f"{size}-") and _digest(path) == digest
