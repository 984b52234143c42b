"""P-values of several tests at once, adjusted for their number."""

import numpy as np

from metalearners._typing import Floats
from metalearners.data.arguments import check_shape, numbers
from metalearners.data.conversion import as_array


def holm(p: Floats) -> Floats:
    r"""Holm p-values, adjusted for the number of tests.

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1) \, p_{(j)})

    Parameters
    ----------
    p : (m,) array
        P-values of tests that may depend on each other in any way.

    Returns
    -------
    (m,) array
        In the order of `p`. Holm's method rejects the hypotheses with values below a level a; the
        probability that any of them is true is a at most.

    Raises
    ------
    ValueError
        If `p` isn't a column of numbers from 0 to 1.

    References
    ----------
    Holm (1979), Scandinavian Journal of Statistics 6(2), pp. 65-70.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = numbers("p-values", as_array(p), "Leave those tests out.")
    check_shape("p-values", p.ndim == 1 and p.size > 0, "(m,)", p.shape)
    if p.min() < 0 or p.max() > 1:
        raise ValueError(
            f"Expected p-values from 0 to 1; found {p.min():.4g} to {p.max():.4g}. Pass "
            "probabilities, no statistics."
        )
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order])
    return np.minimum(adjusted, 1)
