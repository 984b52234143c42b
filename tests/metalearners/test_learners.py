"""The learners: exact where the base models are the truth, lawful everywhere."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from joblib import Parallel, delayed
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metalearners import (
    DRLearner,
    RALearner,
    RLearner,
    SLearner,
    TLearner,
    ULearner,
    XLearner,
)
from metalearners.data.dataset import Dataset
from metalearners.fits.execute import run_stage, serial
from metalearners.fits.store import MemoryStore
from metalearners.metalearner import PROPENSITY_MODEL, VARIANT_OUTCOME_MODEL, get_overall_estimators
from metalearners.rlearner import OUTCOME_MODEL, pseudo_outcome
from metalearners.xlearner import CONTROL_EFFECT_MODEL, TREATMENT_EFFECT_MODEL
from tests.simulate import (
    LEARNERS,
    WITH_PROPENSITY,
    WITH_TREATMENT_STAGE,
    Sample,
    average_effect,
    draw,
    draw_classes,
    draw_clusters,
    fit_stages,
    linear_learner,
    mixtures,
    nuisance_plan,
    oracle_learner,
    three_classes,
    three_outcomes,
    three_propensities,
    tree_learner,
    two_classes,
    two_outcomes,
    two_propensities,
)

each_learner = pytest.mark.parametrize("learner", LEARNERS)
needs_propensity = pytest.mark.parametrize("learner", WITH_PROPENSITY)
has_treatment_stage = pytest.mark.parametrize("learner", WITH_TREATMENT_STAGE)

DESIGNS = {
    "two arms": (two_outcomes, two_propensities, False),
    "three arms": (three_outcomes, three_propensities, False),
    "two classes": (two_classes, two_propensities, True),
    "two classes, three arms": (three_classes, three_propensities, True),
}


# Base models that are the truth


@each_learner
@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_folds", [1, 3])
@pytest.mark.filterwarnings("ignore:Cross-fitting is deactivated")
def test_true_base_models_give_the_true_effects(learner, design, weighted, n_folds):
    outcomes, propensities, classes = DESIGNS[design]
    s = draw(400, outcomes, propensities, noise=0)
    weight = np.random.default_rng(1).uniform(0, 3, size=400) if weighted else None
    made = oracle_learner(learner, outcomes, propensities, classes, n_folds)

    made.fit(s.X, s.y, s.w, synchronize_cross_fitting=n_folds > 1, sample_weight=weight)

    new = draw(100, outcomes, propensities, seed=1)
    np.testing.assert_allclose(made.predict(s.X, False)[:, :, -1], s.tau, atol=1e-9)
    np.testing.assert_allclose(made.predict(new.X, True)[:, :, -1], new.tau, atol=1e-9)


@needs_propensity
@pytest.mark.parametrize("design", DESIGNS)
def test_known_propensities_replace_the_model_in_both_stages(learner, design):
    outcomes, propensities, classes = DESIGNS[design]
    s = draw(400, outcomes, propensities, noise=0)
    made = oracle_learner(learner, outcomes, propensities, classes)

    made.fit(s.X, s.y, s.w, propensity=s.e)

    assert made._nuisance_models[PROPENSITY_MODEL][0].crossfit is None
    found = made.predict(s.X, True, propensity=s.e)
    np.testing.assert_allclose(found[:, :, -1], s.tau, atol=1e-9)
    np.testing.assert_allclose(made.predict(s.X, False)[:, :, -1], s.tau, atol=1e-9)


@needs_propensity
def test_no_propensity_unit_is_planned_where_propensities_are_known(learner):
    s = draw(300)
    estimated = nuisance_plan(linear_learner(learner), s.dataset()).asked
    known = nuisance_plan(linear_learner(learner), s.dataset(propensity=s.e)).asked

    assert (PROPENSITY_MODEL, "0") in estimated
    assert set(known) == set(estimated) - {(PROPENSITY_MODEL, "0")}


@needs_propensity
def test_known_propensities_are_used_as_they_are(learner):
    s = draw(300)
    made = [linear_learner(learner).fit(s.X, s.y, s.w, propensity=e) for e in (s.e, s.e[:, ::-1])]

    a, b = (one.predict(s.X, False) for one in made)

    assert np.abs(a - b).max() > 0.01


def test_x_learner_fitted_with_known_propensities_asks_for_them_in_prediction():
    s = draw(300)
    made = linear_learner(XLearner).fit(s.X, s.y, s.w, propensity=s.e)

    with pytest.raises(ValueError, match="propensity"):
        made.predict(s.X, True)
    with pytest.raises(ValueError, match=r"shape \(n, 2\)"):
        made.predict(s.X, True, propensity=s.e[:, [1, 0, 0]])


def test_propensities_given_for_new_rows_replace_the_model_s():
    s = draw(300)
    made = linear_learner(XLearner).fit(s.X, s.y, s.w)
    control, treated = (
        made.predict_treatment(s.X, kind, 0, is_oos=True)
        for kind in (CONTROL_EFFECT_MODEL, TREATMENT_EFFECT_MODEL)
    )

    found = made.predict(s.X, True, propensity=s.e)[:, 0, 0]

    np.testing.assert_allclose(found, s.e[:, 1] * control + s.e[:, 0] * treated)
    assert np.abs(found - made.predict(s.X, True)[:, 0, 0]).max() > 1e-4


# Which rows and targets each regression has


def test_outcome_models_of_t_are_those_of_their_arms():
    s = draw(300, three_outcomes, three_propensities, noise=0)
    asked = oracle_learner(TLearner, three_outcomes, three_propensities).nuisances(s.dataset())

    for k in range(3):
        np.testing.assert_array_equal(asked[VARIANT_OUTCOME_MODEL, str(k)].rows, s.w == k)


def test_x_targets_are_imputed_effects_in_their_own_arms():
    s = draw(300, three_outcomes, three_propensities)
    d = s.dataset()
    made = linear_learner(XLearner, n_variants=3)
    eta = {(VARIANT_OUTCOME_MODEL, str(k)): s.mu[:, [k]] for k in range(3)}

    asked = made.treatments(d, eta)

    assert len(asked) == 4
    for k in (1, 2):
        control = asked[CONTROL_EFFECT_MODEL, str(k - 1)]
        treated = asked[TREATMENT_EFFECT_MODEL, str(k - 1)]
        np.testing.assert_array_equal(control.target, s.mu[:, k] - s.y)
        np.testing.assert_array_equal(control.rows, s.w == 0)
        np.testing.assert_array_equal(treated.target, s.y - s.mu[:, 0])
        np.testing.assert_array_equal(treated.rows, s.w == k)


def test_r_regressions_of_several_arms_are_on_two_arms_with_their_own_m():
    s = draw(300, three_outcomes, three_propensities)
    d = s.dataset()
    made = linear_learner(RLearner, n_variants=3)
    m = mixtures(s.X, three_outcomes, three_propensities)
    eta = {(OUTCOME_MODEL, str(k)): m[:, [k]] for k in range(2)} | {(PROPENSITY_MODEL, "0"): s.e}

    first, second = made.nuisances(d), made.treatments(d, eta)

    for k in (1, 2):
        rows = np.isin(s.w, (0, k))
        np.testing.assert_array_equal(first[OUTCOME_MODEL, str(k - 1)].rows, rows)
        asked = second["treatment_model", str(k - 1)]
        np.testing.assert_array_equal(asked.rows, rows)
        residual = (s.w == k) - s.e[:, k] / (s.e[:, 0] + s.e[:, k])
        np.testing.assert_allclose(asked.target, (s.y - m[:, k - 1]) / residual)
        np.testing.assert_allclose(asked.weight, residual**2)


def test_wrong_propensities_cost_r_little_with_m_of_two_arms():
    """Orthogonality: an error of size d in e moves the estimate by d squared only."""
    s = draw(200_000, three_outcomes, three_propensities, noise=0.1)
    m = mixtures(s.X, three_outcomes, three_propensities)
    everyone = (s.e * s.mu).sum(axis=1)
    rows = np.isin(s.w, (0, 1))
    g = s.e[:, 1] / (s.e[:, 0] + s.e[:, 1]) + 0.05
    errors = []
    for center in (m[:, 0], everyone):
        target, weight = pseudo_outcome(s.y, center, (s.w == 1) - g)
        errors.append(abs(np.average((target - s.tau[:, 0])[rows], weights=weight[rows])))

    assert errors[0] < 0.06
    assert errors[1] > 2 * errors[0]


def test_pseudo_outcome_keeps_away_from_zero():
    target, weight = pseudo_outcome(np.ones(4), np.zeros(4), np.array([0.5, 0.0, -1e-12, -0.5]))

    np.testing.assert_allclose(target, [2, 1e9, -1e9, -2])
    np.testing.assert_allclose(weight, [0.25, 1e-18, 1e-18, 0.25])


def test_u_targets_are_ratios_of_residuals_on_two_arms_and_unweighted():
    """By hand: arm 1 has g = 1/4, arm 2 has g = 2/3."""
    w = np.array([0, 1, 2, 0])
    y, e = np.array([1.0, 5.0, 4.0, 3.0]), np.tile([0.3, 0.1, 0.6], (4, 1))
    d = Dataset(np.eye(4), y, w, 3, propensity=e)
    m = {(OUTCOME_MODEL, str(k)): np.full((4, 1), value) for k, value in enumerate((2.0, 1.0))}

    asked = linear_learner(ULearner, n_variants=3).treatments(d, m | {(PROPENSITY_MODEL, "0"): e})

    first, second = (asked["treatment_model", k] for k in "01")
    np.testing.assert_array_equal(first.rows, [True, True, False, True])
    np.testing.assert_array_equal(second.rows, [True, False, True, True])
    np.testing.assert_allclose(first.target[first.rows], [4, 4, -4])
    np.testing.assert_allclose(second.target[second.rows], [0, 9, -3])
    assert first.weight is second.weight is None


def test_ra_targets_are_imputed_effects_on_two_arms():
    """By hand: y less the control's model in an arm, the arm's model less y in the control."""
    w, y = np.array([0, 1, 2, 0]), np.array([1.0, 5.0, 4.0, 3.0])
    mu = {(VARIANT_OUTCOME_MODEL, str(k)): np.full((4, 1), 10.0 * k + 2) for k in range(3)}

    asked = linear_learner(RALearner, n_variants=3).treatments(Dataset(np.eye(4), y, w, 3), mu)

    first, second = (asked["treatment_model", k] for k in "01")
    np.testing.assert_array_equal(first.rows, [True, True, False, True])
    np.testing.assert_array_equal(second.rows, [True, False, True, True])
    np.testing.assert_array_equal(first.target[first.rows], [11, 3, 9])
    np.testing.assert_array_equal(second.target[second.rows], [21, 2, 19])


def test_a_u_learner_clips_as_an_r_learner_does():
    s = draw(300)
    e = s.e.copy()
    e[:10] = [0.9999, 0.0001]
    eta = {(PROPENSITY_MODEL, "0"): e, (OUTCOME_MODEL, "0"): s.mu[:, [0]]}

    for clip in (0.05, "auto"):
        both = [linear_learner(one, clip=clip) for one in (ULearner, RLearner)]
        u, r = (one.treatments(s.dataset(), eta)["treatment_model", "0"] for one in both)
        np.testing.assert_array_equal(u.target, r.target)
        low, high = both[0].clip_of(s.dataset()).among(1)
        np.testing.assert_allclose(
            u.target, (s.y - s.mu[:, 0]) / (s.w - np.clip(e[:, 1], low, high))
        )
        assert low > 0.0001


def test_rows_that_are_certain_of_their_arm_take_no_part_in_a_u_learner():
    """Without a clip their residual is 0; an R-learner gives them a weight of about 0."""
    s = draw(300, noise=0)
    e, sure = s.e.copy(), s.X[:, 0] > 1
    e[sure] = np.eye(2)[s.w[sure]]
    eta = {(PROPENSITY_MODEL, "0"): e, (OUTCOME_MODEL, "0"): 0 * s.mu[:, [0]]}

    u, r = (
        linear_learner(one, clip=0).treatments(s.dataset(), eta)["treatment_model", "0"]
        for one in (ULearner, RLearner)
    )

    assert sure.any()
    np.testing.assert_array_equal(u.rows, ~sure)
    np.testing.assert_array_equal(u.target[~sure], r.target[~sure])
    assert r.weight[sure].max() < 1e-17
    assert np.isfinite(u.target).all()


def test_a_u_learner_counts_rows_alike_where_an_r_learner_prefers_overlap():
    """With a constant for the effect: the mean of it over rows, against that by e (1 - e)."""
    s = draw(200_000, seed=6, noise=0)
    tau, overlap = s.tau[:, 0], s.e.prod(axis=1)
    m = mixtures(s.X, two_outcomes, two_propensities)
    eta = {(PROPENSITY_MODEL, "0"): s.e, (OUTCOME_MODEL, "0"): m}

    for learner, expected in ((ULearner, tau.mean()), (RLearner, np.average(tau, weights=overlap))):
        asked = linear_learner(learner, clip=0).treatments(s.dataset(), eta)["treatment_model", "0"]
        found = np.average(asked.target, weights=asked.weight)
        assert found == pytest.approx(expected, abs=0.01)


def test_effects_are_averaged_by_the_propensity_among_two_arms():
    made = linear_learner(XLearner, n_variants=3)
    e = np.array([[0.2, 0.3, 0.5], [0.6, 0.2, 0.2]])
    tau = {
        (CONTROL_EFFECT_MODEL, "0"): np.array([[1.0], [1]]),
        (TREATMENT_EFFECT_MODEL, "0"): np.array([[2.0], [2]]),
        (CONTROL_EFFECT_MODEL, "1"): np.array([[3.0], [3]]),
        (TREATMENT_EFFECT_MODEL, "1"): np.array([[5.0], [5]]),
    }

    found = made.cate({(PROPENSITY_MODEL, "0"): e}, tau)[:, :, 0]

    expected = [[0.6 * 1 + 0.4 * 2, 5 / 7 * 3 + 2 / 7 * 5], [0.25 + 0.75 * 2, 0.25 * 3 + 3.75]]
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("learner", [XLearner, RLearner, ULearner])
def test_rows_that_no_model_gives_to_either_arm_still_get_numbers(learner):
    s = draw(300, three_outcomes, three_propensities)
    e = s.e.copy()
    e[:5] = [0, 0, 1]
    d = s.dataset()
    made = linear_learner(learner, n_variants=3)
    eta = {(VARIANT_OUTCOME_MODEL, str(k)): s.mu[:, [k]] for k in range(3)}
    eta |= {(OUTCOME_MODEL, str(k)): s.mu[:, [k]] for k in range(2)} | {(PROPENSITY_MODEL, "0"): e}
    tau = {
        name: fitted.column
        for name, fitted in run_stage(made.treatments(d, eta), d, MemoryStore(), serial).items()
    }

    assert np.isfinite(made.cate(eta, tau)).all()


def test_dr_scores_clip_propensities_and_may_fall_back_on_outcome_models():
    s = draw(300)
    e = s.e.copy()
    e[:10] = [0.999, 0.001]
    d = s.dataset()
    eta = {(VARIANT_OUTCOME_MODEL, str(k)): s.mu[:, [k]] for k in range(2)}
    eta[PROPENSITY_MODEL, "0"] = e

    plain = linear_learner(DRLearner, clip=0.05).scores(d, eta)
    adaptive = linear_learner(DRLearner, clip=0.05, adaptive_clipping=True).scores(d, eta)

    residual = s.y - s.mu[np.arange(300), s.w]
    own = np.clip(e, 0.05, 0.95)[np.arange(300), s.w]
    np.testing.assert_allclose(
        plain[np.arange(300), s.w] - s.mu[np.arange(300), s.w], residual / own
    )
    np.testing.assert_array_equal(adaptive[:10], s.mu[:10])
    thin = (e < 0.05).any(axis=1)
    np.testing.assert_array_equal(adaptive[~thin], plain[~thin])


def test_linear_t_learner_equals_regressions_by_hand():
    s = draw(300)
    made = linear_learner(TLearner).fit(s.X, s.y, s.w)
    by_hand = [LinearRegression().fit(s.X[s.w == k], s.y[s.w == k]) for k in (0, 1)]

    new = draw(50, seed=9).X
    expected = by_hand[1].predict(new) - by_hand[0].predict(new)
    np.testing.assert_allclose(made.predict(new, True)[:, 0, 0], expected)


def test_linear_s_learner_finds_the_adjusted_difference():
    s = draw(300, three_outcomes, three_propensities)
    made = linear_learner(SLearner, n_variants=3).fit(s.X, s.y, s.w)
    indicators = (s.w[:, None] == [1, 2]).astype(float)
    ols = LinearRegression().fit(np.hstack([s.X, indicators]), s.y)

    np.testing.assert_allclose(made.predict(s.X, True)[:, :, 0], np.tile(ols.coef_[5:], (300, 1)))


@pytest.mark.parametrize("container", [np.asarray, pd.DataFrame])
def test_s_learner_gives_a_pipeline_indicators_of_the_arms(container):
    """A scaler would take a category column of codes for a number."""
    s = draw(400, three_outcomes, three_propensities)
    X = container(s.X)
    plain = linear_learner(SLearner, n_variants=3)
    pipeline = linear_learner(
        SLearner,
        n_variants=3,
        nuisance_model_factory=type(make_pipeline()),
        nuisance_model_params={"steps": [("scale", StandardScaler()), ("fit", LinearRegression())]},
    )

    found, expected = (made.fit(X, s.y, s.w).predict(X, True) for made in (pipeline, plain))

    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("make", [linear_learner, tree_learner])
def test_s_learner_takes_frames_whose_columns_have_numbers_for_names(make):
    s = draw(300)
    named = pd.DataFrame(s.X, columns=list("abcde"))

    a, b = (make(SLearner).fit(X, s.y, s.w).predict(X, True) for X in (pd.DataFrame(s.X), named))

    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("make", [linear_learner, tree_learner])
@pytest.mark.parametrize("name", ["treatment", "treatment_1"])
def test_s_learner_refuses_a_feature_with_the_name_of_the_treatment(make, name):
    s = draw(300)
    X = pd.DataFrame(s.X, columns=[*"abcd", name])

    with pytest.raises(ValueError, match=name):
        make(SLearner).fit(X, s.y, s.w)


def test_s_learner_ignores_a_feature_set_with_a_warning():
    s = draw(300)
    with pytest.warns(UserWarning, match="feature_set"):
        chosen = linear_learner(SLearner, feature_set=[0])
    whole = linear_learner(SLearner)

    a, b = (one.fit(s.X, s.y, s.w).predict(s.X, True) for one in (chosen, whole))

    np.testing.assert_array_equal(a, b)


# Laws


@each_learner
@pytest.mark.parametrize("scale", [1e-3, -7.0, 1e4])
def test_units_of_the_outcome_are_units_of_the_effect(learner, scale):
    s = draw(500)
    a = linear_learner(learner).fit(s.X, s.y, s.w)
    b = linear_learner(learner).fit(s.X, scale * s.y + 3 * scale, s.w)

    for X, is_oos in ((s.X, False), (draw(50, seed=3).X, True)):
        expected = scale * a.predict(X, is_oos)
        np.testing.assert_allclose(
            b.predict(X, is_oos), expected, rtol=1e-6, atol=1e-7 * abs(scale)
        )


@each_learner
@pytest.mark.parametrize("classes", [False, True])
def test_swapped_arms_flip_the_sign(learner, classes):
    """Without folds, as strata in another order get other folds."""
    s = draw_classes(600) if classes else draw(600)
    made = [linear_learner(learner, classes, n_folds=1) for _ in range(2)]
    treatments = [(s.w, s.e), (1 - s.w, s.e[:, ::-1])]
    found = [
        one.fit(s.X, s.y, w, synchronize_cross_fitting=False, propensity=e).predict(
            s.X, True, propensity=e
        )
        for one, (w, e) in zip(made, treatments, strict=True)
    ]

    np.testing.assert_allclose(found[1], -found[0], atol=1e-6)


@each_learner
@pytest.mark.parametrize("make", [linear_learner, tree_learner])
def test_same_seed_same_bits_and_another_seed_other_folds(learner, make):
    s = draw(300)
    runs = [make(learner, random_state=seed).fit(s.X, s.y, s.w) for seed in (5, 5, 6)]

    first, again, other = (one.predict(s.X, False) for one in runs)

    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@each_learner
def test_an_unset_seed_is_a_seed(learner):
    s = draw(300)
    a, b = (tree_learner(learner, random_state=seed).fit(s.X, s.y, s.w) for seed in (None, 0))

    np.testing.assert_array_equal(a.predict(s.X, False), b.predict(s.X, False))


@each_learner
def test_permuted_rows_with_ids_give_permuted_estimates(learner):
    s = draw(400)
    ids = np.random.default_rng(1).permutation(400)
    order = np.random.default_rng(2).permutation(400)
    made = [linear_learner(learner) for _ in range(2)]

    a = made[0].fit(s.X, s.y, s.w, groups=ids).predict(s.X, False)
    moved = made[1].fit(s.X[order], s.y[order], s.w[order], groups=ids[order])

    np.testing.assert_allclose(moved.predict(s.X[order], False), a[order], atol=1e-7)


@each_learner
@pytest.mark.parametrize("make", [linear_learner, tree_learner])
def test_a_pickled_learner_predicts_the_same_bits(learner, make):
    s = draw(300)
    made = make(learner).fit(s.X, s.y, s.w)
    again = pickle.loads(pickle.dumps(made))
    new = draw(50, seed=4).X

    np.testing.assert_array_equal(again.predict(s.X, False), made.predict(s.X, False))
    np.testing.assert_array_equal(again.predict(new, True), made.predict(new, True))


@each_learner
@pytest.mark.parametrize("classes", [False, True])
def test_arrays_and_frames_of_equal_content_give_the_same_bits(learner, classes):
    s = draw_classes(300) if classes else draw(300)
    frame = pd.DataFrame(s.X).rename(columns=lambda j: f"x{j}").set_index(np.arange(300)[::-1])
    new = draw(50, seed=4).X[:, : s.X.shape[1]]
    a = tree_learner(learner, classes).fit(s.X, s.y, s.w)
    b = tree_learner(learner, classes).fit(frame, pd.Series(s.y, frame.index), s.w)

    np.testing.assert_array_equal(a.predict(s.X, False), b.predict(frame, False))
    renamed = pd.DataFrame(new, columns=frame.columns)
    np.testing.assert_array_equal(a.predict(new, True), b.predict(renamed, True))


@each_learner
def test_sklearn_clones_learners_and_sets_their_parameters(learner):
    made = tree_learner(learner, random_state=3)
    copy = clone(made)

    assert copy is not made
    assert copy.get_params(deep=False) == made.get_params(deep=False)
    with pytest.raises(ValueError, match="call fit first"):
        copy.predict(np.zeros((3, 5)), is_oos=True)
    copy.set_params(random_state=4, n_folds=2)
    assert (copy.random_state, copy.n_folds, made.random_state) == (4, 2, 3)
    assert learner(**made.get_params(deep=False)).n_folds == 5


@each_learner
def test_parameters_set_later_are_checked_too(learner):
    with pytest.raises(ValueError, match="strictly positive"):
        linear_learner(learner).set_params(n_folds=0)


@each_learner
def test_fitting_leaves_its_inputs_alone(learner):
    s = draw(300)
    given = [s.X.copy(), s.y.copy(), s.w.copy(), np.ones(300), np.arange(300), s.e.copy()]
    kept = [a.copy() for a in given]
    X, y, w, weight, groups, e = given

    tree_learner(learner).fit(X, y, w, sample_weight=weight, groups=groups, propensity=e)

    for a, b in zip(given, kept, strict=True):
        np.testing.assert_array_equal(a, b)


@each_learner
def test_what_a_caller_does_to_estimates_stays_with_the_caller(learner):
    s = draw(300)
    made = linear_learner(learner).fit(s.X, s.y, s.w)
    first = made.predict(s.X, False)
    expected = first.copy()
    first[:] = 0

    np.testing.assert_array_equal(made.predict(s.X, False), expected)


@each_learner
def test_a_learner_can_be_fitted_again(learner):
    first, second = draw(300), draw(200, seed=1)
    made = linear_learner(learner).fit(first.X, first.y, first.w)
    made.fit(second.X, second.y, second.w)
    fresh = linear_learner(learner).fit(second.X, second.y, second.w)

    np.testing.assert_array_equal(made.predict(second.X, False), fresh.predict(second.X, False))


@each_learner
@pytest.mark.parametrize("n_variants", [2, 3])
def test_shapes_for_numbers(learner, n_variants):
    design = (two_outcomes, two_propensities), (three_outcomes, three_propensities)
    s = draw(300, *design[n_variants - 2])
    made = linear_learner(learner, n_variants=n_variants).fit(s.X, s.y, s.w)

    assert made.predict(s.X, is_oos=False).shape == (300, n_variants - 1, 1)
    assert made.predict(s.X[:7], is_oos=True).shape == (7, n_variants - 1, 1)


@each_learner
def test_shapes_for_two_classes_are_effects_on_both(learner):
    s = draw_classes(300)
    made = linear_learner(learner, classes=True).fit(s.X, s.y, s.w)

    for found in (made.predict(s.X, is_oos=False), made.predict(s.X[:9], is_oos=True)):
        assert found.shape[1:] == (1, 2)
        np.testing.assert_allclose(found[:, :, 0], -found[:, :, 1], atol=1e-12)


@pytest.mark.parametrize("learner", [SLearner, TLearner])
def test_shapes_for_several_classes_sum_to_zero(learner):
    s = draw_classes(600, n_classes=4)
    made = tree_learner(learner, classes=True).fit(s.X, s.y, s.w)

    found = made.predict(s.X, is_oos=False)

    assert found.shape == (600, 1, 4)
    np.testing.assert_allclose(found.sum(axis=2), 0, atol=1e-12)


@pytest.mark.parametrize("kind", [bool, np.int8, float])
def test_classes_and_treatments_may_come_in_any_type_of_whole_numbers(kind):
    s = draw_classes(300)
    expected = linear_learner(DRLearner, classes=True).fit(s.X, s.y, s.w).predict(s.X, False)
    made = linear_learner(DRLearner, classes=True).fit(s.X, s.y.astype(kind), s.w.astype(kind))

    np.testing.assert_array_equal(made.predict(s.X, False), expected)


@pytest.mark.parametrize("learner", [SLearner, TLearner])
def test_labels_of_classes_needn_t_begin_at_zero_for_s_and_t(learner):
    s = draw_classes(300)
    expected = linear_learner(learner, classes=True).fit(s.X, s.y, s.w).predict(s.X, False)
    with pytest.warns(UserWarning, match=r"effects on 1, and those on -1"):
        made = linear_learner(learner, classes=True).fit(s.X, 2 * s.y - 1, s.w)
    found = made.predict(s.X, False)

    np.testing.assert_array_equal(found, expected)


@has_treatment_stage
def test_labels_of_classes_are_0_and_1_where_they_enter_a_formula(learner):
    s = draw_classes(300)
    with pytest.raises(ValueError, match="classes 0 and 1"):
        linear_learner(learner, classes=True).fit(s.X, s.y + 1, s.w)


@each_learner
def test_weights_equal_repeated_rows(learner):
    """Clusters of two rows with 1 and 3 copies: equal sizes, so folds are the same both times."""
    s = draw(600)
    order = np.argsort(s.w, kind="stable")
    order = order[: len(order) // 4 * 4]
    X, y, w = s.X[order], s.y[order], s.w[order]
    w = np.repeat(w[::2], 2)  # both rows of a cluster in one arm
    copies, groups = np.tile([1, 3], len(w) // 2), np.repeat(np.arange(len(w) // 2), 2)
    weighted, repeated = linear_learner(learner), linear_learner(learner)

    weighted.fit(X, y, w, sample_weight=copies, groups=groups)
    repeated.fit(*(np.repeat(a, copies, axis=0) for a in (X, y, w)), groups=groups.repeat(copies))

    found = weighted.predict(X, False)
    expected = repeated.predict(X.repeat(copies, axis=0), False)
    np.testing.assert_allclose(found.repeat(copies, axis=0), expected, atol=1e-6)
    np.testing.assert_allclose(weighted.predict(X, True), repeated.predict(X, True), atol=1e-6)
    plain = linear_learner(learner).fit(X, y, w, groups=groups)
    assert np.abs(plain.predict(X, True) - weighted.predict(X, True)).max() > 0.01


@each_learner
def test_rows_of_weight_zero_change_nothing(learner):
    s = draw(400)
    weight = np.ones(400)
    weight[::4] = 0
    y = s.y.copy()
    y[::4] += 1000
    made = [linear_learner(learner).fit(s.X, one, s.w, sample_weight=weight) for one in (s.y, y)]

    a, b = (one.predict(s.X, True) for one in made)

    np.testing.assert_allclose(a, b, atol=1e-8)


@each_learner
def test_estimates_of_training_rows_never_saw_their_own_outcome(learner):
    s = draw(200)
    y = s.y.copy()
    y[0] += 1e4
    a, b = (linear_learner(learner).fit(s.X, one, s.w).predict(s.X, False) for one in (s.y, y))

    if learner in (SLearner, TLearner):
        np.testing.assert_array_equal(a[0], b[0])
    assert np.abs(a[1:] - b[1:]).max() > 1


# Number of folds by model kind, features by model kind, parallel work


def test_numbers_of_folds_may_differ_by_model_kind():
    s = draw(300)
    n_folds = {"propensity_model": 2, "variant_outcome_model": 3, "treatment_model": 4}
    made = linear_learner(DRLearner, n_folds=n_folds)

    nuisances, treatments = fit_stages(made, s.dataset())
    made.fit(s.X, s.y, s.w, synchronize_cross_fitting=False)

    numbers = {name[0]: len(f.folds) for name, f in (nuisances | treatments).items()}
    assert numbers == n_folds
    with pytest.raises(ValueError, match="synchronize_cross_fitting=False"):
        linear_learner(DRLearner, n_folds=n_folds).fit(s.X, s.y, s.w)


def test_one_fold_needs_to_be_said_twice():
    s = draw(300)
    with pytest.raises(ValueError, match="at least two folds"):
        linear_learner(TLearner, n_folds=1).fit(s.X, s.y, s.w)


@pytest.mark.parametrize("names", [[0, 2], ["a", "c"]])
def test_a_feature_set_is_what_base_models_see(names):
    s = draw(300)
    X = pd.DataFrame(s.X, columns=list("abcde"))
    some = linear_learner(DRLearner, feature_set=names).fit(X, s.y, s.w)
    whole = linear_learner(DRLearner).fit(X[["a", "c"]], s.y, s.w)

    np.testing.assert_array_equal(some.predict(X, False), whole.predict(X[["a", "c"]], False))
    np.testing.assert_array_equal(some.predict(X, True), whole.predict(X[["a", "c"]], True))


def test_feature_sets_may_differ_by_model_kind_and_be_empty():
    s = draw(300)
    made = linear_learner(
        DRLearner,
        feature_set={
            "propensity_model": [],
            "variant_outcome_model": [0, 1, 2],
            "treatment_model": [0],
        },
    ).fit(s.X, s.y, s.w)
    nuisances, _ = fit_stages(made, s.dataset())

    e = nuisances[PROPENSITY_MODEL, "0"].column
    assert len(np.unique(e[:, 1])) <= 5  # a share a fold
    (model,) = get_overall_estimators(made._treatment_models["treatment_model"])
    assert model.n_features_in_ == 1
    moved = s.X + np.array([0, 9, 9, 9, 9])
    np.testing.assert_array_equal(made.predict(moved, True), made.predict(s.X, True))


def test_base_models_and_parameters_may_differ_by_model_kind():
    made = XLearner(
        False,
        2,
        LinearRegression,
        {CONTROL_EFFECT_MODEL: LGBMRegressor, TREATMENT_EFFECT_MODEL: LinearRegression},
        LGBMClassifier,
        treatment_model_params={
            CONTROL_EFFECT_MODEL: {"n_estimators": 7},
            TREATMENT_EFFECT_MODEL: {"positive": True},
        },
        propensity_model_params={"num_leaves": 3},
    )

    assert made.spec(CONTROL_EFFECT_MODEL).build().n_estimators == 7
    assert made.spec(TREATMENT_EFFECT_MODEL).build().positive is True
    assert made.spec(PROPENSITY_MODEL).build().num_leaves == 3
    assert made.spec(VARIANT_OUTCOME_MODEL).factory is LinearRegression


# Refusals


def test_a_nuisance_model_is_needed():
    with pytest.raises(ValueError, match="variant_outcome_model needs to be defined"):
        TLearner(False, 2)


@has_treatment_stage
def test_a_treatment_model_is_needed(learner):
    with pytest.raises(ValueError, match="needs to be defined"):
        learner(False, 2, LinearRegression, None, LogisticRegression)


@needs_propensity
@pytest.mark.parametrize("role", ["factory", "params"])
def test_the_propensity_model_has_arguments_of_its_own(learner, role):
    value = {"factory": LogisticRegression, "params": {}}[role]
    with pytest.raises(ValueError, match=f"should be defined using propensity_model_{role}"):
        linear_learner(learner, **{f"nuisance_model_{role}": {"propensity_model": value}})


@needs_propensity
def test_a_propensity_model_is_needed(learner):
    with pytest.raises(ValueError, match="fitted_propensity_model needs to be defined"):
        learner(False, 2, LinearRegression, LinearRegression)


@each_learner
@pytest.mark.parametrize("n_variants", [1, 0, -2, 2.0, "2", None, True])
def test_the_number_of_arms_is_a_whole_number_above_1(learner, n_variants):
    with pytest.raises(ValueError, match=r"needs to be an integer strictly greater than 1\."):
        linear_learner(learner, n_variants=n_variants)


@each_learner
@pytest.mark.parametrize("n_folds", [0, -1, 2.5, None])
def test_the_number_of_folds_is_a_whole_number_above_0(learner, n_folds):
    with pytest.raises(ValueError, match="strictly positive"):
        linear_learner(learner, n_folds=n_folds)


@pytest.mark.parametrize("clip", [-0.1, 0.5, 2, np.nan])
def test_the_clip_lies_below_one_half(clip):
    with pytest.raises(ValueError, match="clip"):
        linear_learner(DRLearner, clip=clip)


@each_learner
def test_a_classifier_can_t_learn_a_mean(learner):
    with pytest.raises(ValueError, match="supposed to be used with the predict method 'predict'"):
        linear_learner(learner, nuisance_model_factory=LogisticRegression)


@each_learner
def test_a_regressor_can_t_learn_classes(learner):
    with pytest.raises(ValueError, match="the predict method 'predict_proba'"):
        linear_learner(
            learner, True, nuisance_model_factory=LinearRegression, nuisance_model_params=None
        )


@needs_propensity
def test_a_regressor_can_t_be_a_propensity_model(learner):
    with pytest.raises(ValueError, match="the predict method 'predict_proba'"):
        linear_learner(
            learner, propensity_model_factory=LinearRegression, propensity_model_params=None
        )


@has_treatment_stage
def test_a_classifier_can_t_be_a_treatment_model(learner):
    with pytest.raises(ValueError, match="the predict method 'predict'"):
        linear_learner(learner, treatment_model_factory=LGBMClassifier)


def test_r_learner_needs_weights_in_its_treatment_model():
    with pytest.raises(ValueError, match=r"KNeighborsRegressor\.fit takes no sample_weight"):
        linear_learner(RLearner, treatment_model_factory=KNeighborsRegressor)
    linear_learner(DRLearner, treatment_model_factory=KNeighborsRegressor)


@each_learner
def test_prediction_needs_a_fit(learner):
    for is_oos in (True, False):
        with pytest.raises(ValueError, match="call fit first"):
            linear_learner(learner).predict(np.zeros((3, 5)), is_oos)


@each_learner
@pytest.mark.parametrize("n", [1, 299, 301])
def test_estimates_of_training_rows_need_all_of_them(learner, n):
    s = draw(300)
    made = linear_learner(learner).fit(s.X, s.y, s.w)

    with pytest.raises(ValueError, match="unlike data encountered in training"):
        made.predict(np.zeros((n, 5)), is_oos=False)


def _changed(s: Sample, **changes) -> dict:
    return {"X": s.X, "y": s.y, "w": s.w, **changes}


def _put(values, at, value):
    changed = np.array(values, dtype=float)
    changed[at] = value
    return changed


S = draw(300)
REFUSED = {
    "an arm too many": (_changed(S, w=_put(S.w, 0, 2)), r"Number of variants present.*\(3\)"),
    "an arm too few": (_changed(S, w=0 * S.w), r"Number of variants present.*\(1\)"),
    "arms from 1": (_changed(S, w=S.w + 1), "Treatment variant should be encoded"),
    "arms in between": (_changed(S, w=S.w + 0.5), "Treatment variant should be encoded"),
    "halves": (_changed(S, w=S.w / 2), "Treatment variant should be encoded"),
    "a missing arm": (_changed(S, w=_put(S.w, 0, np.nan)), "variants"),
    "labels": (_changed(S, w=np.where(S.w, "a", "b")), "Treatment variant should be encoded"),
    "a missing y": (_changed(S, y=_put(S.y, 3, np.nan)), "1 missing or infinite of 300"),
    "an infinite y": (_changed(S, y=_put(S.y, [3, 4], -np.inf)), "2 missing or infinite"),
    "a short y": (_changed(S, y=S.y[1:]), r"y of shape \(300,\).*found \(299,\)"),
    "a short w": (_changed(S, w=S.w[1:]), r"w of shape \(300,\).*found \(299,\)"),
    "short weights": (_changed(S, sample_weight=np.ones(5)), r"sample_weight of shape \(300,\)"),
    "short groups": (_changed(S, groups=np.ones(5)), r"groups of shape \(300,\)"),
    "missing groups": (_changed(S, groups=_put(S.w, 0, np.nan)), "group"),
    "negative weights": (_changed(S, sample_weight=_put(S.w, 0, -1)), "found 1 other"),
    "missing weights": (_changed(S, sample_weight=_put(S.w, 0, np.nan)), "found 1 other"),
    "infinite weights": (_changed(S, sample_weight=_put(S.w, 0, np.inf)), "found 1 other"),
    "no weights": (_changed(S, sample_weight=0 * S.y), "only zeros"),
    "short propensities": (_changed(S, propensity=S.e[1:]), "for 300 rows"),
    "short flat propensities": (_changed(S, propensity=S.e[1:, 1]), r"shape \(n, 2\)"),
    "wide propensities": (_changed(S, propensity=np.full((300, 3), 1 / 3)), r"shape \(n, 2\)"),
    "sure propensities": (_changed(S, propensity=np.eye(2)[S.w]), "300 rows outside"),
    "propensities beyond 1": (_changed(S, propensity=[[-0.1, 1.1]] * 300), "300 rows outside"),
    "missing propensities": (_changed(S, propensity=_put(S.e, 0, np.nan)), "1 rows outside"),
    "sums beyond 1": (_changed(S, propensity=S.e * 1.01), "sum to 1"),
}


@pytest.mark.parametrize("case", REFUSED)
@each_learner
def test_data_are_refused_with_what_was_found(learner, case):
    given, message = REFUSED[case]

    with pytest.raises(ValueError, match=message):
        linear_learner(learner).fit(**given)


B = draw_classes(300)
REFUSED_CLASSES = {
    "one class": (_changed(B, y=np.ones(300)), "only one class present"),
    "a class of one arm": (_changed(B, y=B.y * B.w), "have seen different sets of classification"),
    "a missing class": (_changed(B, y=_put(B.y, 0, np.nan)), "1 missing or infinite"),
    "half a class": (_changed(B, y=B.y / 2), "whole numbers"),
    "an arm in between": (_changed(B, w=B.w / 2), "Treatment variant should be encoded"),
}


@pytest.mark.parametrize("case", REFUSED_CLASSES)
@each_learner
def test_classes_are_refused_with_what_was_found(learner, case):
    given, message = REFUSED_CLASSES[case]

    with pytest.raises(ValueError, match=message):
        linear_learner(learner, classes=True).fit(**given)


@has_treatment_stage
def test_several_classes_are_refused_where_formulas_want_two(learner):
    s = draw_classes(600, n_classes=3)

    with pytest.raises(ValueError, match="does not support multiclass classification"):
        linear_learner(learner, classes=True).fit(s.X, s.y, s.w)


@each_learner
def test_too_few_rows_of_an_arm_are_refused_before_any_fit(learner):
    s = draw(300)
    w = np.zeros(300, dtype=int)
    w[:3] = 1

    with pytest.raises(ValueError, match=r"at least 5 rows of each arm .* found 3 rows in arm 1"):
        linear_learner(learner).fit(s.X, s.y, w)


# Recovery of a known truth


def _fitted_effects(learner, s, new, **more):
    return linear_learner(learner, **more).fit(s.X, s.y, s.w).predict(new.X, True)[:, :, 0]


@pytest.mark.parametrize("learner", [TLearner, XLearner, RLearner, DRLearner, RALearner])
def test_linear_effects_are_recovered(learner):
    """All these are consistent here: effects are linear and both nuisances are well specified."""
    s, new = draw(20_000, seed=3), draw(1000, seed=4)

    error = _fitted_effects(learner, s, new) - new.tau

    assert np.sqrt((error**2).mean()) < 0.1
    assert np.sqrt((error**2).mean()) < 0.2 * new.tau.std()


def test_a_u_learner_needs_a_right_mean_outcome_but_in_an_experiment():
    """A wrong m moves the target by delta / (W - g), which averages out where g is one half."""

    def errors(propensities):
        s, new = (draw(n, two_outcomes, propensities, seed) for n, seed in ((20_000, 3), (1000, 4)))
        made = (linear_learner(one) for one in (ULearner, RLearner))  # with a line for m
        fitted = (one.fit(s.X, s.y, s.w, propensity=s.e).predict(new.X, True) for one in made)
        return [np.sqrt(((found[:, :, 0] - new.tau) ** 2).mean()) for found in fitted]

    assert max(errors(lambda X: np.full((len(X), 2), 0.5))) < 0.1
    u, r = errors(two_propensities)
    assert r < 0.1
    assert u > 0.15


@each_learner
def test_effects_on_classes_are_recovered(learner):
    s, new = draw_classes(10_000, seed=3), draw_classes(1000, seed=4)
    made = linear_learner(learner, classes=True).fit(s.X, s.y, s.w)

    error = made.predict(new.X, True)[:, 0, 1] - new.tau[:, 0]

    assert np.abs(error).mean() < 0.06
    assert abs(error.mean()) < 0.03


def test_average_effect_lies_within_its_errors():
    s = draw(4000, seed=11)
    found = average_effect(linear_learner(DRLearner), s.dataset())

    assert abs(found.estimate - 1) < 4 * found.std_error
    assert 0.02 < found.std_error < 0.08
    naive = s.y[s.w == 1].mean() - s.y[s.w == 0].mean()
    assert abs(naive - 1) > 4 * found.std_error  # the design is confounded


def _averages(learner, samples, **more):
    with warnings.catch_warnings():  # workers of joblib don't inherit pytest's filters
        warnings.simplefilter("error")
        found = [average_effect(learner, s.dataset(groups=s.groups, **more)) for s in samples]
    return [(f.estimate, f.std_error, f.ci_low <= 1 <= f.ci_high) for f in found]


def _coverage(make, sample, runs, **more):
    """Estimates, standard errors and coverage of the truth 1 over independent samples."""
    batch = 10
    found = Parallel(n_jobs=2)(
        delayed(_averages)(make(DRLearner, **more), [sample(seed=s) for s in range(b, b + batch)])
        for b in range(0, runs, batch)
    )
    estimates, errors, covered = np.concatenate(found).T
    bias, ratio = (estimates.mean() - 1) / estimates.std(), errors.mean() / estimates.std()
    print(f"{runs} runs: coverage {covered.mean():.4f}, bias/sd {bias:.3f}, SE/sd {ratio:.3f}")
    return estimates, errors, covered


def first_design(seed):
    return draw(1000, seed=seed)


def small_boosting(learner):
    chosen = {"n_estimators": 100, "learning_rate": 0.05, "num_leaves": 7, "n_jobs": 1}
    return tree_learner(
        learner,
        nuisance_model_params=chosen,
        treatment_model_params=chosen,
        propensity_model_params=chosen,
    )


@pytest.mark.slow
def test_intervals_cover_with_linear_base_models():
    estimates, errors, covered = _coverage(linear_learner, first_design, 1000)

    assert 0.93 <= covered.mean() <= 0.98
    assert abs(estimates.mean() - 1) < 0.1 * estimates.std()
    assert 0.9 < errors.mean() / estimates.std() < 1.15


@pytest.mark.slow
def test_intervals_cover_with_clusters():
    estimates, errors, covered = _coverage(linear_learner, draw_clusters, 1000)

    assert 0.93 <= covered.mean() <= 0.98
    assert abs(estimates.mean() - 1) < 0.1 * estimates.std()
    assert 0.9 < errors.mean() / estimates.std() < 1.15


@pytest.mark.slow
def test_intervals_cover_with_small_boosting():
    estimates, errors, covered = _coverage(small_boosting, first_design, 1000)

    assert covered.mean() >= 0.91
    assert abs(estimates.mean() - 1) < 0.35 * estimates.std()
    assert 0.9 < errors.mean() / estimates.std() < 1.3
