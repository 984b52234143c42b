"""Where bytes lie under a name, whole or not at all: a folder, or any place that fsspec reaches."""

import contextlib
import errno
import fcntl
import itertools
import os
import re
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import fsspec

from metalearners.cache.claims import Claimant, Holder, Silence, beating
from metalearners.cache.ownership import make_private
from metalearners.cache.regular_files import MOST_BYTES, OddFileError, open_regular, read_regular

_CLAIMS = "claims"
_ANYBODY = Claimant()
# A file's time of change, as a network's file system tells it, may be a minute old.
SILENT_SECONDS = 90.0
_BEAT_SECONDS = 3.0
_LOOK_SECONDS = 0.2
_TEMPORARY = ".tmp"
# What is made here, told from files of others that may lie in the same place.
_OWN_TEMPORARY = re.compile(r".*\.[0-9a-f]{32}\.tmp")
_OWN_CLAIM = re.compile(rf"{_CLAIMS}/[a-z-]*[0-9a-f]{{32,40}}")


@dataclass(frozen=True)
class Item:
    """What a storage has under a name.

    Parameters
    ----------
    name : with ``/`` between folders
    size : in bytes
    modified : seconds since the epoch; None where the place doesn't say
    """

    name: str
    size: int
    modified: float | None = None


class Storage(Protocol):
    """Bytes by name, shared between processes.

    All methods raise an OSError where the place fails, FileNotFoundError for a name without bytes.
    """

    location: str

    def read(self, name: str, end: int | None = None, most: int = MOST_BYTES) -> bytes:
        """The bytes under a name, or the first of them.

        Raises
        ------
        OddFileError
            If all are asked for, and are more than ``most``; or if there is no regular file.
        """

    def write(self, name: str, content: bytes) -> None:
        """Put bytes under a name; a reader sees all of them or those from before."""

    def writing(self, name: str) -> contextlib.AbstractContextManager[Path]:
        """A local file to be written, whose bytes are under the name when the context ends."""

    def local(self, name: str, folder: Path) -> Path:
        """A local file with the bytes of a name: the storage's own, or a copy in a folder."""

    def remove(self, name: str) -> None:
        """Take the bytes from a name, if it has any."""

    def items(self, folder: str = "") -> Iterator[Item]:
        """All names in a folder of the storage and below."""

    def claim(
        self, name: str, claimant: Claimant = _ANYBODY
    ) -> contextlib.AbstractContextManager[None]:
        """Wait until no other process, nor thread, works on a name, and have it for oneself.

        Who gives no sign of life for a while is passed. Where nothing can be written there are no
        claims, and no wait.
        """

    def tidy(self, age: float) -> list[Item]:
        """Delete what killed processes left, nothing of others', and say what that was.

        Parameters
        ----------
        age : seconds since a temporary file was last written to, after which nobody will any more
        """

    def sub(self, folder: str) -> "Storage":
        """A folder of the storage as one of its own."""


def open_storage(location: str | Path) -> Storage:
    """The storage at a place.

    Parameters
    ----------
    location : a folder, made if it doesn't exist, or an fsspec URL

    Raises
    ------
    ValueError, ImportError
        If the URL's protocol is unknown, or its package isn't installed.
    """
    if isinstance(location, Path) or "://" not in location:
        return FolderStorage(location)
    filesystem, path = fsspec.core.url_to_fs(location)
    if "file" in _protocols(filesystem):
        return FolderStorage(path)
    return RemoteStorage(location, filesystem, path)


def exists(location: str) -> bool:
    """Whether there is something at a place; nothing is made.

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


class FolderStorage:
    """Files of a folder, which is made for its owner alone.

    A claim is a lock on a file, so the kernel ends it with its process, however that ends. Its
    holder touches the file every few seconds. One that doesn't, as it was stopped, is passed after
    `SILENT_SECONDS` by the clock of who waits: both may then do the same work.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.location = str(folder)
        with contextlib.suppress(FileExistsError):  # what is there instead shows when it is used
            make_private(self.folder)

    def read(self, name: str, end: int | None = None, most: int = MOST_BYTES) -> bytes:
        """The bytes of a file."""
        return read_regular(self.folder / name, most, end)

    def write(self, name: str, content: bytes) -> None:
        """Write a file under a temporary name, and rename it; its owner alone may change it."""
        self._make_folder_of(name)
        write_whole(self.folder / name, content, mode=0o644)

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """A file under a temporary name, renamed in the end."""
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".") as folder:
            yield Path(folder, "value")
            Path(folder, "value").replace(self.folder / name)

    def local(self, name: str, folder: Path) -> Path:
        """The file itself."""
        open_regular(self.folder / name).close()
        return self.folder / name

    def remove(self, name: str) -> None:
        """Delete a file."""
        (self.folder / name).unlink(missing_ok=True)

    def items(self, folder: str = "") -> Iterator[Item]:
        """All files."""
        for path in sorted((self.folder / folder).rglob("*")):
            with contextlib.suppress(OSError):  # deleted meanwhile, or a link that leads nowhere
                about = path.stat()
                if not stat.S_ISDIR(about.st_mode):
                    name = path.relative_to(self.folder).as_posix()
                    yield Item(name, about.st_size, about.st_mtime)

    @contextlib.contextmanager
    def claim(self, name: str, claimant: Claimant = _ANYBODY) -> Iterator[None]:
        """Lock a file of that name; it is gone when nobody wants it."""
        path = self.folder / _CLAIMS / name
        lock = None
        try:
            self._make_folder_of(f"{_CLAIMS}/{name}")
            lock = _locked(path, claimant)
        except OSError:  # a full disk, or one that can only be read
            yield
            return
        try:
            with beating(lambda: os.utime(lock), _BEAT_SECONDS):
                yield
        finally:
            with contextlib.suppress(OSError):
                if _is_at(lock, path):  # else another has passed this process, which stood still
                    path.unlink()
            os.close(lock)

    def tidy(self, age: float) -> list[Item]:
        """Delete temporary files that are older, and claims that no process holds."""
        return [item for item in self.items() if self._left(item, age)]

    def _left(self, item: Item, age: float) -> bool:
        if _OWN_CLAIM.fullmatch(item.name):
            return _deleted_unlocked(self.folder / item.name)
        if not _is_older(item, age):
            return False
        self.remove(item.name)
        return True

    def sub(self, folder: str) -> "FolderStorage":
        """A folder in the folder."""
        with contextlib.suppress(FileExistsError):
            self._make_folder_of(folder)
        return FolderStorage(self.folder / folder)

    def _make_folder_of(self, name: str) -> None:
        """Make the folder of a name, as open to others as the storage's, at most."""
        make_private(self.folder)  # it may have been deleted meanwhile
        if "/" in name:
            mode = stat.S_IMODE(self.folder.stat().st_mode) & 0o777
            (self.folder / name).parent.mkdir(mode=mode, exist_ok=True)


def _locked(path: Path, claimant: Claimant) -> int:
    """A descriptor with the lock on the file that is at the path now, which names its holder."""
    while True:
        # A link would make a file elsewhere, and a fifo or a device might wait.
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        try:
            if _got(lock, path, claimant):
                os.ftruncate(lock, 0)
                os.pwrite(lock, claimant.holder().line().encode(), 0)
                return lock
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)  # who had it before has deleted that file, or was passed


def _got(lock: int, path: Path, claimant: Claimant) -> bool:
    """Wait for a file's lock; whether it was got while the file was at its path."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return _is_at(lock, path)
    except BlockingIOError:
        pass
    except OSError:  # a file system without locks
        path.unlink(missing_ok=True)
        raise
    ours, silence = _when_free(lock), Silence()
    while not ours.wait(_LOOK_SECONDS):
        if not _is_at(lock, path):
            return False
        if silence.seconds(os.fstat(lock).st_mtime_ns) > SILENT_SECONDS:
            path.unlink(missing_ok=True)
            return False
        claimant.waits(path.name, Holder.read(os.pread(lock, 1000, 0)))
    return _is_at(lock, path)


def _when_free(lock: int) -> threading.Event:
    """Set when a file is locked by its descriptor; at once, so that who waited isn't behind.

    A wait for a lock can't be ended. So it is a thread's, which is left to itself where nobody
    wants the lock any more: then its own descriptor is the last, and the lock ends with it.
    """
    got, own = threading.Event(), os.dup(lock)

    def wait() -> None:
        try:
            fcntl.flock(own, fcntl.LOCK_EX)
            got.set()
        finally:
            os.close(own)

    threading.Thread(target=wait, daemon=True).start()
    return got


def _is_at(lock: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock), os.stat(path))
    except FileNotFoundError:
        return False


def _deleted_unlocked(path: Path) -> bool:
    """Whether a file was deleted, which is done if nobody holds its lock."""
    with contextlib.suppress(OSError), open_regular(path) as file:  # BlockingIOError among others
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
            path.unlink()
            return True
    return False


def _is_older(item: Item, age: float) -> bool:
    """Whether an item is a temporary file that wasn't written to for so many seconds."""
    known = _OWN_TEMPORARY.fullmatch(item.name) and item.modified is not None
    return bool(known) and time.time() - (item.modified or 0.0) > age


# They show an object once it is whole. Elsewhere a file is written beside, and moved.
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "memory"}
_LEASE_SECONDS = 15.0
_POLL_SECONDS = 0.5
_SETTLE_SECONDS = 1.0
_CLAIM_BYTES = 1000  # more than a claim has


class RemoteStorage:
    """Files of an fsspec file system.

    A claim is a small file that its holder writes anew every few seconds. One that stays the same
    for longer, by the clock of who waits, belongs to nobody any more, and is written over. Where
    the file system can't decide between two who create the same file, as most that aren't object
    stores, two may hold a claim: both then do the same work.
    """

    def __init__(self, location: str, filesystem: Any, path: str) -> None:
        self.location = location
        self._fs = filesystem
        self._path = path.rstrip("/")
        self._objects = bool(_OBJECT_STORES & _protocols(filesystem))

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
                return
            temporary = self._at(f"{name}.{uuid4().hex}{_TEMPORARY}")
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
    def claim(self, name: str, claimant: Claimant = _ANYBODY) -> Iterator[None]:
        """Have a file of that name that nobody else keeps alive."""
        own, place = f"{uuid4().hex} {claimant.holder().line()}", f"{_CLAIMS}/{name}"
        try:
            self._wait(place, own, claimant)
        except OSError:
            yield
            return
        beats = itertools.count(1)
        try:
            with beating(lambda: self._beat(place, own, next(beats)), _BEAT_SECONDS):
                yield
        finally:
            with contextlib.suppress(OSError):
                if self.read(place, end=_CLAIM_BYTES).startswith(own.encode()):
                    self.remove(place)

    def tidy(self, age: float) -> list[Item]:
        """Delete temporary files that are older, and claims that no process keeps alive.

        Claims are watched for as long as they may stay the same.
        """
        items = [item for item in self.items() if _is_older(item, age)]
        own = (item for item in self.items(_CLAIMS) if _OWN_CLAIM.fullmatch(item.name))
        claims = {item: self._claimed_by(item.name) for item in own}
        if claims:
            time.sleep(_LEASE_SECONDS)
        items += [
            item
            for item, held in claims.items()
            if held is not None and self._claimed_by(item.name) == held
        ]
        for item in items:
            self.remove(item.name)
        return items

    def sub(self, folder: str) -> "RemoteStorage":
        """A folder in the storage."""
        return RemoteStorage(f"{self.location}/{folder}", self._fs, self._at(folder))

    def _wait(self, place: str, own: str, claimant: Claimant) -> None:
        silence = Silence()
        while not self._created(place, own):
            found = self._claimed_by(place)
            if silence.seconds(found) > _LEASE_SECONDS and self._taken_over(place, own):
                return
            holder = Holder.read((found or b"").partition(b" ")[2])
            claimant.waits(place.removeprefix(f"{_CLAIMS}/"), holder)
            time.sleep(_POLL_SECONDS)

    def _created(self, place: str, own: str) -> bool:
        if self._claimed_by(place) is not None:
            return False
        with self._reaching(), contextlib.suppress(FileExistsError):
            if not self._objects:
                self._fs.makedirs(self._at(_CLAIMS), exist_ok=True)
            try:
                self._fs.pipe_file(self._at(place), own.encode(), mode="create")
            except Exception:  # each file system says in its own way that the file exists
                if self._claimed_by(place) is None:
                    raise
        return self._claimed_by(place) == own.encode()

    def _taken_over(self, place: str, own: str) -> bool:
        # Deleting a dead claim might hit that of another who had just done the same. Of several who
        # write over it, the last has it, and all of them know once they have waited.
        self.write(place, own.encode())
        time.sleep(_SETTLE_SECONDS)
        return self._claimed_by(place) == own.encode()

    def _claimed_by(self, place: str) -> bytes | None:
        try:
            return self.read(place, end=_CLAIM_BYTES)
        except FileNotFoundError:
            return None

    def _beat(self, place: str, own: str, beats: int) -> None:
        if self.read(place, end=_CLAIM_BYTES).startswith(
            own.encode()
        ):  # else another took over from one that slept
            self.write(place, f"{own}\n{beats}".encode())

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
        """Turn what a file system's own packages raise into one kind of error."""
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


def _protocols(filesystem: Any) -> set[str]:
    named = filesystem.protocol
    return {named} if isinstance(named, str) else set(named)


def write_whole(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file that is seen whole or not at all, also after a crash of the machine.

    Parameters
    ----------
    mode : of the file, less the umask

    Raises
    ------
    OSError
        If it can't be written; the message names it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid4().hex}{_TEMPORARY}"
    try:
        new = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(new, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:  # as a full disk's
            error.filename = str(path)
        temporary.unlink(missing_ok=True)
        raise
