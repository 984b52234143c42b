"""Guesses at a fit's memory and time, and for how much of it the interpreter's lock is held.

Fits in threads wait for each other while they hold that lock. Loops of compiled code don't hold
it: trees of LightGBM, XGBoost, CatBoost and forests, linear algebra. The Python code between them
does: rounds of histogram boosting, batches of networks, and encoders at each value. The figures
were measured with scikit-learn 1.9 and LightGBM 4.7 on a core of 2026; XGBoost and CatBoost have
LightGBM's. Their order of magnitude is what matters.
"""

import contextlib
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.model_selection import ParameterGrid

from metalearners.base_models.nesting import is_estimator, parts


@dataclass(frozen=True)
class Cost:
    """Seconds on one core: with the interpreter's lock held, and without."""

    held: float = 0.0
    free: float = 0.0

    @property
    def seconds(self) -> float:
        """Seconds of both kinds."""
        return self.held + self.free

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.held + other.held, self.free + other.free)

    def times(self, n: float) -> "Cost":
        """The cost of so many."""
        return Cost(n * self.held, n * self.free)


_EACH_FIT = Cost(held=2.5e-3)  # checks, rows taken, objects made
_UNKNOWN = Cost(free=1.0)  # other models count as long fits that share cores well
_FOLDS = 5  # of a search, where it has none of its own

# Most base models turn each value that they get into a number of that size. Bins of LightGBM, of
# its own or its rows of a shared set, are smaller.
_NUMBER_BYTES = 8
_LEAF_BYTES = 90  # of a forest's tree, with its share of the other nodes

# By the start or the end of a class's name: the usual number of rounds, what a round costs, and
# what it costs for each value of its rows. An encoder's cost includes that of the models after it,
# for the columns that it makes.
_BY_ROUNDS = {
    "LGBM": (100, Cost(free=3e-4), Cost(free=1.3e-8)),
    "XGB": (100, Cost(free=3e-4), Cost(free=1.3e-8)),
    "CatBoost": (1000, Cost(free=3e-4), Cost(free=1.3e-8)),
    "RandomForest": (100, Cost(held=8e-4), Cost(free=3e-7)),
    "ExtraTrees": (100, Cost(held=8e-4), Cost(free=3e-7)),
    "HistGradientBoosting": (100, Cost(held=1.3e-3), Cost(free=1.2e-8)),
    "Encoder": (1, Cost(), Cost(held=2.7e-7, free=5.4e-7)),
}
# Parameters that have a number of rounds: LightGBM's and CatBoost's aliases before the names that
# are always there.
_ROUNDS = (
    *("num_iterations", "num_iteration", "n_iter", "num_tree", "num_trees", "num_round"),
    *("num_rounds", "num_boost_round", "iterations", "n_estimators", "max_iter"),
)


def fit_cost(estimator: Any, rows: int, columns: int) -> Cost:
    """A guess at the time of a fit, with all models nested in the base model."""
    try:
        nested = filter(is_estimator, parts(estimator))
        cost = sum((_part_cost(part, rows, columns) for part in nested), Cost())
        return _EACH_FIT + cost.times(_refits(estimator))
    except Exception:  # a class of the same name with other parameters, or wrong ones
        return _EACH_FIT + _UNKNOWN


def _part_cost(part: Any, rows: int, columns: int) -> Cost:
    name, params = type(part).__name__, part.get_params(deep=False)
    if type(part).__module__.startswith("sklearn.linear_model"):
        return Cost(free=rows * columns * (1.4e-8 + columns * 1.5e-10))
    if name.startswith("MLP"):
        sizes = [columns, *np.atleast_1d(params["hidden_layer_sizes"])]
        weights = sum(float(a * b) for a, b in pairwise(sizes))
        return Cost(held=8e-7, free=7e-10 * weights).times(rows * params["max_iter"])
    for known, (usual, each, value) in _BY_ROUNDS.items():
        if name.startswith(known) or name.endswith(known):
            chosen = (params[key] for key in _ROUNDS if params.get(key) is not None)
            return (each + value.times(rows * columns)).times(next(chosen, usual))
    wraps = any(map(is_estimator, list(parts(part))[1:]))
    predicts = is_classifier(part) or is_regressor(part)
    return _UNKNOWN if predicts and not wraps else Cost()


def _refits(estimator: Any) -> int:
    """How many fits of its inner model a search makes for each of its own."""
    params = estimator.get_params(deep=False)
    grid = params.get("param_grid")
    points = len(ParameterGrid(grid)) if grid else params.get("n_iter", 1)
    return int(points) * _FOLDS if "refit" in params else 1


def fit_bytes(estimator: Any, rows: int, columns: int, row_bytes: float) -> float:
    """A guess at the memory of a fit: its rows, what is made of them, and the trees of forests."""
    trees = 0.0
    with contextlib.suppress(Exception):  # as above
        trees = sum(_tree_bytes(part, rows) for part in parts(estimator) if is_estimator(part))
    return rows * (row_bytes + _NUMBER_BYTES * columns) + trees


def _tree_bytes(part: Any, rows: int) -> float:
    if not type(part).__name__.startswith(("RandomForest", "ExtraTrees")):
        return 0.0
    params = part.get_params(deep=False)
    smallest = params["min_samples_leaf"]  # a number of rows, or their share
    leaves = [rows / smallest if smallest >= 1 else 1 / smallest]
    if params["max_leaf_nodes"]:
        leaves.append(params["max_leaf_nodes"])
    if params["max_depth"]:
        leaves.append(2.0 ** min(params["max_depth"], 60))
    return _LEAF_BYTES * min(leaves) * params["n_estimators"]
