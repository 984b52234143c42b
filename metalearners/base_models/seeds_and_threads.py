"""How a base model is run: its seeds and its threads, those of the models nested in it too."""

from collections.abc import Mapping
from typing import Any

from joblib import cpu_count
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from metalearners.base_models.nesting import is_estimator, is_splitter, parts

THREADS = frozenset({"n_jobs", "num_threads", "num_thread", "nthread", "nthreads", "thread_count"})
"""Names of a base model's number of threads: scikit-learn's, and those of boosting libraries."""

_SEEDS = ("random_state", "random_seed", "seed")
_CATBOOST_LOG = {"verbose", "silent", "logging_level", "verbose_eval", "metric_period"}
# They add up their members' predictions in the order, or the shares, of their threads: the last
# bits would differ from one prediction to the next.
_SUMMING = (
    *(RandomForestRegressor, RandomForestClassifier, ExtraTreesRegressor, ExtraTreesClassifier),
    *(BaggingRegressor, BaggingClassifier),
)


def settle(value: Any, seed: int | None, threads: int | None, within: bool = False) -> None:
    """Fill in what an estimator's parameters leave open, and cap its threads, all the way down.

    Levels of parallelism multiply, so a model that is told to run several jobs leaves its inner
    models what is left of the threads; one that isn't told leaves them all.

    Parameters
    ----------
    value : an estimator, changed in place; or any value of its parameters
    seed, threads : as in `EstimatorSpec.build`
    within : whether the value is part of a model that predicts with it while it is fitted
    """
    if is_estimator(value):
        value.set_params(**_settings(value, seed, threads, within))
        threads = threads and max(1, threads // _jobs(value))
        within = within or not isinstance(value, Pipeline)
        value = value.get_params(deep=False)
    elif is_splitter(value) and getattr(value, "random_state", seed) is None:
        value.random_state = seed
    items = value.values() if isinstance(value, Mapping) else value
    for item in items if isinstance(value, (Mapping, list, tuple)) else ():
        settle(item, seed, threads, within)


def settle_predictions(model: Any) -> None:
    """Make a fitted model's predictions the same bits each time."""
    if isinstance(model, Pipeline):
        settle_predictions(model.steps[-1][1])
    elif isinstance(model, _SUMMING):
        model.set_params(n_jobs=1)


def _settings(part: Any, seed: int | None, threads: int | None, within: bool) -> dict[str, Any]:
    given = _parameters(part)
    settings = _of_package(part, given)
    seeds = [name for name in _SEEDS if name in given]
    if seed is not None and seeds and all(given[name] is None for name in seeds):
        settings[seeds[0]] = seed
    if threads is not None:
        settings |= _threads(part, given, threads)
    if within and isinstance(part, _SUMMING):
        settings["n_jobs"] = 1
    return settings


def _parameters(part: Any) -> dict[str, Any]:
    """A model's own parameters, None where they are left open."""
    given: dict[str, Any] = part.get_params(deep=False)
    if _package(part) == "catboost":  # lists only what was set
        for name, aliases in (("random_seed", _SEEDS), ("thread_count", THREADS)):
            if not given.keys() & aliases:
                given[name] = None
    return given


def _threads(part: Any, given: Mapping[str, Any], threads: int) -> dict[str, int]:
    named = {name: n for name, n in given.items() if name in THREADS}
    told = {name: min(_count(n), threads) for name, n in named.items() if n is not None}
    # scikit-learn 1.8 deprecated this model's n_jobs, which had no effect, and warns if it is set.
    if told or not named or isinstance(part, LogisticRegression):
        return told
    # The threads of a model that wraps others are the others', which need no pool of processes.
    nested = any(map(is_estimator, list(parts(part))[1:]))
    return {next(iter(named)): 1 if nested else threads}


def _jobs(part: Any) -> int:
    return _count(part.get_params(deep=False).get("n_jobs", 1) or 1)


def _count(n: int) -> int:
    """A number of jobs as scikit-learn means it: -1 is all cores; boosting libraries also say 0."""
    return n if n > 0 else max(1, cpu_count() + (n + 1 if n else 0))


def _package(part: Any) -> str:
    return type(part).__module__.partition(".")[0]


def _of_package(part: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a package needs for results that repeat, and to leave nothing behind."""
    if _package(part) == "lightgbm":
        wanted = _lightgbm(given)
    elif _package(part) == "catboost":
        # It would write a folder of logs where it is run.
        quiet = {} if _CATBOOST_LOG & given.keys() else {"logging_level": "Silent"}
        wanted = {"allow_writing_files": False, **quiet}
    else:
        # With more streams, forests of cuml don't repeat (its documentation of `random_state`).
        return {"n_streams": 1} if _package(part) == "cuml" and "n_streams" in given else {}
    return {name: value for name, value in wanted.items() if name not in given}


def _lightgbm(given: Mapping[str, Any]) -> dict[str, Any]:
    # Without these, LightGBM picks its histogram layout by a timing test and its sums depend on
    # the number of threads (LightGBM documentation, parameter `deterministic`).
    wanted = {"deterministic": True, "verbosity": -1}
    if not {"force_col_wise", "force_row_wise"} & set(given):
        wanted["force_row_wise"] = True
    if "verbose" in given:
        del wanted["verbosity"]
    return wanted
