"""What orchestration costs: many small runs in a row on the embedded server.

2,000 rows, five learners, 3 trees a fit, no hold-out: the fits are so short that what remains is
the price of flows, tasks, cache and report. Run by `make bench`; prints JSON.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

RUNS = 20
WAIT_SECONDS = 1.5  # a client that was told to come again later waits 2 s


def main() -> None:
    """Run, measure, print."""
    os.chdir(tempfile.mkdtemp())
    _data().to_parquet("data.parquet")
    from flows.environment import prepare
    from flows.server import connect, wait_for

    prepare()
    os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
    wait_for(connect())
    _run()  # the first of a process also imports and connects
    summaries = [_run() for _ in range(RUNS)]
    json.dump({**figures(summaries), "empty sub-flow": _empty_stages()}, sys.stdout, indent=2)
    print()


def figures(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of several runs: seconds in all and by stage, waits, units."""
    stages = [stage for summary in summaries for stage in summary["stages"]]
    fitted = [stage["seconds"] for stage in stages if stage["unique"]]
    names = dict.fromkeys(stage["name"] for stage in stages)
    by_stage = {n: [s["seconds"] for s in stages if s["name"] == n] for n in names}
    return {
        "runs": len(summaries),
        "fits": summaries[0]["fits"],
        "seconds": _spread([summary["seconds"] for summary in summaries]),
        "stages": {name: _spread(seconds) for name, seconds in by_stage.items()},
        "sub-flows": len(fitted),
        "waits": sum(seconds > WAIT_SECONDS for seconds in fitted),
    }


def _spread(values: list[float]) -> dict[str, float]:
    found = {"min": min(values), "median": statistics.median(values), "max": max(values)}
    return {name: round(value, 3) for name, value in found.items()}


def _data() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    data = pd.DataFrame(rng.normal(size=(2000, 5)), columns=list("abcde"))
    data["w"] = rng.integers(0, 2, 2000)
    data["y"] = data["a"] + data["w"] * (1 + data["b"]) + rng.normal(size=2000)
    return data


def _run() -> dict[str, Any]:
    from flows import uplift_run
    from flows.config import LEARNERS, parse_config
    from flows.launch import parameters

    trees = {"n_estimators": 3}
    config = {
        "data": {"source": "data.parquet", "outcome": "y", "treatment": "w", "control": 0},
        "learners": list(LEARNERS),
        "models": {
            "outcome": {"estimator": "lightgbm.LGBMRegressor", "params": trees},
            "propensity": {"estimator": "lightgbm.LGBMClassifier", "params": trees},
            "treatment": {"estimator": "lightgbm.LGBMRegressor", "params": trees},
        },
        "evaluation": {"holdout": 0, "bootstrap": 0},
    }
    folder = uplift_run(**parameters(parse_config(config)), refresh=True)
    summary: dict[str, Any] = json.loads(Path(folder, "summary.json").read_text())
    return summary


def _empty_stages() -> dict[str, float]:
    """Seconds of a sub-flow that has nothing to fit: its own cost."""
    from prefect import flow

    from flows.config import CacheConfig
    from flows.stages import Workers, nuisance_stage, run_stage
    from flows.workspace import workspace
    from metalearners.dataset import Dataset

    dataset = Dataset(np.zeros((4, 1)), np.zeros(4), np.array([0, 1, 0, 1]), 2)

    @flow
    def parent() -> list[float]:
        seconds = []
        with workspace(CacheConfig(enabled=False)) as place:
            for _ in range(RUNS):
                begun = time.perf_counter()
                run_stage(nuisance_stage, {}, dataset, place, Workers("thread", 2, 1, "default"))
                seconds.append(time.perf_counter() - begun)
        return seconds

    return _spread(parent())


if __name__ == "__main__":
    main()
