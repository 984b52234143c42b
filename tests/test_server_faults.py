"""Runs that are killed, cancelled or interrupted: real ones."""

import json
import os
import signal
import socket
import time
from pathlib import Path

import httpx
import psutil
import pytest

from flows.liveness import mark_crashed
from tests.conftest import REPOSITORY, write_config
from tests.test_processes import finished_runs, server_pid, start, uplift, wait_for

FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


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

    def cancel(self, run):
        state = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
        return self.post(f"flow_runs/{run}/set_state", state)


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


def records():
    return [json.loads(path.read_text()) for path in Path().glob("runs/.records/*.json")]


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


# -- runs that are interrupted or cancelled -------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_does_not_wait_for_long_fits(their_models, settings, number):
    process = begin_long_fit(settings)
    run = flow_run()
    begun = time.monotonic()
    process.send_signal(number)
    time.sleep(0.3)
    process.send_signal(number)  # somebody impatient
    _, errors = process.communicate(timeout=30)
    seconds = time.monotonic() - begun
    print("ended after", seconds)

    assert process.returncode == 130, errors
    assert seconds < 6
    assert "Traceback" not in errors
    assert "interrupted" in errors
    assert [(r["status"], r["error"]) for r in records()] == [("failed", "interrupted")]
    parent, stages, _ = their_models.states(run)
    assert (parent, stages) == ("CRASHED", {"CRASHED"})
    wait_for(lambda: their_models.states(run)[2] <= FINAL, 5)


def test_cancelled_run_ends_as_an_interrupted_one(their_models, settings):
    process = begin_long_fit(settings)
    run = flow_run()
    begun = time.monotonic()
    their_models.cancel(run)
    _, errors = process.communicate(timeout=30)
    seconds = time.monotonic() - begun
    print("ended after", seconds)

    assert process.returncode == 130, errors
    assert seconds < 8
    assert "Traceback" not in errors
    assert [(r["status"], r["error"]) for r in records()] == [("failed", "interrupted")]
    parent, stages, _ = their_models.states(run)
    assert (parent, stages) == ("CANCELLED", {"CANCELLED"})
    wait_for(lambda: their_models.states(run)[2] <= FINAL, 5)


@pytest.mark.slow
def test_run_of_a_deployment_is_cancelled_within_seconds(own_models, settings):
    write_config(with_model(settings, "TakesMinutes"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    served = start("serve", "--port", port)
    api = Api(f"http://127.0.0.1:{port}/api")
    wait_for(lambda: b"uplift-run" in deployment(api), 90)
    path = f"deployments/{json.loads(deployment(api))['id']}/create_flow_run"
    run = api.post(path, {"parameters": settings})["id"]
    wait_for(Path("fitting").exists, 60)
    (child,) = [
        p for p in psutil.Process(served.pid).children() if "flows.embedded" not in p.cmdline()
    ]
    begun = time.monotonic()
    api.cancel(run)
    wait_for(lambda: not child.is_running(), 20)
    print("ended after", time.monotonic() - begun)
    cancelled = {"CANCELLED"}
    wait_for(lambda: api.states(run) == ("CANCELLED", cancelled, cancelled), 15)
    print("recorded after", time.monotonic() - begun)

    assert [(r["status"], r["error"]) for r in records()] == [("failed", "interrupted")]
    wait_for(lambda: not running_notes(), 15)
    served.send_signal(signal.SIGINT)
    served.communicate(timeout=30)
    assert served.returncode == 0


def deployment(api):
    try:
        return httpx.get(f"{api.address}/deployments/name/uplift-run/uplift-run").content
    except httpx.HTTPError:
        return b""
