"""Fits the five learners of whichever `metalearners` this interpreter has.

The two packages share a constructor, so one call fits both: what differs is the interpreter. Run
by `reference.py`; takes files of rows and prints each file's errors as JSON.
"""

import contextlib
import json
import sys
from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression

import metalearners

SEED = 1337
FOLDS = 10
LOGISTIC = {"max_iter": 500}


def main() -> None:
    """Print the errors of each file that is named."""
    reuse, *paths = sys.argv[1:]
    with contextlib.redirect_stdout(sys.stderr):  # the package prints while it checks its models
        found = [errors(dict(np.load(path)), reuse == "reuse") for path in paths]
    json.dump(found, sys.stdout)


def errors(rows: dict[str, np.ndarray], reuse: bool) -> dict[str, float]:
    """Root mean squared error of each learner's effects on the test rows."""
    train = rows["X"], rows["y"], rows["w"]
    classes, n_variants = bool(rows["classes"]), int(rows["w"].max()) + 1
    shared = prefitted(*train, classes) if reuse else {}
    found = {}
    for name in ("S", "T", "X", "R", "DR"):
        given = {**base_models(classes), **shared.get(name, {})}
        learner = getattr(metalearners, f"{name}Learner")
        fitted = learner(classes, n_variants, **given, n_folds=FOLDS, random_state=SEED)
        fitted.fit(*train)
        gaps = fitted.predict(rows["X_test"], is_oos=True)[:, :, -1] - rows["tau_test"]
        found[name] = float(np.sqrt(np.mean(gaps**2)))
    return found


def base_models(classes: bool) -> dict[str, Any]:
    """Linear and logistic models."""
    return {
        "nuisance_model_factory": LogisticRegression if classes else LinearRegression,
        "nuisance_model_params": LOGISTIC if classes else {},
        "treatment_model_factory": LinearRegression,
        "propensity_model_factory": LogisticRegression,
        "propensity_model_params": LOGISTIC,
    }


def prefitted(X: np.ndarray, y: np.ndarray, w: np.ndarray, classes: bool) -> dict[str, Any]:
    """What several learners need, fitted once: propensities, and outcomes by arm."""
    from metalearners.cross_fit_estimator import CrossFitEstimator

    models = base_models(classes)
    outcome = models["nuisance_model_factory"], models["nuisance_model_params"]

    def fit(factory: type, params: dict[str, Any], rows: Any, target: np.ndarray) -> Any:
        made = CrossFitEstimator(FOLDS, factory, params, random_state=SEED)
        return made.fit(X[rows], target[rows])

    arms = [fit(*outcome, w == k, y) for k in range(int(w.max()) + 1)]
    by_arm = {"fitted_nuisance_models": {"variant_outcome_model": arms}}
    e = {"fitted_propensity_model": fit(LogisticRegression, LOGISTIC, slice(None), w)}
    return {"T": by_arm, "X": {**by_arm, **e}, "R": e, "DR": {**by_arm, **e}}


if __name__ == "__main__":
    main()
