"""Effects along a feature: averages of the rows of each of its values, or of ranges of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from metalearners._typing import Array, Floats
from metalearners.data.arguments import count
from metalearners.data.containers import check_same_rows
from metalearners.data.conversion import as_array, as_vector
from metalearners.evaluation.averages.segments import SegmentEffect, segment_effects
from metalearners.evaluation.means import Estimate
from metalearners.showing.results import Several, Shown, rounded

OTHERS = "others"


@dataclass(frozen=True)
class FeatureEffect(Shown):
    """An arm's average effect on the rows of some values of a feature.

    Parameters
    ----------
    feature : str
        Its name.
    category : object
        The value, for a feature of few; ``"others"`` for rarer ones together. None for a range of
        numbers and for missing values.
    low, high : float or None
        Least and largest value of a range; None for a category.
    arm : int
        The arm's code.
    rows : int
        Number of rows with any weight.
    effect : Estimate or None
        With its pointwise interval; None where there are too few rows for an error.
    joint : tuple of float or None
        Ends of the interval that holds for all features, values and arms at once.
    """

    feature: str
    category: Any
    low: float | None
    high: float | None
    arm: int
    rows: int
    effect: Estimate | None
    joint: tuple[float, float] | None

    @property
    def part(self) -> str:
        """What its rows have in common: a category, ``missing``, or a range of values."""
        if self.low is not None and self.high is not None:
            return f"{rounded(self.low)} to {rounded(self.high)}"
        return "missing" if self.category is None else str(self.category)


def feature_effects(
    scores: Floats,
    features: Mapping[str, Array],
    w: Array,
    weight: Floats | None = None,
    groups: Array | None = None,
    *,
    n_bins: int = 5,
    most: int = 8,
    level: float = 0.95,
    draws: int = 20_000,
) -> list[FeatureEffect]:
    r"""Average effects of the arms along features, with intervals that hold for all at once.

    .. math:: E[\Gamma_k - \Gamma_0 \mid x_j \in b]

    for ranges b of about equally many rows, or for the values of a feature that has few of them.
    Each is the average effect of those rows, whatever else they have in common: it describes, and
    isn't what changing the feature would do. They are the `segment_effects` of these ranges, with
    their errors.

    Choose features on other rows than these, such as by `effect_drivers` of estimates that were
    fitted elsewhere: intervals of features that were found by their effects don't cover.

    Parameters
    ----------
    scores : (n, K) array
        Doubly robust scores by arm, the control first.
    features : mapping of str to (n,) array
        By name: numbers, or other values as categories.
    w : (n,) array of int
        Arm codes.
    weight, groups, level, draws
        As for `segment_effects`.
    n_bins : int
        Number of ranges of numbers; fewer where values are tied. Numbers of so few distinct values
        are categories.
    most : int
        Number of categories of a feature, the most frequent ones; the rest are taken together.

    Returns
    -------
    list of FeatureEffect
        By feature, value and arm; ranges and values rise, and missing values are last.

    Raises
    ------
    ValueError
        As for `segment_effects`.

    References
    ----------
    Semenova and Chernozhukov (2021), Econometrics Journal 24(2), pp. 264-289.
    """
    cut = cuts(scores, features, w, weight, groups, n_bins, most)
    segments = {name: one.codes for name, one in cut.items()}
    found = segment_effects(scores, segments, w, weight, groups, level=level, draws=draws)
    return Several(cut[one.segment].named(one) for one in found)


@dataclass(frozen=True, eq=False)
class Cut:
    """A feature in parts."""

    codes: Floats  # (n,) number of the row's part; NaN for a missing value
    parts: list[tuple[Any, float | None, float | None]]  # category, least and largest value

    @classmethod
    def of(cls, values: Any, weight: Floats, n_bins: int, most: int) -> "Cut":
        """Ranges of numbers of many values, and else categories."""
        series = pd.Series(values)
        if pd.api.types.is_bool_dtype(series.dtype):
            return cls.of_categories(series, most)
        if pd.api.types.is_numeric_dtype(series.dtype):
            numbers = series.to_numpy(float, na_value=np.nan)
            if len(np.unique(numbers[np.isfinite(numbers)])) > n_bins:
                return cls.of_numbers(numbers, weight, n_bins)
            return cls.of_categories(series, n_bins)
        return cls.of_categories(series, most)

    @classmethod
    def of_numbers(cls, numbers: Floats, weight: Floats, n_bins: int) -> "Cut":
        """Ranges of about equal weight; no value is in two of them."""
        known = np.isfinite(numbers)
        distinct, at = np.unique(numbers[known], return_inverse=True)
        mass = np.bincount(at, weight[known])
        before = (np.cumsum(mass) - mass) / mass.sum()
        inner = np.linspace(0, 1, n_bins + 1)[1:-1]
        _, member = np.unique(
            np.searchsorted(inner, before + mass / mass.sum() / 2), return_inverse=True
        )
        codes = np.full(len(numbers), np.nan)
        codes[known] = member[at]
        own = [distinct[member == k] for k in range(member.max() + 1)]
        return cls(codes, [(None, float(one[0]), float(one[-1])) for one in own])

    @classmethod
    def of_categories(cls, series: pd.Series, most: int) -> "Cut":
        """The most frequent values, in order, and the rest together."""
        frequent = series.value_counts().index[:most]
        ordered = sorted(frequent.tolist(), key=lambda x: (isinstance(x, str), x))
        codes = pd.Index(ordered).get_indexer(pd.Index(series)).astype(float)
        rest = (codes < 0) & ~series.isna().to_numpy()
        codes[rest] = len(ordered)
        codes[series.isna().to_numpy()] = np.nan
        return cls(codes, [(value, None, None) for value in [*ordered, OTHERS]])

    def named(self, found: SegmentEffect) -> FeatureEffect:
        """An effect of a part, with what the part is."""
        missing = found.level is None
        category, low, high = (None, None, None) if missing else self.parts[int(found.level)]
        own = (found.arm, found.rows, found.effect, found.joint)
        return FeatureEffect(found.segment, category, low, high, *own)


def cuts(
    scores: Floats,
    features: Mapping[str, Array],
    w: Array,
    weight: Floats | None,
    groups: Array | None,
    n_bins: int,
    most: int,
) -> dict[str, Cut]:
    """Features in parts, by name; errors and parameters as for `feature_effects`."""
    count("n_bins", n_bins)
    count("most", most)
    check_same_rows(scores=scores, w=w, weight=weight, groups=groups, **features)
    n = len(as_array(scores))
    v = np.ones(n) if weight is None else np.asarray(weight, dtype=float)
    return {
        name: Cut.of(as_vector("a feature", x, n), v, n_bins, most) for name, x in features.items()
    }
