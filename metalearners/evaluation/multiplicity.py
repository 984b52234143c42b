"""Several tests at once: p-values that stay honest however many there are."""

import numpy as np

from metalearners._typing import Floats
from metalearners.data.arguments import check_shape, numbers
from metalearners.data.conversion import as_array


def holm(p: Floats) -> Floats:
    r"""Holm p-values, adjusted for the number of tests.

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1) \, p_{(j)})

    Parameters
    ----------
    p : (m,) p-values, of tests that may depend on each other in any way

    Returns
    -------
    (m,) in the order of `p`; tests below a level a are the ones that Holm's method rejects, with
    probability a at most that any of them is true

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
