"""Draws of folds and of held-out rows; a group's label decides, never the position of its rows."""

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

    Groups (or rows, without groups) are sorted by the stratum of most of their rows, large ones
    first, and dealt round-robin. A hash of label and seed decides which of the groups that are
    next to each other in size gets which fold. So with groups, permuted rows get permuted folds;
    and other names of strata give the same folds.

    Parameters
    ----------
    strata : Array
        (n,) codes to balance, such as arm x class.
    groups : Array, optional
        (n,) labels; rows of one group share a fold.

    Returns
    -------
    Array
        (n,) integers from 0 to ``n_folds - 1``.

    Raises
    ------
    ValueError
        If `n_folds` isn't a whole number of 2 or more, or a row has no stratum.
    """
    count("n_folds", n_folds, least=2)
    units = _Units.of(strata, groups, f"folds:{seed}")
    turn = units.turns(None if groups is None else -units.size)
    if groups is not None:
        # A round of turns has each fold once; within a stratum's part of it, chance decides.
        turn = units.turns(turn // n_folds)
    return turn[units.member] % n_folds


def draw_holdout(strata: Array, share: float, seed: int, groups: Array | None = None) -> Array:
    """Rows to hold out: a random sample of the groups (or rows, without groups).

    Groups of all sizes have the same probability, so that the share of the rows is `share` on
    average over seeds, not in each draw.

    Returns
    -------
    Array
        (n,) booleans; true for ``round(share * G)`` of the G groups, in each stratum about `share`
        of them.

    Raises
    ------
    ValueError
        If `share` isn't a number from 0 to below 1, or a row has no stratum.
    """
    allowed = pd.Interval(0, 1, closed="left")
    number(share, allowed, "Expected a share to hold out below 1", "Pass one such as 0.3.")
    units = _Units.of(strata, groups, f"holdout:{seed}")
    turn, expected = units.turns()[units.member], share * len(units.size)
    # Systematic sampling holds out floor(m * share + start) of the first m. The start is random
    # among those for which the total is the nearest whole number.
    ahead = round(expected) - expected
    least, most = max(ahead, 0) + 1e-9, min(1 + ahead, 1) - 1e-9
    start = least + (most - least) * float(_hash(np.zeros(1), f"start:{seed}")[0]) / 2**64
    return np.floor((turn + 1) * share + start) > np.floor(turn * share + start)


def draw_half(strata: Array, seed: int, groups: Array | None = None) -> Array:
    """A random half of each stratum's groups (or rows, without groups), as (n,) booleans.

    Unlike in folds, sizes don't matter: if all were different, they would leave nothing to chance.
    Of an odd number, odd seeds draw the smaller half and even seeds the larger half, so that
    consecutive seeds draw half on average.
    """
    units = _Units.of(strata, groups, f"half:{seed}")
    return units.turns()[units.member] % 2 == seed % 2


def forward_chaining(time: Any, n_folds: int, groups: Any = None) -> list[Split]:
    """Folds that follow time: each block of time points is predicted from those before it.

    There are ``n_folds + 1`` blocks with about equally many rows; rows of one time point stay
    together, and so do all times between a group's first and its last. No fold predicts the first
    block.

    Parameters
    ----------
    time : array-like
        (n,) time of each row: numbers, dates or texts that sort as time does.
    groups : array-like, optional
        (n,) labels; rows of one group share a block.

    Returns
    -------
    list of (Array, Array)
        (train, test) row positions for each fold; `cv` of a learner's `fit` takes them.

    Raises
    ------
    ValueError
        If a row has no time, or there are too few different times.

    Examples
    --------
    >>> [(train.tolist(), test.tolist()) for train, test in forward_chaining([3, 1, 1, 2], 2)]
    [([1, 2], [3]), ([1, 2, 3], [0])]
    """
    point = _time_points(time, groups)
    n_points, n_blocks = int(point.max(initial=-1)) + 1, n_folds + 1
    if n_folds < 1 or n_points < n_blocks:
        raise ValueError(
            f"Expected 1 fold or more, and more different times than folds; found {n_folds} folds "
            f"and {n_points} {_different_times(groups)}. Use fewer folds."
        )
    rows, order = np.bincount(point), np.arange(n_points)
    block = ((rows.cumsum() - rows / 2) * n_blocks // len(point)).astype(int)
    # Blocks rise by at most one from point to point, up to the last block: none may stay empty.
    ahead = np.maximum(block, order + n_blocks - n_points) - order
    row_block = (order + np.minimum.accumulate(np.minimum(ahead, 0)))[point]
    blocks = range(1, n_blocks)
    return [(np.flatnonzero(row_block < k), np.flatnonzero(row_block == k)) for k in blocks]


def hold_out_last(time: Any, share: float, groups: Any = None) -> Array:
    """Rows to hold out: those of the last time points, some at least.

    Parameters
    ----------
    time, groups
        As for `forward_chaining`: neither a time point nor a group is split.
    share : float
        Of the rows; as many time points are held out as come closest to it.

    Returns
    -------
    Array
        (n,) booleans.

    Raises
    ------
    ValueError
        If `share` isn't a number above 0 and below 1, a row has no time, or all have the same.

    Examples
    --------
    >>> hold_out_last([3, 1, 1, 2, 3], 0.4).tolist()
    [True, False, False, False, True]
    """
    allowed = pd.Interval(0, 1, closed="neither")
    number(share, allowed, "Expected a share to hold out between 0 and 1", "Pass one such as 0.3.")
    point = _time_points(time, groups)
    n_later = np.bincount(point)[::-1].cumsum()[::-1]  # rows from each point on
    if len(n_later) < 2:
        raise ValueError(
            f"Expected 2 different times or more, the last of them to hold out; found "
            f"{len(n_later)} {_different_times(groups)}. Pass other times, or hold out nothing."
        )
    return np.asarray(point > np.abs(n_later[1:] - share * len(point)).argmin())


def folds_among(cv: Splits, rows: Array) -> list[Split]:
    """Folds of some of the rows alone, by their positions among these.

    Parameters
    ----------
    cv : sequence of (Array, Array)
        (train, test) row positions for each fold.
    rows : Array
        (m,) positions of the rows to keep, in order.

    Examples
    --------
    >>> cv = forward_chaining([1, 1, 2, 3, 3], 2)
    >>> [(train.tolist(), test.tolist()) for train, test in folds_among(cv, np.array([0, 2, 4]))]
    [([0], [1]), ([0, 1], [2])]
    """

    def among(own: Array) -> Array:
        return np.flatnonzero(np.isin(rows, own, assume_unique=True))

    return [(among(train), among(test)) for train, test in cv]


def _time_points(time: Any, groups: Any) -> Array:
    """(n,) whole numbers in the order of time; all times that one group spans are one."""
    check_same_rows(time=time, groups=groups)
    point, points = pd.factorize(np.asarray(time), sort=True)
    if (point < 0).any():
        raise ValueError(
            f"Expected a time for each row; found {int((point < 0).sum())} rows without a time of "
            f"{len(point)}. Leave those rows out."
        )
    if groups is None:
        return point
    member, labels = pd.factorize(np.asarray(groups), use_na_sentinel=False)
    first, last = np.full(len(labels), len(points)), np.zeros(len(labels), dtype=np.int64)
    np.minimum.at(first, member, point)
    np.maximum.at(last, member, point)
    # How many groups have rows on both sides of the time just before each point.
    ends = np.zeros(len(points) + 1, dtype=np.int64)
    np.add.at(ends, first + 1, 1)
    np.add.at(ends, last + 1, -1)
    return np.asarray(((ends.cumsum()[:-1] == 0).cumsum() - 1)[point])


def _different_times(groups: Any) -> str:
    many = "different times"
    return many if groups is None else f"{many}, as all those that one group spans count as one"


class FoldSplits(Sequence[Split]):
    """(train, test) positions for each fold of (n,) fold numbers; negative ones are in no fold.

    Each access computes the training rows: stored, they could take as much memory as features.
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
    """The G units of a draw: groups of rows, or rows."""

    member: Array  # (n,) each row's unit
    stratum: Array  # (G,) whole numbers, in an order of hashes, not of the strata's names
    size: Array  # (G,) numbers of rows
    key: Array  # (G,) hashes of label and seed

    @classmethod
    def of(cls, strata: Array, groups: Array | None, salt: str) -> "_Units":
        """Units of rows; an error if a row has no stratum."""
        check_same_rows(strata=strata, groups=groups)
        codes = pd.factorize(strata)[0]
        if (codes < 0).any():
            raise ValueError(
                f"Expected a stratum for each row; found {int((codes < 0).sum())} missing of "
                f"{len(codes)}. Leave those rows out."
            )
        if groups is None:  # each row is a group
            member = labels = np.arange(len(codes))
            size: Array = np.ones(len(codes), dtype=np.int8)
        else:
            member, labels = pd.factorize(groups)
            size = np.bincount(member, minlength=len(labels))
            codes = _majority(member, codes)
        key = _hash(np.asarray(labels), salt)
        return cls(member, _by_first_key(codes, key), size, key)

    def turns(self, first: Array | None = None) -> Array:
        """(G,) turns 0, 1, 2, ... by stratum, within it by the values in `first`, then chance."""
        turn = np.empty(len(self.key), dtype=np.int64)
        turn[self._order(first)] = np.arange(len(turn))
        return turn

    def _order(self, first: Array | None) -> Array:
        if first is not None:
            return np.lexsort((self.key, first, self.stratum))
        # Much faster than by two keys: hashes differ, and small integers need no comparisons.
        by_key = np.argsort(self.key)
        if not (np.diff(self.key[by_key]) > 0).all():
            by_key = np.argsort(self.key, kind="stable")
        small = self.stratum.astype(np.min_scalar_type(int(self.stratum.max(initial=0))))
        return np.asarray(by_key[np.argsort(small[by_key], kind="stable")])


def _by_first_key(codes: Array, key: Array) -> Array:
    """Codes numbered anew, in the order of the smallest key that each has."""
    codes, found = pd.factorize(codes)
    smallest = np.full(len(found), np.iinfo(key.dtype).max, dtype=key.dtype)
    np.minimum.at(smallest, codes, key)
    number = np.empty(len(found), dtype=np.int64)
    number[np.argsort(smallest, kind="stable")] = np.arange(len(found))
    return np.asarray(number[codes])


def _majority(member: Array, strata: Array) -> Array:
    """For each group, a number that names the stratum of most of its rows.

    Strata that tie are a stratum of their own, one for each set: else their names would decide.
    """
    if not len(strata):
        return strata
    n_strata = int(strata.max()) + 1
    pairs, counts = np.unique(member * n_strata + strata, return_counts=True)
    owner, value = np.divmod(pairs, n_strata)
    starts = np.unique(owner, return_index=True)[1]
    most = np.maximum.reduceat(counts, starts)
    names = np.where(counts == most[owner], _hash(value, "stratum"), np.uint64(0))
    return np.asarray(np.bitwise_xor.reduceat(names, starts))


def _hash(values: Array, salt: str) -> Array:
    """Hashes of values and salt, the same on each machine and in each process."""
    if values.dtype.kind in "US":  # pandas hashes texts as objects only
        values = values.astype(object)
    plain = pd.util.hash_array(values, categorize=False)
    salted = pd.util.hash_array(np.array([salt], dtype=object))[0]
    return pd.util.hash_array(plain ^ salted)
