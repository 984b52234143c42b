"""Servers that are killed or away, runs that are killed, cancelled or interrupted: real ones."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pandas as pd
import psutil
import pytest

from flows.server.environment import server_environment
from flows.server.running import mark_crashed
from tests.acceptance.test_processes import finished_runs, fits, server_pid, start, uplift, wait_for
from tests.conftest import free_port, write_config

AWAY_SECONDS = 30
DONE = ("COMPLETED", {"COMPLETED"}, {"COMPLETED"})
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Api:
    """The questions a client asks a server's API."""

    def __init__(self, address):
        self.address = address

    def answers(self):
        try:
            return httpx.get(f"{self.address}/health", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def post(self, path, content):
        answer = httpx.post(f"{self.address}/{path}", json=content, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def runs(self):
        """Ids of the parent runs."""
        found = self.post("flow_runs/filter", {})
        return [run["id"] for run in found if not run["parent_task_run_id"]]

    def states(self, run):
        """State types of a flow run, of its sub-flow runs, and of the fits in them."""
        of = {"flow_runs": {"parent_flow_run_id": {"any_": [run]}}}
        stages = self.post("flow_runs/filter", of)
        ids = {"any_": [stage["id"] for stage in stages]}
        fits = self.post("task_runs/filter", {"flow_runs": {"id": ids}})
        in_parent = self.post("task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
        (parent,) = self.post("flow_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
        return (
            parent["state_type"],
            {each["state_type"] for each in (*stages, *in_parent)},
            {fit["state_type"] for fit in fits},
        )

    def cancel(self, run):
        state = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
        return self.post(f"flow_runs/{run}/set_state", state)


class OwnServer(Api):
    """A server of a folder of its own, that the test kills and starts as it likes."""

    def __init__(self, folder):
        folder.mkdir()
        self.port = free_port()
        super().__init__(f"http://127.0.0.1:{self.port}/api")
        self.folder = folder
        self.users = os.open(folder / "server.users", os.O_RDWR | os.O_CREAT)
        fcntl.flock(self.users, fcntl.LOCK_SH)
        self.start()

    def start(self):
        command = [sys.executable, "-m", "flows.server.embedded", str(self.folder), str(self.port)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        environment["PREFECT_HOME"] = str(self.folder)
        self.process = subprocess.Popen(command, env=server_environment(self.port) | environment)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        os.close(self.users)
        self.kill()


@pytest.fixture
def servers(tmp_path):
    """Starts servers, and ends those left."""
    started = []

    def new(name="server"):
        started.append(OwnServer(tmp_path / name))
        return started[-1]

    yield new
    for server in started:
        server.end()


def with_model(settings, name, roles=("outcome", "treatment")):
    """All models of a kind: regressors from the tests, a quick classifier."""
    for role in roles:
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


# -- a server that is away ------------------------------------------------------------------------


class DisturbedRun:
    """A run in a folder of its own whose server is killed when something is said or seen."""

    def __init__(self, config, folder, server):
        folder.mkdir()
        shutil.copy("data.parquet", folder)
        shutil.copy(config, folder)
        self.folder, self.server, self.killed = folder, server, 0.0
        self.said = folder / "stderr"
        with self.said.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flows.cli", "run", "config.yaml"],
                cwd=folder,
                env={**os.environ, "PREFECT_API_URL": server.address},
                stdout=output,
                stderr=output,
            )

    def is_at(self, moment):
        if moment == "begun":
            return any(self.folder.glob(".uplift/running/*"))
        if moment == "fitting":
            return len(list(self.folder.glob(".uplift/cache/*/*.fit"))) >= 3
        return f"{moment}: " in self.said.read_text()

    def kill_server(self):
        assert self.process.poll() is None
        self.server.kill()
        self.killed = time.monotonic()


MOMENTS = ("begun", "fitting", "nuisance", "treatment")


@pytest.mark.slow
def test_server_that_is_away_for_half_a_minute_fails_no_run(
    own_models, settings, servers, tmp_path
):
    config = write_config(with_model(settings, "TakesASecond"))
    undisturbed = uplift("run", config, "--quiet")
    assert undisturbed.returncode == 0, undisturbed.stderr
    expected = pd.read_parquet("runs/latest/estimates.parquet")
    at = {moment: servers(f"server-{moment}") for moment in MOMENTS}
    for server in at.values():
        wait_for(server.answers, 120)
    runs = {m: DisturbedRun(config, tmp_path / m, server) for m, server in at.items()}
    waiting = list(MOMENTS)
    away = []
    deadline = time.monotonic() + 240
    while waiting or away:
        assert time.monotonic() < deadline, (waiting, away)
        for moment in [m for m in waiting if runs[m].is_at(m)]:
            runs[moment].kill_server()
            waiting.remove(moment)
            away.append(moment)
        for moment in [m for m in away if time.monotonic() > runs[m].killed + AWAY_SECONDS]:
            runs[moment].server.start()
            away.remove(moment)
        time.sleep(0.02)

    for moment, run in runs.items():
        assert run.process.wait(150) == 0, (moment, run.said.read_text())
        print(moment, time.monotonic() - run.killed)
        found = pd.read_parquet(run.folder / "runs/latest/estimates.parquet")
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
        (parent,) = run.server.runs()
        wait_for(lambda: run.server.states(parent) == DONE, 15)  # noqa: B023
        summary = json.loads((run.folder / "runs/latest/summary.json").read_text())
        recorded = summary["fits"]["planned"] + 3  # each fit, and the three sub-flows
        wait_for(lambda: run.server.post("task_runs/count", {}) == recorded, 15)  # noqa: B023
        assert not list(run.folder.glob(".uplift/running/*"))


@pytest.mark.slow
def test_killed_server_of_a_folder_comes_back_at_its_port(own_models, settings):
    process = start("run", write_config(with_model(settings, "TakesASecond")))
    wait_for(lambda: fits() >= 2)
    killed, server = server_pid(), own_server()
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: server_pid() != killed)

    assert own_server().address == server.address
    run = flow_run()
    port = urlsplit(server.address).port
    other = start("serve", "--port", port)  # uses the server when the run has ended
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    assert len(finished_runs()) == 1
    wait_for(lambda: server.states(run) == DONE, 15)
    other.send_signal(signal.SIGINT)
    other.communicate(timeout=30)
    wait_for(lambda: server_pid() is None, 30)


# -- runs that are killed -------------------------------------------------------------------------


def begin_long_fit(settings, *more, **roles):
    process = start("run", write_config(with_model(settings, "TakesMinutes", **roles)), *more)
    wait_for(Path("fitting").exists)
    return process


@pytest.fixture
def their_models(own_models, api, monkeypatch):
    """Processes may use the base models of the tests; all share the tests' server."""
    monkeypatch.setenv("PREFECT_API_URL", api)
    return Api(api)


@pytest.mark.slow
def test_killed_run_is_marked_by_the_next_command(their_models, settings):
    process = begin_long_fit(settings)
    run = flow_run()
    running = ("RUNNING", {"RUNNING"}, {"RUNNING"})
    wait_for(lambda: their_models.states(run) == running, 20)  # tasks reach it in batches
    process.kill()
    process.communicate()
    assert their_models.states(run) == running
    config = write_config(with_model(settings, "TakesASecond"), "quick.yaml")
    assert uplift("run", config, "--set", "learners=[SLearner]").returncode == 0

    assert their_models.states(run) == ("CRASHED", {"CRASHED"}, {"CRASHED"})


@pytest.mark.slow
def test_finished_run_stays_what_it_is(their_models, settings):
    assert uplift("run", write_config(settings)).returncode == 0
    name = finished_runs()[0].name.split("-", 2)[2]
    (run,) = their_models.post("flow_runs/filter", {"flow_runs": {"name": {"any_": [name]}}})
    # What became of tasks reaches the server by events, a moment later.
    wait_for(lambda: their_models.states(run["id"])[1:] == ({"COMPLETED"}, {"COMPLETED"}))
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


NOTEBOOK = """
import os, signal, sys, threading
import pandas as pd
import flows
from flows.server import connection, interruption
frame = pd.read_parquet("data.parquet")
keys = dict(treatment="w", control=0, learners=["TLearner"], quiet=True, folds={"n_folds": 2})
keys["models"] = {
    "outcome": {"estimator": "sklearn.dummy.DummyRegressor"},
    "propensity": {"estimator": "sklearn.dummy.DummyClassifier"},
}
def error_of(**more):
    try:
        flows.run(frame, **keys | {"outcome": "y"} | more)
    except BaseException as error:
        return type(error).__name__
print(error_of(outcome="Y"), error_of())
for server in connection._started:
    server.kill()
    server.wait()
print(error_of())
interruption.begin()  # as of a run that was stopped
fails = {"outcome": {"estimator": "tests.faulty.NeverFits"}}
thread = threading.Thread(target=lambda: print(error_of(models=fails)))
thread.start()
thread.join()
"""


@pytest.mark.slow
def test_cells_of_a_notebook_run_again_after_a_typo_a_killed_server_and_an_interruption(
    own_models, settings
):
    said = subprocess.run(
        [sys.executable, "-c", NOTEBOOK], capture_output=True, text=True, timeout=200, check=True
    )

    assert said.stdout.split() == ["InputError", "None", "None", "FitError"], said.stderr
    assert "interrupted" not in [record["error"] for record in records()]
    assert len(records()) == 1


# -- runs that are interrupted or cancelled -------------------------------------------------------


@pytest.mark.slow
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
    # The process has told the server, which may be busy with other tests' runs.
    wait_for(lambda: their_models.states(run)[:2] == ("CRASHED", {"CRASHED"}), 15)
    wait_for(lambda: set() < their_models.states(run)[2] <= FINAL, 15)


@pytest.mark.slow
def test_stopped_run_that_is_told_to_end_ends_within_seconds(own_models, settings):
    process = begin_long_fit(settings)
    process.send_signal(signal.SIGSTOP)
    time.sleep(3)
    assert psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, "nobody told it to end"
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    print("ended after", time.monotonic() - begun)

    assert process.returncode == 130, errors
    assert time.monotonic() - begun < 15
    assert [(r["status"], r["error"]) for r in records()] == [("failed", "interrupted")]


WAITS = """
from pathlib import Path
from flows import uplift_run
from flows.config.reading import load_config
from flows.launch.start import parameters
uplift_run(**parameters(load_config(Path("config.yaml"))))
"""


@pytest.mark.slow
def test_run_that_waits_for_another_says_so_and_can_be_ended(their_models, settings):
    # One stage has the long fits. Of two, a second run may begin with the other, and not wait.
    first = begin_long_fit(settings, roles=("treatment",))
    (held,) = running_notes()
    name = httpx.get(f"{their_models.address}/flow_runs/{held.name}").json()["name"]
    command = [sys.executable, "-m", "flows.cli", "run", "config.yaml"]
    for program in (command, [sys.executable, "-c", WAITS]):
        with Path("said").open("w") as said:
            second = subprocess.Popen(program, stdout=said, stderr=said)
        told = f"Waiting for the run {name} (process {first.pid} on "
        wait_for(lambda: len(running_notes()) == 2, 90)
        (own,) = {note.name for note in running_notes()} - {held.name}
        asked = {"logs": {"flow_run_id": {"any_": [own]}}}

        def is_in_the_log():
            found = their_models.post("logs/filter", asked)  # noqa: B023
            return any(told in line["message"] for line in found)  # noqa: B023

        wait_for(is_in_the_log, 30)
        begun = time.monotonic()
        second.send_signal(signal.SIGTERM)
        assert second.wait(30) != 0
        print("ended after", time.monotonic() - begun)

        assert time.monotonic() - begun < 15
        if program is command:  # a script's terminal has Prefect's log, which tests leave out
            assert told in Path("said").read_text()
            assert " since 20" in Path("said").read_text()
    assert first.poll() is None
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=30)


@pytest.mark.slow
def test_interrupted_tuning_ends_soon_and_keeps_nothing(their_models, settings):
    config = write_config(with_model(settings, "TakesMinutes"))
    process = start("tune", config, "--budget", "100")
    wait_for(Path("fitting").exists)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)

    assert process.returncode == 130, errors
    assert time.monotonic() - begun < 8
    assert "interrupted. Nothing was kept." in errors
    assert not records()
    assert not list(Path().glob(".uplift/profiles/*"))


@pytest.mark.slow
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
    wait_for(lambda: their_models.states(run)[:2] == ("CANCELLED", {"CANCELLED"}), 5)
    wait_for(lambda: set() < their_models.states(run)[2] <= FINAL, 5)


@pytest.mark.slow
def test_run_of_a_deployment_is_cancelled_within_seconds(own_models, settings):
    write_config(with_model(settings, "TakesMinutes"))
    port = free_port()
    served = start("serve", "--port", port)
    api = Api(f"http://127.0.0.1:{port}/api")
    wait_for(lambda: b"uplift-run" in deployment(api), 90)
    path = f"deployments/{json.loads(deployment(api))['id']}/create_flow_run"
    run = api.post(path, {"parameters": settings})["id"]
    wait_for(Path("fitting").exists, 60)
    (child,) = [
        p
        for p in psutil.Process(served.pid).children()
        if "flows.server.embedded" not in p.cmdline()
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


# -- `uplift serve` that is killed ----------------------------------------------------------------


class Serving:
    """`uplift serve` in the working folder, which the test kills and starts as it likes."""

    def __init__(self):
        self.port = free_port()
        self.api = Api(f"http://127.0.0.1:{self.port}/api")
        self.start()

    def start(self):
        with Path("serve.log").open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flows.cli", "serve", "--port", str(self.port)],
                stdout=log,
                stderr=log,
            )
        wait_for(lambda: "deployment run" in Path("serve.log").read_text(), 90)
        wait_for(lambda: b"uplift-run" in deployment(self.api), 30)

    def begin_run(self, settings, cache, fits):
        """A run that has begun to fit."""
        path = f"deployments/{json.loads(deployment(self.api))['id']}/create_flow_run"
        own = {"parameters": settings | {"cache": {"storage": cache}}}
        run = self.api.post(path, own)["id"]
        wait_for(lambda: len(list(Path(cache).glob("*/*.fit"))) >= fits, 60)
        return run

    def ended(self, run, state):
        wait_for(lambda: self.api.states(run)[:2] == (state, {state}), 60)
        # Task runs reach the server in batches.
        wait_for(lambda: self.api.states(run)[2] <= {"COMPLETED", state}, 15)


@pytest.fixture
def serving(own_models, settings):
    serving = Serving()
    yield serving
    serving.process.kill()  # where the test failed
    serving.process.wait()


@pytest.mark.slow
def test_serve_that_is_killed_loses_no_run_and_no_fit(serving, settings):
    settings = with_model(settings, "TakesASecond") | {"folds": {"n_folds": 2}}
    # Killed alone: the run ends well, and the server lives until then.
    run = serving.begin_run(settings, "alone", 2)
    server = server_pid()
    serving.process.kill()
    serving.process.wait()
    time.sleep(3)  # a server without users ends within a second
    assert server_pid() == server
    wait_for(finished_runs, 60)
    serving.start()
    serving.ended(run, "COMPLETED")
    summary = summary_of(run, serving.api)
    assert summary["fits"]["executed"] == summary["fits"]["unique"]
    # Killed with its run and its server, as with the machine.
    run = serving.begin_run(settings, "together", 3)
    for each in (psutil.Process(server_pid()), *psutil.Process(serving.process.pid).children(True)):
        each.kill()
    serving.process.kill()
    serving.process.wait()
    kept = len(list(Path("together").glob("*/*.fit")))
    serving.start()
    serving.ended(run, "CRASHED")
    again = serving.begin_run(settings, "together", kept)
    serving.ended(again, "COMPLETED")
    summary = summary_of(again, serving.api)
    assert summary["fits"]["reused"] == kept >= 3
    assert summary["fits"]["executed"] == summary["fits"]["unique"] - kept > 0
    assert len(finished_runs()) == 2
    serving.process.send_signal(signal.SIGINT)
    assert serving.process.wait(30) == 0


def summary_of(run, api):
    name = httpx.get(f"{api.address}/flow_runs/{run}").json()["name"]
    (path,) = Path("runs").glob(f"2*-{name}/summary.json")
    return json.loads(path.read_text())
