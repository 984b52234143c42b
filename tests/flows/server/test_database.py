"""The embedded server's database: damage is seen, set aside and said; old runs leave it."""

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.server.database import prepare_database
from tests.acceptance.test_processes import wait_for
from tests.flows.server.test_server_faults import OwnServer


def made(path, version="known", rows=2000):
    """A database of some hundred pages, with an index."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        database.execute("INSERT INTO alembic_version VALUES (?)", [version])
        database.execute("CREATE TABLE run (id INTEGER PRIMARY KEY, name TEXT)")
        database.execute("CREATE INDEX by_name ON run (name)")
        names = ([f"a name of a run, number {n * 7919 % rows}"] for n in range(rows))
        database.executemany("INSERT INTO run (name) VALUES (?)", names)
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def usable(path):
    with closing(sqlite3.connect(path)) as database:
        return database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def prepared(path):
    return prepare_database(path, lambda version: version == "known")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return made(tmp_path_factory.mktemp("whole") / "prefect.db").read_bytes()


def test_a_sound_database_stays_as_it_is(tmp_path, whole):
    path = tmp_path / "prefect.db"
    assert prepared(path) == ""
    assert not path.exists()
    path.write_bytes(whole)
    assert prepared(path) == ""
    assert path.read_bytes() == whole


@settings(max_examples=30)
@given(keep=st.floats(0.0001, 0.999))
def test_a_database_cut_anywhere_is_set_aside_with_all_that_was_left(tmp_path_factory, whole, keep):
    path = tmp_path_factory.mktemp("cut") / "prefect.db"
    left = whole[: max(1, int(keep * len(whole)))]
    path.write_bytes(left)
    told = prepared(path)

    (aside,) = path.parent.glob("prefect-damaged-*.db")
    assert not path.exists()
    assert aside.read_bytes() == left
    assert str(path) in told
    assert str(aside) in told


@settings(max_examples=30)
@given(
    where=st.floats(0, 1),
    length=st.integers(1000, 100_000),
    byte=st.integers(0, 255),
    log=st.booleans(),
)
def test_what_is_kept_can_be_used_and_the_rest_is_set_aside(
    tmp_path_factory, whole, where, length, byte, log
):
    """Wherever it is overwritten, and however long; what belongs to it goes with it."""
    path = tmp_path_factory.mktemp("overwritten") / "prefect.db"
    begin = int(where * (len(whole) - 1))
    end = min(begin + length, len(whole))
    damaged = whole[:begin] + bytes([byte]) * (end - begin) + whole[end:]
    path.write_bytes(damaged)
    if log:
        Path(f"{path}-wal").write_bytes(b"no log")
    told = prepared(path)
    aside = list(path.parent.glob("prefect-damaged-*.db"))

    assert bool(told) == bool(aside) == (not path.exists())
    if told:
        assert aside[0].read_bytes() == damaged
        assert not list(path.parent.glob("prefect.db*"))
    else:
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA quick_check").fetchone() == ("ok",)


@pytest.mark.parametrize("kind", ["newer", "other program", "folder", "fifo", "dangling link"])
def test_what_the_server_cannot_open_is_set_aside(tmp_path, kind):
    path = tmp_path / "prefect.db"
    if kind == "newer":
        made(path, "ffffffffffff")
    elif kind == "other program":
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE photos (name TEXT)")
    elif kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "nowhere")

    assert "prefect-damaged-" in prepared(path)
    assert not path.exists()


def test_space_of_deleted_rows_is_given_back(tmp_path):
    path = made(tmp_path / "prefect.db")
    with closing(sqlite3.connect(path)) as database:
        database.execute("INSERT INTO run (name) VALUES (zeroblob(20000000))")
        database.commit()
        database.execute("DELETE FROM run WHERE length(name) > 1000")
        database.commit()
    before = path.stat().st_size
    assert prepared(path) == ""

    assert path.stat().st_size < before / 10
    assert usable(path)


@pytest.fixture
def server(tmp_path):
    """A server that is yet to begin, on a damaged database of an earlier one."""
    folder = tmp_path / "server"

    class Damaged(OwnServer):
        def start(self):
            if not (self.folder / "prefect.db").exists():
                (self.folder / "prefect.db").write_bytes(b"no database" * 1000)
            super().start()

    own = Damaged(folder)
    yield own
    own.end()


@pytest.mark.slow
def test_server_begins_on_a_damaged_database_and_forgets_old_runs(server):
    wait_for(server.answers, 120)
    notice = json.loads((server.folder / "server.json").read_text())["notice"]
    assert "is damaged (file is not a database)" in notice
    (aside,) = server.folder.glob("prefect-damaged-*.db")
    assert aside.read_bytes() == b"no database" * 1000

    flow = server.post("flows/", {"name": "a-flow"})["id"]
    ids = {}
    for name in ("old", "recent", "unfinished"):
        state = {"type": "RUNNING" if name == "unfinished" else "COMPLETED"}
        ids[name] = server.post("flow_runs/", {"flow_id": flow, "name": name, "state": state})["id"]
        server.post("artifacts/", {"key": name, "flow_run_id": ids[name], "data": "1"})
        task = {"flow_run_id": ids[name], "task_key": "fit", "dynamic_key": "0", "state": state}
        server.post("task_runs/", task)
    server.kill()
    with closing(sqlite3.connect(server.folder / "prefect.db")) as database:
        when = {"old": "-31 days", "recent": "-29 days", "unfinished": "-31 days"}
        for name, ago in when.items():
            ended = "NULL" if name == "unfinished" else "datetime('now', ?2)"
            statement = f"UPDATE flow_run SET start_time = datetime('now', ?2), end_time = {ended}"
            database.execute(f"{statement} WHERE name = ?1", [name, ago])
        database.commit()
    server.start()
    wait_for(server.answers, 120)

    def left(what):
        names = {id: name for name, id in ids.items()}
        return {names[each.get("flow_run_id") or each["id"]] for each in server.post(what, {})}

    kept = {"recent", "unfinished"}
    for what in ("flow_runs/filter", "task_runs/filter", "artifacts/filter"):
        wait_for(lambda: left(what) == kept, 60)  # noqa: B023
    assert json.loads((server.folder / "server.json").read_text())["notice"] == ""
