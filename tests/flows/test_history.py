"""Figures over time: from the runs of a name to points, a table, a page and an artifact."""

import copy
import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings

from flows.config.reading import parse_config
from flows.launch.backfill import backfill
from flows.report.history.page import render, sections_of
from flows.report.history.points import MOST_RUNS, History, date_of, history_of
from flows.runs.recurring import history
from tests.acceptance.test_run_page import artifacts
from tests.conftest import small_frame, small_settings, write_config
from tests.flows.cli.test_past_runs import _json, places

DATES = ["2026-03-01", "2026-01-01", "2026-02-01T05:30"]  # in the order of their runs
SORTED = ["2026-01-01", "2026-02-01 05:30", "2026-03-01"]


@pytest.fixture(scope="module")
def past(api, tmp_path_factory):
    """A folder with a run of each date, three arms and two learners; the runs' summaries."""
    folder = tmp_path_factory.mktemp("past")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        rng = np.random.default_rng(0)
        for month in ("2026-01", "2026-02", "2026-03"):
            rows = small_frame().assign(w=rng.choice(["no", "short", "long"], 600))
            rows.to_csv(f"{month}.csv", index=False)
        settings = {**small_settings(), "name": "mail", "learners": ["DRLearner", "TLearner"]}
        settings["data"] |= {"source": "{date:%Y-%m}.csv", "control": "no"}
        settings["data"]["features"] = list("abc")
        settings["schedule"] = {"cron": "0 5 * * *", "timezone": "Europe/Berlin"}
        write_config(settings, "mail.yaml")
        made = list(backfill(parse_config(settings), DATES, quiet=True))
    folders = [folder / one.folder for one in made]
    return folder, [json.loads((each / "summary.json").read_text()) for each in folders]


@pytest.fixture
def here(past, tmp_path, monkeypatch):
    """A copy of that folder to work in, and the summaries."""
    shutil.copytree(past[0], tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(tmp_path / "copy")
    return past[1]


def uplift(*words, **options):
    command = [sys.executable, "-m", "flows.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def on_terminal(*words, width=80):
    """What a terminal of a width shows of a command."""
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    command = [sys.executable, "-m", "flows.cli", *words]
    # pytest's workers have widths of their own.
    own = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    environment = {**own, "TERM": "xterm"}
    process = subprocess.Popen(command, stdout=inner, stderr=inner, env=environment)
    os.close(inner)
    shown = b""
    while True:
        try:
            shown += os.read(outer, 65536) or b""
        except OSError:  # the other end is closed
            break
    os.close(outer)
    assert process.wait() == 0, shown
    return re.sub(r"\x1b\[[\d;]*m", "", shown.decode().replace("\r\n", "\n"))  # without styles


def put(summary, run_name, **changes):
    """Another run's summary in the folder of runs."""
    folder = Path("runs") / run_name
    folder.mkdir()
    (folder / "summary.json").write_text(json.dumps({**summary, **changes}))


@pytest.mark.slow
def test_points_are_the_summaries_by_logical_date(here):
    points = history("mail", Path("runs")).points

    assert [date_of(point) for point in points] == SORTED
    assert points[1]["logical_date"] == "2026-02-01T05:30:00+01:00"
    by_date = [here[DATES.index(date)] for date in sorted(DATES)]
    for point, summary in zip(points, by_date, strict=True):
        for key in ("run_name", "started", "status", "seconds"):
            assert point[key] == summary[key]
        assert point["rows"] == summary["data"]["rows"] == 600
        assert point["control"] == "no"
        assert point["fits"] == {key: summary["fits"][key] for key in ("executed", "reused")}
        for row, ate, joint in zip(
            point["effects"], summary["ate"], summary["ate_joint"], strict=True
        ):
            assert {key: row[key] for key in ate} == ate
            ends = [row["joint_low"], row["joint_high"], row["claimed"]]
            assert ends == [joint["ci_low"], joint["ci_high"], joint["claimed"]]
        for row in point["qini"]:
            arms = summary["learners"][row["learner"]]["evaluation"]["arms"]
            (own,) = [each for each in arms if each["arm"] == row["arm"]]
            assert row["qini"] == own["qini"]["estimate"]
            assert row["std_error"] == own["qini"]["std_error"]
            assert row["p_value_adjusted"] == own["qini"]["p_value_adjusted"]
            assert row["claimed"] == (own["qini"]["p_value_adjusted"] < 0.05)
        assert len(point["qini"]) == 4


@pytest.mark.slow
def test_a_run_with_earlier_runs_has_a_page_and_an_artifact_with_pictures(past, api):
    folder, summaries = past
    pages = [folder / summary["folder"] / "history.html" for summary in summaries]
    assert [page.exists() for page in pages] == [False, True, True]
    found = {one["data"] for one in artifacts(api, "uplift-history") if "mail over" in one["data"]}
    told = {page: [text for text in found if str(page.resolve()) in text] for page in pages}
    assert [len(told[page]) for page in pages] == [0, 1, 1]
    for arm in ("short", "long"):
        assert f"Average effects of {arm} over time" in told[pages[2]][0]
    assert told[pages[2]][0].count('<img src="data:image/svg+xml;base64,') == 2

    text = pages[2].read_text()
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text
    assert not re.search(r"https?://|<script|<link(?! rel=\"icon\" href=\"data:,\")", text)
    pictures = [unescape(alt) for alt in re.findall(r'<img src="[^"]+" alt="([^"]*)"', text)]
    assert len(pictures) == 5  # two arms: effects and Qini; the fits
    for point in (history("mail", folder / "runs").points[k] for k in (0, -1)):
        for row in point["effects"]:
            (of_arm,) = (p for p in pictures if p.startswith(f"Average effects of {row['arm']} "))
            ends = f"({row['joint_low']:.3g} to {row['joint_high']:.3g})"
            assert f"{row['estimate']:.3g} {ends}" in of_arm
        for row in point["qini"]:
            (of_arm,) = (p for p in pictures if p.startswith(f"Qini for {row['arm']},"))
            ends = [row["qini"] + sign * 1.96 * row["std_error"] for sign in (-1, 1)]
            assert "{:.3g} ({:.3g} to {:.3g})".format(row["qini"], *ends) in of_arm
    rows = re.findall(r'<tr><th scope="row">([^<]+)</th>', text)
    assert rows == [*reversed(SORTED)] * 3
    assert all(summary["run_name"] in text for summary in summaries)


@pytest.mark.slow
def test_the_command_writes_what_the_page_of_the_last_run_shows(here):
    done = uplift("history", "mail.yaml", "--json", "h.json", "--html", "h.html")

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(Path("h.json").read_text()) == {
        "status": "done",
        **history("mail", Path("runs")).plain(),
    }
    without_pictures = re.compile(r'src="[^"]+"')  # ids in them are drawn by chance
    page, again = (
        without_pictures.sub("", path.read_text())
        for path in (Path("h.html"), Path(here[2]["folder"]) / "history.html")
    )
    differ = [
        pair
        for pair in zip(page.splitlines(), again.splitlines(), strict=True)
        if pair[0] != pair[1]
    ]
    assert len(differ) <= 1  # the last run's seconds, which went on after it wrote its page
    head, *lines = done.stdout.splitlines()  # a pipe has a whole line for each run
    assert len(lines) == 3 + ("*" in done.stdout)
    assert [line[:16].strip() for line in lines[:3]] == SORTED
    for column in ("effect of long", "effect of short", "Qini DRLearner long", "seconds", "run"):
        assert column in head


@pytest.mark.slow
def test_the_table_fits_a_terminal_and_repeats_the_dates(here):
    put(here[0], "20260401-000000-x", logical_date="2026-04-01T00:00:00+00:00", status="partial",
        events=[{"event": "drift", "sentence": "Ages have \x1b[2Jdrifted."}],
        model={"alias": "champion", "decision": "promoted"})  # fmt: skip
    shown = on_terminal("history", "mail")

    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80
    tables = [block.splitlines() for block in shown.split("\n\n") if block.startswith("date")]
    assert len(tables) >= 3
    for table in tables:
        assert [line[:16].strip() for line in table[1:]] == [*SORTED, "2026-04-01"]
    for text in ("(partial)", "drift", "promoted (champion)", *(run["run_name"] for run in here)):
        assert text in shown
    wide = on_terminal("history", "mail", width=500)
    assert [line.startswith("date") for line in wide.splitlines()].count(True) == 1
    page = render(sections_of(history("mail", Path("runs"))))
    assert "<strong>drift</strong>: Ages have" in page
    assert "promoted (champion)" in page


@pytest.mark.slow
def test_failed_damaged_and_too_many_runs_are_told_once(here):
    (Path("runs") / "20260102-000000-odd").mkdir()
    (Path("runs") / "20260102-000000-odd" / "summary.json").write_text("{")
    record = {"run_name": "x", "name": "mail", "started": "2026-01-01T00:00:00", "error": "no"}
    for name, status in (("a", "failed"), ("b", "failed"), ("c", "done")):
        told = [{"event": "failed", "sentence": f"The run {name} failed."}]
        content = json.dumps({**record, "status": status, "events": told})
        (Path("runs") / ".records" / f"20260101-00000{name}.json").write_text(content)
    put(here[0], "20260101-000000-other", name="other", data={**here[0]["data"], "outcome": "z"})
    found = history("mail", Path("runs"))
    assert [found.failed, len(found.unread), len(found.points), found.is_cut] == [2, 1, 3, False]
    page = render(sections_of(found))
    assert [f"The run {name} failed." in page for name in "abc"] == [True, True, False]
    done = uplift("history", "mail")
    said = done.stderr.splitlines()
    assert len(said) == 2
    assert said[0].startswith("2 runs have failed")
    assert "20260102-000000-odd, summary.json: " in said[1]

    for k in range(MOST_RUNS):
        put(here[0], f"2027{k:04}-000000-late")
    cut = history("mail", Path("runs"))
    assert cut.is_cut
    assert {point["run_name"][:4] for point in cut.points} == {"2027"}
    assert cut.notes()[0] == "Only the latest 100 finished runs are shown."
    put(here[0], "20280101-000000-last", data={**here[0]["data"], "outcome": "z"})
    assert "The outcome or the control differs" in history("mail", Path("runs")).notes()[-1]


@pytest.mark.slow
def test_a_config_without_runs_and_an_unknown_name(here):
    Path("new.yaml").write_text(Path("mail.yaml").read_text().replace("name: mail", "name: new"))
    done = uplift("history", "new.yaml", "--html", "new.html", "--json", "new.json")
    assert (done.returncode, done.stdout) == (0, "No finished run of new yet.\n")
    assert "There is no finished run" in Path("new.html").read_text()
    assert json.loads(Path("new.json").read_text())["points"] == []
    for words, said in (
        (["nobody"], "found no file nobody, and no run of this name in runs"),
        (["mail", "--html", "."], "--html: expected the name of a file"),
    ):
        refused = uplift("history", *words)
        assert refused.returncode == 2
        assert said in refused.stderr


@pytest.fixture(scope="module")
def whole(past):
    """A summary with all that histories read, small enough to be altered at each place."""
    summary = copy.deepcopy(past[1][0])
    kept = ("run_name", "name", "logical_date", "started", "status", "seconds", "fits", "ate")
    learner = summary["learners"]["DRLearner"]["evaluation"]["arms"]
    return {
        **{key: summary[key] for key in kept},
        "ate_joint": summary["ate_joint"],
        "data": {key: summary["data"][key] for key in ("outcome", "rows", "arms")},
        "learners": {"DRLearner": {"evaluation": {"arms": learner}}},
        "model": {"alias": "champion", "decision": "promoted"},
        "events": [{"event": "drift", "sentence": "Rows have drifted."}],
    }


@hypothesis_settings(max_examples=25)
@given(value=_json, draw=...)
def test_any_summary_beside_a_good_one_leaves_that_a_point(
    whole, tmp_path_factory, value, draw: int
):
    every = [place for place in places(whole) if place]
    place = every[draw % len(every)]
    odd = copy.deepcopy(whole)
    inner = odd
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    runs = tmp_path_factory.mktemp("odd")
    for name, content in (("a", whole), ("b", odd)):
        (runs / name).mkdir()
        (runs / name / "summary.json").write_text(json.dumps(content))

    found = history("mail", runs)

    assert "a" in [point["run_name"] for point in found.points]
    assert (
        len(found.points) + len(found.unread) == 2
        or odd["name"] != "mail"
        or (odd["status"] not in ("done", "partial"))
    )
    json.dumps(found.plain(), allow_nan=False)
    assert "<h1>mail" in render(sections_of(found))


def test_no_more_summaries_are_read_than_are_shown(whole):
    read = []

    def summaries():
        for k in range(500):
            read.append(k)
            yield {**whole, "run_name": str(k)}

    found = history_of("mail", summaries(), [])
    assert isinstance(found, History)
    assert (len(read), len(found.points), found.is_cut) == (MOST_RUNS + 1, MOST_RUNS, True)
