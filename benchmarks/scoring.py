"""Scoring beside LightGBM's own predictions by the same trees: seconds and peak memory.

A T-learner is fitted on some rows and scores a file of many. Its file of rows is written by chunks
and `uplift score` reads it by batches. LightGBM predicts the same rows in memory, by both models.
Each is measured in a fresh process, in turns. Prints JSON; the exit status is 1 if scoring takes
more than a GiB or 1.25 times as long.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.peers.workloads import CHUNK, draw

MOST_BYTES, MOST_RATIO = 1 << 30, 1.25
FITTED = 200_000  # rows that the trees are grown on


def main() -> int:
    """Write the rows, fit the model, measure both in turns, and print JSON."""
    options = _parser().parse_args()
    if options.child:
        print(json.dumps(MEASURED[options.child](options.folder)))
        return 0
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        folder = Path(place)
        fit(folder, options)
        write(folder / "rows.parquet", options.rows, options.features)
        turns = [{name: _in_child(name, folder) for name in MEASURED} for _ in range(options.turns)]
    found = summary(turns)
    print(json.dumps(found, indent=2))
    return int(found["ratio"] > MOST_RATIO or found["peak_bytes"] > MOST_BYTES)


def write(file: Path, rows: int, features: int, first_chunk: int = 1) -> None:
    """Rows with their outcomes and arms, a chunk at a time."""
    with pq.ParquetWriter(file, _schema(features)) as written:
        for number, begin in enumerate(range(0, rows, CHUNK)):
            chunk = draw(min(CHUNK, rows - begin), features, "float64", first_chunk + number)
            X, y, w, *_ = chunk
            written.write_table(pa.table([*X.T, y, w], schema=_schema(features)))


def _schema(features: int) -> pa.Schema:
    names = {f"x{j}": pa.float64() for j in range(features)}
    return pa.schema({**names, "y": pa.float64(), "w": pa.int64()})


def fit(folder: Path, options: argparse.Namespace) -> None:
    """Fit a T-learner in a run, whose model is then in `model` of the folder."""
    import flows

    write(folder / "fitted.parquet", FITTED, options.features, first_chunk=0)
    outcome = {"estimator": "lightgbm.LGBMRegressor", "params": {"n_estimators": options.trees}}
    result = flows.run(
        str(folder / "fitted.parquet"),
        outcome="y",
        treatment="w",
        control=0,
        learners=["TLearner"],
        models={"outcome": outcome},
        folds={"n_folds": 2},
        evaluation={"holdout": 0.0, "bootstrap": 0},
        cache={"enabled": False},
        output=str(folder / "runs"),
        quiet=True,
    )
    (folder / "run").symlink_to(result.folder.resolve())


def score(folder: Path) -> dict[str, float]:
    """Seconds, by the clock and of processors, and peak memory of `uplift score` as a command."""
    output = folder / "scores.parquet"
    command = [sys.executable, "-m", "flows.cli", "score", "--model", str(folder / "run")]
    command += ["--input", str(folder / "rows.parquet"), "--output", str(output), "--quiet"]
    begun = time.perf_counter()
    child = subprocess.Popen(command)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - begun
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"uplift score ended with status {child.returncode}")
    processor = usage.ru_utime + usage.ru_stime
    return {"seconds": seconds, "processor": processor, "peak_bytes": usage.ru_maxrss * 1024}


def predict(folder: Path) -> dict[str, float]:
    """Seconds of LightGBM's predictions for the rows in memory, by each model."""
    from metalearners.bundle import Bundle

    bundle = Bundle.load(folder / "run" / "model")
    features = pq.read_schema(folder / "rows.parquet").names[:-2]
    X = np.empty((pq.read_metadata(folder / "rows.parquet").num_rows, len(features)))
    for j, name in enumerate(features):
        X[:, j] = pq.read_table(folder / "rows.parquet", columns=[name])[name].to_numpy()
    models = bundle.learners["TLearner"].overall_models()["variant_outcome_model"]
    begun, before = time.perf_counter(), time.process_time()
    for model in models:
        model.booster_.predict(X)
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "processor": time.process_time() - before}


MEASURED = {"uplift score": score, "LightGBM": predict}


def summary(turns: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Medians over turns, and the medians of ratios within turns."""
    found: dict[str, Any] = {"turns": turns}
    for clock in ("seconds", "processor"):
        found[clock] = {name: round(median(t[name][clock] for t in turns), 2) for name in MEASURED}
    return {
        **found,
        "ratio": round(median(_ratio(t, "seconds") for t in turns), 3),
        "processor_ratio": round(median(_ratio(t, "processor") for t in turns), 3),
        "peak_bytes": max(t["uplift score"]["peak_bytes"] for t in turns),
    }


def _ratio(turn: dict[str, dict[str, float]], clock: str) -> float:
    return turn["uplift score"][clock] / turn["LightGBM"][clock]


def _in_child(name: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.scoring", "--child", name, "--folder", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--features", type=int, default=12)
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the rows are written for a while")
    parser.add_argument("--child", choices=MEASURED, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
