"""Effects of segments: kinds of rows that a user names before looking at outcomes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import linalg, sparse

from metalearners._typing import Array, Floats
from metalearners.data.arguments import check_shape, count
from metalearners.data.containers import check_same_rows
from metalearners.data.conversion import arm_codes, as_array, as_vector
from metalearners.evaluation.means import Estimate, Means, check_level, cluster_codes, same_rows
from metalearners.showing.results import Several, Shown

MOST_LEVELS = 200
"""Levels of all segments together: more are no segments but values, such as amounts."""


@dataclass(frozen=True)
class SegmentEffect(Shown):
    """An arm's average effect on the rows of one level of a segment.

    Parameters
    ----------
    segment : str
        Name of the segment.
    level : object
        The level's label; None for rows without a label.
    arm : int
        The arm's code.
    rows : int
        Number of the level's rows with any weight.
    effect : Estimate or None
        With its pointwise interval. None where the level has fewer than two rows, or clusters, of
        the arm or of the control: no error can be estimated then.
    joint : tuple of float or None
        Ends of the interval that holds for all segments, levels and arms at once.
    """

    segment: str
    level: Any
    arm: int
    rows: int
    effect: Estimate | None
    joint: tuple[float, float] | None


def segment_effects(
    scores: Floats,
    segments: Mapping[str, Array],
    w: Array,
    weight: Floats | None = None,
    groups: Array | None = None,
    *,
    level: float = 0.95,
    draws: int = 20_000,
) -> list[SegmentEffect]:
    r"""Average effects of the arms on each level of each segment.

    With the rows s of a level, the mean of their doubly robust scores,

    .. math:: \hat\tau_{ks} = \sum_{i \in s} w_i (\Gamma_{ik} - \Gamma_{i0}) \Big/
        \sum_{i \in s} w_i.

    Its error is `mean_with_error`'s, over the level's rows. The joint intervals are those of
    `simultaneous_intervals`, with correlations from the influences
    :math:`1[i \in s] \, w_i (\Gamma_{ik} - \Gamma_{i0} - \hat\tau_{ks}) / \sum_s w_i`, summed by
    cluster: segments may overlap, and clusters may have rows in several levels.

    Name segments before you look at effects. Intervals of segments that were found by their effects
    don't cover.

    Parameters
    ----------
    scores : (n, K) array
        Doubly robust scores by arm, the control first.
    segments : mapping of str to (n,) array
        Labels by the name of the segment: booleans, texts or numbers. Rows without a label are a
        level of their own, the last one.
    w : (n,) array of int
        Arm codes.
    weight, groups, level
        As for `mean_with_error`.
    draws : int
        As for `simultaneous_intervals`.

    Returns
    -------
    list of SegmentEffect
        By segment, level and arm; levels are sorted.

    Raises
    ------
    ValueError
        As for `mean_with_error`, or if there are more than 200 levels.

    References
    ----------
    Semenova and Chernozhukov (2021), Econometrics Journal 24(2), pp. 264-289: doubly robust scores
    projected on groups. Montiel Olea and Plagborg-Møller (2019), Journal of Applied Econometrics
    34(1), pp. 1-17: the joint intervals.
    """
    check_level(level)
    count("draws", draws)
    return Segmented.of(scores, segments, w, weight, groups).effects(level, draws)


@dataclass(frozen=True, eq=False)
class _Rows:
    """All rows, by position: those without weight have no say."""

    contrast: Floats  # (n, K-1) scores less those of the control
    w: Array  # (n,) codes of arms
    weight: Floats  # (n,)
    cluster: Array | None  # (n,) codes; None where each row is one

    @classmethod
    def of(cls, scores: Floats, w: Array, weight: Any, groups: Any) -> "_Rows":
        wide = scores.ndim == 2 and scores.shape[1] > 1
        check_shape("scores", wide, "(n, K), a column for the control and each arm", scores.shape)
        n, k = scores.shape
        columns = {f"scores {j}": column for j, column in enumerate(scores.T)}
        found, v, labels = same_rows(weight, groups, **columns)
        contrast = np.column_stack([one - found[0] for one in found[1:]])
        arms = arm_codes(as_vector("w", w, n), k, judged=True)
        return cls(contrast, arms, v, None if labels is None else cluster_codes(n, labels))

    @property
    def n_variants(self) -> int:
        return self.contrast.shape[1] + 1

    def means(self, members: Array, arms: Array) -> Means:
        """Means of some rows and arms."""
        cluster = None if self.cluster is None else self.cluster[members]
        own = self.contrast[np.ix_(members, arms - 1)]
        return Means.of(own, self.weight[members], cluster, self.w[members])

    def clusters(self, members: Array) -> Array:
        """(K,) numbers of clusters by arm among some rows."""
        arms = self.w[members]
        if self.cluster is not None:
            arms = np.unique(self.cluster[members] * self.n_variants + arms) % self.n_variants
        return np.bincount(arms, minlength=self.n_variants)


@dataclass(frozen=True, eq=False)
class _Piece:
    """A level of a segment."""

    segment: str
    level: Any
    members: Array  # positions of its rows
    arms: Array  # codes of the arms whose effects have an error
    means: Means | None  # of those arms; None without any

    @classmethod
    def of(cls, rows: _Rows, segment: str, level: Any, members: Array) -> "_Piece":
        enough = rows.clusters(members) > 1
        arms = np.flatnonzero(enough[1:] & enough[0]) + 1
        means = rows.means(members, arms) if arms.size else None
        return cls(segment, level, members, arms, means)

    def effects(
        self, n_variants: int, level: float, ends: Iterator[tuple[float, float]]
    ) -> list[SegmentEffect]:
        """Its effects; takes the next joint intervals."""
        estimates = [] if self.means is None else self.means.estimates(level)
        known = {int(arm): (one, next(ends)) for arm, one in zip(self.arms, estimates, strict=True)}
        return [
            SegmentEffect(
                self.segment, self.level, arm, len(self.members), *known.get(arm, (None, None))
            )
            for arm in range(1, n_variants)
        ]


@dataclass(frozen=True, eq=False)
class Segmented:
    """Rows by segment and level."""

    rows: _Rows
    pieces: list[_Piece]  # by segment and level

    @classmethod
    def of(
        cls,
        scores: Floats,
        segments: Mapping[str, Array],
        w: Array,
        weight: Floats | None,
        groups: Array | None,
    ) -> "Segmented":
        """The levels of segments; errors and parameters as for `segment_effects`."""
        named = {f"segment {name!r}": labels for name, labels in segments.items()}
        check_same_rows(scores=scores, w=w, weight=weight, groups=groups, **named)
        rows = _Rows.of(as_array(scores), w, weight, groups)
        pieces = [
            _Piece.of(rows, str(name), label, members)
            for name, labels in segments.items()
            for label, members in _levels(str(name), labels, rows)
        ]
        known = sum(piece.means is not None for piece in pieces)
        if known > MOST_LEVELS:
            raise _too_many(known, "")
        return cls(rows, pieces)

    @property
    def known(self) -> list[_Piece]:
        """Levels with an effect of some arm."""
        return [piece for piece in self.pieces if piece.means is not None]

    def effects(self, level: float, draws: int) -> list[SegmentEffect]:
        """Effects by segment, level and arm."""
        ends = iter(joined(self.rows, self.known).joint(level, draws) if self.known else [])
        found: Several[SegmentEffect] = Several()
        for piece in self.pieces:
            found += piece.effects(self.rows.n_variants, level, ends)
        return found


def _levels(name: str, labels: Any, rows: _Rows) -> Iterator[tuple[Any, Array]]:
    """Labels of a segment's levels, and positions of their rows with any weight."""
    values = as_vector(f"segment {name!r}", labels, len(rows.w))
    some = np.flatnonzero(rows.weight)
    codes, found = pd.factorize(values[some], sort=True)
    names = [*pd.Index(found).tolist(), None]
    if len(found) > MOST_LEVELS:
        raise _too_many(len(found), f" in segment {name!r}")
    member = np.where(codes < 0, len(found), codes).astype(np.int16)  # sorted in linear time
    order = np.argsort(member, kind="stable")
    starts = np.searchsorted(member[order], np.arange(len(names) + 1))
    for label, start, end in zip(names, starts, starts[1:], strict=False):
        if end > start:
            yield label, some[order[start:end]]


def joined(rows: _Rows, pieces: Sequence[_Piece]) -> Means:
    """Means of levels by arm, as those of one sample: of levels that have an effect."""
    means = [piece.means for piece in pieces if piece.means is not None]
    errors = np.concatenate([one.std_errors for one in means])
    return Means(
        mean=np.concatenate([one.mean for one in means]),
        covariance=_correlation(rows, pieces) * np.outer(errors, errors),
        # Parts of overlapping levels are drawn apart: joint intervals are a little wider for it.
        parts=linalg.block_diag(*(one.parts for one in means)),
        part_degrees=np.concatenate([one.part_degrees for one in means]),
        n_clusters=min(one.n_clusters for one in means),
    )


def _correlation(rows: _Rows, pieces: Sequence[_Piece]) -> Floats:
    """(m, m) correlations of means of pieces that may share rows or clusters."""
    columns = []
    for piece in pieces:
        assert piece.means is not None
        at = piece.members if rows.cluster is None else rows.cluster[piece.members]
        weight = rows.weight[piece.members] / rows.weight[piece.members].sum()
        for mean, arm in zip(piece.means.mean, piece.arms, strict=True):
            moves = weight * (rows.contrast[piece.members, arm - 1] - mean)
            zeros = np.zeros_like(at)
            columns.append(sparse.csc_array((moves, (at, zeros)), (len(rows.w), 1)))
    every = sparse.hstack(columns, format="csc")
    # A column at a time takes less memory than the product of sparse matrices.
    products = np.array([every.T @ every[:, [j]].toarray()[:, 0] for j in range(every.shape[1])])
    size = np.sqrt(products.diagonal())
    found = products / np.where(size > 0, size, 1)[:, None] / np.where(size > 0, size, 1)
    np.fill_diagonal(found, 1.0)
    return np.asarray(found)


def _too_many(found: int, where: str) -> ValueError:
    return ValueError(
        f"Expected at most {MOST_LEVELS} levels of segments; found {found}{where}. Name fewer "
        "kinds of rows, as with a comparison such as 'history > 300'."
    )
