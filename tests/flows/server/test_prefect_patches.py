"""Each change to Prefect's behaviour is needed on the Prefect that is installed, and works there.

A test that fails in its first half tells of a change that Prefect no longer needs; one that fails
in its second half, of one that Prefect has broken.
"""

import ast
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from flows.server import prefect_patches
from tests.acceptance.test_processes import wait_for
from tests.conftest import REPOSITORY, free_port

FOLDER = Path(prefect_patches.__file__).parent
CALLED = {"cancel_intent", "prompt_task_runner"}  # by their users, where they are needed
APPLIED = {name for names in prefect_patches.APPLIED.values() for name in names}
WITH_OR_WITHOUT = """
import importlib, json, os, signal, sys, threading, time
if sys.argv[1]:
    importlib.import_module("flows.server.prefect_patches." + sys.argv[1]).apply()
"""


def started(code, patch, folder, **environment):
    """A process of its own folder, without settings of Prefect's but those that are named."""
    folder.mkdir(exist_ok=True)
    others = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    own = {
        "PYTHONPATH": str(REPOSITORY),
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    }
    command = [sys.executable, "-P", "-c", WITH_OR_WITHOUT + code, patch]
    return subprocess.Popen(
        command, cwd=folder, env=others | own | environment, stdout=subprocess.PIPE, text=True
    )


@pytest.fixture
def both(tmp_path):
    """What a piece of code says without a change, and with it."""

    def without_and_with(patch, code, **environment):
        names = {"": tmp_path / "without", patch: tmp_path / "with"}
        processes = [started(code, name, folder, **environment) for name, folder in names.items()]
        said = [process.communicate(timeout=120)[0].splitlines() for process in processes]
        return [json.loads(lines[-1]) if lines else None for lines in said]

    return without_and_with


def test_each_change_says_what_why_measured_on_which_version_and_until_when():
    files = {path.stem: path for path in FOLDER.glob("*.py") if path.stem[0] != "_"}

    assert set(files) == APPLIED | CALLED | {"import_hook"}
    for name in APPLIED | CALLED:
        said = ast.get_docstring(ast.parse(files[name].read_text())) or ""
        for word in ("\nWhat: ", "\nWhy: ", "\nMeasured: ", "\nUntil: ", "3.9.1"):
            assert word in said, (name, word)


def test_no_private_name_of_prefect_s_is_imported_elsewhere():
    for path in (FOLDER.parent.parent).rglob("*.py"):
        if path.parent == FOLDER:
            continue
        tree = ast.parse(path.read_text())
        names = {
            f"{node.module}.{name.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("prefect")
            for name in node.names
        }
        private = {name for name in names if "._" in name}
        assert private == set(), path


SETTINGS = """
from prefect.settings import get_current_settings
print(json.dumps(get_current_settings().logging.level))
"""


@pytest.mark.slow
def test_settings_files(both, tmp_path):
    for name in ("without", "with"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".env").write_text("PREFECT_LOGGING_LEVEL=ERROR\n")
    without, own = both("settings_files", SETTINGS)

    assert without == "ERROR"
    assert own == "INFO"


LOADED = """
import importlib
from prefect.utilities.importtools import load_module
load = importlib.import_module if sys.argv[1] else load_module
load("flows.uplift")
print(json.dumps(load_module("flows.uplift").__file__))
"""


@pytest.mark.slow
def test_flows_that_are_imported_stay_whatever_the_working_folder_holds(both, tmp_path):
    """Prefect looks in the working folder first, so `flows.cli.engine` imports them before."""
    for name in ("without", "with"):
        folder = tmp_path / name / "flows"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("")
        (folder / "uplift.py").write_text("")
    without, own = both("settings_files", LOADED)

    assert without == str(tmp_path / "without" / "flows" / "uplift.py")
    assert own == str(REPOSITORY / "flows" / "uplift.py")


COMMAND = """
import asyncio
from types import SimpleNamespace
from prefect.runner import Runner
async def main():
    async with Runner(pause_on_shutdown=False) as runner:
        run = SimpleNamespace(deployment_id=None)
        print(json.dumps(runner._scheduled_run_poller._resolve_starter(run)._command))
asyncio.run(main())
"""


@pytest.mark.slow
def test_engine_command(both, api):
    without, own = both("engine_command", COMMAND, PREFECT_API_URL=api)

    assert without is None
    assert own.endswith("-P -m flows.cli.engine")


FLOW_OF_NOTHING = """
from prefect import flow, runtime
@flow(name="nothing")
def nothing():
    return str(runtime.flow_run.id)
def seconds():
    begun = time.monotonic()
    nothing()
    return time.monotonic() - begun
print(json.dumps([sorted(seconds() for _ in range(5))[2], nothing()]))
"""


@pytest.mark.slow
def test_heartbeats(both, api):
    (without, _), (own, run) = both("heartbeats", FLOW_OF_NOTHING, PREFECT_API_URL=api)
    print("seconds of a flow of nothing:", without, own)
    asked = {"filter": {"event": {"name": ["prefect.flow-run.heartbeat"]}}}

    def resources():
        found = httpx.post(f"{api}/events/filter", json=asked).json()["events"]
        return {event["resource"]["prefect.resource.id"] for event in found}

    assert own < without - 0.4
    wait_for(lambda: f"prefect.flow-run.{run}" in resources(), 20)


FAILS = """
from prefect import flow, get_run_logger
from flows.errors import FitError, InputError
def fit():
    exec(compile("def fit():\\n    raise ValueError('dry')\\nfit()", "own.py", "exec"), {})
@flow(name="of-two-errors")
def fails(model):
    if not model:
        raise InputError("expected a column; s3://me:secret@bucket has none")
    try:
        fit()
    except ValueError as error:
        raise FitError("fold 1 failed: dry") from error
@flow
def shop():
    try:
        raise InputError("expected a column")
    except InputError:
        get_run_logger().exception("SHOP THREE FAILED")
    return 1
runs = []
for model in (False, True):
    state = fails(model, return_state=True)
    runs.append([str(state.state_details.flow_run_id), state.message])
runs.append([str(shop(return_state=True).state_details.flow_run_id), "of a user's"])
time.sleep(3)
print(json.dumps(runs))
"""


@pytest.mark.slow
def test_own_messages(both, api):
    (prefect_s, *_), (*own, users) = both("own_messages", FAILS, PREFECT_API_URL=api)

    assert prefect_s[1].startswith("Flow run encountered an exception: InputError: expected")
    messages = ["expected a column; s3://bucket has none", "fold 1 failed: dry"]
    assert [message for _, message in own] == messages
    wrong, broken = [told(api, run) for run, _ in own]
    assert wrong == ["expected a column; s3://bucket has none"]
    assert "flow_engine.py" in told(api, prefect_s[0])[0]
    (shown,) = broken
    assert shown.startswith("fold 1 failed: dry\nTraceback (most recent call last):\n")
    assert 'File "own.py"' in shown
    assert "flow_engine.py" not in shown
    (of_user,) = told(api, users[0])
    assert of_user.startswith("SHOP THREE FAILED\nTraceback")
    assert "InputError: expected a column" in of_user


UNKNOWN = """
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
@flow(name="of-one-parameter", validate_parameters=False)
def fails(model=1):
    pass
fails.fn.__module__ = "flows.uplift"
with get_client(sync_client=True) as client:
    run = client.create_flow_run(fails, parameters={"modle": 2})
    try:
        run_flow(fails, flow_run=run)
    except Exception as error:
        raised = type(error).__name__
    state = client.read_flow_run(run.id).state
print(json.dumps([raised, state.type, state.message]))
"""


@pytest.mark.slow
def test_own_messages_of_unknown_parameters(both, api):
    without, own = both("own_messages", UNKNOWN, PREFECT_API_URL=api)

    assert without[:2] == ["SignatureMismatchError", "PENDING"]
    said = "modle: unknown key. Did you mean 'model'? Valid here: model."
    assert own == ["InputError", "FAILED", said]


def told(api, run):
    """The errors in a flow run's log."""
    asked = {"logs": {"flow_run_id": {"any_": [run]}, "level": {"ge_": 40}}}
    return [line["message"] for line in httpx.post(f"{api}/logs/filter", json=asked).json()]


AWAY = """
from http.server import BaseHTTPRequestHandler, HTTPServer
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.clients import PrefectEventsClient
class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *arguments):
        pass
def serve():
    time.sleep(2)
    HTTPServer(("127.0.0.1", port), Answers).handle_request()
port = int(os.environ["PORT"])
threading.Thread(target=serve, daemon=True).start()
address = f"http://127.0.0.1:{port}/api"
events = PrefectEventsClient(address)._reconnection_attempts
print(json.dumps([repr(SyncPrefectClient(address).api_healthcheck()), events]))
"""


@pytest.mark.slow
def test_client_retries(both):
    (without, tries), (own, more) = both("client_retries", AWAY, PORT=str(free_port()))

    assert "ConnectError" in without
    assert own == "None"
    assert (tries, more) == (10, 90)


TWO_CLIENTS = """
from prefect.client.orchestration import SyncPrefectClient
def seconds():
    begun = time.monotonic()
    SyncPrefectClient("http://127.0.0.1:9/api")
    return time.monotonic() - begun
seconds()
print(json.dumps(sorted(seconds() for _ in range(9))[4]))
"""


@pytest.mark.slow
def test_tls_contexts(both):
    without, own = both("tls_contexts", TWO_CLIENTS)
    print("seconds of a client:", without, own)

    assert own < without / 3


EPHEMERAL = """
from prefect.server.api.server import SubprocessASGIServer
class WouldStart(Exception):
    pass
def start(self):
    raise WouldStart
SubprocessASGIServer._run_uvicorn_command = start
server = SubprocessASGIServer()
try:
    server.start()
    print(json.dumps(server.api_url))
except WouldStart:
    print(json.dumps("another server"))
"""


@pytest.mark.slow
def test_ephemeral(both, api):
    """The folder's server stands for itself here: it is that which the environment names."""
    without, own = both("ephemeral", EPHEMERAL, PREFECT_API_URL=api)

    assert without == "another server"
    assert own == api


LEAVING = """
from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner
from concurrent.futures import ThreadPoolExecutor
from flows.server.prefect_patches.prompt_task_runner import PromptTaskRunner
@task
def long():
    begun.set()
    time.sleep(5)
@flow
def leaves():
    long.submit()
    begun.wait()
    raise KeyboardInterrupt(time.monotonic())
def seconds(runner):
    begun.clear()
    try:
        leaves.with_options(task_runner=runner)()
    except KeyboardInterrupt as error:
        return time.monotonic() - error.args[0]
begun, pool = threading.Event(), ThreadPoolExecutor(2)
print(json.dumps([seconds(ThreadPoolTaskRunner()), seconds(PromptTaskRunner(pool))]))
"""


@pytest.mark.slow
def test_prompt_task_runner(api, tmp_path):
    said = started(LEAVING, "heartbeats", tmp_path, PREFECT_API_URL=api).communicate(timeout=60)[0]
    waited, left = json.loads(said)
    print("seconds:", waited, left)

    assert waited > 4
    assert left < waited - 2


TOLD_TO_END = """
from prefect import flow, runtime
from flows.server.prefect_patches import cancel_intent
@flow
def is_told_to_end(cancelled):
    print(json.dumps(str(runtime.flow_run.id)), flush=True)
    if cancelled:
        cancel_intent.declare()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
is_told_to_end(bool(os.environ["CANCELLED"]))
"""


@pytest.mark.slow
def test_cancel_intent(api, tmp_path):
    ended = []
    for cancelled in ("", "yes"):
        process = started(
            TOLD_TO_END, "", tmp_path / f"f{cancelled}", PREFECT_API_URL=api, CANCELLED=cancelled
        )
        run = json.loads(process.communicate(timeout=60)[0])
        ended.append(httpx.get(f"{api}/flow_runs/{run}").json()["state_type"])

    assert ended == ["CRASHED", "CANCELLED"]


SERVER = """
import fcntl
from pathlib import Path
from flows.server import embedded, prefect_patches
users = os.open("server.users", os.O_RDWR | os.O_CREAT)
fcntl.flock(users, fcntl.LOCK_SH)
prefect_patches.APPLIED["server"] = prefect_patches.APPLIED["server"] if sys.argv[1] else ()
embedded.main(Path("."), int(os.environ["PORT"]))
"""
CLIENTS = 8


@pytest.mark.slow
def test_sqlite_writers(tmp_path):
    refused = []
    for patch in ("", "sqlite_writers"):
        port = free_port()
        address = f"http://127.0.0.1:{port}/api"
        more = {"PORT": str(port), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        server = started(SERVER, patch, tmp_path / f"s{patch}", **more)
        try:
            wait_for(lambda: answers(f"{address}/health"), 120)  # noqa: B023
            flow = httpx.post(f"{address}/flows/", json={"name": "f"}, timeout=60).json()["id"]
            with ThreadPoolExecutor(CLIENTS) as clients:
                codes = list(clients.map(lambda _: begun_runs(address, flow), range(CLIENTS)))  # noqa: B023
        finally:
            server.kill()
            server.communicate()
        refused.append(sum(code == 503 for each in codes for code in each))
    print("503 of", sum(map(len, codes)), "requests:", refused)

    assert refused[0] > 0
    assert refused[1] == 0


def begun_runs(address, flow, seconds=5):
    """Status codes of requests that begin flow runs; 503 also where a connection is closed."""
    codes = []
    until = time.monotonic() + seconds
    state = {"state": {"type": "RUNNING", "name": "Running"}}
    while time.monotonic() < until:
        try:
            begun = httpx.post(f"{address}/flow_runs/", json={"flow_id": flow}, timeout=60)
            codes.append(begun.status_code)
            if begun.status_code == 201:
                path = f"{address}/flow_runs/{begun.json()['id']}/set_state"
                codes.append(httpx.post(path, json=state, timeout=60).status_code)
        except httpx.TransportError:
            codes.append(503)
    return codes


def answers(address):
    try:
        return httpx.get(address, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
