"""Overlap: whether all kinds of rows are likely enough in each arm, and clipping."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from metalearners._typing import Array, Floats
from metalearners.showing.results import Shown

ClipRule: TypeAlias = float | Literal["auto"]
"""Bounds of estimated propensities: a tenth of each arm's share, or [clip, 1 - clip]."""

MOST_CLIPPED = 0.05
"""Share of an arm's weight above which clipped rows forbid a claim about its effect."""


@dataclass(frozen=True, eq=False)
class Clip:
    """Bounds of estimated propensities. Known ones are never clipped: see `Clip.none`.

    Clipped propensities are not divided by their new sum: that would change those within
    the bounds, too.
    """

    lower: Floats  # (K,) by arm
    upper: Floats  # (K,) by arm

    @classmethod
    def of(cls, rule: ClipRule, shares: Floats) -> "Clip":
        """Bounds by a rule; `shares` are the (K,) shares of the arms among the rows fitted on."""
        if rule == "auto":
            return cls(shares / 10, np.ones(len(shares)))
        return cls(np.full(len(shares), rule), np.full(len(shares), 1 - rule))

    @classmethod
    def none(cls, n_variants: int) -> "Clip":
        """No bounds: those of known propensities."""
        return cls(np.zeros(n_variants), np.ones(n_variants))

    def apply(self, propensity: Floats) -> Floats:
        """(n, K) propensities within the bounds."""
        return np.clip(propensity, self.lower, self.upper)

    def outside(self, propensity: Floats) -> Array:
        """(n, K) whether propensities lie outside the bounds."""
        return (propensity < self.lower) | (propensity > self.upper)

    def among(self, k: int) -> tuple[float, float]:
        """Bounds of P(W = k | W in {0, k}), by the same rule for two arms."""
        both = self.lower[0] + self.lower[k]
        if (self.upper < 1).any() or not both:
            return float(self.lower[k]), float(self.upper[k])
        return float(self.lower[k] / both / 10), float(1 - self.lower[0] / both / 10)


@dataclass(frozen=True, eq=False)
class Overlap(Shown):
    """What propensities say about overlap.

    Parameters
    ----------
    smallest, largest : (K,) array
        Propensities by arm, before clipping.
    clipped : int
        Number of rows with a propensity outside the bounds. Their effects are estimated as if they
        were likelier to be in the arm than they are: the more such rows, the further the estimand
        of a DR-learner moves from the effect on all rows. (R- and U-learners clip propensities
        among two arms, and an X-learner none.)
    share : float
        The same as a share of the rows.
    carried : (K,) array
        Share of each arm's weight that clipped rows carry (`weight_clipped`); zeros where the
        rows' arms aren't known.
    """

    smallest: Floats
    largest: Floats
    clipped: int
    share: float
    carried: Floats


def overlap(
    propensity: Floats,
    clip: float | Clip,
    w: Array | None = None,
    weight: Floats | None = None,
) -> Overlap:
    """Overlap of (n, K) propensities within bounds; a number is those of [clip, 1 - clip].

    Rows without propensities (NaN: no fold predicts them) are left out.

    Parameters
    ----------
    w : (n,) array of int, optional
        Arm codes, for the weight that clipped rows carry.
    weight : (n,) array, optional
        Sampling weights.

    Examples
    --------
    >>> import numpy as np
    >>> overlap(np.array([[0.5, 0.5], [0.999, 0.001]]), clip=0.01).share
    0.5
    """
    bounds = clip if isinstance(clip, Clip) else Clip.of(clip, np.ones(propensity.shape[1]))
    known = ~np.isnan(propensity).any(axis=1)
    if not known.all():
        propensity = propensity[known]
        w, weight = (None if x is None else x[known] for x in (w, weight))
    none: Floats = np.zeros(propensity.shape[1])
    carried = none if w is None else weight_clipped(propensity, bounds, w, weight)
    outside = bounds.outside(propensity).any(axis=1)
    return Overlap(
        smallest=propensity.min(axis=0),
        largest=propensity.max(axis=0),
        clipped=int(outside.sum()),
        share=float(outside.mean()),
        carried=carried,
    )


def weight_clipped(
    propensity: Floats, clip: Clip, w: Array, weight: Floats | None = None
) -> Floats:
    r"""(K,) share of each arm's weight that rows with a raised propensity carry.

    The larger of two shares, as an arm's mean leans on both: of all rows' sampling weights
    :math:`v_i`, and of its own rows' weights in the score, :math:`v_i / \hat e_k(X_i)`.
    """
    v = np.ones(len(w)) if weight is None else weight
    shares = []
    for k, e in enumerate(propensity.T):
        raised, own = e < clip.lower[k], w == k
        score = v[own] / np.clip(e[own], clip.lower[k], clip.upper[k])
        of_all, total = v[raised].sum() / v.sum(), score.sum()
        by_own = score[raised[own]].sum() / total if total > 0 else 0.0
        shares.append(max(of_all, by_own))
    return np.array(shares)
