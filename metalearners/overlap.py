"""Overlap: whether each kind of row may be found in each arm."""

from dataclasses import dataclass

import numpy as np

from metalearners._typing import Floats


@dataclass(frozen=True, eq=False)
class Overlap:
    """What propensities say about overlap.

    Parameters
    ----------
    smallest, largest : (K,) propensities by arm, before clipping
    clipped : number of rows with a propensity outside [clip, 1 - clip]. Their effects are
        estimated as if they were likelier to be in the arm than they are: the more such rows, the
        further the estimand of a DR-learner moves from the effect on all rows. (An R-learner clips
        propensities among two arms, and an X-learner none)
    share : the same as a share of the rows
    """

    smallest: Floats
    largest: Floats
    clipped: int
    share: float


def overlap(propensity: Floats, clip: float) -> Overlap:
    """Overlap of (n, K) propensities, clipped into [clip, 1 - clip].

    Rows without propensities (NaN: no fold predicts them) are left out.

    Examples
    --------
    >>> import numpy as np
    >>> overlap(np.array([[0.5, 0.5], [0.999, 0.001]]), clip=0.01).share
    0.5
    """
    propensity = propensity[~np.isnan(propensity).any(axis=1)]
    outside = ((propensity < clip) | (propensity > 1 - clip)).any(axis=1)
    return Overlap(
        smallest=propensity.min(axis=0),
        largest=propensity.max(axis=0),
        clipped=int(outside.sum()),
        share=float(outside.mean()),
    )
