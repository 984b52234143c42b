"""How fits are spread: by the rule, cut down to the cores, as measured; and that a run says so."""

import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joblib import cpu_count
from lightgbm import LGBMRegressor
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import (
    HistGradientBoostingRegressor,
    RandomForestRegressor,
    StackingRegressor,
)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR
from threadpoolctl import threadpool_info
from xgboost import XGBRegressor

from flows.config.reading import parse_config
from flows.config.sections import ParallelismConfig
from flows.fitting.parallelism import Parallelism, as_asked, choose, cut_down, work_of
from flows.fitting.profiles import find_profile, keep_profile, path_of, shape_of
from flows.launch.display import settings_table
from flows.runs.loading import load
from flows.tuning.measure import Measured
from flows.tuning.sample import on_rows
from flows.tuning.trials import busy_note, compare
from metalearners.data.dataset import Dataset
from metalearners.data.folds import draw_holdout
from metalearners.fits.estimator_spec import EstimatorSpec
from metalearners.fits.fit import fit_unit
from metalearners.fits.plan import Regression, plan_stage
from metalearners.fits.store import MemoryStore
from metalearners.workers.auto import Batch, Machine, Work, decide, settings_within
from metalearners.workers.fit_costs import fit_bytes, fit_cost
from tests.acceptance.test_processes import uplift
from tests.conftest import write_config

GB = 1_000_000_000
LIGHTGBM, HISTOGRAMS = LGBMRegressor(), HistGradientBoostingRegressor()


def work(estimator=LIGHTGBM, fits=18, rows=10_000, columns=10, later=12):
    stages = [[Batch(estimator, fits, rows)], [Batch(estimator, later, rows)]]
    return Work(stages, columns, 8 * columns)


def found(work, cores, memory=64 * GB):
    decision = decide(work, Machine(cores, memory))
    return decision.runner, decision.workers, decision.threads


# The rule


def test_fits_side_by_side_come_first_and_left_over_cores_go_inside():
    assert found(work(), cores=1) == ("serial", 1, 1)
    assert found(work(), cores=2) == ("thread", 2, 1)
    assert found(work(), cores=16) == ("thread", 16, 1)
    assert found(work(), cores=64) == ("thread", 18, 3)
    assert found(work(fits=5, later=1), cores=16) == ("thread", 5, 3)
    assert found(work(fits=1, later=1), cores=16) == ("serial", 1, 16)


def test_memory_bounds_the_fits_at_a_time():
    large = work(rows=10_000_000, columns=100)  # 8 GB, and as much again in a fit

    assert found(large, cores=16, memory=100 * GB) == ("thread", 5, 3)
    assert found(large, cores=16, memory=30 * GB) == ("serial", 1, 16)
    assert found(large, cores=2, memory=1 * GB) == ("serial", 1, 2)


def test_memory_is_that_of_what_models_make_of_their_rows():
    flags = [[Batch(LIGHTGBM, 18, 1_000_000)]]
    assert Work(flags, columns=200, row_bytes=200).fit_bytes == 1_000_000 * 200 * 9
    full = work(RandomForestRegressor(), rows=1_000_000)  # 9 GB of trees, and hardly any rows
    assert full.fit_bytes == pytest.approx(9.16 * GB)
    assert found(full, cores=16, memory=64 * GB)[1] == 5
    for small in ({"min_samples_leaf": 100}, {"max_leaf_nodes": 1000}, {"max_depth": 10}):
        kept = RandomForestRegressor(**small)
        assert found(work(kept, rows=1_000_000), cores=16, memory=64 * GB)[1] == 16


def test_trees_of_forests_take_about_what_is_reckoned():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20_000, 3)), rng.normal(size=20_000)
    for params in ({}, {"min_samples_leaf": 20}, {"max_leaf_nodes": 300}):
        forest = RandomForestRegressor(5, random_state=0, **params).fit(X, y)
        own = sum(len(pickle.dumps(tree.tree_)) for tree in forest.estimators_)
        reckoned = fit_bytes(forest, 20_000, 3, 0) - 20_000 * 3 * 8
        assert 0.4 < reckoned / own < 2.5, params


def test_fits_that_hold_the_lock_get_processes_where_these_pay():
    assert found(work(HISTOGRAMS, rows=200_000), cores=1)[0] == "serial"
    assert found(work(HISTOGRAMS, fits=200), cores=2) == ("process", 2, 1)
    assert found(work(HISTOGRAMS, fits=5, later=5, rows=1000), cores=2) == ("serial", 1, 1)
    assert found(work(HISTOGRAMS, fits=5, later=5, rows=1_000_000), cores=2)[0] == "thread"
    network = MLPRegressor(hidden_layer_sizes=[16])
    assert found(work(network, rows=50_000), cores=4) == ("process", 4, 1)
    assert found(work(MLPRegressor(hidden_layer_sizes=[2000, 2000]), rows=50_000), cores=4) == (
        "thread",
        4,
        1,
    )
    search = GridSearchCV(HISTOGRAMS, {"max_leaf_nodes": [3, 7, 15]})
    assert found(work(search), cores=2)[0] == "process"
    assert found(work(RandomForestRegressor(), rows=200_000), cores=2)[0] == "thread"


def test_tiny_fits_are_made_one_by_one():
    assert found(work(Ridge(), rows=1000, columns=5), cores=2) == ("serial", 1, 1)
    assert found(work(Ridge(), rows=1000, columns=5, fits=2000), cores=8)[0] == "process"
    assert found(work(Ridge(), rows=200_000, columns=50), cores=2) == ("thread", 2, 1)


def test_models_that_nothing_is_known_of_are_taken_for_long_fits_that_share_cores():
    assert found(work(SVR(), rows=100), cores=2) == ("thread", 2, 1)
    assert found(work(make_pipeline(StandardScaler(), SVR()), rows=100), cores=2)[0] == "thread"
    scaled = make_pipeline(StandardScaler(), Ridge())
    assert found(work(scaled, rows=1000, columns=5), cores=2) == ("serial", 1, 1)


class RandomForestOfAnother(BaseEstimator):
    """A class of a familiar name with parameters of its own."""

    def __init__(self, trees=10):
        self.trees = trees


@pytest.mark.parametrize(
    "odd",
    [
        RandomForestOfAnother(),
        MLPRegressor(hidden_layer_sizes=None),
        LGBMRegressor(n_estimators="many"),
        GaussianProcessRegressor(kernel=RBF()),
        GridSearchCV(Ridge(), {"alpha": 3}),
        RandomForestRegressor(min_samples_leaf=0),
    ],
)
def test_no_guess_ends_a_run(odd):
    assert found(work(odd), cores=2) == ("thread", 2, 1)
    assert work(odd).fit_bytes > 0


def test_rounds_have_many_names():
    few, usual = (fit_cost(LGBMRegressor(**p), 1000, 10) for p in ({"num_iterations": 5}, {}))

    assert few.free == pytest.approx(usual.free / 20)


def test_a_search_takes_what_its_fits_take():
    one = fit_cost(HISTOGRAMS, 1000, 10).held
    grid = GridSearchCV(HISTOGRAMS, {"max_leaf_nodes": [3, 7, 15]})

    assert fit_cost(grid, 1000, 10).held == pytest.approx(15 * one, rel=0.1)


def test_fits_that_learners_share_are_counted_once(api, settings):
    settings["learners"] = ["SLearner", "TLearner", "XLearner", "RLearner", "DRLearner"]
    study = load(parse_config(settings))
    stages = expected_of(study)
    plans = [plan_stage(asked, study.dataset, MemoryStore()) for asked in stages]
    reckoned = work_of(study.dataset, stages).stages

    assert [sum(batch.fits for batch in stage) for stage in reckoned] == [
        len(plan.units) for plan in plans
    ]


def test_a_device_takes_one_fit_at_a_time_also_beside_fits_on_the_cpu():
    on_device = work(XGBRegressor(device="cuda"))
    mixed = Work([work().stages[0], on_device.stages[0]], 10, 80)

    for asked in (on_device, mixed, work(make_pipeline(XGBRegressor(device="cuda")))):
        assert found(asked, cores=16) == ("serial", 1, 16)
        assert settings_within(Machine(16, GB), asked) == [("serial", 1, 1), ("serial", 1, 16)]
    assert found(work(XGBRegressor(device="cpu")), cores=16) == ("thread", 16, 1)


def test_reasons_name_what_decided():
    on_device = work(XGBRegressor(device="cuda"))
    assert "on a device, which takes one" in decide(on_device, Machine(16, GB)).reason
    assert "there are 2 cores" in decide(work(), Machine(2, GB)).reason
    assert "no stage has more than 5" in decide(work(fits=5, later=1), Machine(16, GB)).reason
    little = decide(work(rows=10_000_000, columns=100), Machine(16, 50 * GB)).reason
    assert "each takes some 16.0 GB of the 40.0 GB" in little
    assert "hold the interpreter's lock" in decide(work(MLPRegressor(), 900), Machine(4, GB)).reason


@given(
    estimator=st.sampled_from([LIGHTGBM, HISTOGRAMS, MLPRegressor(), Ridge()]),
    fits=st.integers(1, 500),
    rows=st.integers(1, 10**9),
    columns=st.integers(1, 10_000),
    cores=st.integers(1, 256),
    memory=st.integers(0, 10**13),
)
def test_no_decision_takes_more_than_there_is(estimator, fits, rows, columns, cores, memory):
    decision = decide(work(estimator, fits, rows, columns), Machine(cores, memory))

    assert decision.workers >= 1
    assert decision.threads >= 1
    assert decision.workers * decision.threads <= cores
    assert decision.workers == 1 or decision.workers * 2 * rows * columns * 8 <= memory
    assert decision.reason.endswith(".")


# What a config asks for


def test_a_config_that_asks_for_too_much_is_cut_down_workers_first():
    asked = ParallelismConfig(runner="process", workers=8, base_model_threads=2)

    got = as_asked(asked, cores=4)
    assert (got.runner, got.workers, got.base_model_threads) == ("process", 2, 2)
    assert got.chosen_by == "config"
    assert "8 x 2" in got.reason
    (warning,) = cut_down(asked, cores=4)
    assert "found 8 x 2" in warning
    assert "2 x 2" in warning
    assert cut_down(asked, cores=16) == cut_down("auto", cores=1) == []
    assert as_asked(asked, cores=1).base_model_threads == 1


@given(
    runner=st.sampled_from(["serial", "thread", "process"]),
    workers=st.none() | st.integers(1, 1024),
    threads=st.integers(1, 1024),
    cores=st.integers(1, 256),
)
def test_what_a_config_asks_for_fits_the_cores(runner, workers, threads, cores):
    asked = ParallelismConfig(runner=runner, workers=workers, base_model_threads=threads)
    got = as_asked(asked, cores)

    assert 1 <= got.workers * got.base_model_threads <= cores
    wanted = 1 if runner == "serial" else workers or 1
    assert bool(cut_down(asked, cores)) == (wanted * threads > cores)


def test_cores_of_a_cluster_are_not_this_machine_s():
    asked = ParallelismConfig(workers=64, base_model_threads=2)
    elsewhere = asked.model_copy(update={"runner": "dask", "address": "tcp://a:1"})

    assert as_asked(elsewhere, cores=2).workers == 64
    assert cut_down(elsewhere, cores=2) == []


def test_run_says_how_its_fits_were_spread_and_why(run, settings):
    done = run(settings)

    said = done.summary["parallelism"]
    assert said["chosen_by"] == "rule"
    assert "fits" in said["reason"] or "One fit" in said["reason"]
    assert said["workers"] * said["base_model_threads"] <= cpu_count()
    report = (done.folder / "report.html").read_text()
    assert "chosen by rule: " in report


def test_run_that_is_cut_down_says_so(run, settings):
    settings["parallelism"] = {"runner": "thread", "workers": 1000, "base_model_threads": 1}
    done = run(settings)

    said = done.summary["parallelism"]
    assert (said["workers"], said["chosen_by"]) == (cpu_count(), "config")
    assert "1000 x 1" in said["reason"]
    assert any("found 1000 x 1" in warning for warning in done.summary["warnings"])
    assert "found 1000 x 1" in (done.folder / "report.html").read_text()


@pytest.mark.parametrize("threads", [1, 2, 6])
@pytest.mark.parametrize(
    "estimator",
    [
        LGBMRegressor(n_jobs=-1),
        RandomForestRegressor(n_jobs=-1),
        StackingRegressor([("a", RandomForestRegressor(n_jobs=-1))], Ridge(), n_jobs=-1),
        GridSearchCV(LGBMRegressor(n_jobs=-1), {"num_leaves": [3]}, n_jobs=-1),
        GridSearchCV(StackingRegressor([("a", LGBMRegressor())], n_jobs=-1), {}, n_jobs=2),
    ],
    ids=["model", "forest", "stack", "search", "search of a stack"],
)
def test_nested_models_share_the_threads_of_their_fit(monkeypatch, estimator, threads):
    monkeypatch.setattr("metalearners.base_models.seeds_and_threads.cpu_count", lambda: 64)
    spec = EstimatorSpec(type(estimator), estimator.get_params(deep=False))

    assert 1 <= most_threads(spec.build(0, threads)) <= threads


def most_threads(model):
    """Threads that a model may have at a time: its own, times those of what it fits."""
    inner = [value for name, value in model.get_params().items() if hasattr(value, "fit")]
    own = model.get_params(deep=False).get("n_jobs") or 1
    return own * max([1, *map(most_threads, inner)])


class CountsLoops(RegressorMixin, BaseEstimator):
    """Notes how many threads compiled loops may have, in fitting and in predicting."""

    def fit(self, X, y):
        _loops.append(openmp_threads())
        return self

    def predict(self, X):
        _loops.append(openmp_threads())
        return np.zeros(len(X))


_loops = []


def openmp_threads():
    found = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp"]
    return max(found, default=0)


def test_compiled_loops_keep_to_the_threads_of_their_fit_in_predicting_too():
    _loops.clear()
    rng = np.random.default_rng(0)
    d = Dataset(rng.normal(size=(40, 2)), rng.normal(size=40), np.arange(40) % 2, 2)
    asked = {("m", "0"): Regression(EstimatorSpec(CountsLoops), d.y, 2)}
    store = MemoryStore()
    for unit in plan_stage(asked, d, store).units:
        fit_unit(unit, store, threads=1)

    assert _loops == [1, 1, 1, 1]


# Measured


def test_settings_worth_a_try_stay_within_cores_and_memory():
    assert settings_within(Machine(1, GB), work()) == [("serial", 1, 1)]
    two = [("thread", 2, 1), ("serial", 1, 1), ("serial", 1, 2), ("process", 2, 1)]
    assert settings_within(Machine(2, GB), work()) == two
    many = settings_within(Machine(64, 64 * GB), work())
    assert ("thread", 16, 4) in many
    assert ("process", 18, 3) in many
    assert all(workers * threads <= 64 for _, workers, threads in many)
    little = settings_within(Machine(16, 50 * GB), work(rows=10_000_000, columns=100))
    assert max(workers for _, workers, _ in little) == 2


@given(
    estimator=st.sampled_from([LIGHTGBM, HISTOGRAMS, MLPRegressor(), Ridge()]),
    fits=st.integers(1, 500),
    rows=st.integers(1, 10**9),
    cores=st.integers(1, 256),
    memory=st.integers(0, 10**13),
)
def test_the_rule_s_choice_is_among_the_settings_worth_a_try(estimator, fits, rows, cores, memory):
    asked, machine = work(estimator, fits, rows), Machine(cores, memory)
    chosen = decide(asked, machine)

    assert (chosen.runner, chosen.workers, chosen.threads) in settings_within(machine, asked)


def measured(runner, *seconds):
    """A row of the table: a setting's median, its fastest and its slowest turn."""
    turns = {"fastest": min(seconds), "slowest": max(seconds), "turns": len(seconds)}
    setting = {"runner": runner, "workers": 1, "base_model_threads": 1}
    return setting | turns | {"seconds": float(np.median(seconds))}


def compared(*rows):
    """Runners as tuning ranks them, with what it says of each, where the rule chose threads."""
    ranked, why = compare(rows, "thread, 1 x 1")
    return {row["runner"]: row["against_rule"] for row in ranked}, why


def test_a_setting_that_is_no_faster_than_the_spread_of_turns_leaves_the_rule_s_choice():
    rule, slower = measured("thread", 9.0, 10.0, 11.0), measured("process", 20.0, 21.0, 12.0)
    verdicts, why = compared(slower, measured("serial", 8.0, 8.5, 8.6), rule)

    assert list(verdicts.items()) == [
        ("thread", "its choice"),
        ("serial", "tie"),
        ("process", "slower"),
    ]
    assert why.startswith("thread, 1 x 1 is kept: it is the rule's choice")
    assert "Ties: serial, 1 x 1." in why
    assert compared(measured("serial", 7.0, 8.5, 9.0), measured("thread", 9.9, 10.0, 10.1))[0] == {
        "thread": "its choice",
        "serial": "tie",  # faster in each turn, but its own turns spread by more than that
    }
    assert "no other setting was faster" in compared(rule, slower)[1]


def test_a_setting_that_is_faster_by_more_than_the_spread_of_turns_is_kept():
    rule = measured("thread", 9.0, 10.0, 10.5)
    verdicts, why = compared(rule, measured("serial", 6.0, 6.5, 6.1), measured("process", 7, 7, 7))

    assert list(verdicts) == ["serial", "process", "thread"]
    assert verdicts["serial"] == verdicts["process"] == "faster"
    assert "serial, 1 x 1 is kept: it is faster than the rule's choice, thread, 1 x 1" in why


def test_one_turn_shows_no_spread_and_leaves_the_rule_s_choice():
    verdicts, why = compared(measured("thread", 9.0), measured("serial", 1.0))

    assert verdicts == {"thread": "its choice", "serial": "tie"}
    assert "thread, 1 x 1 is kept" in why


def test_the_fastest_is_kept_where_the_rule_s_choice_could_not_be_measured():
    verdicts, why = compared(measured("serial", 2.0, 2.0), measured("process", 1.0, 1.0))

    assert list(verdicts) == ["process", "serial"]
    assert "the rule's choice, thread, 1 x 1, could not be measured" in why


def test_tuning_shows_the_spread_of_turns_and_says_what_it_keeps(capsys):
    rows, why = compare([measured("thread", 9.0, 10.0, 11.0)], "thread, 1 x 1")
    facts = {"cores": 0.98, "peak_bytes": 3e8}
    lost = {"process, 2 x 1": "its worker was killed"}
    settings_table({"settings": [rows[0] | facts], "notes": [why], "not_measured": lost})
    shown = capsys.readouterr().out

    assert "10 " in shown
    assert "9 to 11" in shown
    assert "its choice" in shown
    assert f"\n{why}\nNot measured: process, 2 x 1: its worker was killed.\n" in shown


def turn(others, seconds=1.0):
    return Measured(0.0, seconds, 1.0, others, peak_bytes=1, fits=4)


def test_tuning_says_when_other_processes_used_the_cores():
    assert busy_note([turn(0.1), turn(0.2)], cores=2) == []
    (note,) = busy_note([turn(1.5, seconds=3.0), turn(0.5)], cores=2)

    assert note.startswith("The machine was busy: other processes used 1.2 of its 2 cores")


def test_cores_of_other_processes_are_told_from_ours(monkeypatch):
    from flows.tuning import measure

    monkeypatch.setattr(measure.psutil, "cpu_count", lambda: 8)
    monkeypatch.setattr(measure, "cpu_count", lambda: 2)
    for percent, ours, others in ((25, 2.0, 0.0), (87.5, 1.0, 0.0), (100, 2.0, 0.0), (100, 1, 1.0)):
        monkeypatch.setattr(measure.psutil, "cpu_percent", lambda percent=percent: percent)
        assert measure._cores_of_others(ours) == others


@pytest.mark.slow
def test_tune_keeps_a_profile_that_runs_of_its_shape_go_by(api, run, settings):
    done = uplift("tune", write_config(settings), "--budget", "8", "--json", "t.json")

    assert done.returncode == 0, done.stderr
    found = json.loads(Path("t.json").read_text())
    assert found["seconds"] < 8 * 1.5
    first = found["settings"][0]
    assert first["ratio"] == 1
    assert first["against_rule"] in ("its choice", "faster")
    assert all(row["fastest"] <= row["seconds"] <= row["slowest"] for row in found["settings"])
    assert found["notes"][0] in done.stdout
    assert first["cores"] > 0
    assert first["peak_bytes"] > 10_000_000
    assert "Peak memory" in done.stdout
    profile = Path(found["profile"])
    assert json.loads(profile.read_text())["runner"] == first["runner"]
    assert profile.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert not list(Path().glob(".uplift/cache/*/*.fit"))
    assert not Path("runs/latest").exists()
    assert last_table(api) == first["runner"]

    said = run(settings).summary["parallelism"]
    assert said["chosen_by"] == "profile"
    names = ("runner", "workers", "base_model_threads")
    assert [said[name] for name in names] == [first[name] for name in names]
    assert found["measured"][:10] in said["reason"]
    assert by(run, settings, folds={"n_folds": 9}) == "rule"
    assert by(run, settings, learners=["TLearner"]) == "rule"
    assert by(run, settings, parallelism={"runner": "serial"}) == "config"


def rare(frame, groups):
    """Many rows, with one in 200 of the class 1."""
    rows = frame.sample(20_000, replace=True, random_state=0).reset_index(drop=True)
    rows["y"] = (np.arange(20_000) % 200 == 0).astype(int)
    rows["w"] = np.arange(20_000) // 200 % 2
    rows["g"] = np.arange(20_000) // groups
    rows.to_parquet("data.parquet")


@pytest.mark.parametrize("groups", [1, 20])
def test_tuning_on_a_part_of_the_rows_has_all_classes_in_all_folds(api, settings, frame, groups):
    rare(frame, groups)
    settings["data"] |= {"outcome_type": "binary", "features": ["a", "b"], "group": "g"}
    settings["models"]["outcome"] = settings["models"]["propensity"]
    study = load(parse_config(settings))
    sample = on_rows(study, 500)

    assert 500 / 20_000 < sample.share < 0.9
    full = [plan_stage(asked, study.dataset, MemoryStore()) for asked in expected_of(study)]
    assert len(sample.units) == sum(len(plan.units) for plan in full)


def test_tuning_on_a_part_of_the_rows_keeps_folds_in_time(api, settings, frame):
    """A fit that learns from later rows than it predicts would be one that no run makes."""
    rows = frame.sample(20_000, replace=True, random_state=0).reset_index(drop=True)
    day = np.random.default_rng(0).permutation(np.arange(20_000) // 40)
    rows.assign(day=day).to_parquet("data.parquet")
    settings["data"] |= {"features": ["a", "b"], "time": "day"}
    study = load(parse_config(settings))
    sample = on_rows(study, 1000)
    drawn = draw_holdout(study.dataset.strata, sample.share, study.dataset.seed).nonzero()[0]
    sizes, asked = set(), [unit for unit in sample.units if unit.test is not None]

    assert 1000 / 20_000 <= sample.share < 0.9
    for unit in asked:
        train = np.unpackbits(sample.store.get(unit.train), count=len(drawn)).nonzero()[0]
        assert day[drawn[train]].max() < day[drawn[sample.store.get(unit.test)]].min()
        sizes.add(len(train))
    assert len(sizes) > 4  # sizes of fits grow from fold to fold


def expected_of(study):
    from flows.fitting.regressions import expected

    return expected(study)


@pytest.mark.slow
def test_tuning_on_one_core_measures_what_there_is(api, settings):
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("no way to give a process one core here")
    config = write_config(settings)
    code = "import os; os.sched_setaffinity(0, {0}); from flows.cli.commands import main; main()"
    command = [sys.executable, "-c", code, "tune", config, "--budget", "30", "--json", "t.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    (only,) = json.loads(Path("t.json").read_text())["settings"]
    assert (only["runner"], only["workers"], only["base_model_threads"]) == ("serial", 1, 1)


@pytest.mark.slow
def test_a_model_that_fails_ends_tuning_by_the_unit_s_name(own_models, settings):
    settings["models"]["outcome"] = {"estimator": "tests.faulty.NeverFits"}
    done = uplift("tune", write_config(settings), "--budget", "20")

    assert done.returncode == 1
    assert re.search(r"variant_outcome_model arm \d .* failed: ValueError", done.stderr)
    assert not list(Path().glob(".uplift/profiles/*"))
    assert "not-begun" not in uplift("runs", "list").stdout


@pytest.mark.slow
def test_tuning_with_workers_that_are_lost_goes_on_with_other_settings(own_models, settings):
    settings["models"]["outcome"] = {"estimator": "tests.faulty.EndsOtherProcesses"}
    done = uplift("tune", write_config(settings), "--budget", "30", "--json", "t.json")

    assert done.returncode == 0, done.stderr
    found = json.loads(Path("t.json").read_text())
    assert {row["runner"] for row in found["settings"]} == {"serial", "thread"}
    if cpu_count() > 1:
        lost = f"process, {cpu_count()} x 1"
        assert "ran out of memory" in found["not_measured"][lost]
        assert f"Not measured: {lost}: Its worker process was killed" in done.stdout


def last_table(api):
    """The runner that the newest table of settings in the UI begins with."""
    asked = {"sort": "CREATED_DESC", "artifacts": {"key": {"any_": ["uplift-tune"]}}}
    newest = httpx.post(f"{api}/artifacts/filter", json=asked).json()[0]
    first_row = json.loads(newest["data"])[0]
    return next(iter(first_row.values())).partition(",")[0]


def by(run, settings, **changes):
    return run(settings | changes).summary["parallelism"]["chosen_by"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"runner": "thread"}',
        '{"format_version": 1, "runner": "x", "workers": 1, "base_model_threads": 1, '
        '"measured": ""}',
        '{"format_version": 1, "runner": "thread", "workers": 999, "base_model_threads": 9, '
        '"measured": "2026"}',
    ],
)
def test_profile_that_can_not_be_used_is_ignored_with_a_warning(settings, content):
    study = load(parse_config(settings))
    assert find_profile(study).problem == ""
    path = keep_profile(shape_of(study), vars(Parallelism("serial", 1, 1, "")), {"measured": "2"})
    assert find_profile(study).best.chosen_by == "profile"
    path.write_text(content)

    known = find_profile(study)
    assert known.best is None
    assert str(path) in known.problem
    assert "ignored" in known.problem


def test_a_profile_is_passed_over_where_memory_is_too_little():
    tuned = Parallelism("thread", 2, 1, "profile")
    huge = work(rows=10**12, columns=100)

    assert choose("auto", work(), tuned) is tuned
    passed_over = choose("auto", huge, tuned)
    assert passed_over.chosen_by == "rule"
    assert passed_over.workers == 1
    assert "Not the 2 at a time that `uplift tune` found best, as each takes" in passed_over.reason


def test_a_profile_is_passed_over_where_a_device_takes_one_fit():
    tuned = Parallelism("thread", 2, 1, "profile")
    on_device = work(XGBRegressor(device="cuda"))

    got = choose("auto", on_device, tuned)
    assert (got.runner, got.workers, got.chosen_by) == ("serial", 1, "rule")
    assert "Not the 2 at a time" in got.reason
    asked = ParallelismConfig(runner="thread", workers=1)
    assert choose(asked, on_device).runner == "thread"


def test_run_with_a_damaged_profile_says_so(run, settings):
    path = path_of(shape_of(load(parse_config(settings))))
    path.parent.mkdir(parents=True)
    path.write_text("{")
    summary = run(settings).summary

    assert summary["parallelism"]["chosen_by"] == "rule"
    assert any("It was ignored" in warning for warning in summary["warnings"])


def test_shape_rounds_sizes_and_tells_models_apart(settings, frame):
    def shape(**changes):
        return shape_of(load(parse_config(settings | changes)))

    first = shape()
    frame.head(590).to_parquet("data.parquet")
    assert shape() == first
    frame.head(200).to_parquet("data.parquet")
    assert shape() != first
    frame.to_parquet("data.parquet")
    assert shape(learners=["XLearner"]) != first
    models = {"outcome": {"estimator": "sklearn.linear_model.Ridge"}}
    assert shape(models=models) != first


@pytest.mark.slow
def test_wrong_tuning_is_refused_in_one_message(api, settings):
    wrong = uplift("tune", write_config(settings), "--set", "clip=9")

    assert wrong.returncode == 2
    assert "clip" in wrong.stderr
    assert uplift("tune", "config.yaml", "--budget", "0").returncode == 2
    assert not Path(".uplift/profiles").exists()


def test_tuning_can_be_triggered(api):
    from deployments.uplift import deployments

    (tune,) = [made for made in deployments() if made.name == "uplift-tune"]
    assert tune.parameters["budget_seconds"] == 120
    assert tune.entrypoint.endswith("uplift_tune")
