"""Successive halving: many candidates on a small sample, the better half on one twice as large."""

from collections.abc import Callable, Sequence
from math import ceil, inf, log2
from statistics import median
from typing import TypeVar

C = TypeVar("C")


def rounds_of(n_candidates: int) -> int:
    """Rounds until one is left."""
    return max(1, ceil(log2(max(1, n_candidates))))


def halve(
    candidates: Sequence[C],
    cost: Callable[[C, int], float | None],
    size: int,
    largest: int,
    turns: int = 3,
) -> list[tuple[C, int]]:
    """Candidates, the best first, each with the size of the sample that decided its place.

    Those that stayed longer come before those that left earlier.

    Parameters
    ----------
    cost : of a candidate on a sample of a size; None when the time is up
    size, largest : of the first sample, and of all there is
    turns : times that the last two are compared, alternately; the median of each counts
    """
    left: list[tuple[C, int]] = []
    decided = size
    while len(candidates) > 1:
        costs = _costs(candidates, cost, size, turns if len(candidates) == 2 else 1)
        if left and not all(costs):  # the larger sample wasn't finished: the smaller one decided
            break
        decided = size
        order = sorted(range(len(candidates)), key=lambda i: median(costs[i] or [inf]))
        keep = ceil(len(candidates) / 2)
        left = [*((candidates[i], size) for i in order[keep:]), *left]
        candidates = [candidates[i] for i in order[:keep]]
        size = min(2 * size, largest)
    return [*((candidate, decided) for candidate in candidates), *left]


def _costs(
    candidates: Sequence[C], cost: Callable[[C, int], float | None], size: int, turns: int
) -> list[list[float]]:
    """What each candidate cost in each turn; nothing more once the time is up."""
    costs: list[list[float]] = [[] for _ in candidates]
    for turn in range(turns):
        for candidate, own in list(zip(candidates, costs, strict=True))[:: -1 if turn % 2 else 1]:
            found = cost(candidate, size)
            if found is None:
                return costs
            own.append(found)
    return costs
