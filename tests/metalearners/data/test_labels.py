"""Labels: rows of series are matched by theirs, and classes decide signs by their name."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, LogisticRegression

from flows.config.data import DataConfig
from flows.inputs.roles.columns import read_outcome
from metalearners import DRLearner, TLearner
from metalearners.bundle import Bundle
from metalearners.cross_fit_estimator import CrossFitEstimator
from metalearners.data.folds import draw_folds, draw_holdout
from metalearners.evaluation.average_effects import aipw_scores, difference_in_means
from metalearners.evaluation.balance import standardized_differences
from metalearners.evaluation.judging.calibration import calibration
from metalearners.evaluation.judging.curves import gain_curve
from metalearners.evaluation.means import mean_with_error, simultaneous_intervals
from metalearners.grid_search import MetaLearnerGridSearch
from metalearners.rlearner import r_loss
from metalearners.utils import simplify_output
from tests.simulate import draw, draw_classes

S = draw(200)
X = pd.DataFrame(S.X, columns=list("abcde"))
COLUMNS = {
    "y": pd.Series(S.y),
    "w": pd.Series(S.w),
    "ones": pd.Series(np.linspace(1, 2, 200)),
    "groups": pd.Series(np.arange(200) // 2),
    "half": pd.Series(np.full(200, 0.5)),
    "folds": pd.Series(np.arange(200) % 2),
    "mu": pd.DataFrame({0: S.y, 1: S.y}),
    "e": pd.DataFrame(np.full((200, 2), 0.5)),
}
BASES = (LinearRegression, LinearRegression, LogisticRegression)
FITTED = DRLearner(False, 2, *BASES, n_folds=2).fit(X, S.y, S.w)


def fit(c, **more):
    return DRLearner(False, 2, *BASES, n_folds=2).fit(X, c["y"], c["w"], **more)


def search(c):
    grid = {"variant_outcome_model": [LinearRegression]}
    made = MetaLearnerGridSearch(TLearner, {"is_classification": False, "n_variants": 2}, grid, {})
    return made.fit(X, c["y"], c["w"], sample_weight=c["ones"])


# Each entrance with the columns that it takes.
ENTRANCES = {
    "fit": ("y w", fit),
    "weights": ("ones", lambda c: fit(c, sample_weight=c["ones"])),
    "groups": ("groups", lambda c: fit(c, groups=c["groups"])),
    "propensity": ("half", lambda c: fit(c, propensity=c["half"])),
    "propensities": ("e", lambda c: fit(c, propensity=c["e"])),
    "folds": ("folds", lambda c: fit(c, cv=c["folds"])),
    "fit_params": (
        "ones",
        lambda c: TLearner(False, 2, LinearRegression, n_folds=2).fit(
            X, c["y"], c["w"], fit_params={"sample_weight": c["ones"]}
        ),
    ),
    "fit_params of a kind": (
        "ones",
        lambda c: TLearner(False, 2, LinearRegression, n_folds=2).fit(
            *(X, c["y"], c["w"]),
            fit_params={"nuisance": {"variant_outcome_model": {"sample_weight": c["ones"]}}},
        ),
    ),
    "grid search": ("y w ones", search),
    "predict": ("half", lambda c: FITTED.predict(X, True, propensity=c["half"])),
    "evaluate": ("y w", lambda c: FITTED.evaluate(X, c["y"], c["w"], False)),
    "average effect": (
        "y w ones groups",
        lambda c: FITTED.average_treatment_effect(
            X, c["y"], c["w"], False, sample_weight=c["ones"], groups=c["groups"]
        ),
    ),
    "one nuisance": (
        "y",
        lambda c: TLearner(False, 2, LinearRegression, n_folds=2).fit_nuisance(
            X, c["y"], "variant_outcome_model", 0
        ),
    ),
    "cross-fitting": (
        "y folds ones",
        lambda c: CrossFitEstimator(2, LinearRegression).fit(
            X, c["y"], {"sample_weight": c["ones"]}, cv=c["folds"]
        ),
    ),
    "score": (
        "y ones",
        lambda c: (
            CrossFitEstimator(2, LinearRegression)
            .fit(X, S.y)
            .score(X, c["y"], False, sample_weight=c["ones"])
        ),
    ),
    "mean": ("y ones groups", lambda c: mean_with_error(c["y"], c["ones"], c["groups"])),
    "joint": ("e ones", lambda c: simultaneous_intervals(c["e"] * X[["a"]].values, c["ones"])),
    "scores": ("y w mu e", lambda c: aipw_scores(c["y"], c["w"], c["mu"], c["e"])),
    "difference": ("y w ones", lambda c: difference_in_means(c["y"], c["w"], 1, c["ones"])),
    "gain": ("y ones half", lambda c: gain_curve(c["ones"], c["y"], c["half"])),
    "calibration": ("y ones", lambda c: calibration(c["ones"], c["y"])),
    "balance": ("w ones", lambda c: standardized_differences(X, c["w"], 2, c["ones"])),
    "R-loss": (
        "y w ones half",
        lambda c: r_loss(c["ones"], c["y"], c["half"], c["y"], c["w"], c["ones"]),
    ),
    "draw folds": ("w groups", lambda c: draw_folds(c["w"], 2, 0, c["groups"])),
    "draw hold-out": ("w groups", lambda c: draw_holdout(c["w"], 0.5, 0, c["groups"])),
}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_entrance_takes_a_series_of_other_labels_by_position(data):
    names, enter = ENTRANCES[data.draw(st.sampled_from(sorted(ENTRANCES)))]
    moved = data.draw(st.sampled_from(names.split()))
    column = COLUMNS[moved]
    if data.draw(st.booleans()):
        column = column.sample(frac=1, random_state=data.draw(st.integers(0, 9)))
    else:
        column = column.set_axis(column.index + 1000)

    with pytest.raises(ValueError, match=r"Expected the same index in .*Align them"):
        enter({**COLUMNS, moved: column})


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_series_of_the_same_labels_are_taken(entrance):
    ENTRANCES[entrance][1](COLUMNS)


# Classes that are texts

C = draw_classes(300)


@pytest.mark.parametrize(("no", "second"), [("a_no", "bought"), ("none", "none")])
def test_the_class_that_the_alphabet_chose_is_said_and_named(no, second):
    labels = np.where(C.y == 1, "bought", no)
    learner = TLearner(True, 2, LogisticRegression, n_folds=2)

    with pytest.warns(UserWarning, match=f"are effects on '{second}'"):
        learner.fit(C.X, labels, C.w)

    estimates = learner.predict(C.X, is_oos=True)
    named = Bundle.of(learner, C.X).predict(C.X)
    assert learner.classes_.tolist() == sorted(["bought", no])
    assert named.columns.tolist() == [f"cate.TLearner.1.{second}"]
    on_second = estimates[:, 0, learner.classes_.tolist().index(second)]
    np.testing.assert_array_equal(named.iloc[:, 0], on_second)
    np.testing.assert_array_equal(simplify_output(estimates), on_second)


def test_classes_0_and_1_need_no_name():
    learner = TLearner(True, 2, LogisticRegression, n_folds=2).fit(C.X, C.y, C.w)

    assert learner.classes_.tolist() == [0, 1]
    assert Bundle.of(learner, C.X).predict(C.X).columns.tolist() == ["cate.TLearner.1"]


def test_other_numbers_are_named():
    learner = TLearner(True, 2, LogisticRegression, n_folds=2)
    with pytest.warns(UserWarning, match="effects on 2"):
        learner.fit(C.X, C.y + 1, C.w)

    assert Bundle.of(learner, C.X).predict(C.X).columns.tolist() == ["cate.TLearner.1.2"]


# The same in a config

PAIRS = st.sampled_from(
    [("yes", "no"), ("a", "b"), (1, 2), (0, 1), (True, False), (0.5, 1.5), ("1", "0"), ("", "x")]
)


@settings(max_examples=40, deadline=None)
@given(PAIRS, st.booleans(), st.booleans(), st.lists(st.booleans(), min_size=2).filter(any))
def test_the_label_that_is_named_counts_as_1_whatever_the_order(pair, turned, category, rows):
    one, other = pair[::-1] if turned else pair
    told = np.array([*rows, False])
    column = pd.Series([one if row else other for row in told], name="y")
    column = column.astype("category") if category else column
    data = DataConfig(
        **{"source": "x", "outcome": "y", "treatment": "w", "control": 0},
        **{"outcome_type": "binary", "positive": one},
    )

    found = read_outcome(column, data)

    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, told)
