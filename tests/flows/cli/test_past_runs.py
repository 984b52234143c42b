"""The folder of runs may hold any file: each run is still listed, and each odd one as damaged."""

import copy
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flows.cli import commands, exits
from flows.errors import InputError
from flows.launch.display import runs_table
from flows.runs.records import Run, find_run, find_summary, list_runs, whole_folder

NAME = "20260101-000000-x"
GOOD = {
    "format_version": 1,
    "run_name": NAME,
    "started": "2026-01-01T00:00:00",
    "status": "done",
    "seconds": 1.5,
    "fits": {"planned": 3, "executed": 3, "reused": 0},
    "ate": [{"arm": "b", "estimate": 0.25}, {"arm": 2, "estimate": -1.0}],
    "stages": [{"name": "load", "seconds": 0.1}],
    "error": "",
}


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "runs", NAME, GOOD)
    return tmp_path / "runs"


def put(runs, name, content):
    folder = runs / name
    folder.mkdir(parents=True, exist_ok=True)
    whole = content if isinstance(content, bytes) else json.dumps(content).encode()
    (folder / "summary.json").write_bytes(whole)
    return folder


def listed(runs):
    """Runs by name, in a thread: a pipe that is opened waits for good."""
    found = []
    thread = threading.Thread(target=lambda: found.append(list_runs(runs)), daemon=True)
    thread.start()
    thread.join(20)
    assert found, "it ends"
    runs_table(found[0])
    return {run["run_name"]: run for run in found[0]}


def places(value, at=()):
    yield at
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*at, key))


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from([10**400, -1, 1e308, "\x1b[31m", "[bold]", "x" * 5000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)  # fmt: skip


@hypothesis_settings(max_examples=150)
@given(place=st.sampled_from(list(places(GOOD))), value=_json, drop=st.booleans())
def test_any_summary_is_listed_and_hides_no_other(tmp_path_factory, place, value, drop):
    runs = tmp_path_factory.mktemp("runs")
    put(runs, NAME, GOOD)
    odd = {"": {**copy.deepcopy(GOOD), "run_name": "20260102-000000-y"}}
    *way, last = ("", *place)
    inner = odd
    for key in way:
        inner = inner[key]
    if drop:
        del inner[last]
    else:
        inner[last] = value
    put(runs, "20260102-000000-y", odd.get("", b""))

    found = list_runs(runs)
    runs_table(found)

    assert GOOD in found
    assert len(found) == 2


@hypothesis_settings(max_examples=60)
@given(content=st.binary(max_size=200) | st.text(max_size=50).map(str.encode))
def test_any_bytes_are_a_damaged_run(tmp_path_factory, content):
    runs = tmp_path_factory.mktemp("runs")
    put(runs, NAME, GOOD)
    put(runs, "y", content)
    by_name = {run["run_name"]: run for run in list_runs(runs)}

    assert by_name[NAME] == GOOD
    assert by_name["y"]["status"] == "damaged"


BYTES = {
    "cut short": json.dumps(GOOD).encode()[:-5],
    "deep": b"[" * 200_000,
    "a number of 10,000 digits": b'{"seconds": ' + b"9" * 10_000 + b"}",
    "UTF-16": json.dumps(GOOD).encode("utf-16-be"),
    "NaN": json.dumps({**GOOD, "seconds": float("nan")}).encode(),
    "infinite effect": json.dumps({**GOOD, "ate": [{"arm": 1, "estimate": 1e999}]}).encode(),
}


@pytest.mark.parametrize("content", BYTES.values(), ids=BYTES)
def test_a_damaged_summary_is_told_of(runs, content):
    put(runs, "y", content)
    found = listed(runs)

    assert found[NAME] == GOOD
    if not content.startswith(b"\0{"):  # JSON may be UTF-16
        assert found["y"]["status"] == "damaged"
        assert found["y"]["error"].startswith("summary.json: ")
        assert len(found["y"]["error"]) < 200


def as_folder(path):
    path.mkdir()


def as_huge_file(path):
    with path.open("wb") as file:
        file.truncate(1 << 40)


KINDS = {
    "folder": as_folder,
    "pipe": os.mkfifo,
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "huge": as_huge_file,
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_what_is_no_file_is_a_damaged_run(runs, make):
    (runs / "y").mkdir()
    make(runs / "y" / "summary.json")
    (runs / ".records").mkdir()
    make(runs / ".records" / "z.json")
    make(runs / ".records" / "z.lock")
    found = listed(runs)

    assert found[NAME] == GOOD
    assert found["y"]["status"] == found["z"]["status"] == "damaged"


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_other_files_in_the_folder_are_no_runs(runs, make):
    make(runs / "file")
    make(runs / "latest")
    make(runs / ".records")
    (runs / "empty").mkdir()

    assert set(listed(runs)) == {NAME}


@pytest.mark.parametrize("make", [*KINDS.values()], ids=KINDS)
def test_no_folder_of_runs_has_no_runs(tmp_path, make):
    make(tmp_path / "runs")
    assert listed(tmp_path / "runs") == {}


def test_a_renamed_run_is_listed_by_the_name_that_finds_it(runs):
    (runs / NAME).rename(runs / "baseline")

    assert set(listed(runs)) == {"baseline"}
    assert find_run("baseline", runs) == runs / "baseline"
    assert find_run("base", runs) == runs / "baseline"


# Links to the latest runs


def end(runs, name, config_name="shop", example=False, **more):
    """Have a run end as runs do."""
    run = Run(runs, name, config_name, example=example)
    with whole_folder(run, **more) as folder:
        (folder / "summary.json").write_text(json.dumps({**GOOD, **run.facts()}))


def links(runs):
    """Each link's path, and the run that it shows."""
    found = [path for path in runs.rglob("latest") if path.is_symlink()]
    assert all(path.parent.joinpath(path.readlink()).samefile(path.resolve()) for path in found)
    assert not any(path.readlink().is_absolute() for path in found)
    return {str(path.relative_to(runs)): path.resolve().name for path in found}


def test_a_run_moves_the_links_of_all_and_of_its_name(runs):
    end(runs, "1")
    end(runs, "2", "mail")

    assert links(runs) == {
        "latest": "2",
        "by-name/shop/latest": "1",
        "by-name/mail/latest": "2",
    }
    runs.rename(runs.with_name("moved"))
    assert links(runs.with_name("moved"))["by-name/shop/latest"] == "1"


def test_a_run_of_the_example_s_schedule_moves_its_name_s_link_alone(runs):
    end(runs, "1")
    end(runs, "2", "rand_hie", example=True)

    assert links(runs) == {
        "latest": "1",
        "by-name/shop/latest": "1",
        "by-name/rand_hie/latest": "2",
    }


def test_a_run_that_is_not_whole_moves_no_link(runs):
    end(runs, "1")
    end(runs, "2", latest=False)
    with pytest.raises(ZeroDivisionError), whole_folder(Run(runs, "3", "shop")):
        1 / 0  # noqa: B018

    assert links(runs) == {"latest": "1", "by-name/shop/latest": "1"}


@pytest.mark.parametrize("odd", ["latest", "by-name/shop/latest", "by-name/shop", "by-name"])
@pytest.mark.parametrize("make", [as_folder, Path.touch], ids=["folder", "file"])
def test_what_lies_in_a_link_s_place_fails_no_run(runs, odd, make):
    (runs / odd).parent.mkdir(parents=True, exist_ok=True)
    make(runs / odd)
    end(runs, "new")

    assert set(listed(runs)) == {NAME, "new"}
    assert "new" in links(runs).values()
    assert not list(runs.rglob(".latest*"))


def test_the_folder_of_links_is_no_run_whatever_configs_are_named(runs):
    end(runs, "1", "summary.json")
    end(runs, "2", "by-name")

    assert set(listed(runs)) == {NAME, "1", "2"}
    assert find_run("by-name", runs) == runs / "by-name/by-name/latest"


def test_a_run_is_found_by_names_in_their_order(runs, tmp_path):
    for number, name in enumerate(["shop", "mail", "tea-shop", "rand", "run-2"]):
        end(runs, f"run-{number}", name)
    put(runs, "mail", {**GOOD, "run_name": "mail"})
    put(tmp_path, "rand", {**GOOD, "run_name": "rand"})
    found = {
        "latest": "run-4",
        "run-2": "run-2",  # before the config of that name
        "mail": "mail",  # a run that was renamed, before the config
        "rand": tmp_path / "rand",  # a run's folder, before the config
        "shop": "run-0",  # a config, and a part of another config's name
        "tea-shop": "run-2",
        "n-3": "run-3",
        "runs/run-1": "run-1",
        "runs/by-name/mail/latest": "run-1",
    }

    assert {name: find_run(name, Path("runs")).resolve() for name in found} == {
        name: (runs / run).resolve() for name, run in found.items()
    }
    with pytest.raises(InputError, match=r"found 5 for 'run-' in .*run-0, run-1, .*run-4\.$"):
        find_run("run-", runs)


def test_a_part_of_a_name_finds_partial_runs_and_shows_any(runs):
    put(runs, "20260103-wobbly", {**GOOD, "run_name": "20260103-wobbly", "status": "partial"})
    (runs / ".records").mkdir()
    failed = {**GOOD, "run_name": "20260104-doomed", "status": "failed", "error": "no"}
    (runs / ".records/20260104-doomed.json").write_text(json.dumps(failed))

    assert find_run("wobb", runs) == runs / "20260103-wobbly"
    assert find_summary("wobb", runs)["status"] == "partial"
    assert find_summary("doom", runs) == find_summary("20260104-doomed", runs) == failed
    with pytest.raises(InputError, match=r"Expected a finished run: .*found none for 'doom'"):
        find_run("doom", runs)
    with pytest.raises(InputError, match=r"Expected a run: .*found 3 for '2026'"):
        find_summary("2026", runs)


def test_only_links_that_show_the_run_are_named(runs, capsys, monkeypatch):
    """Where links were copied as folders, they stay at an earlier run and are none of their own."""
    monkeypatch.setattr(commands, "outcome_lines", lambda summary: [])
    monkeypatch.setitem(GOOD, "cache", {})
    monkeypatch.setattr(commands, "cache_warning", lambda cache: None)
    put(runs, "latest", GOOD)
    end(runs, "new")
    commands._show_end(runs / "new")

    assert f"the same through {runs}/by-name/shop/latest; server" in capsys.readouterr().out
    assert set(listed(runs)) == {NAME, "new"}


def test_a_name_whose_latest_run_is_gone_means_no_other_run(runs):
    end(runs, "crow-1", "crow")
    (runs / "crow-1").rename(runs.with_name("elsewhere"))
    end(runs, "funny-crow", "shop")

    with pytest.raises(InputError, match=r"the latest of crow, points to \.\./\.\./crow-1, which"):
        find_run("crow", runs)


def test_a_folder_of_runs_behind_a_link_is_one(runs, tmp_path):
    (tmp_path / "link").symlink_to("runs")
    with pytest.raises(InputError, match="found none for 'nothing!'"):
        find_run("nothing!", tmp_path / "link")


# What the list shows

LONG = "s3://warehouse/exports/" + "marketing/" * 8 + "customers.parquet"
FACTS = {
    "name": "shop-mail",
    "data": {"source": LONG, "outcome": "revenue"},
    "learners": {"TLearner": {}, "DRLearner": {}, "XLearner": {"error": "no"}},
}


@pytest.fixture
def three(runs):
    put(runs, "20260102-000000-golden-retriever", {**GOOD, **FACTS})
    why = "DRLearner treatment_model arm 1 fold 2/5 failed: ValueError: can't be fitted; " * 2
    record = {**GOOD, **FACTS, "status": "failed", "error": why, "run_name": "20260103-000000-z"}
    record |= {"fits": {}, "ate": []}
    (runs / ".records").mkdir()
    (runs / ".records" / "20260103-000000-z.json").write_text(json.dumps(record))
    return why


def test_a_pipe_gets_a_run_s_facts_in_one_line(runs, three, capsys):
    runs_table(list_runs(runs))
    header, old, done, failed = capsys.readouterr().out.splitlines()

    assert header.split()[:5] == ["run", "status", "seconds", "executed", "reused"]
    assert old.split() == [NAME, "done", "1.5", "3", "0", "b", "0.25,", "2", "-1"]
    learners = "TLearner, DRLearner, XLearner (failed)"
    for line in (done, failed):
        assert re.search(rf" shop-mail +revenue +{re.escape(LONG)} +{re.escape(learners)} ", line)
    assert three.strip() in failed


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_gets_lines_that_fit_it(runs, three, width):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    assert uplift("runs", "list", stdout=theirs).returncode == 0
    os.close(theirs)
    lines = re.sub(r"\x1b\[\d*m", "", os.read(ours, 1 << 16).decode()).splitlines()
    os.close(ours)

    assert max(map(len, lines)) <= width
    assert [line.split()[:2] for line in lines if not line.startswith(" ")] == [
        [NAME, "done"],
        ["20260102-000000-golden-retriever", "done"],
        ["20260103-000000-z", "failed"],
    ]
    text = " ".join(" ".join(lines).split())
    about = f"shop-mail; revenue in ...{LONG[-40:]}; TLearner, DRLearner, XLearner (failed)"
    assert text.count(about) == 2
    assert "b 0.25, 2 -1" in text
    assert " ".join(three.split()) in text


def test_all_faults_of_a_run_are_listed(runs, capsys):
    runs_table([{**GOOD, "status": "failed", "error": "2 faults:\n  one: a\n  two: b\n"}])
    assert "2 faults: one: a two: b" in capsys.readouterr().out


@pytest.mark.parametrize(("kept", "end"), [("", ""), ("Fits are kept.", " Fits are kept.")])
def test_an_interruption_says_what_is_kept_only_where_something_is(capsys, kept, end):
    with pytest.raises(typer.Exit), exits.exit_status(kept=kept):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == f"uplift: interrupted.{end}\n"


def uplift(*arguments, stdout=subprocess.PIPE):
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        errors="surrogateescape",
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )


def test_names_do_nothing_to_a_terminal(runs):
    red = "\x1b[31mred\u202e\r\n"
    put(runs, "\x1b[2Jcleared", b"")
    put(runs, "--help", {**GOOD, "run_name": "--help"})
    put(runs, os.fsdecode(b"\xff\xfe"), b"")
    put(runs, "z", {**GOOD, "run_name": red, "error": red, "ate": [{"arm": red, "estimate": 1.0}]})
    done = uplift("runs", "list")

    assert done.returncode == 0, done.stderr
    assert NAME in done.stdout
    assert "--help" in done.stdout
    assert r"\x1b[31mred\u202e\r\n" in done.stdout
    assert not set(done.stdout) & {"\x1b", "\u202e", "\r"}
    assert len(done.stdout.splitlines()) == 1 + 5

    shown = uplift("runs", "show", "z")
    assert json.loads(shown.stdout)["run_name"] == red
    assert "\x1b" not in shown.stdout
    refused = uplift("runs", "show", "\x1b[31m")
    assert refused.returncode == 2
    assert "\x1b" not in refused.stderr
    assert json.loads(uplift("runs", "show", "\x1b[2Jcleared").stdout)["status"] == "damaged"
