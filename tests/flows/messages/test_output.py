"""Output is a courtesy: whatever becomes of terminals and disks, a run goes on or says why not."""

import json
import os
import pty
import resource
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, write_config

COMMAND = f"{sys.executable} -m flows.cli"
# A controlling terminal of its own, as a window has; then the command.
IN_A_WINDOW = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "flows.cli", *sys.argv[1:]])
"""


@pytest.fixture(autouse=True)
def their_code(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))


def shell(line, **environment):
    return subprocess.run(
        ["bash", "-c", line],
        capture_output=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )


def finished():
    return [json.loads(path.read_text())["status"] for path in Path("runs").glob("2*/summary.json")]


STREAMS = {
    "closed": "<&- >&- 2>&-",
    "full": ">/dev/full 2>/dev/full",
    "read no more": "> >(true) 2> >(true)",
}
CODE = """
from flows.messages.output import make_lossy
make_lossy()
import logging, os, sys, warnings
from flows.launch.display import progress_display
from flows.messages.output import say, show
from flows.messages.progress import advance, end, tell
for _ in range(300):
    show("x" * 1000 + "\\u00fc\\udcff")
    say("\\u00fc\\udcff")
with progress_display(False):
    advance("load", 0, 1); tell("a"); end("load", 1.0, 0, 0)
warnings.warn("b"); logging.warning("c"); sys.stdout.flush()
with open("file", "x") as file:
    assert file.fileno() > 2, "a file that the library writes to isn't where prints go"
"""


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1"])
@pytest.mark.parametrize("streams", STREAMS.values(), ids=STREAMS)
def test_whatever_is_printed_fails_nothing(tmp_path, monkeypatch, streams, encoding):
    monkeypatch.chdir(tmp_path)
    Path("code.py").write_text(CODE)
    done = shell(f"{sys.executable} code.py {streams}", PYTHONIOENCODING=encoding)

    assert done.returncode == 0, done.stderr
    assert Path("file").exists()


def test_what_was_asked_for_is_missed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = shell(f"{COMMAND} runs list >/dev/full")
    told = done.stderr.decode()

    assert done.returncode == 1
    assert "uplift: failed: expected standard output" in told
    assert "No space left on device" in told
    assert shell(f"{COMMAND} runs list | true; exit ${{PIPESTATUS[0]}}").returncode == 0


@pytest.mark.parametrize("streams", [STREAMS["closed"], STREAMS["full"]])
def test_a_refusal_keeps_its_status(tmp_path, monkeypatch, streams):
    monkeypatch.chdir(tmp_path)
    assert shell(f"{COMMAND} run nowhere.yaml {streams}").returncode == 2


@pytest.mark.slow
def test_a_run_without_output_in_a_folder_with_odd_letters_is_whole(api, settings, monkeypatch):
    folder = Path("ümläut ☃")
    folder.mkdir()
    shutil.copy("data.parquet", folder)
    monkeypatch.chdir(folder)
    config = write_config(settings)
    done = shell(f"{COMMAND} run {config} >/dev/full 2> >(true)", LC_ALL="C")

    assert done.returncode == 0
    assert finished() == ["done"]


@pytest.mark.slow
@pytest.mark.parametrize("streams", STREAMS.values(), ids=STREAMS)
def test_a_run_without_output_is_whole(api, settings, streams):
    done = shell(f"{COMMAND} run {write_config(settings)} {streams}")

    assert done.returncode == 0
    assert finished() == ["done"]


@pytest.mark.slow
def test_a_run_outlives_its_window(api, settings):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_WINDOW, "run", str(write_config(settings))],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    while b"load" not in shown:  # a bar: the run is under way
        shown += os.read(ours, 1000)
    os.close(ours)

    assert process.wait(120) == 0
    assert finished() == ["done"]


def test_a_folder_whose_name_is_no_text_is_named(settings, monkeypatch):
    folder = Path(os.fsdecode(b"bad\xff"))
    folder.mkdir()
    shutil.copy("data.parquet", folder)
    monkeypatch.chdir(folder)
    config = write_config(settings)
    done = shell(f"{COMMAND} run {config}")
    told = done.stderr.decode()

    assert done.returncode == 2
    assert "Expected a working folder whose name is text" in told
    assert r"bad\udcff" in told
    assert "Traceback" not in told
    assert r"output" in shell(f"{COMMAND} run {config} --output $'x\\xff'").stderr.decode()


@pytest.mark.slow
def test_a_full_disk_is_named(own_models, settings):
    # As a full disk, without a disk: no file, that of the server's database too, may grow further.
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "run", str(write_config(settings))],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)),
    )

    assert done.returncode == 1, done.stderr
    assert f"no space is left for {Path('.uplift').resolve()}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_folder_of_runs_that_vanishes_is_named(api, settings):
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "run", str(write_config(settings))],
        stderr=subprocess.PIPE,
        text=True,
    )
    ended = threading.Event()

    def vanish():
        while not ended.wait(0.01):
            if list(Path("runs").glob(".records/*.json")):
                shutil.rmtree("runs", ignore_errors=True)

    thread = threading.Thread(target=vanish)
    thread.start()
    begun = time.monotonic()
    _, told = process.communicate(timeout=120)
    ended.set()
    thread.join()

    assert process.returncode == 1, (told, time.monotonic() - begun)
    assert "the folder of runs, runs, was there when the run began and is gone" in told
    assert "Traceback" not in told
