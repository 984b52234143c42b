"""The doctor: each planted fault has one message, a sound installation none, nothing changes."""

import contextlib
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import numpy as np
import prefect
import pytest
from joblib import cpu_count
from typer.testing import CliRunner

from flows.cli.commands import app
from flows.doctor.examination import Places, examine
from flows.doctor.machine import THREADS
from flows.doctor.surroundings import VARIABLES
from flows.fitting.profiles import keep_profile
from tests.conftest import REPOSITORY, free_port

PACKAGES = Path(np.__file__).parent.parent


class Patient:
    """A sound working folder and environment, in which a test plants faults."""

    def __init__(self, folder, monkeypatch, until_end):
        self.folder, self.until_end = folder, until_end
        self.set, self.path = monkeypatch.setenv, monkeypatch.syspath_prepend

    def install(self, name, version):
        """The record of a package, where Python finds it first."""
        record = self.folder / "site" / f"{name}-{version}.dist-info"
        record.mkdir(parents=True)
        (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}")
        self.path(str(record.parent))

    def write(self, path, text=""):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)

    def serve(self, version=prefect.__version__, clock=0.0, login=""):
        """A server of some version, whose clock is ahead by some seconds."""
        wanted = f"Basic {b64encode(login.encode()).decode()}"

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                answers = {"/api/health": True, "/api/admin/version": version}
                known = not login or self.headers["Authorization"] == wanted
                may = known or self.path == "/api/health"  # as in Prefect's server
                self.send_response(401 if not may else 200 if self.path in answers else 404)
                self.end_headers()
                self.wfile.write(json.dumps(answers.get(self.path)).encode())

            def date_time_string(self, timestamp=None):
                return super().date_time_string(time.time() + clock)

            def log_message(self, *_):
                pass

        server = self.until_end.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        self.until_end.callback(server.shutdown)
        self.set("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")

    def mount(self, place, options):
        """A file system of its own at a folder."""
        Path(place).mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"mode=700,{options}", "tmpfs", place]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no right to mount: {done.stderr.strip()}")
        there = str(Path(place).resolve())
        self.until_end.callback(subprocess.run, ["umount", "--lazy", there], check=True)

    def database(self, version):
        """The database of a server, open."""
        Path(".uplift/prefect").mkdir(parents=True, mode=0o700)
        database = sqlite3.connect(".uplift/prefect/prefect.db", isolation_level=None)
        self.until_end.enter_context(contextlib.closing(database))
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        database.execute("INSERT INTO alembic_version VALUES (?)", [version])
        return database


def open_to_all(folder):
    Path(folder).mkdir(parents=True)
    Path(folder).chmod(0o777)


def known_version():
    """A version of the tables that this Prefect knows."""
    versions = Path(prefect.__file__).parent / "server/database/_migrations/versions/sqlite"
    return re.search(r'^revision = "(\w+)"', next(versions.glob("*.py")).read_text(), re.M)[1]


def locked(patient):
    patient.database(known_version()).execute("BEGIN EXCLUSIVE")


def of_another_machine(patient):
    best = {"runner": "thread", "workers": 1, "base_model_threads": 1}
    for rows, cores in ((64, cpu_count() + 6), (128, cpu_count() + 6), (128, cpu_count())):
        keep_profile({"cores": cores, "rows": rows}, best, {"measured": "2026-01-01"})


# What is planted; which check finds it; what its message says.
FAULTS = {
    "Prefect is too old": (
        lambda patient: patient.install("prefect", "3.8.8"),
        *("Prefect", "prefect<3.10,>=3.9.1", "found 3.8.8"),
    ),
    "another package is too old": (
        lambda patient: patient.install("pandas", "2.3.0"),
        *("packages", "found 2.3.0", "pip install 'pandas<4,>=3.1'"),
    ),
    "a package of an extra is too old": (
        lambda patient: patient.install("distributed", "2020.1"),
        *("packages", "found 2020.1"),
    ),
    "no server at its address": (
        lambda patient: patient.set("PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api"),
        *("server", "doesn't answer"),
    ),
    "a server wants a login": (
        lambda patient: patient.serve(login="me:secret"),
        *("server version", "wants a login", "PREFECT_API_AUTH_STRING"),
    ),
    "a server is too old": (
        lambda patient: patient.serve(version="3.8.8"),
        *("server version", "found 3.8.8"),
    ),
    "the address is no Prefect server's": (
        lambda patient: patient.serve(version={"nginx": 1}),
        *("server version", "end in /api"),
    ),
    "the clock is behind": (lambda patient: patient.serve(clock=300), "clock", "s behind"),
    "the clock is ahead": (lambda patient: patient.serve(clock=-90), "clock", "s ahead of"),
    "a file has the cache's name": (
        lambda patient: patient.write("fits"),
        *("cache", "fits: File exists"),
    ),
    "the cache's disk is read-only": (
        lambda patient: patient.mount("fits", "ro"),
        *("cache", "Read-only file system"),
    ),
    "any user may write to the cache": (
        lambda patient: open_to_all("fits"),
        *("cache", "any user of this machine may write to it", "chmod"),
    ),
    "any user may write to a model": (
        lambda patient: open_to_all("runs/2026/model"),
        *("runs", "runs/2026/model", "any user of this machine may write to it"),
    ),
    "the signing key is short": (
        lambda patient: patient.set("UPLIFT_CACHE_KEY", "hunter2"),
        *("signing key", "at least 16 bytes", "token_hex"),
    ),
    "a password's block is named in another way": (
        lambda patient: patient.set("UPLIFT_PASSWORD_BLOCKS", "postgresql://h/shop=hunter2, x"),
        *("passwords", "found something else as number 2"),
    ),
    "no server is named that has a password's block": (
        lambda patient: patient.set("UPLIFT_PASSWORD_BLOCKS", "postgresql://h/shop=of-shop"),
        *("passwords", "PREFECT_API_URL: expected the address"),
    ),
    "the disk is nearly full": (
        lambda patient: patient.mount("runs", "size=10m"),
        *("disk", "runs; found 0.0 GB"),
    ),
    "more threads than cores": (
        lambda patient: patient.set("OMP_NUM_THREADS", str(cpu_count() + 1)),
        *("cores", f"found {cpu_count() + 1}", f"this machine's {os.cpu_count()} cores"),
    ),
    "a .env moves the API": (
        lambda patient: patient.write(".env", "export PREFECT_API_URL=http://me:hunter2@h/api"),
        *("settings files", "found PREFECT_API_URL in .env"),
    ),
    "a prefect.toml moves the database": (
        lambda patient: patient.write("prefect.toml", "[server.database]\nconnection_url = 'x'"),
        *("settings files", "found PREFECT_SERVER_DATABASE_CONNECTION_URL in prefect.toml"),
    ),
    "a file hides uvicorn": (
        lambda patient: patient.write("uvicorn.py"),
        *("modules", "found uvicorn.py", "Rename"),
    ),
    "a folder hides our package": (
        lambda patient: patient.write("flows/__init__.py"),
        *("modules", "found flows/__init__.py"),
    ),
    "others may write to the state folder": (
        lambda patient: open_to_all(".uplift"),
        *("state folder", "others may write to it"),
    ),
    "the state folder is read-only": (
        lambda patient: patient.mount(".uplift", "ro"),
        *("state folder", "Read-only file system"),
    ),
    "the database is locked": (locked, "database", "database is locked"),
    "the database is of another version": (
        lambda patient: patient.database("ffffffffffff"),
        *("database", "of a version that this Prefect doesn't know"),
    ),
    "the database is damaged": (
        lambda patient: patient.write(".uplift/prefect/prefect.db", "none" * 1000),
        *("database", "is damaged"),
    ),
    "a variable is misspelt": (
        lambda patient: patient.set("UPLIFT_CACHEKEY", "hunter2"),
        *("variables", "UPLIFT_CACHEKEY (did you mean UPLIFT_CACHE_KEY?)"),
    ),
    "a profile is of another machine": (
        of_another_machine,
        *("profiles", f"measured on {cpu_count() + 6} cores"),
    ),
}


@pytest.fixture
def patient(tmp_path, monkeypatch):
    """A sound working folder, in an environment that sets nothing."""
    for name in list(os.environ):
        if name.startswith(("PREFECT_", "UPLIFT_")) or name in THREADS:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    with contextlib.ExitStack() as until_end:
        yield Patient(tmp_path, monkeypatch, until_end)


def findings(storage="fits"):
    return list(examine(Places(storage, Path("runs"))))


def content(folder):
    """All that is in a folder, with what tells a change."""
    about = ((path, path.lstat()) for path in Path(folder).rglob("*"))
    return {
        path: (one.st_mode, one.st_size, one.st_mtime_ns, path.is_file() and path.read_bytes())
        for path, one in about
    }


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_has_one_message_and_nothing_changes(fault, patient):
    plant, check, *texts = FAULTS[fault]
    plant(patient)
    before = content(patient.folder)
    found = findings()

    wrong, *others = [finding for finding in found if finding.status == "wrong"]
    assert others == []
    assert wrong.check == check
    for text in ("xpected", *texts):
        assert text in wrong.sentence
    assert "hunter2" not in str(found)
    assert content(patient.folder) == before


def test_a_cache_on_another_machine_needs_a_signing_key(patient):
    (wrong,) = (finding for finding in findings("memory://fits") if finding.status == "wrong")
    assert (wrong.check, "found none" in wrong.sentence) == ("signing key", True)

    patient.set("UPLIFT_CACHE_KEY", "0123456789abcdef")
    from fsspec.implementations.memory import MemoryFileSystem

    memory = MemoryFileSystem()
    for said in ("memory://fits isn't there yet", "memory://fits can be written to"):
        found = findings("memory://fits")
        assert {finding.status for finding in found} == {"ok", "unknown"}
        assert said in str(found)
        assert not memory.exists("/fits") or not memory.ls("/fits")
        memory.makedirs("/fits", exist_ok=True)
    memory.rmdir("/fits")


def test_a_cache_in_folders_elsewhere_is_tried_and_keeps_no_trace(patient):
    patient.set("UPLIFT_CACHE_KEY", "0123456789abcdef")
    there = patient.folder / "there"
    url = f"simplecache::file://{there}"
    assert "isn't there yet" in str(findings(url))
    assert not there.exists()

    there.mkdir()
    (cache,) = (finding for finding in findings(url) if finding.check == "cache")
    assert (cache.status, cache.sentence) == ("ok", f"{url} can be written to")
    assert list(there.iterdir()) == []


def test_a_link_of_a_model_that_leads_nowhere_is_no_fault(patient):
    Path("runs/2026").mkdir(parents=True)
    Path("runs/2026/model").symlink_to("deleted")
    assert [finding for finding in findings() if finding.status == "wrong"] == []


def test_a_login_is_tried_and_never_shown(patient):
    patient.serve(login="me:secret")
    patient.set("PREFECT_API_AUTH_STRING", "me:secret")
    assert {finding.status for finding in findings()} == {"ok"}

    patient.set("PREFECT_API_AUTH_STRING", "me:hunter2")
    (wrong,) = (finding for finding in findings() if finding.status == "wrong")
    assert "PREFECT_API_AUTH_STRING isn't right" in wrong.sentence
    assert "hunter2" not in str(wrong)


@pytest.mark.slow
def test_addresses_that_never_answer_take_seconds(patient):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        patient.set("PREFECT_API_URL", f"http://{address}/api")
        patient.set("AWS_ENDPOINT_URL", f"http://{address}")
        patient.set("UPLIFT_CACHE_KEY", "0123456789abcdef")
        begun = time.monotonic()
        found = findings("s3://bucket/fits")

    assert [finding.check for finding in found if finding.status == "wrong"] == ["cache", "server"]
    assert time.monotonic() - begun < 15


def test_a_fresh_folder_is_sound_and_says_what_there_is_not_yet(patient):
    said = CliRunner().invoke(app, ["doctor"])
    lines = dict(re.findall(r"^(?:ok|unknown) +(\S.*?)  +(.*)$", said.stdout, flags=re.M))

    assert said.exit_code == 0, said.output
    assert len(lines) == len(said.stdout.splitlines()) == len(findings())
    assert lines["clock"] == "no server runs in this folder: the first run starts one"
    assert lines["state folder"] == ".uplift isn't there yet: the first run makes it"
    assert content(patient.folder) == {}


def test_a_running_server_and_its_database_are_sound(api, patient, monkeypatch):
    monkeypatch.chdir(patient.folder.parent / "server0")
    assert json.loads(Path(".uplift/server.json").read_text())["api"] == api

    assert [finding for finding in findings() if finding.status != "ok"] == []


KILLED_SERVER = """
import os, signal, sqlite3, sys
database = sqlite3.connect(".uplift/prefect/prefect.db", isolation_level=None)
database.execute("PRAGMA journal_mode=WAL")
database.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num TEXT)")
database.execute("INSERT INTO alembic_version VALUES (?)", sys.argv[1:])
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("left", ["its log", "its log alone", "no log"])
def test_what_a_killed_server_left_is_looked_at_and_stays(left, patient):
    folder = Path(".uplift/prefect")
    folder.mkdir(parents=True, mode=0o700)
    for version in (known_version(), "ffffffffffff"):
        subprocess.run([sys.executable, "-c", KILLED_SERVER, version], check=False)
        assert (folder / "prefect.db-wal").stat().st_size
        if left == "its log alone":
            (folder / "prefect.db-shm").unlink()
        elif left == "no log":
            with contextlib.closing(sqlite3.connect(folder / "prefect.db")) as database:
                database.execute("PRAGMA wal_checkpoint")
            assert os.listdir(folder) == ["prefect.db"]
        before = content(patient.folder)
        wrong = [finding.sentence for finding in findings() if finding.status == "wrong"]

        assert content(patient.folder) == before
        assert ["ffffffffffff" in sentence for sentence in wrong] == [True] * (version[0] == "f")


def test_names_of_variables_are_those_in_the_code():
    sources = [p for f in ("flows", "metalearners") for p in (REPOSITORY / f).rglob("*.py")]
    named = {name for p in sources for name in re.findall(r"\bUPLIFT_[A-Z_]*[A-Z]", p.read_text())}

    assert named == set(VARIABLES)


@pytest.fixture
def memory_group():
    """A control group with little memory; None where none can be made."""
    name = f"uplift-doctor-{uuid4().hex}"
    for place, limit in (("memory", "memory.limit_in_bytes"), ("", "memory.max")):
        group = Path("/sys/fs/cgroup", place, name)
        try:
            group.mkdir()
            (group / limit).write_text(str(800 << 20))
        except OSError:
            continue
        yield group
        group.rmdir()
        return
    yield None


IN_A_CONTAINER = """
import os, sys
if sys.argv[1] != "None":
    open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
sys.argv[1:] = sys.argv[2:]
from flows.cli import main
main()
"""


def test_the_command_sees_its_container_and_a_package_that_is_missing(patient, memory_group):
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system keeps no process on some cores")
    site = patient.folder.parent / f"{patient.folder.name}-site"
    site.mkdir()
    for path in PACKAGES.iterdir():
        if not path.name.lower().startswith("jinja2"):
            (site / path.name).symlink_to(path)
    environment = {"PYTHONPATH": f"{REPOSITORY}{os.pathsep}{site}", "OMP_NUM_THREADS": "2"}
    alone = [sys.executable, "-S", "-P"]  # without the usual places of packages
    done = subprocess.run(
        [*alone, "-c", IN_A_CONTAINER, str(memory_group), "doctor", "--json", "found.json"],
        env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    told = json.loads(Path("found.json").read_text())
    faults = [each for each in told["checks"] if each["status"] == "wrong"]
    wrong = {fault["check"]: fault["sentence"] for fault in faults}

    assert (done.returncode, done.stderr, told["status"]) == (1, "", "wrong")
    assert set(wrong) == {"packages", "cores"} | ({"memory"} if memory_group else set())
    assert "Expected jinja2>=3.1; found none" in wrong["packages"]
    assert f"may use 1 of this machine's {os.cpu_count()} cores; found 2" in wrong["cores"]
    assert "limit of this container" in wrong.get("memory", "limit of this container")
    for check, sentence in wrong.items():
        assert len(re.findall(rf"^wrong +{check} +{re.escape(sentence)}$", done.stdout, re.M)) == 1
    assert "Traceback" not in done.stdout
