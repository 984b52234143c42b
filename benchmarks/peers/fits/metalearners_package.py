"""The package metalearners: learners with nuisance models in common, as far as it can share."""

from typing import Any

import numpy as np
from lightgbm import LGBMClassifier, LGBMRegressor
from reading import FOLDS, SEED, main

import metalearners
from metalearners.cross_fit_estimator import CrossFitEstimator


def fit(
    X: np.ndarray,
    y: np.ndarray,
    w: np.ndarray,
    params: dict[str, Any],
    learners: list[str],
    setting: dict[str, int],
) -> dict[str, np.ndarray]:
    """Out-of-fold effects of each learner."""
    params = {**params, "n_jobs": setting["threads"]}
    jobs = {"n_jobs_cross_fitting": setting["folds"], "n_jobs_base_learners": setting["models"]}
    models: dict[str, Any] = {
        "nuisance_model_factory": LGBMRegressor,
        "nuisance_model_params": params,
        "treatment_model_factory": LGBMRegressor,
        "treatment_model_params": params,
        "propensity_model_factory": LGBMClassifier,
        "propensity_model_params": params,
    }
    share = len(learners) > 1 and not setting.get("apart")
    shared = prefitted(X, y, w, params, setting) if share else {}
    effects = {}
    for name in learners:
        kind = getattr(metalearners, name)
        given = {**models, **shared.get(name, {}), "n_folds": FOLDS, "random_state": SEED}
        learner = kind(is_classification=False, n_variants=2, **given).fit(X, y, w, **jobs)
        effects[name] = learner.predict(X, is_oos=False)[:, 0, 0]
    return effects


def prefitted(
    X: np.ndarray, y: np.ndarray, w: np.ndarray, params: dict[str, Any], setting: dict[str, int]
) -> dict[str, Any]:
    """What several learners need, fitted once: propensities, and outcomes by arm."""

    def cross_fitted(factory: type, rows: np.ndarray, target: np.ndarray) -> CrossFitEstimator:
        made = CrossFitEstimator(FOLDS, factory, params, random_state=SEED)
        return made.fit(X[rows], target[rows], n_jobs_cross_fitting=setting["folds"])

    arms = [cross_fitted(LGBMRegressor, w == k, y) for k in range(2)]
    e = {"fitted_propensity_model": cross_fitted(LGBMClassifier, w >= 0, w)}
    by_arm = {"fitted_nuisance_models": {"variant_outcome_model": arms}}
    return {
        "TLearner": by_arm,
        "XLearner": {**by_arm, **e},
        "RLearner": e,
        "DRLearner": {**by_arm, **e},
    }


if __name__ == "__main__":
    main(fit)
