"""Counts what LightGBM is asked to do, by counters around its own functions."""

import threading
from typing import Any
from weakref import WeakKeyDictionary

import lightgbm
import numpy as np
import pytest
from lightgbm import LGBMRegressor

from metalearners.base_models import binning
from metalearners.base_models.binned_sets import BinnedSets
from metalearners.base_models.binning import own_bins
from metalearners.declaration.trial import TRIAL_ROWS

ROUNDS = {"n_estimators": 3, "num_leaves": 4}  # a trial of a base model has one round


class Counts:
    """What LightGBM was asked to do."""

    def __init__(self) -> None:
        self.fits: list[tuple[Any, ...]] = []  # each one's parameters, seed, outcomes and weights
        self.predicted: list[tuple[Any, int]] = []  # the model and the number of rows of each call
        self.binned: list[tuple[int, int]] = []  # shapes of the features that were binned
        self.most_bins = 0  # values that binned sets had together, at most
        self._sets: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._lock = threading.Lock()

    @property
    def n_predicted(self) -> int:
        """Rows that were predicted, by any model."""
        return sum(rows for _, rows in self.predicted)

    def add_set(self, made: Any) -> None:
        """Note a binned set; those that were freed no longer count."""
        with self._lock:
            self._sets[made] = made.num_data() * made.num_feature()
            held = [size for one, size in self._sets.items() if one._handle is not None]
            self.most_bins = max(self.most_bins, sum(held))


def count_lightgbm(patch: pytest.MonkeyPatch) -> Counts:
    """Counters around LightGBM's functions; trials on a few rows are left out."""
    assert own_bins(LGBMRegressor(), np.ones((2, 2))) is None  # its first call tries LightGBM
    patch.setattr(binning, "_sets", BinnedSets())  # others may have the same features
    counts = Counts()
    fit, predict = lightgbm.LGBMModel.fit, lightgbm.Booster.predict
    begin, construct = lightgbm.Dataset._lazy_init, lightgbm.Dataset.construct

    def counted_fit(model: Any, X: Any, y: Any, sample_weight: Any = None, **more: Any) -> Any:
        if model.n_estimators == ROUNDS["n_estimators"]:
            values = (hash(np.asarray(given).tobytes()) for given in (y, sample_weight))
            counts.fits.append((repr(model), *values))
        return fit(model, X, y, sample_weight=sample_weight, **more)

    def counted_predict(model: Any, data: Any, *arguments: Any, **more: Any) -> Any:
        counts.predicted.append((model, data.shape[0]))
        return predict(model, data, *arguments, **more)

    def counted_begin(made: Any, data: Any, *arguments: Any, **more: Any) -> Any:
        if data is not None and data.shape[0] > TRIAL_ROWS:
            counts.binned.append(data.shape)
        return begin(made, data, *arguments, **more)

    def counted_construct(made: Any) -> Any:
        done = made._handle is not None
        construct(made)
        if not done:
            counts.add_set(made)
        return made

    patch.setattr(lightgbm.LGBMModel, "fit", counted_fit)
    patch.setattr(lightgbm.Booster, "predict", counted_predict)
    patch.setattr(lightgbm.Dataset, "_lazy_init", counted_begin)
    patch.setattr(lightgbm.Dataset, "construct", counted_construct)
    return counts
