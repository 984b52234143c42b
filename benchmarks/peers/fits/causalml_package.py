"""The package CausalML. Its S-, T- and X-learner don't cross-fit, so they take fewer fits."""

from typing import Any

import numpy as np
from causalml.inference.meta import (
    BaseDRRegressor,
    BaseRRegressor,
    BaseSRegressor,
    BaseTRegressor,
    BaseXRegressor,
)
from lightgbm import LGBMClassifier, LGBMRegressor
from reading import FOLDS, SEED, main
from sklearn.model_selection import cross_val_predict


def fit(
    X: np.ndarray,
    y: np.ndarray,
    w: np.ndarray,
    params: dict[str, Any],
    learners: list[str],
    setting: dict[str, int],
) -> dict[str, np.ndarray]:
    """Effects of each learner on the rows that it was fitted on."""
    params = {**params, "n_jobs": setting["threads"]}
    outcome, arm = LGBMRegressor(**params), LGBMClassifier(**params)
    kinds = {
        "SLearner": BaseSRegressor(outcome),
        "TLearner": BaseTRegressor(outcome),
        "XLearner": BaseXRegressor(outcome),
        "RLearner": BaseRRegressor(outcome, n_fold=FOLDS, random_state=SEED),
        "DRLearner": BaseDRRegressor(outcome),
    }
    e: dict[str, np.ndarray] = {}
    if set(learners) - {"SLearner", "TLearner"}:  # else the package fits logistic ones
        e["p"] = np.clip(
            cross_val_predict(arm, X, w, cv=FOLDS, method="predict_proba")[:, 1], 0.01, 0.99
        )
    effects = {}
    for name in learners:
        given = e if name in ("XLearner", "RLearner") else {}
        if name == "DRLearner":
            given = {**e, "seed": SEED}
        learner = kinds[name]
        learner.fit(X=X, treatment=w, y=y, **given)
        effects[name] = np.ravel(learner.predict(X, p=e.get("p")))
    return effects


if __name__ == "__main__":
    main(fit)
