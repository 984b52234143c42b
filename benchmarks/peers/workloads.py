"""What is fitted: rows with a known effect, base models and learners.

The rows are drawn and written by chunks: those of the largest workload, of the shape of Criteo's
uplift data, never lie in memory whole.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

FIVE = ("SLearner", "TLearner", "XLearner", "RLearner", "DRLearner")
FOLDS = 5
CHUNK = 1_000_000  # rows that are drawn and written at a time
OF_ROWS = ("y", "w", "e", "tau")  # outcome, arm, its probability, effect


@dataclass(frozen=True)
class Workload:
    """Rows, learners and base models.

    Parameters
    ----------
    rows, features : of the data
    learners : names
    kind : type of the features
    trees : of each base model
    known : whether the probability of the arm is known, which only we can be told
    judged : whether rows are held out and curves judged by half-samples, as by default
    folds : of the cross-fits; other packages take five
    arms : an even number; others than two are for us alone
    """

    rows: int
    features: int
    learners: tuple[str, ...] = FIVE
    kind: str = "float64"
    trees: int = 100
    known: bool = False
    judged: bool = False
    folds: int = FOLDS
    arms: int = 2

    def write(self, folder: Path) -> None:
        """Write the data for us (`data.parquet`) and for others (arrays), and what to fit."""
        names = [f"x{number}" for number in range(self.features)]
        self._write_rows(folder, names)
        params = {"n_estimators": self.trees, "verbosity": -1}
        told = {"rows": str(folder), "params": params, "learners": self.learners}
        (folder / "workload.json").write_text(json.dumps(told))
        (folder / "config.yaml").write_text(yaml.safe_dump(self._config(folder, names)))

    def _write_rows(self, folder: Path, names: list[str]) -> None:
        arrays = self._arrays(folder)
        kinds = {**dict.fromkeys(names, self.kind), "y": "float64", "w": "int64", "e": "float64"}
        schema = pa.schema([(name, pa.from_numpy_dtype(np.dtype(k))) for name, k in kinds.items()])
        with pq.ParquetWriter(folder / "data.parquet", schema) as file:
            for number, begin in enumerate(range(0, self.rows, CHUNK)):
                rows = slice(begin, min(begin + CHUNK, self.rows))
                X, *others = draw(rows.stop - begin, self.features, self.kind, number, self.arms)
                for array, part in zip(arrays, (X, *others), strict=True):
                    array[rows] = part
                columns = dict(zip(("y", "w", "e"), others, strict=False))
                file.write_table(pa.table([*X.T, *columns.values()], schema=schema))

    def _arrays(self, folder: Path) -> list[np.ndarray]:
        """New files of arrays: features in the layout of columns, and the values of `OF_ROWS`."""
        kinds = {"X": self.kind, **dict.fromkeys(OF_ROWS, "float64"), "w": "int64"}
        return [
            np.lib.format.open_memmap(
                folder / f"{name}.npy",
                "w+",
                kind,
                (self.rows, self.features) if name == "X" else (self.rows,),
                fortran_order=True,
            )
            for name, kind in kinds.items()
        ]

    def _config(self, folder: Path, features: list[str]) -> dict[str, Any]:
        params = {"n_estimators": self.trees}
        outcome = {"estimator": "lightgbm.LGBMRegressor", "params": params}
        propensity = {"estimator": "lightgbm.LGBMClassifier", "params": params}
        return {
            "data": {
                "source": str(folder / "data.parquet"),
                "outcome": "y",
                "treatment": "w",
                "control": 0,
                "features": features,
                **({"propensity": {1: "e"}} if self.known else {}),
            },
            "learners": list(self.learners),
            "models": {"outcome": outcome, "propensity": propensity, "treatment": outcome},
            "folds": {"n_folds": self.folds},
            **({} if self.judged else {"evaluation": {"holdout": 0.0, "bootstrap": 0}}),
        }


def draw(rows: int, features: int, kind: str, chunk: int, arms: int = 2) -> tuple[np.ndarray, ...]:
    """Features in the layout of columns, and the values of `OF_ROWS`.

    The upper half of the arms are treated. They have the same effect, and `e` is their probability.
    """
    if arms % 2:
        raise ValueError(f"Expected an even number of arms; found {arms}. Use one more or less.")
    rng = np.random.default_rng([0, chunk])
    X = np.empty((rows, features), kind, order="F")
    for column in X.T:
        rng.standard_normal(dtype=column.dtype.type, out=column)
    first = X[:, :4].astype(float)
    tau = first[:, 0] + np.log1p(np.exp(first[:, 1]))
    e = 1 / (1 + np.exp(-first[:, 2]))
    treated = (rng.uniform(size=rows) < e).astype(np.int64)
    y = np.sin(2 * first[:, 3]) + first[:, 2] + treated * tau + rng.standard_normal(rows)
    half = arms // 2
    w = treated * half + rng.integers(half, size=rows)
    return X, y, w, e, tau


T = ("TLearner",)
WORKLOADS = {
    "five": Workload(50_000, 20),
    "five-large": Workload(500_000, 50, kind="float32"),
    "t-known": Workload(200_000, 20, T, known=True),
    "t-estimated": Workload(200_000, 20, T),
    "t-3m": Workload(3_000_000, 12, T, kind="float32", known=True, judged=True),
    "t-1.4m": Workload(1_400_000, 12, T, kind="float32", known=True),
    "t-14m": Workload(14_000_000, 12, T, kind="float32", known=True),
    "dr-14m": Workload(14_000_000, 12, ("DRLearner",), kind="float32", known=True),
    "small": Workload(2_000, 5, trees=3),
}
