"""What tests share: one embedded server for all runs, small data, and a way to run a config."""

import json
import os
import socket
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import settings as hypothesis_settings

from tests.postgresql import postgresql, postgresql_server

__all__ = ["postgresql", "postgresql_server"]

# The same examples in each run, however busy the machine.
hypothesis_settings.register_profile("steady", derandomize=True, deadline=None, database=None)
hypothesis_settings.load_profile("steady")

REPOSITORY = Path(__file__).parent.parent
Settings = dict[str, Any]


def begin_draws(rng: np.random.Generator, name: str) -> None:
    """Draws of this name begin anew, whichever came before."""
    seed = zlib.crc32(f"draws: {name}".encode())
    rng.bit_generator.state = np.random.default_rng(seed).bit_generator.state


@pytest.fixture(autouse=True)
def _own_draws(request: pytest.FixtureRequest) -> None:
    """A test that draws from its module's generator doesn't depend on the tests before it."""
    rng = getattr(request.module, "RNG", None)
    if isinstance(rng, np.random.Generator):
        begin_draws(rng, request.node.name)


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a server that lasts as long as the tests."""
    here = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("server"))
    from flows.server.connection import connect, wait_for
    from flows.server.environment import prepare

    prepare()
    os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
    # Runs of a deployment that wait for each other ask this often.
    os.environ["PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS"] = "2"
    address = connect()
    wait_for(address)
    import flows.uplift  # noqa: F401 - has Prefect use this server if it was imported before

    os.chdir(here)
    return address


def small_frame() -> pd.DataFrame:
    """600 rows, two arms, an effect of 1 + b."""
    rng = np.random.default_rng(1)
    data = pd.DataFrame(rng.normal(size=(600, 3)), columns=list("abc"))
    data["w"] = rng.permutation(np.arange(600) % 2)
    data["y"] = data["a"] + data["w"] * (1 + data["b"]) + rng.normal(size=600)
    return data


def small_settings() -> Settings:
    """A config of small models for `small_frame` in the working folder."""
    small = {"n_estimators": 3, "num_leaves": 4}
    return {
        "data": {"source": "data.parquet", "outcome": "y", "treatment": "w", "control": 0},
        "learners": ["DRLearner"],
        "models": {
            "outcome": {"estimator": "lightgbm.LGBMRegressor", "params": dict(small)},
            "propensity": {"estimator": "lightgbm.LGBMClassifier", "params": dict(small)},
            "treatment": {"estimator": "lightgbm.LGBMRegressor", "params": dict(small)},
        },
        "evaluation": {"holdout": 0.25, "bootstrap": 10},
    }


@pytest.fixture
def frame() -> pd.DataFrame:
    """600 rows, two arms, an effect of 1 + b."""
    return small_frame()


@pytest.fixture
def settings(frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A config of small models for `frame`, in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    frame.to_parquet("data.parquet")
    return small_settings()


class Ran:
    """A finished run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.summary = json.loads((folder / "summary.json").read_text())
        self.fits = self.summary["fits"]
        self.stages = {stage["name"]: stage for stage in self.summary["stages"]}
        self.estimates = pd.read_parquet(folder / "estimates.parquet")


@pytest.fixture
def run(api: str) -> Callable[..., Ran]:
    """Runs settings as the command does, in this process."""

    def run_settings(settings: Settings, refresh: bool = False) -> Ran:
        from flows import uplift_run
        from flows.config.reading import parse_config
        from flows.launch.start import parameters

        folder = uplift_run(**parameters(parse_config(settings)), refresh=refresh)
        return Ran(Path(folder))

    return run_settings


@pytest.fixture
def own_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes may use the base models of the tests; they start servers of their own."""
    for name in ("PREFECT_API_URL", "PREFECT_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UPLIFT_IMPORT_ROOTS", "tests")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_config(settings: Settings, path: str = "config.yaml") -> Path:
    """Settings as a file."""
    Path(path).write_text(yaml.safe_dump(settings))
    return Path(path)
