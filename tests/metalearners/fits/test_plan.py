"""Plans: what is to be fitted, counted and named before anything is."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression
from sklearn.preprocessing import FunctionTransformer

from metalearners import (
    DRLearner,
    RALearner,
    RLearner,
    SLearner,
    TLearner,
    ULearner,
    XLearner,
)
from metalearners.data.containers import select
from metalearners.digests.names import is_kept
from metalearners.fits.estimator_spec import EstimatorSpec
from metalearners.fits.plan import Regression, plan_stage
from metalearners.fits.store import MemoryStore
from metalearners.metalearner import PROPENSITY_MODEL, VARIANT_OUTCOME_MODEL
from metalearners.rlearner import OUTCOME_MODEL
from tests.simulate import (
    LEARNERS,
    draw,
    draw_classes,
    fit_stages,
    linear_learner,
    nuisance_plan,
    three_outcomes,
    three_propensities,
    tree_learner,
)

REPOSITORY = Path(__file__).parents[3]


def asked_by(learners, d):
    """Regressions of both stages of several learners, by (learner, kind, ordinal)."""
    nuisances, treatments = {}, {}
    for learner in learners:
        name = type(learner).__name__
        columns = {key: fits.column for key, fits in fit_stages(learner, d)[0].items()}
        eta = learner.with_known(columns, d.propensity)
        nuisances |= {(name, *key): r for key, r in learner.nuisances(d).items()}
        treatments |= {(name, *key): r for key, r in learner.treatments(d, eta).items()}
    return nuisances, treatments


def keys(learner, d):
    """The first stage's keys by label."""
    return {unit.label: unit.key for unit in nuisance_plan(learner, d).units}


# Counts and sharing


@pytest.mark.parametrize(
    ("learners", "unique", "planned"),
    [
        ((SLearner, TLearner, XLearner, RLearner, DRLearner), 53, 83),
        # U has R's nuisances and RA has T's: each brings one model of five folds and all rows.
        (LEARNERS, 53 + 2 * 6, 83 + 2 * 16),
    ],
)
def test_learners_share_their_units(learners, unique, planned):
    s = draw(200)
    d = s.dataset()
    plans = [
        plan_stage(stage, d, MemoryStore())
        for stage in asked_by([linear_learner(one) for one in learners], d)
    ]

    assert sum(len(plan.units) for plan in plans) == unique
    assert sum(plan.planned for plan in plans) == planned


@pytest.mark.parametrize(
    ("learner", "nuisances", "treatments"),
    [
        (SLearner, 6, 0),
        (TLearner, 12, 0),
        (XLearner, 16, 12),
        (RLearner, 10, 6),
        (DRLearner, 15, 6),
        (ULearner, 10, 6),
        (RALearner, 10, 6),
    ],
)
def test_units_of_one_learner_with_two_arms(learner, nuisances, treatments):
    d = draw(200).dataset()
    first, second = asked_by([linear_learner(learner)], d)

    assert len(plan_stage(first, d, MemoryStore()).units) == nuisances
    assert len(plan_stage(second, d, MemoryStore()).units) == treatments


@pytest.mark.parametrize(
    ("learner", "nuisances", "treatments"),
    [
        (SLearner, 6, 0),
        (TLearner, 18, 0),
        (XLearner, 21, 24),
        (RLearner, 15, 12),
        (DRLearner, 20, 12),
    ],
)
def test_units_of_one_learner_with_three_arms(learner, nuisances, treatments):
    d = draw(300, three_outcomes, three_propensities).dataset()
    first, second = asked_by([linear_learner(learner, n_variants=3)], d)

    assert len(plan_stage(first, d, MemoryStore()).units) == nuisances
    assert len(plan_stage(second, d, MemoryStore()).units) == treatments


@pytest.mark.parametrize("n_folds", [2, 3, 7])
def test_units_grow_with_folds(n_folds):
    plan = nuisance_plan(linear_learner(DRLearner, n_folds=n_folds), draw(200).dataset())

    assert len(plan.units) == 3 * n_folds


def test_outcome_models_of_t_x_and_dr_are_the_same_units():
    d = draw(200).dataset()
    t, x, dr = (
        {unit for unit in nuisance_plan(linear_learner(one), d).units if "outcome" in unit.label}
        for one in (TLearner, XLearner, DRLearner)
    )

    assert x == dr
    assert len(x) == 10
    assert x < t  # which also keeps a model of each arm for new rows


def test_propensity_models_of_x_r_and_dr_are_the_same_units():
    d = draw(200).dataset()
    x, r, dr = (
        {unit for unit in nuisance_plan(linear_learner(one), d).units if "propensity" in unit.label}
        for one in (XLearner, RLearner, DRLearner)
    )

    assert r == dr < x
    assert len(r) == 5
    assert len(x) == 6


def test_other_base_models_are_not_shared():
    d = draw(200).dataset()
    a = nuisance_plan(linear_learner(TLearner), d)
    b = nuisance_plan(linear_learner(TLearner, nuisance_model_params={"positive": True}), d)

    assert not set(a.units) & set(b.units)


def test_r_with_two_arms_asks_for_the_outcome_on_all_rows():
    s = draw(200)
    asked = linear_learner(RLearner).nuisances(s.dataset())

    assert asked[OUTCOME_MODEL, "0"].rows.all()


def test_planning_fits_nothing(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("fitted")

    monkeypatch.setattr(LinearRegression, "fit", refuse)
    assert len(nuisance_plan(linear_learner(TLearner), draw(200).dataset()).units) == 12


def test_units_are_in_a_stable_order_and_named():
    labels = [
        unit.label for unit in nuisance_plan(tree_learner(TLearner), draw(90).dataset()).units
    ]

    assert labels[:2] == ["variant_outcome_model 0 fold 1/5", "variant_outcome_model 0 fold 2/5"]
    assert labels[5] == "variant_outcome_model 0 all rows"
    assert labels == sorted(labels, key=lambda label: (label.split()[1], "all" in label, label))


def test_what_takes_longest_is_begun_first():
    plan = nuisance_plan(tree_learner(TLearner), draw(90).dataset())
    order = [unit.label for unit in plan.longest_first]

    assert sorted(order) == sorted(unit.label for unit in plan.units)
    assert ["all rows" in label for label in order] == [True] * 2 + [False] * 10
    assert order[2] == "variant_outcome_model 0 fold 1/5"


# What moves keys


BASE = {"alpha": 0.1, "l1_ratio": 0.5, "fit_intercept": True, "max_iter": 1000}
S = draw(120)
WEIGHT = np.random.default_rng(5).uniform(1, 2, size=120)


def regression(**changes):
    given = {
        "estimator": EstimatorSpec(ElasticNet, BASE),
        "target": S.y,
        "n_folds": 3,
        "rows": S.w == 1,
        "weight": WEIGHT,
        "serve": True,
    }
    return Regression(**{**given, **changes})


def keys_of(r, **changes):
    d = S.dataset(**changes)
    return [unit.key for unit in plan_stage({("a", "0"): r}, d, MemoryStore()).units]


def _changed(values, row, by=1.0):
    changed = values.copy()
    changed[row] += by
    return changed


TREATED = int(np.flatnonzero(S.w)[0])
MOVES = {
    "a target": (regression(target=_changed(S.y, TREATED)), {}),
    "a target's last digit": (regression(target=_changed(S.y, TREATED, 1e-15)), {}),
    "a weight": (regression(weight=_changed(WEIGHT, TREATED)), {}),
    "no weights": (regression(weight=None), {}),
    "the rows": (regression(rows=_changed(S.w, TREATED, -1) == 1), {}),
    "all rows": (regression(rows=None), {}),
    "a feature": (regression(), {"X": _changed(S.X, (3, 2))}),
    "a feature less": (regression(columns=(0, 1, 2, 3)), {}),
    "the order of features": (regression(columns=(0, 1, 2, 4, 3)), {}),
    "another container": (regression(), {"X": pd.DataFrame(S.X)}),
    "the class": (regression(estimator=EstimatorSpec(Lasso, {"alpha": 0.1})), {}),
    "the predict method": (regression(method="predict_proba"), {}),
    "the treatment as a feature": (regression(arm=S.w), {}),
    "the seed": (regression(), {"seed": 1}),
    **{
        f"the parameter {name}": (regression(estimator=EstimatorSpec(ElasticNet, changed)), {})
        for name, changed in [
            *((name, {**BASE, name: BASE[name] * 2 + 1}) for name in ("alpha", "max_iter")),
            ("l1_ratio", {**BASE, "l1_ratio": 0.6}),
            ("fit_intercept", {**BASE, "fit_intercept": False}),
            ("random_state", {**BASE, "random_state": 1}),
        ]
    },
}


@pytest.mark.parametrize("change", MOVES)
def test_each_input_moves_each_key(change):
    r, data = MOVES[change]
    before, after = keys_of(regression()), keys_of(r, **data)

    assert len(after) == 4
    assert not set(before) & set(after)


def test_groups_move_the_keys_of_folds():
    before, after = keys_of(regression()), keys_of(regression(), groups=np.arange(120)[::-1])

    assert not set(before[:3]) & set(after[:3])
    assert before[3] == after[3]  # folds are no input of the fit on all rows


def test_keeping_a_model_moves_the_key_of_what_is_kept():
    before, after = keys_of(regression()), keys_of(regression(keep=True))

    assert not set(before[:3]) & set(after[:3])
    assert before[3] == after[3]  # the served model is kept anyway


def test_another_number_of_folds_leaves_the_fit_on_all_rows():
    before, after = keys_of(regression()), keys_of(regression(n_folds=4))

    assert not set(before[:3]) & set(after[:4])
    assert before[3] == after[4]


def test_each_arm_s_outcome_moves_its_own_keys_only():
    s = draw(120)
    y = s.y.copy()
    y[s.w == 1] += 1
    before = keys(linear_learner(DRLearner), s.dataset())
    after = keys(linear_learner(DRLearner), s.dataset(y=y))

    moved = {label for label in before if before[label] != after[label]}
    assert moved == {label for label in before if f"{VARIANT_OUTCOME_MODEL} 1" in label}
    assert len(moved) == 5


def test_the_treatment_moves_outcome_and_propensity_keys():
    s = draw(120)
    w = s.w.copy()
    w[:2] = 1 - w[:2]
    before = keys(linear_learner(DRLearner), s.dataset())
    after = keys(linear_learner(DRLearner), s.dataset(w=w))

    assert not set(before.values()) & set(after.values())


STAYS = {
    "the order of parameters": (
        regression(estimator=EstimatorSpec(ElasticNet, dict(reversed(BASE.items())))),
        {},
    ),
    "the type of a number": (
        regression(estimator=EstimatorSpec(ElasticNet, BASE | {"alpha": np.float64(0.1)})),
        {},
    ),
    "targets of other rows": (regression(target=_changed(S.y, S.w == 0)), {}),
    "weights of other rows": (regression(weight=_changed(WEIGHT, S.w == 0)), {}),
    "a copy": (regression(target=S.y.copy(), weight=WEIGHT.copy()), {"X": S.X.copy()}),
    "the layout in memory": (regression(), {"X": np.asfortranarray(S.X)}),
    "known propensities": (regression(), {"propensity": S.e}),
}


@pytest.mark.parametrize("change", STAYS)
def test_nothing_else_moves_a_key(change):
    r, data = STAYS[change]

    assert keys_of(r, **data) == keys_of(regression())


@pytest.mark.parametrize("name", ["n_jobs", "verbose", "verbosity"])
@pytest.mark.parametrize("make", [tree_learner])
def test_how_a_model_is_run_moves_no_key(name, make):
    d = draw(120).dataset()
    params = {"n_estimators": 3}
    plain = make(TLearner, nuisance_model_params=params)
    other = make(TLearner, nuisance_model_params=params | {name: 1})

    assert keys(plain, d) == keys(other, d)


def test_who_asks_and_in_which_order_moves_no_key():
    d = S.dataset()
    one, other = regression(), regression(rows=S.w == 0)

    forth = plan_stage({("a", "0"): one, ("b", "1"): other}, d, MemoryStore())
    back = plan_stage({("x", "b", "7"): other, ("y", "z"): one}, d, MemoryStore())

    assert set(forth.units) == set(back.units)
    assert {u.seed for u in forth.units} == {u.seed for u in back.units}
    assert {u.label for u in forth.units}.isdisjoint({u.label for u in back.units})


@pytest.mark.parametrize("learner", LEARNERS)
def test_outcomes_and_arms_of_held_out_rows_move_no_key(learner):
    s = draw(200)
    held_out = np.arange(200) % 4 == 0
    y = np.where(held_out, s.y + 1, s.y)
    w = np.where(held_out, 1 - s.w, s.w)
    weight = np.random.default_rng(0).uniform(1, 2, 200)
    more = {"held_out": held_out, "groups": np.arange(200)}

    before = keys(linear_learner(learner), s.dataset(weight=weight, **more))
    after = keys(
        linear_learner(learner),
        s.dataset(y=y, w=w, weight=np.where(held_out, 9, weight), **more),
    )

    assert before == after


def test_units_are_equal_by_key_and_labels_are_no_part_of_it():
    unit = nuisance_plan(linear_learner(TLearner), draw(90).dataset()).units[0]
    renamed = dataclasses.replace(unit, label="another")

    assert unit == renamed
    assert hash(unit) == hash(renamed)
    assert unit != dataclasses.replace(unit, seed=unit.seed + 1)
    assert unit != "unit"


def test_each_field_of_a_unit_but_its_label_is_in_its_key():
    unit = nuisance_plan(linear_learner(TLearner), draw(90).dataset()).units[0]
    others = {
        "estimator": EstimatorSpec(Lasso),
        "n_arms": 2,
        "seed": unit.seed + 1,
        "keep": True,
        "method": "predict_proba",
    }
    for field in dataclasses.fields(unit):
        changed = dataclasses.replace(unit, **{field.name: others.get(field.name, "other")})
        assert (changed.key == unit.key) == (field.name == "label"), field.name


def test_the_code_that_fits_is_in_each_key(monkeypatch):
    before = keys_of(regression())
    monkeypatch.setattr("metalearners.fits.unit._fit_code", lambda: "edited")

    assert not set(before) & set(keys_of(regression()))


def test_units_of_a_parameter_without_a_digest_are_alone():
    spec = EstimatorSpec(FunctionTransformer, {"kw_args": {"rng": np.random.default_rng(0)}})
    asked = {(name, "0"): Regression(spec, S.y[:90], 3) for name in "ab"}
    plan = plan_stage(asked, draw(90).dataset(), MemoryStore())

    assert len(plan.units) == plan.planned == 6
    assert not any(is_kept(unit.key) for unit in plan.units)


def test_parameters_with_code_are_named_by_it():
    d = draw(90).dataset()
    a, b = (EstimatorSpec(FunctionTransformer, {"func": f}) for f in (np_twice, np_thrice))

    assert a.digest != b.digest
    asked = {("a", "0"): Regression(a, S.y[:90], 3), ("b", "0"): Regression(b, S.y[:90], 3)}
    assert len(plan_stage(asked, d, MemoryStore()).units) == 6


def np_twice(X):
    return 2 * X


def np_thrice(X):
    return 3 * X


def test_seeds_differ_by_unit_and_not_by_container():
    s = draw(120)
    plan = nuisance_plan(tree_learner(DRLearner), s.dataset())
    framed = nuisance_plan(tree_learner(DRLearner), s.dataset(X=pd.DataFrame(s.X)))

    seeds = [unit.seed for unit in plan.units]
    assert len(set(seeds)) == len(seeds)
    assert seeds == [unit.seed for unit in framed.units]
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_the_fit_that_is_served_is_seeded_as_the_same_fit_without():
    d = draw(120).dataset()
    kept, dropped = (
        plan_stage({("a", "0"): regression(n_folds=1, serve=serve)}, d, MemoryStore()).units
        for serve in (True, False)
    )

    assert len({unit.seed for unit in (*kept, *dropped)}) == 1


def test_equal_learners_have_equal_units():
    d = draw(120).dataset()
    one, again, other = (
        nuisance_plan(linear_learner(learner), d).units
        for learner in (TLearner, TLearner, DRLearner)
    )

    assert one == again != other


# Another process


SCRIPT = """
import json
from metalearners import DRLearner, RLearner, SLearner
from metalearners.digests.digest import digest
from tests.simulate import *

found = []
for made in (tree_learner(SLearner), tree_learner(DRLearner), linear_learner(RLearner)):
    s = draw(150)
    plan = nuisance_plan(made, s.dataset())
    made.fit(s.X, s.y, s.w)
    estimates = made.predict(s.X, is_oos=False), made.predict(s.X, is_oos=True)
    keys = [unit.key for unit in plan.units]
    found.append([keys, *map(digest, estimates)])
"""


def test_keys_and_numbers_are_the_same_in_another_process():
    here: dict = {}
    exec(SCRIPT, here)
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT + "print(json.dumps(found))"],
        cwd=REPOSITORY,
        # Numbers depend on the kernels of BLAS, which a machine may choose by a variable.
        env={k: v for k, v in os.environ.items() if "BLAS" in k} | {"PYTHONHASHSEED": "29"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(ran.stdout) == here["found"]


# Features


def test_features_are_selected_by_position_or_name():
    X = np.arange(12.0).reshape(3, 4)
    frame = pd.DataFrame(X, columns=list("abcd"))

    assert select(X, None) is X
    np.testing.assert_array_equal(select(X, (2, 0)), X[:, [2, 0]])
    np.testing.assert_array_equal(select(frame, (2, 0)), X[:, [2, 0]])
    assert select(frame, ("c", "a")).columns.tolist() == ["c", "a"]
    np.testing.assert_array_equal(select(X, ()), np.ones((3, 1)))
    np.testing.assert_array_equal(select(frame, ()), np.ones((3, 1)))


def test_positions_and_names_may_not_be_mixed():
    frame = pd.DataFrame(np.zeros((3, 2)), columns=["a", "b"])

    with pytest.raises(ValueError, match="all ints"):
        select(frame, ("a", 1))


def test_kinds_of_models_are_planned_with_their_predict_method():
    s = draw_classes(200)
    d = s.dataset(is_classification=True)
    asked = tree_learner(DRLearner, classes=True).nuisances(d)

    assert asked[PROPENSITY_MODEL, "0"].method == "predict_proba"
    assert asked[VARIANT_OUTCOME_MODEL, "1"].method == "predict_proba"
    assert asked[VARIANT_OUTCOME_MODEL, "1"].estimator.factory is LGBMClassifier
    numeric = tree_learner(DRLearner).nuisances(draw(200).dataset())
    assert numeric[VARIANT_OUTCOME_MODEL, "1"].method == "predict"
    assert numeric[VARIANT_OUTCOME_MODEL, "1"].estimator.factory is LGBMRegressor
