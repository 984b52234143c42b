"""Tests of whether an effect differs between the levels of a segment, or along a feature."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from metalearners._typing import Array, Floats
from metalearners.evaluation.averages.features import cuts
from metalearners.evaluation.averages.segments import Segmented, joined
from metalearners.evaluation.means import Means
from metalearners.evaluation.multiplicity import holm
from metalearners.showing.results import Several, Shown

_SINGULAR = 1e-9  # least eigenvalue of a correlation matrix, by its size
_ROUNDING = 1e-12  # of the effects: an error that is no more is none


@dataclass(frozen=True)
class LevelTest(Shown):
    """Whether an arm's average effect differs between the levels of a segment.

    Parameters
    ----------
    segment : str
        Name of the segment, or of the feature.
    arm : int
        The arm's code.
    levels : int
        Number of levels that are compared: those whose effect has an error. Rows without a label
        are one of them.
    p_value : float or None
        Of the hypothesis that all have the same effect. None without a test: with fewer than two
        levels, or where differences of levels have no error, or too few clusters for one each.
    p_adjusted : float or None
        Adjusted for the number of tests of the call (Holm).
    """

    segment: str
    arm: int
    levels: int
    p_value: float | None
    p_adjusted: float | None


def segment_tests(
    scores: Floats,
    segments: Mapping[str, Array],
    w: Array,
    weight: Floats | None = None,
    groups: Array | None = None,
) -> list[LevelTest]:
    r"""Tests of whether the arms' effects differ between the levels of each segment.

    With the L effects of `segment_effects`, their covariance V, and a matrix R of L - 1 differences
    of levels, Wald's statistic is compared with an F distribution as Welch and Johansen do:

    .. math:: (R \hat\tau)' (R V R')^{-1} R \hat\tau \,/\, c \sim F(q, \; q (q + 2) / 3 A), \quad
        A = \sum_l s_l^2 / d_l, \quad c = q + 2 A - 6 A / (q + 2),

    with q = L - 1, the degrees of freedom d of each level's effect (one less than its clusters at
    most), and the level's part s of the statistic, :math:`V_{ll} [R' (R V R')^{-1} R]_{ll}`, scaled
    to the sum q. It is Welch's analysis of variance where levels share no cluster, and of two
    levels his t test of their difference. Where clusters have rows in several levels, A is at least
    :math:`q (q + 1) / 2 d`, with the degrees of freedom d of the mean of all these rows. That is
    the paired t test of two levels that all clusters have, and about Hotelling's test of more.

    Parameters
    ----------
    scores, segments, w, weight, groups
        As for `segment_effects`.

    Returns
    -------
    list of LevelTest
        By segment and arm.

    Raises
    ------
    ValueError
        As for `segment_effects`.

    References
    ----------
    Welch (1951), Biometrika 38(3/4), pp. 330-336. Johansen (1980), Biometrika 67(1), pp. 85-92.
    """
    found = Segmented.of(scores, segments, w, weight, groups)
    tests = [test for name in segments for test in _tests(found, str(name))]
    known = [test.p_value for test in tests if test.p_value is not None]
    adjusted = iter(holm(np.array(known)).tolist() if known else [])
    return Several(
        test if test.p_value is None else replace(test, p_adjusted=next(adjusted)) for test in tests
    )


def feature_tests(
    scores: Floats,
    features: Mapping[str, Array],
    w: Array,
    weight: Floats | None = None,
    groups: Array | None = None,
    *,
    n_bins: int = 5,
    most: int = 8,
) -> list[LevelTest]:
    """Tests of whether the arms' effects differ along each feature.

    They are the `segment_tests` of the ranges and categories of `feature_effects`.

    Parameters
    ----------
    scores, features, w, weight, groups, n_bins, most
        As for `feature_effects`.

    Returns
    -------
    list of LevelTest
        By feature and arm.

    Raises
    ------
    ValueError
        As for `feature_effects`.
    """
    parts = cuts(scores, features, w, weight, groups, n_bins, most)
    segments = {name: one.codes for name, one in parts.items()}
    return segment_tests(scores, segments, w, weight, groups)


def _tests(found: Segmented, segment: str) -> list[LevelTest]:
    """Tests of a segment by arm, not yet adjusted."""
    pieces = [piece for piece in found.known if piece.segment == segment]
    means = joined(found.rows, pieces) if pieces else None
    arms = np.concatenate([np.empty(0, dtype=np.int64), *(piece.arms for piece in pieces)])
    tests = []
    for arm in range(1, found.rows.n_variants):
        at, p_value = np.flatnonzero(arms == arm), None
        if means is not None and len(at) > 1:
            own = [piece.members for piece in pieces if arm in piece.arms]
            codes = np.array([arm])
            degrees = [_degrees(found.rows.means(one, codes)) for one in own]
            whole = _degrees(found.rows.means(np.concatenate(own), codes))
            covariance = means.covariance[np.ix_(at, at)]
            p_value = _p_of_equality(means.mean[at], covariance, np.array(degrees), whole)
        tests.append(LevelTest(segment, arm, len(at), p_value, None))
    return tests


def _degrees(found: Means) -> float:
    """Of a mean. With arms within clusters, `mean_with_error` counts a cluster once an arm."""
    return float(min(found.degrees[0], found.n_clusters - 1))


def _p_of_equality(mean: Floats, covariance: Floats, degrees: Floats, whole: float) -> float | None:
    """Of L means that are all the same, by Welch's and Johansen's F; None without an error.

    `whole` has the degrees of freedom of the mean of all of them.
    """
    q = len(mean) - 1
    differences = np.diff(np.eye(q + 1), axis=0)
    own = differences @ covariance @ differences.T
    size = np.sqrt(own.diagonal())
    if (size <= _ROUNDING * np.abs(mean).max()).any():
        return None
    if np.linalg.eigvalsh(own / np.outer(size, size))[0] < _SINGULAR * q:
        return None
    left = np.diff(mean)
    statistic = float(left @ np.linalg.solve(own, left))
    part = np.diag(differences.T @ np.linalg.solve(own, differences)) * covariance.diagonal()
    spread = float(np.sum((q * part / part.sum()) ** 2 / degrees))
    if np.count_nonzero(covariance - np.diag(covariance.diagonal())):  # levels share clusters
        spread = max(spread, q * (q + 1) / 2 / whole)
    scale = q + 2 * spread - 6 * spread / (q + 2)
    return float(stats.f.sf(statistic / scale, q, q * (q + 2) / (3 * spread)))
