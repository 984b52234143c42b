"""Figures of a run beside the average effect, against models that are fitted here by hand."""

from unittest.mock import ANY

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.naive_bayes import GaussianNB

from flows.config.reading import parse_config
from flows.runs import loading
from metalearners.evaluation import (
    DEFINITIONS,
    aipw_scores,
    blp,
    dr_loss,
    gates,
    holm,
    qini_by_definition,
    r_loss,
    segment_effects,
    segment_tests,
    sensitivity,
    target_effects,
    trimming,
    weighted_balance,
)

FEATURES = list("abc")
CLOSE = {"rel": 1e-6, "abs": 1e-9}


@pytest.fixture
def given(settings):
    """A config of three confounded arms, with weights, clusters and columns beside the features."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(900, 3)), columns=FEATURES)
    odds = np.exp(np.column_stack([0 * frame["a"], 0.5 * frame["a"], -0.5 * frame["b"]]))
    draws = rng.random(900) > (odds / odds.sum(axis=1, keepdims=True)).cumsum(axis=1).T
    frame["w"] = np.array(["none", "mail", "call"])[draws.sum(axis=0)]
    frame["y"] = frame["a"] + (frame["w"] != "none") * (1 + frame["b"]) + rng.normal(size=900)
    frame["v"] = rng.uniform(0.5, 2, 900)
    frame["g"] = np.arange(900) // 3
    frame["city"] = rng.choice(["Rome", "Oslo", None], 900)
    frame["age"] = rng.integers(18, 80, 900).astype(float)
    frame.loc[7, "age"] = np.nan
    frame.to_parquet("data.parquet")
    settings["data"] |= {"control": "none", "features": FEATURES, "weight": "v", "group": "g"}
    settings["models"] = {
        "outcome": {"estimator": "sklearn.linear_model.LinearRegression"},
        "propensity": {"estimator": "sklearn.naive_bayes.GaussianNB"},
        "treatment": {"estimator": "sklearn.linear_model.LinearRegression"},
    }
    settings["segments"] = {"old": "age > 50", "city": "city"}
    return settings


def nuisances(study, d):
    """Expected outcomes and propensities of rows, by models of the others or of training rows."""
    X, k = d.X.to_numpy(), d.n_variants
    mu, e = np.full((len(d), k), np.nan), np.full((len(d), k), np.nan)
    served = (np.flatnonzero(d.train), np.flatnonzero(~d.train))
    for train, test in [served, *d.splits(study.config.folds.n_folds)]:
        v = np.ones(len(d)) if d.weight is None else d.weight
        e[test] = GaussianNB().fit(X[train], d.w[train], v[train]).predict_proba(X[test])
        for arm in range(k):
            own = train[d.w[train] == arm]
            mu[test, arm] = LinearRegression().fit(X[own], d.y[own], v[own]).predict(X[test])
    return mu, e


def told(found):
    """An estimate as `summary.json` has it."""
    names = ("estimate", "std_error", "ci_low", "ci_high")
    return {name: pytest.approx(getattr(found, name), **CLOSE) for name in names}


def some(entry, names):
    return {name: entry[name] for name in names}


def test_averages_are_those_of_the_library(run, given):
    found = run(given).summary
    study = loading.load(parse_config(given))
    d, arms = study.dataset, study.arms
    mu, e = nuisances(study, d)
    rows = (d.y, d.w, mu, e, d.weight, d.groups)

    expected = [
        {"arm": arm, "target": target, **told(one.effect)}
        for target in ("treated", "overlap")
        for arm, one in zip(arms[1:], target_effects(*rows, target=target), strict=True)
    ]
    assert found["averages"] == expected
    assert [{"arm": one["arm"], **told_of(one)} for one in found["ate"]] == [
        {"arm": arm, **told(one.effect)}
        for arm, one in zip(arms[1:], target_effects(*rows), strict=True)
    ]

    for k, one in enumerate(found["sensitivity"], start=1):
        own = sensitivity(*rows, arm=k)
        assert one["arm"] == arms[k]
        assert one["robustness_value"] == pytest.approx(own.robustness, **CLOSE)
        assert one["robustness_value_significant"] == pytest.approx(own.robustness_ci, **CLOSE)
        assert one["scale"] == pytest.approx(own.scale, **CLOSE)
        assert one["bounds"] == pytest.approx(vars(own.bounds), **CLOSE)
        assert one["confounder"] == {"cf_y": 0.03, "cf_d": 0.03, "rho": 1.0}

    own = weighted_balance(d.X, d.w, e, d.weight, d.groups)
    weighting = found["weighting"]
    for name in ("before", "after"):
        values = [one[name] for one in weighting["balance"]]
        assert values == pytest.approx(getattr(own, name).ravel(), **CLOSE)
        values = [one[name] for one in weighting["effective_rows"]]
        assert values == pytest.approx(getattr(own, f"effective_{name}"), **CLOSE)
    named = [(one["feature"], one["arm"]) for one in weighting["balance"]]
    assert named == [(name, arm) for name in FEATURES for arm in arms[1:]]
    assert [one["arm"] for one in weighting["effective_rows"]] == arms
    assert weighting["trimming"] == pytest.approx(vars(trimming(e, d.weight)), **CLOSE)


def told_of(entry):
    return some(entry, ("estimate", "std_error", "ci_low", "ci_high"))


@pytest.mark.slow
def test_segments_are_of_the_same_scores_and_move_nothing_else(run, given):
    given["segments"]["seventh"] = "age == 18 and age > 19"  # no row
    pd.read_parquet("data.parquet").assign(one=np.arange(900) == 5).to_parquet("data.parquet")
    given["segments"]["alone"] = "one"
    ran = run(given)
    study = loading.load(parse_config(given))
    d, table = study.dataset, pd.read_parquet("data.parquet")
    labels = {
        "old": np.where(table["age"].isna(), None, table["age"] > 50),
        "city": table["city"].to_numpy(),
        "seventh": np.where(table["age"].isna(), None, False),
        "alone": table["one"].to_numpy(),
    }
    scores = aipw_scores(d.y, d.w, *nuisances(study, d))
    expected = segment_effects(scores, labels, d.w, d.weight, d.groups)

    assert len(ran.summary["segments"]) == len(expected) == 2 * (3 + 3 + 2 + 2)
    for one, own in zip(ran.summary["segments"], expected, strict=True):
        about = {"segment": own.segment, "level": own.level, "arm": study.arms[own.arm]}
        assert some(one, ("segment", "level", "arm", "rows")) == {**about, "rows": own.rows}
        if own.effect is None:
            assert {*told_of(one).values(), one["joint_low"], one["joint_high"]} == {None}
        else:
            assert told_of(one) == told(own.effect)
            assert (one["joint_low"], one["joint_high"]) == pytest.approx(own.joint, **CLOSE)
    assert ran.summary["segment_tests"] == [
        {
            "segment": own.segment,
            "arm": study.arms[own.arm],
            "levels": own.levels,
            "p_value": own.p_value and pytest.approx(own.p_value, **CLOSE),
            "p_value_adjusted": own.p_adjusted and pytest.approx(own.p_adjusted, **CLOSE),
        }
        for own in segment_tests(scores, labels, d.w, d.weight, d.groups)
    ]
    assert [one["levels"] for one in ran.summary["segment_tests"][::2]] == [2, 3, 1, 1]
    absent = {(one["segment"], one["level"]) for one in ran.summary["segments"] if one["rows"] < 3}
    assert absent == {("old", None), ("seventh", None), ("alone", True)}

    del given["segments"]
    without = run(given)
    assert without.summary["segments"] == without.summary["segment_tests"] == []
    assert (without.fits["executed"], without.fits["unique"]) == (0, ran.fits["unique"])
    same = ("data", "ate", "averages", "weighting", "sensitivity", "learners", "overlap")
    assert some(without.summary, same) == some(ran.summary, same)


def test_learners_are_judged_by_the_library_on_held_out_rows(run, given):
    given["evaluation"] = {"holdout": 0.4, "bootstrap": 50, "definition": "radcliffe"}
    ran = run(given)
    study = loading.load(parse_config(given))
    d, rows = study.judging, study.judged
    assert rows.sum() == ran.summary["learners"]["DRLearner"]["evaluation"]["rows"]
    mu, e = (one[rows] for one in nuisances(study, d))
    y, w, weight, groups = d.y[rows], d.w[rows], d.weight[rows], d.groups[rows]
    scores = aipw_scores(y, w, mu, e)

    for k, arm in enumerate(ran.summary["learners"]["DRLearner"]["evaluation"]["arms"], start=1):
        cate = ran.estimates[f"cate.DRLearner.{study.arms[k]}"].to_numpy()[rows]
        given_of = (cate, scores[:, k] - scores[:, 0], weight, groups)
        line, sorted_ = blp(*given_of, arms=w), gates(*given_of, arms=w, draws=50)

        assert arm["blp"] == {
            "slope": told(line.slope),
            "mean": told(line.mean),
            "p_value": pytest.approx(line.p_value, **CLOSE),
            "p_calibrated": pytest.approx(line.p_calibrated, **CLOSE),
            "p_value_adjusted": ANY,
            "p_calibrated_adjusted": ANY,
        }
        assert arm["gates"] == {
            "difference": told(sorted_.difference),
            "p_value": pytest.approx(sorted_.p_value, **CLOSE),
            "p_greater": pytest.approx(sorted_.p_greater, **CLOSE),
            "p_monotone": pytest.approx(sorted_.p_monotone, **CLOSE),
            "p_value_adjusted": ANY,
            "p_greater_adjusted": ANY,
            "p_monotone_adjusted": ANY,
        }
        assert arm["groups"] == [
            {"predicted": pytest.approx(g.predicted), "actual": told(g.actual), "rows": g.rows}
            for g in sorted_.groups
        ]
        assert arm["dr_loss"] == told(dr_loss(*given_of, arms=w))
        assert arm["r_loss"] == told(r_loss(cate, y, w, mu, e, k, weight, groups))
        assert arm["definition"]["qini"] is None
        assert "weights" in arm["definition"]["reason"]

    arms = ran.summary["learners"]["DRLearner"]["evaluation"]["arms"]
    tests = {"gates": ("p_value", "p_greater", "p_monotone"), "blp": ("p_value", "p_calibrated")}
    for figure, names in tests.items():
        table = pd.read_parquet(ran.folder / "tables" / f"{figure}.parquet")
        for name in names:
            own = [arm[figure][f"{name}_adjusted"] for arm in arms]
            assert own == pytest.approx(holm([arm[figure][name] for arm in arms]))
            assert table[f"{name}_adjusted"].tolist() == own


@pytest.mark.parametrize("name", DEFINITIONS)
def test_another_definition_has_its_own_number_or_says_why_not(run, given, name):
    del given["data"]["weight"]
    given["evaluation"] |= {"definition": name}
    ran = run(given)
    study = loading.load(parse_config(given))
    needs_classes = name in ("sklift", "pylift_q1")

    for k, arm in enumerate(ran.summary["learners"]["DRLearner"]["evaluation"]["arms"], start=1):
        rows = study.judged & np.isin(study.w, (0, k))
        cate = ran.estimates[f"cate.DRLearner.{study.arms[k]}"].to_numpy()[rows]
        if needs_classes:
            assert (arm["definition"]["name"], arm["definition"]["qini"]) == (name, None)
            assert "0" in arm["definition"]["reason"]
        else:
            expected = qini_by_definition(name, cate, study.y[rows], study.w[rows] == k)
            assert arm["definition"] == {"name": name, "qini": pytest.approx(expected)}


def test_a_declared_design_has_no_hidden_confounding_and_nothing_to_weigh(run, given):
    given["data"] |= {"design": "randomised"}
    given["evaluation"]["bootstrap"] = 0
    found = run(given).summary

    assert "chance drew the arms" in found["sensitivity"]["absent"]
    assert "weighting by them changes nothing" in found["weighting"]["absent"]
    assert len(found["averages"]) == 4
    (mail, _) = found["learners"]["DRLearner"]["evaluation"]["arms"]
    assert mail["gates"]["p_monotone"] is None
    assert "definition" not in mail


def test_segments_and_averages_leave_rows_out_that_no_fold_predicts(run, given):
    frame = pd.read_parquet("data.parquet").assign(t=np.arange(900) // 3)
    frame.to_parquet("data.parquet")
    given["data"] |= {"time": "t"}
    found = run(given).summary

    first = found["data"]["rows_before_first_fold"]
    counts = [one["rows"] for one in found["segments"] if one["segment"] == "city"]
    assert 0 < first == 900 - sum(counts) // 2
    cities = frame["city"][first:].value_counts(dropna=False)
    assert counts[::2] == [cities["Oslo"], cities["Rome"], frame["city"][first:].isna().sum()]
