"""What moves a unit's key, and what doesn't: whose fits a change makes anew, and no others."""

from functools import cache

import numpy as np
import pandas as pd
import pytest

from metalearners import (
    DRLearner,
    RALearner,
    RLearner,
    SLearner,
    TLearner,
    ULearner,
    XLearner,
)
from metalearners.fits.plan import plan_stage
from metalearners.fits.store import MemoryStore
from tests.simulate import (
    draw,
    fit_stages,
    linear_learner,
    three_outcomes,
    three_propensities,
)

N = 240
SAMPLE = draw(N, three_outcomes, three_propensities, seed=3)
WEIGHT = np.random.default_rng(4).uniform(1, 2, N)
# Folds that stay as they are, so that a change of treatment shows by itself.
CV = [
    (np.flatnonzero(np.arange(N) % 4 != k), np.flatnonzero(np.arange(N) % 4 == k))
    for k in (0, 1, 2, 3)
]
ARMS = {0, 1, 2}


def key_of(made, **data):
    """Keys of both stages by what their units are for: (model kind, ordinal), and fold."""
    d = SAMPLE.dataset(**{"weight": WEIGHT, "cv": CV, **data})
    nuisances, _ = fit_stages(made, d)
    eta = made.with_known({name: fits.column for name, fits in nuisances.items()}, d.propensity)
    asked = {**made.nuisances(d), **made.treatments(d, eta)}
    units = plan_stage(asked, d, MemoryStore()).asked
    return {
        (*name, fold): unit.key
        for name, own in units.items()
        for fold, unit in enumerate(own.units)
    }


@cache
def undisturbed(make):
    """Keys of a learner on the sample as it is."""
    return key_of(learner(make))


def moved(before, after):
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


def learner(make, **more):
    return linear_learner(make, n_variants=3, **more)


# By learner and model kind: the arms whose outcomes the models read, for the model of arm k
# against arm 0 (of arm k itself, where there is one an arm), by the formulas of the literature;
# and whether they read the propensities, to whose models each row's treatment and weight matters.
FORMULAS = {
    SLearner: {"base_model": (lambda k: ARMS, False)},
    TLearner: {"variant_outcome_model": (lambda k: {k}, False)},
    XLearner: {
        "variant_outcome_model": (lambda k: {k}, False),
        "propensity_model": (lambda k: set(), True),
        "control_effect_model": (lambda k: {0, k + 1}, False),
        "treatment_effect_model": (lambda k: {0, k + 1}, False),
    },
    RLearner: {
        "propensity_model": (lambda k: set(), True),
        "outcome_model": (lambda k: {0, k + 1}, False),
        "treatment_model": (lambda k: {0, k + 1}, True),
    },
    DRLearner: {
        "variant_outcome_model": (lambda k: {k}, False),
        "propensity_model": (lambda k: set(), True),
        "treatment_model": (lambda k: {0, k + 1}, True),
    },
    ULearner: {
        "propensity_model": (lambda k: set(), True),
        "outcome_model": (lambda k: {0, k + 1}, False),
        "treatment_model": (lambda k: {0, k + 1}, True),
    },
    RALearner: {
        "variant_outcome_model": (lambda k: {k}, False),
        "treatment_model": (lambda k: {0, k + 1}, False),
    },
}


def reading(make, names, arms, propensity):
    """Of the units named, those that read an outcome of some arms or, if asked, propensities."""
    found = set()
    for kind, ordinal, fold in names:
        outcomes, weighs = FORMULAS[make][kind]
        if outcomes(int(ordinal)) & arms or (propensity and weighs):
            found.add((kind, ordinal, fold))
    return found


def changed(values, row, by):
    values = values.copy()
    values[row] += by
    return values


@pytest.mark.parametrize("arm", sorted(ARMS))
@pytest.mark.parametrize("make", FORMULAS)
def test_an_outcome_moves_the_models_that_read_its_arm(make, arm):
    row = np.flatnonzero(SAMPLE.w == arm)[7]
    before = undisturbed(make)
    after = key_of(learner(make), y=changed(SAMPLE.y, row, 0.5))

    assert {kind for kind, _, _ in before} == set(FORMULAS[make])
    assert moved(before, after) == reading(make, before, {arm}, propensity=False)


@pytest.mark.parametrize("arm", sorted(ARMS))
@pytest.mark.parametrize("make", FORMULAS)
def test_a_weight_moves_the_models_of_its_arm_and_what_reads_propensities(make, arm):
    row = np.flatnonzero(SAMPLE.w == arm)[7]
    before = undisturbed(make)
    after = key_of(learner(make), weight=changed(WEIGHT, row, 0.5))

    assert moved(before, after) == reading(make, before, {arm}, propensity=True)


@pytest.mark.parametrize("make", FORMULAS)
def test_a_treatment_moves_the_models_of_both_its_arms_and_what_reads_propensities(make):
    row = np.flatnonzero(SAMPLE.w == 1)[7]
    before = undisturbed(make)
    after = key_of(learner(make), w=changed(SAMPLE.w, row, 1))

    assert moved(before, after) == reading(make, before, {1, 2}, propensity=True)


COLUMNS = {
    DRLearner: {"variant_outcome_model": [0, 1], "propensity_model": [2], "treatment_model": [3]},
    RLearner: {"outcome_model": [0, 1], "propensity_model": [2], "treatment_model": [3]},
    XLearner: {
        "variant_outcome_model": [0, 1],
        "propensity_model": [2],
        "control_effect_model": [3],
        "treatment_effect_model": [1, 3],
    },
    ULearner: {"outcome_model": [0, 1], "propensity_model": [2], "treatment_model": [3]},
    RALearner: {"variant_outcome_model": [0, 1, 2], "treatment_model": [3]},
}
# Model kinds of the first stage whose predictions are in the targets or weights of the second.
READ_BY_SECOND = {
    DRLearner: {"variant_outcome_model", "propensity_model"},
    RLearner: {"outcome_model", "propensity_model"},
    XLearner: {"variant_outcome_model"},
    ULearner: {"outcome_model", "propensity_model"},
    RALearner: {"variant_outcome_model"},
}


@pytest.mark.parametrize("column", range(5))
@pytest.mark.parametrize("make", COLUMNS)
def test_a_feature_moves_the_models_that_use_it_and_those_that_learn_from_these(make, column):
    chosen = COLUMNS[make]
    users = {kind for kind, columns in chosen.items() if column in columns}
    if users & READ_BY_SECOND[make]:
        users |= set(make.TREATMENT_KINDS)
    row = np.flatnonzero(SAMPLE.w == 0)[7]  # whom the models of each arm's effect learn from
    before = key_of(learner(make, feature_set=chosen))
    after = key_of(learner(make, feature_set=chosen), X=changed(SAMPLE.X, (row, column), 0.5))

    assert moved(before, after) == {name for name in before if name[0] in users}
    assert bool(users) == (column != 4)  # which nobody uses


@pytest.mark.parametrize("make", FORMULAS)
def test_outcomes_weights_and_arms_of_held_out_rows_move_nothing(make):
    held_out = np.arange(N) % 5 == 0
    data = {"held_out": held_out, "cv": None, "groups": np.arange(N)}
    before = key_of(learner(make), **data)
    after = key_of(
        learner(make),
        **data,
        y=np.where(held_out, SAMPLE.y + 3, SAMPLE.y),
        w=np.where(held_out, (SAMPLE.w + 1) % 3, SAMPLE.w),
        weight=np.where(held_out, 7, WEIGHT),
    )

    assert moved(before, after) == set()


# From a config, as a run plans


@pytest.fixture
def planned(api, settings):
    """Keys of the first stage of settings, as a run would plan them."""
    from flows.config.reading import parse_config
    from flows.fitting.regressions import ask_nuisances
    from flows.runs.loading import load

    def keys(**changes):
        study = load(parse_config(settings | changes))
        return {
            unit.key
            for asked in ask_nuisances(study).values()
            for unit in plan_stage(asked, study.dataset, MemoryStore()).units
        }

    return keys


def test_chunks_of_a_file_move_nothing(planned, settings, frame, tmp_path):
    before = planned()
    (tmp_path / "folder").mkdir()
    for number in range(3):
        part = frame.iloc[200 * number : 200 * (number + 1)]
        part.to_parquet(tmp_path / "folder" / f"{number}.parquet", row_group_size=50)
    frame.to_parquet("grouped.parquet", row_group_size=37)
    frame.to_csv("data.csv", index=False)

    for source in ("folder", "folder/*.parquet", "grouped.parquet", "data.csv"):
        assert planned(data=settings["data"] | {"source": source}) == before, source


def test_columns_that_are_no_feature_and_names_of_arms_move_nothing(planned, settings, frame):
    data = settings["data"] | {"features": ["a", "b", "c"]}
    before = planned(data=data)
    frame["id"] = np.arange(600)[::-1]
    frame["w"] = np.where(frame["w"] == 0, "none", "some")
    frame.to_parquet("data.parquet")

    assert planned(data=data | {"control": "none", "row_id": "id"}) == before


def test_other_learners_and_their_order_move_nothing(planned):
    alone = planned(learners=["DRLearner"])
    forth = planned(learners=["DRLearner", "RLearner", "SLearner"])
    back = planned(learners=["SLearner", "RLearner", "DRLearner"])

    assert forth == back
    assert alone < forth


@pytest.mark.parametrize("name", ["n_jobs", "verbose", "num_threads", "verbosity"])
def test_threads_and_verbosity_move_nothing(planned, settings, name):
    before = planned()
    for model in settings["models"].values():
        model["params"][name] = 2

    assert planned() == before


def test_how_and_where_a_run_works_moves_nothing(planned, tmp_path):
    before = planned()
    process = {"runner": "process", "workers": 3, "base_model_threads": 2}

    assert planned(parallelism=process, output="elsewhere", clip=0.1) == before
    assert planned(cache={"storage": "other", "max_age_days": 3}) == before
    assert planned(evaluation={"holdout": 0.25, "bootstrap": 0}) == before


@pytest.mark.parametrize(
    "change",
    [
        {"folds": {"seed": 1}},
        {"evaluation": {"holdout": 0.3, "bootstrap": 10}},
    ],
    ids=["seed", "holdout"],
)
def test_what_deals_rows_out_moves_everything(planned, change):
    assert not planned() & planned(**change)


def test_more_rows_move_everything(planned, frame):
    before = planned()
    pd.concat([frame, frame.iloc[:2]]).to_parquet("data.parquet")

    assert not planned() & before
