"""Checks of folders and files to write to, before there is anything to write; JSON files."""

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows.errors import InputError
from metalearners.files.regular_files import read_regular, write_whole

_ROOM = 1 << 20  # bytes that a database or a report needs to grow
_MOST_JSON_BYTES = 256 << 20


def check_folder(folder: str | Path, where: str) -> None:
    """Make a folder if it doesn't exist; raise an InputError if it can't be written to."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"{where}: expected a folder that can be written to; {folder}: {error.strerror}. "
            "Choose another."
        ) from None


def check_place(folder: Path, where: str) -> None:
    """Raise an InputError if a folder can't be written to, or couldn't be made; makes none."""
    check_folder(nearest_place(folder), where)


def nearest_place(path: Path) -> Path:
    """The path if something is there, else the nearest folder above it."""
    return next(place for place in (path, *path.absolute().parents) if os.path.lexists(place))


@contextlib.contextmanager
def undone_if_refused(*folders: str) -> Iterator[None]:
    """Remove the folders, and those above them, that are made within, where an InputError ends it.

    One that holds something stays.
    """
    made = [place for folder in folders for place in _absent(Path(folder))]
    try:
        yield
    except InputError:
        for place in made:
            with contextlib.suppress(OSError):
                place.rmdir()
        raise


def _absent(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):  # such as a name that is too long
        return [place for place in (folder, *folder.parents) if not place.exists()]
    return []


def is_full(folder: Path) -> bool:
    """Whether a folder exists and has no space left."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_ROOM))
    except OSError as error:
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return False


def check_file(path: Path, where: str) -> None:
    """Raise an InputError if a file can't be written, or a folder or a device has its name."""
    if ":/" in str(path) or (path.exists() and not path.is_file()):
        raise InputError(
            f"{where}: expected the name of a file on this machine; {path} is none. Choose another."
        )
    check_folder(path.parent, where)


def read_json(path: Path) -> dict[str, Any]:
    """The plain values of a JSON file; an OSError or ValueError where it is none."""
    content: dict[str, Any] = json.loads(read_regular(path, _MOST_JSON_BYTES))
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write plain values to a JSON file, which appears whole."""
    write_whole(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())
