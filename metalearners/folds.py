"""Who is in which fold: drawn from a row's or group's identity, never from its position."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from metalearners._typing import Array
from metalearners.arguments import count, number
from metalearners.containers import check_same_rows

Split: TypeAlias = tuple[Array, Array]
"""Row positions to train on, and to predict."""

Splits: TypeAlias = Sequence[Split]


def draw_folds(strata: Array, n_folds: int, seed: int, groups: Array | None = None) -> Array:
    """A fold for each row, stratified, with a group's rows together.

    Groups (rows, where none are given) are ordered by the stratum most of their rows belong to,
    large ones first, ties by a hash of their identity and the seed, and dealt round-robin. So
    permuted rows get permuted folds, wherever groups are given.

    Parameters
    ----------
    strata : (n,) codes of what is to be balanced, such as arm x class
    groups : (n,) labels; rows of one group share a fold

    Returns
    -------
    (n,) integers from 0 to ``n_folds - 1``

    Raises
    ------
    ValueError
        If `n_folds` is no whole number of 2 or more, or a row has no stratum.
    """
    count("n_folds", n_folds, least=2)
    return _deal(strata, groups, seed, "folds") % n_folds


def draw_holdout(strata: Array, share: float, seed: int, groups: Array | None = None) -> Array:
    """Rows to hold out, drawn like the folds.

    Returns
    -------
    (n,) booleans; in each stratum about `share` of the groups

    Raises
    ------
    ValueError
        If `share` is no number from 0 to below 1, or a row has no stratum.
    """
    allowed = pd.Interval(0, 1, closed="left")
    number(share, allowed, "Expected a share to hold out below 1", "Pass one such as 0.3.")
    turn = _deal(strata, groups, seed, "holdout")
    # Bresenham's rule: of the first m of a stratum, floor(m * share) are held out.
    return np.floor((turn + 1) * share + 1e-9) > np.floor(turn * share + 1e-9)


def draw_half(strata: Array, seed: int, groups: Array | None = None) -> Array:
    """Half of each stratum's groups (rows, where none are given), drawn at random.

    Sizes play no part, unlike in folds: where each group has a size of its own, these would leave
    nothing to chance. Of an odd number, odd seeds draw the smaller half and even seeds the larger
    one, so that many draws in a row are half on average.

    Returns
    -------
    (n,) booleans
    """
    return _deal(strata, groups, seed, "half", by_size=False) % 2 == seed % 2


def forward_chaining(time: Any, n_folds: int) -> list[Split]:
    """Folds that follow time: each block of time points is predicted from those before it.

    The points are cut into ``n_folds + 1`` blocks with about as many rows each; rows of one point
    stay together. The first block's rows are only trained on.

    Parameters
    ----------
    time : (n,) when each row was observed: numbers, dates or texts that sort as time does

    Returns
    -------
    (train, test) row positions, one pair a fold; `cv` of a learner's `fit` takes them

    Raises
    ------
    ValueError
        If a row has no time, or there are too few different ones.

    Examples
    --------
    >>> [(train.tolist(), test.tolist()) for train, test in forward_chaining([3, 1, 1, 2], 2)]
    [([1, 2], [3]), ([1, 2, 3], [0])]
    """
    point, points = pd.factorize(np.asarray(time), sort=True)
    n_points, n_blocks = len(points), n_folds + 1
    if n_folds < 1 or n_points < n_blocks or (point < 0).any():
        raise ValueError(
            f"Expected a time for each row, and one more different times than folds or more; found "
            f"{n_points} for {n_folds} folds, and {int((point < 0).sum())} rows without."
        )
    rows, order = np.bincount(point), np.arange(n_points)
    block = ((rows.cumsum() - rows / 2) * n_blocks // len(point)).astype(int)
    # From one point to the next by one block at most, and up to the last: none may stay empty.
    ahead = np.maximum(block, order + n_blocks - n_points) - order
    own = (order + np.minimum.accumulate(np.minimum(ahead, 0)))[point]
    return [(np.flatnonzero(own < k), np.flatnonzero(own == k)) for k in range(1, n_blocks)]


class FoldSplits(Sequence[Split]):
    """(train, test) positions for each fold of a fold column; negative folds take no part.

    Training rows are put together when they are asked for: kept, they would weigh as much as
    features do.

    Parameters
    ----------
    folds : (n,) whole numbers
    """

    def __init__(self, folds: Array) -> None:
        self._folds = folds.astype(np.min_scalar_type(-int(folds.max()) - 1))
        self._tests = [
            np.flatnonzero(folds == k).astype(np.int32) for k in range(int(folds.max()) + 1)
        ]

    def __len__(self) -> int:
        return len(self._tests)

    def __getitem__(self, k: Any) -> Any:
        if isinstance(k, slice):
            return [self[i] for i in range(len(self))[k]]
        test = self._tests[k]
        return np.flatnonzero((self._folds >= 0) & (self._folds != range(len(self))[k])), test


def _deal(
    strata: Array, groups: Array | None, seed: int, purpose: str, by_size: bool = True
) -> Array:
    """Each row's turn: 0, 1, 2, ... over the groups, stratum after stratum, one turn a group."""
    check_same_rows(strata=strata, groups=groups)
    codes = pd.factorize(strata, sort=True)[0]
    if (codes < 0).any():
        raise ValueError(
            f"Expected a stratum for each row; found {int((codes < 0).sum())} missing of "
            f"{len(codes)}. Leave those rows out."
        )
    if groups is None:  # each row is a group: what is below would say so at length
        member = identity = np.arange(len(strata))
        stratum, size = codes, np.ones(len(strata), dtype=np.int8)
    else:
        member, identity = pd.factorize(groups)
        stratum, size = _majority(member, codes, len(identity))
    first = -size if by_size else np.zeros_like(size)
    ranked = np.lexsort((_hash(np.asarray(identity), f"{purpose}:{seed}"), first, stratum))
    turn = np.empty(len(identity), dtype=np.int64)
    turn[ranked] = np.arange(len(identity))
    return turn[member]


def _majority(member: Array, strata: Array, n_groups: int) -> tuple[Array, Array]:
    """For each group, the stratum most of its rows belong to, and its number of rows."""
    n_strata = int(strata.max()) + 1
    pairs, counts = np.unique(member * n_strata + strata, return_counts=True)
    owner, value = np.divmod(pairs, n_strata)
    ranked = np.lexsort((-value, counts, owner))
    stratum = np.empty(n_groups, dtype=np.int64)
    stratum[owner[ranked]] = value[ranked]  # the last written is a group's most frequent
    return stratum, np.bincount(member, minlength=n_groups)


def _hash(identity: Array, salt: str) -> Array:
    # A stable hash is wanted (the same on each machine and in each process), mixed with the salt.
    if identity.dtype.kind in "US":  # pandas hashes texts as objects only
        identity = identity.astype(object)
    own = pd.util.hash_array(identity, categorize=False)
    mixed = pd.util.hash_array(np.array([salt], dtype=object))[0]
    return pd.util.hash_array(own ^ mixed)
