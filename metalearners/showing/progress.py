"""How far a loop is, in one line of a terminal or a notebook that is written over."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

T = TypeVar("T")

_BETWEEN = 0.1  # seconds between two lines, at least


def counted(items: Iterable[T], total: int, name: str, shown: bool = True) -> Iterator[T]:
    """The items; meanwhile a line says how many of them are done, and how long the others take.

    An item is done when the next one is asked for. The line is on standard error, in a notebook on
    standard output. A file or a pipe gets only the last one.

    Parameters
    ----------
    items : iterable
    total : int
        Their number.
    name : str
        What they are, such as ``fits``.
    shown : bool
        Whether there is a line at all.
    """
    stream = sys.stdout if _in_notebook() else sys.stderr
    if not shown or not total or stream is None:
        yield from items
        return
    line = _Line(stream, total, name)
    try:
        for item in items:
            yield item
            line.count()
    finally:
        line.end()


class _Line:
    def __init__(self, stream: TextIO, total: int, name: str) -> None:
        self._stream, self._total, self._name = stream, total, name
        self._written_over = stream.isatty() or _in_notebook()
        self._done, self._width = 0, 0
        self._begun, self._told = time.monotonic(), -_BETWEEN
        self._tell()

    def count(self) -> None:
        """One more is done."""
        self._done += 1
        if time.monotonic() - self._told >= _BETWEEN:
            self._tell()

    def end(self) -> None:
        """Leave the line as it is now."""
        self._tell()
        self._stream.write(f"{'' if self._written_over else self._text()}\n")
        self._stream.flush()

    def _tell(self) -> None:
        if self._written_over:
            text = self._text()
            self._stream.write(f"\r{text:<{self._width}}")  # as wide as the one that it hides
            self._stream.flush()
            self._width, self._told = len(text), time.monotonic()

    def _text(self) -> str:
        seconds = time.monotonic() - self._begun
        text = f"{self._name}: {self._done} of {self._total}, {seconds:.1f} s"
        if 0 < self._done < self._total:
            text += f", about {seconds / self._done * (self._total - self._done):.0f} s left"
        return text


def _in_notebook() -> bool:
    return type(sys.stdout).__module__.startswith("ipykernel.")
