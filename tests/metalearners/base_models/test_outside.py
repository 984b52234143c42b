"""Other packages' estimators of effects as base models: how they are called, and what comes out."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.impute import SimpleImputer

from metalearners.base_models.recipes import OutsideEstimator
from metalearners.bundle import Bundle
from metalearners.slearner import OutsideLearner
from tests import outside

RNG = np.random.default_rng(5)
X = RNG.normal(size=(300, 3))
W = RNG.permutation(np.arange(300) % 3)
Y = RNG.normal(size=300) + W * (1 + (X[:, -1] > 0))


def made(factory, n_variants=3, **more):
    return OutsideLearner(
        more.pop("classes", False),
        n_variants,
        factory,
        nuisance_model_params=more.pop("params", {}),
        n_folds=3,
        **more,
    )


def by_hand(factory, train, test, arms=(1, 2)):
    """Effects by the class itself, called as its package's documentation says."""
    if factory is outside.EconStyle:
        model = factory(discrete_treatment=True, n_jobs=1).fit(Y[train], W[train], X=X[train])
        return np.column_stack([model.effect(X[test], T0=0, T1=k) for k in arms])
    model = factory(control_name="0")
    model.fit(X[train], W[train].astype(str), Y[train])
    return model.predict(X[test])


@pytest.mark.parametrize("factory", [outside.EconStyle, outside.CausalStyle])
def test_effects_are_those_of_the_class_itself_out_of_fold_and_for_new_rows(factory):
    learner = made(factory).fit(X, Y, W)
    found = learner.predict(X, is_oos=False)

    assert found.shape == (300, 2, 1)
    assert found.std() > 0
    for train, test in learner.dataset(X, Y, W).splits(3):
        np.testing.assert_allclose(found[test, :, 0], by_hand(factory, train, test), rtol=1e-12)
    rows = np.arange(300)
    new = learner.predict(X, is_oos=True)[:, :, 0]
    np.testing.assert_allclose(new, by_hand(factory, rows, rows), rtol=1e-12)


def test_frames_and_arrays_give_the_same_and_weights_count():
    weight = RNG.integers(1, 4, 300).astype(float)
    frame = pd.DataFrame(X, columns=list("abc"))
    one = made(outside.EconStyle).fit(X, Y, W, sample_weight=weight)
    other = made(outside.EconStyle).fit(frame, Y, W, sample_weight=weight)
    found = one.predict(X, is_oos=True)

    np.testing.assert_array_equal(found, other.predict(frame, is_oos=True))
    high = X[:, -1] > 0
    means = [np.average(Y[own], weights=weight[own]) for own in (high & (k == W) for k in range(3))]
    np.testing.assert_allclose(
        found[high, :, 0], np.tile(np.diff(means, axis=0).cumsum(), (high.sum(), 1))
    )
    with pytest.raises(ValueError, match="whose fit takes sample_weight; CausalStyle doesn't"):
        made(outside.CausalStyle).fit(X, Y, W, sample_weight=weight)


def test_more_than_ten_arms_keep_their_order():
    w = np.arange(300) % 12
    found = made(outside.CausalStyle, 12).fit(X, 10.0 * w, w).predict(X, is_oos=True)

    np.testing.assert_allclose(found[0, :, 0], 10.0 * np.arange(1, 12))


def test_seeds_are_the_run_s_unless_set():
    def told(**params):
        learner = made(outside.Plain, 2, params=params, random_state=7)
        return learner.fit(X, Y, W > 0).predict(X, is_oos=True)

    np.testing.assert_array_equal(told(), told())
    expected = X @ np.random.default_rng(3).normal(size=3)
    np.testing.assert_array_equal(told(random_state=3)[:, 0, 0], expected)
    assert (told() != told(random_state=3)).all()


def test_classes_have_effects_on_the_second_and_no_outcomes(tmp_path):
    y = (Y > 1).astype(int)
    learner = made(outside.EconStyle, classes=True).fit(X, y, W)
    effects = learner.predict(X, is_oos=True)

    assert effects.shape == (300, 2, 2)
    np.testing.assert_array_equal(effects[:, :, 0], -effects[:, :, 1])
    number = made(outside.EconStyle).fit(X, y.astype(float), W).predict(X, is_oos=True)
    np.testing.assert_allclose(effects[:, :, 1], number[:, :, 0])
    bundle = Bundle.of(learner, X)
    bundle.save(tmp_path / "model")
    again = Bundle.load(tmp_path / "model").predict(X, details=True)
    assert list(again) == ["cate.OutsideLearner.1", "cate.OutsideLearner.2"]
    np.testing.assert_array_equal(again["cate.OutsideLearner.2"], effects[:, 1, 1])
    for call in (
        lambda: learner.predict_conditional_average_outcomes(X, is_oos=True),
        lambda: learner.evaluate(X, y, W, is_oos=False),
    ):
        with pytest.raises(ValueError, match="Expected a learner with models of outcomes"):
            call()


def test_an_encoder_is_fitted_with_the_estimator():
    gaps = X.copy()
    gaps[::5, -1] = np.nan
    plain, filled = (
        made(outside.EconStyle, encoder=encoder).fit(gaps, Y, W).predict(gaps, is_oos=True)
        for encoder in (None, SimpleImputer(strategy="constant", fill_value=9.0))
    )
    missing = np.isnan(gaps[:, -1])

    assert not np.allclose(plain[missing], filled[missing])
    by_nine = made(outside.EconStyle).fit(np.nan_to_num(gaps, nan=9.0), Y, W)
    np.testing.assert_allclose(filled, by_nine.predict(np.nan_to_num(gaps, nan=9.0), is_oos=True))


@pytest.mark.parametrize(
    ("factory", "params", "message"),
    [
        (outside.WithoutArms, {}, r"found WithoutArms.fit\(X, y\). Wrap it"),
        (outside.TellsNothing, {}, "neither effect nor predict"),
        (outside.Asking, {}, r"found Asking.fit\(X, y, w, instrument\)"),
        (RandomForestRegressor, {}, r"RandomForestRegressor.fit\(X, y, sample_weight\)"),
        (outside.EconStyle, {"discrete_treatment": False}, "arms have no order; found False"),
        (outside.CausalStyle, {"control_name": "c"}, "the control is the data's; found 'c'"),
    ],
)
def test_classes_that_tell_no_effects_are_refused_at_once(factory, params, message):
    with pytest.raises(ValueError, match=message):
        made(factory, params=params)


def test_effects_of_other_rows_or_arms_or_not_finite_are_refused():
    with pytest.raises(ValueError, match=r"each of 100 rows and 1 arms .* found shape"):
        made(outside.Lost, 2).fit(X, Y, W > 0)
    with pytest.raises(ValueError, match="each of 100 rows and 2 arms"):
        made(outside.Plain).fit(X, Y, W)
    with pytest.raises(ValueError, match=r"Expected finite effects from EconStyle\.effect"):
        made(outside.EconStyle, params={"shift": np.inf}).fit(X, Y, W)
    texts = pd.DataFrame({"a": pd.Categorical(list("xyz") * 100)})
    with pytest.raises(ValueError, match="features that are numbers for EconStyle"):
        made(outside.EconStyle).fit(texts, Y, W)


def test_the_base_model_alone_tells_0_for_the_control():
    arms = np.eye(3)[W][:, 1:]
    model = OutsideEstimator(outside.EconStyle, n_arms=3).fit(np.hstack([X, arms]), Y)
    found = model.predict(np.hstack([X, arms]))

    assert (found[W == 0] == 0).all()
    expected = by_hand(outside.EconStyle, np.arange(300), np.arange(300))
    np.testing.assert_allclose(found[W == 2], expected[W == 2, 1])
