"""Scoring as a flow: what the command writes, as a run whose batches are tasks."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate
from typer.testing import CliRunner

from deployments.uplift import deployments
from flows import uplift_score
from flows.cli.commands import app
from flows.errors import InputError
from flows.scoring import files, score_file
from tests.flows.scoring.conftest import N, rows
from tests.flows.scoring.test_files import interrupted

pytestmark = pytest.mark.filterwarnings("ignore:(day|at). its dates are read")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def stored(model, api, monkeypatch):
    """The folder of a run with a model, and five batches of new rows."""
    monkeypatch.setattr(files, "_MOST_ROWS", 25)
    (model.parent / "summary.json").write_text("{}")
    rows().drop(columns=["y", "w"]).to_csv("new.csv", index=False)
    Path("mine.csv").write_text("name,cate\n")
    return str(model.parent)


def asked(api, what, **query):
    return httpx.post(f"{api}/{what}/filter", json=query, timeout=30).json()


def tasks(api):
    """Names and states of the tasks of the latest scoring."""
    named = {"flows": {"name": {"any_": ["uplift-score"]}}, "sort": "START_TIME_DESC", "limit": 1}
    (run,) = asked(api, "flow_runs", **named)
    within = {"flow_runs": {"id": {"any_": [run["id"]]}}}
    deadline = time.monotonic() + 20
    while True:  # they reach the server in batches
        found = {task["name"]: task["state_name"] for task in asked(api, "task_runs", **within)}
        if len(found) == 5 and not set(found.values()) & {"Pending", "Running"}:
            return run, found
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


def uplift(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_a_flow_writes_the_bytes_of_the_command_and_each_batch_is_a_task(stored, api):
    frame = pd.read_csv("new.csv", dtype={"id": str})
    frame.loc[[3, 50], "site"] = ["q", "r"]
    frame.to_csv("new.csv", index=False)
    for ending in ("parquet", "csv"):
        found = uplift_score(input="new.csv", output=f"flow.{ending}", model=stored)
        assert found == f"flow.{ending}"
        with pytest.warns(UserWarning, match="2 of 120 rows have levels of 'site'"):
            score_file(Path(stored) / "model", "new.csv", Path(f"command.{ending}"))
        assert Path(found).read_bytes() == Path(f"command.{ending}").read_bytes()

    run, states = tasks(api)
    assert states == {f"batch {number}": "Completed" for number in range(5)}
    within = {"flow_runs": {"id": {"any_": [run["id"]]}}}
    shown = {each["key"]: each["data"] for each in asked(api, "artifacts", **within)}
    facts = {row["what"]: row["value"] for row in json.loads(shown["uplift-score"])}
    assert (facts["rows"], facts["output"]) == ("120", "flow.csv")
    assert facts["model"] == Path(stored).name
    assert facts["rows with unseen levels of site"] == "2, such as 'q', 'r'"
    assert float(shown["uplift-score-progress"]) == 100


def test_batches_that_a_command_had_scored_are_cached_tasks_of_the_flow(stored, api, monkeypatch):
    model = Path(stored) / "model"
    interrupted(model, monkeypatch)
    uplift_score(input="new.csv", output="scores.csv", model=stored)
    score_file(model, "new.csv", Path("wanted.csv"))

    assert Path("scores.csv").read_bytes() == Path("wanted.csv").read_bytes()
    _, states = tasks(api)
    assert states == {f"batch {n}": "Cached" if n < 4 else "Completed" for n in range(5)}


WRONG = {
    "a type": {"strict": "no"},
    "a date": {"date": "yesterday"},
    "a zone": {"timezone": "Berlin"},
    "a format": {"output": "scores.xlsx"},
    "a secret": {"input": "https://me:pw@host/new.csv"},
    "a database without a table": {"input": "sqlite:///shop.db"},
    "a database that isn't known": {"input": "mysql://host/shop", "sql": "SELECT 1"},
    "the state of runs": {"output": ".uplift/scores.csv"},
    "a query of files": {"sql": "SELECT 1"},
    "an unknown day": {"input": "sqlite:///shop.db", "sql": "SELECT :day"},
    "no partition": {"output": "{date:%d}.csv"},
    "a file of others": {"output": "mine.csv"},
    "a database of DuckDB": {"input": "duckdb:///shop.duckdb#rows"},
    "no such model": {"model": "none"},
    "no registry": {"model": "champion"},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=list(WRONG))
def test_wrong_parameters_are_refused_in_the_command_s_words(stored, wrong):
    given = {"input": "new.csv", "output": "scores.csv", "model": stored, **wrong}
    with pytest.raises(InputError) as refused:
        uplift_score(**given)
    if isinstance(given.get("strict"), str):
        assert str(refused.value) == "score: strict: expected true or false; found 'no'."
        return
    options = [part for name, value in given.items() for part in (f"--{name}", value)]
    told = uplift("score", *options)
    assert (told.exit_code, told.stderr.strip()) == (2, f"uplift: {refused.value}")
    assert "pw@" not in told.stderr
    assert not list(Path().glob("*scores*"))


def test_the_command_replaces_a_file_of_others_if_it_is_told_so(stored):
    asked = ["score", "--input", "new.csv", "--output", "mine.csv", "--model", stored]
    told = uplift(*asked)
    assert (told.exit_code, "has --overwrite" in told.stderr) == (2, True)
    assert Path("mine.csv").read_text() == "name,cate\n"
    for command in ([*asked, "--overwrite"], asked):  # it has scores then
        assert uplift(*command).exit_code == 0
        assert len(pd.read_csv("mine.csv")) == N
    assert uplift(*asked[:4], "new.csv", *asked[5:], "--overwrite").exit_code == 2  # its own rows


OUTSIDE = [
    {"input": "../new.csv"},
    {"input": "in/link.csv"},
    {"input": "../new.csv", "sql": "SELECT * FROM rows"},
    {"output": "scores.csv"},
    {"output": "sqlite:///scores.db#scores"},
    {"input": "sqlite:///shop.db#rows"},
    {"input": "postgresql://127.0.0.1/shop#rows"},
    {"model": "../elsewhere"},
    {"model": "shop@champion", "registry": "models"},
    {"model": "shop@champion", "registry": "memory://models"},
]


def test_a_flow_uses_no_place_outside_those_of_its_deployment(stored, monkeypatch):
    Path("in").mkdir()
    Path("new.csv").rename("../new.csv")
    Path("in/new.csv").write_bytes(Path("../new.csv").read_bytes())
    Path("in/link.csv").symlink_to("../../new.csv")
    Path("../elsewhere").mkdir(exist_ok=True)
    Path("../elsewhere/summary.json").write_text("{}")
    monkeypatch.setenv("UPLIFT_DATA_ROOTS", f"in:{stored}")
    inside = {"input": "in/new.csv", "output": "in/scores.csv", "model": stored}
    for place in OUTSIDE:
        with pytest.raises(InputError, match="which this deployment is limited to"):
            uplift_score(**{**inside, **place})
    assert not Path("in/scores.csv").exists()
    uplift_score(**inside)
    assert len(pd.read_csv("in/scores.csv")) == N


def test_rows_and_scores_may_be_of_a_date(stored):
    for day in ("2026-11-01", "2026-11-02"):
        Path(f"in/{day}").mkdir(parents=True)
        rows(20 if day.endswith("1") else 40).to_csv(f"in/{day}/new.csv", index=False)
    names = {"input": "in/{date:%Y-%m-%d}/*.csv", "output": "out/{date:%Y}/{date:%m-%d}.csv"}
    found = uplift_score(**names, model=stored, date="2026-11-01")
    assert (found, len(pd.read_csv(found))) == ("out/2026/11-01.csv", 20)
    late = {"date": "2026-11-01T23:30+00:00", "timezone": "Europe/Berlin"}
    found = uplift_score(**names, model=stored, **late)
    assert (found, len(pd.read_csv(found))) == ("out/2026/11-02.csv", 40)
    found = uplift_score(input="new.csv", output=names["output"], model=stored)
    assert found == f"out/{datetime.now(UTC):%Y/%m-%d}.csv"


def test_the_deployment_scores_the_example_s_rows_with_its_champion(run, settings):
    (deployment,) = [each for each in deployments() if each.name == "uplift-score"]
    schema = parameter_schema(uplift_score).model_dump()
    validate(deployment.parameters, schema, raise_on_error=True)
    for name, field in schema["properties"].items():
        assert (field["title"], bool(field["description"])) == (name, True)
        kinds = {"strict": "boolean", "recommend": "boolean", "intervals": "number"}
        assert field["type"] == kinds.get(name, "string")
    with pytest.raises(InputError, match=r"found nothing at \.uplift/registry.*run a config first"):
        uplift_score(**deployment.parameters)
    Path("data").mkdir()
    Path("data.parquet").rename("data/rand_hie.parquet")
    settings["data"]["source"] = "data/rand_hie.parquet"
    ran = run({**settings, "name": "rand_hie"})
    found = uplift_score(**deployment.parameters)

    assert found == f"scores/rand_hie-{datetime.now(UTC):%Y-%m-%d}.parquet"
    scores, held_out = pd.read_parquet(found), ran.estimates["held_out"]
    column = "cate.DRLearner.1"
    assert scores[column][held_out].equals(ran.estimates[column][held_out])
    told = uplift("score", "--input", "data/rand_hie.parquet", "--output", "command.parquet")
    assert told.exit_code == 0, told.stderr
    assert Path("command.parquet").read_bytes() == Path(found).read_bytes()
    run({**settings, "name": "other"})
    told = uplift("score", "--input", "data/rand_hie.parquet", "--output", "command.parquet")
    assert (told.exit_code, "Say NAME@champion" in told.stderr) == (2, True)


FLOW = """
import sys
from flows import uplift_score
from flows.scoring import files
files._MOST_ROWS = 500
uplift_score(input="new.parquet", output=sys.argv[2], model=sys.argv[1])
"""


@pytest.mark.slow
def test_a_flow_whose_process_is_killed_goes_on_where_it_was(stored):
    frame = pd.concat([rows()] * 80, ignore_index=True)
    frame["x"] = np.random.default_rng(1).normal(size=len(frame))
    frame.to_parquet("new.parquet")
    score_file(Path(stored) / "model", "new.parquet", Path("wanted.csv"))
    environment = {**os.environ, "PREFECT_LOGGING_LEVEL": "ERROR"}
    hidden, kept = Path(".scores.csv.parts"), 0
    for kill in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", FLOW, stored, "scores.csv"], env=environment
        )
        while kill < 2 and child.poll() is None and len(list(hidden.glob("*.part"))) < kept + 4:
            time.sleep(0.01)
        if kill < 2:
            child.send_signal(signal.SIGKILL)
        child.wait(120)
        if kill < 2:
            assert len(list(hidden.glob("*.part"))) > kept
            kept = len(list(hidden.glob("*.part")))
            assert not Path("scores.csv").exists()

    assert pd.read_csv("scores.csv").equals(pd.read_csv("wanted.csv"))
    assert not hidden.exists()
