"""Bytes by name in a folder, whole or not at all, and claims that are locks on its files."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from metalearners.cache.claims import Claimant, Holder, Silence, beating
from metalearners.cache.layout import CLAIMS, OWN_CLAIM
from metalearners.cache.storage import ANYBODY, Item, is_left_over
from metalearners.files.file_locks import is_at, lock_when_free, try_lock
from metalearners.files.ownership import make_private
from metalearners.files.regular_files import (
    MOST_BYTES,
    create_whole,
    open_regular,
    read_regular,
    write_whole,
)

# A network's file system may tell a file's time of change a minute late.
_SILENT_SECONDS = 90.0
_LOOK_SECONDS = 0.2


class FolderStorage:
    """Files of a folder, which is made for its owner alone.

    A claim is a lock on a file, so the kernel ends it with its process, however that ends. Its
    holder touches the file every few seconds. A holder that was stopped doesn't: after
    `_SILENT_SECONDS`, by the clock of a process that waits, that process takes the claim. Both may
    then do the same work.
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

    def create(self, name: str, content: bytes) -> None:
        """Write a file under a temporary name, and give it its own if no file has that."""
        self._make_folder_of(name)
        create_whole(self.folder / name, content, mode=0o644)

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
    def claim(self, name: str, claimant: Claimant = ANYBODY) -> Iterator[None]:
        """Lock a file of that name, and delete it in the end."""
        path = self.folder / CLAIMS / name
        try:
            self._make_folder_of(f"{CLAIMS}/{name}")
            lock = _open_locked(path, claimant)
        except OSError:  # a full disk, or one that can only be read
            yield
            return
        try:
            with beating(lambda: os.utime(lock)):
                yield
        finally:
            with contextlib.suppress(OSError):
                if is_at(lock, path):  # else another process took over, as this one stood still
                    path.unlink()
            os.close(lock)

    def tidy(self) -> list[Item]:
        """Delete old temporary files, and claims that no process holds."""
        return [item for item in self.items() if self._delete_left_over(item)]

    def _delete_left_over(self, item: Item) -> bool:
        if OWN_CLAIM.fullmatch(item.name):
            return _delete_if_unlocked(self.folder / item.name)
        if is_left_over(item):
            self.remove(item.name)
            return True
        return False

    def sub(self, folder: str) -> "FolderStorage":
        """A folder in the folder."""
        with contextlib.suppress(FileExistsError):
            self._make_folder_of(folder)
        return FolderStorage(self.folder / folder)

    def _make_folder_of(self, name: str) -> None:
        """Make the folders of a name, as open to others as the storage's, at most."""
        make_private(self.folder)  # it may have been deleted meanwhile
        mode = stat.S_IMODE(self.folder.stat().st_mode) & 0o777
        for folder in reversed(PurePosixPath(name).parents[:-1]):
            (self.folder / folder).mkdir(mode=mode, exist_ok=True)


def _open_locked(path: Path, claimant: Claimant) -> int:
    """The file at a path, open and locked; its content names the claimant as the holder."""
    while True:
        # A link would make a file elsewhere, and a fifo or a device might wait.
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        try:
            if _wait_for_lock(lock, path, claimant):
                os.ftruncate(lock, 0)
                os.pwrite(lock, claimant.holder().line().encode(), 0)
                return lock
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)  # its last holder deleted that file, or was silent for too long


def _wait_for_lock(lock: int, path: Path, claimant: Claimant) -> bool:
    """Wait for the lock of an open file; whether that file is still the one at its path."""
    try:
        if try_lock(lock):
            return is_at(lock, path)
    except OSError:  # a file system without locks
        path.unlink(missing_ok=True)
        raise
    locked, silence = lock_when_free(lock), Silence()
    while not locked.wait(_LOOK_SECONDS):
        if not is_at(lock, path):
            return False
        if silence.seconds(os.fstat(lock).st_mtime_ns) > _SILENT_SECONDS:
            path.unlink(missing_ok=True)
            return False
        claimant.waits(path.name, Holder.read(os.pread(lock, 1000, 0), _SILENT_SECONDS))
    return is_at(lock, path)


def _delete_if_unlocked(path: Path) -> bool:
    """Delete a file if nobody holds its lock; whether it was deleted."""
    with contextlib.suppress(OSError), open_regular(path) as file:
        if try_lock(file) and is_at(file.fileno(), path):
            path.unlink()
            return True
    return False
