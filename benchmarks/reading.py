"""How long a large file takes to become a data set, by what other readers take for the file.

A Parquet file of 3,000,000 x 14 becomes the checked rows of a run, and a CSV of 1,000,000 x 20 a
table. pyarrow and DuckDB, where it is installed, read the same files into pandas. Each measurement
is a process of its own, and all take turns. Prints JSON: the median seconds of the clock and of the
processor, and their ratios to the other readers' of the same turn.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

FILES = {"parquet": (3_000_000, 14), "csv": (1_000_000, 20)}


def main() -> None:
    """Write both files, measure each reader of them in turns, and print JSON."""
    options = _parser().parse_args()
    if options.child:
        print(json.dumps(measure(*options.child)))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = {kind: compare(kind, Path(folder), options) for kind in FILES}
    print(json.dumps(found, indent=2))


def compare(kind: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each reader of a kind of file, and ratios of ours to the others'."""
    rows, columns = FILES[kind]
    file = write(folder / f"data.{kind}", int(rows * options.share), columns)
    readers = [name for name in READERS[kind] if name != "duckdb" or find_spec("duckdb")]
    turns = [{name: _in_child(name, file) for name in readers} for _ in range(options.turns)]
    result: dict[str, Any] = {}
    for name in readers:
        result[name] = {
            clock: round(median(turn[name][clock] for turn in turns), 3) for clock in CLOCKS
        }
    for other in readers[1:]:
        result[f"ours / {other}"] = {
            clock: round(median(t["ours"][clock] / t[other][clock] for t in turns), 2)
            for clock in CLOCKS
        }
    return result


def write(file: Path, rows: int, columns: int) -> Path:
    """A trial of two arms, with a column of texts."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(rows, columns - 3)).round(5)
    frame = pd.DataFrame(features, columns=[f"x{j}" for j in range(columns - 3)])
    frame["town"] = rng.choice([f"town {i}" for i in range(50)], rows)
    frame["treatment"] = rng.choice(["control", "treated"], rows)
    frame["outcome"] = rng.normal(size=rows).round(5)
    if file.suffix == ".csv":
        frame.to_csv(file, index=False)
    else:
        frame.to_parquet(file, index=False)
    return file


def measure(reader: str, file: str) -> dict[str, float]:
    """Seconds that a reader takes for a file, by the clock and of the processor in user mode."""
    read = READERS[Path(file).suffix[1:]][reader](file)
    begun, cpu = time.perf_counter(), os.times().user
    read()
    return {"clock": time.perf_counter() - begun, "processor": os.times().user - cpu}


def _study(file: str) -> Callable[[], object]:
    from flows.config.sections import Config
    from flows.inputs.study import load_study

    data = {"source": file, "outcome": "outcome", "treatment": "treatment", "control": "control"}
    config = Config.model_validate({"data": data})
    return lambda: load_study(config)


def _table(file: str) -> Callable[[], object]:
    from flows.inputs.source import open_source

    def read() -> object:
        source = open_source(file)
        return source.read(source.names)

    return read


def _pyarrow(file: str) -> Callable[[], object]:
    import pyarrow.csv
    import pyarrow.parquet

    own = pyarrow.csv.read_csv if file.endswith(".csv") else pyarrow.parquet.read_table
    return lambda: own(file).to_pandas()


def _duckdb(file: str) -> Callable[[], object]:
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET threads = 2")
    return lambda: connection.execute("SELECT * FROM read_csv(?)", [file]).df()


CLOCKS = ("clock", "processor")
READERS: dict[str, dict[str, Callable[[str], Callable[[], object]]]] = {
    "parquet": {"ours": _study, "pyarrow": _pyarrow},
    "csv": {"ours": _table, "pyarrow": _pyarrow, "duckdb": _duckdb},
}


def _in_child(reader: str, file: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", reader, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--share", type=float, default=1.0, help="of the rows")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
