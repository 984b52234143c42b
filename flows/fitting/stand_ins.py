"""Stand-ins for nuisances before these are fitted, so that later regressions can be counted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from metalearners._typing import Array, Name
from metalearners.data.dataset import Dataset
from metalearners.fits.plan import Regression


class Column(Protocol):
    """What has a prediction for each row."""

    @property
    def column(self) -> Array:
        """Predictions for the rows of the data set, in its order."""


@dataclass(frozen=True, eq=False)
class StandIn:
    """Predictions without a fit."""

    column: Array


def stand_ins(asked: Mapping[Name, Regression], d: Dataset) -> dict[Name, StandIn]:
    """For each regression the mean of its target, or the shares of its classes, in each row."""
    return {name: StandIn(_constant(r, d)) for name, r in asked.items()}


def _constant(r: Regression, d: Dataset) -> Array:
    rows = d.train if r.rows is None else r.rows & d.train
    values = np.array([r.target[rows].mean()])
    if r.method == "predict_proba":
        values = np.bincount(r.target[rows].astype(np.int64)) / rows.sum()
    shape = (len(d), len(values)) if r.arm is None else (len(d), d.n_variants, len(values))
    return np.broadcast_to(values, shape)
