"""What `parallelism: auto` loses against the best setting there is, on several workloads.

Each workload's fits, those of both stages, are made through a run's workers without Prefect, under
every setting within the cores; the start and the end of worker processes count. Settings take
turns, five times, and medians are compared: `python -m benchmarks.parallelism [WORKLOAD ...]`
prints a Markdown table. Fits of the second stage learn stand-ins of the first's predictions, so
that each setting has the same fits to make.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
from joblib import cpu_count

from flows.config.reading import parse_config
from flows.fitting.parallelism import Parallelism, choose, work_of
from flows.fitting.regressions import expected
from flows.inputs.study import Study, load_study
from metalearners.fits.plan import Plan, plan_stage
from metalearners.fits.store import MemoryStore
from metalearners.fits.unit import FitUnit
from metalearners.workers.threads import limited_blas

REPEATS = 5
HOPELESS = 2.5  # times the best


def main(names: list[str]) -> None:
    """Measure, print."""
    os.chdir(tempfile.mkdtemp())
    print(
        "| workload | fits |", " | ".join(map(label, settings())), "| best | auto | auto / best |"
    )
    print("|---|---|" + "---|" * (len(settings()) + 3))
    winners = [row(name) for name in names or WORKLOADS]
    print(f"\n{len(set(winners))} different winners: {', '.join(sorted(set(winners)))}.")


def settings() -> list[Parallelism]:
    """All that the cores allow; one process with a thread would be `serial 1x1`, started twice."""
    cores = cpu_count()
    products = [(w, t) for w in range(1, cores + 1) for t in range(1, cores // w + 1)]
    found = [Parallelism("thread", w, t, "config") for w, t in products if w > 1]
    found += [Parallelism("serial", 1, t, "config") for w, t in products if w == 1]
    return found + [Parallelism("process", w, t, "config") for w, t in products if w * t > 1]


def label(setting: Parallelism) -> str:
    """A setting in short."""
    return f"{setting.runner} {setting.workers}x{setting.base_model_threads}"


def row(name: str) -> str:
    """Measure a workload and print its line; returns the winner."""
    study = WORKLOADS[name]()
    auto = label(choose("auto", work_of(study.dataset, expected(study))))
    store = MemoryStore()
    plans = [plan_stage(asked, study.dataset, store) for asked in expected(study)]
    seconds: dict[str, list[float]] = {label(setting): [] for setting in settings()}
    for turn in range(REPEATS):
        for setting in settings():
            # What was hopeless once is not tried again, nor waited for: on a busy machine, threads
            # that wait for each other may take ten times as long.
            limit = HOPELESS * min([float("inf"), *map(min, filter(None, seconds.values()))])
            if turn == 0 or min(seconds[label(setting)]) < limit:
                seconds[label(setting)].append(fitted(plans, store, setting, limit))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    best = min(medians, key=lambda name: medians[name])
    fits = sum(len(plan.units) for plan in plans)
    shown = " | ".join(
        f"{medians[n]:.2f}{'' if len(v) == REPEATS else ' *'}" for n, v in seconds.items()
    )
    print(f"| {name} | {fits} | {shown} | {best} | {auto} | {medians[auto] / medians[best]:.2f} |")
    sys.stdout.flush()
    return best


def fitted(plans: list[Plan], store: MemoryStore, setting: Parallelism, limit: float) -> float:
    """Seconds that the fits of all stages take under a setting; none is begun after the limit."""
    begun = time.perf_counter()
    workers = setting.open_workers(uuid4().hex)

    def fit(unit: FitUnit) -> None:
        if time.perf_counter() - begun < limit:
            workers.fit(unit, store)

    with (
        limited_blas(setting.base_model_threads),
        ThreadPoolExecutor(workers.concurrency) as pool,
    ):
        for plan in plans:
            list(pool.map(fit, plan.longest_first))
        workers.close()
    return time.perf_counter() - begun


def study_of(
    n: int,
    p: int,
    models: dict[str, Any],
    learners: list[str],
    folds: int = 5,
    levels: int = 0,
    arms: int = 2,
) -> Study:
    """A study of simulated data; the last three features are texts where they have levels."""
    rng = np.random.default_rng(0)
    data = pd.DataFrame(rng.normal(size=(n, p)), columns=[f"x{j}" for j in range(p)])
    for name in data.columns[-3:] if levels else ():
        data[name] = rng.integers(levels, size=n).astype(str) + " level"
    data["w"] = rng.integers(0, arms, n)
    data["y"] = data["x0"] + data["w"] * (1 + data["x1"]) + rng.normal(size=n)
    data.to_parquet("data.parquet")
    config = {
        "data": {"source": "data.parquet", "outcome": "y", "treatment": "w", "control": 0},
        "learners": learners,
        "models": models,
        "folds": {"n_folds": folds},
        "cache": {"enabled": False},
    }
    config["data"]["features"] = [f"x{j}" for j in range(p)]  # type: ignore[index]
    return load_study(parse_config(config))


def model(path: str, **params: Any) -> dict[str, Any]:
    """A base model of the config."""
    return {"estimator": path, "params": params}


def models(regressor: str, classifier: str, **params: Any) -> dict[str, Any]:
    """One base model for all roles."""
    regression = model(regressor, **params)
    return {
        "outcome": regression,
        "treatment": regression,
        "propensity": model(classifier, **params),
    }


def lightgbm(**params: Any) -> dict[str, Any]:
    """LightGBM for all roles."""
    return models("lightgbm.LGBMRegressor", "lightgbm.LGBMClassifier", **params)


def scikit(module: str, name: str, **params: Any) -> dict[str, Any]:
    """A pair of scikit-learn's for all roles."""
    path = f"sklearn.{module}.{name}"
    return models(f"{path}Regressor", f"{path}Classifier", **params)


def encoded() -> dict[str, Any]:
    """Ridge and logistic regression behind an encoder of texts."""

    def pipe(last: dict[str, Any]) -> dict[str, Any]:
        encoder = model("sklearn.preprocessing.OneHotEncoder", handle_unknown="ignore")
        return model("sklearn.pipeline.Pipeline", steps=[["encode", encoder], ["fit", last]])

    ridge = pipe(model("sklearn.linear_model.Ridge"))
    logit = pipe(model("sklearn.linear_model.LogisticRegression"))
    return {"outcome": ridge, "treatment": ridge, "propensity": logit}


def mixed() -> dict[str, Any]:
    """A forest, a linear model and LightGBM."""
    return {
        "outcome": model(
            "sklearn.ensemble.RandomForestRegressor", n_estimators=20, min_samples_leaf=20
        ),
        "propensity": model("sklearn.linear_model.LogisticRegression"),
        "treatment": model("lightgbm.LGBMRegressor"),
    }


LINEAR = {
    "outcome": model("sklearn.linear_model.LinearRegression"),
    "treatment": model("sklearn.linear_model.LinearRegression"),
    "propensity": model("sklearn.linear_model.LogisticRegression"),
}
WORKLOADS: dict[str, Callable[[], Study]] = {
    "LightGBM, 5,000 x 10": lambda: study_of(
        5000,
        10,
        lightgbm(n_estimators=60),
        ["SLearner", "TLearner", "XLearner", "RLearner", "DRLearner"],
    ),
    "LightGBM, 100,000 x 20, 2 folds": lambda: study_of(
        100_000, 20, lightgbm(n_estimators=40), ["DRLearner"], folds=2
    ),
    "random forests, 10,000 x 10": lambda: study_of(
        10_000,
        10,
        scikit("ensemble", "RandomForest", n_estimators=20, min_samples_leaf=20),
        ["DRLearner"],
        folds=3,
    ),
    "linear models, 100,000 x 40": lambda: study_of(
        100_000, 40, LINEAR, ["SLearner", "TLearner", "XLearner", "DRLearner"]
    ),
    "histogram boosting, 10,000 x 10 with texts": lambda: study_of(
        10_000,
        10,
        scikit("ensemble", "HistGradientBoosting", categorical_features="from_dtype", max_iter=60),
        ["TLearner", "XLearner", "DRLearner"],
        levels=12,
    ),
    "forests, linear models and LightGBM, 20,000 x 10": lambda: study_of(
        20_000, 10, mixed(), ["TLearner", "XLearner", "DRLearner"], folds=3
    ),
    "ridge, 1,000 x 5: tiny fits": lambda: study_of(
        1000, 5, LINEAR, ["SLearner", "TLearner", "XLearner", "RLearner", "DRLearner"], folds=20
    ),
    "networks, 4,000 x 10": lambda: study_of(
        4000,
        10,
        scikit("neural_network", "MLP", hidden_layer_sizes=[16], max_iter=20, tol=0.0),
        ["TLearner", "DRLearner"],
    ),
    "encoders of texts, 20,000 x 8": lambda: study_of(
        20_000, 8, encoded(), ["TLearner", "DRLearner"], levels=30
    ),
}

if __name__ == "__main__":
    main(sys.argv[1:])
