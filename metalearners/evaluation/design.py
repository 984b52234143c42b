"""Designs: the shares of arms that were drawn at random, and whether a sample looks like one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from metalearners._typing import Array, Floats
from metalearners.data.containers import check_same_rows
from metalearners.data.conversion import as_array
from metalearners.evaluation.means import Estimate, mean_with_error


@dataclass(frozen=True, eq=False)
class ArmShares:
    """Shares of the arms, over all rows and by stratum: the propensities of a randomised design.

    Parameters
    ----------
    overall : (K,) shares over all rows
    by_stratum : (K,) shares by the label of a stratum; empty where arms were drawn over all rows
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
        w : (n,) arm codes
        strata : (n,) labels of the strata within which arms were drawn; None for one stratum
        weight : (n,) sampling weights: shares then are those of the weighted rows

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
        """(n, K) shares of rows; a row of a stratum that wasn't seen has those over all rows."""
        if not self.by_stratum or strata is None:
            return np.tile(self.overall, (n_rows, 1))
        table = np.vstack([*self.by_stratum.values(), self.overall])
        return table[pd.Index(list(self.by_stratum)).get_indexer(pd.Index(strata))]


def arm_shares(
    w: Array, n_variants: int, strata: Any = None, weight: Floats | None = None
) -> Floats:
    """(n, K) shares of the arms among a sample's rows, within strata where there are any.

    They are the propensities of a randomised design. Where arms were drawn for clusters the same
    shares serve: those within a cluster would be 0 and 1. Parameters and errors are those of
    `ArmShares.among`.

    Examples
    --------
    >>> import numpy as np
    >>> arm_shares(np.array([0, 1, 1, 1]), 2).tolist()[0]
    [0.25, 0.75]
    """
    return ArmShares.among(w, n_variants, strata, weight).of(len(w), strata)


@dataclass(frozen=True)
class DesignFit:
    """How well features predict the arm, out of fold.

    Parameters
    ----------
    model : log-loss of the estimated propensities, in nats a row
    shares : log-loss of the arms' shares
    gain : the shares' log-loss less the model's: positive where features predict the arm
    """

    model: float
    shares: float
    gain: Estimate

    @property
    def looks_randomised(self) -> bool:
        """Whether the model predicts the arm no better than the shares do, as far as rows tell."""
        return self.gain.ci_low <= 0


def compare_with_shares(
    w: Array,
    propensity: Floats,
    shares: Floats,
    weight: Floats | None = None,
    groups: Array | None = None,
) -> DesignFit:
    """Log-loss of estimated propensities beside that of the arms' shares, clustered errors.

    It describes a sample and must not choose between the two: that choice loses coverage under
    mild confounding.

    Parameters
    ----------
    w : (n,) arm codes
    propensity, shares : (n, K) probabilities of the arms; the first out of fold and above 0
    weight, groups : as for `mean_with_error`

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
