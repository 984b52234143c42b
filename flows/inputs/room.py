"""Whether memory takes the rows of a source: told before they are read."""

import pyarrow as pa

from flows.errors import InputError
from flows.fitting.machine import machine

_WHILE_READ = 2  # the columns of a file, and the same as a frame; fits take as much again
_OFFSET_BITS = 32  # of a value of no fixed length, such as a text, at least
# Bytes of a file, by those that a value takes in memory: few numbers are written shorter.
_IN_FILE = {"text": 2, "json lines": 4, "feather": 1}


def bytes_of_rows(rows: int, types: list[pa.DataType]) -> int:
    """Bytes that columns of some types take in memory at least."""
    return rows * sum(map(_bits, types)) // 8


def bytes_of_file(size: int, format: str, share: float) -> int:
    """Bytes that a share of a file's columns takes in memory at least, by the file's size."""
    return int(size * share / _IN_FILE[format])


def _bits(type: pa.DataType) -> int:
    try:
        return int(type.bit_width)
    except ValueError:  # it has no fixed length
        return _OFFSET_BITS


def check_room(source: str, least: int, free: int | None = None) -> None:
    """Refuse rows whose columns take more bytes, twice over, than are free on this machine.

    Raises InputError with the estimate.
    """
    free = machine().memory if free is None else free
    if _WHILE_READ * least <= free:
        return
    raise InputError(
        f"Expected rows that fit into memory, of which {free / 1e9:.1f} GB are free; the columns "
        f"of {source} take at least {least / 1e9:.1f} GB, and twice that while they are read. "
        "Name fewer columns, take a sample of the rows, or use a machine with more memory."
    )
