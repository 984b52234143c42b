"""The interface taken over from metalearners 0.13: names, arguments, shapes and identities."""

import inspect
import logging
import pickle
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss, r2_score, root_mean_squared_error
from sklearn.model_selection import KFold, StratifiedKFold

from metalearners import (
    DRLearner,
    RALearner,
    RLearner,
    SLearner,
    TLearner,
    ULearner,
    XLearner,
)
from metalearners.cross_fit_estimator import _MEAN, MEDIAN, OVERALL, CrossFitEstimator
from metalearners.explainer import Explainer
from metalearners.grid_search import GSResult, MetaLearnerGridSearch
from metalearners.metalearner import (
    NUISANCE,
    PROPENSITY_MODEL,
    TREATMENT,
    TREATMENT_MODEL,
    VARIANT_OUTCOME_MODEL,
    MetaLearner,
    get_overall_estimators,
)
from metalearners.rlearner import OUTCOME_MODEL, r_loss
from metalearners.slearner import _BASE_MODEL
from metalearners.xlearner import CONTROL_EFFECT_MODEL, TREATMENT_EFFECT_MODEL
from tests.simulate import (
    LEARNERS,
    WITH_OUTCOMES_BY_ARM,
    WITH_PROPENSITY,
    WITH_TREATMENT_MODEL,
    WITH_TREATMENT_STAGE,
    draw,
    draw_classes,
    linear_learner,
    three_outcomes,
    three_propensities,
)

each_learner = pytest.mark.parametrize("learner", LEARNERS)
needs_propensity = pytest.mark.parametrize("learner", WITH_PROPENSITY)
S = draw(200)
S3 = draw(300, three_outcomes, three_propensities)
NEW = draw(40, seed=9).X


# What fits were given. A key covers the values that code reads, and so would move with each fit; of
# a logger it has the name alone.
RECORD: Any = logging.getLogger("tests.counted")
RECORD.fits, RECORD.given = Counter(), []


class Counted(LinearRegression):
    """Counts its fits and records what they were given."""

    def __init__(self, name: str = "", alpha: float = 0) -> None:
        self.name = name
        self.alpha = alpha
        super().__init__()

    def fit(self, X, y, sample_weight=None, row=None, flag=None):
        RECORD.fits[self.name, self.alpha] += 1
        RECORD.given.append({"X": X, "weight": sample_weight, "row": row, "flag": flag})
        return super().fit(X, y, sample_weight)


@pytest.fixture
def counted() -> type[Counted]:
    RECORD.fits.clear()
    RECORD.given.clear()
    return Counted


def nuisances_of(learner: MetaLearner, *kinds: str) -> dict:
    return {kind: learner._nuisance_models[kind] for kind in kinds}


# 1, 2: names, model kinds and constructors


def test_constants_are_the_names_of_model_kinds_and_methods():
    assert (NUISANCE, TREATMENT) == ("nuisance", "treatment")
    assert (PROPENSITY_MODEL, OUTCOME_MODEL) == ("propensity_model", "outcome_model")
    assert (VARIANT_OUTCOME_MODEL, _BASE_MODEL) == ("variant_outcome_model", "base_model")
    assert TREATMENT_MODEL == "treatment_model"
    assert CONTROL_EFFECT_MODEL == "control_effect_model"
    assert TREATMENT_EFFECT_MODEL == "treatment_effect_model"
    assert (OVERALL, MEDIAN, _MEAN) == ("overall", "median", "mean")
    assert inspect.isabstract(MetaLearner)
    assert isinstance(Explainer, type)
    assert list(GSResult.__dataclass_fields__) == [
        "metalearner",
        "train_scores",
        "test_scores",
        "fit_time",
        "score_time",
    ]


SPECIFICATIONS = {
    SLearner: ({"base_model": (1, None)}, {}),
    TLearner: ({"variant_outcome_model": (3, None)}, {}),
    XLearner: (
        {"variant_outcome_model": (3, None), "propensity_model": (1, "predict_proba")},
        {"control_effect_model": (2, "predict"), "treatment_effect_model": (2, "predict")},
    ),
    RLearner: (
        {"propensity_model": (1, "predict_proba"), "outcome_model": (2, None)},
        {"treatment_model": (2, "predict")},
    ),
    DRLearner: (
        {"propensity_model": (1, "predict_proba"), "variant_outcome_model": (3, None)},
        {"treatment_model": (2, "predict")},
    ),
    ULearner: (
        {"propensity_model": (1, "predict_proba"), "outcome_model": (2, None)},
        {"treatment_model": (2, "predict")},
    ),
    RALearner: ({"variant_outcome_model": (3, None)}, {"treatment_model": (2, "predict")}),
}


@each_learner
@pytest.mark.parametrize("classes", [False, True])
def test_specifications_are_functions_of_a_learner(learner, classes):
    made = linear_learner(learner, classes, n_variants=3)
    outcome_method = "predict_proba" if classes else "predict"
    given = learner.nuisance_model_specifications(), learner.treatment_model_specifications()

    for found, expected in zip(given, SPECIFICATIONS[learner], strict=True):
        assert {
            kind: (own["cardinality"](made), own["predict_method"](made))
            for kind, own in found.items()
        } == {kind: (n, method or outcome_method) for kind, (n, method) in expected.items()}


def test_an_r_learner_has_one_outcome_model_where_it_is_told_to():
    made = linear_learner(RLearner, n_variants=3, outcome_rows="all")

    assert RLearner.nuisance_model_specifications()[OUTCOME_MODEL]["cardinality"](made) == 1
    assert made.fit(S3.X, S3.y, S3.w).predict(S3.X, False).shape == (300, 2, 1)


POSITIONS = [
    "is_classification",
    "n_variants",
    "nuisance_model_factory",
    "treatment_model_factory",
    "propensity_model_factory",
    "nuisance_model_params",
    "treatment_model_params",
    "propensity_model_params",
    "fitted_nuisance_models",
    "fitted_propensity_model",
    "feature_set",
    "n_folds",
    "random_state",
]
FIT = [
    "X",
    "y",
    "w",
    "n_jobs_cross_fitting",
    "fit_params",
    "synchronize_cross_fitting",
    "n_jobs_base_learners",
]
ONE = ["X", "y", "model_kind", "model_ord", "fit_params", "n_jobs_cross_fitting", "cv"]


def positional(function) -> list[str]:
    """Names of the arguments that may be given by position."""
    by_place = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
    own = inspect.signature(function).parameters.values()
    return [p.name for p in own if p.kind in by_place and p.name != "self"]


@each_learner
def test_arguments_keep_their_positions(learner):
    more = ["adaptive_clipping"] if learner is DRLearner else []
    assert positional(learner) == POSITIONS + more
    assert positional(learner.fit) == positional(learner.fit_all_nuisance) == FIT
    assert positional(learner.fit_nuisance) == positional(learner.fit_treatment) == ONE
    predict = ["X", "is_oos", "oos_method"]
    assert positional(learner.predict) == predict
    assert positional(learner.predict_conditional_average_outcomes) == predict
    one = ["X", "model_kind", "model_ord", "is_oos", "oos_method"]
    assert positional(learner.predict_nuisance) == positional(learner.predict_treatment) == one
    evaluate = ["X", "y", "w", "is_oos", "oos_method", "scoring"]
    assert positional(learner.evaluate) == evaluate


def test_epsilon_follows_the_other_arguments_of_an_r_learner_s_treatment_stage():
    made = linear_learner(RLearner, random_state=1).fit_all_nuisance(S.X, S.y, S.w)
    again = linear_learner(RLearner, random_state=1).fit_all_nuisance(S.X, S.y, S.w)

    made.fit_all_treatment(S.X, S.y, S.w, epsilon=0.6)
    again.fit_all_treatment(S.X, S.y, S.w, None, None, True, None, 0.6)

    np.testing.assert_array_equal(made.predict(S.X, False), again.predict(S.X, False))


@each_learner
def test_dicts_by_model_kind_equal_one_value_for_all(learner):
    made = linear_learner(learner, n_folds=3)
    kinds = [*made.NUISANCE_KINDS, *made.TREATMENT_KINDS, "a kind of another learner"]
    nuisance = [kind for kind in kinds if kind != PROPENSITY_MODEL]
    by_kind = linear_learner(
        learner,
        nuisance_model_factory=dict.fromkeys(nuisance, LinearRegression),
        treatment_model_factory=dict.fromkeys(kinds, LinearRegression),
        nuisance_model_params={kind: {} for kind in nuisance},
        treatment_model_params={kind: {"fit_intercept": True} for kind in kinds},
        n_folds=dict.fromkeys(kinds, 3),
        **({} if learner is SLearner else {"feature_set": dict.fromkeys(kinds)}),
    )

    np.testing.assert_array_equal(
        by_kind.fit(S.X, S.y, S.w).predict(NEW, True), made.fit(S.X, S.y, S.w).predict(NEW, True)
    )


def test_a_dict_that_misses_a_kind_is_a_value_for_all():
    with pytest.raises(ValueError, match="names every model kind"):
        linear_learner(XLearner, treatment_model_factory={CONTROL_EFFECT_MODEL: Ridge})
    with pytest.raises(ValueError, match="strictly positive"):
        linear_learner(DRLearner, n_folds={PROPENSITY_MODEL: 3})


@pytest.mark.parametrize("n_folds", [1, 2])
def test_an_empty_feature_set_is_a_column_of_ones(n_folds):
    made = linear_learner(TLearner, feature_set=[], n_folds=n_folds)
    made.fit(S.X, S.y, S.w, synchronize_cross_fitting=n_folds > 1)

    difference = S.y[S.w == 1].mean() - S.y[S.w == 0].mean()
    np.testing.assert_allclose(made.predict(NEW, True), difference)


def test_names_and_positions_of_features_are_not_mixed():
    X = pd.DataFrame(S.X, columns=list("abcde"))
    with pytest.raises(ValueError, match="must either be all ints"):
        linear_learner(TLearner, feature_set=["a", 1]).fit(X, S.y, S.w)


# 3: prefitted models


PREFITTED = [
    (learner, [kind for kind in learner.NUISANCE_KINDS if kind != PROPENSITY_MODEL])
    for learner in LEARNERS
]
prefitted = pytest.mark.parametrize(("learner", "kinds"), PREFITTED)


@prefitted
def test_prefitted_models_are_never_fitted_again(learner, kinds, counted):
    first = linear_learner(learner, nuisance_model_factory=counted).fit(S.X, S.y, S.w)
    fits = RECORD.fits.total()
    again = learner(
        False,
        2,
        None,
        LinearRegression,
        LogisticRegression,
        propensity_model_params={"C": np.inf, "max_iter": 10_000, "tol": 1e-12},
        fitted_nuisance_models=nuisances_of(first, *kinds),
        n_folds=5,
    )
    again.fit(S.X, S.y, S.w)

    assert RECORD.fits.total() == fits > 0
    np.testing.assert_array_equal(again.predict(S.X, False), first.predict(S.X, False))
    np.testing.assert_array_equal(again.predict(NEW, True), first.predict(NEW, True))


@prefitted
def test_prefitted_models_are_copied_but_a_prefitted_propensity_is_not(learner, kinds):
    first = linear_learner(learner).fit(S.X, S.y, S.w)
    given = nuisances_of(first, *kinds)
    propensity = first._nuisance_models.get(PROPENSITY_MODEL, [None])[0]
    again = linear_learner(
        learner, fitted_nuisance_models=given, fitted_propensity_model=propensity
    )

    for kind in kinds:
        assert all(
            a is not b for a, b in zip(again._nuisance_models[kind], given[kind], strict=True)
        )
    if propensity is not None:
        assert again._nuisance_models[PROPENSITY_MODEL][0] is propensity
        assert again.init_args["fitted_propensity_model"] is propensity


@pytest.mark.parametrize("learner", LEARNERS)
def test_init_args_make_an_unfitted_twin(learner):
    first = linear_learner(learner).fit(S.X, S.y, S.w)
    kinds = [kind for kind in learner.NUISANCE_KINDS if kind != PROPENSITY_MODEL]
    made = linear_learner(
        learner,
        fitted_nuisance_models=nuisances_of(first, *kinds),
        fitted_propensity_model=first._nuisance_models.get(PROPENSITY_MODEL, [None])[0],
    )

    twin = learner(**made.init_args)

    expected = made.fit(S.X, S.y, S.w).predict(S.X, False)
    np.testing.assert_array_equal(twin.fit(S.X, S.y, S.w).predict(S.X, False), expected)


@pytest.mark.parametrize("learner", WITH_OUTCOMES_BY_ARM)
def test_a_model_of_one_arm_s_rows_is_reused(learner):
    models = [
        CrossFitEstimator(3, LinearRegression, random_state=4).fit(S.X[S.w == k], S.y[S.w == k])
        for k in (0, 1)
    ]
    made = linear_learner(learner, fitted_nuisance_models={VARIANT_OUTCOME_MODEL: models})

    made.fit(S.X, S.y, S.w)

    mu = made.predict_conditional_average_outcomes(S.X, False)[:, :, 0]
    for k, model in enumerate(models):
        own, X = S.w == k, S.X
        np.testing.assert_array_equal(mu[own, k], model.predict(X[own], is_oos=False))
        np.testing.assert_allclose(mu[~own, k], model.predict(X[~own], True, "overall"))


def test_prefitted_models_that_do_not_fit_are_refused():
    s = draw_classes(200)
    fitted = linear_learner(DRLearner).fit(S.X, S.y, S.w)._nuisance_models
    classes = linear_learner(TLearner, classes=True).fit(s.X, s.y, s.w)._nuisance_models
    unfitted = [CrossFitEstimator(3, LinearRegression) for _ in range(2)]
    cases = [
        ({PROPENSITY_MODEL: fitted[PROPENSITY_MODEL]}, "The keys present"),
        ({"foo": fitted[VARIANT_OUTCOME_MODEL]}, "The keys present"),
        ({VARIANT_OUTCOME_MODEL: unfitted}, "Expected fitted models"),
        ({VARIANT_OUTCOME_MODEL: fitted[VARIANT_OUTCOME_MODEL][:1]}, "list of 2"),
        (classes, "predict method 'predict'"),
    ]

    for given, message in cases:
        with pytest.raises(ValueError, match=message):
            linear_learner(DRLearner, fitted_nuisance_models=given)
    with pytest.raises(ValueError, match="predict method 'predict_proba'"):
        linear_learner(DRLearner, fitted_propensity_model=fitted[VARIANT_OUTCOME_MODEL][0])


def test_prefitted_models_of_other_rows_are_refused():
    first = linear_learner(RLearner).fit(S.X, S.y, S.w)
    other = draw(200, seed=5)
    made = linear_learner(
        RLearner, fitted_nuisance_models={OUTCOME_MODEL: first._nuisance_models[OUTCOME_MODEL]}
    )

    with pytest.raises(ValueError, match="unlike data encountered in training"):
        made.fit(other.X, other.y, other.w)


# 4: fitting


@each_learner
@pytest.mark.parametrize("classes", [False, True])
def test_the_two_stages_together_are_a_fit(learner, classes):
    s = draw_classes(200) if classes else S
    whole, parts = linear_learner(learner, classes), linear_learner(learner, classes)

    whole.fit(s.X, s.y, s.w)
    assert parts.fit_all_nuisance(s.X, s.y, s.w) is parts
    assert parts.fit_all_treatment(s.X, s.y, s.w) is parts

    for is_oos in (False, True):
        np.testing.assert_array_equal(parts.predict(s.X, is_oos), whole.predict(s.X, is_oos))


@pytest.mark.parametrize("learner", WITH_TREATMENT_STAGE)
def test_the_treatment_stage_needs_the_nuisance_stage(learner):
    made = linear_learner(learner)
    with pytest.raises(ValueError, match="The nuisance models need to be fitted"):
        made.fit_all_treatment(S.X, S.y, S.w)
    made.fit_all_nuisance(S.X, S.y, S.w)
    with pytest.raises(ValueError, match="fit"):
        made.predict(NEW, True)


def test_models_fitted_one_by_one_are_those_of_a_dr_learner():
    made = linear_learner(DRLearner)
    for k in (0, 1):
        own = S.w == k
        made.fit_nuisance(S.X[own], S.y[own], VARIANT_OUTCOME_MODEL, k)
    made.fit_nuisance(S.X, S.w, PROPENSITY_MODEL, 0)
    made.fit_all_treatment(S.X, S.y, S.w)

    target = made._pseudo_outcome(S.X, S.y, S.w, 1, is_oos=False)
    by_hand = LinearRegression().fit(S.X, target)
    np.testing.assert_allclose(made.predict(NEW, True)[:, 0, 0], by_hand.predict(NEW))
    made.fit_treatment(S.X, 5 + 0 * target, TREATMENT_MODEL, 0)
    np.testing.assert_allclose(made.predict(NEW, True), 5)


def test_one_model_is_fitted_on_given_folds():
    cv = list(KFold(5).split(S.X))
    made = linear_learner(TLearner).fit_nuisance(S.X, S.y, VARIANT_OUTCOME_MODEL, 1, cv=cv)

    train, test = cv[2]
    found = made._nuisance_models[VARIANT_OUTCOME_MODEL][1].predict(S.X, is_oos=False)
    by_hand = LinearRegression().fit(S.X[train], S.y[train])
    np.testing.assert_allclose(found[test], by_hand.predict(S.X[test]))


def test_unknown_models_are_refused():
    made = linear_learner(DRLearner)
    with pytest.raises(ValueError, match="model_kind"):
        made.fit_nuisance(S.X, S.y, TREATMENT_MODEL, 0)
    with pytest.raises(ValueError, match="model_ord"):
        made.fit_nuisance(S.X, S.y, VARIANT_OUTCOME_MODEL, 2)
    with pytest.raises(ValueError, match="model_kind"):
        made.fit_treatment(S.X, S.y, VARIANT_OUTCOME_MODEL, 0)


def counting_x(counted: type) -> XLearner:
    factories = (counted, counted, LogisticRegression)
    params = ({"name": "nuisance"}, {"name": "treatment"})
    return XLearner(False, 2, *factories, *params, n_folds=2)


def test_flat_fit_params_go_to_every_model(counted):
    made = linear_learner(
        TLearner, nuisance_model_factory=counted, nuisance_model_params={"name": "t"}, n_folds=2
    )
    made.fit(S.X, S.y, S.w, fit_params={"flag": 7, "row": np.arange(200)})

    assert len(RECORD.given) == 2 * 3
    for given in RECORD.given:
        assert given["flag"] == 7
        np.testing.assert_array_equal(S.X[given["row"]], given["X"])  # cut to the fit's rows


def test_nested_fit_params_go_to_the_kinds_they_name(counted):
    made = counting_x(counted)
    made.fit(
        S.X,
        S.y,
        S.w,
        fit_params={
            "nuisance": {VARIANT_OUTCOME_MODEL: {"flag": 1}},
            "treatment": {CONTROL_EFFECT_MODEL: {"flag": 2, "row": pd.Series(np.arange(200))}},
        },
    )

    flags = Counter(given["flag"] for given in RECORD.given)
    assert flags == {1: 6, 2: 3, None: 3}
    for given in RECORD.given:
        assert (given["row"] is not None) == (given["flag"] == 2)
        if given["row"] is not None:
            np.testing.assert_array_equal(S.X[np.asarray(given["row"])], given["X"])


@pytest.mark.parametrize("learner", [one for one in LEARNERS if not one.WEIGHTED])
def test_weights_in_fit_params_are_those_of_the_rows_of_each_fit(learner):
    """The same as the argument sample_weight."""
    weight = np.random.default_rng(0).uniform(0.5, 2, 200)
    as_param, as_argument, plain = (linear_learner(learner) for _ in range(3))

    as_param.fit(S.X, S.y, S.w, fit_params={"sample_weight": weight})
    as_argument.fit(S.X, S.y, S.w, sample_weight=weight)
    plain.fit(S.X, S.y, S.w)

    found = as_param.predict(NEW, True)
    np.testing.assert_array_equal(found, as_argument.predict(NEW, True))
    assert np.abs(found - plain.predict(NEW, True)).max() > 1e-3


def test_an_r_learner_takes_weights_for_its_nuisances_alone():
    weight = np.random.default_rng(0).uniform(0.5, 2, 200)
    made = linear_learner(RLearner)
    for given in (
        {"sample_weight": weight},
        {"treatment": {TREATMENT_MODEL: {"sample_weight": weight}}},
    ):
        with pytest.raises(ValueError, match="sample_weight"):
            made.fit(S.X, S.y, S.w, fit_params=given)

    made.fit(S.X, S.y, S.w, fit_params={"nuisance": {OUTCOME_MODEL: {"sample_weight": weight}}})

    by_hand = LinearRegression().fit(S.X, S.y, weight)
    np.testing.assert_allclose(
        made.predict_nuisance(NEW, OUTCOME_MODEL, 0, True), by_hand.predict(NEW)
    )


@each_learner
@pytest.mark.parametrize("jobs", [(2, None), (None, 2), (None, -1)])
def test_parallel_work_changes_no_bit(learner, jobs):
    folds, models = jobs
    a = linear_learner(learner).fit(S.X, S.y, S.w)
    b = linear_learner(learner).fit(S.X, S.y, S.w, folds, None, True, models)

    np.testing.assert_array_equal(a.predict(S.X, False), b.predict(S.X, False))


@pytest.mark.parametrize("learner", [SLearner, TLearner])
def test_classes_may_have_any_labels_in_s_and_t_learners(learner):
    """0.13 takes texts as classes there."""
    s = draw_classes(200)
    expected = linear_learner(learner, True).fit(s.X, s.y, s.w).predict(s.X, False)
    labels = np.array(["no", "yes"])[s.y]

    with pytest.warns(UserWarning, match="effects on 'yes'"):
        made = linear_learner(learner, True).fit(s.X, labels, s.w)

    np.testing.assert_array_equal(made.predict(s.X, False), expected)


@each_learner
def test_arms_may_have_names(learner):
    named = np.array(["none", "mail", "call"])[S3.w]
    a = linear_learner(learner, n_variants=3).fit(S3.X, S3.y, S3.w)
    b = linear_learner(learner, n_variants=3, arms=["none", "mail", "call"])
    b.fit(S3.X, S3.y, pd.Series(named, dtype="category"))

    np.testing.assert_array_equal(a.predict(S3.X, False), b.predict(S3.X, False))
    assert a.evaluate(S3.X, S3.y, S3.w, False) == b.evaluate(S3.X, S3.y, named, False)


@needs_propensity
@pytest.mark.parametrize("n_variants", [2, 3])
def test_known_propensities_have_many_forms(learner, n_variants):
    s = S if n_variants == 2 else S3
    e = np.array([0.25, 0.75] if n_variants == 2 else [0.5, 0.25, 0.25])
    X = pd.DataFrame(s.X, columns=list("abcde")).assign(**{f"e{k}": p for k, p in enumerate(e)})
    forms = [e.tolist(), np.tile(e, (len(X), 1)), [f"e{k}" for k in range(n_variants)]]
    if n_variants == 2:
        forms += [0.75, np.full(len(X), 0.75), pd.Series(np.full(len(X), 0.75)), "e1"]
    found = []
    for form in forms:
        made = linear_learner(learner, n_variants=n_variants, feature_set=[0, 1, 2, 3, 4])
        made.fit(X, s.y, s.w, propensity=form)
        found.append([made.predict(X, False), made.predict(X[:50], True)])

    for inside, outside in found[1:]:
        np.testing.assert_array_equal(inside, found[0][0])
        np.testing.assert_array_equal(outside, found[0][1])


@each_learner
def test_folds_may_be_given_as_pairs_or_numbers(learner):
    numbers = np.arange(200) % 4
    pairs = [(np.flatnonzero(numbers != k), np.flatnonzero(numbers == k)) for k in range(4)]
    found = [
        linear_learner(learner).fit(S.X, S.y, S.w, cv=cv).predict(S.X, False)
        for cv in (pairs, numbers, iter(pairs))
    ]

    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_the_models_of_a_fold_predict_its_rows_for_all_arms():
    numbers = np.arange(200) % 4
    made = linear_learner(TLearner).fit(S.X, S.y, S.w, cv=numbers)

    mu = made.predict_conditional_average_outcomes(S.X, False)[:, :, 0]

    for fold in range(4):
        test = numbers == fold
        for k in (0, 1):
            train = ~test & (S.w == k)
            by_hand = LinearRegression().fit(S.X[train], S.y[train])
            np.testing.assert_allclose(mu[test, k], by_hand.predict(S.X[test]))


# 5: CrossFitEstimator


def test_a_regressor_predicts_its_rows_by_models_of_the_other_folds():
    cv = list(KFold(4, shuffle=True, random_state=3).split(S.X))
    made = CrossFitEstimator(4, LinearRegression, {"fit_intercept": False})
    assert made.fit(S.X, S.y, cv=cv) is made
    models = [LinearRegression(fit_intercept=False).fit(S.X[a], S.y[a]) for a, _ in cv]

    inside = made.predict(S.X, is_oos=False)
    for model, (_, test) in zip(models, cv, strict=True):
        np.testing.assert_allclose(inside[test], model.predict(S.X[test]))
    parts = [model.predict(NEW) for model in models]
    overall = LinearRegression(fit_intercept=False).fit(S.X, S.y)
    expected = {
        OVERALL: overall.predict(NEW),
        _MEAN: np.mean(parts, axis=0),
        MEDIAN: np.median(parts, axis=0),
    }
    for method, values in expected.items():
        assert made.predict(NEW, True, method).shape == (40,)
        np.testing.assert_allclose(made.predict(NEW, True, method), values)
    assert made.score(S.X, S.y, False) == r2_score(S.y, inside)
    weight = np.arange(200)
    assert made.score(S.X, S.y, True, OVERALL, weight) == pytest.approx(
        r2_score(S.y, overall.predict(S.X), sample_weight=weight)
    )
    assert made.classes_ is None


def test_a_classifier_predicts_labels_and_probabilities():
    s = draw_classes(200, n_classes=3)
    labels = np.array(["c", "a", "b"])[s.y]
    cv = list(StratifiedKFold(3).split(s.X, labels))
    made = CrossFitEstimator(3, LogisticRegression).fit(s.X, labels, cv=cv)
    models = [LogisticRegression().fit(s.X[a], labels[a]) for a, _ in cv]
    new = draw_classes(30, seed=1).X

    assert made.classes_.tolist() == ["a", "b", "c"]
    inside = made.predict_proba(s.X, is_oos=False)
    assert inside.shape == (200, 3)
    for model, (_, test) in zip(models, cv, strict=True):
        np.testing.assert_allclose(inside[test], model.predict_proba(s.X[test]), atol=1e-9)
    np.testing.assert_array_equal(made.predict(s.X, False), made.classes_[inside.argmax(axis=1)])
    np.testing.assert_allclose(
        made.predict_proba(new, True, _MEAN),
        np.mean([model.predict_proba(new) for model in models], axis=0),
        atol=1e-9,
    )
    overall = LogisticRegression().fit(s.X, labels)
    np.testing.assert_array_equal(made.predict(new, True, OVERALL), overall.predict(new))
    assert made.score(s.X, labels, True, OVERALL) == overall.score(s.X, labels)
    assert made.score(s.X, labels, False) == accuracy_score(labels, made.predict(s.X, False))


def test_ways_to_combine_that_make_no_sense_are_refused():
    s = draw_classes(200)
    classes = CrossFitEstimator(3, LogisticRegression).fit(s.X, s.y)
    numbers = CrossFitEstimator(3, LinearRegression, enable_overall=False).fit(s.X, s.y)

    with pytest.raises(ValueError, match="Cannot create a mean of classes"):
        classes.predict(s.X, True, _MEAN)
    with pytest.raises(ValueError, match="Cannot create median of class probabilities"):
        classes.predict_proba(s.X, True, MEDIAN)
    with pytest.raises(ValueError, match="enable_overall"):
        numbers.predict(s.X, True, OVERALL)
    for method in (None, "most"):
        with pytest.raises(ValueError, match="not supported"):
            numbers.predict(s.X, True, method)
    with pytest.raises(ValueError, match="unlike data encountered in training"):
        numbers.predict(s.X[1:], False)
    assert numbers._overall_estimator is None
    with pytest.raises(ValueError, match="overall models need to be fitted"):
        get_overall_estimators([numbers])


def test_one_fold_is_the_overall_model_with_a_warning():
    made = CrossFitEstimator(1, LinearRegression).fit(S.X, S.y)
    overall = LinearRegression().fit(S.X, S.y).predict(S.X)

    with pytest.warns(UserWarning, match="Cross-fitting is deactivated. Using overall model"):
        np.testing.assert_allclose(made.predict(S.X, is_oos=False), overall)
    np.testing.assert_allclose(made.predict(S.X, True, OVERALL), overall)
    for method in (_MEAN, MEDIAN):
        with pytest.raises(ValueError, match="only the 'overall' prediction method"):
            made.predict(S.X, True, method)
    with pytest.raises(
        ValueError, match="CrossFitting is deactivated as 'n_folds' is set to 1, but"
    ):
        CrossFitEstimator(1, LinearRegression, enable_overall=False)


def test_a_clone_is_unfitted_and_a_fitted_one_keeps_to_its_rows():
    made = CrossFitEstimator(3, Ridge, {"alpha": 2.0}, False, 7).fit(S.X, S.y)
    copy = made.clone()

    assert (copy.n_folds, copy.estimator_factory, copy.estimator_params) == (3, Ridge, {"alpha": 2})
    assert (copy.enable_overall, copy.random_state) == (False, 7)
    with pytest.raises(ValueError, match="fit"):
        copy.predict(S.X, False)
    np.testing.assert_array_equal(copy.fit(S.X, S.y).predict(S.X, False), made.predict(S.X, False))
    with pytest.raises(ValueError, match="rely on different numbers of observations"):
        made.fit(S.X[:100], S.y[:100])
    with pytest.raises(NotImplementedError):
        made.set_params(n_folds=2)


def test_folds_that_miss_a_class_are_refused():
    labels = np.arange(200) // 100
    halves = [(np.arange(100), np.arange(100, 200)), (np.arange(100, 200), np.arange(100))]
    with pytest.raises(ValueError, match="Some folds in cross-fitting had fewer classes"):
        CrossFitEstimator(2, LogisticRegression).fit(S.X, labels, cv=halves)


def test_fit_params_of_an_estimator_are_cut_to_its_rows(counted):
    made = CrossFitEstimator(4, counted)
    made.fit(S.X, S.y, fit_params={"row": np.arange(200), "flag": "x"}, n_jobs_cross_fitting=1)

    assert sorted(len(given["X"]) for given in RECORD.given) == [150] * 4 + [200]
    for given in RECORD.given:
        np.testing.assert_array_equal(S.X[given["row"]], given["X"])


# 6: predictions


@each_learner
@pytest.mark.parametrize("oos_method", [OVERALL, _MEAN, MEDIAN])
def test_new_rows_are_predicted_by_one_model_or_by_those_of_the_folds(learner, oos_method):
    made = linear_learner(learner).fit(S.X, S.y, S.w)

    assert made.predict(NEW, True, oos_method).shape == (40, 1, 1)
    if learner in WITH_TREATMENT_MODEL:
        model = made._treatment_models[TREATMENT_MODEL][0]
        np.testing.assert_array_equal(
            made.predict(NEW, True, oos_method)[:, 0, 0], model.predict(NEW, True, oos_method)
        )


def test_a_median_weighs_by_the_overall_propensity_in_an_x_learner():
    made = linear_learner(XLearner).fit(S.X, S.y, S.w)
    control, treated = (
        made.predict_treatment(NEW, kind, 0, True, MEDIAN)
        for kind in (CONTROL_EFFECT_MODEL, TREATMENT_EFFECT_MODEL)
    )
    g = made.predict_nuisance(NEW, PROPENSITY_MODEL, 0, True, OVERALL)[:, 1]

    np.testing.assert_allclose(
        made.predict(NEW, True, MEDIAN)[:, 0, 0], g * control + (1 - g) * treated
    )


@each_learner
@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("is_oos", [False, True])
def test_outcomes_of_arms_differ_by_the_effects(learner, classes, is_oos):
    s = draw_classes(300) if classes else S3
    n_variants = s.n_variants
    made = linear_learner(learner, classes, n_variants).fit(s.X, s.y, s.w)

    mu = made.predict_conditional_average_outcomes(s.X, is_oos)
    tau = made.predict(s.X, is_oos)

    assert mu.shape == (300, n_variants, 2 if classes else 1)
    assert tau.shape == (300, n_variants - 1, 2 if classes else 1)
    if classes:
        np.testing.assert_allclose(mu.sum(axis=2), 1)
        np.testing.assert_allclose(tau.sum(axis=2), 0, atol=1e-12)
    if learner is TLearner or learner not in WITH_OUTCOMES_BY_ARM:
        np.testing.assert_allclose(mu[:, 1:] - mu[:, :1], tau, atol=1e-12)
    if learner in WITH_OUTCOMES_BY_ARM:
        for k in range(n_variants):
            asked = made.predict_nuisance(s.X, VARIANT_OUTCOME_MODEL, k, is_oos)
            np.testing.assert_array_equal(mu[:, k], asked if classes else asked[:, None])


@pytest.mark.parametrize("is_oos", [False, True])
def test_outcomes_of_an_r_learner_average_to_its_mean_outcome(is_oos):
    """One has m = sum_k e_k mu_k where there is one outcome model."""
    for s, more in ((S, {}), (S3, {"outcome_rows": "all"})):
        made = linear_learner(RLearner, n_variants=s.n_variants, **more).fit(s.X, s.y, s.w)
        mu = made.predict_conditional_average_outcomes(s.X, is_oos)[:, :, 0]
        e = made.predict_nuisance(s.X, PROPENSITY_MODEL, 0, is_oos)
        m = made.predict_nuisance(s.X, OUTCOME_MODEL, 0, is_oos)

        np.testing.assert_allclose((e * mu).sum(axis=1), m)


@each_learner
def test_models_are_asked_one_by_one(learner):
    made = linear_learner(learner, feature_set=None if learner is SLearner else [0, 1])
    made.fit(S.X, S.y, S.w)
    for kind in made.NUISANCE_KINDS:
        shape = (40, 2) if kind in (PROPENSITY_MODEL, _BASE_MODEL) else (40,)
        assert made.predict_nuisance(NEW, kind, 0, True).shape == shape
    for kind in made.TREATMENT_KINDS:
        model = made._treatment_models[kind][0]
        found = made.predict_treatment(NEW, kind, 0, is_oos=True, oos_method=_MEAN)
        np.testing.assert_array_equal(found, model.predict(NEW[:, [0, 1]], True, _MEAN))
    with pytest.raises(ValueError, match="model_kind"):
        made.predict_nuisance(NEW, "foo", 0, True)
    with pytest.raises(ValueError, match="fit"):
        linear_learner(learner).predict_conditional_average_outcomes(NEW, True)


@pytest.mark.parametrize("learner", [SLearner, TLearner])
@pytest.mark.parametrize("oos_method", [OVERALL, _MEAN])
def test_several_classes_have_a_probability_each(learner, oos_method):
    s = draw_classes(300, n_classes=4)
    made = linear_learner(learner, True).fit(s.X, s.y, s.w)

    mu = made.predict_conditional_average_outcomes(s.X[:20], True, oos_method)

    assert mu.shape == (20, 2, 4)
    np.testing.assert_allclose(mu.sum(axis=2), 1)
    np.testing.assert_allclose(made.predict(s.X[:20], True, oos_method)[:, 0], mu[:, 1] - mu[:, 0])


# 7: evaluation


KEYS = {
    SLearner: ["base_model_{}"],
    TLearner: ["variant_outcome_model_0_{}", "variant_outcome_model_1_{}"],
    XLearner: [
        "variant_outcome_model_0_{}",
        "variant_outcome_model_1_{}",
        "propensity_model_neg_log_loss",
        "control_effect_model_1_vs_0_neg_root_mean_squared_error",
        "treatment_effect_model_1_vs_0_neg_root_mean_squared_error",
    ],
    RLearner: [
        "outcome_model_{}",
        "propensity_model_neg_log_loss",
        "treatment_model_1_vs_0_neg_root_mean_squared_error",
        "r_loss_1_vs_0",
    ],
    DRLearner: [
        "variant_outcome_model_0_{}",
        "variant_outcome_model_1_{}",
        "propensity_model_neg_log_loss",
        "treatment_model_1_vs_0_neg_root_mean_squared_error",
    ],
    ULearner: [
        "outcome_model_{}",
        "propensity_model_neg_log_loss",
        "treatment_model_1_vs_0_neg_root_mean_squared_error",
    ],
    RALearner: [
        "variant_outcome_model_0_{}",
        "variant_outcome_model_1_{}",
        "treatment_model_1_vs_0_neg_root_mean_squared_error",
    ],
}


@each_learner
@pytest.mark.parametrize("classes", [False, True])
def test_scores_are_named_by_model_and_scorer(learner, classes):
    s = draw_classes(200) if classes else S
    made = linear_learner(learner, classes).fit(s.X, s.y, s.w)
    default = "neg_log_loss" if classes else "neg_root_mean_squared_error"

    for is_oos in (False, True):
        found = made.evaluate(s.X, s.y, s.w, is_oos)
        assert set(found) == {key.format(default) for key in KEYS[learner]}
        assert all(isinstance(value, float) for value in found.values())


@pytest.mark.parametrize("is_oos", [False, True])
def test_scores_of_a_dr_learner_by_hand(is_oos):
    s = draw(150, seed=7) if is_oos else S
    made = linear_learner(DRLearner).fit(S.X, S.y, S.w)

    found = made.evaluate(s.X, s.y, s.w, is_oos)

    mu = made.predict_conditional_average_outcomes(s.X, is_oos)[:, :, 0]
    rmse = "neg_root_mean_squared_error"
    for k in (0, 1):
        own = s.w == k
        expected = -root_mean_squared_error(s.y[own], mu[own, k])
        assert found[f"variant_outcome_model_{k}_{rmse}"] == pytest.approx(expected)
    e = made.predict_nuisance(s.X, PROPENSITY_MODEL, 0, is_oos)
    assert found["propensity_model_neg_log_loss"] == pytest.approx(-log_loss(s.w, e))
    target = made._pseudo_outcome(s.X, s.y, s.w, 1, is_oos)
    expected = -root_mean_squared_error(target, made.predict(s.X, is_oos)[:, 0, 0])
    assert found[f"treatment_model_1_vs_0_{rmse}"] == pytest.approx(expected)


@pytest.mark.parametrize("is_oos", [False, True])
def test_scores_of_an_x_learner_s_effect_models_by_hand(is_oos):
    s = draw(150, seed=7) if is_oos else S
    made = linear_learner(XLearner).fit(S.X, S.y, S.w)

    found = made.evaluate(s.X, s.y, s.w, is_oos)

    mu = made.predict_conditional_average_outcomes(s.X, is_oos)[:, :, 0]
    cases = [(CONTROL_EFFECT_MODEL, mu[:, 1] - s.y, 0), (TREATMENT_EFFECT_MODEL, s.y - mu[:, 0], 1)]
    for kind, target, arm in cases:
        own = s.w == arm
        predicted = made.predict_treatment(s.X, kind, 0, is_oos)
        assert found[f"{kind}_1_vs_0_neg_root_mean_squared_error"] == pytest.approx(
            -root_mean_squared_error(target[own], predicted[own])
        )


@pytest.mark.parametrize("is_oos", [False, True])
def test_scores_of_an_r_learner_by_hand(is_oos):
    s = draw(150, seed=7) if is_oos else S
    made = linear_learner(RLearner).fit(S.X, S.y, S.w)

    found = made.evaluate(s.X, s.y, s.w, is_oos, scoring={TREATMENT_MODEL: ["r2"]})

    tau = made.predict(s.X, is_oos)[:, 0, 0]
    m = made.predict_nuisance(s.X, OUTCOME_MODEL, 0, is_oos)
    e = made.predict_nuisance(s.X, PROPENSITY_MODEL, 0, is_oos)[:, 1]
    assert found["r_loss_1_vs_0"] == pytest.approx(r_loss(tau, m, e, s.y, s.w))
    assert found["r_loss_1_vs_0"] == pytest.approx(
        np.sqrt(np.mean((s.y - m - (s.w - e) * tau) ** 2))
    )
    residual = s.w - np.clip(e, S.w.mean() / 10, 1 - (1 - S.w).mean() / 10)
    expected = r2_score((s.y - m) / residual, tau, sample_weight=residual**2)
    assert found["treatment_model_1_vs_0_r2"] == pytest.approx(expected)


def test_scorers_are_chosen_by_model_kind():
    def own(estimator, X, y):
        return accuracy_score(y, estimator.predict_proba(X)[:, 1] > 0.5)

    made = linear_learner(DRLearner).fit(S.X, S.y, S.w)
    found = made.evaluate(
        S.X,
        S.y,
        S.w,
        False,
        scoring={
            PROPENSITY_MODEL: ["accuracy", own],
            VARIANT_OUTCOME_MODEL: [],
            "a kind of another learner": ["r2"],
        },
    )

    assert set(found) == {
        "propensity_model_accuracy",
        "propensity_model_custom_scorer_1",
        "treatment_model_1_vs_0_neg_root_mean_squared_error",
    }
    assert found["propensity_model_accuracy"] == found["propensity_model_custom_scorer_1"]


@needs_propensity
def test_a_median_of_propensities_is_refused_in_evaluation(learner):
    made = linear_learner(learner).fit(S.X, S.y, S.w)
    with pytest.raises(ValueError, match="Cannot create median of class probabilities"):
        made.evaluate(S.X, S.y, S.w, True, MEDIAN)


@pytest.mark.parametrize("absent", ["a class", "a class of an arm"])
def test_rows_to_score_may_lack_a_class(absent):
    s = draw_classes(300, n_classes=3)
    made = linear_learner(TLearner, True).fit(s.X, s.y, s.w)
    gone = s.y == 1 if absent == "a class" else (s.y == 2) & (s.w == 1)
    X, y, w = s.X[~gone], s.y[~gone], s.w[~gone]

    found = made.evaluate(X, y, w, True, scoring={VARIANT_OUTCOME_MODEL: ["accuracy"]})

    p = made.predict_conditional_average_outcomes(X, True)
    for k in (0, 1):
        expected = accuracy_score(y[w == k], p[w == k, k].argmax(axis=1))
        assert found[f"variant_outcome_model_{k}_accuracy"] == pytest.approx(expected)


def test_the_r_loss_has_a_closed_form():
    rng = np.random.default_rng(0)
    tau, m, y = rng.normal(size=(3, 50))
    e, w = rng.uniform(0.2, 0.8, 50), rng.integers(0, 2, 50)

    assert r_loss(tau, m, e, y, w) == pytest.approx(root_mean_squared_error(y - m, (w - e) * tau))
    assert r_loss(tau, m, e, m + (w - e) * tau, w) == pytest.approx(0, abs=1e-15)
    with pytest.raises(ValueError, match="index"):
        r_loss(pd.Series(tau), pd.Series(m, np.arange(50)[::-1]), e, y, w)


# 8: grid search


def search(counted: type, **more) -> MetaLearnerGridSearch:
    return MetaLearnerGridSearch(
        **{
            "metalearner_factory": DRLearner,
            "metalearner_params": {"is_classification": False, "n_variants": 2, "n_folds": 3},
            "base_learner_grid": {
                VARIANT_OUTCOME_MODEL: [Ridge, counted],
                PROPENSITY_MODEL: [LogisticRegression],
                TREATMENT_MODEL: [counted],
            },
            "param_grid": {
                VARIANT_OUTCOME_MODEL: {"Counted": {"name": ["outcome"]}},
                TREATMENT_MODEL: {"Counted": {"name": ["effect"], "alpha": [1, 2]}},
            },
            "random_state": 3,
            **more,
        }
    )


def test_results_are_a_frame_indexed_by_the_grid(counted):
    gs = search(counted)
    test = draw(100, seed=5)

    assert gs.fit(S.X, S.y, S.w, test.X, test.y, test.w) is None

    assert gs.grid_size_ == len(gs.results_) == len(gs.raw_results_) == 4
    level = gs.results_.index.get_level_values
    assert set(level("metalearner")) == {"DRLearner"}
    assert list(level(TREATMENT_MODEL)) == ["Counted"] * 4
    assert sorted(level("treatment_model_alpha")) == [1, 1, 2, 2]
    names = [
        "variant_outcome_model_0_neg_root_mean_squared_error",
        "variant_outcome_model_1_neg_root_mean_squared_error",
        "propensity_model_neg_log_loss",
        "treatment_model_1_vs_0_neg_root_mean_squared_error",
    ]
    scores = [f"{part}_{name}" for part in ("train", "test") for name in names]
    assert set(gs.results_.columns) == {"fit_time", "score_time", *scores}
    for result, (_, row) in zip(gs.raw_results_, gs.results_.iterrows(), strict=True):
        assert isinstance(result, GSResult)
        assert isinstance(result.metalearner, DRLearner)
        assert result.train_scores == result.metalearner.evaluate(S.X, S.y, S.w, is_oos=False)
        assert result.test_scores == result.metalearner.evaluate(test.X, test.y, test.w, True)
        assert [row[score] for score in scores] == [
            *(result.train_scores[name] for name in names),
            *(result.test_scores[name] for name in names),
        ]


def test_levels_of_the_index_keep_a_kind_s_parameters_beside_it(counted):
    gs = search(counted)
    gs.fit(S.X, S.y, S.w)

    assert gs.results_.index.names == [
        "metalearner",
        "propensity_model",
        "variant_outcome_model",
        "variant_outcome_model_name",
        "treatment_model",
        "treatment_model_alpha",
        "treatment_model_name",
    ]


def test_models_that_points_have_in_common_are_fitted_once(counted):
    search(counted).fit(S.X, S.y, S.w)

    arms, fits = 2, 3 + 1  # models of the folds, and of all rows
    assert RECORD.fits["outcome", 0] == arms * fits
    assert RECORD.fits["effect", 1] == RECORD.fits["effect", 2] == 2 * fits


def test_points_whose_targets_have_equal_bits_share_their_treatment_models(counted):
    """As where two classes of outcome models predict the same."""
    search(
        counted,
        base_learner_grid={
            VARIANT_OUTCOME_MODEL: [LinearRegression, counted],
            PROPENSITY_MODEL: [LogisticRegression],
            TREATMENT_MODEL: [counted],
        },
    ).fit(S.X, S.y, S.w)

    assert RECORD.fits["effect", 1] == 3 + 1


def test_a_search_gives_what_learners_of_its_points_give(counted):
    gs = search(counted)
    gs.fit(S.X, S.y, S.w)

    for result in gs.raw_results_:
        twin = DRLearner(**result.metalearner.init_args).fit(S.X, S.y, S.w)
        np.testing.assert_array_equal(
            twin.predict(S.X, False), result.metalearner.predict(S.X, False)
        )
        assert result.test_scores is None


def test_results_are_kept_as_asked(counted):
    raw_only = search(counted, store_results=False)
    table_only = search(counted, store_raw_results=False)
    lazy = search(counted, store_raw_results=False, store_results=False)
    for gs in (raw_only, table_only):
        gs.fit(S.X, S.y, S.w)
    RECORD.fits.clear()
    lazy.fit(S.X, S.y, S.w)

    assert len(raw_only.raw_results_) == 4
    assert raw_only.results_ is None
    assert table_only.raw_results_ is None
    assert len(table_only.results_) == 4
    assert lazy.results_ is None
    assert RECORD.fits.total() == 0  # nothing is fitted before it is asked for
    first = next(lazy.raw_results_)
    assert RECORD.fits.total() > 0
    assert first.train_scores == raw_only.raw_results_[0].train_scores
    assert len(list(lazy.raw_results_)) == 3


def test_a_search_reuses_prefitted_models(counted):
    t = TLearner(False, 2, counted, nuisance_model_params={"name": "t"}, n_folds=2, random_state=1)
    t.fit(S.X, S.y, S.w)
    r = linear_learner(RLearner).fit(S.X, S.y, S.w)
    RECORD.fits.clear()
    gs = search(
        counted,
        metalearner_params={
            "is_classification": False,
            "n_variants": 2,
            "n_folds": 3,
            "fitted_nuisance_models": nuisances_of(t, VARIANT_OUTCOME_MODEL),
            "fitted_propensity_model": r._nuisance_models[PROPENSITY_MODEL][0],
        },
        base_learner_grid={TREATMENT_MODEL: [counted, Ridge]},
        param_grid={},
    )
    gs.fit(S.X, S.y, S.w)

    assert dict(RECORD.fits) == {("", 0): 4}
    assert gs.results_.index.names == ["metalearner", TREATMENT_MODEL]
    for result in gs.raw_results_:
        np.testing.assert_array_equal(
            result.metalearner.predict_conditional_average_outcomes(S.X, False),
            t.predict_conditional_average_outcomes(S.X, False),
        )


def test_grids_that_do_not_fit_are_refused(counted):
    with pytest.raises(ValueError, match="base_learner_grid keys"):
        search(counted, base_learner_grid={TREATMENT_MODEL: [counted]})
    for name in ("random_state", "nuisance_model_factory", "propensity_model_params"):
        params = {"is_classification": False, "n_variants": 2, name: None}
        gs = search(counted, metalearner_params=params)
        with pytest.raises(ValueError, match="should not be specified in metalearner_params"):
            gs.fit(S.X, S.y, S.w)


def test_a_search_passes_arguments_on(counted):
    gs = search(
        counted,
        base_learner_grid={
            VARIANT_OUTCOME_MODEL: [counted],
            PROPENSITY_MODEL: [LogisticRegression],
            TREATMENT_MODEL: [LinearRegression],
        },
        param_grid={},
        scoring={VARIANT_OUTCOME_MODEL: ["r2"], PROPENSITY_MODEL: [], TREATMENT_MODEL: []},
    )
    params = {"nuisance": {VARIANT_OUTCOME_MODEL: {"flag": 4}}}
    gs.fit(S.X, S.y, S.w, S.X, S.y, S.w, _MEAN, fit_params=params)

    assert {given["flag"] for given in RECORD.given} == {4}
    made = gs.raw_results_[0].metalearner
    scoring = gs.scoring
    expected = made.evaluate(S.X, S.y, S.w, True, _MEAN, scoring)
    assert gs.raw_results_[0].test_scores == expected
    assert list(expected) == ["variant_outcome_model_0_r2", "variant_outcome_model_1_r2"]


# DR: average effects


@pytest.mark.parametrize("is_oos", [False, True])
@pytest.mark.parametrize("adaptive", [False, True])
def test_average_effects_are_means_of_scores_by_hand(is_oos, adaptive):
    s = draw(150, three_outcomes, three_propensities, seed=3) if is_oos else S3
    made = linear_learner(DRLearner, n_variants=3, adaptive_clipping=adaptive, clip=0.15)
    made.fit_all_nuisance(S3.X, S3.y, S3.w)

    ate, se = made.average_treatment_effect(s.X, s.y, s.w, is_oos)

    e = made.predict_nuisance(s.X, PROPENSITY_MODEL, 0, is_oos)
    mu = np.column_stack(
        [made.predict_nuisance(s.X, VARIANT_OUTCOME_MODEL, k, is_oos) for k in range(3)]
    )
    treated = s.w[:, None] == np.arange(3)
    scores = mu + treated * (s.y[:, None] - mu) / np.clip(e, 0.15, 0.85)
    thin = (e < 0.15).any(axis=1)
    assert 0.05 < thin.mean() < 0.95
    if adaptive:
        scores[thin] = mu[thin]
    effects = scores[:, 1:] - scores[:, :1]
    assert ate.shape == se.shape == (2,)
    np.testing.assert_allclose(ate, effects.mean(axis=0))
    np.testing.assert_allclose(se, effects.std(axis=0) / np.sqrt(len(s.y)))
    for k in (1, 2):
        found = made._pseudo_outcome(s.X, s.y, s.w, k, is_oos)
        np.testing.assert_allclose(found, effects[:, k - 1])


def test_average_effects_need_the_nuisance_models():
    with pytest.raises(ValueError, match="The nuisance models need to be fitted"):
        linear_learner(DRLearner).average_treatment_effect(S.X, S.y, S.w, False)


# scikit-learn and pickle


@needs_propensity
def test_clones_and_pickles_keep_prefitted_models(learner):
    first = linear_learner(learner).fit(S.X, S.y, S.w)
    kinds = [kind for kind in learner.NUISANCE_KINDS if kind != PROPENSITY_MODEL]
    made = linear_learner(
        learner,
        fitted_nuisance_models=nuisances_of(first, *kinds),
        fitted_propensity_model=first._nuisance_models[PROPENSITY_MODEL][0],
    )
    expected = clone(made).fit(S.X, S.y, S.w)
    made.fit(S.X, S.y, S.w)
    again = pickle.loads(pickle.dumps(made))

    for other in (expected, again):
        np.testing.assert_array_equal(other.predict(S.X, False), made.predict(S.X, False))
        for method in (OVERALL, _MEAN, MEDIAN):
            np.testing.assert_array_equal(
                other.predict(NEW, True, method), made.predict(NEW, True, method)
            )


def test_a_pickled_search_keeps_its_results(counted):
    gs = search(counted)
    gs.fit(S.X, S.y, S.w)
    again = pickle.loads(pickle.dumps(gs))

    pd.testing.assert_frame_equal(again.results_, gs.results_)
    np.testing.assert_array_equal(
        again.raw_results_[1].metalearner.predict(NEW, True),
        gs.raw_results_[1].metalearner.predict(NEW, True),
    )
