"""Parts of a scoring that wasn't finished: each is found again by what it was made of."""

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from flows.errors import InputError, UnreadableError
from flows.scoring.seen import Seen
from metalearners.files.file_locks import locking
from metalearners.files.regular_files import MOST_BYTES, TEMPORARY, read_regular, write_whole

_FORMAT = 3
_PART = re.compile(rf"\d+\.part|\.\d+\.part\.[0-9a-f]+{re.escape(TEMPORARY)}")


@dataclass(frozen=True)
class Part:
    """A batch of rows that was scored.

    Parameters
    ----------
    content : bytes
        Its rows in the output.
    seen : Seen
        What was seen in them.
    """

    content: bytes
    seen: Seen


class Parts:
    """The parts of an output in a hidden folder beside it.

    Parameters
    ----------
    folder : Path
        The folder.
    made_of : str
        Digest of all that parts are made of: others' parts are none.
    """

    def __init__(self, folder: Path, made_of: str) -> None:
        self._folder = folder
        self._made_of = made_of
        self._whole: dict[int, bool] = {}
        self._kept: set[int] = set()
        self._rows: dict[int, str] = {}

    @property
    def unfinished(self) -> Path:
        """Where the output is written before it appears."""
        return self._folder / "unfinished"

    def has(self, number: int, rows: str = "") -> bool:
        """Whether the part of a batch is there and whole.

        `rows` is the digest of its rows, where nothing else tells whether they have changed.
        """
        self._rows[number] = rows
        if number not in self._whole:
            self._whole[number] = self._read(number) is not None
        return self._whole[number]

    def find(self, number: int) -> Part:
        """The part of a batch; an OSError if it isn't whole any more."""
        part = self._read(number)
        if part is None:
            raise OSError(f"{self._path(number)} has changed")
        return part

    def keep(self, number: int, part: Part) -> None:
        """Keep the part of a batch, which appears whole."""
        head = {
            "made_of": self._of(number),
            "seen": part.seen.to_json(),
        }
        whole = json.dumps(head).encode() + b"\n" + part.content
        write_whole(self._path(number), sha256(whole).hexdigest().encode() + b"\n" + whole)
        self._kept.add(number)

    def remove(self) -> None:
        """Delete the parts that are of this scoring."""
        found = {number for number, is_whole in self._whole.items() if is_whole}
        for number in found | self._kept:
            self._path(number).unlink(missing_ok=True)

    def _read(self, number: int) -> Part | None:
        try:
            digest, _, whole = read_regular(self._path(number), MOST_BYTES).partition(b"\n")
            if digest != sha256(whole).hexdigest().encode():
                return None
            head, _, content = whole.partition(b"\n")
            about = json.loads(head)
            is_ours = about["made_of"] == self._of(number)
            seen = Seen.from_json(about["seen"])
        except (OSError, ValueError, LookupError, TypeError):
            return None
        return Part(content, seen) if is_ours else None

    def _of(self, number: int) -> str:
        return f"{self._made_of} {number} {self._rows.get(number, '')}"

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.part"


@contextlib.contextmanager
def parts_beside(
    output: Path, made_of: Mapping[str, Any], target: object = None
) -> Iterator[Parts]:
    """The parts of an output, which no other process has meanwhile; messages name the target.

    All are removed at the end. After an InputError, those of this scoring are, as its input must
    change; but none are after an UnreadableError, as the input may be readable again soon.

    Raises
    ------
    InputError
        If another process has them.
    """
    folder = output.parent / f".{output.name}.parts"
    digest = sha256(json.dumps([_FORMAT, made_of], sort_keys=True).encode()).hexdigest()
    with _owning(folder, output if target is None else target):
        parts = Parts(folder, digest)
        try:
            yield parts
        except InputError as error:
            if not isinstance(error, UnreadableError):
                parts.remove()
            _remove(folder, of_others=False)
            raise
        _remove(folder, of_others=True)


@contextlib.contextmanager
def _owning(folder: Path, target: object) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        # Another scoring may remove the folder before it is locked: then it is made again.
        if not (_is_taken(folder, stack) or _is_taken(folder, stack)):
            raise InputError(
                "--output: expected one that no other process writes; found a process that scores "
                f"to {target} too. Wait until it has ended, or choose another name."
            )
        yield


def _is_taken(folder: Path, stack: contextlib.ExitStack) -> bool:
    """Whether the folder, made where there is none, is locked until the stack ends."""
    is_new = False
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        is_new = True
    with contextlib.suppress(FileNotFoundError):  # removed meanwhile
        if not is_new:
            _check_maker(folder)
        return stack.enter_context(locking(folder))
    return False


def _check_maker(folder: Path) -> None:
    """Refuse a folder that others may have filled: its parts would become rows of the output."""
    about = folder.lstat()
    is_ours = stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid()
    if not is_ours or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InputError(
            f"--output: expected {folder}, where finished batches are kept, to be a folder of this "
            "user to which nobody else may write; found another. Delete it, or choose another name."
        )


def _remove(folder: Path, of_others: bool) -> None:
    """Delete what is unfinished, others' parts if wanted, and the folder if it is empty."""
    parts = [path for path in folder.iterdir() if of_others and _PART.fullmatch(path.name)]
    for path in [folder / "unfinished", *parts]:
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()
