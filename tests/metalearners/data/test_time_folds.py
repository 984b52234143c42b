"""Folds that follow time: who learns from whom, who has no estimates, what averages leave out."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import KFold, TimeSeriesSplit

from metalearners import DRLearner, RLearner, TLearner, XLearner
from metalearners.data.folds import forward_chaining, hold_out_last
from metalearners.metalearner import PROPENSITY_MODEL, VARIANT_OUTCOME_MODEL
from tests.simulate import LEARNERS, draw, linear_learner, tree_learner

each_learner = pytest.mark.parametrize("learner", LEARNERS)
two_stages = pytest.mark.parametrize("learner", [XLearner, RLearner, DRLearner])
uncovered = pytest.mark.filterwarnings("ignore:.* rows are in no test of cv")
N = 300
BLOCKS = list(TimeSeriesSplit(4).split(np.zeros(N)))  # 60 rows each


def history(n=N, seed=0):
    """Rows in the order of time, which is their first feature too."""
    s = draw(n, seed=seed)
    s.X[:, 0] = np.arange(n) / n
    return s


class Chronicle:
    """Refuses to predict rows that aren't later than all it learnt from."""

    def fit(self, X, y, sample_weight=None):
        self.latest_ = X[:, 0].max()
        return super().fit(X, y, sample_weight)

    def check(self, X):
        assert X[:, 0].min() > self.latest_, "predicts rows no later than those it learnt from"

    def predict(self, X):
        self.check(X)
        return super().predict(X)


class ChronicleOfMeans(Chronicle, LinearRegression):
    """Of outcomes and effects."""


class ChronicleOfArms(Chronicle, LogisticRegression):
    """Of propensities."""

    def predict_proba(self, X):
        self.check(X)
        return super().predict_proba(X)


def chronicle(learner):
    return linear_learner(
        learner,
        nuisance_model_factory=ChronicleOfMeans,
        treatment_model_factory=ChronicleOfMeans,
        propensity_model_factory=ChronicleOfArms,
    )


# Who learns from whom


@uncovered
@each_learner
def test_no_base_model_of_either_stage_predicts_rows_before_those_it_learnt_from(learner):
    s = history()
    made = chronicle(learner).fit(s.X, s.y, s.w, cv=BLOCKS)

    later = s.X + 1
    assert np.isfinite(made.predict(s.X, False)[-180:]).all()
    assert np.isfinite(made.predict(later, True)).all()
    with pytest.raises(AssertionError, match="no later"):
        made.predict(s.X, True)


@each_learner
def test_other_folds_do_learn_from_later_rows(learner):
    s = history()
    with pytest.raises(AssertionError, match="no later"):
        chronicle(learner).fit(s.X, s.y, s.w, cv=list(KFold(4).split(s.X)))


@uncovered
@each_learner
def test_later_outcomes_change_no_earlier_estimate(learner):
    """Through neither stage: pseudo-outcomes are of models that learnt from earlier rows."""
    s = history()
    y = s.y.copy()
    y[180:] *= -3
    a, b = (linear_learner(learner).fit(s.X, one, s.w, cv=BLOCKS) for one in (s.y, y))

    before, after = (one.predict(s.X, False)[:, 0, 0] for one in (a, b))

    np.testing.assert_array_equal(before[:240], after[:240])  # rows 180 to 239 teach later ones
    assert np.abs(before[240:] - after[240:]).max() > 0.1


# Who has no estimates


@each_learner
def test_rows_of_the_first_block_are_counted_and_have_no_estimates(learner):
    s = history()
    with pytest.warns(UserWarning, match="^60 of 300 rows are in no test of cv"):
        made = linear_learner(learner).fit(s.X, s.y, s.w, cv=BLOCKS)

    # Treatment models of the second block had nothing to learn from: it is predicted by none.
    first = 60 if not learner.TREATMENT_KINDS else 120
    absent = np.isnan(made.predict(s.X, False)[:, 0, 0])
    np.testing.assert_array_equal(absent, np.arange(N) < first)
    assert np.isfinite(made.predict(s.X, True)).all()


@uncovered
@two_stages
def test_treatment_models_learn_from_rows_with_nuisances_alone(learner):
    """So outcomes of the first block reach them through nuisances, never as targets."""
    s = history()
    made = linear_learner(learner)
    d = made.dataset(s.X, s.y, s.w, cv=BLOCKS)
    fitted = made.fit(s.X, s.y, s.w, cv=BLOCKS)

    asked = made.treatments(d, fitted._out_of_fold(d))

    for regression in asked.values():
        own = np.flatnonzero(regression.rows)
        assert own.min() >= 60
        assert np.isfinite(regression.target[own]).all()
        assert regression.weight is None or np.isfinite(regression.weight[own]).all()


@uncovered
def test_models_for_new_rows_learn_from_all_rows_that_they_can():
    s = history()
    made = linear_learner(TLearner).fit(s.X, s.y, s.w, cv=BLOCKS)

    plain = linear_learner(TLearner).fit(s.X, s.y, s.w)

    np.testing.assert_array_equal(made.predict(s.X, True), plain.predict(s.X, True))


@uncovered
def test_overlap_is_that_of_rows_with_propensities():
    s = history()
    made = linear_learner(DRLearner, clip=0.3).fit(s.X, s.y, s.w, cv=BLOCKS)
    e = made.predict_nuisance(s.X, PROPENSITY_MODEL, 0, False)[60:]

    found = made.overlap(s.X, False)

    np.testing.assert_array_equal(found.smallest, e.min(axis=0))
    np.testing.assert_array_equal(found.largest, e.max(axis=0))
    assert found.clipped == (e < 0.3).any(axis=1).sum() > 0
    assert found.share == found.clipped / 240


@uncovered
@each_learner
def test_rows_without_estimates_are_left_out_of_scores(learner):
    s = history()
    made = linear_learner(learner).fit(s.X, s.y, s.w, cv=BLOCKS)

    found = made.evaluate(s.X, s.y, s.w, False)

    assert np.isfinite(list(found.values())).all()
    if learner is TLearner:
        own = (s.w == 1) & (np.arange(N) >= 60)
        error = s.y - made.predict_nuisance(s.X, VARIANT_OUTCOME_MODEL, 1, False)
        root = np.sqrt((error[own] ** 2).mean())
        label = f"{VARIANT_OUTCOME_MODEL}_1_neg_root_mean_squared_error"
        assert found[label] == pytest.approx(-root)


# Average effects


@uncovered
@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_average_effects_leave_the_first_block_out(clustered, weighted):
    """Groups recur in all blocks, as units of a panel do: they cluster the error."""
    s = history()
    weight = np.random.default_rng(3).uniform(0.5, 2, size=N)
    groups = np.arange(N) % 30
    made = linear_learner(DRLearner).fit(
        s.X, s.y, s.w, cv=BLOCKS, sample_weight=weight if weighted else None
    )
    e = made.predict_nuisance(s.X, PROPENSITY_MODEL, 0, False)[60:]
    e = np.maximum(e, np.bincount(s.w) / len(s.w) / 10)
    mu = [made.predict_nuisance(s.X, VARIANT_OUTCOME_MODEL, k, False)[60:] for k in (0, 1)]
    y, treated = s.y[60:], s.w[60:] == 1
    scores = mu[1] - mu[0] + treated / e[:, 1] * (y - mu[1]) - ~treated / e[:, 0] * (y - mu[0])
    v = weight[60:] if weighted else np.ones(240)

    with pytest.warns(UserWarning, match="^60 of 300 rows have no out-of-fold predictions"):
        (found,) = made.average_effects(
            s.X,
            s.y,
            s.w,
            False,
            sample_weight=weight if weighted else None,
            groups=groups if clustered else None,
        )

    mean = np.average(scores, weights=v)
    own = groups[60:] if clustered else np.arange(240)
    others = [own != one for one in np.unique(own)]
    left_out = np.array([np.average(scores[rows], weights=v[rows]) for rows in others])
    error = np.sqrt((1 - 1 / len(others)) * np.sum((left_out - mean) ** 2))
    assert found.effect.estimate == pytest.approx(mean, rel=1e-12)
    assert found.effect.std_error == pytest.approx(error, rel=1e-10)


# Folds as numbers


@each_learner
def test_folds_may_be_numbers_of_rows(learner):
    s = history()
    pairs = list(KFold(5, shuffle=True, random_state=0).split(s.X))
    numbers = np.empty(N, int)
    for k, (_, test) in enumerate(pairs):
        numbers[test] = k

    a, b = (
        linear_learner(learner).fit(s.X, s.y, s.w, cv=cv).predict(s.X, False)
        for cv in (pairs, numbers)
    )

    np.testing.assert_array_equal(a, b)


@each_learner
def test_rows_with_a_negative_fold_number_have_no_estimates(learner):
    s = history()
    numbers = np.arange(N) % 5
    numbers[:40] = -1
    with pytest.warns(UserWarning, match="^40 of 300 rows"):
        made = linear_learner(learner).fit(s.X, s.y, s.w, cv=numbers)

    absent = np.isnan(made.predict(s.X, False)[:, 0, 0])
    np.testing.assert_array_equal(absent, np.arange(N) < 40)


# Drawing them


times = st.lists(st.integers(min_value=0, max_value=12), min_size=8, max_size=80)


def open_cuts(time, groups):
    """Times before which a block may begin: no group has rows before and after."""
    times = np.unique(time)
    spans = [(time[groups == g].min(), time[groups == g].max()) for g in np.unique(groups)]
    return [t for t in times[1:] if not any(low < t <= high for low, high in spans)]


@given(times, st.integers(min_value=1, max_value=4), st.integers(min_value=0, max_value=99))
def test_forward_folds_split_no_group_and_follow_time_all_the_same(time, n_folds, seed):
    time = np.array(time)
    groups = time // 2 * 3 + np.random.default_rng(seed).integers(0, 3, size=len(time))
    groups[0] = groups[-1]  # one may span more
    cuts = open_cuts(time, groups)
    if len(cuts) < n_folds:
        with pytest.raises(ValueError, match=f"{len(cuts) + 1} different times, as all those that"):
            forward_chaining(time, n_folds, groups)
        return

    splits = forward_chaining(time, n_folds, pd.Series(groups).map(str))

    assert len(splits) == n_folds
    for train, test in splits:
        assert time[test].min() in cuts
        np.testing.assert_array_equal(train, np.flatnonzero(time < time[test].min()))
        assert not set(groups[train]) & set(groups[test])


@given(times, st.floats(min_value=0.01, max_value=0.99), st.booleans())
def test_held_out_rows_are_the_last_whole_points_nearest_to_the_share(time, share, grouped):
    time = np.array(time)
    groups = time // 3 if grouped else None
    cuts = open_cuts(time, np.arange(len(time)) if groups is None else groups)
    if not cuts:
        with pytest.raises(ValueError, match="Expected 2 different times or more"):
            hold_out_last(time, share, groups)
        return

    held_out = hold_out_last(time, share, groups)

    first = time[held_out].min()
    assert first in cuts
    np.testing.assert_array_equal(held_out, time >= first)
    gaps = [abs((time >= cut).mean() - share) for cut in cuts]
    assert abs(held_out.mean() - share) <= min(gaps) + 1e-9
    order = np.random.default_rng(0).permutation(len(time))
    shuffled = hold_out_last(time[order], share, None if groups is None else groups[order])
    np.testing.assert_array_equal(shuffled, held_out[order])


@pytest.mark.parametrize("share", [0, 1, -0.1, np.nan])
def test_a_share_to_hold_out_in_time_is_between_0_and_1(share):
    with pytest.raises(ValueError, match="Expected a share to hold out between 0 and 1; found"):
        hold_out_last(range(10), share)


@given(times, st.integers(min_value=1, max_value=6))
def test_forward_folds_train_on_all_earlier_rows_and_split_no_time_point(time, n_folds):
    time = np.array(time)
    if len(np.unique(time)) <= n_folds:
        with pytest.raises(ValueError, match="more different times than folds"):
            forward_chaining(time, n_folds)
        return

    splits = forward_chaining(time, n_folds)

    assert len(splits) == n_folds
    for train, test in splits:
        assert len(train) > 0
        assert len(test) > 0
        assert time[train].max() < time[test].min()
        earlier = np.flatnonzero(time < time[test].min())
        np.testing.assert_array_equal(train, earlier)  # all that was known by then
    tested = np.concatenate([test for _, test in splits])
    np.testing.assert_array_equal(np.sort(np.append(splits[0][0], tested)), np.arange(len(time)))


@pytest.mark.parametrize("n_folds", [1, 3, 4])
def test_forward_folds_of_different_times_are_of_equal_size(n_folds):
    time = np.random.default_rng(0).permutation(120)
    splits = forward_chaining(time, n_folds)

    assert {len(test) for _, test in splits} == {120 // (n_folds + 1)}
    assert len(splits[0][0]) == 120 // (n_folds + 1)


def test_forward_folds_of_rows_in_order_are_scikit_learn_s():
    for found, expected in zip(forward_chaining(range(N), 4), BLOCKS, strict=True):
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])


def test_one_heavy_time_point_leaves_no_block_empty():
    time = np.concatenate([np.zeros(90), [1, 2, 3]])

    assert [len(test) for _, test in forward_chaining(time, 3)] == [1, 1, 1]
    assert [len(test) for _, test in forward_chaining(-time, 3)] == [1, 1, 90]


def test_forward_folds_of_dates_and_of_texts_are_those_of_their_order():
    days = np.random.default_rng(0).integers(0, 30, size=100)
    dates = pd.Timestamp("2024-02-15") + pd.to_timedelta(days, unit="D")
    expected = forward_chaining(days, 3)

    for time in (dates, pd.Series(dates, index=days), dates.strftime("%Y-%m-%d"), days.tolist()):
        for (train, test), (a, b) in zip(forward_chaining(time, 3), expected, strict=True):
            np.testing.assert_array_equal(train, a)
            np.testing.assert_array_equal(test, b)


@pytest.mark.parametrize("absent", [np.nan, None, pd.NaT])
def test_rows_without_a_time_are_refused(absent):
    time = pd.Series([1, 2, 3, 4], dtype=object if absent is not pd.NaT else "datetime64[ns]")
    time[2] = absent
    with pytest.raises(ValueError, match="found 1 rows without a time of 4"):
        forward_chaining(time, 2)


@pytest.mark.parametrize("n_folds", [0, -1])
def test_forward_folds_are_one_or_more(n_folds):
    with pytest.raises(ValueError, match="more different times than folds"):
        forward_chaining(range(10), n_folds)


@uncovered
def test_learners_take_forward_folds_of_tied_times():
    s = draw(400)
    day = np.random.default_rng(1).integers(0, 20, size=400)
    splits = forward_chaining(day, 4)
    s.X[:, 0] = day

    made = chronicle(DRLearner).fit(s.X, s.y, s.w, cv=splits)

    absent = np.isnan(made.predict_nuisance(s.X, VARIANT_OUTCOME_MODEL, 0, False))
    np.testing.assert_array_equal(np.flatnonzero(absent), splits[0][0])


@uncovered
@two_stages
def test_a_drift_of_the_effect_is_followed_by_trees_on_earlier_rows(learner):
    """The effect turns after two thirds: estimates of later rows turn too, after a block."""
    s = draw(3000, noise=0.1)
    turned = np.arange(3000) >= 2000
    y = s.y - s.w * s.tau[:, 0] + s.w * np.where(turned, -4, 4)
    made = tree_learner(learner).fit(s.X, y, s.w, cv=forward_chaining(range(3000), 5))

    found = made.predict(s.X, False)[:, 0, 0]

    assert found[1000:2000].mean() == pytest.approx(4, abs=0.6)
    assert found[2000:2500].mean() == pytest.approx(4, abs=0.6)  # nobody could know
    assert found[2500:].mean() < 3.4


def months(seed, n_days=80):
    """A trend that trees learn day by day: a random walk of the outcome, an effect of 1 + x / 2."""
    rng = np.random.default_rng(seed)
    day = rng.permutation(np.repeat(np.arange(n_days), 10))
    X = np.column_stack([day, rng.normal(size=len(day))])
    w = rng.integers(0, 2, size=len(day))
    walk = rng.normal(size=n_days).cumsum()[day]
    return X, walk + X[:, 1] + w * (1 + X[:, 1] / 2) + rng.normal(size=len(day)), w


def error_of(made, X, y, rows, is_oos):
    """Root mean squared error of the control's outcome model."""
    predicted = made.predict_nuisance(X, VARIANT_OUTCOME_MODEL, 0, is_oos)
    return np.sqrt(np.nanmean((y - predicted)[rows] ** 2))


@pytest.mark.slow
@uncovered
def test_shuffled_folds_are_optimistic_under_a_trend_and_folds_in_time_are_not():
    """Shuffled folds know the days around: their error is far below that of the days to come."""
    found = []
    for seed in range(20):
        X, y, w = months(seed)
        later = hold_out_last(X[:, 0], 0.2)
        own = X[~later], y[~later], w[~later]
        made = [
            tree_learner(TLearner).fit(*own, cv=cv)
            for cv in (None, forward_chaining(own[0][:, 0], 5))
        ]
        past = [error_of(one, *own[:2], own[2] == 0, False) for one in made]
        found.append([*past, error_of(made[0], X[later], y[later], w[later] == 0, True)])

    shuffled, chained, later = np.mean(found, axis=0)
    assert shuffled < 0.7 * later
    assert chained == pytest.approx(later, rel=0.25)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* rows ")
def test_intervals_of_the_average_effect_cover_under_a_trend():
    """Of an experiment: outcome models of the past miss the trend, and its propensities don't."""
    covered = []
    for seed in range(300):
        X, y, w = months(seed)
        facts = {"propensity": 0.5, "cv": forward_chaining(X[:, 0], 5)}
        made = linear_learner(DRLearner).fit_all_nuisance(X, y, w, **facts)
        (found,) = made.average_effects(X, y, w, False)
        low, high = found.effect.ci_low, found.effect.ci_high
        covered.append(low <= 1 <= high)

    assert 0.92 <= np.mean(covered) <= 0.98
