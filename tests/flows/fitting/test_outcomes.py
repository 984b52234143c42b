"""Several outcomes in one run: each as if it were run alone, with what is equal fitted once."""

import numpy as np
import pandas as pd
import pytest

from flows.config.reading import load_config, parse_config
from flows.errors import InputError, LearnersFailedError
from flows.inputs.study import load_study
from flows.launch.result import RunResult
from flows.scoring import score_rows
from tests.conftest import Ran

TWO = ["TLearner", "DRLearner"]


@pytest.fixture
def outcomes(settings, frame):
    """Settings of two outcomes, of numbers and of two classes, and two learners."""
    frame["big"] = 10 * frame["y"] + frame["c"]
    frame["bought"] = np.where(frame["y"] > frame["y"].median(), "yes", "no")
    frame.to_parquet("data.parquet")
    settings["data"] |= {"outcome": ["y", "big"], "features": list("abc")}
    return settings | {"learners": TWO}


def alone(settings, outcome):
    return settings | {"data": settings["data"] | {"outcome": outcome}}


def own(table, outcome):
    """A table's columns of an outcome, named as in a run of it alone."""
    found = table.filter(regex=rf"[.]{outcome}[.]")
    return found.rename(columns=lambda name: name.replace(f".{outcome}.", "."))


@pytest.mark.slow
def test_each_outcome_has_the_results_that_it_has_alone_and_shares_what_is_equal(
    run, outcomes, frame
):
    both = run(outcomes)
    again = {name: run(alone(outcomes, name)) for name in ("y", "big")}

    assert both.summary["data"] | {"outcome": "y", "outcomes": ["y", "big"]} == both.summary["data"]
    assert list(both.estimates)[:2] == ["row", "held_out"]
    assert len(both.estimates.columns) == 2 + 2 * len(TWO)
    for name, single in again.items():
        assert single.fits["executed"] == 0  # the run of both has fitted all of it
        estimates = own(both.estimates, name)
        pd.testing.assert_frame_equal(
            estimates, single.estimates.drop(columns=["row", "held_out"]), check_exact=True
        )
        assert (both.estimates["held_out"] == single.estimates["held_out"]).all()
        found = both.summary["outcomes"][name]
        for key in ("ate", "ate_joint", "learners", "heterogeneity", "averages"):
            assert found[key] == single.summary[key]
    assert both.summary["ate"] == again["y"].summary["ate"]
    separate = sum(single.fits["unique"] for single in again.values())
    propensities = 2 * (5 + 1) - 1  # of folds and all rows; of the hold-out, its folds
    assert both.fits["unique"] == separate - propensities
    scores = score_rows(both.folder / "model", frame)
    assert set(both.estimates.columns[2:]) <= set(scores.columns)
    held_out = both.estimates["held_out"]
    columns = list(both.estimates.columns[2:])
    pd.testing.assert_frame_equal(scores[held_out][columns], both.estimates[held_out][columns])
    effects = RunResult(both.folder).effects
    assert effects.index.tolist() == [("y", 1), ("big", 1)]
    repeated = run(load_config(both.folder / "config.yaml").model_dump())
    assert repeated.fits["executed"] == 0
    pd.testing.assert_frame_equal(repeated.estimates, both.estimates, check_exact=True)


@pytest.mark.slow
def test_outcomes_of_other_types_have_models_of_their_own(run, outcomes, frame):
    frame.drop(columns="big").to_parquet("data.parquet")
    small = {"n_estimators": 3, "num_leaves": 4}
    outcomes["data"] |= {
        "outcome": ["bought", "y"],
        "outcome_type": {"bought": "binary"},
        "positive": {"bought": "yes"},
        "features": None,
    }
    outcomes["models"]["outcome"] = {
        "bought": {"estimator": "lightgbm.LGBMClassifier", "params": small},
        "y": {"estimator": "sklearn.linear_model.LinearRegression"},
    }
    outcomes["evaluation"] |= {"refits": 2, "sequential": True}
    outcomes["folds"] = {"n_folds": 3, "repeats": 2}
    ran = run(outcomes)
    config = load_config(ran.folder / "config.yaml")

    assert ran.summary["data"]["features"] == ["a", "b", "c"]  # no outcome among them
    assert config.models.outcome == parse_config(outcomes).models.outcome
    effects = {name: own["ate"][0] for name, own in ran.summary["outcomes"].items()}
    assert 0.1 < effects["bought"]["estimate"] < 0.5
    assert abs(effects["y"]["estimate"] - 1) < 4 * effects["y"]["std_error"]
    assert {stage["name"] for stage in ran.summary["stages"]} >= {"refits", "sequential", "repeats"}
    for found in ran.summary["outcomes"].values():
        assert {one["test"] for one in found["heterogeneity"]} == {"sequential", "holdout"}
        assert {one["learner"] for one in found["stability"]} == {None, *TWO}
    scores = RunResult(ran.folder).score(pd.read_parquet("data.parquet"), intervals=0.9)
    assert (scores["low.y.TLearner.1"] < scores["high.y.TLearner.1"]).all()


@pytest.mark.slow
def test_a_learner_that_fails_for_one_outcome_is_left_out_there(
    run, outcomes, monkeypatch, tmp_path
):
    monkeypatch.setenv("UPLIFT_IMPORT_ROOTS", "tests,lightgbm,sklearn")
    broken = {"variant_outcome_model": {"big": {"estimator": "tests.faulty.NeverFits"}}}
    outcomes["models"]["TLearner"] = broken
    with pytest.raises(LearnersFailedError, match=r"^big\.TLearner: .*can't be fitted"):
        run(outcomes)
    (folder,) = (tmp_path / "runs").glob("2*")
    ran = Ran(folder)

    assert ran.summary["status"] == "partial"
    found = ran.summary["outcomes"]
    assert "error" in found["big"]["learners"]["TLearner"]
    assert all("error" not in own for own in found["y"]["learners"].values())
    assert [c for c in ran.estimates if c.endswith("TLearner.1")] == ["cate.y.TLearner.1"]


def test_folds_share_out_the_classes_of_all_outcomes(outcomes, frame):
    rng = np.random.default_rng(3)
    frame["rare"] = (rng.random(len(frame)) < 0.06).astype(int)
    frame["half"] = rng.integers(0, 2, len(frame))
    frame.to_parquet("data.parquet")
    outcomes["data"] |= {
        "outcome": ["rare", "half", "y"],
        "outcome_type": {"rare": "binary", "half": "binary"},
    }
    outcomes["models"].pop("outcome")
    study = load_study(parse_config(outcomes))
    folds = [[test for _, test in one.dataset.splits(5)] for one in study.by_outcome.values()]

    for others in folds[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(folds[0], others, strict=True))
    for one in study.by_outcome.values():
        assert np.array_equal(one.dataset.train, study.dataset.train)
    for arm in (0, 1):
        counts = [int(((study.w[test] == arm) & (study.y[test] == 1)).sum()) for test in folds[0]]
        assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"outcome": []}, "data.outcome: expected one or more"),
        ({"outcome": ["y", "y"]}, "data.outcome: expected each once; found 'y' twice"),
        ({"outcome": ["y", "ä" * 40]}, "data.outcome: expected names of at most 180 letters"),
        ({"outcome": ["y", "w"]}, "column 'w' is in two roles, outcome and treatment"),
        ({"outcome_type": {"foo": "binary"}}, "expected outcomes among 'y', 'big'.* found 'foo'"),
        ({"outcome_type": {"big": "binary"}}, "data.outcome_type: expected 0/1 .* in 'big'"),
        ({"outcome": ["y", "none"]}, "data.outcome.none: .*'none'"),
        ({"positive": {"big": "yes"}}, "positive: expected with outcome_type: binary"),
    ],
)
def test_refusals_say_which_outcome(outcomes, data, told):
    outcomes["data"] |= data
    with pytest.raises(InputError, match=told):
        load_study(parse_config(outcomes))


def test_models_by_outcome_name_outcomes_that_there_are(outcomes):
    outcomes["models"]["outcome"] = {"foo": {"estimator": "lightgbm.LGBMRegressor"}}
    with pytest.raises(InputError, match="models: expected outcomes among 'y', 'big'"):
        parse_config(outcomes)
