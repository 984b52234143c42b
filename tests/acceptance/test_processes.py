"""The command as a process: its exit status, its signals, its server, several at a time."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import write_config

UPLIFT = [sys.executable, "-m", "flows.cli"]


@pytest.fixture
def environment(monkeypatch):
    """An environment without a server: commands start their own."""
    for name in ("PREFECT_API_URL", "PREFECT_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def slow_settings(settings):
    """A run of some seconds, one fit at a time."""
    settings["models"]["outcome"]["params"] = {"n_estimators": 600, "num_leaves": 63}
    settings["models"]["treatment"]["params"] = {"n_estimators": 600, "num_leaves": 63}
    settings["parallelism"] = {"runner": "serial"}
    return settings


def uplift(*arguments, **more):
    command = [*UPLIFT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **more)


def start(*arguments):
    return subprocess.Popen(
        [*UPLIFT, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def fits() -> int:
    return len(list(Path().glob(".uplift/cache/*/*.fit")))


def finished_runs() -> list[Path]:
    return sorted(path.parent for path in Path().glob("runs/2*/summary.json"))


def test_run_show_list_and_score_as_a_user_would(api, settings):
    done = uplift("run", write_config(settings), "--json", "out/summary.json", "--set", "clip=0.02")

    assert done.returncode == 0, done.stderr
    assert "report.html" in done.stdout
    assert "estimates.parquet" in done.stdout
    assert "uplift serve" in done.stdout
    assert "nuisance: " in done.stderr
    summary = json.loads(Path("out/summary.json").read_text())
    assert summary == json.loads(Path("runs/latest/summary.json").read_text())
    assert "clip: 0.02" in Path("runs/latest/config.yaml").read_text()
    assert summary["run_name"] in uplift("runs", "list").stdout
    assert json.loads(uplift("runs", "show", "latest").stdout) == summary
    assert "runs/by-name/config/latest" in done.stdout
    assert json.loads(uplift("runs", "show", "config").stdout) == summary
    scored = uplift(
        "score", "--model", "config", "--input", "data.parquet", "--output", "scores.parquet"
    )
    assert scored.returncode == 0, scored.stderr
    columns = ["row", "cate.DRLearner.1", "percentile.DRLearner.1"]
    assert list(pd.read_parquet("scores.parquet")) == columns


@pytest.mark.slow
def test_quiet_says_nothing(api, settings):
    done = uplift("run", write_config(settings), "--quiet")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_failure_has_status_1_one_message_and_a_record(api, settings, monkeypatch):
    monkeypatch.setenv("UPLIFT_IMPORT_ROOTS", "tests")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    settings["models"]["treatment"] = {"estimator": "tests.faulty.NeverFits"}
    done = uplift("run", write_config(settings), "--json", "summary.json")

    assert done.returncode == 1
    assert "this model can't be fitted" in done.stderr
    assert "Traceback" not in done.stderr
    summary = json.loads(Path("summary.json").read_text())
    assert summary["status"] == "failed"
    assert "this model can't be fitted" in summary["error"]
    assert [stage["name"] for stage in summary["stages"]] == ["load", "nuisance"]
    assert "failed" in uplift("runs", "list").stdout
    assert not finished_runs()


@pytest.mark.slow
def test_init_writes_a_config_that_runs_and_never_overwrites(api, settings):
    first = uplift("init", "data.parquet", "--output", "new.yaml")
    text = Path("new.yaml").read_text()
    second = uplift("init", "data.parquet", "--output", "new.yaml")

    assert first.returncode == 0, first.stderr
    assert "    - a\n    - b\n    - c\n" in text
    assert second.returncode == 2
    assert "nothing is overwritten" in second.stderr
    assert Path("new.yaml").read_text() == text
    ran = uplift("init", "data.parquet", "--output", "other.yaml", "--run")
    assert ran.returncode == 0, ran.stderr
    assert Path("other.yaml").read_text() == text
    assert "effect of" in ran.stdout
    assert len(finished_runs()) == 1


def test_help_tells_every_command():
    shown = uplift("--help").stdout

    for command in ("run", "compare", "tune", "score", "init", "serve", "doctor", "runs", "cache"):
        assert command in shown
        assert uplift(command, "--help").returncode == 0


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_interrupted_run_has_status_130_and_keeps_its_fits(api, slow_settings, number):
    process = start("run", write_config(slow_settings))
    wait_for(lambda: fits() >= 3)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    kept = fits()
    again = uplift("run", "config.yaml")

    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert again.returncode == 0
    assert len(finished_runs()) == 1
    summary = json.loads((finished_runs()[0] / "summary.json").read_text())
    assert summary["fits"]["reused"] == kept >= 3


@pytest.mark.slow
def test_killed_run_goes_on_from_its_finished_fits(api, slow_settings):
    undisturbed = write_config(slow_settings | {"cache": {"storage": "other"}, "output": "others"})
    assert uplift("run", undisturbed).returncode == 0
    expected = pd.read_parquet("others/latest/estimates.parquet")

    process = start("run", write_config(slow_settings))
    wait_for(lambda: fits() >= 8)
    process.kill()
    process.communicate()
    kept = fits()
    assert "died without reporting an error" in uplift("runs", "list").stdout
    again = uplift("run", "config.yaml")

    assert again.returncode == 0, again.stderr
    (finished,) = finished_runs()
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["fits"]["reused"] == kept
    assert summary["fits"]["executed"] == summary["fits"]["unique"] - kept > 0
    found = pd.read_parquet(finished / "estimates.parquet")
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert {path.name for path in Path("runs").iterdir()} == {
        ".records",
        "by-name",
        "latest",
        finished.name,
    }


def server_pid() -> int | None:
    try:
        return int(json.loads(Path(".uplift/server.json").read_text())["pid"])
    except FileNotFoundError:
        return None


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_server_that_does_not_answer_is_said_at_once(settings, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://me:secret@127.0.0.1:9/api")
    done = uplift("run", write_config(settings))

    assert done.returncode == 2
    assert "127.0.0.1:9/api" in done.stderr
    assert "secret" not in done.stderr
    assert not fits()


@pytest.mark.slow
def test_two_commands_share_one_server_that_ends_after_the_last(environment, slow_settings):
    first = start("run", write_config(slow_settings, "first.yaml"))
    wait_for(lambda: fits() >= 1)
    server = server_pid()
    second_settings = slow_settings | {"cache": {"enabled": False}}
    second = start("run", write_config(second_settings, "second.yaml"))
    _, first_errors = first.communicate(timeout=120)

    assert first.returncode == 0, first_errors
    assert second.poll() is None, "the second run was to outlast the first"
    assert server_pid() == server
    _, second_errors = second.communicate(timeout=120)
    assert second.returncode == 0, second_errors
    assert len(finished_runs()) == 2
    wait_for(lambda: not alive(server), 30)
    assert server_pid() is None


@pytest.mark.slow
def test_server_of_a_killed_run_ends_by_itself(environment, slow_settings):
    process = start("run", write_config(slow_settings))
    wait_for(lambda: fits() >= 1)
    server = server_pid()
    process.kill()
    process.communicate()

    wait_for(lambda: not alive(server), 30)
    assert uplift("run", "config.yaml").returncode == 0


@pytest.mark.slow
def test_interrupted_start_up_leaves_no_second_server(environment, settings):
    first = start("run", write_config(settings))
    wait_for(lambda: server_pid() is not None)
    server = server_pid()
    first.kill()
    first.communicate()
    done = uplift("run", "config.yaml")

    assert done.returncode == 0, done.stderr
    log = Path(".uplift/server.log").read_text()
    assert "database is locked" not in log
    wait_for(lambda: not alive(server), 30)
    assert server_pid() is None


@pytest.mark.slow
def test_proxy_settings_do_not_stand_between_a_run_and_its_server(
    environment, settings, monkeypatch
):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert uplift("run", write_config(settings)).returncode == 0


@pytest.mark.slow
def test_nothing_is_sent_anywhere(environment, settings):
    """Every address that a run connects to is on this machine."""
    trace = Path("connections")
    code = (
        "import sys, socket\n"
        "def audit(event, arguments):\n"
        "    if event == 'socket.connect' and isinstance(arguments[1], tuple):\n"
        f"        print(arguments[1][0], file=open({str(trace.resolve())!r}, 'a'))\n"
        "    if event == 'socket.getaddrinfo':\n"
        f"        print(arguments[0], file=open({str(trace.resolve())!r}, 'a'))\n"
        "sys.addaudithook(audit)\n"
    )
    Path("hook").mkdir()
    Path("hook/sitecustomize.py").write_text(code)
    path = {**os.environ, "PYTHONPATH": str(Path("hook").resolve())}
    done = uplift("run", write_config(settings), env=path)

    assert done.returncode == 0, done.stderr
    assert set(trace.read_text().split()) <= {"127.0.0.1", "localhost", "::1"}
