"""A small stored model, and rows for it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flows.config.reading import parse_config
from flows.runs.loading import load
from flows.scoring.model import Scorer
from metalearners.bundle import Bundle

N = 120


def rows(n: int = N) -> pd.DataFrame:
    """Rows with a column for each role."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "y": rng.normal(size=n) - 0.3 * (np.arange(n) % 2),  # about half are better off with b
            "w": ["a", "b"] * (n // 2),
            "x": np.where(rng.uniform(size=n) < 0.1, np.nan, rng.normal(size=n)),
            "site": rng.choice(["u", "v"], n),
            "day": pd.date_range("2024-01-01", periods=n, freq="D").strftime("%d.%m.%Y"),
            "block": np.arange(n) % 3,
            "id": [f"{i:05}" for i in range(n)],
        }
    )


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stored T- and X-learner of a design by strata; outcome models are of few trees."""
    folder = tmp_path_factory.mktemp("stored")
    rows().to_parquet(folder / "data.parquet")
    small = {"estimator": "lightgbm.LGBMRegressor", "params": {"n_estimators": 3}}
    config = {
        "data": {
            "source": str(folder / "data.parquet"),
            **{"outcome": "y", "treatment": "w", "control": "a", "row_id": "id"},
            **{"features": ["x", "site", "day"], "design": "randomised", "strata": "block"},
            "read": {"dates": ["day"], "types": {"block": "text"}},
        },
        "learners": ["TLearner", "XLearner"],
        "models": {"outcome": small, "treatment": small},
        "folds": {"n_folds": 3},
        "cache": {"enabled": False},
    }
    found = load(parse_config(config))
    d = found.dataset
    for learner in found.learners.values():
        learner.fit(d.X, d.y, d.w, propensity=d.propensity)
    assert found.shares is not None
    about = {
        "versions": {},
        "config": found.config.model_dump(mode="json"),
        "shares": found.shares.to_json(),
        "habits": found.habits.to_json(),
    }
    Bundle(found.learners, found.arms, found.schema, about).save(folder / "model")
    return folder / "model"


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The batches that were scored since, by the rows that they have."""
    numbers, score = [], Scorer.score

    def count(self, batch):
        numbers.append(batch.where)
        return score(self, batch)

    monkeypatch.setattr(Scorer, "score", count)
    return numbers
