"""Who is affected, and effects along features, against means that are taken here by hand."""

import numpy as np
import pandas as pd
import pytest

from metalearners.evaluation import profile


@pytest.fixture
def given(settings):
    """A config of an effect that rises with one feature, whose other feature has a category."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=1000), "city": rng.choice(["Rome", "Oslo"], 1000)})
    frame["w"] = rng.integers(0, 2, 1000)
    frame["y"] = frame["w"] * (1 + 2 * frame["x"]) + 0.1 * rng.normal(size=1000)
    frame["city"] = frame["city"].astype("category")
    frame.to_parquet("data.parquet")
    settings["data"] |= {"control": 0, "features": ["x", "city"], "design": "randomised"}
    return settings


def test_profiles_and_effects_along_features_are_of_held_out_rows(run, given):
    ran = run(given)
    rows = pd.read_parquet("data.parquet").assign(tau=ran.estimates.filter(like="cate").iloc[:, 0])
    rows = rows[ran.estimates["held_out"]]
    wanted = profile({"x": rows["x"], "city": rows["city"]}, rows["tau"])

    found = ran.summary["features"]
    assert found["learner"] == "DRLearner"
    told = {(one["feature"], one["category"]): one for one in found["profiles"]}
    for one in wanted:
        if one.feature in {feature for feature, _ in told}:  # those that estimates vary with
            own = told[one.feature, one.category]
            assert own["lowest"]["estimate"] == pytest.approx(one.lowest.estimate)
            assert own["difference"]["std_error"] == pytest.approx(one.difference.std_error)
    assert told["x", None]["difference"]["ci_low"] > 1
    effects = [one for one in found["effects"] if one["feature"] == "x"]
    assert [one["rows"] for one in effects] == [len(rows) // 5] * 5
    for one in effects:
        inside = rows["x"].between(one["low"], one["high"])
        truth = 1 + 2 * rows["x"][inside].mean()
        assert one["joint_low"] < truth < one["joint_high"]
    tests = {one["feature"]: one for one in found["tests"]}
    assert (tests["x"]["arm"], tests["x"]["levels"]) == (1, 5)
    assert tests["x"]["p_value"] <= tests["x"]["p_value_adjusted"] < 1e-9
    table = pd.read_parquet(ran.folder / "tables" / "feature_tests.parquet")
    assert table["p_value_adjusted"].tolist() == [one["p_value_adjusted"] for one in found["tests"]]
    page = (ran.folder / "report.html").read_text()
    assert "Does the effect differ between the parts of a feature?" in page
    assert "Profile of the lowest and the highest fifth" in page
    assert "groups</a> don't show" not in page


@pytest.mark.slow
def test_a_profile_says_that_its_rows_are_not_shown_to_differ_in_effect(run, given):
    rng = np.random.default_rng(1)
    pd.read_parquet("data.parquet").assign(y=rng.normal(size=1000)).to_parquet("data.parquet")
    ran = run(given)
    (arm,) = ran.summary["learners"]["DRLearner"]["evaluation"]["arms"]
    assert arm["gates"]["p_greater_adjusted"] > 0.05
    page = (ran.folder / "report.html").read_text()
    assert "groups</a> don't show that the effect is larger among the highest" in page
