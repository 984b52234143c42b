"""Who is in which fold: drawn from a row's or group's identity, never from its position."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd

from metalearners._typing import Array

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
    """
    return _deal(strata, groups, seed, "folds") % n_folds


def draw_holdout(strata: Array, share: float, seed: int, groups: Array | None = None) -> Array:
    """Rows to hold out, drawn like the folds.

    Returns
    -------
    (n,) booleans; in each stratum about `share` of the groups
    """
    turn = _deal(strata, groups, seed, "holdout")
    # Bresenham's rule: of the first m of a stratum, floor(m * share) are held out.
    return np.floor((turn + 1) * share + 1e-9) > np.floor(turn * share + 1e-9)


def splits_of(folds: Array) -> list[Split]:
    """(train, test) positions for each fold of a fold column; negative folds take no part."""
    rows = np.flatnonzero(folds >= 0)
    numbers = folds[rows]
    return [(rows[numbers != k], rows[numbers == k]) for k in range(int(folds.max()) + 1)]


def _deal(strata: Array, groups: Array | None, seed: int, purpose: str) -> Array:
    """Each row's turn: 0, 1, 2, ... over the groups, stratum after stratum, one turn a group."""
    if groups is None:
        groups = np.arange(len(strata))
    member, identity = pd.factorize(groups)
    stratum, size = _majority(member, pd.factorize(strata, sort=True)[0], len(identity))
    ranked = np.lexsort((_hash(np.asarray(identity), f"{purpose}:{seed}"), -size, stratum))
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
