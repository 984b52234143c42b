"""Whether memory takes the rows of files: told before they are read."""

from collections.abc import Callable, Generator, Iterable, Mapping
from itertools import accumulate
from typing import BinaryIO

import pyarrow as pa

from flows.errors import InputError
from metalearners.workers.machine import machine

Open = Callable[[str], BinaryIO]
"""Opens a file for reading bytes."""
Check = Callable[[Callable[[Open], Generator[int]]], None]
"""Refuses rows by what reads their files in blocks, and tells the bytes that each block takes."""

NAME_FEWER = "Name fewer columns"

_OFFSET_BITS = 32  # of a value of no fixed length, such as a text, at least
# As a rule at most: only for columns that are nearly empty it may be more.
_DENSE = 4  # bytes of memory for a byte of a file
_PACKED = 10  # bytes for a byte of a compressed file


def least_bytes(rows: int, types: list[pa.DataType]) -> int:
    """Bytes that columns of some types take in memory at least."""
    return rows * sum(map(_bits, types)) // 8


def _bits(type: pa.DataType) -> int:
    try:
        return int(type.bit_width)
    except ValueError:  # it has no fixed length
        return _OFFSET_BITS


def may_not_fit(sizes: Mapping[str, int], is_packed: Callable[[str], bool]) -> bool:
    """Whether files of some bytes may take more memory than is free, so that it's worth a count."""
    unpacked = sum(size * (_PACKED if is_packed(file) else 1) for file, size in sizes.items())
    return _DENSE * unpacked > machine().memory


def check_room(
    source: str,
    parts: Iterable[int],
    share: Callable[[], float] = lambda: 1.0,
    fewer: str = NAME_FEWER,
) -> None:
    """Refuse rows whose columns take more bytes than are free on this machine.

    Parameters
    ----------
    source : str
        What they are called.
    parts : iterable of int
        Bytes that their parts take at least. None is asked for after those that are too many.
    share : callable
        Tells how much of the source these parts are.
    fewer : str
        What makes the columns fewer.

    Raises
    ------
    InputError
        With the estimate.
    """
    free = machine().memory
    for least in accumulate(parts):
        if least > free:
            # At most, as they are read ahead.
            part = f"at most the first {100 * share():.3g} % of " if share() < 1 else ""
            raise InputError(
                f"Expected rows that fit into memory, of which {free / 1e9:.1f} GB are free; the "
                f"columns of {part}{source} take at least {least / 1e9:.1f} GB. {fewer}, take a "
                "sample of the rows, or use a machine with more memory."
            )
