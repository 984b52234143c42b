"""Prefect's own command, and its client's calls without filters, against `uplift serve`."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from deployments.uplift import deployments
from tests.acceptance import test_serve

pytestmark = pytest.mark.slow
served = test_serve.served  # the fixture
DEPLOYMENT = "uplift-run/uplift-run"
COMMANDS = (
    "flow ls",
    "deployment ls",
    "deployment schedule ls " + DEPLOYMENT,
    "deployment inspect " + DEPLOYMENT,
    "work-pool create --type process commands",
    "work-pool ls",
    "artifact ls",
    "automation ls",
    f"deployment run {DEPLOYMENT} --start-in 10hours",
    "flow-run ls",
    "flow-run inspect RUN",
    "task-run ls",
)
CALLS = """
from prefect.client.orchestration import get_client
with get_client(sync_client=True) as client:
    for read in ("flows", "flow_runs", "task_runs", "deployments", "artifacts", "work_pools"):
        print(read, len(getattr(client, "read_" + read)()))
"""


def prefect(served, *arguments):
    """A Python process with the address that `uplift serve` prints."""
    others = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    return subprocess.run(
        [sys.executable, "-P", *arguments],
        cwd=served.folder,
        env={**others, "PREFECT_API_URL": served.api, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def ended(served):
    """Each command with how it ended, two at a time."""
    deployment = served.deployment()["id"]
    later = {"state": {"type": "PAUSED"}}  # is there to be looked at, and never begun
    run = served.post(f"deployments/{deployment}/create_flow_run", later).json()["id"]
    with ThreadPoolExecutor(2) as pool:
        started = {
            command: pool.submit(
                prefect, served, "-m", "prefect", *command.replace("RUN", run).split()
            )
            for command in COMMANDS
        }
    return {command: future.result() for command, future in started.items()}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_prefect_s_ends_well(ended, command):
    assert ended[command].returncode == 0, ended[command].stdout + ended[command].stderr


def test_commands_say_what_the_server_has(ended):
    assert DEPLOYMENT in ended["deployment ls"].stdout
    assert "uplift-run" in ended["flow ls"].stdout
    assert "Created work pool 'commands'" in ended[COMMANDS[4]].stdout


def test_calls_of_the_client_may_leave_filters_out(served):
    called = prefect(served, "-c", CALLS)

    assert called.returncode == 0, called.stderr
    assert f"deployments {len(deployments()) + 1}" in called.stdout  # and the config's
