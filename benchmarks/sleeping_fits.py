"""Base models that are never fitted: a Dask worker sleeps in their place, and predicts a constant.

A fit that sleeps occupies a slot but no core. So two cores can show what a large cluster would do.
"""

import time

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor

from metalearners._typing import Array, Ref
from metalearners.fits.store import Store
from metalearners.fits.unit import Fit, FitUnit
from metalearners.workers.dask import _unpacked
from metalearners.workers.shared_inputs import _Received, receive

MODEL_BYTES = 300_000  # of a pickled LightGBM model of 100 trees


class SleepingRegressor(DummyRegressor):
    """Says how long its fit takes."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds = seconds


class SleepingClassifier(DummyClassifier):
    """Says how long its fit takes."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds = seconds


def sleep_here(content: bytes, key: Ref, threads: int, topic: str | None) -> Fit:
    """Read the inputs of a shipment, sleep, and return a fit of the usual size.

    It stands in for `metalearners.workers.dask.fit_here`.
    """
    shipment = _unpacked(content)
    receive(shipment)
    unit = shipment.unit
    time.sleep(unit.estimator.params["seconds"])
    model = bytes(MODEL_BYTES) if unit.keep else None
    return Fit(predictions(unit, _Received(shipment)), model)


def predictions(unit: FitUnit, inputs: Store) -> Array | None:
    """A constant for each test row, in the shape that a unit's fit returns."""
    if unit.test is None:
        return None
    m = len(inputs.get(unit.test))
    if unit.n_arms:
        return np.ones((m, unit.n_arms, 1))
    classes = int(inputs.get(unit.target).max()) + 1 if unit.method == "predict_proba" else 1
    return np.full((m, classes), 1 / classes)
