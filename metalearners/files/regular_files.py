"""Reading and writing files where others may have put odd ones: devices, fifos, endless files."""

import errno
import os
import stat
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from uuid import uuid4

MOST_BYTES = 16 << 30  # of a fit or a stored learner; nothing larger is kept or read

TEMPORARY = ".tmp"
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}  # of file systems


class OddFileError(OSError):
    """A file isn't regular, or is too large."""


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file, or a link to one, for reading.

    Raises OddFileError if it is a folder, a fifo, a socket, a device, or a link that leads nowhere
    but to itself.
    """
    try:
        _check_regular(path.stat(), path)  # first: to open a device may do something
        # Without O_NONBLOCK, this would wait for the writer of a fifo that was put there just now.
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _odd(errno.ELOOP, path) from None
        raise
    try:
        _check_regular(os.fstat(file.fileno()), path)
    except OSError:
        file.close()
        raise
    return file


def read_regular(path: Path, most: int, end: int | None = None) -> bytes:
    """All bytes of a regular file of `most` bytes at most, or the first `end` of one of any size.

    Raises OddFileError if it is no regular file, or larger.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if end is None and size > most:
            raise _odd(errno.EFBIG, path)
        # Files of /proc have the size 0, and some of them have no end.
        return file.read(size if end is None else min(end, size))


def _check_regular(about: os.stat_result, path: Path) -> None:
    if stat.S_ISDIR(about.st_mode):
        raise _odd(errno.EISDIR, path)
    if not stat.S_ISREG(about.st_mode):
        raise OddFileError(errno.EINVAL, "not a regular file", str(path))


def _odd(number: int, path: Path) -> OddFileError:
    return OddFileError(number, os.strerror(number), str(path))


def write_whole(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file; readers see all of it or nothing, also after a crash of the machine.

    Its mode is `mode` less the umask.

    Raises OSError if it can't be written; the message names it.
    """
    _write_whole(path, content, mode, os.replace)


def create_whole(path: Path, content: bytes, mode: int = 0o666) -> None:
    """`write_whole` for a file that doesn't exist: of processes that create it at once, one does.

    Raises FileExistsError if it exists.
    """
    _write_whole(path, content, mode, _name_new)


def _name_new(temporary: Path, path: Path) -> None:
    """Give a file a name that no other has."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Two processes may both get through here; claims keep them apart.
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        os.replace(temporary, path)
    else:
        temporary.unlink(missing_ok=True)


def _write_whole(path: Path, content: bytes, mode: int, name: Callable[[Path, Path], None]) -> None:
    """Write a file under a temporary name, and have it named."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid4().hex}{TEMPORARY}"
    try:
        new = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(new, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        name(temporary, path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:  # such as that of a full disk
            error.filename = str(path)
        temporary.unlink(missing_ok=True)
        raise
