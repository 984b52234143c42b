"""What is measured on one sample, by the library; known shares or an estimated propensity."""

from collections.abc import Callable
from typing import Any

import numpy as np
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression

from benchmarks.simulate.samples import Sample
from metalearners import DRLearner, TLearner
from metalearners.data.folds import draw_holdout
from metalearners.declaration.defaults import lightgbm_params
from metalearners.evaluation.average_effects import difference_in_means
from metalearners.evaluation.design import arm_shares
from metalearners.evaluation.judging.rate import rate

FOLDS = 5  # as many as the flows draw
HOLDOUT = 0.2  # their share of rows, too
Measured = dict[str, Any]
Measure = Callable[[Sample, int], Measured]


def averages(models: str, randomised: bool) -> Measure:
    """Raw and adjusted average effects with their errors, a number an arm but the control."""

    def measure(s: Sample, seed: int) -> Measured:
        given = {**s.beside, **_known(s, randomised)}
        learner = DRLearner(False, s.n_variants, **MODELS[models](s), **_folds(seed))
        learner.fit_all_nuisance(s.X, s.y, s.w, **given)
        found = learner.average_effects(s.X, s.y, s.w, False, **given)
        weight, groups = s.beside.get("sample_weight"), s.beside.get("groups")
        raw = [difference_in_means(s.y, s.w, k, weight, groups) for k in range(1, s.n_variants)]
        return {
            "raw": [one.estimate for one in raw],
            "raw_error": [one.std_error for one in raw],
            "estimate": [one.effect.estimate for one in found],
            "error": [one.effect.std_error for one in found],
            "covers": [
                bool(one.effect.ci_low <= tau <= one.effect.ci_high)
                for one, tau in zip(found, s.truth, strict=True)
            ],
            "claims": not all(one.joint[0] <= 0 <= one.joint[1] for one in found),
        }

    return measure


def held_out_qini(models: str, randomised: bool) -> Measure:
    """The z statistic of a learner's held-out Qini, scored by nuisances of the held-out rows."""

    def measure(s: Sample, seed: int) -> Measured:
        held_out = draw_holdout(s.w, HOLDOUT, seed)
        train, made = ~held_out, MODELS[models](s)
        known = {k: v[held_out] for k, v in _known(s, randomised).items()}
        rows = s.X[held_out], s.y[held_out], s.w[held_out]
        judge = DRLearner(False, s.n_variants, **made, **_folds(seed))
        judge.fit_all_nuisance(*rows, **known)
        del made["propensity_model_factory"], made["propensity_model_params"]
        # Of this one, only the models of all training rows count: two folds are the fewest.
        learner = TLearner(False, s.n_variants, **made, n_folds=2, random_state=seed)
        learner.fit(s.X[train], s.y[train], s.w[train])
        priority = learner.predict(rows[0], is_oos=True)[:, 0, 0]
        scores = judge._pseudo_outcome(*rows, 1, is_oos=False)
        qini = rate(priority, scores, kind="qini").estimate
        return {"z": qini.estimate / qini.std_error}

    return measure


def _known(s: Sample, randomised: bool) -> dict[str, np.ndarray]:
    weight = s.beside.get("sample_weight")
    return {"propensity": arm_shares(s.w, s.n_variants, weight=weight)} if randomised else {}


def _folds(seed: int) -> dict[str, int]:
    return {"n_folds": FOLDS, "random_state": seed}


def _default_models(s: Sample) -> dict[str, Any]:
    """The flows' base models, with the parameters that they choose for so many rows and arms."""
    roles = {"nuisance": "outcome", "treatment": "treatment", "propensity": "propensity"}
    made: dict[str, Any] = {}
    for stage, role in roles.items():
        params = lightgbm_params(role, len(s.y), s.n_variants)
        made[f"{stage}_model_factory"] = LGBMClassifier if role == "propensity" else LGBMRegressor
        made[f"{stage}_model_params"] = {**params, "n_jobs": 1, "verbosity": -1}
    return made


def _linear_models(s: Sample) -> dict[str, Any]:
    return {
        "nuisance_model_factory": LinearRegression,
        "treatment_model_factory": LinearRegression,
        "propensity_model_factory": LogisticRegression,
    }


MODELS = {"default": _default_models, "linear": _linear_models}
