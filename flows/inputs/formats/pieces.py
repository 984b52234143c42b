"""Rows of any number in pieces as files have them, and in batches of one size."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Piece:
    """Some rows of a file, which are read or passed over.

    Parameters
    ----------
    rows : int
        Their number.
    read : callable
        Reads them, some at a time; called before the next piece is asked for, if at all.
    """

    rows: int
    read: Callable[[], Iterable[pa.Table]]


@dataclass(frozen=True)
class Batch:
    """Rows that follow each other.

    Parameters
    ----------
    number : int
        Of the batch, from 0.
    begin : int
        How many rows are before it.
    rows : int
        How many rows it has.
    is_all : bool
        Whether there are no other rows, as far as the first batch tells.
    table : Table or None
        The rows; None if the batch isn't wanted.
    """

    number: int
    begin: int
    rows: int
    is_all: bool
    table: pa.Table | None


def in_batches(
    pieces: Iterable[Piece], size: int, is_wanted: Callable[[int], bool] = lambda number: True
) -> Iterator[Batch]:
    """Batches of `size` rows, of which the last may have fewer, from pieces of any size.

    Pieces without rows of a batch that is wanted, by its number, aren't read.
    """
    number, filled, held = 0, 0, list[pa.Table]()

    def batch() -> Batch:
        table = pa.concat_tables(held) if held and is_wanted(number) else None
        return Batch(number, number * size, filled, not number and filled < size, table)

    for rows, table in _segments(pieces, size, is_wanted):
        at = 0
        while at < rows:
            taken = min(size - filled, rows - at)
            if table is not None:
                held.append(table.slice(at, taken))
            at, filled = at + taken, filled + taken
            if filled == size:
                yield batch()
                number, filled, held = number + 1, 0, []
    if filled:
        yield batch()


def _segments(
    pieces: Iterable[Piece], size: int, is_wanted: Callable[[int], bool]
) -> Iterator[tuple[int, pa.Table | None]]:
    """Numbers of rows, and the rows where they may belong to a batch that is wanted."""
    begin = 0
    for piece in pieces:
        end = begin + piece.rows
        if any(map(is_wanted, range(begin // size, -(-end // size)))):
            yield from ((table.num_rows, table) for table in piece.read())
        else:
            yield piece.rows, None
        begin = end
