"""Worker processes: real ones, what they may use, how they end and what they leave behind."""

import os
import threading

import numpy as np
import psutil
import pytest
from joblib import cpu_count
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression
from threadpoolctl import threadpool_info

from metalearners.base_models.rows import as_mask
from metalearners.cache.folder_storage import FolderStorage
from metalearners.fits.estimator_spec import EstimatorSpec
from metalearners.fits.store import MemoryStore
from metalearners.fits.unit import FitUnit
from metalearners.workers.processes import Processes
from metalearners.workers.protocol import TimeLimitExceeded, WorkerLost
from metalearners.workers.shared_inputs import SharedInputs
from metalearners.workers.threads import side_by_side
from tests.faulty import CanTBeSentBack, DiesSending, Ends, NeverFits, TakesMinutes


class Reports(LinearRegression):
    """Predicts how many threads its fit could use: BLAS's, OpenMP's, and processors."""

    def fit(self, X, y, sample_weight=None):
        pools = {pool["user_api"]: pool["num_threads"] for pool in threadpool_info()}
        self.found_ = [pools["blas"], pools["openmp"], cpu_count()]
        return self

    def predict(self, X):
        return np.resize(np.array(self.found_, dtype=float), len(X))


@pytest.fixture
def workers(tmp_path, monkeypatch):
    """Makes worker processes, and ends them."""
    monkeypatch.chdir(tmp_path)  # where some models leave word
    made = []

    def make(n=1, threads=1, time_limit=None):
        inputs = SharedInputs(FolderStorage(tmp_path / "inputs"))
        made.append(Processes(n, threads, inputs, time_limit))
        return made[-1]

    yield make
    for each in made:
        each.close()


def units(store, factory, n=1, rows=20_000):
    """Units whose features are large enough to lie in a file."""
    rng = np.random.default_rng(0)
    X, train = store.put(rng.normal(size=(rows, 5))), store.put(as_mask(np.arange(9), rows))
    spec, test = EstimatorSpec(factory), store.put(np.arange(3))
    targets = [store.put(rng.normal(size=rows)) for _ in range(n)]
    return [
        FitUnit(spec, X, y, train, test, None, None, 0, "predict", 0, False, label=str(i))
        for i, y in enumerate(targets)
    ]


def own_children():
    return {child.pid for child in psutil.Process().children(recursive=True)}


@pytest.mark.parametrize("threads", [1, 2])
def test_a_fit_in_a_process_can_use_its_threads_and_no_more(workers, threads):
    store = MemoryStore()
    (unit,) = units(store, Reports)
    found = workers(threads=threads).fit(unit, store).predictions[:, 0]

    most = min(threads, os.cpu_count())
    np.testing.assert_array_equal(found, [most, most, most])


def test_work_beside_fits_keeps_to_their_cores_too():
    def pools(item):
        return item, {pool["user_api"]: pool["num_threads"] for pool in threadpool_info()}

    for item, found in side_by_side(pools, range(4), n=2, threads=1):
        assert found == {"blas": 1, "openmp": 1}, item
    assert [item for item, _ in side_by_side(pools, range(4), n=2, threads=1)] == [0, 1, 2, 3]


def test_processes_begin_with_their_first_fit(workers):
    before = own_children()
    store, made = MemoryStore(), workers(n=2)

    assert own_children() == before
    made.fit(units(store, DummyRegressor)[0], store)
    assert own_children() - before


def test_a_process_that_ended_is_lost_and_another_takes_its_place(workers):
    store, made = MemoryStore(), workers()
    with pytest.raises(WorkerLost, match=r"killed, or ran out of memory.*fewer workers"):
        made.fit(units(store, Ends)[0], store)

    assert made.fit(units(store, DummyRegressor)[0], store).predictions is not None


def test_a_process_killed_while_it_sends_its_fit_is_lost(workers):
    store, made = MemoryStore(), workers()
    with pytest.raises(WorkerLost):
        made.fit(units(store, DiesSending)[0], store)

    assert made.fit(units(store, DummyRegressor)[0], store).predictions is not None


def test_what_another_process_can_t_unpickle_is_no_lost_worker(workers):
    store, made = MemoryStore(), workers()
    with pytest.raises(RuntimeError, match=r"unpickle") as caught:
        made.fit(units(store, CanTBeSentBack)[0], store)

    assert not isinstance(caught.value, OSError)  # nothing that would be tried again
    assert made.fit(units(store, DummyRegressor)[0], store).predictions is not None


def test_a_limit_ends_the_fit_and_not_what_comes_before_it(workers):
    store, made = MemoryStore(), workers(time_limit=1.0)  # a process takes longer to start

    assert made.fit(units(store, DummyRegressor)[0], store).predictions is not None
    with pytest.raises(TimeLimitExceeded, match="stopped after 1 s"):
        made.fit(units(store, TakesMinutes)[0], store)


def test_errors_are_the_estimator_s(workers):
    store = MemoryStore()
    with pytest.raises(ValueError, match="this model can't be fitted"):
        workers().fit(units(store, NeverFits)[0], store)


def test_closing_while_inputs_are_written_leaves_none_and_raises_nothing(workers, tmp_path):
    store, made = MemoryStore(), workers(n=4)
    made.close()  # no process is needed
    inputs = SharedInputs(FolderStorage(tmp_path / "busy"))
    errors = []

    def ship(unit):
        try:
            inputs.ship(unit, store)
        except RuntimeError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=ship, args=(u,)) for u in units(store, DummyRegressor, n=60)]
    for thread in threads:
        thread.start()
    inputs.clear()
    for thread in threads:
        thread.join()

    assert set(errors) <= {"These workers were closed."}
    assert not list((tmp_path / "busy").glob("*"))
    with pytest.raises(RuntimeError, match="closed"):
        inputs.ship(units(store, DummyRegressor)[0], store)
