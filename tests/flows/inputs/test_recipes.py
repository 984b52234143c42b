"""Recipes in a config: a two-part model by name, calibrated propensities, warnings of outcomes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import flows
from flows.config.reading import ConfigError, parse_config
from flows.errors import InputError
from flows.runs import loading
from tests.conftest import REPOSITORY

TWO_PART = {
    "estimator": "metalearners.base_models.recipes.TwoPartRegressor",
    "params": {
        "classifier": {"estimator": "sklearn.linear_model.LogisticRegression"},
        "regressor": {"estimator": "lightgbm.LGBMRegressor", "params": {"n_estimators": 3}},
    },
}
TWEEDIE = {"estimator": "lightgbm.LGBMRegressor", "params": {"objective": "tweedie"}}
DEFAULT = {"outcome": None, "propensity": None, "treatment": None}


@pytest.fixture
def warned(settings, frame):
    """Warnings of the outcome, where it is this."""

    def of(y, models=DEFAULT, **data):
        frame.assign(y=y, **data.pop("columns", {})).to_parquet("data.parquet")
        own = {"data": settings["data"] | {"features": ["a", "b"]} | data, "models": models}
        return [w for w in loading.load(parse_config(settings | own)).warnings if "Outcome" in w]

    return of


@pytest.fixture
def zeros(frame):
    """An outcome of which nine tenths are 0."""
    rng = np.random.default_rng(0)
    return np.where(rng.random(len(frame)) < 0.9, 0, rng.gamma(4, 2, len(frame)))


def test_a_run_with_recipes_is_kept_and_scores(run, settings, frame, zeros):
    city = pd.Series(["x", "y", None] * 200)
    frame.assign(y=zeros, city=city).to_parquet("data.parquet")
    settings["models"]["outcome"] = TWO_PART
    settings |= {"calibrate_propensity": True, "learners": ["XLearner"]}
    first, again = run(settings), run(settings)

    assert again.fits["executed"] == 0
    assert set(first.summary["own_bins"]["XLearner"]) == {
        "variant_outcome_model",
        "propensity_model",
    }
    assert "CalibratedClassifier" in (first.folder / "report.html").read_text()
    written = yaml.safe_load((first.folder / "config.yaml").read_text())
    assert "TwoPartRegressor" in str(written["models"]["outcome"])
    kept = first.estimates.query("held_out")
    scored = flows.load(first.folder).score(pd.read_parquet("data.parquet"))["cate.XLearner.1"]
    np.testing.assert_array_equal(scored[kept.index], kept["cate.XLearner.1"])


def test_every_learner_that_has_a_propensity_model_calibrates_it(settings):
    settings["learners"] = ["DRLearner", "XLearner"]
    study = loading.load(parse_config(settings | {"calibrate_propensity": True}))

    for learner in (*study.learners.values(), study.reference):
        assert learner.fitted_spec("propensity_model").name == "CalibratedClassifier"
    plain = loading.load(parse_config(settings)).reference
    assert plain.fitted_spec("propensity_model").name == "LGBMClassifier"


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_the_switch_is_true_or_false(settings, value):
    with pytest.raises(ConfigError, match="calibrate_propensity"):
        parse_config(settings | {"calibrate_propensity": value})


@pytest.mark.parametrize(
    ("role", "model", "message"),
    [
        ("treatment", TWEEDIE, "treatment_model, which learns negative numbers too"),
        ("outcome", TWEEDIE, "variant_outcome_model, which learns negative numbers too"),
        ("outcome", TWO_PART | {"params": {}}, r"models.outcome: TwoPartRegressor can't be built"),
        (
            "outcome",
            TWO_PART
            | {"params": {**TWO_PART["params"], "regressor": TWO_PART["params"]["classifier"]}},
            "The model regressor is supposed to be",
        ),
        ("propensity", TWO_PART, "expected a classifier; TwoPartRegressor is a regressor"),
        (
            "propensity",
            {"estimator": "metalearners.base_models.recipes.CalibratedClassifier"},
            "Nothing of it was imported",
        ),
        (
            "outcome",
            {"estimator": "metalearners.base_models.recipes.two_part.TwoPartRegressor"},
            "Nothing of it was imported",
        ),
    ],
)
def test_recipes_out_of_place_are_refused_before_anything_is_fitted(settings, role, model, message):
    settings["models"][role] = model

    with pytest.raises(InputError, match=message):
        loading.load(parse_config(settings))


def test_an_outcome_of_many_zeros_is_told_once_unless_a_recipe_is_for_it(warned, zeros):
    (told,) = warned(zeros)

    assert f"Outcome 'y' is 0 in {(zeros == 0).mean():.3g} of the rows. Base models" in told
    assert "recipes.TwoPartRegressor or lightgbm.LGBMRegressor with params {obj" in told
    assert warned(zeros, {"outcome": TWO_PART}) == warned(zeros, {"outcome": TWEEDIE}) == []
    assert warned(zeros, {"TLearner": {"variant_outcome_model": TWO_PART}}) == []


def test_a_heavy_tail_is_told_with_its_arm_and_what_helps(warned, frame):
    rng = np.random.default_rng(1)
    tail = np.where(frame["w"] == 1, rng.lognormal(0, 2.5, len(frame)), rng.random(len(frame)))
    (positive,), (signed,) = warned(tail), warned(tail - 1)

    assert "its mean in arm 1 is itself unsure by" in positive
    assert "tweedie" in positive
    assert "tweedie" not in signed
    assert "Cap it" in signed
    both = warned(np.where(rng.random(len(frame)) < 0.6, 0, tail))
    assert len(both) == 1
    assert "is 0 in" in both[0]
    assert "unsure" in both[0]


def test_weights_count_in_a_tail(warned, frame):
    weight = np.where(np.arange(600) < 4, 300.0, 1.0)
    y = np.random.default_rng(2).normal(size=600)

    assert warned(y) == []
    assert len(warned(y, weight="v", columns={"v": weight})) == 1


def test_usual_outcomes_are_no_concern(warned, frame, monkeypatch):
    assert warned(frame["y"]) == warned(1e6 + frame["y"]) == []
    assert warned((frame["y"] > 2).astype(int)) == []
    assert warned((frame["y"] > 2).astype(int), outcome_type="binary") == []
    monkeypatch.chdir(REPOSITORY)
    config = yaml.safe_load(Path("deployments/configs/rand_hie.yaml").read_text())
    assert not [w for w in loading.load(parse_config(config)).warnings if "Outcome" in w]
