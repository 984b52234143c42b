"""Inputs of units for workers in other processes: files that each worker maps into memory once."""

import contextlib
import hashlib
import os
import platform
import tempfile
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from metalearners._typing import Ref
from metalearners.cache.folder_storage import FolderStorage
from metalearners.cache.places import open_storage
from metalearners.cache.storage import Storage
from metalearners.data.containers import is_matrix
from metalearners.files.regular_files import open_regular
from metalearners.fits.fit import fit_unit
from metalearners.fits.store import MemoryStore, Store
from metalearners.fits.unit import Fit, FitUnit

_INLINE_BYTES = 1 << 16  # smaller inputs are sent with the unit
_MOST_MAPPED = 64  # inputs of a run that a worker keeps: a deleted file takes room while mapped
_opening = threading.Lock()


@dataclass(frozen=True, eq=False)
class Shipment:
    """A unit with all that its fit reads, as a worker in another process gets it."""

    unit: FitUnit
    inline: Mapping[Ref, Any]  # small inputs
    files: Mapping[Ref, str]  # digests of the other inputs' files
    location: str  # of the storage that has the files


@dataclass(eq=False)
class SharedInputs:
    """Writes each input once to a storage that workers can read, until `clear` deletes them."""

    storage: Storage
    _files: dict[Ref, str] = field(default_factory=dict)
    _small: dict[Ref, Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _cleared: bool = False

    def ship(self, unit: FitUnit, store: Store) -> Shipment:
        """A unit ready to be sent; its large inputs are in the storage."""
        with self._lock:
            if self._cleared:  # nobody would delete a file written now
                raise RuntimeError("These workers were closed.")
            for ref in unit.inputs:
                if ref not in self._files and ref not in self._small:
                    self._share(ref, store.get(ref))
        inline = {ref: self._small[ref] for ref in unit.inputs if ref in self._small}
        files = {ref: self._files[ref] for ref in unit.inputs if ref in self._files}
        return Shipment(unit, inline, files, self.storage.location)

    def forget(self, refs: Iterable[Ref]) -> None:
        """Delete inputs that no unit reads any more."""
        with self._lock:
            for ref in refs:
                self._small.pop(ref, None)
                if self._files.pop(ref, None) is not None:
                    with contextlib.suppress(OSError):
                        self.storage.remove(ref)

    def clear(self) -> None:
        """Delete the files, for good; workers that have mapped them keep what they have."""
        with self._lock:
            self._cleared = True
            for ref in self._files:
                with contextlib.suppress(OSError):
                    self.storage.remove(ref)
            self._files.clear()
        if isinstance(self.storage, FolderStorage):
            with contextlib.suppress(OSError):  # there may be other files in it
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
    """Read those inputs of a shipment that this process hasn't read yet, before the fit."""
    received = _Received(shipment)
    for ref in shipment.unit.inputs:
        received.get(ref)


def fit_shipment(shipment: Shipment, threads: int | None) -> Fit:
    """Fit a unit in a worker, which reads each input from the storage once."""
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
                place = _Place(location)
            return place.get(ref, self._shipment.files[ref])
        except (OSError, ImportError, ValueError) as error:
            raise OSError(
                f"Expected this run's inputs at {location}, where the run wrote them; the worker "
                f"on {platform.node()} can't read them: {error}. Run and workers need one storage "
                "that all of them reach under the same name: name it as the cache's."
            ) from None


@lru_cache(maxsize=4)  # a worker may serve several runs at a time
class _Place:
    """What this process has read from a storage."""

    def __init__(self, location: str) -> None:
        if "://" not in location and not Path(location).is_dir():  # to open it would make it
            raise FileNotFoundError(f"{location} doesn't exist there")
        self._storage = open_storage(location)
        self._values: dict[Ref, Any] = {}
        self._lock = threading.Lock()

    def get(self, ref: Ref, digest: str) -> Any:
        """An input, mapped into memory."""
        with self._lock:
            value = self._values.pop(ref, None)
            if value is None:
                value = self._read(ref, digest)
            self._values[ref] = value  # the latest last
            if len(self._values) > _MOST_MAPPED:
                del self._values[next(iter(self._values))]
            return value

    def _read(self, ref: Ref, digest: str) -> Any:
        # A copy of a remote file is deleted as soon as it is mapped: so a killed worker leaves
        # none behind. Its room on the disk is free when nothing maps it any more.
        with tempfile.TemporaryDirectory() as folder:
            path = self._storage.local(ref, Path(folder))
            if not _is_whole(path, digest):
                raise OSError(f"The input {ref} in {self._storage.location} was altered.")
            return joblib.load(path, mmap_mode="r")


def _digest(path: Path) -> str:
    """The size of a file and the digest of its bytes."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        return f"{size}-{hashlib.file_digest(file, 'blake2b').hexdigest()}"


def _is_whole(path: Path, digest: str) -> bool:
    with open_regular(path) as file:  # to read one of another size may take hours
        size = os.fstat(file.fileno()).st_size
    return digest.startswith(f"{size}-") and _digest(path) == digest
