"""Whether memory takes the rows of a file that states them: told before they are read."""

import pyarrow as pa

from flows.errors import InputError
from metalearners.workers.machine import machine

_OFFSET_BITS = 32  # of a value of no fixed length, such as a text, at least


def least_bytes(rows: int, types: list[pa.DataType]) -> int:
    """Bytes that columns of some types take in memory at least."""
    return rows * sum(map(_bits, types)) // 8


def _bits(type: pa.DataType) -> int:
    try:
        return int(type.bit_width)
    except ValueError:  # it has no fixed length
        return _OFFSET_BITS


def check_room(source: str, least: int) -> None:
    """Refuse rows whose columns take more bytes than are free on this machine.

    Raises InputError with the estimate.
    """
    free = machine().memory
    if least <= free:
        return
    raise InputError(
        f"Expected rows that fit into memory, of which {free / 1e9:.1f} GB are free; the columns "
        f"of {source} take at least {least / 1e9:.1f} GB. Name fewer columns, take a sample of the "
        "rows, or use a machine with more memory."
    )
