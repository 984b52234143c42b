"""Bytes by name at any place that fsspec reaches, and claims that are files written anew."""

import contextlib
import errno
import itertools
import os
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from metalearners.cache.claims import Claimant, Holder, Silence, beating
from metalearners.cache.layout import CLAIMS, OWN_CLAIM
from metalearners.cache.storage import ANYBODY, Item, is_left_over
from metalearners.files.regular_files import MOST_BYTES, TEMPORARY, OddFileError

# They show an object once it is whole. Elsewhere a file gets a temporary name, then its own.
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "memory"}
_LEASE_SECONDS = 15.0
_POLL_SECONDS = 0.5
_SETTLE_SECONDS = 1.0
_CLAIM_BYTES = 1000  # more than a claim has


class RemoteStorage:
    """Files of an fsspec file system.

    A claim is a small file that its holder writes anew every few seconds. Where it stays the same
    for longer, by the clock of a process that waits, that process writes over it and has the
    claim. Object stores decide between two processes that create the same file, and so do file
    systems that can open a file for exclusive creation. Elsewhere both may hold a claim, and do
    the same work.
    """

    def __init__(self, location: str, filesystem: Any, path: str) -> None:
        self.location = location
        self._fs = filesystem
        self._path = path.rstrip("/")
        self._objects = bool(_OBJECT_STORES & protocols(filesystem))

    def read(self, name: str, end: int | None = None, most: int = MOST_BYTES) -> bytes:
        """The bytes of a file."""
        with self._reaching():
            content = self._first(self._at(name), most + 1 if end is None else end)
        if end is None and len(content) > most:
            raise OddFileError(errno.EFBIG, os.strerror(errno.EFBIG), name)
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write a file, at once or under a temporary name."""
        with self._reaching():
            if self._objects:
                self._fs.pipe_file(self._at(name), content)
            else:
                self._write_and_move(name, content)

    def create(self, name: str, content: bytes) -> None:
        """Write a file that doesn't exist; object stores decide between processes."""
        with self._reaching():
            if self._content_of(name) is not None:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
            if self._objects:
                self._pipe_new(name, content)
            else:
                self._write_and_move(name, content)

    def _pipe_new(self, name: str, content: bytes) -> None:
        try:
            if self._objects or not self._opened_new(name, content):
                self._fs.pipe_file(self._at(name), content, mode="create")
        except Exception:  # each file system says in its own way that the file exists
            if self._content_of(name) is None:
                raise
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from None

    def _opened_new(self, name: str, content: bytes) -> bool:
        """Write a file opened for exclusive creation, where the file system has that mode."""
        # Without it, `pipe_file` looks whether the file exists, and another may create it then.
        try:
            file = self._fs.open(self._at(name), "xb")
        except (ValueError, NotImplementedError):
            return False
        with file:
            file.write(content)
        return True

    def _write_and_move(self, name: str, content: bytes) -> None:
        temporary = self._at(f"{name}.{uuid4().hex}{TEMPORARY}")
        self._fs.makedirs(temporary.rpartition("/")[0], exist_ok=True)
        self._fs.pipe_file(temporary, content)
        self._fs.mv(temporary, self._at(name))

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A file of this machine, sent in the end."""
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder, "value")
            with self._reaching():
                self._fs.makedirs(self._at(name).rpartition("/")[0], exist_ok=True)
                self._fs.put_file(str(Path(folder, "value")), self._at(name))

    def local(self, name: str, folder: Path) -> Path:
        """A copy of the file."""
        with self._reaching():
            self._fs.get_file(self._at(name), str(folder / name))
        return folder / name

    def remove(self, name: str) -> None:
        """Delete a file."""
        with self._reaching(), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._at(name))

    def items(self, folder: str = "") -> Iterator[Item]:
        """All files."""
        with self._reaching():
            self._fs.invalidate_cache()
            found = self._fs.find(self._at(folder), detail=True)
        for path, about in sorted(found.items()):
            name = path.removeprefix(self._path).lstrip("/")
            yield Item(name, int(about["size"] or 0), _modified(about))

    @contextlib.contextmanager
    def claim(self, name: str, claimant: Claimant = ANYBODY) -> Iterator[None]:
        """Create a file of that name, and write to it now and then until the end."""
        own, place = f"{uuid4().hex} {claimant.holder().line()}", f"{CLAIMS}/{name}"
        try:
            self._wait(place, own, claimant)
        except OSError:
            yield
            return
        beats = itertools.count(1)
        try:
            with beating(lambda: self._beat(place, own, next(beats))):
                yield
        finally:
            with contextlib.suppress(OSError):
                if self._is_held(place, own):
                    self.remove(place)

    def tidy(self) -> list[Item]:
        """Delete old temporary files, and claims that don't change for the time of a lease."""
        items = [item for item in self.items() if is_left_over(item)]
        own = (item for item in self.items(CLAIMS) if OWN_CLAIM.fullmatch(item.name))
        claims = {item: self._content_of(item.name) for item in own}
        if claims:
            time.sleep(_LEASE_SECONDS)
        items += [
            item
            for item, held in claims.items()
            if held is not None and self._content_of(item.name) == held
        ]
        for item in items:
            self.remove(item.name)
        return items

    def sub(self, folder: str) -> "RemoteStorage":
        """A folder in the storage."""
        return RemoteStorage(f"{self.location}/{folder}", self._fs, self._at(folder))

    def _wait(self, place: str, own: str, claimant: Claimant) -> None:
        silence = Silence()
        while not self._create(place, own):
            found = self._content_of(place)
            if silence.seconds(found) > _LEASE_SECONDS and self._take_over(place, own):
                return
            holder = Holder.read((found or b"").partition(b" ")[2], _LEASE_SECONDS)
            claimant.waits(place.removeprefix(f"{CLAIMS}/"), holder)
            time.sleep(_POLL_SECONDS)

    def _create(self, place: str, own: str) -> bool:
        if self._content_of(place) is not None:
            return False
        with self._reaching(), contextlib.suppress(FileExistsError):
            if not self._objects:
                self._fs.makedirs(self._at(CLAIMS), exist_ok=True)
            self._pipe_new(place, own.encode())
        return self._content_of(place) == own.encode()

    def _take_over(self, place: str, own: str) -> bool:
        # To delete a dead claim might delete another process's new one. So all who want it write
        # over it: the last of them has it, and each knows after a wait whether it was the last.
        self.write(place, own.encode())
        time.sleep(_SETTLE_SECONDS)
        return self._content_of(place) == own.encode()

    def _content_of(self, place: str) -> bytes | None:
        try:
            return self.read(place, end=_CLAIM_BYTES)
        except FileNotFoundError:
            return None

    def _beat(self, place: str, own: str, beats: int) -> None:
        if self._is_held(place, own):  # else another took over, as this process slept
            self.write(place, f"{own}\n{beats}".encode())

    def _is_held(self, place: str, own: str) -> bool:
        return self.read(place, end=_CLAIM_BYTES).startswith(own.encode())

    def _first(self, path: str, end: int) -> bytes:
        try:
            return bytes(self._fs.cat_file(path, end=end))
        except FileNotFoundError:
            raise
        except Exception:
            if self._fs.size(path) != 0:
                raise
            return b""  # some object stores refuse a range of an empty object

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}".rstrip("/")

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        """Turn errors of a file system's own packages into OSErrors."""
        try:
            yield
        except OSError:
            raise
        except Exception as error:
            raise OSError(f"{self.location}: {type(error).__name__}: {error}") from error


def _modified(about: dict[str, Any]) -> float | None:
    names = ("mtime", "modified", "LastModified", "last_modified", "created")
    found = next((about[name] for name in names if name in about), None)
    return found.timestamp() if isinstance(found, datetime) else None


def protocols(filesystem: Any) -> set[str]:
    """Names by which an fsspec file system is addressed."""
    named = filesystem.protocol
    return {named} if isinstance(named, str) else set(named)
