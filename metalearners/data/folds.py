"""Who is in which fold: drawn from a row's or group's identity, never from its position."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from metalearners._typing import Array
from metalearners.data.arguments import count, number
from metalearners.data.containers import check_same_rows

Split: TypeAlias = tuple[Array, Array]
"""Row positions to train on, and to predict."""

Splits: TypeAlias = Sequence[Split]


def draw_folds(strata: Array, n_folds: int, seed: int, groups: Array | None = None) -> Array:
    """A fold for each row, stratified, with a group's rows together.

    Groups (rows, where none are given) are ordered by the stratum most of their rows belong to,
    large ones first, and dealt round-robin; a hash of their identity and the seed decides who of
    those that are next to each other in size gets which fold. So permuted rows get permuted
    folds, wherever groups are given, and strata of other names the same folds.

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
    units = _Units.of(strata, groups, f"folds:{seed}")
    turn = units.turns(-units.size)
    if groups is not None:  # rows are all of one size
        # A round of turns has each fold once: within a stratum's part of it, chance says which.
        turn = units.turns(turn // n_folds)
    return turn[units.member] % n_folds


def draw_holdout(strata: Array, share: float, seed: int, groups: Array | None = None) -> Array:
    """Rows to hold out: a random sample of the groups (rows, where none are given).

    Each stratum's groups are drawn with equal probabilities, whatever their size. So the share of
    the rows is `share` on average over seeds, and another one in a draw.

    Returns
    -------
    (n,) booleans; ``round(share * G)`` of the G groups, in each stratum about `share` of them

    Raises
    ------
    ValueError
        If `share` is no number from 0 to below 1, or a row has no stratum.
    """
    allowed = pd.Interval(0, 1, closed="left")
    number(share, allowed, "Expected a share to hold out below 1", "Pass one such as 0.3.")
    units = _Units.of(strata, groups, f"holdout:{seed}")
    turn, expected = units.turns()[units.member], share * len(units.size)
    # Systematic sampling: of the first m of all, floor(m * share + start) are held out, where
    # chance says where to start, among the starts that hold out the nearest whole number of all.
    ahead = round(expected) - expected
    least, most = max(ahead, 0) + 1e-9, min(1 + ahead, 1) - 1e-9
    start = least + (most - least) * float(_hash(np.zeros(1), f"start:{seed}")[0]) / 2**64
    return np.floor((turn + 1) * share + start) > np.floor(turn * share + start)


def draw_half(strata: Array, seed: int, groups: Array | None = None) -> Array:
    """Half of each stratum's groups (rows, where none are given), drawn at random.

    Sizes play no part, unlike in folds: where each group has a size of its own, these would leave
    nothing to chance. Of an odd number, odd seeds draw the smaller half and even seeds the larger
    one, so that many draws in a row are half on average.

    Returns
    -------
    (n,) booleans
    """
    units = _Units.of(strata, groups, f"half:{seed}")
    return units.turns()[units.member] % 2 == seed % 2


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


@dataclass(frozen=True, eq=False)
class _Units:
    """What is drawn: G groups of rows, or rows.

    Parameters
    ----------
    member : (n,) each row's unit
    stratum : (G,) whole numbers, in an order that hashes decide, never the names of strata
    size : (G,) numbers of rows
    key : (G,) hashes of identity and seed
    """

    member: Array
    stratum: Array
    size: Array
    key: Array

    @classmethod
    def of(cls, strata: Array, groups: Array | None, salt: str) -> "_Units":
        """Units of rows, refused where a row has no stratum."""
        check_same_rows(strata=strata, groups=groups)
        codes = pd.factorize(strata)[0]
        if (codes < 0).any():
            raise ValueError(
                f"Expected a stratum for each row; found {int((codes < 0).sum())} missing of "
                f"{len(codes)}. Leave those rows out."
            )
        if groups is None:  # each row is a group: what is below would say so at length
            member = identity = np.arange(len(codes))
            size: Array = np.ones(len(codes), dtype=np.int8)
        else:
            member, identity = pd.factorize(groups)
            size = np.bincount(member, minlength=len(identity))
            codes = _majority(member, codes)
        key = _hash(np.asarray(identity), salt)
        by_key = np.argsort(key, kind="stable")
        stratum = np.empty(len(key), dtype=np.int64)
        stratum[by_key] = pd.factorize(codes[by_key])[0]
        return cls(member, stratum, size, key)

    def turns(self, first: Array | None = None) -> Array:
        """(G,) turns: 0, 1, 2, ... over the units, stratum after stratum.

        Within a stratum units come by their value in `first`, (G,), and then by chance.
        """
        order = (self.key, self.stratum) if first is None else (self.key, first, self.stratum)
        turn = np.empty(len(self.key), dtype=np.int64)
        turn[np.lexsort(order)] = np.arange(len(turn))
        return turn


def _majority(member: Array, strata: Array) -> Array:
    """For each group, a number that names the stratum that most of its rows belong to.

    Groups whose rows are as many of several strata are a stratum of their own, one for each set:
    the first of the set would be one by its name.
    """
    n_strata = int(strata.max()) + 1
    pairs, counts = np.unique(member * n_strata + strata, return_counts=True)
    owner, value = np.divmod(pairs, n_strata)
    starts = np.unique(owner, return_index=True)[1]
    most = np.maximum.reduceat(counts, starts)
    names = np.where(counts == most[owner], _hash(value, "stratum"), np.uint64(0))
    return np.asarray(np.bitwise_xor.reduceat(names, starts))


def _hash(identity: Array, salt: str) -> Array:
    # A stable hash is wanted (the same on each machine and in each process), mixed with the salt.
    if identity.dtype.kind in "US":  # pandas hashes texts as objects only
        identity = identity.astype(object)
    own = pd.util.hash_array(identity, categorize=False)
    mixed = pd.util.hash_array(np.array([salt], dtype=object))[0]
    return pd.util.hash_array(own ^ mixed)
