"""Small helpers: learners by letter, plain estimates, a known propensity, loaders of examples."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from lightgbm import LGBMRegressor
from scipy import sparse
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression
from sklearn.utils.validation import has_fit_parameter

from metalearners._utils import load_mindset_data, load_twins_data
from metalearners.utils import FixedBinaryPropensity, metalearner_factory, simplify_output
from tests.simulate import LEARNERS, SMALL

X = np.arange(8.0).reshape(4, 2)
Y = np.array([0, 1, 1, 0])
CONTAINERS = {
    "numpy": np.asarray,
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "csr": sparse.csr_matrix,
    "lists": np.ndarray.tolist,
}


@pytest.mark.parametrize("learner", LEARNERS)
def test_learners_by_prefix(learner):
    assert metalearner_factory(learner.__name__.removesuffix("Learner")) is learner


# Plain estimates


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize(
    ("arms", "outputs", "kept"),
    [
        (1, 1, (slice(None), 0, 0)),
        (1, 2, (slice(None), 0, 1)),
        (1, 3, (slice(None), 0, slice(None))),
        (2, 1, (slice(None), slice(None), 0)),
        (2, 2, (slice(None), slice(None), 1)),
        (2, 3, (slice(None), slice(None), slice(None))),
    ],
)
def test_axes_that_say_nothing_are_dropped(n, arms, outputs, kept):
    tensor = np.arange(n * arms * outputs).reshape(n, arms, outputs)

    np.testing.assert_array_equal(simplify_output(tensor), tensor[kept], strict=True)


# A known propensity


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
@pytest.mark.parametrize("p", [0, 0.3, 0.5, 1, np.float32(0.75)])
def test_a_known_propensity_is_that_of_all_rows(container, p):
    model = FixedBinaryPropensity(p).fit(container(X), Y)

    expected = np.tile([1 - float(p), float(p)], (4, 1))
    np.testing.assert_array_equal(model.predict_proba(container(X)), expected, strict=True)
    np.testing.assert_array_equal(model.predict(container(X)), np.full(4, int(p > 0.5)))


def test_it_is_a_classifier_that_can_be_cloned_and_stored():
    model = FixedBinaryPropensity(0.3).fit(X, Y)

    assert is_classifier(model)
    assert not is_regressor(model)
    assert has_fit_parameter(model, "sample_weight")
    assert clone(model).get_params() == {"propensity_score": 0.3}
    assert not hasattr(clone(model), "classes_")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))
    assert model.score(X, Y) == 0.5


@pytest.mark.parametrize(
    "y", [Y, pd.Series(Y), pl.Series(Y), Y.tolist()], ids=lambda y: type(y).__name__
)
def test_weights_and_containers_of_the_outcome_change_nothing(y):
    model = FixedBinaryPropensity(0.7).fit(X, y, sample_weight=np.arange(4))

    np.testing.assert_array_equal(model.classes_, [0, 1])
    np.testing.assert_array_equal(model.predict_proba(X)[:, 1], 0.7)


def test_classes_are_named_as_they_were_fitted():
    model = FixedBinaryPropensity(0.7).fit(X, np.array(["no", "yes", "yes", "no"]))

    assert model.classes_.tolist() == ["no", "yes"]
    assert model.predict(X).tolist() == ["yes"] * 4


def test_rows_of_one_arm_have_two_probabilities():
    assert FixedBinaryPropensity(0.3).fit(X, np.ones(4)).classes_.tolist() == [0, 1]


def test_it_needs_no_fit():
    model = FixedBinaryPropensity(0.7)

    assert model.predict_proba(X).shape == (4, 2)
    assert model.predict(X).tolist() == [1] * 4


@pytest.mark.parametrize("weighted", [False, True])
def test_a_learner_uses_it_as_its_propensity_model(weighted):
    """With outcome models that say 0, DR's effect is the weighted, inverse-propensity mean."""
    g = np.random.default_rng(0)
    features, w = g.normal(size=(200, 2)), g.binomial(1, 0.3, 200)
    y = g.normal(size=200) + w
    weight = g.uniform(0.5, 2, 200) if weighted else None
    learner = metalearner_factory("DR")(
        False,
        2,
        DummyRegressor,
        LinearRegression,
        FixedBinaryPropensity,
        {"strategy": "constant", "constant": 0.0},
        propensity_model_params={"propensity_score": 0.3},
        n_folds=2,
        random_state=0,
    )
    learner.fit(features, y, w, **({"sample_weight": weight} if weighted else {}))
    scores = y * w / 0.3 - y * (1 - w) / 0.7
    expected = LinearRegression().fit(features, scores, weight).predict(features)

    found = simplify_output(learner.predict(features, is_oos=True))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_learner_with_trees_takes_it():
    g = np.random.default_rng(0)
    features, w = g.normal(size=(200, 2)), g.binomial(1, 0.3, 200)
    learner = metalearner_factory("X")(
        False,
        2,
        LGBMRegressor,
        LGBMRegressor,
        FixedBinaryPropensity,
        SMALL,
        SMALL,
        {"propensity_score": 0.3},
        n_folds=2,
    )
    learner.fit(features, g.normal(size=200), w)

    assert simplify_output(learner.predict(features, is_oos=False)).shape == (200,)


# Loaders


def mindset():
    """Three pupils with the columns of the study."""
    columns = "schoolid intervention achievement_score success_expect ethnicity gender"
    columns = [*columns.split(), "frst_in_family", "school_urbanicity", "school_mindset"]
    return pd.DataFrame(np.arange(3 * len(columns)).reshape(3, -1), columns=columns)


def twins(n_pairs=4000):
    """Pairs whose outcomes are 10 i and 10 i + 3; the first has treatment 1 in odd pairs."""
    pair = np.repeat(np.arange(n_pairs), 2)
    treatment = (np.arange(2 * n_pairs) + pair) % 2
    frame = pd.DataFrame({"treatment": treatment, "outcome": 10 * pair + 3 * treatment})
    for name in ("bord", "wt", "infant_id", "brstate_reg", "stoccfipb_reg", "mplbir_reg"):
        frame[name] = np.arange(len(frame))
    return frame.assign(dlivord_min=pair % 3, dtotord_min=pair % 4, brstate=pair % 5)


def saved(frame, folder):
    frame.to_csv(folder / "data.csv", index=False)
    return folder / "data.csv"


def test_mindset_data(tmp_path):
    rows, outcome, treatment, features, categorical = load_mindset_data(saved(mindset(), tmp_path))

    assert (outcome, treatment) == ("achievement_score", "intervention")
    assert features == [c for c in mindset().columns if c not in (outcome, treatment)]
    assert categorical == ["ethnicity", "gender", "frst_in_family", "school_urbanicity", "schoolid"]
    assert {c for c in rows if rows[c].dtype == "category"} == set(categorical)
    pd.testing.assert_frame_equal(rows.astype(int), mindset())


def test_twins_data(tmp_path):
    path = saved(twins(), tmp_path)
    rows, *names = load_twins_data(path, np.random.default_rng(0))

    features = ["dlivord_min", "dtotord_min", "brstate"]
    assert names == ["outcome", "treatment", features, ["brstate"], "true_cate"]
    assert rows["brstate"].dtype == "category"
    assert rows["dlivord_min"].dtype.kind == "i"
    pair = np.arange(4000)
    np.testing.assert_array_equal(rows["mu_0"], 10 * pair)
    np.testing.assert_array_equal(rows["mu_1"], 10 * pair + 3)
    np.testing.assert_array_equal(rows["true_cate"], 3)
    np.testing.assert_array_equal(rows["outcome"], 10 * pair + 3 * rows["treatment"])
    second = (rows["treatment"] + pair) % 2  # 1 where the second of the pair was chosen
    assert abs(second.mean() - 0.3) < 5 * np.sqrt(0.21 / 4000)
    pd.testing.assert_frame_equal(rows, load_twins_data(path, np.random.default_rng(0))[0])


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (twins(4).iloc[1:], "found 7 rows in another order. Sort"),
        (twins(4).iloc[1:-1], "found 6 rows in another order"),
        (twins(4).assign(treatment=2), "treatment 0 and one with 1"),
        (twins(4).drop(columns=["wt", "bord"]), "found none called bord, wt. Pass"),
    ],
    ids=["odd", "shifted", "other arms", "columns"],
)
def test_refused_twins(frame, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load_twins_data(saved(frame, tmp_path), np.random.default_rng(0))


def test_refused_pupils(tmp_path):
    with pytest.raises(ValueError, match="found none called gender"):
        load_mindset_data(saved(mindset().drop(columns="gender"), tmp_path))


# What is refused

REFUSED = {
    "another learner": (lambda: metalearner_factory("Q"), "No MetaLearner implementation found"),
    "a small letter": (
        lambda: metalearner_factory("s"),
        "prefix s. Expected one of S, T, X, R, DR",
    ),
    "a list of learners": (lambda: metalearner_factory(["S"]), "No MetaLearner implementation"),
    "two axes": (lambda: simplify_output(X), "needs to be 3-dimensional but is 2-dim.* Pass what"),
    "four axes": (lambda: simplify_output(X[None, None]), "3-dimensional but is 4-dimensional"),
    "a negative propensity": (lambda: FixedBinaryPropensity(-0.1), "between 0 and 1 but got -0.1"),
    "a propensity above 1": (lambda: FixedBinaryPropensity(1.1), "0 and 1 but got 1.1. Pass"),
    "a missing propensity": (lambda: FixedBinaryPropensity(np.nan), "0 and 1 but got nan. Pass"),
    "a text propensity": (lambda: FixedBinaryPropensity("a"), "0 and 1 but got a. Pass"),
    "a propensity by row": (lambda: FixedBinaryPropensity([0.5]), r"but got \[0.5\]. Pass"),
    "a propensity set later": (
        lambda: FixedBinaryPropensity(0.5).set_params(propensity_score=2).fit(X, Y),
        "between 0 and 1 but got 2",
    ),
    "three arms": (
        lambda: FixedBinaryPropensity(0.5).fit(X, np.arange(4) % 3),
        "only supports binary outcomes but 3 were provided. Use",
    ),
    "one unknown arm": (
        lambda: FixedBinaryPropensity(0.5).fit(X, Y * 0 + 5),
        "but 1 were provided",
    ),
    "fewer outcomes": (
        lambda: FixedBinaryPropensity(0.5).fit(sparse.csr_matrix(X), Y[:3]),
        "Expected 4 rows in y, as in X; found 3. Pass",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(call, message):
    with pytest.raises(ValueError, match=message) as refusal:
        call()

    assert str(refusal.value).endswith(".")
