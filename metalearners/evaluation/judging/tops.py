"""Figures of the rows of highest priority, at many shares, with how they vary together."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from metalearners._typing import Array, Floats
from metalearners.evaluation.judging.rate import Ranking
from metalearners.evaluation.means import cluster_codes, effective_clusters, n_clusters

SHARES = np.arange(1, 101) / 100
"""Shares of the rows, the highest priorities first, that figures are of."""

_LEAST_SHARE = 0.05
LEAST_ROWS = 50
"""Rows of an arm on which bands are built."""


@dataclass(frozen=True, eq=False)
class Tops:
    """The gain above the line at m shares and then the mean score: m + 1 figures.

    Parameters
    ----------
    value : (m + 1,) array
    covariance : (m + 1, m + 1) array
        The jackknife's, ranks estimated.
    parts : (K, m + 1, m + 1) array
        Covariances by arm.
    worth : (K,) array
        How many clusters of one size an arm is worth (`effective_clusters`).
    within : (K, m) array
        Shares of the arms' weight in each top.
    begin, end : float
        Shares between which each arm has 50 rows, and all have .05 of the rows, in the top, and
        beneath it.
    """

    value: Floats
    covariance: Floats
    parts: Floats
    worth: Floats
    within: Floats
    begin: float
    end: float

    @classmethod
    def of(cls, ranking: Ranking, scores: Floats, groups: Array | None, arms: Array) -> "Tops":
        """From the rows' scores and arm codes."""
        mean = float(ranking.weight @ scores)
        centred = scores - mean
        bins = _Bins.of(ranking)
        value, local = _above_line(ranking, centred, n_clusters(ranking.weight, groups))
        influence = _influence(bins.top, value, local)
        masks = [arms == k for k in range(int(arms.max()) + 1)]
        moments = _Moments.of(bins, ranking.weight, centred, groups)
        own = [moments.among(mask) for mask in masks]
        whole = sum(own) if groups is None else moments.among(np.ones(len(scores), dtype=bool))
        return cls(
            value=np.append(value, mean),
            covariance=influence.T @ whole @ influence,
            parts=np.stack([influence.T @ one @ influence for one in own]),
            worth=effective_clusters(arms, groups, ranking.weight),
            within=np.stack([bins.within(mask * ranking.weight) for mask in masks]),
            **_bounds(bins, [mask & (ranking.weight > 0) for mask in masks]),
        )

    def mapped(self, rows: Floats, within: Floats) -> tuple[Floats, Floats, Floats]:
        """Linear maps of the figures: (r,) values, their covariance, and degrees of freedom.

        Satterthwaite's, of arms of which the (K, r) shares `within` are concerned.
        """
        parts = np.maximum(np.sum((rows @ self.parts) * rows, axis=2), 0)  # below 0 by rounding
        of_parts = np.maximum(self.worth[:, None] * within - 1, 1)
        each = np.sum(parts**2 / of_parts, axis=0)
        degrees = np.divide(parts.sum(axis=0) ** 2, each, out=of_parts.sum(axis=0), where=each > 0)
        return rows @ self.value, rows @ self.covariance @ rows.T, degrees


@dataclass(frozen=True, eq=False)
class _Bins:
    """Rows by the tops that they are in: B bins, not many more than there are shares."""

    of_row: Array  # (n,)
    top: Floats  # (B, m) how much of a bin is in each top: 0, 1, or between for ties

    @classmethod
    def of(cls, ranking: Ranking) -> "_Bins":
        before = np.append(0.0, ranking.end[:-1])
        step = np.searchsorted(SHARES, before, side="right")
        whole = np.searchsorted(SHARES, ranking.end, side="left")
        split = np.flatnonzero(step < whole)  # groups of ties that some top ends within
        step[split] = len(SHARES) + 1 + np.arange(len(split))
        parts = (SHARES - before[split, None]) / (ranking.end - before)[split, None]
        steps = np.arange(len(SHARES)) >= np.arange(len(SHARES) + 1)[:, None]
        return cls(step[ranking.member], np.vstack([steps, np.clip(parts, 0, 1)]))

    def within(self, mass: Floats) -> Floats:
        """(m,) shares of rows' mass in each top; zeros without any."""
        found = np.bincount(self.of_row, mass, minlength=len(self.top)) @ self.top
        return np.asarray(found / max(float(mass.sum()), 1e-300))


@dataclass(frozen=True, eq=False)
class _Moments:
    """Sums over clusters of products of their sums by bin, of scores and of weights."""

    cluster: Array
    bins: _Bins
    reach: Floats  # (G,) jackknife's factors of clusters
    columns: tuple[Floats, Floats]  # (n,) weighted scores, and weights

    @classmethod
    def of(cls, bins: _Bins, weight: Floats, centred: Floats, groups: Array | None) -> "_Moments":
        cluster = cluster_codes(len(weight), groups)
        mass = np.bincount(cluster, weight)
        n = int(np.count_nonzero(mass))
        if n < 2:
            raise ValueError(
                "Expected two rows or clusters or more with a weight, for a standard error; found "
                "1. Cluster by a finer group."
            )
        reach = np.sqrt((n - 1) / n) / (1 - mass)
        return cls(cluster, bins, reach, (weight * centred, weight))

    def among(self, mask: Array) -> Floats:
        """(2B, 2B) moments of some rows."""
        cluster, of_row, n_bins = self.cluster[mask], self.bins.of_row[mask], len(self.bins.top)
        reach = self.reach[cluster]
        values = np.concatenate([reach * column[mask] for column in self.columns])
        places = np.tile(cluster, 2), np.concatenate([of_row, of_row + n_bins])
        shape = len(self.reach), 2 * n_bins
        sums = sparse.coo_array((values, places), shape=shape).tocsr()
        return np.asarray((sums.T @ sums).toarray())


def _above_line(ranking: Ranking, centred: Floats, count: int) -> tuple[Floats, Floats]:
    """(m,) gains above the line, and mean scores at ranks: slopes of the gain over a window.

    The number of rows or clusters decides how wide the window is.
    """
    totals = np.bincount(ranking.member, ranking.weight * centred)
    ends, sums = np.append(0.0, ranking.end), np.append(0.0, np.cumsum(totals))
    sums[-1] = 0  # but for rounding
    widest = 0.5 * float(count) ** -0.2
    half = np.clip(np.minimum(SHARES, 1 - SHARES), widest / 2, widest)  # near ends, narrower
    low, high = np.clip(SHARES - half, 0, 1), np.clip(SHARES + half, 0, 1)
    slopes = (np.interp(high, ends, sums) - np.interp(low, ends, sums)) / (high - low)
    return np.interp(SHARES, ends, sums), slopes


def _influence(top: Floats, value: Floats, local: Floats) -> Floats:
    """(2B, m + 1) what a bin's sums of scores, then of weights, add to the figures."""
    off_line = top - SHARES
    of_scores = np.column_stack([off_line, np.ones(len(top))])
    of_weights = np.column_stack([-off_line * local - value, np.zeros(len(top))])
    of_scores[:, -2] = of_weights[:, -2] = 0  # all rows gain nothing above the line
    return np.vstack([of_scores, of_weights])


def _bounds(bins: _Bins, masks: list[Array]) -> dict[str, float]:
    """Where bands begin, and where those that compare the top with the rest end."""
    rows = np.array([float(mask.sum()) for mask in masks if mask.any()])[:, None]
    shares = np.array([bins.within(mask.astype(float)) for mask in masks if mask.any()])
    least = LEAST_ROWS - 1e-6
    above = SHARES[(shares * rows >= least).all(axis=0) & (SHARES >= _LEAST_SHARE)]
    beneath = SHARES[((1 - shares) * rows >= least).all(axis=0) & (SHARES <= 1 - _LEAST_SHARE)]
    return {
        "begin": float(above[0]) if len(above) else 1.0,
        "end": float(beneath[-1]) if len(beneath) else 0.0,
    }
