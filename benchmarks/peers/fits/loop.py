"""A bare joblib loop over the distinct fits of some learners, by scikit-learn's interface.

Each regression fits a model on all rows and one outside of each fold, as our learners do. Fits run
in threads, since LightGBM releases the interpreter's lock.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from lightgbm import LGBMClassifier, LGBMRegressor
from reading import FOLDS, SEED, main
from sklearn.model_selection import StratifiedKFold

Effects = dict[str, np.ndarray]


@dataclass
class Loop:
    """Cross-fits base models on some rows of one feature matrix."""

    X: np.ndarray
    w: np.ndarray
    params: dict[str, Any]
    jobs: int
    n_folds: int

    def __post_init__(self) -> None:
        split = StratifiedKFold(self.n_folds, shuffle=True, random_state=SEED).split(self.X, self.w)
        self.folds = [test for _, test in split]

    def fit(self, asked: Sequence[tuple[type, Any, np.ndarray, bool]]) -> list[np.ndarray]:
        """Predictions out of fold, of each regression: class, target, its rows, overall model."""
        jobs = [job for number, one in enumerate(asked) for job in self._jobs(number, *one)]
        found = [np.empty(len(self.w)) for _ in asked]
        parallel = Parallel(self.jobs, backend="threading", return_as="generator_unordered")
        for number, test, values in parallel(jobs):
            if test is not None:
                found[number][test] = values
        return found

    def _jobs(
        self, number: int, kind: type, target: Any, own: np.ndarray, overall: bool
    ) -> Iterator[Any]:
        for test in self.folds:
            train = own.copy()
            train[test] = False
            yield delayed(self._one)(number, kind, target, train, test)
        if overall:
            yield delayed(self._one)(number, kind, target, own, None)

    def _one(
        self, number: int, kind: type, target: np.ndarray, train: np.ndarray, test: Any
    ) -> tuple[int, Any, Any]:
        model = kind(**self.params).fit(self.X[train], target[train])
        if test is None:
            return number, None, None
        if kind is LGBMClassifier:
            return number, test, model.predict_proba(self.X[test])[:, 1]
        return number, test, model.predict(self.X[test])


def fit(
    X: np.ndarray,
    y: np.ndarray,
    w: np.ndarray,
    params: dict[str, Any],
    learners: list[str],
    setting: dict[str, int],
) -> Effects:
    """Effects of the five learners, or of a T-learner alone."""
    n_folds = setting.get("folds", FOLDS)
    loop = Loop(X, w, {**params, "n_jobs": setting["threads"]}, setting["jobs"], n_folds)
    every, arms = np.ones(len(w), bool), [w == 0, w == 1]
    by_arm = [(LGBMRegressor, y, own, True) for own in arms]
    if learners == ["TLearner"]:
        mu0, mu1 = loop.fit(by_arm)
        return {"TLearner": mu1 - mu0}
    shared = [(LGBMClassifier, w, every, True), (LGBMRegressor, y, every, False)]
    with_arm = Loop(np.column_stack([X, w]), w, loop.params, loop.jobs, n_folds)
    mu0, mu1, e, m = loop.fit([*by_arm, *shared])
    with_arm.fit([(LGBMRegressor, y, every, True)])  # a lower bound: no effects are predicted
    e = np.clip(e, 0.01, 0.99)
    second, weight = _second_stage(loop, y, w, mu0, mu1, e, m)
    tau0, tau1, _, dr = loop.fit(second)
    return {"TLearner": mu1 - mu0, "XLearner": weight * tau0 + (1 - weight) * tau1, "DRLearner": dr}


def _second_stage(
    loop: Loop, y: Any, w: Any, mu0: Any, mu1: Any, e: Any, m: Any
) -> tuple[list[Any], np.ndarray]:
    own = np.where(w == 1, mu1, mu0)
    score = mu1 - mu0 + (w - e) / (e * (1 - e)) * (y - own)
    every = np.ones(len(w), bool)
    r = (y - m) / (w - e)  # its weights would change no time
    asked = [
        (LGBMRegressor, mu1 - y, w == 0, True),
        (LGBMRegressor, y - mu0, w == 1, True),
        (LGBMRegressor, r, every, True),
        (LGBMRegressor, score, every, True),
    ]
    return asked, e


if __name__ == "__main__":
    main(fit)
