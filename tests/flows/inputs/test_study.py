"""Rows of a run: hold-out, folds, and what a reader should know of groups and weights."""

import numpy as np
import pytest

from flows.config.reading import parse_config
from flows.errors import InputError
from flows.runs import loading


@pytest.fixture
def load(settings, frame):
    """A study of the frame, with columns changed."""

    def of(changes, **data):
        frame.assign(**changes).to_parquet("data.parquet")
        chosen = settings | {"data": {**settings["data"], "features": list("abc"), **data}}
        return loading.load(parse_config(chosen))

    return of


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("binary", [False, True])
def test_names_of_arms_move_no_row(load, settings, frame, grouped, binary):
    """Three labels in another alphabetical order, and another control."""
    arm = np.random.default_rng(0).integers(0, 3, 600)
    changes = {"g": np.arange(600) // 4}
    data = {"group": "g"} if grouped else {}
    if binary:
        changes["y"] = (frame["y"] > 0).astype(int)
        data["outcome_type"] = "binary"
        settings["models"]["outcome"]["estimator"] = "lightgbm.LGBMClassifier"

    studies = [
        load({**changes, "w": np.array(names)[arm]}, control=control, **data)
        for names, control in ((["a", "b", "c"], "a"), (["z", "y", "b"], "b"))
    ]

    first, second = (one.dataset for one in studies)
    np.testing.assert_array_equal(first.held_out, second.held_out)
    for (_, a), (_, b) in zip(first.splits(5), second.splits(5), strict=True):
        np.testing.assert_array_equal(a, b)


def test_few_groups_are_told_by_what_they_are_worth_and_held_out_ones_apart(load):
    """200 groups of 3 rows are enough, the quarter that is held out isn't, nor are unequal ones."""
    equal = np.arange(600) // 3
    unequal = np.where(np.arange(600) < 300, 0, np.arange(600))

    (told,) = load({"g": equal, "w": equal % 2}, group="g").warnings
    both = load({"g": unequal}, group="g").warnings

    assert told.startswith("Clustered standard errors of held-out rows want 40 groups an arm or m")
    assert "0 has 25, 1 has 25" in told
    assert [one.partition(" want ")[0] for one in both] == [
        "Clustered standard errors",
        "Clustered standard errors of held-out rows",
    ]
    assert "(sum n)^2 / sum n^2: 0 has 4.37, 1 has 3.63" in both[0]


@pytest.mark.parametrize("group", [None, "g"])
def test_an_arm_with_the_weight_of_one_row_or_group_is_refused_before_fits(
    load, settings, frame, group
):
    treated = frame["w"].to_numpy() == 1
    weight = np.where(treated, 0.0, 1.0)
    weight[np.flatnonzero(treated)[:1]] = 1
    groups = np.where(treated, 1000 + np.arange(600) // 60, np.arange(600))
    settings["evaluation"]["holdout"] = 0
    data = {"weight": "v"} | ({"group": group} if group else {})

    with pytest.raises(InputError, match=r"two (rows|groups) or more of each arm with a weight"):
        load({"v": weight, "g": groups}, **data)


def test_estimates_that_differ_by_rounding_are_not_ranked_by_a_run(run, settings, frame):
    """An S-learner on a linear model has one effect, whatever the outcome's size."""
    frame.assign(y=1e6 + frame["y"]).to_parquet("data.parquet")
    settings["learners"] = ["SLearner"]
    settings["models"]["outcome"] = {"estimator": "sklearn.linear_model.LinearRegression"}
    ran = run(settings)

    held_out = ran.estimates[ran.estimates["held_out"]]
    assert np.ptp(held_out.filter(like="SLearner").to_numpy()) > 0
    (arm,) = ran.summary["learners"]["SLearner"]["evaluation"]["arms"]
    assert (arm["qini"]["estimate"], arm["qini"]["std_error"]) == (0, 0)
    assert len(arm["groups"]) == 1
