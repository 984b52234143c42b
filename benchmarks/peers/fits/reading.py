"""What every program of this folder does: reads a workload, and prints what it took."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

FOLDS = 5
SEED = 0


def main(fit: Callable[..., Mapping[str, np.ndarray]]) -> None:
    """Fit once on a few rows, which imports and compiles, then on all; print seconds and errors.

    `fit` gets the features, outcome, arm, parameters of base models, learners and setting, and
    returns out-of-fold effects by learner, or none if it has none.
    """
    workload, setting = json.loads(Path(sys.argv[1]).read_text()), json.loads(sys.argv[2])
    X, y, w, tau = rows_of(workload)
    given = workload["params"], workload["learners"], setting
    few = slice(2_000)
    fit(X[few], y[few], w[few], {**workload["params"], "n_estimators": 2}, *given[1:])
    begun = time.perf_counter()
    effects = fit(X, y, w, *given)
    seconds = time.perf_counter() - begun
    errors = {name: float(np.sqrt(np.mean((own - tau) ** 2))) for name, own in effects.items()}
    print(json.dumps({"seconds": seconds, "errors": errors}))


def rows_of(workload: Mapping[str, Any]) -> list[np.ndarray]:
    """Features in the layout of columns, outcome, arm and true effect."""
    folder = Path(workload["rows"])
    return [np.load(folder / f"{name}.npy") for name in ("X", "y", "w", "tau")]
