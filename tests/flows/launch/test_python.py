"""Runs from Python: what the arguments mean, and that a call is what the command does."""

import asyncio
import contextvars
import inspect
import io
import json
import logging
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from prefect import flow
from prefect.logging.handlers import PrefectConsoleHandler

import flows
from flows.config.data import DataConfig
from flows.config.reading import parse_config
from flows.config.sections import Config
from flows.errors import InputError
from flows.inputs.source import IN_MEMORY
from flows.launch.python import config_and_frame
from flows.launch.start import _prefect_unheard
from flows.server import interruption
from tests.conftest import write_config

ROLES = {"outcome": "y", "treatment": "w", "control": 0}
FRAME = pd.DataFrame({"y": [0.5], "w": [0], "a": [1.0], "b": [2.0]})
NANOSECONDS = np.array(["2024-01-02"], dtype="datetime64[ns]")
HOLDS_ITSELF: list = []
HOLDS_ITSELF.append(HOLDS_ITSELF)


def config_of(first=None, /, **keys):
    return config_and_frame(first, keys)[0]


def test_a_frame_a_file_a_config_and_its_content_say_the_same(frame, settings):
    (path := write_config(settings)).rename("config.yml")
    config = parse_config(settings)
    others = {key: value for key, value in settings.items() if key != "data"}

    assert config_of(settings) == config_of(config) == config
    named = config.model_copy(update={"name": "config"})  # by its file
    assert config_of(path.with_suffix(".yml")) == named
    assert config_of("data.parquet", **ROLES, **others) == config
    assert config_of(data=Path("data.parquet"), **ROLES, **others) == config
    assert config_of(source="data.parquet", **ROLES, **others) == config
    for first, keys in (frame, ROLES), (None, ROLES | {"data": frame}):
        found, rows = config_and_frame(first, keys | others)
        assert rows is frame
        assert found.data == DataConfig(source=IN_MEMORY, **ROLES)
    twice = pd.DataFrame([[0, 1, 2]], columns=[*"wyy"])
    assert config_and_frame(twice, ROLES)[1] is twice  # refused in our words when it is read
    again, rows = config_and_frame(found, {"source": pl.from_pandas(frame)})
    assert again == found
    assert isinstance(rows, pl.DataFrame)


def test_keywords_override_a_config_and_of_its_sections_the_keys_that_they_have(settings):
    settings["folds"] = {"n_folds": 3, "seed": 7}
    settings["data"]["read"] = {"separator": ";", "decimal": ","}
    ridge = {"estimator": "sklearn.linear_model.Ridge"}
    config = config_of(
        settings,
        outcome="b",
        arms=np.array([0, 1]),
        control=np.int64(1),
        features=pd.Index(["a"]),
        folds={"seed": 8},
        read={"decimal": "."},
        models={"outcome": ridge},
        output=Path("elsewhere"),
    )

    assert (
        config.data.model_dump()
        == DataConfig(
            source="data.parquet",
            outcome="b",
            treatment="w",
            control=1,
            arms=[0, 1],
            features=["a"],
            read={"separator": ";", "decimal": "."},
        ).model_dump()
    )
    assert type(config.data.control) is int
    assert config.folds.model_dump() == {"n_folds": 3, "seed": 8, "repeats": 1}
    assert config.models.outcome.model_dump() == ridge | {"params": {}}
    assert config.models.propensity == parse_config(settings).models.propensity
    assert config.output == "elsewhere"


def test_every_key_of_a_config_is_a_keyword_that_help_and_completion_show():
    keys = [*DataConfig.model_fields, *Config.model_fields]
    shown = list(inspect.signature(flows.run).parameters)

    assert len(set(keys)) == len(keys)
    assert shown == ["first", *keys, "refresh", "quiet"]


@pytest.mark.parametrize(
    ("first", "keys", "found"),
    [
        ("x.csv", {"outcom": "y"}, r"unknown keyword 'outcom'\. Did you mean 'outcome'\?\nValid"),
        (
            "x.csv",
            {"seed": 1, "x": 2},
            r"'seed'\. It is a key of folds: folds={'seed': \.\.\.}\.\nu",
        ),
        ("x.csv", {"source": "y.csv"}, "the data once; found them twice"),
        (None, {"source": "y.csv", "data": "x.csv"}, "the data once; found them twice"),
        ("x.csv", {"data": {"source": "y.csv"}}, "the data once; found them twice"),
        (None, {"source": "y.csv", "data": {"source": "x.csv"}}, "found them twice"),
        (FRAME, {"data": {"source": "y.csv", "outcome": "y"}}, "found them twice"),
        (FRAME, ROLES | {"data": {"outcome": "b"}}, r"each key once; found 'outcome' in data="),
        (FRAME, ROLES | {"features": {"a", "b"}}, r"lists, which keep their order; found {'"),
        (FRAME, ROLES | {"features": HOLDS_ITSELF}, "a list or a mapping that holds itself"),
        (FRAME, ROLES | {"control": np.ndarray}, "control: expected .*<class 'numpy.ndarray'>"),
        (FRAME, ROLES | {"control": NANOSECONDS[0]}, r"control: .*found Timestamp\('2024-01-02"),
        (FRAME, ROLES | {"arms": NANOSECONDS}, r"arms\.0: .*found Timestamp\('2024-01-02"),
        ("x.csv", {}, r"(?s)faults:.*data.outcome: expected a value.*data.control: expected"),
        ("x.csv", ROLES | {"learners": ["T"]}, r"learners.0: expected 'SLearner'.*found 'T'\."),
        (None, ROLES, "data.source: expected a value"),
        ([1, 2], ROLES, r"expected a data frame .*found builtins.list\. Convert it"),
        (pl.LazyFrame(), ROLES, r"found polars.*LazyFrame\. .*\.collect\(\)"),
        ("none.yaml", {}, "config file; none.yaml doesn't exist"),
        (ROLES, {}, "outcome: unknown key"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_begins(
    first, keys, found, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=found):
        flows.run(first, **keys)

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rows", [None, [1], {"a": [1]}, np.eye(2), FRAME["a"], pl.LazyFrame()])
def test_what_is_no_rows_is_not_scored(rows, tmp_path):
    with pytest.raises(
        InputError, match=r"^score: expected a data frame .* or a data file; found "
    ):
        flows.RunResult(tmp_path).score(rows)
    with pytest.raises(InputError, match=r"^score: "):
        flows.RunResult(tmp_path).score("https://me:secret@host/x.csv")


SUMMARY = {
    "run_name": "r",
    "started": "2026-01-01",
    "status": "partial",
    "seconds": 1.0,
    "fits": {"executed": 1, "reused": 0},
    "overlap": {"rows_clipped": 0},
    "design": {"design": "randomised"},
    "ate": [],
    "ate_joint": [],
    "learners": {"TLearner": {"mean_cate": []}, "XLearner": {"error": "fold 1 failed"}},
}


def test_a_damaged_summary_is_refused_and_a_partial_one_tells_what_failed(tmp_path):
    file = tmp_path / "summary.json"
    file.write_text(json.dumps(SUMMARY))
    told = repr(flows.load(tmp_path)).splitlines()
    assert told[:2] == [
        "r: partial, 1 fits executed, 0 reused, 1.0 s",
        "  failed:    XLearner: fold 1 failed",
    ]
    assert "<li>XLearner failed: fold 1 failed</li>" in flows.load(tmp_path)._repr_html_()
    for entry in "fits", "ate_joint":
        file.write_text(json.dumps({k: v for k, v in SUMMARY.items() if k != entry}))
        assert f"found another: no '{entry}'" in repr(flows.load(tmp_path))
        assert f"found another: no &#x27;{entry}&#x27;" in flows.load(tmp_path)._repr_html_()
    file.write_text("{")
    result = flows.load(tmp_path)
    assert f"expected the summary of a finished run in {file}" in repr(result).lower()
    for name in "summary", "effects":
        with pytest.raises(InputError, match="the summary of a finished run"):
            getattr(result, name)


def test_a_notebook_shows_the_verdict_figures_warnings_and_the_report(tmp_path, monkeypatch):
    found = {"estimate": 1.25, "std_error": 0.5, "ci_low": 0.25, "ci_high": 2.25}
    test = {"test": "holdout", "learner": "TLearner", "autoc": found, "p_value_adjusted": 0.0123}
    policy = {"spend": 0.05, "gain": found, "net": found | {"estimate": 1.2}}
    told = {
        "targeting": {"chosen": policy, "best_single_arm": {"arm": "call", **policy}},
        "ate": [{"arm": "<b>mail", **found}, {"arm": "call", **found}],
        "ate_joint": [
            {"arm": "<b>mail", "ci_low": 0.125, "ci_high": 2.5, "claimed": True, "doubt": None},
            {"arm": "call", "ci_low": -1.5, "ci_high": 4, "claimed": False, "doubt": "few rows"},
        ],
        "heterogeneity": [{"arm": "call", **test}],
        "verdict": [{"question": "target", "answer": "yes", "sentence": "Treat the top fifth."}],
        "health": [
            {"check": "few rows", "status": "warn", "sentence": "Few rows & many features."},
            {"check": "overlap", "status": "ok", "sentence": "All is well."},
        ],
        "caveats": ["Arms differ."],
        "warnings": ["Arms differ.", "Few rows & many features."],
    }
    (tmp_path / "a run").mkdir()
    (tmp_path / "a run" / "summary.json").write_text(json.dumps(SUMMARY | told))
    monkeypatch.chdir(tmp_path)
    shown = flows.load(tmp_path / "a run")._repr_html_()
    cells = [unescape(cell) for cell in re.findall("<td[^>]*>(.*?)</td>", shown)]

    assert cells == [
        *("<b>mail", "1.25 (0.125 to 2.5)", "yes"),
        *("call", "1.25 (-1.5 to 4)", "no: few rows"),
        *("TLearner", "call", "1.25 (0.25 to 2.25)", "0.012", "holdout"),
        *("the rule", "0.05", "1.25 (0.25 to 2.25)", "1.2 (0.25 to 2.25)"),
        *("call alone, at random", "0.05", "1.25 (0.25 to 2.25)", "1.2 (0.25 to 2.25)"),
    ]
    assert "<b>mail" not in shown
    assert re.findall("<li>(.*?)</li>", shown) == [
        "Treat the top fifth.",
        "XLearner failed: fold 1 failed",
        "Few rows &amp; many features.",
        "Arms differ.",
    ]
    assert '<a href="a%20run/report.html">' in shown
    several = SUMMARY | told | {"outcomes": {"visit": told, "spend": told}}
    (tmp_path / "a run" / "summary.json").write_text(json.dumps(several))
    by_outcome = flows.load(tmp_path / "a run")._repr_html_()
    again = [unescape(cell) for cell in re.findall("<td[^>]*>(.*?)</td>", by_outcome)]
    assert again == cells[:-8] * 2 + cells[-8:]
    assert by_outcome.index("<b>visit</b>") < by_outcome.index("<b>spend</b>")
    monkeypatch.chdir(Path(__file__).parent)
    elsewhere = flows.load(tmp_path / "a run")._repr_html_()
    assert f'<a href="{tmp_path.as_uri()}/a%20run/report.html">' in elsewhere


def test_lines_of_users_flows_stay_on_the_console_during_a_run():
    console = PrefectConsoleHandler(stream=io.StringIO())

    def is_shown(logger, **about):
        return bool(console.filter(logging.makeLogRecord({"name": logger, **about})))

    logging.getLogger().addHandler(console)
    try:
        with _prefect_unheard():
            ours, users = contextvars.copy_context(), contextvars.Context()
            of_task = [
                each.run(is_shown, "prefect.task_runs", task_run_id=1) for each in (ours, users)
            ]
            assert of_task == [False, True]
            assert not users.run(is_shown, "prefect.events")  # of threads that Prefect has
            assert ours.run(is_shown, "lightgbm")
        assert is_shown("prefect.events")
    finally:
        logging.getLogger().removeHandler(console)


def test_an_interruption_is_over_when_no_run_of_the_process_is_under_way(monkeypatch):
    begun = interruption.begun
    with interruption.run_under_way():
        begun.set()
        interruption.begin_afresh()  # a second run, in another thread
        assert begun.is_set()
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "of a process that ends now")
    interruption.begin_afresh()
    assert begun.is_set()
    monkeypatch.delenv("PREFECT__FLOW_RUN_ID")
    interruption.begin_afresh()
    assert not begun.is_set()


@pytest.mark.slow
def test_the_names_are_there_before_prefect_is_and_leave_nothing_in_the_folder(tmp_path):
    code = """if True:
        import flows, sys
        print(*sys.modules)
        print(*dir(flows))
        flows.load, flows.run
        print(*sys.modules)"""
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    light, names, loaded = (set(line.split()) for line in ran.stdout.splitlines())
    assert not {"prefect", "pandas", "pydantic", "httpx"} & light
    assert {"RunResult", "load", "run", "uplift_run", "uplift_tune"} <= names
    assert "prefect" not in loaded
    assert not list(tmp_path.iterdir())


@pytest.fixture
def customers(frame):
    """The frame with texts, categories and gaps; rows that a filter and a shuffle left."""
    frame["w"] = np.where(frame["w"] == 1, "e-mail", "no mail")
    frame["city"] = pd.Categorical(frame["c"].gt(0).map({True: "Bonn", False: "Köln"}))
    frame["visits"] = pd.array(np.where(frame["c"] > 1, None, 3), dtype="Int64")
    frame["name"] = frame["a"].gt(0).map({True: "x", False: None})
    return frame.sample(frac=1, random_state=0).set_index(pd.Index(range(7, 607)))


@pytest.mark.slow
def test_a_frame_in_memory_and_its_file_are_the_same_run(
    api, settings, run, customers, capfd, monkeypatch
):
    roles = ROLES | {"control": "no mail"}
    keys = {key: value for key, value in settings.items() if key != "data"}
    result = flows.run(customers, **keys | roles | {"learners": ["TLearner", "DRLearner"]})
    told = capfd.readouterr()
    customers.to_parquet("customers.parquet", index=False)
    config = result.config.model_dump() | {"data": roles | {"source": "customers.parquet"}}
    of_file = run(config)

    assert of_file.fits["executed"] == 0
    estimates = result.estimates.reset_index(drop=True)
    pd.testing.assert_frame_equal(estimates, of_file.estimates, check_exact=True)
    data = of_file.summary["data"] | {"source": IN_MEMORY}
    assert result.summary["data"] == data
    assert "nuisance: " in told.err
    assert told.out == ""
    monkeypatch.chdir("runs")
    check_result(result, customers)
    assert flows.load(result.folder.name[:-1], output=".").folder == result.folder


def check_result(result, rows):
    """A result has what the run wrote, each estimate beside its own row."""
    assert result.estimates.index.equals(rows.index)
    assert "effect of e-mail: " in repr(result)
    assert ">e-mail</td>" in result._repr_html_()
    assert f"{result.folder.name}/report.html" in repr(result)
    assert "<html" in result.report.read_text()
    assert result.config.data.control == "no mail"
    (ate,) = result.summary["ate"]
    effect = result.effects.loc["e-mail"]
    assert [effect[name] for name in ("effect", "low", "high")] == [
        ate[name] for name in ("estimate", "ci_low", "ci_high")
    ]
    for learner, found in result.summary["learners"].items():
        assert effect[f"mean_cate.{learner}"] == found["mean_cate"][0]["value"]
    held_out = rows[result.estimates["held_out"].to_numpy()]
    scores = result.score(held_out.drop(columns=["y", "w"]))
    expected = result.estimates.loc[held_out.index].filter(like="cate.")
    pd.testing.assert_frame_equal(scores[list(expected)], expected, check_exact=True)
    assert list(result.bundle().learners) == ["TLearner", "DRLearner"]


@pytest.mark.slow
def test_calls_work_in_an_event_loop_and_in_another_flow(api, settings, frame, capfd):
    keys = {key: value for key, value in settings.items() if key != "data"} | ROLES

    async def cell():
        return flows.run(frame, **keys)

    @flow(log_prints=True)
    def outer():
        return flows.run(frame, **keys)

    first, second = asyncio.run(cell()), outer()

    assert first.summary["fits"]["executed"] == second.summary["fits"]["reused"] > 0
    assert capfd.readouterr().err.count("nuisance: ") == 2
    assert flows.run(frame, **keys, quiet=True).folder != second.folder
    assert capfd.readouterr() == ("", "")
