"""The data set: what it refuses, and the folds it draws for learners."""

import dataclasses

import numpy as np
import pytest

from metalearners.data.conversion import as_outcome
from metalearners.data.dataset import Dataset, are_propensities, check_arms
from tests.simulate import draw, draw_classes, draw_clusters


def test_rows_train_unless_held_out():
    s = draw(60)
    held_out = np.arange(60) % 3 == 0

    assert s.dataset().train.all()
    np.testing.assert_array_equal(s.dataset(held_out=held_out).train, ~held_out)
    assert len(s.dataset()) == 60


def test_splits_leave_out_held_out_rows():
    s = draw(300)
    held_out = np.arange(300) % 3 == 0
    splits = s.dataset(held_out=held_out).splits(4)

    for train, test in splits:
        assert not held_out[train].any()
        assert not held_out[test].any()
    tests = np.concatenate([test for _, test in splits])
    np.testing.assert_array_equal(np.sort(tests), np.flatnonzero(~held_out))


def test_one_fold_trains_and_predicts_all_rows_at_once():
    held_out = np.arange(60) % 3 == 0
    ((train, test),) = draw(60).dataset(held_out=held_out).splits(1)

    np.testing.assert_array_equal(train, np.flatnonzero(~held_out))
    np.testing.assert_array_equal(test, train)


def test_folds_balance_arms():
    s = draw(303)
    for _, test in s.dataset().splits(5):
        expected = np.bincount(s.w) / 5
        assert (np.abs(np.bincount(s.w[test]) - expected) < 1).all()


@pytest.mark.parametrize("labels", [[0, 1], [-1, 1], [3, 7]])
def test_folds_balance_classes_within_arms(labels):
    s = draw_classes(303)
    y = np.array(labels)[s.y]
    d = dataclasses.replace(s.dataset(is_classification=True), y=y)
    for _, test in d.splits(5):
        for arm in (0, 1):
            for label in labels:
                found = ((s.w == arm) & (y == label))[test].sum()
                assert abs(found - ((s.w == arm) & (y == label)).sum() / 5) < 1


def test_strata_tell_arms_and_classes_apart():
    s = draw_classes(600, n_classes=4)
    strata = s.dataset(is_classification=True).strata

    assert len(np.unique(strata)) == 8
    pairs = np.unique(np.column_stack([strata, s.w, s.y]), axis=0)
    assert len(pairs) == 8


def test_splits_of_a_number_of_folds_are_drawn_once():
    d = draw(100).dataset()

    assert d.splits(3) is d.splits(3)
    assert len(d.splits(4)) == 4


@pytest.mark.parametrize("rows", [1, 4])
def test_an_arm_with_fewer_rows_than_folds_is_refused(rows):
    s = draw(100)
    w = (np.arange(100) < rows).astype(int)

    message = (
        rf"Expected at least 5 rows of each arm for 5 folds; found {rows} rows in arm 1\. "
        "Use fewer folds"
    )
    with pytest.raises(ValueError, match=message):
        s.dataset(w=w).splits(5)
    assert len(s.dataset(w=(np.arange(100) < 5).astype(int)).splits(5)) == 5


def test_only_training_rows_count():
    s = draw(100)
    w = (np.arange(100) < 10).astype(int)
    held_out = np.arange(100) < 7

    with pytest.raises(ValueError, match="found 3 rows in arm 1"):
        s.dataset(w=w, held_out=held_out).splits(5)


@pytest.mark.parametrize(("rare", "arm"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_a_class_with_fewer_rows_than_folds_is_refused(rare, arm):
    """Whichever class of whichever arm it is, the message names it and its own number of rows."""
    s = draw_classes(400)
    own = np.flatnonzero((s.w == arm) & (s.y == rare))[3:]
    y = s.y.copy()
    y[own] = 1 - rare

    message = (
        rf"rows of each arm, and of each class in it,? .*3 rows of class {rare} in arm {arm}\."
    )
    with pytest.raises(ValueError, match=message):
        s.dataset(y=y, is_classification=True).splits(5)


def test_an_arm_with_fewer_groups_than_folds_is_refused():
    s = draw_clusters(20, 5)
    w = (s.groups < 3).astype(int)

    with pytest.raises(ValueError, match=r"at least 4 groups .* found 3 groups in arm 1"):
        s.dataset(w=w, groups=s.groups).splits(4)


def test_a_fold_whose_training_rows_miss_an_arm_is_refused():
    """Enough groups have rows of arm 1, but those that count as arm 0 may fall into one fold."""
    groups = np.repeat(np.arange(8), 10)
    w = np.zeros(80, int)
    w[[5, 15]] = 1
    s = draw(80)
    found = []
    for seed in range(30):
        d = s.dataset(w=w, groups=groups, seed=seed)
        try:
            splits = d.splits(2)
        except ValueError as error:
            found.append(str(error))
        else:
            assert all(len(np.unique(w[train])) == 2 for train, _ in splits)

    assert 0 < len(found) < 30
    assert all("in arm 1" in message and "smaller groups" in message for message in found)


@pytest.mark.parametrize("name", ["X", "w", "weight", "groups", "propensity", "held_out"])
def test_columns_of_another_length_are_refused(name):
    s = draw(50)
    whole = {"weight": np.ones(50), "groups": np.arange(50), "held_out": np.zeros(50, bool)}
    given = {"X": s.X, "w": s.w, "propensity": s.e, **whole}

    s.dataset(**given)
    with pytest.raises(ValueError, match=f"Expected 50 rows in {name}, as in y; found 49"):
        s.dataset(**{**given, name: given[name][1:]})


@pytest.mark.parametrize("w", [[0, 1, 2], [0, 0, 0], [1, 2, 1], [-1, 0, 0], [0, 0.5, 0]])
def test_arms_are_whole_numbers_from_0(w):
    with pytest.raises(ValueError, match=r"Number of variants present|should be encoded"):
        check_arms(np.array(w), 2)
    check_arms(np.array([0, 1, 0]), 2)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([0.3, 0.7], True),
        ([0.3333, 0.3333, 0.3333], True),
        ([0.5, 0.4985], False),
        ([0.0, 1.0], False),
        ([-0.1, 1.1], False),
        ([0.5, np.nan], False),
    ],
)
def test_propensities_lie_within_0_and_1_and_sum_to_1_up_to_a_thousandth(row, expected):
    assert are_propensities(np.array([row])) is expected


@pytest.mark.parametrize(
    ("given", "is_classification", "expected"),
    [
        ([True, False], True, np.int64),
        ([1.0, 0.0], True, np.int64),
        (np.array([1, 0], dtype=object), True, np.int64),
        ([0.5, 0], True, np.float64),
        ([1, 0], False, np.float64),
        ([True, False], False, np.float64),
        (np.array([1, 0], dtype=np.float32), False, np.float32),
    ],
)
def test_outcomes_get_the_type_of_their_kind(given, is_classification, expected):
    found = as_outcome(given, is_classification)

    assert found.dtype == expected
    np.testing.assert_array_equal(found, np.asarray(given, dtype=float))


def test_missing_outcomes_stay_missing_for_the_check():
    assert np.isnan(as_outcome([1.0, None], True)[1])
    assert np.isinf(as_outcome([1.0, np.inf], True)[1])


def test_a_data_set_is_a_value():
    with pytest.raises(dataclasses.FrozenInstanceError):
        draw(50).dataset().seed = 3
    assert isinstance(draw(50).dataset(), Dataset)
