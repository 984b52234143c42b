"""Estimates as named columns, and where they lie among those of the training rows."""

from typing import Any

import numpy as np

from metalearners._typing import Floats

_QUANTILES = 1001


def estimate_columns(
    learner: str, arms: list[Any], estimates: Floats, of_class: str = ""
) -> dict[str, Floats]:
    """(n, K-1) estimates as named columns; names end with the class that effects are on, if any."""
    return named_columns("cate", learner, arms[1:], estimates, of_class)


def named_columns(
    of: str, learner: str, arms: list[Any], values: Floats, of_class: str
) -> dict[str, Floats]:
    """(n, k) values as columns, one for each arm, whose names begin with what they are."""
    end = f".{of_class}" if of_class else ""
    names = (f"{of}.{learner}.{arm_name(arm)}{end}" for arm in arms)
    return dict(zip(names, values.T, strict=True))


def quantiles(estimates: Floats) -> list[float]:
    """The 1001 quantiles of estimates, from the least to the largest, that percentiles go by."""
    return np.quantile(estimates, np.linspace(0, 1, _QUANTILES)).tolist()


def percentile(values: Floats, known: list[float]) -> Floats:
    """Shares, from 0 to 100, of known quantiles that are lower; equal ones count half."""
    below = np.searchsorted(known, values)
    upto, equal = below.copy(), np.append(known, np.nan)[below] == values
    upto[equal] = np.searchsorted(known, values[equal], "right")
    return np.asarray(100 * (below + upto) / (2 * len(known)))


def arm_name(label: Any) -> str:
    """An arm's label in names of columns: integer-valued floats without ``.0``."""
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label)
