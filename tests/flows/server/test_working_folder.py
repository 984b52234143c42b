"""The working folder is data: none of its files is run, or sets anything of Prefect's."""

import json
import os
import signal
import site
import subprocess
import sys
import time
import venv
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.acceptance.test_processes import start, wait_for
from tests.conftest import REPOSITORY, free_port, write_config

OTHERS = {
    "PREFECT_SERVER_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:///other.db",
    "PREFECT_API_URL": "http://127.0.0.1:9/api",
    "PREFECT_API_AUTH_STRING": "me:secret",
    "PREFECT_LOGGING_LEVEL": "DEBUG",
    "PREFECT_PROFILES_PATH": "profiles.toml",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "1",
}
TABLES = """
[{0}server.database]
connection_url = "sqlite+aiosqlite:///other.db"
[{0}api]
url = "http://127.0.0.1:9/api"
auth_string = "me:secret"
[{0}logging]
level = "DEBUG"
"""
PROFILES = """
active = "other"
[profiles.other]
PREFECT_API_URL = "http://127.0.0.1:9/api"
PREFECT_LOGGING_LEVEL = "DEBUG"
"""
FILES = {
    "none": {},
    ".env": {".env": "".join(f"{name}={value}\n" for name, value in OTHERS.items())},
    "prefect.toml": {"prefect.toml": 'profiles_path = "profiles.toml"\n' + TABLES.format("")},
    "pyproject.toml": {
        "pyproject.toml": '[tool.prefect]\nprofiles_path = "profiles.toml"\n'
        + TABLES.format("tool.prefect.")
    },
    "broken": dict.fromkeys((".env", "prefect.toml", "pyproject.toml"), "no [ toml\n= \x00"),
}
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
SHADOWED = ("uvicorn", "prefect", "numpy", "loky", "sqlite3", "flows", "metalearners", "httpx")
ASKED = """
import json, flows.server.environment
flows.server.environment.prepare()
from prefect.settings import get_current_settings
print(json.dumps(get_current_settings().to_environment_variables(exclude_unset=False)))
"""


@pytest.fixture
def clean(monkeypatch):
    """An environment without settings of Prefect's."""
    for name in list(os.environ):
        if name.startswith("PREFECT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))


def settings_in(folder, **environment):
    """Prefect's settings as this project's programs see them in a folder."""
    ran = subprocess.run(
        [sys.executable, "-P", "-c", ASKED],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.replace(str(folder), "HERE"))


def put(folder, files):
    folder.mkdir(exist_ok=True)
    for name, text in {"profiles.toml": PROFILES, **files}.items():
        (folder / name).write_text(text)


@pytest.mark.slow
def test_no_file_of_the_folder_is_a_setting_and_the_environment_is_one(clean, tmp_path):
    seen = {}
    for name, files in FILES.items():
        put(tmp_path / name, files)
        seen[name] = settings_in(tmp_path / name, PREFECT_LOGGING_LEVEL="WARNING")

    assert seen["none"]["PREFECT_LOGGING_LEVEL"] == "WARNING"
    for name, found in seen.items():
        assert found == seen["none"], name


def shadow(folder):
    """A module of each name in a folder, which leaves a trace if it is run."""
    for name in SHADOWED:
        trace = folder / f"{name}-was-run"
        text = f"open({str(trace)!r}, 'w').close()\nraise SystemExit('a file of the user')\n"
        if name == "flows":  # every Prefect user has one
            (folder / name).mkdir()
            (folder / name / "__init__.py").write_text(text)
        else:
            (folder / f"{name}.py").write_text(text)


def traces(folder):
    return sorted(path.name for path in folder.glob("*-was-run")) + list(folder.glob("other.db"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The command of an environment into which a wheel was installed, the packages of this one."""
    place = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    wheel = [*pip, "wheel", "--no-deps", "--wheel-dir", str(place), str(REPOSITORY)]
    subprocess.run(wheel, check=True, timeout=300)
    venv.create(place / "venv", with_pip=False, symlinks=True)
    python = place / "venv" / "bin" / "python"
    (built,) = place.glob("*.whl")
    into = ["--python", str(python), "install", "--no-deps", "--no-index", str(built)]
    subprocess.run([*pip, *into], check=True, timeout=300)
    (own,) = (place / "venv").glob("lib/*/site-packages")
    packages = {str(Path(np.__file__).parent.parent), *site.getsitepackages()}
    (own / "zz_packages.pth").write_text("\n".join(sorted(packages)))
    return str(python.parent / "uplift")


@pytest.mark.slow
def test_command_and_deployment_run_from_a_wheel_in_a_folder_of_another_project(
    clean, installed, settings, tmp_path, monkeypatch
):
    monkeypatch.delenv("PYTHONPATH")
    settings["parallelism"] = {"runner": "process", "workers": 1, "base_model_threads": 1}
    config = write_config(settings)
    shadow(tmp_path)
    put(tmp_path, FILES[".env"] | FILES["prefect.toml"] | FILES["pyproject.toml"])
    run = subprocess.run(
        [installed, "run", str(config), "--quiet"],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")

    port = free_port()
    address = f"http://127.0.0.1:{port}/api"
    with Path("serve.log").open("w") as log:
        served = subprocess.Popen([installed, "serve", "--port", str(port)], stdout=log, stderr=log)
    command = f"PREFECT_API_URL={address} prefect deployment run uplift-run/uplift-run"
    wait_for(lambda: command in Path("serve.log").read_text(), 120)
    found = deployment(address)
    asked = {"parameters": settings | {"cache": {"enabled": False}}}
    begun = httpx.post(f"{address}/deployments/{found['id']}/create_flow_run", json=asked).json()
    wait_for(lambda: state_of(address, begun["id"]) in FINAL, 240)
    ended, said = state_of(address, begun["id"]), Path("serve.log").read_text()
    served.send_signal(signal.SIGINT)
    assert served.wait(60) == 0

    assert ended == "COMPLETED", said
    assert traces(tmp_path) == []
    assert Path(".uplift/prefect/prefect.db").exists()


def state_of(address, run):
    return httpx.get(f"{address}/flow_runs/{run}").json()["state_type"]


def deployment(address):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = httpx.get(f"{address}/deployments/name/uplift-run/uplift-run").json()
        if "id" in found:
            return found
        time.sleep(0.5)
    raise AssertionError("no deployment")


SCRIPT = """
import os, sys
from flows import uplift_run
from flows.config.reading import load_config
from flows.launch.start import parameters
from pathlib import Path
uplift_run(**parameters(load_config(Path("config.yaml"))))
print(os.environ["PREFECT_API_URL"])
"""


@pytest.mark.slow
def test_a_script_has_the_server_of_the_folder_however_long_it_takes(clean, settings, tmp_path):
    """Prefect's own would be given a second here."""
    write_config(settings)
    Path("script.py").write_text(SCRIPT)
    environment = {**os.environ, "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "1"}
    command = start("run", "config.yaml", "--set", "output=others")
    script = subprocess.run(
        [sys.executable, "script.py"],
        env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    _, errors = command.communicate(timeout=120)

    assert script.returncode == 0, script.stderr
    assert command.returncode == 0, errors
    assert len(list(Path().glob("*runs/2*/summary.json"))) == 1
    assert len(list(Path().glob("others/2*/summary.json"))) == 1
    assert Path(".uplift/server.log").read_text() == ""
    assert script.stdout.strip().startswith("http://127.0.0.1:")
