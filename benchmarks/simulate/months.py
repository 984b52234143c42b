"""Months of new rows beside training rows: features of many shapes that drift or don't."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from metalearners.evaluation.recurring.drift import DRIFT, Reference

COLUMNS = 12


@dataclass(frozen=True)
class Month:
    """Training rows and a month's rows, with 12 features.

    Parameters
    ----------
    seed : of the draws
    train, new : numbers of rows
    per_group : rows of a group
    shift : of the first feature of the new rows, in standard deviations
    """

    seed: int
    train: int = 20_000
    new: int = 10_000
    per_group: int = 1
    shift: float = 0.0


def drifts(month: Month, seed: int) -> dict[str, Any]:
    """What is found in each feature."""
    rng = np.random.default_rng(month.seed)
    before, groups = _rows(rng, month.train, month.per_group)
    after, new_groups = _rows(rng, month.new, month.per_group)
    after["normal"] += month.shift
    found = Reference.of(before, groups=groups).compare(after, groups=new_groups)
    return {
        "drift": [one.status == DRIFT for one in found],
        "below": [one.p_value < 1e-3 for one in found],
    }


def _rows(
    rng: np.random.Generator, n: int, per_group: int
) -> tuple[pd.DataFrame, np.ndarray | None]:
    """Features of independent groups; all but the row's own, which vary within groups."""
    groups = np.arange(n) // per_group
    of_group = np.exp(0.5 * rng.normal(size=(groups[-1] + 1, 6)))

    def mixed(k: int) -> np.ndarray:
        return np.log(of_group[groups, k]) * 2 + (rng.normal(size=n) if per_group > 1 else 0)

    drawn: dict[str, Callable[[], Any]] = {
        "normal": lambda: mixed(0),
        "skewed": lambda: np.exp(mixed(1)),
        "of the group": lambda: of_group[groups, 2],
        "zeros": lambda: np.maximum(mixed(3), 0),
        "counts": lambda: rng.poisson(of_group[groups, 4]),
        "missing": lambda: np.where(rng.uniform(size=n) < 0.3, np.nan, mixed(5)),
        "rarely": lambda: rng.uniform(size=n) < 0.01,
        "boolean": lambda: rng.uniform(size=n) < 0.5,
        "uniform": lambda: rng.uniform(size=n).astype(np.float32),
        "dates": lambda: pd.Timestamp(0) + pd.to_timedelta(rng.integers(0, 365, n), unit="D"),
        "levels": lambda: pd.Categorical(rng.integers(0, 4, n).astype(str)),
        "rare levels": lambda: rng.zipf(1.5, n).clip(max=10_000).astype(str),
    }
    frame = pd.DataFrame({name: draw() for name, draw in drawn.items()})
    return frame, groups if per_group > 1 else None
