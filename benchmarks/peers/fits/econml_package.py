"""The package EconML. Its S-, T- and X-learner don't cross-fit, so they take fewer fits."""

from typing import Any

import numpy as np
from econml.dml import NonParamDML
from econml.dr import DRLearner
from econml.metalearners import SLearner, TLearner, XLearner
from lightgbm import LGBMClassifier, LGBMRegressor
from reading import FOLDS, SEED, main


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
    folds = {"cv": FOLDS, "random_state": SEED}
    made = {
        "SLearner": SLearner(overall_model=outcome),
        "TLearner": TLearner(models=outcome),
        "XLearner": XLearner(models=outcome, propensity_model=arm),
        "RLearner": NonParamDML(
            model_y=outcome, model_t=arm, model_final=outcome, discrete_treatment=True, **folds
        ),
        "DRLearner": DRLearner(
            model_propensity=arm,
            model_regression=outcome,
            model_final=outcome,
            min_propensity=0.01,
            **folds,
        ),
    }
    return {name: made[name].fit(y, w, X=X).effect(X).ravel() for name in learners}


if __name__ == "__main__":
    main(fit)
