"""Runs that are killed: real ones."""

import json
import os
import time
from pathlib import Path

import httpx
import pytest

from flows.liveness import mark_crashed
from tests.conftest import REPOSITORY, write_config
from tests.test_processes import finished_runs, server_pid, start, uplift, wait_for


class Api:
    """The questions a client asks a server's API."""

    def __init__(self, address):
        self.address = address

    def post(self, path, content):
        answer = httpx.post(f"{self.address}/{path}", json=content, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def states(self, run):
        """State types of a flow run, of its sub-flow runs, and of the tasks of all of them."""
        of = {"flow_runs": {"parent_flow_run_id": {"any_": [run]}}}
        stages = self.post("flow_runs/filter", of)
        ids = [run, *(stage["id"] for stage in stages)]
        tasks = self.post("task_runs/filter", {"flow_runs": {"id": {"any_": ids}}})
        (parent,) = self.post("flow_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
        return (
            parent["state_type"],
            {stage["state_type"] for stage in stages},
            {task["state_type"] for task in tasks},
        )


@pytest.fixture
def own_models(monkeypatch):
    """Processes may use the base models of the tests; they start servers of their own."""
    for name in ("PREFECT_API_URL", "PREFECT_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UPLIFT_IMPORT_ROOTS", "tests")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))


def with_model(settings, name):
    """All models of a kind: regressors from the tests, a quick classifier."""
    for role in ("outcome", "treatment"):
        settings["models"][role] = {"estimator": f"tests.faulty.{name}"}
    settings["parallelism"] = {"runner": "thread", "workers": 2, "base_model_threads": 1}
    return settings


def running_notes():
    return list(Path().glob(".uplift/running/*"))


def flow_run():
    (note,) = running_notes()
    return note.name


def own_server():
    """The server of the working folder."""
    return Api(json.loads(Path(".uplift/server.json").read_text())["api"])


# -- runs that are killed -------------------------------------------------------------------------


def begin_long_fit(settings, *more):
    process = start("run", write_config(with_model(settings, "TakesMinutes")), *more)
    wait_for(Path("fitting").exists)
    return process


@pytest.fixture
def their_models(own_models, api, monkeypatch):
    """Processes may use the base models of the tests; all share the tests' server."""
    monkeypatch.setenv("PREFECT_API_URL", api)
    return Api(api)


def test_killed_run_is_marked_by_the_next_command(their_models, settings):
    process = begin_long_fit(settings)
    run = flow_run()
    time.sleep(2)  # its tasks reach the server in batches
    process.kill()
    process.communicate()
    assert their_models.states(run) == ("RUNNING", {"RUNNING"}, {"RUNNING"})
    config = write_config(with_model(settings, "TakesASecond"), "quick.yaml")
    assert uplift("run", config, "--set", "learners=[SLearner]").returncode == 0

    assert their_models.states(run) == ("CRASHED", {"CRASHED"}, {"CRASHED"})


def test_finished_run_stays_what_it_is(their_models, settings):
    assert uplift("run", write_config(settings)).returncode == 0
    name = finished_runs()[0].name.split("-", 2)[2]
    (run,) = their_models.post("flow_runs/filter", {"flow_runs": {"name": {"any_": [name]}}})
    note = Path(".uplift/running", run["id"])
    note.write_text(their_models.address)  # as if its process had been killed in that moment
    long_ago = time.time() - 60
    os.utime(note, (long_ago, long_ago))

    assert not mark_crashed(Path(".uplift"), their_models.address)
    assert their_models.states(run["id"])[:2] == ("COMPLETED", {"COMPLETED"})
    assert not running_notes()


@pytest.mark.slow
def test_server_marks_a_killed_run_within_seconds_and_spares_one_that_lives(own_models, settings):
    killed = begin_long_fit(settings)
    run = flow_run()
    lives = start("run", "config.yaml", "--set", "cache.enabled=false")
    wait_for(lambda: len(running_notes()) == 2)
    server = own_server()
    killed.kill()
    killed.communicate()
    begun = time.monotonic()
    dead = ("CRASHED", {"CRASHED"}, {"CRASHED"})
    wait_for(lambda: server.states(run) == dead, 15)
    print("marked after", time.monotonic() - begun)
    wait_for(lambda: len(running_notes()) == 1, 15)

    assert run != flow_run()
    assert server.states(flow_run())[:2] == ("RUNNING", {"RUNNING"})
    lives.kill()  # without users, the server ends when it has seen to the last of them
    lives.communicate()
    wait_for(lambda: server_pid() is None, 30)
    assert not running_notes()
