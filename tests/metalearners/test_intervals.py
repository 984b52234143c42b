"""Intervals of CATE estimates: against errors in closed form, and what halves are made of."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joblib import Parallel, delayed
from sklearn.base import clone

from metalearners import DRLearner, SLearner, TLearner, XLearner
from metalearners.bundle import Bundle, BundleError
from metalearners.data.folds import draw_half
from metalearners.fits.store import MemoryStore
from metalearners.intervals import cate_intervals, half_sample, refits, refitted
from tests.simulate import (
    LEARNERS,
    draw,
    draw_classes,
    linear_learner,
    three_outcomes,
    three_propensities,
    tree_learner,
)

NEW = draw(40, seed=99)


def linear_t(**more):
    """Of overall models alone, so cheap."""
    return linear_learner(TLearner, n_folds=1, **more)


def sandwich(s, new, groups=None, weight=None):
    """Errors of a linear T-learner's effects, by rows or clusters: White's, arms apart.

    Clusters may have rows in both arms.
    """
    v = np.ones(len(s.y)) if weight is None else weight
    at, own = np.column_stack([np.ones(len(new)), new]), np.arange(len(s.y))
    influence = np.zeros((len(s.y), len(new)))
    for arm, sign in ((0, -1), (1, 1)):
        rows = own[s.w == arm]
        Z = np.column_stack([np.ones(len(rows)), s.X[rows]])
        bread = np.linalg.inv(Z.T @ (v[rows, None] * Z))
        residual = s.y[rows] - Z @ (bread @ Z.T @ (v[rows] * s.y[rows]))
        influence[rows] = sign * ((v[rows] * residual)[:, None] * Z) @ bread @ at.T
    clusters = own if groups is None else np.unique(groups, return_inverse=True)[1]
    sums = np.zeros((clusters.max() + 1, len(new)))
    np.add.at(sums, clusters, influence)
    return np.sqrt((sums**2).sum(axis=0))


# Errors against closed forms


def test_errors_of_a_linear_t_learner_are_those_of_least_squares():
    """sqrt(x'(Z1'Z1)^-1 x + x'(Z0'Z0)^-1 x), the noise having variance 1."""
    s = draw(1000)
    found = cate_intervals(linear_t(), NEW.X, s.X, s.y, s.w, draws=200)

    at = np.column_stack([np.ones(40), NEW.X])
    variance = np.zeros(40)
    for arm in (0, 1):
        Z = np.column_stack([np.ones((s.w == arm).sum()), s.X[s.w == arm]])
        variance += np.einsum("ij,jk,ik->i", at, np.linalg.inv(Z.T @ Z), at)
    ratio = found.std_error[:, 0, 0] / np.sqrt(variance)
    assert abs(ratio.mean() - 1) < 0.08
    assert np.abs(ratio - 1).max() < 0.3
    assert abs(sandwich(s, NEW.X) / np.sqrt(variance) - 1).max() < 0.15


def clustered(sizes, seed=0):
    """Clusters of these sizes that share much of their outcome, treated as a whole."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    s = draw(len(groups), seed=seed)
    shared = 2 * np.random.default_rng(seed + 1).normal(size=len(sizes))[groups]
    w = (np.random.default_rng(seed + 2).permutation(len(sizes)) % 2)[groups]
    s.y[:] = s.mu[np.arange(len(w)), w] + shared + np.random.default_rng(3).normal(size=len(w))
    s.w[:] = w
    return s, groups


SIZES = {"one size": np.full(120, 8), "a size of its own each": np.arange(5, 85)}


@pytest.mark.parametrize("sizes", SIZES)
def test_errors_with_groups_are_clustered_ones(sizes):
    """Also where sizes leave no two groups alike: each draw takes another half all the same."""
    s, groups = clustered(SIZES[sizes])
    at = NEW.X * 0.5  # not far out, where few clusters decide
    found, ignoring = (
        cate_intervals(linear_t(), at, s.X, s.y, s.w, draws=200, groups=g) for g in (groups, None)
    )

    ratio = found.std_error[:, 0, 0] / sandwich(s, at, groups)
    assert abs(ratio.mean() - 1) < 0.15
    assert ignoring.std_error.mean() < 0.8 * found.std_error.mean()


def test_errors_with_weights_are_those_of_weighted_rows():
    s = draw(1000)
    weight = np.random.default_rng(5).exponential(size=1000)
    found, plain = (
        cate_intervals(linear_t(), NEW.X, s.X, s.y, s.w, draws=200, sample_weight=v)
        for v in (weight, None)
    )

    ratio = found.std_error[:, 0, 0] / sandwich(s, NEW.X, weight=weight)
    assert abs(ratio.mean() - 1) < 0.1
    assert found.std_error.mean() > 1.2 * plain.std_error.mean()


@pytest.mark.slow
def test_errors_of_a_dr_learner_are_the_spread_of_its_estimates():
    """Over samples, at points where the effect isn't extrapolated; with a penalty on propensities.

    Without one, half of the rows are too few: ratios of single samples lie between 1 and 2.8.
    """
    at = NEW.X[:10] * 0.5
    made = linear_learner(DRLearner, n_folds=2, propensity_model_params={"C": 0.1})
    spread = np.std(
        [made.fit(s.X, s.y, s.w).predict(at, True) for s in (draw(500, seed=k) for k in range(60))],
        axis=0,
    )
    errors = [
        cate_intervals(made, at, s.X, s.y, s.w, draws=20).std_error
        for s in (draw(500, seed=k) for k in range(3))
    ]

    assert np.mean(errors) / spread.mean() == pytest.approx(1.1, abs=0.25)


# What is made of the errors


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_intervals_are_normal_ones_around_the_learner_s_estimates(level):
    s = draw(300)
    made = linear_learner(XLearner)
    found = cate_intervals(made, NEW.X, s.X, s.y, s.w, draws=3, level=level)

    np.testing.assert_array_equal(found.estimate, made.fit(s.X, s.y, s.w).predict(NEW.X, True))
    half = {0.8: 1.2815515655, 0.95: 1.9599639845}[level] * found.std_error
    np.testing.assert_allclose(found.low, found.estimate - half)
    np.testing.assert_allclose(found.high, found.estimate + half)
    assert (found.std_error > 0).all()


def test_several_arms_and_classes_have_the_shapes_of_predictions():
    s = draw(300, three_outcomes, three_propensities)
    arms = cate_intervals(linear_t(n_variants=3), NEW.X, s.X, s.y, s.w, draws=2)
    assert arms.std_error.shape == arms.low.shape == (40, 2, 1)

    c = draw_classes(400)
    both = cate_intervals(
        linear_learner(DRLearner, classes=True, n_folds=2), c.X[:7], c.X, c.y, c.w, draws=2
    )
    assert both.std_error.shape == (7, 1, 2)
    np.testing.assert_allclose(both.std_error[:, :, 0], both.std_error[:, :, 1])


def test_known_propensities_of_new_rows_enter():
    s = draw(300)
    made = linear_learner(XLearner, n_folds=2)
    found = cate_intervals(
        made, NEW.X, s.X, s.y, s.w, draws=2, propensity=s.e, propensity_new=NEW.e
    )

    fitted = made.fit(s.X, s.y, s.w, propensity=s.e)
    expected = fitted.predict(NEW.X, True, propensity=NEW.e)
    np.testing.assert_array_equal(found.estimate, expected)


@pytest.mark.filterwarnings("ignore:.* rows are in no test of cv")
def test_given_folds_are_kept_in_halves():
    s = draw(400)
    early = np.arange(400) // 100
    cv = [(np.flatnonzero(early < k), np.flatnonzero(early == k)) for k in (1, 2, 3)]
    made = linear_learner(DRLearner)
    found = cate_intervals(made, NEW.X, s.X, s.y, s.w, draws=3, cv=cv)

    expected = made.fit(s.X, s.y, s.w, cv=cv).predict(NEW.X, True)
    np.testing.assert_array_equal(found.estimate, expected)
    assert np.isfinite(found.std_error).all()


# The same again


@pytest.mark.parametrize("learner", LEARNERS)
def test_same_seed_same_bits_whatever_the_number_of_workers(learner):
    s = draw(200)
    made = tree_learner(learner, n_folds=2, random_state=4)
    found = [cate_intervals(made, NEW.X, s.X, s.y, s.w, draws=2, n_jobs=n) for n in (None, None, 2)]

    for one in found[1:]:
        for name in ("estimate", "std_error", "low", "high"):
            np.testing.assert_array_equal(getattr(one, name), getattr(found[0], name))
    other = cate_intervals(made.set_params(random_state=5), NEW.X, s.X, s.y, s.w, draws=2)
    assert np.abs(other.std_error - found[0].std_error).max() > 0


def test_the_learner_stays_as_it_was():
    s, other = draw(300), draw(300, seed=1)
    made = linear_learner(SLearner, interactions=True).fit(s.X, s.y, s.w)
    before, params = made.predict(NEW.X, True), str(made.get_params())

    cate_intervals(made, NEW.X, other.X, other.y, other.w, draws=2)

    np.testing.assert_array_equal(made.predict(NEW.X, True), before)
    assert str(made.get_params()) == params
    unfitted = linear_t()
    cate_intervals(unfitted, NEW.X, s.X, s.y, s.w, draws=2)
    with pytest.raises(ValueError, match="call fit first"):
        unfitted.predict(NEW.X, True)


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_refit_is_the_learner_on_a_half_with_fewer_fits(learner):
    s, stores = draw(200), [MemoryStore(), MemoryStore()]
    made = tree_learner(learner, n_folds=2)
    job = clone(made).job(s.X, s.y, s.w, None, False, (None,))
    lean = refitted(made, replace(job, store=stores[0]), 3)
    whole = clone(made).run(replace(job, d=half_sample(job.d, 3), store=stores[1]))

    np.testing.assert_array_equal(lean.predict(NEW.X, True), whole.predict(NEW.X, True))
    served = sum(made.cardinality(kind) for kind in made.SERVED)
    in_folds = 2 * len(made.nuisances(job.d)) if made.TREATMENT_KINDS else 0
    assert len(stores[0]._fits) == served + in_folds < len(stores[1]._fits)


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_bundle_with_refits_gives_these_intervals(learner, tmp_path):
    s = draw(200)
    made = tree_learner(learner, n_folds=2)
    wanted = cate_intervals(made, NEW.X, s.X, s.y, s.w, draws=3, level=0.8)
    again = refits(made, s.X, s.y, s.w, draws=3)
    Bundle.of(made.fit(s.X, s.y, s.w), s.X, again).save(tmp_path)
    stored = Bundle.load(tmp_path, refits=True)

    found = stored.predict(NEW.X, level=0.8)
    for end in ("low", "high"):
        own = found[f"{end}.{learner.__name__}.1"]
        np.testing.assert_array_equal(own, getattr(wanted, end)[:, 0, 0])
    assert not [c for c in stored.predict(NEW.X) if c.startswith(("low", "high"))]
    with pytest.raises(BundleError, match="Expected a model with refits"):
        Bundle.load(tmp_path).predict(NEW.X, level=0.8)
    with pytest.raises(ValueError, match="level between 0 and 1"):
        stored.predict(NEW.X, level=95)


@pytest.mark.parametrize("wrong", ["another learner's", "one", "none", "others", "other arms'"])
def test_refits_that_are_not_the_learner_s_are_refused(wrong):
    s, arms = draw(200), draw(200, three_outcomes, three_propensities)
    made = linear_learner(TLearner, n_folds=2).fit(s.X, s.y, s.w)
    own = refits(made, s.X, s.y, s.w, draws=2)
    found = {
        "another learner's": refits(linear_learner(SLearner), s.X, s.y, s.w, draws=2),
        "one": own[:1],
        "none": [],
        "others": (one for one in own),
        "other arms'": refits(linear_t(n_variants=3), arms.X, arms.y, arms.w, draws=2),
    }[wrong]
    with pytest.raises(BundleError, match="Expected refits as a list of two or more"):
        Bundle.of(made, s.X, found)


def test_intervals_of_a_level_near_1_are_finite():
    s = draw(200)
    found = cate_intervals(linear_t(), NEW.X, s.X, s.y, s.w, draws=2, level=np.nextafter(1, 0))
    assert np.isfinite(found.high).all()


def test_a_store_keeps_what_it_had_and_gives_it_back():
    s, store = draw(300), MemoryStore()
    made = linear_learner(TLearner, n_folds=2).fit(s.X, s.y, s.w, store=store)
    kept = set(store._fits)

    found = cate_intervals(made, NEW.X, s.X, s.y, s.w, draws=2, store=store)

    assert kept < set(store._fits)
    plain = cate_intervals(made, NEW.X, s.X, s.y, s.w, draws=2)
    np.testing.assert_array_equal(found.std_error, plain.std_error)


@pytest.mark.parametrize("draws", [1, 0, -3, 2.5, None])
def test_draws_are_two_or_more(draws):
    s = draw(100)
    with pytest.raises(ValueError, match="draws as a whole number of 2 or more"):
        cate_intervals(linear_t(), NEW.X, s.X, s.y, s.w, draws=draws)


@pytest.mark.parametrize("level", [0, 1, 95, -0.5])
def test_the_level_lies_between_0_and_1(level):
    s = draw(100)
    with pytest.raises(ValueError, match="level between 0 and 1"):
        cate_intervals(linear_t(), NEW.X, s.X, s.y, s.w, level=level)


def test_halves_that_are_too_small_for_the_folds_are_refused():
    s = draw(100)
    w = np.arange(100) % 2
    w[w == 1] = np.arange(50) < 8
    with pytest.raises(ValueError, match="at least 5 rows of each arm for 5 folds; found 4"):
        cate_intervals(linear_learner(XLearner), NEW.X, s.X, s.y, w, draws=2)


# Halves

rows = st.integers(min_value=10, max_value=80)
seeds = st.integers(min_value=0, max_value=2**31)


@given(rows, seeds)
def test_a_half_takes_half_of_each_stratum(n, seed):
    strata = np.random.default_rng(seed).integers(0, 3, size=n)
    half = draw_half(strata, seed)

    for stratum in np.unique(strata):
        own = half[strata == stratum]
        assert abs(own.sum() - len(own) / 2) <= 0.5
    assert half.sum() == (n // 2 if seed % 2 else (n + 1) // 2)


@given(rows, seeds)
def test_a_half_splits_no_group(n, seed):
    groups = np.random.default_rng(seed).integers(0, n // 3, size=n)
    half = draw_half(groups % 2, seed, groups)

    for group in np.unique(groups):
        assert len(np.unique(half[groups == group])) == 1
    n_groups = len(np.unique(groups))
    assert abs(len(np.unique(groups[half])) - n_groups / 2) <= 0.5


@pytest.mark.parametrize("sizes", [np.full(12, 3), np.arange(1, 13)])
def test_each_group_and_pair_is_drawn_as_often_as_any_other(sizes):
    groups = np.repeat(np.arange(12), sizes)
    drawn = np.array([draw_half(np.zeros(len(groups), int), k, groups) for k in range(2000)])
    first = drawn[:, np.unique(groups, return_index=True)[1]]

    assert (first.sum(axis=1) == 6).all()
    assert np.abs(first.mean(axis=0) - 0.5).max() < 0.05
    together = (first[:, :1] & first[:, 1:]).mean(axis=0)
    assert np.abs(together - 0.5 * 5 / 11).max() < 0.045


@pytest.mark.parametrize("n", [10, 11, 12])
def test_halves_of_odd_numbers_leave_no_factor_in_the_error_of_a_mean(n):
    """Halves of 5 of 11 alone would have 1.2 times the variance of the mean, s^2 / n."""
    y = np.random.default_rng(n).normal(size=n)
    halves = [draw_half(np.zeros(n, int), seed) for seed in range(4000)]

    variance = np.mean([(y[half].mean() - y.mean()) ** 2 for half in halves])

    assert variance == pytest.approx(y.var(ddof=1) / n, rel=0.07)


def test_a_half_is_of_labels_not_of_positions():
    groups = np.random.default_rng(0).integers(0, 20, size=100)
    order = np.random.default_rng(1).permutation(100)

    found = draw_half((groups % 2)[order], 3, groups[order])

    np.testing.assert_array_equal(found, draw_half(groups % 2, 3, groups)[order])


# Coverage


def _covered(learner, seed):
    s = draw(1000, seed=seed)
    found = cate_intervals(learner, NEW.X, s.X, s.y, s.w, draws=20)
    inside = (found.low <= NEW.tau[:, :, None]) & (NEW.tau[:, :, None] <= found.high)
    return inside.mean(), found.estimate[:, 0, 0], found.std_error[:, 0, 0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "learner",
    [linear_t(), linear_learner(DRLearner)],
    ids=["T", "DR"],
)
def test_intervals_of_linear_effects_cover_by_linear_base_models(learner):
    """Pointwise, averaged over 40 points and 150 samples.

    With 500 rows in 2 folds a half's propensities are of 125 rows: DR's errors are then 1.4 times
    too large, and its intervals cover 98.5 %.
    """
    runs = 150
    found = Parallel(n_jobs=2)(delayed(_covered)(learner, seed) for seed in range(runs))
    inside, estimates, errors = (np.array(one) for one in zip(*found, strict=True))
    bias = (estimates - NEW.tau[:, 0]).mean() / estimates.std(axis=0).mean()
    ratio = (errors.mean(axis=0) / estimates.std(axis=0)).mean()
    print(f"{runs} runs: coverage {inside.mean():.4f}, bias/sd {bias:.3f}, SE/sd {ratio:.3f}")

    assert 0.90 <= inside.mean() <= 0.98
    assert abs(bias) < 0.2
    assert 0.9 < ratio < 1.25
