"""Faults while a run lasts: workers killed, units stopped, the run itself killed at any moment."""

import os
import random
import signal
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

import metalearners
from tests.acceptance.test_processes import start, uplift, wait_for
from tests.conftest import Ran, write_config

SLEEPS = "tests.faulty.Sleeps"


@pytest.fixture
def faulty(monkeypatch):
    """Lets configs name the base models of `tests.faulty`, in workers too."""
    repository = str(Path(metalearners.__file__).parent.parent)
    monkeypatch.setenv("UPLIFT_IMPORT_ROOTS", "tests")
    monkeypatch.setenv("PYTHONPATH", repository)
    monkeypatch.syspath_prepend(repository)


def children(pid: int) -> set[int]:
    """Processes below one."""
    import psutil

    return {child.pid for child in psutil.Process(pid).children(recursive=True)}


def alive(pids) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.mark.slow
def test_a_killed_worker_process_costs_its_own_fit_alone(run, settings, tmp_path, faulty):
    settings["models"]["treatment"] = {"estimator": "sklearn.linear_model.LinearRegression"}
    expected = run(settings | {"cache": {"enabled": False}})
    marker = tmp_path / "sleeping"
    settings["models"]["treatment"] = {
        "estimator": "tests.faulty.SleepsOnce",
        "params": {"marker": str(marker)},
    }
    settings["parallelism"] = {"runner": "process", "workers": 2}

    def kill() -> None:
        wait_for(lambda: marker.exists() and marker.read_text())
        os.kill(int(marker.read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    ran = run(settings)
    killer.join()

    assert ran.fits["retried"] == 1
    assert ran.fits["executed"] == ran.fits["unique"]
    pd.testing.assert_frame_equal(ran.estimates, expected.estimates, check_exact=True)


@pytest.mark.slow
def test_a_unit_that_takes_too_long_is_stopped_and_named(run, settings, tmp_path, faulty):
    settings["models"]["treatment"] = {
        "estimator": SLEEPS,
        "params": {"folder": str(tmp_path), "seconds": 100.0},
    }
    settings["parallelism"] = {"runner": "process", "workers": 2, "unit_seconds": 1.5}
    begun = time.monotonic()
    with pytest.raises(
        Exception,
        match=r"DRLearner treatment_model arm 1 .* failed: .*stopped after 1.5 s",
    ):
        run(settings)

    assert time.monotonic() - begun < 30
    wait_for(lambda: not alive({path.name.partition("-")[0] for path in tmp_path.glob("*-*")}))
    settings["models"]["treatment"] = {"estimator": "sklearn.linear_model.LinearRegression"}
    assert run(settings).stages["nuisance"]["executed"] == 0  # what had been fitted was kept


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_run(api, settings, tmp_path, faulty, number):
    settings["models"]["treatment"] = {
        "estimator": SLEEPS,
        "params": {"folder": str(tmp_path), "seconds": 100.0},
    }
    settings["parallelism"] = {"runner": "process", "workers": 2}
    process = start("run", write_config(settings))
    wait_for(lambda: list(tmp_path.glob("*-*[0-9]")))
    workers = children(process.pid)
    process.send_signal(number)
    process.communicate(timeout=20)

    assert len(workers) >= 2
    wait_for(lambda: not alive(workers), 10)


@pytest.mark.slow
def test_a_run_killed_at_any_moment_goes_on_where_it_was(api, settings):
    """At 20 moments, each in a cache of its own: some fall anywhere, most among the fits."""
    for role in ("outcome", "treatment"):
        settings["models"][role]["params"] = {"n_estimators": 60, "num_leaves": 31}
    settings["evaluation"]["bootstrap"] = 0

    def config(i) -> Path:
        own = {"cache": {"storage": f"cache{i}"}, "output": f"runs{i}"}
        return write_config(settings | own, f"config{i}.yaml")

    begun = time.monotonic()
    assert uplift("run", config("-whole")).returncode == 0
    length = time.monotonic() - begun
    whole = Ran(Path("runs-whole/latest"))
    expected, unique = whole.estimates, whole.fits["unique"]
    moments = random.Random(4)
    resumed = []
    for i in range(20):
        process = start("run", config(i))
        if i < 5:
            time.sleep(moments.uniform(0.0, 1.0) * length)
        else:
            wanted = moments.randrange(1, unique)
            wait_for(lambda i=i, n=wanted: len(fits_in(i)) >= n)
            time.sleep(moments.uniform(0.0, 0.1))
        process.kill()
        process.communicate()
        kept = len(fits_in(i))
        again = uplift("run", f"config{i}.yaml")

        assert again.returncode == 0, again.stderr
        ran = Ran(Path(f"runs{i}/latest"))
        assert ran.fits["reused"] == kept
        assert ran.fits["executed"] == ran.fits["unique"] - kept
        pd.testing.assert_frame_equal(ran.estimates, expected, check_exact=True)
        resumed.append(kept)
    print("fits kept by the killed runs:", resumed)
    assert sum(0 < kept < unique for kept in resumed) >= 5


def fits_in(i):
    return list(Path().glob(f"cache{i}/*/*.fit"))
