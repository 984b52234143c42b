"""Designs: arms' shares, bounds of estimated propensities, default models, neutral judges."""

import html
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightgbm import LGBMClassifier
from scipy import stats
from scipy.special import expit
from sklearn.linear_model import LinearRegression, LogisticRegression

from flows.config.reading import load_config, parse_config
from flows.errors import InputError
from flows.fitting.regressions import ask_nuisances
from flows.runs.loading import load
from flows.scoring import score_file
from metalearners import DRLearner, RLearner
from metalearners.bundle import Bundle
from metalearners.declaration.defaults import lightgbm_params
from metalearners.evaluation.design import (
    ArmShares,
    arm_shares,
    compare_with_shares,
    sample_ratio,
)
from metalearners.evaluation.overlap import Clip, overlap, weight_clipped
from metalearners.fits.plan import plan_stage
from metalearners.fits.store import MemoryStore

LINEAR = (LinearRegression, LinearRegression, LogisticRegression)


# Shares of arms


def test_shares_are_those_of_each_stratum_and_of_the_weighted_rows():
    w, strata = np.array([0, 1, 0, 1, 1, 1]), np.array(list("aabbbb"))
    weight = np.array([1, 3, 1, 1, 1, 1.0])

    np.testing.assert_allclose(arm_shares(w, 2)[:, 1], 4 / 6)
    np.testing.assert_allclose(arm_shares(w, 2, strata)[:, 1], [0.5, 0.5, *[0.75] * 4])
    np.testing.assert_allclose(arm_shares(w, 2, strata, weight)[:, 1], [*[0.75] * 6])


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("xyz")), min_size=1, max_size=60))
def test_shares_sum_to_one_and_weigh_each_arm_like_its_rows(rows):
    cells = [(arm, s) for arm in range(3) for s in "xyz"]  # each arm in each stratum
    w = np.array([arm for arm, _ in [*rows, *cells]])
    strata = np.array([s for _, s in [*rows, *cells]])

    e = arm_shares(w, 3, strata)

    np.testing.assert_allclose(e.sum(axis=1), 1)
    for s in "xyz":  # inverse-probability weights sum to the stratum's rows, in each arm
        own = strata == s
        sums = [(own & (w == k)) @ (1 / e[:, k]) for k in range(3)]
        np.testing.assert_allclose(sums, own.sum())


# Sample ratio mismatch


def test_sample_ratio_is_pearsons_test_of_rows_or_of_whole_clusters():
    counts, e = np.array([520, 250, 230]), np.array([0.5, 0.25, 0.25])
    w = np.repeat(np.arange(3), counts)
    sizes = np.random.default_rng(0).integers(1, 5, len(w))

    rows = sample_ratio(w, np.tile(e, (len(w), 1)))
    clusters = sample_ratio(
        np.repeat(w, sizes), np.tile(e, (sizes.sum(), 1)), np.repeat(np.arange(len(w)), sizes)
    )

    for found in (rows, clusters):
        assert found.p_value == pytest.approx(stats.chisquare(counts, 1000 * e).pvalue, rel=1e-9)
        np.testing.assert_allclose(found.found, counts)


@pytest.mark.parametrize("how", ["rows", "columns of probabilities", "clusters", "within clusters"])
@pytest.mark.parametrize("share", [0.5, 0.05])
def test_sample_ratio_holds_its_level_and_finds_lost_rows(how, share):
    """By simulation: its level is 5 % at most, and an arm that lost 30 % of its rows is found."""
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(1200), 5) if "clusters" in how else None
    p = np.full(6000, share)
    if how.startswith("columns"):
        p = rng.uniform(0.5, 1.5, 6000) * share
    e, below, lost = np.column_stack([1 - p, p]), [], []
    for _ in range(400):
        drawn = (
            rng.uniform(size=6000) if how != "clusters" else np.repeat(rng.uniform(size=1200), 5)
        )
        w = (drawn < p).astype(int)
        below.append(sample_ratio(w, e, groups).p_value < 0.05)
        kept = (w == 0) | (rng.uniform(size=6000) < 0.7)
        lost.append(sample_ratio(w[kept], e[kept], None).p_value < 1e-3)

    assert np.mean(below) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    if how in ("rows", "columns of probabilities"):
        assert np.mean(below) > 0.02
        assert np.mean(lost) > 0.9


def test_few_units_say_nothing_of_a_ratio():
    few = np.array([1] * 6 + [0] * 94)
    assert sample_ratio(few, np.tile([0.99, 0.01], (100, 1))).p_value == 1


def test_a_stratum_without_an_arm_and_a_row_without_a_stratum_are_refused():
    w = np.array([0, 1, 1, 1])
    with pytest.raises(ValueError, match=r"a stratum, 'b', with none in arm 0\. Merge strata"):
        arm_shares(w, 2, ["a", "a", "b", "b"])
    with pytest.raises(ValueError, match="1 rows with none"):
        arm_shares(w, 2, ["a", "a", None, "a"])


def test_shares_come_back_from_a_file_and_stand_for_strata_that_were_not_seen():
    made = ArmShares.among(np.array([0, 1, 1, 0, 1]), 2, [1, 1, 1, 2, 2])
    again = ArmShares.from_json(json.loads(json.dumps(made.to_json())))

    np.testing.assert_array_equal(again.of(3, [2, 1, 9]), made.of(3, [2, 1, 9]))
    np.testing.assert_allclose(made.of(3, [2, 1, 9])[:, 1], [1 / 2, 2 / 3, 3 / 5])


def test_a_sample_looks_randomised_unless_features_predict_the_arm():
    rng = np.random.default_rng(0)
    x = rng.normal(size=2000)
    for slope, randomised in ((0.0, True), (0.5, False)):
        e = expit(slope * x)
        w = (rng.uniform(size=2000) < e).astype(int)
        shares = arm_shares(w, 2)

        found = compare_with_shares(w, np.column_stack([1 - e, e]), shares)

        assert found.looks_randomised is randomised
        by_hand = -np.log(np.where(w == 1, e, 1 - e)).mean()
        assert found.model == pytest.approx(by_hand)
        assert found.gain.estimate == pytest.approx(found.shares - found.model)


# Bounds


def rare_arm(n=4000, share=0.005, seed=0):
    rng = np.random.default_rng(seed)
    X, w = rng.normal(size=(n, 2)), np.zeros(n, int)
    w[rng.permutation(n)[: int(n * share)]] = 1
    return X, X[:, 0] + w + rng.normal(size=n), w


@pytest.mark.parametrize("clip", ["auto", 0.01, 0.2])
def test_known_propensities_are_never_clipped(clip):
    X, y, w = rare_arm()
    plain, clipped = (
        DRLearner(False, 2, *LINEAR, n_folds=2, clip=rule).fit(X, y, w, propensity=0.005)
        for rule in (0.0, clip)
    )

    for is_oos in (False, True):
        ours, bare = (m.average_effects(X, y, w, is_oos)[0] for m in (clipped, plain))
        assert ours == bare
    assert clipped.overlap(X, False).clipped == 0
    np.testing.assert_array_equal(clipped.predict(X, False), plain.predict(X, False))
    pairs = [
        RLearner(False, 2, *LINEAR, n_folds=2, clip=rule).fit(X, y, w, propensity=0.005)
        for rule in (0.0, clip)
    ]
    np.testing.assert_array_equal(pairs[0].predict(X, False), pairs[1].predict(X, False))


def test_estimated_propensities_are_kept_above_a_tenth_of_their_arms_share():
    shares = np.array([0.6, 0.3, 0.1])
    e = np.array([[0.05, 0.9, 0.05], [0.7, 0.295, 0.005], [0.2, 0.02, 0.78]])
    clip = Clip.of("auto", shares)

    found = clip.apply(e)

    np.testing.assert_allclose(found, [[0.06, 0.9, 0.05], [0.7, 0.295, 0.01], [0.2, 0.03, 0.78]])
    assert (found.sum(axis=1) > 1).all()  # not divided by their sum
    assert overlap(e, clip).clipped == 3
    low, high = clip.among(2)
    assert (low, high) == (pytest.approx(0.1 / 0.7 / 10), pytest.approx(1 - 0.6 / 0.7 / 10))


def test_a_learner_clips_by_the_shares_it_was_fitted_on():
    X, y, w = rare_arm()
    made = DRLearner(False, 2, *LINEAR, n_folds=2).fit(X, y, w)
    part = np.flatnonzero(w == 0)[:50]  # without the rare arm

    bound = made.bounds(known=False, shares=np.array([0.5, 0.5])).lower

    np.testing.assert_allclose(bound, [0.0995, 0.0005])
    assert made.overlap(X[part], True).clipped == 0


def test_weight_of_clipped_rows_is_the_larger_of_all_rows_and_of_the_arms_own():
    clip = Clip.of("auto", np.array([0.5, 0.5]))
    e = np.array([[0.99, 0.01], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5]])
    w = np.array([1, 1, 0, 0])

    assert weight_clipped(e, clip, w).tolist() == [0, pytest.approx(20 / 22)]  # 1 / .05 of 22
    assert weight_clipped(e, clip, 1 - w).tolist() == [0, 0.25]
    assert weight_clipped(e, clip, 1 - w, np.array([5.0, 1, 1, 1])).tolist() == [0, 5 / 8]


# Default models


@given(st.integers(0, 10**7), st.integers(2, 20), st.sampled_from(["outcome", "treatment"]))
def test_default_models_grow_with_rows_and_shrink_with_arms(n_rows, n_variants, role):
    made = lightgbm_params(role, n_rows, n_variants)
    more_rows = lightgbm_params(role, 2 * n_rows, n_variants)
    more_arms = lightgbm_params(role, n_rows, n_variants + 1)

    assert more_arms["num_leaves"] <= made["num_leaves"] <= more_rows["num_leaves"] <= 31
    assert made["min_child_samples"] <= more_rows["min_child_samples"]
    weaker = lightgbm_params("propensity", n_rows, n_variants)
    stronger = lightgbm_params("outcome", n_rows, n_variants)
    assert weaker["num_leaves"] <= stronger["num_leaves"]


def test_default_propensities_of_an_experiment_stay_near_the_share():
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(1000, 10)), np.arange(1000) % 2
    spread = {}
    for name, params in (("plain", {}), ("default", lightgbm_params("propensity", 1000, 2))):
        model = LGBMClassifier(**params, verbosity=-1, n_jobs=1).fit(X[:800], w[:800])
        spread[name] = model.predict_proba(X[800:])[:, 1].std()

    assert spread["default"] < 0.06
    assert spread["plain"] > 0.15


# In runs


def config(settings, **data):
    return parse_config({**settings, "data": {**settings["data"], **data}})


CONTRADICTIONS = {
    "strata and observational": ({"strata": "c", "design": "observational"}, "strata: expected"),
    "strata and probabilities": ({"strata": "c", "propensity": 0.5}, "propensity: expected"),
    "two designs": ({"design": "randomised", "propensity": 0.5}, "Keep one of the two"),
    "no design": ({"design": "random"}, "expected 'auto', 'randomised' or 'observational'"),
    "strata that are groups": ({"strata": "g", "group": "g"}, "in two roles, group and strata"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_contradictory_designs_are_refused(settings, case):
    data, message = case
    with pytest.raises(InputError, match=message):
        config(settings, **data)


def test_strata_need_each_arm_and_a_value_in_each_row(settings, frame):
    frame["s"] = np.where(frame.index < 30, "only treated", "both")
    frame.loc[frame.index < 30, "w"] = 1
    frame.to_parquet("data.parquet")
    with pytest.raises(InputError, match="a stratum, 'only treated', with none in arm 0"):
        load(config(settings, design="randomised", strata="s"))
    frame.loc[3, "s"] = None
    frame.to_parquet("data.parquet")
    with pytest.raises(InputError, match=r"data\.strata: expected a stratum in each row"):
        load(config(settings, design="randomised", strata="s"))


def test_a_declared_experiment_fits_no_propensities_and_scores_new_rows_by_stratum(
    run, settings, frame, tmp_path
):
    rng = np.random.default_rng(0)
    frame["s"] = rng.choice(["x", "y"], len(frame))
    frame.to_parquet("data.parquet")
    settings["learners"] = ["XLearner", "DRLearner"]
    settings["data"] |= {"design": "randomised", "strata": "s", "features": ["a", "b", "c"]}
    ran = run(settings)

    design = ran.summary["design"]
    assert design == {"design": "randomised", "strata": "s", "propensities": "shares"}
    assert ran.summary["overlap"]["rows_clipped"] == 0
    nuisances = ask_nuisances(load(parse_config(settings)))
    assert not any("propensity_model" in name for asked in nuisances.values() for name in asked)
    assert Bundle.load(ran.folder / "model").about["shares"]["strata"]

    score_file(ran.folder / "model", "data.parquet", tmp_path / "scores.parquet")
    scores = pd.read_parquet(tmp_path / "scores.parquet")
    held_out = ran.estimates["held_out"]
    column = "cate.XLearner.1"
    np.testing.assert_allclose(scores[column][held_out], ran.estimates[column][held_out])
    frame.assign(s="z").to_parquet("other.parquet")
    with pytest.warns(UserWarning, match="of strata that the model hasn't seen"):
        score_file(ran.folder / "model", "other.parquet", tmp_path / "scores.parquet")
    with pytest.raises(InputError, match=r"strata that the model has seen; .* rows are of strata"):
        score_file(ran.folder / "model", "other.parquet", tmp_path / "scores.parquet", strict=True)
    frame.drop(columns="s").to_parquet("other.parquet")
    with pytest.raises(InputError, match=r"strata columns \['s'\]"):
        score_file(ran.folder / "model", "other.parquet", tmp_path / "scores.parquet")


def test_auto_reports_how_features_predict_the_arm_and_switches_nothing(run, settings):
    ran = run(settings)

    design = ran.summary["design"]
    assert design["propensities"] == "estimated"
    assert design["looks_randomised"] == (design["gain"]["ci_low"] <= 0)
    gain = design["log_loss_of_shares"] - design["log_loss"]
    assert design["gain"]["estimate"] == pytest.approx(gain)
    text = (ran.folder / "report.html").read_text()
    assert ("declare it" in text) == design["looks_randomised"]


def test_default_models_are_written_into_the_config_of_the_run(run, settings):
    settings["models"] = {}
    settings["evaluation"] = {"holdout": 0.2, "bootstrap": 0}
    ran = run(settings)

    made = load_config(ran.folder / "config.yaml")
    rows = ran.summary["data"]["rows"] - ran.summary["data"]["rows_held_out"]
    for role in ("outcome", "propensity", "treatment"):
        assert getattr(made.models, role).params == lightgbm_params(role, rows, 2)
    assert run(parse_config(made.model_dump()).model_dump()).fits["executed"] == 0


def test_held_out_rows_are_judged_by_fits_that_no_learner_has(settings, frame):
    settings["learners"] = ["SLearner", "TLearner", "XLearner", "RLearner", "DRLearner"]
    study = load(parse_config(settings))
    store = MemoryStore()
    own = study.reference.nuisances(study.judging)
    judging = plan_stage(own, study.judging, store).units
    candidates = {
        unit
        for asked in ask_nuisances(study).values()
        for unit in plan_stage(asked, study.dataset, store).units
    }

    assert not set(judging) & candidates
    held_out = np.packbits(study.dataset.held_out)
    for unit in judging:  # they saw no row that a learner was fitted on
        assert not (store.get(unit.train) & ~held_out).any()


def test_a_hold_out_too_small_for_models_of_its_own_says_so(settings, frame):
    settings["evaluation"] = {"holdout": 0.05, "bootstrap": 0}
    study = load(parse_config(settings))

    assert study.judging is None
    assert any("too small for nuisance models of its own" in one for one in study.warnings)


def test_a_run_whose_clipped_rows_carry_an_arm_claims_no_effect(run, settings, frame):
    """A large effect where one feature tells the arm nearly: some rows stand for many."""
    rng = np.random.default_rng(0)
    frame["w"] = (frame["a"] + 0.4 * rng.normal(size=len(frame)) > 0).astype(int)
    frame["y"] += 5 * frame["w"]
    frame.to_parquet("data.parquet")
    settings["models"]["propensity"] = {"estimator": "sklearn.linear_model.LogisticRegression"}
    settings["data"]["design"] = "observational"
    ran = run(settings)

    (joint,) = ran.summary["ate_joint"]
    assert joint["ci_low"] > 0
    assert "probability was clipped" in joint["doubt"]
    assert not joint["claimed"]
    said = {one["question"]: one["sentence"] for one in ran.summary["verdict"]}
    assert "can't be judged: " + joint["doubt"] in said["heterogeneity"]
    assert "Whom to treat stays open: " + joint["doubt"] in said["target"]
    text = " ".join(html.unescape((ran.folder / "report.html").read_text()).split())
    first = text.partition("<h1")[2].partition("<h2")[0]
    assert "No average effect on y is claimed of arm 1" in first
    assert joint["doubt"] in first
    assert "Doubt first: clipped rows." in first
