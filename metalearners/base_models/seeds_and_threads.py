"""How a base model runs: seeds, threads and devices, also of the models nested in it."""

from collections.abc import Mapping
from typing import Any

from joblib import cpu_count
from sklearn import ensemble
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from metalearners.base_models.nesting import is_estimator, is_splitter, package_of, parts

THREADS = frozenset({"n_jobs", "num_threads", "num_thread", "nthread", "nthreads", "thread_count"})
"""Names of a base model's number of threads: scikit-learn's, and those of boosting libraries."""

_SEEDS = ("random_state", "random_seed", "seed")
_CATBOOST_LOG = {"verbose", "silent", "logging_level", "verbose_eval", "metric_period"}
# Their predictions are sums in the order of their threads: the last bits would differ each time.
_SUMMING = (
    *(ensemble.RandomForestRegressor, ensemble.RandomForestClassifier),
    *(ensemble.ExtraTreesRegressor, ensemble.ExtraTreesClassifier),
    *(ensemble.BaggingRegressor, ensemble.BaggingClassifier),
)


def set_seeds_and_threads(
    value: Any, seed: int | None, threads: int | None, within: bool = False
) -> None:
    """Fill an estimator's unset seeds and threads, and cap the threads that are set, in place.

    It goes through all values of parameters. Levels of parallelism multiply: a model with several
    jobs leaves its inner models an equal share of the threads, others leave them all. `within`
    says whether the value is part of a model that predicts with it during its fit.
    """
    if is_estimator(value):
        value.set_params(**_settings(value, seed, threads, within))
        within = within or not isinstance(value, Pipeline)
        value = value.get_params(deep=False)
        threads = threads and max(1, threads // _count(value.get("n_jobs") or 1))
    elif is_splitter(value) and getattr(value, "random_state", seed) is None:
        value.random_state = seed
    items = value.values() if isinstance(value, Mapping) else value
    for item in items if isinstance(value, (Mapping, list, tuple)) else ():
        set_seeds_and_threads(item, seed, threads, within)


def fix_order_of_sums(model: Any) -> None:
    """Make a fitted model's predictions the same bits each time."""
    if isinstance(model, Pipeline):
        fix_order_of_sums(model.steps[-1][1])
    elif isinstance(model, _SUMMING):
        model.set_params(n_jobs=1)


def predict_on_cpu(model: Any) -> None:
    """Have a model that was fitted on a device predict on the CPU, as any machine can.

    XGBoost's would look for its device, and warn of rows that aren't there or of a machine without
    it. Its parameters stay as they are, as do models inside others than a pipeline. Models of other
    libraries predict on the CPU, but for cuML's.
    """
    if isinstance(model, Pipeline):
        predict_on_cpu(model.steps[-1][1])
    elif hasattr(model, "get_booster") and model.get_params(deep=False).get("device"):
        model.get_booster().set_param({"device": "cpu"})


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
    """A model's parameters; None for those that are unset."""
    given: dict[str, Any] = part.get_params(deep=False)
    if package_of(part) == "catboost":  # lists only those that are set
        for name, aliases in (("random_seed", _SEEDS), ("thread_count", THREADS)):
            if not given.keys() & aliases:
                given[name] = None
    return given


def _threads(part: Any, given: Mapping[str, Any], threads: int) -> dict[str, int]:
    named = {name: n for name, n in given.items() if name in THREADS}
    capped = {name: min(_count(n), threads) for name, n in named.items() if n is not None}
    # scikit-learn 1.8 deprecated this model's n_jobs, which had no effect, and warns if it is set.
    if capped or not named or isinstance(part, LogisticRegression):
        return capped
    # A model that wraps others leaves the threads to them, without a pool of processes.
    nested = any(map(is_estimator, list(parts(part))[1:]))
    return {next(iter(named)): 1 if nested else threads}


def _count(n: int) -> int:
    """A number of jobs in scikit-learn's sense: -1 is all cores; boosting libraries also use 0."""
    return n if n > 0 else max(1, cpu_count() + (n + 1 if n else 0))


def _of_package(part: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a package needs to repeat its results and to write no files."""
    package = package_of(part)
    wanted: dict[str, Any] = {}
    if package == "lightgbm":
        # Without these, it chooses its histogram layout by a timing test, and its sums depend on
        # the number of threads (LightGBM documentation, parameter `deterministic`). With a thread a
        # fit, histograms by columns are as fast on few rows and take a third less time on many,
        # and they need no second copy of the bins.
        layout = {} if "force_row_wise" in given else {"force_col_wise": True}
        quiet = {} if "verbose" in given else {"verbosity": -1}
        wanted = {"deterministic": True, **layout, **quiet}
    elif package == "catboost":
        silent = {} if _CATBOOST_LOG & given.keys() else {"logging_level": "Silent"}
        wanted = {"allow_writing_files": False, **silent}  # else it writes logs where it runs
    elif package == "cuml" and "n_streams" in given:
        # With more streams, its forests don't repeat (its documentation of `random_state`).
        return {"n_streams": 1}
    return {name: value for name, value in wanted.items() if name not in given}
