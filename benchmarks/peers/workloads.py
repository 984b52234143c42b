"""What is fitted: rows with a known effect, base models and learners."""

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
    """

    rows: int
    features: int
    learners: tuple[str, ...] = FIVE
    kind: str = "float64"
    trees: int = 100
    known: bool = False

    def write(self, folder: Path) -> None:
        """Write the data for us (`data.parquet`) and for others (`rows.npz`), and what to fit."""
        X, y, w, e, tau = draw(self.rows, self.features, self.kind)
        columns = {f"x{number}": X[:, number] for number in range(self.features)}
        pq.write_table(pa.table({**columns, "y": y, "w": w, "e": e}), folder / "data.parquet")
        np.savez(folder / "rows.npz", X=X, y=y, w=w, tau=tau)
        params = {"n_estimators": self.trees, "verbosity": -1}
        told = {"rows": str(folder / "rows.npz"), "params": params, "learners": self.learners}
        (folder / "workload.json").write_text(json.dumps(told))
        (folder / "config.yaml").write_text(yaml.safe_dump(self._config(folder, [*columns])))

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
            "folds": {"n_folds": FOLDS},
            "evaluation": {"holdout": 0.0, "bootstrap": 0},
        }


def draw(rows: int, features: int, kind: str) -> tuple[np.ndarray, ...]:
    """Features in the layout of columns, outcome, arm, its probability, and effect."""
    rng = np.random.default_rng(0)
    X = np.empty((rows, features), kind, order="F")
    for column in X.T:
        rng.standard_normal(dtype=column.dtype.type, out=column)
    first = X[:, :4].astype(float)
    tau = first[:, 0] + np.log1p(np.exp(first[:, 1]))
    e = 1 / (1 + np.exp(-first[:, 2]))
    w = (rng.uniform(size=rows) < e).astype(np.int64)
    y = np.sin(2 * first[:, 3]) + first[:, 2] + w * tau + rng.standard_normal(rows)
    return X, y, w, e, tau


T = ("TLearner",)
WORKLOADS = {
    "five": Workload(50_000, 20),
    "five-large": Workload(500_000, 50, kind="float32"),
    "t-known": Workload(200_000, 20, T, known=True),
    "t-estimated": Workload(200_000, 20, T),
}
