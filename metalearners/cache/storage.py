"""The storage protocol: bytes by name, in a folder or at any place that fsspec reaches."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from metalearners.cache.claims import Claimant
from metalearners.cache.layout import OWN_TEMPORARY
from metalearners.files.regular_files import MOST_BYTES

ANYBODY = Claimant()
_WRITING_SECONDS = 3600.0  # nobody writes to a temporary file for longer


@dataclass(frozen=True)
class Item:
    """A file of a storage."""

    name: str  # with "/" between folders
    size: int  # in bytes
    modified: float | None = None  # seconds since the epoch; None where the place doesn't say


class Storage(Protocol):
    """Bytes by name, shared between processes.

    All methods raise an OSError where the place fails, FileNotFoundError for a name without bytes.
    """

    location: str

    def read(self, name: str, end: int | None = None, most: int = MOST_BYTES) -> bytes:
        """The bytes under a name, or the first `end` of them.

        Raises OddFileError if all are asked for, and are more than `most`; or if there is no
        regular file.
        """

    def write(self, name: str, content: bytes) -> None:
        """Put bytes under a name; a reader sees all of them or those from before."""

    def create(self, name: str, content: bytes) -> None:
        """Put bytes under a name that has none; of processes that do so at once, one succeeds.

        Raises FileExistsError if there are any. A few places can't decide between two processes
        (see `claim`): both may succeed, and a reader sees the bytes of the later one.
        """

    def writing(self, name: str) -> AbstractContextManager[Path]:
        """A local file to write to, whose bytes are under the name when the context ends."""

    def local(self, name: str, folder: Path) -> Path:
        """A local file with the bytes of a name: the storage's own, or a copy in a folder."""

    def remove(self, name: str) -> None:
        """Delete the bytes under a name, if there are any."""

    def items(self, folder: str = "") -> Iterator[Item]:
        """All files in a folder of the storage and below."""

    def claim(self, name: str, claimant: Claimant = ANYBODY) -> AbstractContextManager[None]:
        """Wait until no other process or thread holds a claim, and hold it in the context.

        A holder without a sign of life for a while loses its claim. Where nothing can be written
        there are no claims, and no wait.
        """

    def tidy(self) -> list[Item]:
        """Delete what killed processes left, and no other files; returns what was deleted."""

    def sub(self, folder: str) -> "Storage":
        """A folder of the storage as a storage."""


def is_left_over(item: Item) -> bool:
    """Whether an item is a temporary file that nobody can still be writing to."""
    if item.modified is None or not OWN_TEMPORARY.fullmatch(item.name):
        return False
    return time.time() - item.modified > _WRITING_SECONDS
