"""Guesses at what fits take: memory, time, and how much of it the interpreter's lock is held.

Fits in threads wait for each other where they hold that lock. Loops of compiled code don't hold
it: trees of LightGBM, XGBoost, CatBoost and forests, linear algebra. What is Python between them
does: rounds of histogram boosting and batches of networks, and what encoders do with each value.
Measured with scikit-learn 1.9 and LightGBM 4.7 on a core of 2026, those of XGBoost and CatBoost
taken over from LightGBM; what matters is their order of magnitude.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.model_selection import ParameterGrid

from metalearners.base_models.nesting import is_estimator, parts


@dataclass(frozen=True)
class Cost:
    """Time on one core.

    Parameters
    ----------
    held : seconds with the interpreter's lock held
    free : seconds without
    """

    held: float = 0.0
    free: float = 0.0

    @property
    def seconds(self) -> float:
        """Of both kinds."""
        return self.held + self.free

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.held + other.held, self.free + other.free)

    def times(self, n: float) -> "Cost":
        """So many of it."""
        return Cost(n * self.held, n * self.free)


_EACH = Cost(held=2.5e-3)  # checks, rows taken, objects made
_UNKNOWN = Cost(free=1.0)  # taken for long fits that share cores well
_FOLDS = 5  # of a search, where it has none of its own

_NUMBER_BYTES = 8  # most base models make numbers of that size of whatever they are given
_LEAF_BYTES = 90  # of a forest's tree, with its share of the other nodes

_Guess = Callable[[Mapping[str, Any], int, int], Cost]


def fit_cost(estimator: Any, rows: int, columns: int) -> Cost:
    """A guess at what a fit takes, with all the models that are nested in the base model."""
    found = Cost()
    try:
        for part in filter(is_estimator, parts(estimator)):
            found += _part_cost(part, rows, columns)
        return _EACH + found.times(_refits(estimator))
    except Exception:  # a class of the same name with other parameters, or wrong ones
        return _EACH + _UNKNOWN


def fit_bytes(estimator: Any, rows: int, columns: int, row_bytes: float) -> float:
    """A guess at the memory of a fit: its rows, what is made of them, and the trees of forests."""
    trees = 0.0
    with contextlib.suppress(Exception):  # as above
        trees = sum(_tree_bytes(part, rows) for part in parts(estimator) if is_estimator(part))
    return rows * (row_bytes + _NUMBER_BYTES * columns) + trees


def _tree_bytes(part: Any, rows: int) -> float:
    if not type(part).__name__.startswith(("RandomForest", "ExtraTrees")):
        return 0.0
    given = part.get_params(deep=False)
    smallest = given["min_samples_leaf"]  # a number of rows, or their share
    leaves = [rows / smallest if smallest >= 1 else 1 / smallest]
    if given["max_leaf_nodes"]:
        leaves.append(given["max_leaf_nodes"])
    if given["max_depth"]:
        leaves.append(2.0 ** min(given["max_depth"], 60))
    return _LEAF_BYTES * min(leaves) * given["n_estimators"]


def _part_cost(part: Any, rows: int, columns: int) -> Cost:
    name, given = type(part).__name__, part.get_params(deep=False)
    if type(part).__module__.startswith("sklearn.linear_model"):
        return _linear(given, rows, columns)
    for known, guess in _GUESSES.items():
        if name.startswith(known) or name.endswith(known):
            return guess(given, rows, columns)
    wraps = any(map(is_estimator, list(parts(part))[1:]))
    predicts = is_classifier(part) or is_regressor(part)
    return _UNKNOWN if predicts and not wraps else Cost()


def _refits(estimator: Any) -> int:
    """How many fits of its inner model a search makes for each of its own."""
    given = estimator.get_params(deep=False)
    grid = given.get("param_grid")
    points = len(ParameterGrid(grid)) if grid else given.get("n_iter", 1)
    return int(points) * _FOLDS if "refit" in given else 1


# Parameters that have a number of rounds: LightGBM's and CatBoost's aliases before the names that
# are always there.
_ROUNDS = (
    *("num_iterations", "num_iteration", "n_iter", "num_tree", "num_trees", "num_round"),
    *("num_rounds", "num_boost_round", "iterations", "n_estimators", "max_iter"),
)


def _by_round(usual: int, each: Cost, value: Cost) -> _Guess:
    """A guess for models that go over their rows in rounds.

    Parameters
    ----------
    usual : number of rounds where it is left open
    each, value : what a round takes for itself, and for each value of its rows
    """

    def guess(given: Mapping[str, Any], rows: int, columns: int) -> Cost:
        told = (given[name] for name in _ROUNDS if given.get(name) is not None)
        return (each + value.times(rows * columns)).times(next(told, usual))

    return guess


def _linear(given: Mapping[str, Any], rows: int, columns: int) -> Cost:
    return Cost(free=rows * columns * (1.4e-8 + columns * 1.5e-10))


def _network(given: Mapping[str, Any], rows: int, columns: int) -> Cost:
    sizes = [columns, *np.atleast_1d(given["hidden_layer_sizes"])]
    weights = sum(float(a * b) for a, b in pairwise(sizes))
    return Cost(held=8e-7, free=7e-10 * weights).times(rows * given["max_iter"])


def _encoder(given: Mapping[str, Any], rows: int, columns: int) -> Cost:
    # With what the models that follow take for the columns that it makes.
    return Cost(held=2.7e-7, free=5.4e-7).times(rows * columns)


def _vectorizer(given: Mapping[str, Any], rows: int, columns: int) -> Cost:
    return Cost(held=rows * 2e-5)  # a text, split into words


_TREES = _by_round(100, Cost(free=3e-4), Cost(free=1.3e-8))
_FOREST = _by_round(100, Cost(held=8e-4), Cost(free=3e-7))
# By the start or the end of a class's name.
_GUESSES: Mapping[str, _Guess] = {
    "LGBM": _TREES,
    "XGB": _TREES,
    "CatBoost": _by_round(1000, Cost(free=3e-4), Cost(free=1.3e-8)),
    "RandomForest": _FOREST,
    "ExtraTrees": _FOREST,
    "HistGradientBoosting": _by_round(100, Cost(held=1.3e-3), Cost(free=1.2e-8)),
    "GradientBoosting": _by_round(100, Cost(), Cost(held=3e-8, free=2e-7)),
    "MLP": _network,
    "Encoder": _encoder,
    "Vectorizer": _vectorizer,
}
