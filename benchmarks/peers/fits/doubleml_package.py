"""The package DoubleML, which estimates the average effect: the nuisance models of a DR-learner."""

from typing import Any

import numpy as np
from doubleml import DoubleMLData, DoubleMLIRM
from lightgbm import LGBMClassifier, LGBMRegressor
from reading import FOLDS, main


def fit(
    X: np.ndarray,
    y: np.ndarray,
    w: np.ndarray,
    params: dict[str, Any],
    learners: list[str],
    setting: dict[str, int],
) -> dict[str, np.ndarray]:
    """No effects of rows."""
    params = {**params, "n_jobs": setting["threads"]}
    data = DoubleMLData.from_arrays(X, y, w)
    models = LGBMRegressor(**params), LGBMClassifier(**params)
    DoubleMLIRM(data, *models, n_folds=FOLDS).fit(n_jobs_cv=setting["folds"])
    return {}


if __name__ == "__main__":
    main(fit)
