"""Output that fails no run: what a closed or full terminal doesn't take is lost."""

import errno
import io
import os
import sys
from typing import TextIO

_NO_READER = {errno.EPIPE, errno.EIO}


class _Lossy(io.FileIO):
    """A stream that never fails; it remembers the error if output was lost that had a reader."""

    lost: OSError | None = None

    def write(self, data: object) -> int:
        """Write what can be written; the result always says that it was all."""
        size = len(memoryview(data))  # type: ignore[arg-type]
        try:
            written = super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            self.lost = self.lost if error.errno in _NO_READER else error
            return size
        return size if written is None else written  # None: a full pipe that doesn't wait


_streams: list[_Lossy] = []


def make_lossy() -> None:
    """Have this process's standard streams take any output, as long as it lives."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # else prints go to the next file to be opened, such as a database
            os.open(os.devnull, os.O_RDWR)
    sys.stdout, sys.stderr = _lossy(1, sys.stdout), _lossy(2, sys.stderr)


def _lossy(number: int, before: TextIO | None) -> TextIO:
    raw = _Lossy(number, "w", closefd=False)
    _streams.append(raw)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(before, "encoding", None) or "utf-8",
        errors="backslashreplace",  # a terminal's encoding may lack letters of a file's name
        line_buffering=number == 2 or raw.isatty(),
    )


def check_output() -> None:
    """Raise an OSError where output is lost that had a reader."""
    sys.stdout.flush()
    for raw in _streams:
        if raw.lost is not None:
            reason = raw.lost.strerror
            raise OSError(f"expected standard output to take what was asked for; {reason}")


def plain(text: str) -> str:
    """A text with its control characters written out, so that a terminal only prints it.

    Names of files and labels of arms are others' texts. They may hold characters that turn the
    direction of writing, and bytes that are no text.
    """
    return "".join(
        sign if sign.isprintable() or sign in "\n\t" else sign.encode("unicode_escape").decode()
        for sign in text
    )


def say(message: str) -> None:
    """Print to standard error, also in a flow of the user's whose prints Prefect logs."""
    if sys.stderr is not None:
        sys.stderr.write(f"{plain(message)}\n")


def show(message: str) -> None:
    """Print to standard output."""
    print(plain(message))
