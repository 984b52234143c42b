"""What orchestration costs: flows against the library on the same plan, in one run.

``python benchmarks/overhead.py [SECTION ...]`` prints JSON, a section each: ``runs`` (many small
runs in a row), ``stage`` (an empty sub-flow), ``task`` (a fold task beyond its fit), ``small`` and
``large`` (a plan whose fits take almost nothing, and one of a minute or so, as a flow and under
the library's joblib executor), ``command`` (`uplift run`, imports and all), ``second`` (a run of a
minute, again) and ``again`` (`uplift run` on the bundled data, with all fits kept). Without
arguments: the first four. The server is the embedded one, warm; with
PREFECT_API_DATABASE_CONNECTION_URL it uses that database.
"""

import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

RUNS = 50
_BUNDLED = Path(__file__).resolve().parent.parent
DEFAULT = ("runs", "stage", "task", "small")
_SMALL = {"n_estimators": 3}
_LARGE = {"n_estimators": 900, "num_leaves": 63}  # a minute of fits on two cores


def main(sections: list[str]) -> None:
    """Run, measure, print."""
    os.chdir(tempfile.mkdtemp())
    _data(2000).to_parquet("data.parquet")
    _data(65_000).to_parquet("large.parquet")
    from flows.server.connection import connect, wait_for
    from flows.server.environment import prepare

    prepare()
    os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
    wait_for(connect())
    _run()  # the first of a process also imports and connects
    for section in sections or DEFAULT:
        json.dump({section: _SECTIONS[section]()}, sys.stdout, indent=2)
        print(flush=True)


class _Waits(logging.Handler):
    """Counts what Prefect's client says of requests that it was told to send again later."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += "Another attempt will be made" in record.getMessage()


def _runs() -> dict[str, Any]:
    waits, logger = _Waits(), logging.getLogger("prefect.client")
    logger.addHandler(waits)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    found = figures([_run() for _ in range(RUNS)])
    logger.removeHandler(waits)
    return {**found, "waits": waits.count}


def figures(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of several runs: seconds in all and by stage, units."""
    stages = [stage for summary in summaries for stage in summary["stages"]]
    fitted = [stage["seconds"] for stage in stages if stage["unique"]]
    names = dict.fromkeys(stage["name"] for stage in stages)
    by_stage = {n: [s["seconds"] for s in stages if s["name"] == n] for n in names}
    return {
        "runs": len(summaries),
        "fits": summaries[0]["fits"],
        "seconds": _spread([summary["seconds"] for summary in summaries]),
        "stages": {name: _spread(seconds) for name, seconds in by_stage.items()},
        "stages of fits": len(fitted),
    }


def _spread(values: list[float]) -> dict[str, float]:
    found = {"min": min(values), "median": statistics.median(values), "max": max(values)}
    return {name: round(value, 4) for name, value in found.items()}


def _data(n_rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    data = pd.DataFrame(rng.normal(size=(n_rows, 5)), columns=list("abcde"))
    data["w"] = rng.integers(0, 2, n_rows)
    data["y"] = data["a"] + data["w"] * (1 + data["b"]) + rng.normal(size=n_rows)
    return data


def _config(trees: dict[str, int] = _SMALL, source: str = "data.parquet") -> dict[str, Any]:
    regressor = {"estimator": "lightgbm.LGBMRegressor", "params": trees}
    classifier = {"estimator": "lightgbm.LGBMClassifier", "params": trees}
    return {
        "data": {
            "source": source,
            "outcome": "y",
            "treatment": "w",
            "control": 0,
            "features": list("abcde"),
        },
        "learners": ["SLearner", "TLearner", "XLearner", "RLearner", "DRLearner"],
        "models": {"outcome": regressor, "propensity": classifier, "treatment": regressor},
        "parallelism": {"runner": "thread", "workers": _workers(), "base_model_threads": 1},
        "evaluation": {"holdout": 0, "bootstrap": 0},
    }


def _workers() -> int:
    from joblib import cpu_count

    return int(cpu_count())


def _run(refresh: bool = True, **config: Any) -> dict[str, Any]:
    from flows import uplift_run
    from flows.config.reading import parse_config
    from flows.launch.start import parameters

    folder = uplift_run(**parameters(parse_config(_config(**config))), refresh=refresh)
    summary: dict[str, Any] = json.loads(Path(folder, "summary.json").read_text())
    return summary


def _stage() -> dict[str, float]:
    """Seconds of a sub-flow that has nothing to fit: its own cost."""
    return _spread([_flow_of({}) for _ in range(20)])


def _task() -> dict[str, float]:
    """Milliseconds of a fold task beyond its fit: the same units as tasks and in a joblib pool.

    The stage's own cost is taken off.
    """
    beyond = []
    for _ in range(5):
        empty, flow = _flow_of({}), _flow_of(_trivial(300))
        library = _timed(lambda: _library_of(_trivial(300)))
        beyond.append(1000 * (flow - empty - library) / 300)
    return _spread(beyond)


def _timed(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _trivial(n_units: int) -> dict[Any, Any]:
    """Regressions that are no work: means of 100 rows."""
    from sklearn.dummy import DummyRegressor

    from metalearners.fits.estimator_spec import EstimatorSpec
    from metalearners.fits.plan import Regression

    rng = np.random.default_rng(0)
    spec = EstimatorSpec(DummyRegressor)
    return {(f"{i}",): Regression(spec, rng.normal(size=100), 5) for i in range(n_units // 5)}


def _toy() -> Any:
    from metalearners.data.dataset import Dataset

    rng = np.random.default_rng(0)
    return Dataset(rng.normal(size=(100, 2)), rng.normal(size=100), np.arange(100) % 2, 2)


def _flow_of(asked: dict[Any, Any]) -> float:
    """Seconds of a stage as a sub-flow of a flow, without a cache."""
    from prefect import flow

    from flows.config.sections import CacheConfig
    from flows.fitting.parallelism import Parallelism
    from flows.fitting.workspace import workspace
    from flows.runs.stages import run_stage
    from metalearners.fits.plan import plan_stage

    threads = Parallelism("thread", _workers(), 1, "config")

    @flow
    def parent() -> float:
        with workspace(CacheConfig(enabled=False)) as place, place.working(threads):
            plan = plan_stage(asked, _toy(), place.store)
            return _timed(lambda: run_stage("toy", "nuisance", plan, place))

    return float(parent())


def _library_of(asked: dict[Any, Any]) -> None:
    from metalearners.fits.execute import joblib_executor, run_stage
    from metalearners.fits.store import MemoryStore

    run_stage(asked, _toy(), MemoryStore(), joblib_executor(_workers()))


def _small() -> dict[str, Any]:
    return _against_library(9)


def _large() -> dict[str, Any]:
    return _against_library(3, trees=_LARGE, source="large.parquet")


def _against_library(repeats: int, **config: Any) -> dict[str, Any]:
    """Both stages of a run's plan: as a flow with its sub-flows, and under the joblib executor."""
    flows, library = [], []
    for _ in range(repeats):
        library.append(_timed(lambda: _both_stages_in_the_library(**config)))
        flows.append(_timed(lambda: _both_stages_as_a_flow(**config)))
    pairs = list(zip(flows, library, strict=True))
    return {
        "flow": _spread(flows),
        "library": _spread(library),
        "ratio": _spread([flow / own for flow, own in pairs]),
        "difference": _spread([flow - own for flow, own in pairs]),
    }


def _study(**config: Any) -> Any:
    from flows.config.reading import parse_config
    from flows.inputs.study import load_study

    return load_study(parse_config(_config(**config)))


def _both_stages_in_the_library(**config: Any) -> None:
    from flows.fitting.regressions import ask_nuisances, ask_treatments
    from metalearners.fits.execute import joblib_executor, run_stage
    from metalearners.fits.store import MemoryStore

    study, store, executor = _study(**config), MemoryStore(), joblib_executor(_workers())
    asked = {k: v for own in ask_nuisances(study).values() for k, v in own.items()}
    nuisances = run_stage(asked, study.dataset, store, executor)
    for name in study.learners:
        asked = ask_treatments(study, name, nuisances)
        run_stage(asked, study.dataset, store, executor)


def _both_stages_as_a_flow(**config: Any) -> None:
    from prefect import flow

    from flows.config.sections import CacheConfig
    from flows.fitting.parallelism import Parallelism
    from flows.fitting.workspace import workspace
    from flows.runs.course import fit_learners
    from flows.runs.records import Run

    threads = Parallelism("thread", _workers(), 1, "config")

    @flow
    def parent() -> None:
        study = _study(**config)
        cache = CacheConfig(storage=tempfile.mkdtemp(dir="."))  # writes each fit, finds none
        with workspace(cache) as place, place.working(threads):
            fit_learners(study, place, Run(Path("."), "benchmark"))

    parent()


def _second() -> dict[str, Any]:
    """A run of a minute, and the same again."""
    config = {"trees": _LARGE, "source": "large.parquet"}
    first = _run(**config)
    again = _run(refresh=False, **config)
    return {
        "first": first["seconds"],
        "second": again["seconds"],
        "executed": again["fits"]["executed"],
        "share": again["seconds"] / first["seconds"],
    }


def _again() -> dict[str, Any]:
    """Wall time of `uplift run` on the bundled data, where all fits are kept."""
    content = yaml.safe_load((_BUNDLED / "deployments/configs/rand_hie.yaml").read_text())
    content["data"]["source"] = str(_BUNDLED / content["data"]["source"])
    config = Path("bundled.yaml").resolve()
    config.write_text(yaml.safe_dump(content))
    first, *later = [_timed_command(config, ".") for _ in range(6)]
    return {"first": first, "again": _spread(later)}


def _timed_command(config: Path, folder: str, *options: str) -> float:
    command = [sys.executable, "-m", "flows.cli", "run", str(config), "--quiet", *options]
    return _timed(lambda: subprocess.run(command, cwd=folder, check=True))


def _command() -> dict[str, Any]:
    """Wall time of `uplift run`, in a folder whose server is up, and in new folders without."""

    def timed(folder: str) -> float:
        return _timed_command(config, folder, "--refresh")

    config = Path("config.yaml").resolve()
    source = str(Path("data.parquet").resolve())
    config.write_text(yaml.safe_dump(_config(source=source)))
    with_server = [timed(".") for _ in range(5)]
    os.environ.pop("PREFECT_API_URL")  # commands in other folders start servers of their own
    os.environ.pop("PREFECT_HOME", None)
    new = [tempfile.mkdtemp() for _ in range(3)]
    first = [timed(folder) for folder in new]
    later = [timed(folder) for folder in new]  # the server of the first has ended by itself
    found = {"server running": with_server, "first in a folder": first, "no server": later}
    return {name: _spread(seconds) for name, seconds in found.items()}


_SECTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "runs": _runs,
    "stage": _stage,
    "task": _task,
    "small": _small,
    "large": _large,
    "command": _command,
    "second": _second,
    "again": _again,
}

if __name__ == "__main__":
    main(sys.argv[1:])
