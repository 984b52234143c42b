"""Where bytes lie under a name, whole or not at all: a folder, or any place that fsspec reaches."""

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from metalearners.cache.claims import Claimant
from metalearners.cache.regular_files import MOST_BYTES

CLAIMS = "claims"
ANYBODY = Claimant()
# What is made here, told from files of others that may lie in the same place.
_OWN_TEMPORARY = re.compile(r".*\.[0-9a-f]{32}\.tmp")
OWN_CLAIM = re.compile(rf"{CLAIMS}/[a-z-]*[0-9a-f]{{32,40}}")


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
        self, name: str, claimant: Claimant = ANYBODY
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


def is_older(item: Item, age: float) -> bool:
    """Whether an item is a temporary file that wasn't written to for so many seconds."""
    known = _OWN_TEMPORARY.fullmatch(item.name) and item.modified is not None
    return bool(known) and time.time() - (item.modified or 0.0) > age
