"""The flows: what is fitted, what is found, what crosses their boundaries, what they write."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pandas as pd
import pytest
import yaml
from lightgbm import LGBMClassifier, LGBMRegressor

import metalearners
from flows.fitting.cache import prune
from flows.messages.outcome import outcome_lines
from metalearners.cache.fit_cache import FitCache
from metalearners.cache.places import open_storage
from metalearners.registry import REGISTRY

FIVE = ["SLearner", "TLearner", "XLearner", "RLearner", "DRLearner"]


def test_second_run_executes_nothing_and_gives_the_same_values(run, settings):
    first, second = run(settings), run(settings)

    assert first.fits["executed"] == first.fits["unique"] > 0
    assert second.fits["executed"] == 0
    assert second.fits["reused"] == second.fits["unique"] == first.fits["unique"]
    pd.testing.assert_frame_equal(first.estimates, second.estimates, check_exact=True)
    assert first.summary["ate"] == second.summary["ate"]
    assert first.summary["learners"] == second.summary["learners"]


def test_five_learners_share_their_nuisances(run, settings):
    settings |= {"learners": FIVE, "evaluation": {"holdout": 0, "bootstrap": 0}}
    fits = run(settings).fits

    assert fits["planned"] >= 80
    assert fits["unique"] == 53
    assert fits["executed"] == 53


def test_learners_of_another_s_nuisances_bring_their_effect_models_alone(run, settings):
    """R has the nuisances of U, and T those of RA."""
    settings |= {"learners": ["TLearner", "RLearner"], "evaluation": {"holdout": 0, "bootstrap": 0}}
    first = run(settings)
    settings["learners"] = ["ULearner", "RALearner"]
    second = run(settings)

    assert first.stages["treatment"]["executed"] == 6
    assert second.stages["nuisance"]["executed"] == 0
    assert second.stages["treatment"]["executed"] == 12
    assert {"cate.ULearner.1", "cate.RALearner.1"} <= set(second.estimates)


@pytest.mark.parametrize("name", REGISTRY)
@pytest.mark.parametrize("binary", [False, True])
def test_flow_and_library_give_the_same_bits(run, settings, frame, name, binary):
    settings |= {"learners": [name], "evaluation": {"holdout": 0, "bootstrap": 0}}
    outcome = LGBMRegressor
    if binary:
        frame["y"] = (frame["y"] > 0).astype(int)
        frame.to_parquet("data.parquet")
        settings["data"]["outcome_type"] = "binary"
        settings["models"]["outcome"]["estimator"] = "lightgbm.LGBMClassifier"
        outcome = LGBMClassifier
    small = {"n_estimators": 3, "num_leaves": 4}
    learner = getattr(metalearners, name)(
        binary, 2, outcome, LGBMRegressor, LGBMClassifier, small, small, small, n_folds=5
    )
    learner.fit(frame[["a", "b", "c"]], frame["y"], frame["w"])
    expected = learner.predict(frame[["a", "b", "c"]], is_oos=False)[:, 0, -1]

    found = run(settings).estimates[f"cate.{name}.1"]

    np.testing.assert_array_equal(found.to_numpy(), expected)


def test_other_runners_give_the_same_bits_as_threads(run, settings):
    settings |= {"cache": {"enabled": False}, "learners": ["SLearner", "DRLearner"]}
    settings["evaluation"] = {"holdout": 0, "bootstrap": 0}
    threads = run(settings)
    assert threads.summary["parallelism"]["chosen_by"] == "rule"
    assert threads.summary["own_bins"] == {}  # all fits share bins
    for runner in ("serial", "process"):
        other = run(settings | {"parallelism": {"runner": runner}})
        pd.testing.assert_frame_equal(threads.estimates, other.estimates, check_exact=True)
        assert other.summary["parallelism"]["runner"] == runner
        assert other.summary["parallelism"]["chosen_by"] == "config"


def test_without_a_cache_every_unit_is_fitted_again(run, settings, tmp_path):
    settings["cache"] = {"enabled": False}
    first, second = run(settings), run(settings)

    assert first.fits["executed"] == second.fits["executed"] == first.fits["unique"]
    assert not list(tmp_path.rglob("*.fit"))


def test_refresh_fits_anew_and_leaves_a_whole_cache(run, settings):
    first = run(settings)
    refreshed = run(settings, refresh=True)

    assert refreshed.fits["executed"] == first.fits["unique"]
    assert run(settings).fits["executed"] == 0


def test_a_treatment_parameter_refits_the_treatment_stage_alone(run, settings):
    run(settings)
    settings["models"]["treatment"]["params"]["num_leaves"] = 5
    changed = run(settings)

    assert changed.stages["nuisance"]["executed"] == 0
    assert changed.stages["treatment"]["reused"] == 0
    assert changed.stages["treatment"]["executed"] == 6


def test_a_second_learner_reuses_the_first_ones_nuisances(run, settings):
    first = run(settings)
    settings["learners"] = ["DRLearner", "TLearner"]
    both = run(settings)

    assert both.fits["reused"] == first.fits["unique"]
    assert both.fits["executed"] == 0  # T's models are those that evaluation had already


def test_more_threads_in_a_base_model_are_no_other_model(run, settings):
    run(settings)
    settings["parallelism"] = {"runner": "thread", "workers": 1, "base_model_threads": 2}

    assert run(settings).fits["executed"] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-7]),
        lambda path: path.write_bytes(path.read_bytes()[:100] + b"x" + path.read_bytes()[101:]),
        lambda path: path.write_bytes(b"\x80\x05" + path.read_bytes()),
    ],
    ids=["missing", "empty", "cut", "altered", "shifted"],
)
def test_damaged_fits_are_found_and_fitted_again(run, settings, tmp_path, damage):
    first = run(settings)
    files = sorted(tmp_path.glob(".uplift/cache/*/*.fit"))
    for path in files[::3]:
        damage(path)
    second = run(settings)

    assert second.fits["executed"] == len(files[::3])
    pd.testing.assert_frame_equal(first.estimates, second.estimates, check_exact=True)
    assert run(settings).fits["executed"] == 0


@pytest.mark.slow
def test_runs_are_right_while_all_fits_are_pruned_again_and_again(run, settings, tmp_path):
    first = run(settings)
    over, deleted = threading.Event(), []

    def keep_pruning():
        while not over.is_set():
            cache = FitCache(open_storage(str(tmp_path / ".uplift" / "cache")))
            deleted.append(prune(cache, everything=True).fits)

    with ThreadPoolExecutor(1) as threads:
        pruning = threads.submit(keep_pruning)
        try:
            others = [run(settings) for _ in range(2)]
        finally:
            over.set()
        pruning.result()

    assert sum(deleted) > first.fits["unique"]  # some were deleted while runs had need of them
    for other in others:
        assert other.fits["executed"] > 0
        pd.testing.assert_frame_equal(first.estimates, other.estimates, check_exact=True)


def test_every_file_of_the_store_may_be_overwritten(run, settings, tmp_path):
    first = run(settings)
    store = tmp_path / ".uplift" / "cache"
    for path in store.rglob("*"):
        if path.is_file():
            path.write_bytes(b'{"metadata": {"serializer": {"type": "pickle"}}, "result": "gASV"}')
    second = run(settings)

    assert second.fits["reused"] == 0
    pd.testing.assert_frame_equal(first.estimates, second.estimates, check_exact=True)


@pytest.fixture
def faulty(monkeypatch):
    """Lets configs name the base models of `tests.faulty`."""
    monkeypatch.setenv("UPLIFT_IMPORT_ROOTS", "tests")
    monkeypatch.syspath_prepend(str(metalearners.__file__).rpartition("/metalearners/")[0])


def test_a_passing_fault_is_tried_again_and_counted(run, settings, tmp_path, faulty):
    settings["models"]["treatment"] = {
        "estimator": "tests.faulty.FailsOnce",
        "params": {"marker": str(tmp_path / "failed")},
    }
    ran = run(settings)

    assert ran.fits["retried"] == 1
    assert ran.fits["executed"] == ran.fits["unique"]


def test_a_lasting_fault_fails_the_run_at_once_and_keeps_what_was_fitted(
    run, settings, tmp_path, faulty
):
    from flows.runs.records import list_runs

    good = dict(settings["models"]["treatment"])
    settings["models"]["treatment"] = {"estimator": "tests.faulty.NeverFits"}
    with pytest.raises(Exception, match=r"treatment_model arm 1 .* failed: ValueError: this mod"):
        run(settings)

    (failed,) = list_runs(tmp_path / "runs")
    assert failed["status"] == "failed"
    assert "can't be fitted" in failed["error"]
    assert [stage["name"] for stage in failed["stages"]] == ["load", "nuisance"]
    assert failed["name"] == "uplift"
    assert failed["data"] == {"source": "data.parquet", "outcome": "y"}
    assert failed["learners"] == {"DRLearner": {}}
    assert not list(tmp_path.glob("runs/2*"))
    settings["models"]["treatment"] = good
    kept = failed["stages"][-1]["executed"]
    assert kept > 0
    assert run(settings).stages["nuisance"]["reused"] >= kept


def test_a_treatment_model_that_fails_while_nuisances_are_fitted_is_no_nuisance(
    run, settings, tmp_path, faulty
):
    from flows.runs.records import list_runs

    # Folds are fitted to 360 rows. All rows are fitted for evaluation alone, after the folds.
    settings["models"] |= {
        "propensity": {"estimator": "tests.faulty.SlowWithMany", "params": {"rows": 400}},
        "treatment": {"estimator": "tests.faulty.NeverFits"},
    }
    settings["parallelism"] = {"runner": "thread", "workers": 2, "base_model_threads": 1}
    with pytest.raises(Exception, match=r"treatment_model arm 1 .* failed: ValueError: this mod"):
        run(settings)

    (failed,) = list_runs(tmp_path / "runs")
    assert [stage["name"] for stage in failed["stages"]] == ["load", "nuisance"]
    assert failed["stages"][-1]["executed"] > 0
    assert failed["stages"][-1]["reused"] == 0


def test_stages_are_sub_flows_whose_cached_tasks_are_seen_as_such(run, settings, api):
    run(settings)
    second = run(settings)
    parent = _flow_run(api, second)
    stages = _post(
        api, "flow_runs", {"flow_runs": {"parent_flow_run_id": {"any_": [parent["id"]]}}}
    )

    assert {stage["name"] for stage in stages} == {
        "DRLearner nuisance",
        "DRLearner treatment",
        "evaluation nuisance",
    }
    assert {stage["state_type"] for stage in stages} == {"COMPLETED"}
    tasks = _tasks(api, stages, expected=second.fits["planned"])
    assert {task["state_name"] for task in tasks} == {"Cached"}
    assert "DRLearner treatment_model arm 1 fold 2/5" in {task["name"] for task in tasks}


def test_only_handles_cross_flow_and_task_boundaries(run, settings, api):
    parent = _flow_run(api, run(settings))
    stages = _post(
        api, "flow_runs", {"flow_runs": {"parent_flow_run_id": {"any_": [parent["id"]]}}}
    )

    for stage in stages:
        assert set(stage["parameters"]) == {"units", "workspace"}
        assert len(json.dumps(stage["parameters"])) < 200
    assert len(json.dumps(parent["parameters"])) < 5000


def test_nothing_is_left_open_when_a_run_ends(run, settings, tmp_path):
    from flows.fitting import workspace

    before = threading.active_count()
    run(settings)

    assert not workspace._open
    assert threading.active_count() <= before + 2  # Prefect's own workers for logs and events
    assert not list(tmp_path.rglob("*.tmp"))
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {
        ".records",
        "by-name",
        "latest",
        (tmp_path / "runs" / "latest").resolve().name,
    }


def test_run_folder_holds_what_the_contract_says(run, settings):
    ran = run(settings)
    summary = ran.summary

    names = {path.name for path in ran.folder.iterdir()}
    written = {"summary.json", "estimates.parquet", "report.html", "config.yaml", "profile.json"}
    assert names == {*written, "model", "tables"}
    keys = "format_version run_name folder status started seconds peak_rss_bytes data fits stages"
    assert set(keys.split()) <= set(summary)
    assert {"parallelism", "ate", "learners", "versions"} <= set(summary)
    assert summary["status"] == "done"
    assert summary["run_name"] == ran.folder.name
    assert [stage["name"] for stage in summary["stages"]] == [
        "load",
        "nuisance",
        "treatment",
        "evaluate",
        "report",
    ]
    assert set(summary["data"]) >= {"source", "rows", "features", "arms", "digest"}
    assert set(summary["ate"][0]) == {"arm", "estimate", "std_error", "ci_low", "ci_high"}
    assert set(summary["versions"]) >= {
        "python",
        "prefect",
        "lightgbm",
        "scikit-learn",
        "numpy",
        "pandas",
        "pyarrow",
        "project",
    }
    assert summary["name"] == "uplift"
    assert summary["data"]["outcome"] == "y"
    for link in ("latest", "by-name/uplift/latest"):
        assert (ran.folder.parent / link).resolve() == ran.folder.resolve()
    assert summary["peak_rss_bytes"] > 50e6


def test_a_finished_runs_config_is_the_same_run_again(run, settings):
    first = run(settings | {"name": "mine"})
    config = yaml.safe_load((first.folder / "config.yaml").read_text())
    again = run(config)

    assert again.summary["name"] == config["name"] == "mine"
    assert again.fits["executed"] == run(settings).fits["executed"] == 0
    pd.testing.assert_frame_equal(first.estimates, again.estimates, check_exact=True)


def test_scores_of_held_out_rows_equal_their_estimates(run, settings, frame, tmp_path):
    from flows.scoring import score_file

    frame["id"] = [f"customer {i}" for i in range(len(frame))]
    frame["c"] = pd.cut(frame["c"], 3, labels=["low", "mid", "high"]).astype(str)
    frame.loc[::7, "a"] = np.nan
    frame["w"] = np.where(np.arange(600) % 3 == 2, "mail", np.where(frame["w"], "call", "none"))
    frame.to_parquet("data.parquet")
    settings["learners"] = FIVE
    settings["data"] |= {"row_id": "id", "control": "none"}
    ran = run(settings)
    held_out = ran.estimates["held_out"].to_numpy()
    frame[held_out].drop(columns=["y", "w"]).to_parquet("new.parquet")
    score_file(ran.folder / "model", "new.parquet", tmp_path / "scores.parquet")

    scores = pd.read_parquet("scores.parquet")
    expected = ran.estimates[held_out].drop(columns="held_out").reset_index(drop=True)
    assert held_out.sum() == ran.summary["data"]["rows_held_out"] == 150
    assert ran.summary["data"]["share_held_out"] == 0.25
    estimated = scores[list(expected)]
    pd.testing.assert_frame_equal(estimated, expected, check_exact=True)
    assert len(estimated.columns) == 1 + 5 * 2
    train = ran.estimates[~held_out]
    for column in estimated.columns[1:]:
        own, others = scores[column].to_numpy()[:, None], train[column].to_numpy()[None, :]
        lower = (others < own).mean(axis=1) + (others == own).mean(axis=1) / 2
        percentiles = scores[column.replace("cate.", "percentile.")]
        np.testing.assert_allclose(percentiles, 100 * lower, atol=100 / len(train))
    for name in ("SLearner", "TLearner"):
        means = scores.filter(like=f"outcome.{name}.")
        assert [column.rpartition(".")[2] for column in means] == ["none", "call", "mail"]
        effects = means.iloc[:, 1:].to_numpy() - means.iloc[:, [0]].to_numpy()
        np.testing.assert_allclose(effects, scores.filter(like=f"cate.{name}."), atol=1e-12)
    assert len(scores.columns) == 1 + 2 * 5 * 2 + 2 * 3


@pytest.mark.parametrize("design", ["auto", "observational"])
def test_an_effect_that_adjustment_changes_is_warned_of(run, settings, frame, design):
    """Rows with a large `a` are treated more often, unless that is how they were said to be."""
    frame["w"] = (frame["a"] + np.random.default_rng(0).normal(size=600) > 0).astype(int)
    frame["y"] = 3 * frame["a"] + frame["w"]
    frame.to_parquet("data.parquet")
    settings["data"]["design"] = design
    summary = run(settings).summary
    told = [line for line in summary["warnings"] if "Adjustment changes" in line]
    lines = "\n".join(outcome_lines(summary))
    assert summary["caveats"] == told
    assert ("  caution:   Adjustment changes" in lines) == bool(told)

    assert len(told) == (design == "auto")


def test_rows_of_other_arms_are_left_out_counted_and_still_estimated(run, settings, frame):
    frame["w"] = frame["w"].where(np.arange(600) % 4 != 0, 7)
    frame.to_parquet("data.parquet")
    settings["data"]["arms"] = [0, 1]
    ran = run(settings)

    other = (frame["w"] == 7).to_numpy()
    assert ran.summary["data"]["rows"] == 450
    assert ran.summary["data"]["rows_left_out"] == {"7": 150}
    assert ran.summary["data"]["arms"] == [0, 1]
    assert ran.estimates["row"].tolist() == list(range(600))
    assert ran.estimates["held_out"][other].all()
    assert ran.estimates.notna().all(axis=None)
    changed = frame.assign(y=frame["y"].where(~other, 1e6))
    changed.to_parquet("data.parquet")
    pd.testing.assert_frame_equal(run(settings).estimates, ran.estimates, check_exact=True)


def test_held_out_rows_outcomes_touch_no_estimate(run, settings, frame):
    ran = run(settings)
    held_out = ran.estimates["held_out"].to_numpy()
    frame.loc[held_out, "y"] += 1e6
    frame.to_parquet("data.parquet")
    changed = run(settings)

    pd.testing.assert_frame_equal(changed.estimates, ran.estimates, check_exact=True)
    for stage in ("nuisance", "treatment"):
        assert changed.stages[stage]["executed"] == 0
    assert changed.summary["ate"] != ran.summary["ate"]


def test_no_holdout_means_no_ranking_figures_and_a_reason(run, settings):
    settings["evaluation"] = {"holdout": 0, "bootstrap": 0}
    ran = run(settings)

    assert "holdout is 0" in ran.summary["learners"]["DRLearner"]["evaluation"]["absent"]
    assert not ran.estimates["held_out"].any()
    report = (ran.folder / "report.html").read_text()
    assert "evaluation.holdout is 0" in report


def test_groups_weights_and_known_propensities_reach_the_figures(run, settings, frame):
    frame["g"] = np.repeat(np.arange(60), 10)
    frame["v"] = np.random.default_rng(2).uniform(0.5, 2, 600)
    frame.to_parquet("data.parquet")
    settings["data"]["features"] = ["a", "b", "c"]
    plain = run(settings)
    settings["data"] |= {"group": "g", "weight": "v", "propensity": 0.5}
    rich = run(settings)

    assert rich.summary["ate"] != plain.summary["ate"]
    # No propensity model, and no models of held-out rows alone, whose groups are too few.
    assert rich.fits["unique"] == plain.fits["unique"] - 6 - 15
    held_out = rich.estimates["held_out"].to_numpy().reshape(60, 10)
    assert (held_out.all(axis=1) == held_out.any(axis=1)).all()


def _flow_run(api, ran):
    name = ran.folder.name.split("-", 2)[2]
    (found,) = _post(api, "flow_runs", {"flow_runs": {"name": {"any_": [name]}}})
    return found


def _tasks(api, stages, expected):
    """Tasks of the stages, once the server has them all and knows how each ended."""
    ids = [stage["id"] for stage in stages]
    deadline = time.monotonic() + 30  # tasks and their states reach the server in batches
    while True:
        tasks = _post(api, "task_runs", {"flow_runs": {"id": {"any_": ids}}})
        ended = [task for task in tasks if task["state_type"] == "COMPLETED"]
        if len(ended) == expected or time.monotonic() > deadline:
            return tasks
        time.sleep(0.2)


def _post(api, what, query):
    return httpx.post(f"{api}/{what}/filter", json=query).json()
