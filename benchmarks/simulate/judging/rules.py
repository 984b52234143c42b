"""What is judged, and by what: rules fitted on rows of their own, scores of held-out rows."""

from typing import Any

import numpy as np
from lightgbm import LGBMRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression

from benchmarks.simulate.judging.populations import Drawn
from metalearners import DRLearner, TLearner

FOLDS = 5
SMALL = {
    "n_estimators": 15,
    "num_leaves": 4,
    "learning_rate": 0.2,
    "min_child_samples": 10,
    "n_jobs": 1,
    "verbosity": -1,
}
MODELS: dict[str, dict[str, Any]] = {
    "linear": {"nuisance_model_factory": LinearRegression},
    "trees": {"nuisance_model_factory": LGBMRegressor, "nuisance_model_params": SMALL},
    "others": {"nuisance_model_factory": LinearRegression},
    "last": {"nuisance_model_factory": LinearRegression},
}
SEES = {"others": [2, 3, 4], "last": [4]}  # features that the first arm's effect doesn't follow


class Rule:
    """A T-learner's estimates: of linear models, small trees, or linear ones of some features."""

    def __init__(self, kind: str, train: Drawn, seed: int) -> None:
        """Fit it on training rows; of its models, only those of all these rows count."""
        self._learner = TLearner(
            False, train.n_variants, **MODELS[kind], n_folds=2, random_state=seed
        )
        self._features = SEES.get(kind, [*range(train.X.shape[1])])
        facts = {k: v for k, v in train.facts.items() if k != "propensity"}
        self._learner.fit(train.X[:, self._features], train.y, train.w, **facts)

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """(n, K-1) estimates."""
        return self._learner.predict(X[:, self._features], is_oos=True)[:, :, 0]


def judge(n_variants: int, seed: int) -> DRLearner:
    """A learner whose nuisances judge: linear outcomes, logistic propensities, in five folds."""
    return DRLearner(
        False,
        n_variants,
        nuisance_model_factory=LinearRegression,
        treatment_model_factory=LinearRegression,
        propensity_model_factory=LogisticRegression,
        n_folds=FOLDS,
        random_state=seed,
    )


def scores(held_out: Drawn, seed: int) -> np.ndarray:
    """(n, K) doubly robust scores by nuisances that are cross-fitted on the held-out rows."""
    fitted = judge(held_out.n_variants, seed)
    fitted.fit_all_nuisance(*held_out.rows, **held_out.facts)
    weight, groups = held_out.beside
    known = held_out.facts.get("propensity")
    return fitted._known_scores(*held_out.rows, False, weight, groups, known)[0]
