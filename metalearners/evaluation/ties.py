"""When numbers are the same up to rounding."""

import numpy as np

from metalearners._typing import Array, Floats


def rounding(estimates: Floats, *outcomes: Floats) -> float:
    r"""How far equal estimates may lie apart by rounding: those closer than this are ties.

    .. math:: 10^{-12} \max(|\hat\tau|, |\hat\mu|)

    and 10^-6 in place of 10^-12 where a model predicts in single precision.

    Parameters
    ----------
    estimates : array
        CATE estimates.
    *outcomes : array
        Predictions that estimates are differences of: their size decides the rounding.

    Examples
    --------
    >>> rounding(np.array([0.1, -0.3]), np.array([1000.1]))
    1.0001e-09
    """
    columns = [values[np.isfinite(values)] for values in map(np.asarray, (estimates, *outcomes))]
    largest = max((float(np.abs(values).max()) for values in columns if values.size), default=0.0)
    return (1e-6 if any(map(_is_single, columns)) else 1e-12) * largest


def _is_single(values: Floats) -> bool:
    """Whether numbers, some of them no whole ones, are all of single precision."""
    with np.errstate(over="ignore"):
        single = np.array_equal(values, values.astype(np.float32))
    return single and not np.array_equal(values, np.round(values))


def tied(values: Floats, tolerance: float | None) -> Array:
    """(n,) ranks 0, 1, ... of distinct values; sorted neighbours within rounding share one."""
    closest = rounding(values) if tolerance is None else tolerance
    order = np.argsort(values)  # whose order within ties changes nothing
    gaps = np.diff(values[order])
    rank = np.zeros(len(values), dtype=np.int64)
    rank[order[1:]] = np.cumsum((gaps > 0) & (gaps >= closest))
    return rank
