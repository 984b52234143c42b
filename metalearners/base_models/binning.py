"""Fits of LightGBM that share one binned data set, in place of one for each fit.

LightGBM sorts each feature's values into bins before it trains. With shared bins, it does so once
for all rows of a feature matrix, and each fit trains on a subset of that set
(`lightgbm.Dataset.subset`). Bins depend on features, never on targets or weights.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from metalearners._typing import Array, Matrix
from metalearners.base_models.binned_sets import BinnedSets

# Parameters that decide how a set is built, by LightGBM's main names. The last two don't decide its
# bins, but a subset inherits them: with them in the key, no fit gets those of another.
_BUILDING = (
    *("max_bin", "max_bin_by_feature", "min_data_in_bin", "bin_construct_sample_cnt"),
    *("data_random_seed", "use_missing", "zero_as_missing", "enable_bundle", "is_enable_sparse"),
    *("feature_pre_filter", "num_threads", "verbosity"),
)
# Without the filter, as what it removes depends on each fit's smallest leaf; and with LightGBM's
# default seed for the rows that bins are drawn from, which else depends on each fit's seed.
_FIXED = {"feature_pre_filter": False, "data_random_seed": 1}
# Values of parameters that allow shared bins; others, but for None, don't.
_ALLOWED: Mapping[str, tuple[Any, ...]] = {
    "feature_pre_filter": (False,),
    "linear_tree": (False,),
    "device_type": ("cpu",),
    "tree_learner": ("serial",),
    "num_machines": (1,),
    "early_stopping_round": (0,),
    "categorical_feature": (),  # column types say it
    "forcedbins_filename": ("",),
}
_CLASSES = ("LGBMRegressor", "LGBMClassifier")


@dataclass(eq=False)
class AllRows:
    """A feature matrix that fits bin together, and which of its rows one fit learns from."""

    name: str  # of the matrix's content
    owner: Any  # what its set is dropped with
    make: Callable[[], Matrix]
    rows: Array  # positions, ascending
    read: bool = False  # whether the fit's training set came from it


_sets = BinnedSets()
_asked: ContextVar[AllRows | None] = ContextVar("asked", default=None)
_installing = threading.Lock()


def own_bins(estimator: Any, X: Matrix, with_arguments: bool = False) -> str | None:
    """Why a base model's fits bin their own rows; None where they share bins.

    `with_arguments` says whether its `fit` gets arguments other than row weights.
    """
    made = type(estimator)
    if made.__module__ != "lightgbm.sklearn" or made.__name__ not in _CLASSES:
        return f"only {' and '.join(_CLASSES)} themselves share bins; found {made.__name__}"
    if with_arguments:
        return "its fit gets arguments, such as callbacks"
    if isinstance(X, np.ndarray) and X.dtype.kind not in "biuf":
        return f"features are an array of type {X.dtype}; convert it to numbers, or to a data frame"
    return _unusable() or _of_parameters(estimator.get_params())


def _of_parameters(given: Mapping[str, Any]) -> str | None:
    for main, allowed in _ALLOWED.items():
        for name in _aliases(main):
            value = given.get(name)
            if value is not None and (np.ndim(value) or value not in allowed):
                return f"its parameter {name} is {value!r}"
    objectives = [name for name in _aliases("objective") if callable(given.get(name))]
    return f"its parameter {objectives[0]} is a function" if objectives else None


@contextmanager
def sharing_bins(matrix: AllRows | None) -> Iterator[None]:
    """Within it, a LightGBM model's `fit` trains on a subset of the shared set.

    `fit` reads the shape of the features that it gets, not their values: see `shape_of`. None
    shares nothing. Raises RuntimeError where this process's LightGBM can't share them: the key of
    the fit says that it does, so a fit of its own bins must not be kept under it.
    """
    if matrix is None:
        yield
        return
    _check(_unusable())
    token = _asked.set(matrix)
    try:
        yield
    finally:
        _asked.reset(token)
    _check(None if matrix.read else "LightGBM made its training set in an unexpected way")


def shape_of(n_rows: int, n_features: int) -> Array:
    """Features for a fit that shares bins: an array of this shape, which takes no memory."""
    return np.broadcast_to(np.float32(0), (n_rows, n_features))


def _check(problem: str | None) -> None:
    if problem:
        raise RuntimeError(
            f"Expected a LightGBM that can share bins, as the plan of this run found; {problem}. "
            "Give all workers one version of it, or set share_bins: false."
        )


def _training_set(data: Any, label: Any = None, **options: Any) -> Any:
    """What LightGBM's scikit-learn interface calls in place of `lightgbm.Dataset`."""
    from lightgbm import Dataset

    matrix = _asked.get()
    if matrix is None or matrix.read:
        return Dataset(data, label, **options)
    params = options["params"]
    whole = _whole(matrix, params)
    part = whole.subset([], params=whole.params)
    part.used_indices = matrix.rows.astype(np.int32)  # `subset` would make a list of them
    part.construct()
    part.set_label(label)
    part.set_weight(options["weight"])
    part.params = {**whole.params, **params}  # which the booster takes over
    # Private; the scikit-learn interface reads it to know that features have names.
    part._has_non_default_feature_names = whole._has_non_default_feature_names
    matrix.read = True
    return part


def _whole(matrix: AllRows, params: Mapping[str, Any]) -> Any:
    """The shared set of a matrix for these parameters."""
    from lightgbm import Dataset

    names = _building_names()
    chosen = {n: value for n, value in params.items() if n in names and value is not None}
    absent = {main: v for main, v in _FIXED.items() if chosen.keys().isdisjoint(_aliases(main))}
    chosen |= absent

    def build() -> Any:
        made = matrix.make()
        label = np.zeros(made.shape[0], np.float32)  # each fit sets its own
        return Dataset(made, label, params=chosen).construct()

    # By the given names: of two that mean the same, LightGBM takes one by rules of its own.
    values = ((name, repr(np.asarray(value).tolist())) for name, value in chosen.items())
    return _sets.get((matrix.name, frozenset(values)), matrix.owner, build)


@cache
def _building_names() -> frozenset[str]:
    """Every name of the parameters that decide how a set is built."""
    return frozenset(alias for main in _BUILDING for alias in _aliases(main))


def _aliases(main: str) -> list[str]:
    from lightgbm.basic import _ConfigAliases  # private; `_install` looks whether it is there

    return list(_ConfigAliases.get_sorted(main))


def _unusable() -> str | None:
    """Why this LightGBM can't share bins; None if it can. The first call makes it ready."""
    with _installing:
        return _install()


@cache
def _install() -> str | None:
    import lightgbm
    from lightgbm import basic, sklearn

    differs = f"LightGBM {lightgbm.__version__} is built in an unexpected way"
    own = getattr(sklearn, "Dataset", None)
    if own is not basic.Dataset or not hasattr(basic, "_ConfigAliases"):
        return differs
    plain = _small_model(None)
    vars(sklearn)["Dataset"] = _training_set
    owner = _SMALL.copy()  # so that the set is dropped
    try:
        shares = _small_model(AllRows("small", owner, lambda: _SMALL, np.arange(len(_SMALL))))
    except Exception:  # whatever another version raises
        shares = ""
    if shares != plain:
        vars(sklearn)["Dataset"] = own
        return differs
    return None


_SMALL = np.arange(60.0).reshape(30, 2) % 7


def _small_model(matrix: AllRows | None) -> str:
    """Trees of a small fit; empty if it should have shared bins and didn't."""
    from lightgbm import LGBMRegressor

    model = LGBMRegressor(n_estimators=2, min_child_samples=2, n_jobs=1, verbosity=-1)
    token = _asked.set(matrix)
    try:
        model.fit(_SMALL, _SMALL @ [1.0, 2.0])
    finally:
        _asked.reset(token)
    if matrix is not None and not matrix.read:
        return ""
    text: str = model.booster_.model_to_string()
    return text.partition("\nparameters:")[0]
