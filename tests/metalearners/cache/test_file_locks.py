"""Locks on files: held ones are told from free ones, and no deleted file counts as locked."""

import os
import time

import pytest

from metalearners.files.file_locks import is_at, is_locked, lock_when_free, locking, try_lock


@pytest.fixture(params=["file", "folder"])
def path(request, tmp_path):
    place = tmp_path / "place"
    place.touch() if request.param == "file" else place.mkdir()
    return place


def test_one_holder_at_a_time_has_a_lock(path):
    assert not is_locked(path)
    with locking(path) as first, locking(path) as second:
        assert (first, second) == (True, False)
        assert is_locked(path)
    assert not is_locked(path)


def test_what_is_not_there_is_not_locked_and_not_made(tmp_path):
    assert not is_locked(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError), locking(tmp_path / "nothing"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_file_that_was_replaced_is_no_longer_at_its_path(tmp_path):
    path = tmp_path / "file"
    with path.open("w") as before:
        assert try_lock(before)
        assert is_at(before.fileno(), path)
        path.unlink()
        assert not is_at(before.fileno(), path)
        path.touch()
        assert not is_at(before.fileno(), path)
        assert not is_locked(path)


def test_who_waits_has_the_lock_once_it_is_free(tmp_path):
    path = tmp_path / "file"
    path.touch()
    waiting = os.open(path, os.O_RDWR)
    with locking(path):
        locked = lock_when_free(waiting)
        assert not locked.wait(0.1)
    assert locked.wait(30)
    assert is_locked(path)
    os.close(waiting)
    deadline = time.monotonic() + 30
    while is_locked(path):  # until the thread that waited has closed its descriptor
        assert time.monotonic() < deadline
