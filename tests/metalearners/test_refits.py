"""What a learner keeps of an earlier fit (nothing) and of a refused one (all), and what it says."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from metalearners import DRLearner, RLearner, SLearner, TLearner, XLearner
from metalearners.bundle import Bundle
from metalearners.cross_fit_estimator import CrossFitEstimator
from metalearners.data.folds import forward_chaining
from metalearners.intervals import cate_intervals
from tests.simulate import WITH_PROPENSITY, draw, draw_classes, linear_learner, tree_learner

S = draw(200)


@pytest.mark.parametrize("learner", WITH_PROPENSITY)
@pytest.mark.parametrize("is_oos", [False, True])
def test_a_known_design_scores_new_rows_too(learner, is_oos):
    made = linear_learner(learner).fit(S.X, S.y, S.w, propensity=0.5)

    found = made.evaluate(S.X, S.y, S.w, is_oos)

    assert found == made.evaluate(S.X, S.y, S.w, is_oos, propensity=0.5)
    assert "propensity_model_neg_log_loss" not in found


def test_known_propensities_put_an_estimated_model_aside():
    made = linear_learner(XLearner).fit(S.X, S.y, S.w).fit(S.X, S.y, S.w, propensity=S.e)

    with pytest.raises(ValueError, match="known propensities that differ by row"):
        made.predict(S.X, is_oos=True)


def test_new_nuisances_put_old_treatment_models_aside():
    made = linear_learner(DRLearner).fit(S.X, S.y, S.w)
    made.fit_all_nuisance(S.X, 100 * S.y, S.w)

    with pytest.raises(ValueError, match="fitted treatment_model"):
        made.predict(S.X, is_oos=True)


def test_an_epsilon_is_that_of_one_fit():
    made = linear_learner(RLearner).fit(S.X, S.y, S.w)
    fresh = made.predict(S.X, True)
    made.fit_all_treatment(S.X, S.y, S.w, epsilon=0.6)

    assert np.abs(made.predict(S.X, True) - fresh).max() > 0
    np.testing.assert_array_equal(made.fit(S.X, S.y, S.w).predict(S.X, True), fresh)


def test_stages_agree_on_what_is_known():
    made = linear_learner(XLearner).fit_all_nuisance(S.X, S.y, S.w)

    with pytest.raises(ValueError, match="Pass the same to both stages"):
        made.fit_all_treatment(S.X, S.y, S.w, propensity=S.e)


@pytest.mark.parametrize("fact", ["sample_weight", "groups", "propensity"])
def test_stages_agree_on_facts_of_the_rows(fact):
    rows, n = np.random.default_rng(0), len(S.y)
    facts = {
        "sample_weight": rows.uniform(1, 2, n),
        "groups": rows.integers(0, 40, n),
        "propensity": S.e,
    }
    made = linear_learner(DRLearner).fit_all_nuisance(S.X, S.y, S.w, **{fact: facts[fact]})

    with pytest.raises(ValueError, match="Pass the same to both stages"):
        made.fit_all_treatment(S.X, S.y, S.w)
    with pytest.raises(ValueError, match="Pass the same to both stages"):
        made.fit_all_treatment(S.X, S.y, S.w, **{fact: facts[fact][::-1]})
    same = facts[fact] if fact == "propensity" else 2 * facts[fact]  # in any unit, by any label
    made.fit_all_treatment(S.X, S.y, S.w, **{fact: same})


def test_a_refused_fit_leaves_the_learner_as_it_was():
    made = linear_learner(RLearner).fit(S.X, S.y, S.w)
    expected = made.predict(S.X, True)
    for wrong in (3, {"sample_weight": np.ones(200)}):
        with pytest.raises(ValueError, match="fit_params"):
            made.fit(S.X[:, :2], S.y, S.w, fit_params=wrong)

    np.testing.assert_array_equal(made.predict(S.X, True), expected)


@pytest.mark.parametrize("learner", [SLearner, TLearner])
def test_missing_classes_are_no_class(learner):
    b = draw_classes(200)
    y = np.array(["no", "yes"], dtype=object)[b.y]
    y[0] = None

    with pytest.raises(ValueError, match="numbers as outcomes"):
        linear_learner(learner, True).fit(b.X, y, b.w)


def test_rows_that_no_fold_tests_have_no_class():
    b = draw_classes(200)
    made = CrossFitEstimator(3, LogisticRegression)
    made.fit(b.X, b.y, cv=forward_chaining(np.arange(200), 3))

    assert np.isnan(made.predict_proba(b.X, is_oos=False)).any()
    with pytest.raises(ValueError, match="in no test of cv"):
        made.predict(b.X, is_oos=False)


def test_a_model_without_arms_is_none_of_an_s_learner():
    plain = CrossFitEstimator(3, LinearRegression).fit(S.X, S.y)

    with pytest.raises(ValueError, match="that an S-learner fitted"):
        SLearner(False, 2, fitted_nuisance_models={"base_model": [plain]})
    with pytest.raises(ValueError, match="with the arms as features"):
        linear_learner(SLearner).fit_nuisance(S.X, S.y, "base_model", 0)


def test_intervals_want_models_to_fit():
    fitted = linear_learner(TLearner).fit(S.X, S.y, S.w)
    made = TLearner(False, 2, fitted_nuisance_models=fitted._nuisance_models)

    with pytest.raises(ValueError, match="without prefitted models"):
        cate_intervals(made, S.X[:3], S.X, S.y, S.w)


def test_what_a_bundle_hasn_t_stored_is_named(tmp_path):
    made = linear_learner(DRLearner).fit(S.X, S.y, S.w)
    Bundle.of(made, S.X).save(tmp_path)
    (loaded,) = Bundle.load(tmp_path).learners.values()

    for ask in (loaded.overlap, loaded.predict_conditional_average_outcomes):
        with pytest.raises(ValueError, match="wasn't stored"):
            ask(S.X, True)
    with pytest.raises(ValueError, match="nuisance models need to be fitted"):
        loaded.average_treatment_effect(S.X, S.y, S.w, True)


def test_a_bundle_drops_no_class_and_no_arm():
    b = draw_classes(300, n_classes=3)
    made = linear_learner(TLearner, True).fit(b.X, b.y, b.w)
    named = linear_learner(TLearner, arms=[0, "0"]).fit(S.X, S.y, np.array([0, "0"], object)[S.w])

    with pytest.raises(ValueError, match="has 3 classes"):
        Bundle.of(made, b.X).predict(b.X)
    with pytest.raises(ValueError, match="written differently"):
        Bundle.of(named, S.X)


def test_an_s_learner_says_that_an_array_becomes_a_frame():
    made = tree_learner(SLearner)
    frame = pd.DataFrame(S.X, columns=list("abcde"))

    with pytest.warns(UserWarning, match="turned into a data frame"):
        made.fit(S.X, S.y, S.w)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made.fit(frame, S.y, S.w)
        linear_learner(SLearner).fit(S.X, S.y, S.w)
    assert not caught
