"""Designs: the shares of arms that were drawn at random, and whether a sample looks like one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from metalearners._typing import Array, Floats
from metalearners.data.containers import check_same_rows
from metalearners.data.conversion import as_array
from metalearners.evaluation.means import Estimate, cluster_codes, mean_with_error
from metalearners.showing.results import Shown

MISMATCH = 1e-3
"""Level of the test of sample ratio mismatch: the one that experimentation platforms use."""


@dataclass(frozen=True, eq=False)
class ArmShares(Shown):
    """Shares of the arms, over all rows and by stratum: the propensities of a randomised design.

    Parameters
    ----------
    overall : (K,) array
        Shares over all rows.
    by_stratum : dict
        (K,) shares by the label of a stratum; empty where arms were drawn over all rows.
    """

    overall: Floats
    by_stratum: Mapping[Any, Floats]

    @classmethod
    def among(
        cls, w: Array, n_variants: int, strata: Any = None, weight: Floats | None = None
    ) -> "ArmShares":
        """The shares in a sample.

        Parameters
        ----------
        w : (n,) array of int
            Arm codes.
        strata : (n,) array, optional
            Labels of the strata within which arms were drawn; without them there is one.
        weight : (n,) array, optional
            Sampling weights: shares are then those of the weighted rows.

        Raises
        ------
        ValueError
            If a row has no stratum, or a stratum lacks an arm.
        """
        check_same_rows(w=w, strata=strata, weight=weight)
        w, v = as_array(w), np.ones(len(w)) if weight is None else as_array(weight)
        overall = np.bincount(w, v, n_variants) / v.sum()
        if strata is None:
            return cls(overall, {})
        member, labels = pd.factorize(pd.Series(strata), sort=False)
        if (member < 0).any():
            raise ValueError(
                f"Expected a stratum for each row; found {int((member < 0).sum())} rows with none. "
                "Give those rows a stratum of their own."
            )
        sums = np.bincount(member * n_variants + w, v, len(labels) * n_variants)
        sums = sums.reshape(len(labels), n_variants)
        stratum, arm = next(zip(*np.nonzero(sums == 0), strict=True), (None, None))
        if stratum is not None:
            raise ValueError(
                "Expected rows of each arm in each stratum, as propensities are shares within "
                f"strata; found a stratum, {labels[stratum]!r}, with none in arm {arm}. Merge "
                "strata, or leave that arm or stratum out."
            )
        shares = sums / sums.sum(axis=1, keepdims=True)
        return cls(overall, dict(zip(labels.tolist(), shares, strict=True)))

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a file."""
        strata = [[label, shares.tolist()] for label, shares in self.by_stratum.items()]
        return {"overall": self.overall.tolist(), "strata": strata}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "ArmShares":
        """The shares that `to_json` gave."""
        strata = {label: np.asarray(shares) for label, shares in content["strata"]}
        return cls(np.asarray(content["overall"]), strata)

    def of(self, n_rows: int, strata: Any = None) -> Floats:
        """(n, K) shares of rows; a row of an unknown stratum has the shares over all rows."""
        if not self.by_stratum or strata is None:
            return np.tile(self.overall, (n_rows, 1))
        table = np.vstack([*self.by_stratum.values(), self.overall])
        return table[pd.Index(list(self.by_stratum)).get_indexer(pd.Index(strata))]


def arm_shares(
    w: Array, n_variants: int, strata: Any = None, weight: Floats | None = None
) -> Floats:
    """(n, K) shares of the arms among a sample's rows, within strata where there are any.

    They are the propensities of a randomised design, also of one that drew arms for clusters:
    the shares within a cluster would be 0 and 1. Parameters and errors are those of
    `ArmShares.among`.

    Examples
    --------
    >>> import numpy as np
    >>> arm_shares(np.array([0, 1, 1, 1]), 2).tolist()[0]
    [0.25, 0.75]
    """
    return ArmShares.among(w, n_variants, strata, weight).of(len(w), strata)


@dataclass(frozen=True, eq=False)
class SampleRatio(Shown):
    """How many units each arm has, and how many a design gives it.

    Parameters
    ----------
    found, expected : (K,) array
        Rows or clusters; one whose rows are in several arms counts in parts.
    p_value : float
        Of the hypothesis that the design drew the arms. 1 where an arm is expected to have fewer
        than 20 units: the distribution of so few isn't close to that of the test.
    """

    found: Floats
    expected: Floats
    p_value: float

    @property
    def is_mismatch(self) -> bool:
        """Whether chance explains the difference with a probability below 0.001."""
        return self.p_value < MISMATCH

    @property
    def is_close(self) -> bool:
        """Whether no arm is more than a twentieth away from what is expected."""
        return bool((np.abs(self.found / self.expected - 1) < _CLOSE).all())


_CLOSE = 0.05
_FEWEST_UNITS = 20


def sample_ratio(w: Array, propensity: Floats, groups: Array | None = None) -> SampleRatio:
    r"""Whether the arms are of the sizes that a design gives: a test of sample ratio mismatch.

    .. math:: T = U^\top V^{-1} U, \quad U = \sum_c \frac1{n_c} \sum_{i \in c} (1[w_i] - e_i), \quad
              V = \sum_c \frac1{n_c} \sum_{i \in c} (\mathrm{diag}(e_i) - e_i e_i^\top)

    over clusters c of n_c rows, against a chi-squared distribution with K - 1 degrees of freedom.
    Each row is a cluster without `groups`; with one probability for all rows, that is Pearson's
    test of the counts. V is the variance where all rows of a cluster get one arm, and else a bound
    of it.

    Rows that depend on their arm have other shares whatever the design, such as those that were
    sampled with unequal weights or left after the treatment.

    Parameters
    ----------
    w : (n,) array of int
        Arm codes.
    propensity : (n, K) array
        The design's probabilities, inside (0, 1).
    groups : (n,) array, optional
        Labels of clusters.

    References
    ----------
    Fabijan et al. (2019), Diagnosing sample ratio mismatch in online controlled experiments.
    KDD, pp. 2156-2164.
    """
    check_same_rows(w=w, propensity=propensity, groups=groups)
    w, e = as_array(w), as_array(propensity)
    member = cluster_codes(len(w), groups)
    part = 1 / np.bincount(member)[member]
    found, expected = np.bincount(w, part, e.shape[1]).astype(float), part @ e
    if expected.min() < _FEWEST_UNITS:
        return SampleRatio(found, expected, 1.0)
    variance = np.diag(expected) - (e * part[:, None]).T @ e
    gap = (found - expected)[1:]
    statistic = gap @ np.linalg.solve(variance[1:, 1:], gap)
    return SampleRatio(found, expected, float(special.chdtrc(len(gap), statistic)))


@dataclass(frozen=True)
class DesignFit(Shown):
    """How well features predict the arm, out of fold.

    Parameters
    ----------
    model, shares : float
        Log-loss of the estimated propensities and of the arms' shares, in nats a row.
    gain : Estimate
        The shares' log-loss less the model's: positive where features predict the arm.
    """

    model: float
    shares: float
    gain: Estimate

    @property
    def looks_randomised(self) -> bool:
        """Whether the interval of `gain` allows that features don't predict the arm."""
        return self.gain.ci_low <= 0


def compare_with_shares(
    w: Array,
    propensity: Floats,
    shares: Floats,
    weight: Floats | None = None,
    groups: Array | None = None,
) -> DesignFit:
    """Log-loss of estimated propensities and of the arms' shares, with clustered errors.

    It describes a sample. Don't choose between the two by it: under mild confounding, intervals
    after that choice cover too rarely.

    Parameters
    ----------
    w : (n,) array of int
        Arm codes.
    propensity, shares : (n, K) array
        Probabilities of the arms; propensities are out of fold and above 0.
    weight, groups
        As for `mean_with_error`.

    Raises
    ------
    ValueError
        As for `mean_with_error`.
    """
    check_same_rows(w=w, propensity=propensity, shares=shares, weight=weight, groups=groups)
    w, propensity, shares = map(as_array, (w, propensity, shares))
    rows = np.arange(len(w))
    model, plain = -np.log(propensity[rows, w]), -np.log(shares[rows, w])
    gain = mean_with_error(plain - model, weight, groups)
    of_model, of_shares = (float(np.average(one, weights=weight)) for one in (model, plain))
    return DesignFit(of_model, of_shares, gain)
