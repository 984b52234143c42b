"""What is seen of a run while it lasts: on its page in the UI, in its log, and on a terminal."""

import json
import os
import pty
import re
import subprocess
import sys
import time

import httpx
import pytest

from tests.acceptance.test_processes import start, wait_for
from tests.conftest import write_config


def artifacts(api, key, run=None):
    asked = {"sort": "CREATED_DESC", "artifacts": {"key": {"any_": [key]}}}
    found = httpx.post(f"{api}/artifacts/filter", json=asked).json()
    return [each for each in found if run in (None, each["flow_run_id"])]


def newest_run(api):
    asked = {"sort": "START_TIME_DESC", "limit": 1, "flows": {"name": {"any_": ["uplift-run"]}}}
    return httpx.post(f"{api}/flow_runs/filter", json=asked).json()[0]["id"]


def log_lines(api, run):
    asked = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC"}
    return [line["message"] for line in httpx.post(f"{api}/logs/filter", json=asked).json()]


STAGES = ["load", "nuisance", "treatment", "evaluate", "report"]


def test_a_run_s_page_has_a_bar_a_table_and_a_log_line_a_stage(api, run, settings):
    ran = run(settings)
    own = newest_run(api)

    (bar,) = artifacts(api, "uplift-progress", own)
    assert bar["data"] == 100
    assert bar["description"] == "all fits are done"
    (table,) = artifacts(api, "uplift-stages", own)
    rows = json.loads(table["data"])
    assert [row["name"] for row in rows] == STAGES
    for row in rows:
        assert row["executed"] == ran.stages[row["name"]]["executed"]
        assert row["reused"] == ran.stages[row["name"]]["reused"]
    wait_for(lambda: any("effect of 1" in line for line in log_lines(api, own)), 20)
    told = [line for line in log_lines(api, own) if re.match(rf"({'|'.join(STAGES)}): ", line)]
    assert [line.partition(":")[0] for line in told] == STAGES
    assert f"{ran.stages['nuisance']['unique']} fits executed, 0 reused" in told[1]


def held_out(ran):
    return [one for one in ran.summary["heterogeneity"] if one["test"] == "holdout"]


def test_a_run_s_artifacts_show_effects_pictures_and_where_the_report_is(api, run, settings):
    settings["data"]["control"] = 0
    settings["learners"] = ["TLearner", "DRLearner"]
    ran = run(settings)
    (effects,) = artifacts(api, "uplift-effects", newest_run(api))
    (report,) = artifacts(api, "uplift-report", newest_run(api))

    adjusted, raw, *means = json.loads(effects["data"])
    assert adjusted["Arm"] == raw["Arm"] == "1"
    low, high = map(float, adjusted["95 % interval"].split(" to "))
    (ate,) = ran.summary["ate"]
    assert (low, high) == pytest.approx((ate["ci_low"], ate["ci_high"]), abs=0.001)
    assert [row["Method"].partition(",")[0] for row in means] == ["TLearner", "DRLearner"]
    assert str(ran.folder.resolve() / "report.html") in report["data"]
    (autoc,) = artifacts(api, "uplift-autoc", newest_run(api))
    told = [row["Better than chance"] for row in json.loads(autoc["data"])]
    assert told == [
        "yes" if one["p_value_adjusted"] < 0.05 else "not shown" for one in held_out(ran)
    ]
    assert artifacts(api, "uplift-feature-tests", newest_run(api))
    pictures = re.findall(r'<img src="(data:image/svg\+xml;base64,)', report["data"])
    assert len(pictures) == 3  # average effects, estimates, gains
    assert re.search("<p>Estimated effects by row. .*noise", report["data"])
    assert not re.search(r"https?://", report["data"])


def test_labels_are_no_markdown_in_an_artifact():
    from markupsafe import Markup

    from flows.report.digest import _figure
    from flows.report.elements import Panel

    shown = _figure(Panel("a\n\n![](http://host/x) <b>", Markup("<img alt='one\n\ntwo'>")))

    assert "\n" not in shown
    assert shown.startswith("<div><p><strong>a ![](http://host/x) &lt;b&gt;</strong>")


def test_runs_side_by_side_have_their_own_listeners():
    from threading import Thread

    from flows.messages import progress

    class Notes(list):
        def advance(self, stage, done, total):
            self.append((stage, done))

    notes = [Notes(), Notes()]

    def work(own):
        with progress.listening(own):
            for done in range(50):
                progress.advance(f"stage {id(own)}", done, 50)
                time.sleep(0.001)

    threads = [Thread(target=work, args=(own,)) for own in notes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [list(own) for own in notes] == [
        [(f"stage {id(own)}", done) for done in range(50)] for own in notes
    ]


@pytest.mark.slow
def test_the_table_is_there_while_a_run_lasts(own_models, api, settings, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", api)
    settings["models"]["treatment"] = {"estimator": "tests.faulty.TakesMinutes"}
    before = len(artifacts(api, "uplift-stages"))
    process = start("run", write_config(settings))
    try:
        wait_for(lambda: len(artifacts(api, "uplift-stages")) > before)
    finally:
        process.kill()
        process.communicate()

    rows = json.loads(artifacts(api, "uplift-stages")[0]["data"])
    assert [row["name"] for row in rows] == ["load", "nuisance"]


@pytest.mark.slow
def test_what_failed_is_told_while_others_are_still_fitted(own_models, api, settings, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", api)
    settings["models"]["outcome"] = {"estimator": "tests.faulty.NeverFits"}
    process = start("run", write_config(settings))
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 1
    failed = r"\w+ variant_outcome_model arm \d .* failed: ValueError: this model"
    assert re.search(failed + ".* Waiting for fits under way", errors)
    assert re.search("uplift: failed: " + failed, errors)


@pytest.mark.slow
def test_a_terminal_shows_bars_with_the_time_left(api, settings):
    write_config(settings)
    outer, inner = pty.openpty()
    environment = {**os.environ, "PREFECT_API_URL": api, "TERM": "xterm", "COLUMNS": "100"}
    command = [sys.executable, "-m", "flows.cli", "run", "config.yaml"]
    process = subprocess.Popen(command, stderr=inner, stdout=inner, env=environment)
    os.close(inner)
    shown = b""
    while True:
        try:
            read = os.read(outer, 65536)
        except OSError:  # the other end is closed
            break
        if not read:
            break
        shown += read
    os.close(outer)

    assert process.wait() == 0
    text = shown.decode()
    assert re.search(r"nuisance .*(\d+)/\1\b.*0:00:\d\d.* left .*0:00:00", text)
    assert "\x1b[" in text
    assert "report:" in text
