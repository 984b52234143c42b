"""Fits on a Dask cluster: a real scheduler and workers, each started by its own command line."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from joblib import cpu_count
from sklearn.dummy import DummyRegressor

from flows.config.reading import parse_config
from flows.errors import InputError
from flows.fitting.dask_cluster import check_cluster
from metalearners.base_models.rows import as_mask
from metalearners.cache.folder_storage import FolderStorage
from metalearners.fits.estimator_spec import EstimatorSpec
from metalearners.fits.store import MemoryStore
from metalearners.fits.unit import FitUnit
from metalearners.workers.dask import DaskWorkers, connect, fit_here, on_cluster
from metalearners.workers.protocol import TimeLimitExceeded, WorkerLost
from metalearners.workers.shared_inputs import SharedInputs
from tests.conftest import REPOSITORY, free_port
from tests.faulty import NeverFits, Slow
from tests.metalearners.workers.test_workers import Reports


def dask(*arguments):
    """A process of Dask's command line, in its own group so that all of it can be ended."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING_INTERVAL": "100ms",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def worker(address, n=1, folder="dask"):
    """Workers with a nanny each, as deployments/dask says; their files in a folder."""
    host = ["--host", "127.0.0.1", "--no-dashboard", "--local-directory", str(folder)]
    return dask("worker", address, "--nworkers", str(n), "--nthreads", "1", *host)


def end(*processes):
    for process in processes:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Address of a scheduler with two workers."""
    here = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("cluster"))
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    host = ["--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    processes = [dask("scheduler", *host), worker(address, 2)]
    os.chdir(here)
    try:
        with connect(address) as client:
            client.wait_for_workers(2, timeout=60)
        yield address
    finally:
        end(*processes)


@pytest.fixture
def workers(cluster, tmp_path):
    """Makes workers that are closed in the end."""
    made = []

    def make(threads=1, **more) -> DaskWorkers:
        inputs = SharedInputs(FolderStorage(tmp_path / "inputs"))
        made.append(on_cluster(cluster, threads, inputs, **more))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def folder(tmp_path):
    """Where slow fits leave word; they sleep while it has a file of that name."""
    path = tmp_path / "fits"
    path.mkdir()
    (path / "sleep").touch()
    return path


def put_rows(store, rows=2_000, columns=40):
    X = np.asfortranarray(np.random.default_rng(0).normal(size=(rows, columns)))
    return store.put(X), store.put(X[:, 0].copy())


def some_unit(store, X, y, factory=DummyRegressor, seed=0, rows=10, **params):
    train = store.put(as_mask(np.arange(rows), len(store.get(y))))
    test = store.put(np.arange(rows))
    spec = EstimatorSpec(factory, params)
    return FitUnit(spec, X, y, train, test, None, None, 0, "predict", seed, True, label=str(seed))


def fit_all(workers, units, store):
    """Fits, each asked for by a thread; an error in its place."""
    found = {}

    def ask(i):
        try:
            found[i] = workers.fit(units[i], store)
        except Exception as error:
            found[i] = error

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(units))]
    for thread in threads:
        thread.start()
    return threads, found


def begun(folder) -> list[int]:
    """Process of each fit begun."""
    return [int(path.name.partition("-")[0]) for path in folder.glob("*-*")]


@pytest.mark.slow
def test_a_cluster_gives_the_same_bits_as_threads(run, settings, cluster):
    settings["cache"] = {"enabled": False}
    expected = run(settings)
    settings["parallelism"] = {"runner": "dask", "address": cluster, "unit_seconds": 60}
    settings["cache"] = {"storage": "cache"}
    found = run(settings)

    pd.testing.assert_frame_equal(found.estimates, expected.estimates, check_exact=True)
    assert found.fits == expected.fits
    assert found.summary["parallelism"]["workers"] == 2
    assert not list(Path("cache/inputs").iterdir())


def test_errors_of_an_estimator_come_back_as_they_are(workers):
    store = MemoryStore()
    unit = some_unit(store, *put_rows(store), NeverFits)

    with pytest.raises(ValueError, match="this model can't be fitted"):
        workers().fit(unit, store)


def test_inputs_are_read_from_the_storage_or_its_place_is_named(workers):
    store, made = MemoryStore(), workers()
    unit = some_unit(store, *put_rows(store))
    shipment = made.inputs.ship(unit, store)
    made.inputs.clear()

    assert set(shipment.files) == {unit.X}
    with pytest.raises(OSError, match=f"{re.escape(shipment.location)}.*one storage that all"):
        made.fit(unit, Shipping(made, shipment))


class Shipping(MemoryStore):
    """Has workers send a shipment made before."""

    def __init__(self, workers, shipment):
        super().__init__()
        workers.inputs.ship = lambda unit, store: shipment


def test_a_fit_uses_its_threads_and_no_more_than_its_worker_has(workers):
    store = MemoryStore()
    unit = some_unit(store, *put_rows(store), Reports)
    for threads, most in ((1, 1), (64, cpu_count())):
        found = workers(threads).fit(unit, store).predictions[:2, 0]
        np.testing.assert_array_equal(found, [most, most])


def test_a_worker_that_is_gone_has_no_fits(workers):
    assert workers()._fits_of("tcp://127.0.0.1:1") == ()


def test_a_worker_with_other_versions_refuses(workers, monkeypatch):
    store, made = MemoryStore(), workers()
    unit = some_unit(store, *put_rows(store))
    unit.__dict__["key"] = "a key computed by other code"  # a cached property

    with pytest.raises(RuntimeError, match=r"same versions.*computes another key"):
        made.fit(unit, store)


@pytest.mark.slow
def test_time_counts_from_the_begin_and_really_ends_a_fit(workers, folder):
    store, made = MemoryStore(), workers(time_limit=3.0)
    X, y = put_rows(store)
    units = [some_unit(store, X, y, Slow, folder=str(folder), seconds=100)]
    units += [some_unit(store, X, y, seed=i) for i in range(6)]
    before = time.monotonic()
    threads, found = fit_all(made, units, store)
    for thread in threads:
        thread.join(60)

    assert time.monotonic() - before < 45
    assert isinstance(found.pop(0), TimeLimitExceeded)
    assert all(fit.predictions is not None for fit in found.values())
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in begun(folder)), 10)


@pytest.mark.slow
def test_an_address_that_does_not_answer_is_refused(settings, monkeypatch):
    address = f"tcp://127.0.0.1:{free_port()}"
    settings["parallelism"] = {"runner": "dask", "address": address}
    before = time.monotonic()
    with pytest.raises(InputError, match=f"parallelism.address: .*answers at {address}"):
        check_cluster(parse_config(settings).parallelism)

    assert time.monotonic() - before < 12
    monkeypatch.setenv("UPLIFT_DATA_ROOTS", f"{Path.cwd()}:tcp://127.0.0.1:1")
    with pytest.raises(InputError, match=r"found 'tcp://127.0.0.1:\d+/'"):
        check_cluster(parse_config(settings).parallelism)


def test_without_its_packages_dask_is_refused(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "metalearners.workers.dask", None)
    settings["parallelism"] = {"runner": "dask"}

    with pytest.raises(InputError, match=r"pip install 'uplift-flows\[dask\]'"):
        check_cluster(parse_config(settings).parallelism)


@pytest.mark.slow
def test_a_killed_worker_loses_its_running_fits_alone(workers, folder, cluster):
    store, made = MemoryStore(), workers()
    X, y = put_rows(store)
    done = [some_unit(store, X, y, Slow, i, 100, folder=str(folder)) for i in range(6)]
    threads, found = fit_all(made, done, store)
    for thread in threads:
        thread.join(60)
    assert len(begun(folder)) == 6
    running = [some_unit(store, X, y, Slow, i, 100, folder=str(folder), seconds=60) for i in (6, 7)]
    threads, late = fit_all(made, running, store)
    wait_for(lambda: len(begun(folder)) == 8)
    os.kill(begun_last(folder), signal.SIGKILL)
    wait_for(lambda: len(begun(folder)) == 9)
    (folder / "sleep").unlink()
    for thread in threads:
        thread.join(60)

    assert len(begun(folder)) == 9
    fits = [*found.values(), *late.values()]
    expected = store.get(y)[:100]  # a linear model finds it
    assert all(np.allclose(fit.predictions[:, 0], expected) for fit in fits)


def begun_last(folder) -> int:
    last = max(folder.glob("*-*"), key=lambda path: path.stat().st_mtime_ns)
    return int(last.name.partition("-")[0])


@pytest.mark.slow
def test_a_worker_that_joins_late_gets_work(workers, folder, cluster):
    store, made = MemoryStore(), workers()
    X, y = put_rows(store)
    units = [some_unit(store, X, y, Slow, i, folder=str(folder), seconds=90) for i in range(8)]
    threads, found = fit_all(made, units, store)
    wait_for(lambda: len(begun(folder)) == 2)
    late = worker(cluster, folder=folder.parent / "dask")
    try:
        wait_for(lambda: len(set(begun(folder))) == 3)
        (folder / "sleep").unlink()
        for thread in threads:
            thread.join(60)
    finally:
        end(late)

    assert made.concurrency >= 8
    assert not [fit for fit in found.values() if isinstance(fit, Exception)]
    assert all(fit.predictions is not None for fit in found.values())


@pytest.mark.slow
def test_a_unit_over_its_time_fails_the_run_by_its_label(
    run, settings, cluster, folder, monkeypatch
):
    monkeypatch.setenv("UPLIFT_IMPORT_ROOTS", "tests")
    settings["models"]["outcome"] = {
        "estimator": "tests.faulty.Slow",
        "params": {"folder": str(folder), "seconds": 100},
    }
    settings["parallelism"] = {"runner": "dask", "address": cluster, "unit_seconds": 2}
    before = time.monotonic()
    with pytest.raises(RuntimeError, match=r"outcome.* failed: TimeLimitExceeded: .*after 2 s"):
        run(settings)

    assert time.monotonic() - before < 30


@pytest.mark.slow
def test_who_asks_for_a_result_when_the_workers_are_closed_is_told(workers, folder):
    store, made = MemoryStore(), workers()
    unit = some_unit(store, *put_rows(store), Slow, folder=str(folder), seconds=90)
    future = made.client.submit(fit_here, b"", unit.key, 1, None, workers=["none"])
    threads, found = fit_all(
        SimpleNamespace(fit=lambda unit, store: made._result(future)), [unit], store
    )
    time.sleep(0.5)
    made.close()
    threads[0].join(30)

    assert "closed" in str(found[0])


@pytest.mark.slow
def test_a_scheduler_that_ends_is_said(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    scheduler = dask("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    store = MemoryStore()
    wait_for(lambda: answers(port))
    made = on_cluster(address, 1, SharedInputs(FolderStorage(tmp_path / "inputs")))
    threads, found = fit_all(made, [some_unit(store, *put_rows(store))], store)
    wait_for(lambda: made.client.futures)
    end(scheduler)
    threads[0].join(60)
    made.close()

    assert isinstance(found[0], WorkerLost)


def answers(port) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_workers_of_this_machine_end_with_their_maker(tmp_path, folder):
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from metalearners.workers.dask import on_this_machine\n"
        "from tests.metalearners.workers.test_dask import *\n"
        "if __name__ == '__main__':\n"
        "    inputs = SharedInputs(FolderStorage(Path(sys.argv[1], 'inputs')))\n"
        "    workers, store = on_this_machine(2, 1, inputs), MemoryStore()\n"
        "    rows = put_rows(store)\n"
        "    more = {'folder': sys.argv[2], 'seconds': 100}\n"
        "    units = [some_unit(store, *rows, Slow, i, **more) for i in range(2)]\n"
        "    fit_all(workers, units, store)[0][0].join()\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    command = [sys.executable, str(script), str(tmp_path), str(folder)]
    maker = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    try:
        wait_for(lambda: len(begun(folder)) == 2)
    finally:
        maker.kill()
        maker.wait()

    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in begun(folder)), 5)


@pytest.mark.slow
@pytest.mark.alone
def test_a_task_costs_little_beyond_its_fit_however_large_the_features():
    command = [sys.executable, str(REPOSITORY / "benchmarks" / "dask_and_processes.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    print(done.stdout)
    found = re.findall(r"^(process|dask): ([\d.]+) ms a task", done.stdout, re.MULTILINE)

    assert {runner for runner, _ in found} == {"process", "dask"}
    assert all(float(cost) <= 60 for _, cost in found)
