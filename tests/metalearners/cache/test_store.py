"""Stores: inputs by content, fits by key, and no damaged file ever taken for a fit."""

import os
import pickle
import stat
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

import metalearners.fits.store
from metalearners.files.regular_files import write_whole
from metalearners.fits.store import MemoryStore
from metalearners.fits.unit import Fit
from metalearners.store import DirectoryStore

KEY, OTHER = "a" * 40, "ab" + "c" * 38


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "exploded"


@pytest.fixture
def file(folder, marker):
    """The file of a fit whose model explodes when unpickled."""
    store = DirectoryStore(folder)
    store.keep(KEY, Fit(np.arange(6.0).reshape(3, 2), Bomb(marker)))
    return path_of(folder, KEY)


def path_of(folder, key):
    return folder / key[:2] / f"{key}.fit"


def test_a_whole_file_is_unpickled(folder, file, marker):
    """The other tests' bomb is live."""
    assert DirectoryStore(folder).find(KEY) is not None
    assert marker.exists()


# Inputs


def values():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=5), "b": pd.Categorical(list("uvuvu"))})
    return [rng.normal(size=(5, 2)), frame, np.arange(5), np.array([True, False]), None, 3]


@pytest.mark.parametrize("value", values(), ids=lambda value: type(value).__name__)
def test_a_value_comes_back_under_its_name(value, folder):
    for store in (MemoryStore(), DirectoryStore(folder)):
        assert store.get(store.put(value)) is value


def test_equal_values_have_one_name_and_are_kept_once():
    store = MemoryStore()
    a, b = np.arange(5.0), np.arange(5.0)

    assert store.put(a) == store.put(b)
    assert store.get(store.put(b)) is a
    assert store.put(np.arange(6.0)) != store.put(a)


def test_a_matrix_is_hashed_once(monkeypatch):
    hashed = []
    whole = metalearners.fits.store.matrix_digest
    monkeypatch.setattr(
        metalearners.fits.store, "matrix_digest", lambda X: hashed.append(1) or whole(X)
    )
    store, X = MemoryStore(), np.zeros((4, 2))

    for _ in range(5):
        store.put(X)

    assert len(hashed) == 1


def test_a_matrix_in_a_frame_has_another_name_than_in_an_array():
    store, X = MemoryStore(), np.zeros((4, 2))

    assert store.put(X) != store.put(pd.DataFrame(X))
    assert store.put(X).partition("-")[0] == store.put(pd.DataFrame(X)).partition("-")[0]


# Fits


def fits():
    X = np.random.default_rng(0).normal(size=(9, 2))
    model = LinearRegression().fit(X, X[:, 0] + 1)
    odd = np.array([[np.nan, -0.0], [np.inf, 5e-324]])
    return [
        Fit(odd),
        Fit(None, model),
        Fit(np.zeros((2, 3, 2), dtype=np.float32), model),
        Fit(None),
    ]


@pytest.mark.parametrize("fit", fits())
def test_a_fit_comes_back_bit_for_bit(fit, folder):
    DirectoryStore(folder).keep(KEY, fit)
    found = DirectoryStore(folder).find(KEY)

    if fit.predictions is None:
        assert found.predictions is None
    else:
        assert found.predictions.dtype == fit.predictions.dtype
        assert found.predictions.shape == fit.predictions.shape
        assert found.predictions.tobytes() == fit.predictions.tobytes()
    if fit.model is None:
        assert found.model is None
    else:
        X = np.eye(2)
        np.testing.assert_array_equal(found.model.predict(X), fit.model.predict(X))


@pytest.mark.parametrize("make", [lambda folder: MemoryStore(), DirectoryStore])
def test_what_was_never_kept_is_not_found(make, folder):
    store = make(folder)

    assert store.find(KEY) is None
    with pytest.raises(KeyError, match=KEY):
        store.fetch(KEY)
    store.keep(KEY, Fit(np.ones(1)))
    assert store.fetch(KEY) is store.find(KEY)
    assert store.find(OTHER) is None


def test_a_store_that_refreshes_finds_only_its_own(folder):
    DirectoryStore(folder).keep(KEY, Fit(np.zeros(1)))
    store = DirectoryStore(folder, refresh=True)

    assert store.find(KEY) is None
    store.keep(KEY, Fit(np.ones(1)))
    assert store.find(KEY).predictions.tolist() == [1]
    assert DirectoryStore(folder).find(KEY).predictions.tolist() == [1]


def test_the_folder_is_for_its_owner_alone(folder):
    DirectoryStore(folder)

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


# Damage


def assert_no_hit(folder, marker, key=KEY):
    for refresh in (False, True):
        assert DirectoryStore(folder, refresh).find(key) is None
    assert not marker.exists()


def test_a_file_cut_short_is_no_hit(folder, file, marker):
    raw = file.read_bytes()
    lengths = {*range(80), *range(0, len(raw), 41), *range(len(raw) - 40, len(raw))}
    for length in sorted(lengths):
        file.write_bytes(raw[:length])
        assert_no_hit(folder, marker)


def test_a_file_with_a_changed_byte_is_no_hit(folder, file, marker):
    raw = file.read_bytes()
    positions = {*range(96), *range(0, len(raw), 17), *range(len(raw) - 64, len(raw))}
    rng = np.random.default_rng(0)
    for position in sorted(positions):
        for change in (1 << int(rng.integers(8)), 0xFF):
            damaged = bytearray(raw)
            damaged[position] ^= change
            file.write_bytes(damaged)
            assert_no_hit(folder, marker)


def test_a_file_with_more_behind_it_is_no_hit(folder, file, marker):
    file.write_bytes(file.read_bytes() + b"\0")

    assert_no_hit(folder, marker)


@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"PK\x03\x04", os.urandom(4096)])
def test_a_file_of_something_else_is_no_hit(folder, file, marker, content):
    file.write_bytes(content)

    assert_no_hit(folder, marker)


def test_a_bare_pickle_is_never_loaded(folder, file, marker):
    file.write_bytes(pickle.dumps(Bomb(marker)))

    assert_no_hit(folder, marker)


def test_a_deleted_file_is_no_hit(folder, file, marker):
    file.unlink()

    assert_no_hit(folder, marker)


def test_a_folder_in_place_of_a_file_is_no_hit(folder, file, marker):
    file.unlink()
    file.mkdir()

    assert_no_hit(folder, marker)


def test_another_key_s_file_is_no_hit(folder, file, marker):
    path_of(folder, OTHER).parent.mkdir(exist_ok=True)
    file.rename(path_of(folder, OTHER))

    assert_no_hit(folder, marker, OTHER)
    assert_no_hit(folder, marker, KEY)


def test_a_damaged_fit_can_be_kept_anew(folder, file):
    file.write_bytes(file.read_bytes()[:-1])
    store = DirectoryStore(folder)
    assert store.find(KEY) is None

    store.keep(KEY, Fit(np.ones(2)))

    assert DirectoryStore(folder).find(KEY).predictions.tolist() == [1, 1]


# Writing


def test_writers_of_one_key_leave_a_whole_file(folder):
    """Whatever a reader sees is one writer's file from end to end."""
    sizes = [3, 50_000, 100_000, 7]
    done = threading.Event()
    seen = []

    def write(size):
        store = DirectoryStore(folder)
        for _ in range(15):
            store.keep(KEY, Fit(np.full(size, float(size))))

    def read():
        while not done.is_set():
            fit = DirectoryStore(folder).find(KEY)
            if fit is not None:
                seen.append(fit.predictions)

    writers = [threading.Thread(target=write, args=(size,)) for size in sizes]
    reader = threading.Thread(target=read)
    for thread in (*writers, reader):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()

    seen.append(DirectoryStore(folder).find(KEY).predictions)
    for predictions in seen:
        assert len(predictions) in sizes
        assert (predictions == len(predictions)).all()
    assert [path.name for path in folder.rglob("*") if path.is_file()] == [f"{KEY}.fit"]


@pytest.mark.parametrize("call", ["replace", "fsync"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch, call, error):
    path = tmp_path / "folder" / "file"
    write_whole(path, b"before")

    def fail(*args):
        raise error("no")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(error):
        write_whole(path, b"after")

    assert path.read_bytes() == b"before"
    assert list(path.parent.iterdir()) == [path]


def test_a_model_that_can_t_be_pickled_leaves_no_file(folder):
    store = DirectoryStore(folder)

    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        store.keep(KEY, Fit(np.ones(1), lambda x: x))

    assert not [path for path in folder.rglob("*") if path.is_file()]
    assert store.find(KEY) is None


class Stubborn:
    """Can be pickled once."""

    pickled = False

    def __getstate__(self):
        assert not self.pickled
        Stubborn.pickled = True
        return {"coef": 3}


def test_a_model_that_came_as_a_pickle_is_passed_on_as_it_came(folder, tmp_path):
    DirectoryStore(folder).keep(KEY, Fit(np.ones(1), Stubborn()))
    found = DirectoryStore(folder).find(KEY)
    DirectoryStore(tmp_path / "other").keep(KEY, found)
    again = DirectoryStore(tmp_path / "other").find(KEY)
    passed_on = pickle.loads(pickle.dumps(replace(again, predictions=None)))

    assert passed_on.pickled is None  # what was loaded from a bundle is held once
    assert found.model.coef == again.model.coef == passed_on.model.coef == 3
    assert passed_on.predictions is None


def test_temporary_files_of_a_crash_are_no_hits(folder, file, marker):
    (file.parent / ".left.tmp").write_bytes(file.read_bytes())
    file.unlink()

    assert_no_hit(folder, marker)
