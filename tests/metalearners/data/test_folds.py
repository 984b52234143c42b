"""Folds: disjoint, covering, balanced, true to groups, and drawn from identities alone."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metalearners.data.dataset import Dataset
from metalearners.data.folds import FoldSplits, _hash, draw_folds, draw_half, draw_holdout

rows = st.integers(min_value=20, max_value=120)
seeds = st.integers(min_value=0, max_value=2**31)
numbers = st.integers(min_value=2, max_value=6)


def _strata(n, seed, n_strata=3):
    return np.random.default_rng(seed).integers(0, n_strata, size=n)


def _grouped(n, seed):
    """Strata that are constant within groups of uneven sizes, and the groups."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, max(n // 4, 2), size=n)
    return (groups * 7 + 3) % 3, groups


@given(rows, numbers, seeds)
def test_folds_are_disjoint_and_cover_all_rows(n, n_folds, seed):
    splits = FoldSplits(draw_folds(_strata(n, seed), n_folds, seed))

    assert len(splits) == n_folds
    tests = np.concatenate([test for _, test in splits])
    np.testing.assert_array_equal(np.sort(tests), np.arange(n))
    for train, test in splits:
        np.testing.assert_array_equal(np.sort(np.append(train, test)), np.arange(n))


@given(rows, numbers, seeds)
def test_rows_are_dealt_by_stratum_and_hash(n, n_folds, seed):
    strata, key = _strata(n, seed), _hash(np.arange(n), f"folds:{seed}")
    first = {stratum: key[strata == stratum].min() for stratum in strata}
    order = sorted(range(n), key=lambda row: (first[strata[row]], key[row]))

    folds = draw_folds(strata, n_folds, seed)

    assert folds[order].tolist() == [turn % n_folds for turn in range(n)]


def test_rows_of_no_fold_are_in_no_split():
    folds = np.array([0, -1, 1, 0, -1, 1])

    (train, test), (other_train, other_test) = FoldSplits(folds)

    assert (train.tolist(), test.tolist()) == ([2, 5], [0, 3])
    assert (other_train.tolist(), other_test.tolist()) == ([0, 3], [2, 5])


@given(rows, numbers, seeds)
def test_folds_have_each_stratum_in_equal_numbers(n, n_folds, seed):
    strata = _strata(n, seed)
    folds = draw_folds(strata, n_folds, seed)

    for stratum in np.unique(strata):
        counts = np.bincount(folds[strata == stratum], minlength=n_folds)
        assert counts.max() - counts.min() <= 1
    sizes = np.bincount(folds, minlength=n_folds)
    assert sizes.max() - sizes.min() <= 1


@given(rows, numbers, seeds)
def test_groups_are_never_split_and_balanced_by_stratum(n, n_folds, seed):
    strata, groups = _grouped(n, seed)
    folds = draw_folds(strata, n_folds, seed, groups)

    pairs = np.unique(np.column_stack([groups, folds]), axis=0)
    assert len(pairs) == len(np.unique(groups))
    of_group = dict(pairs.tolist())
    for stratum in np.unique(strata):
        own = [of_group[g] for g in np.unique(groups[strata == stratum]).tolist()]
        counts = np.bincount(own, minlength=n_folds)
        assert counts.max() - counts.min() <= 1


@given(rows, numbers, seeds, st.booleans())
def test_permuted_rows_with_identities_get_permuted_folds(n, n_folds, seed, as_text):
    strata, groups = _grouped(n, seed)
    if as_text:
        groups = np.array([f"family {g}" for g in groups])
    order = np.random.default_rng(seed + 1).permutation(n)

    folds = draw_folds(strata, n_folds, seed, groups)
    moved = draw_folds(strata[order], n_folds, seed, groups[order])
    held_out = draw_holdout(strata, 0.3, seed, groups)
    moved_out = draw_holdout(strata[order], 0.3, seed, groups[order])

    np.testing.assert_array_equal(moved, folds[order])
    np.testing.assert_array_equal(moved_out, held_out[order])


@given(rows, numbers, seeds, st.permutations(range(4)), st.sampled_from([None, 1, 3, 12]))
def test_names_of_strata_and_their_order_move_nobody(n, n_folds, seed, names, size):
    """Also where rows of a group are of several strata, as many of the one as of the other."""
    rng = np.random.default_rng(seed)
    strata = rng.integers(0, 4, size=n)
    groups = None if size is None else rng.integers(0, max(n // size, 2), size=n)

    for others in (np.array(names)[strata], np.array(["q", "a", "Z", "10"])[strata]):
        for draw, number in ((draw_folds, n_folds), (draw_holdout, 0.3)):
            expected = draw(strata, number, seed, groups)
            np.testing.assert_array_equal(draw(others, number, seed, groups), expected)
        np.testing.assert_array_equal(
            draw_half(others, seed, groups), draw_half(strata, seed, groups)
        )


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("classes", [False, True])
def test_swapped_arms_and_classes_leave_data_sets_their_folds(grouped, classes):
    """Arms x classes are one number: swapped codes move it in its own way."""
    rng = np.random.default_rng(0)
    w, y = rng.integers(0, 3, 300), rng.integers(0, 2, 300)
    more = {"groups": rng.integers(0, 60, 300)} if grouped else {}

    def tests_of(w, y):
        d = Dataset(np.zeros((300, 1)), y if classes else 1.0 * y, w, 3, classes, **more)
        return [test.tolist() for _, test in d.splits(4)]

    assert tests_of(2 - w, 1 - y) == tests_of(w, y)


def test_another_seed_draws_other_folds():
    strata = _strata(200, 0)
    drawn = [draw_folds(strata, 5, seed) for seed in range(20)]
    held_out = [draw_holdout(strata, 0.25, seed) for seed in range(20)]

    assert len({folds.tobytes() for folds in drawn}) == 20
    assert len({rows.tobytes() for rows in held_out}) == 20


def test_folds_are_random_within_strata():
    """Two rows of a stratum share a fold as often as chance has it; positions don't matter."""
    n, n_folds, runs = 40, 4, 2000
    folds = np.array([draw_folds(np.zeros(n, int), n_folds, seed) for seed in range(runs)])

    together = (folds[:, :1] == folds[:, 1:]).mean(axis=0)
    expected = (n / n_folds - 1) / (n - 1)
    assert np.abs(together - expected).max() < 4.5 * np.sqrt(expected * (1 - expected) / runs)
    share = (folds == 0).mean(axis=0)
    assert np.abs(share - 1 / n_folds).max() < 4.5 * np.sqrt(0.25 * 0.75 / runs)


def test_holdout_and_folds_are_drawn_apart():
    """With one seed for both, folds would otherwise be unbalanced among rows not held out."""
    strata = np.zeros(4000, int)
    folds, held_out = draw_folds(strata, 4, 0), draw_holdout(strata, 0.25, 0)

    counts = np.bincount(folds[held_out], minlength=4)
    assert np.abs(counts - 250).max() < 60


@given(rows, st.floats(min_value=0, max_value=0.9), seeds)
def test_the_holdout_takes_its_share_of_each_stratum(n, share, seed):
    strata = _strata(n, seed)
    held_out = draw_holdout(strata, share, seed)

    for stratum in np.unique(strata):
        own = held_out[strata == stratum]
        assert abs(own.sum() - share * len(own)) <= 1
    assert abs(held_out.sum() - share * n) <= 1


@pytest.mark.parametrize("share", [0.1, 0.2, 0.25, 0.3, 0.5])
def test_the_holdout_of_one_stratum_is_exact(share):
    assert draw_holdout(np.zeros(100, int), share, 3).sum() == round(100 * share)


@pytest.mark.parametrize("groups", [None, np.array([], int)])
def test_no_rows_are_in_no_fold(groups):
    none = np.array([], int)
    for drawn in (
        draw_folds(none, 2, 0, groups),
        draw_holdout(none, 0.2, 0, groups),
        draw_half(none, 0, groups),
    ):
        assert drawn.tolist() == []


def test_no_share_holds_out_nothing():
    assert not draw_holdout(np.zeros(100, int), 0, 3).any()


@given(rows, seeds)
def test_the_holdout_never_splits_groups(n, seed):
    strata, groups = _grouped(n, seed)
    held_out = draw_holdout(strata, 0.3, seed, groups)

    for group in np.unique(groups):
        assert len(np.unique(held_out[groups == group])) == 1
    n_groups = len(np.unique(groups))
    assert abs(len(np.unique(groups[held_out])) - 0.3 * n_groups) <= 1


def test_a_group_counts_where_most_of_its_rows_are():
    """Ten groups lean to stratum 0, ten are of stratum 1: each fold gets as many of both."""
    groups = np.repeat(np.arange(20), 3)
    strata = np.where(np.arange(60) % 3 == 2, 1, 0)
    strata[30:] = 1

    folds = draw_folds(strata, 5, 0, groups)[::3]

    assert np.bincount(folds[:10]).tolist() == [2] * 5
    assert np.bincount(folds[10:]).tolist() == [2] * 5


def test_large_groups_are_spread_over_folds():
    groups = np.concatenate([np.repeat(np.arange(4), 50), np.arange(4, 44)])
    folds = draw_folds(np.zeros(len(groups), int), 4, 0, groups)

    assert sorted(folds[[0, 50, 100, 150]]) == [0, 1, 2, 3]
    assert np.bincount(folds).tolist() == [60] * 4


def test_the_seed_draws_folds_of_groups_of_different_sizes():
    """Of groups next to each other in size each fold gets one, and chance says which."""
    groups = np.repeat(np.arange(40), np.arange(1, 41))
    strata = (groups % 2).astype(int)
    drawn = np.array([draw_folds(strata, 4, seed, groups) for seed in range(300)])

    assert len(np.unique(drawn, axis=0)) == 300
    first = drawn[:, np.unique(groups, return_index=True)[1]]
    counts = np.array([np.bincount(one, minlength=4) for one in first.T])
    assert np.abs(counts - 75).max() < 4.5 * np.sqrt(300 * 0.25 * 0.75)
    rows = np.array([np.bincount(one, minlength=4) for one in drawn])
    assert np.ptp(rows, axis=1).max() < 60  # what folds 0 and 3 differ by when dealt by size alone


@given(rows, st.floats(min_value=0, max_value=0.95), seeds, st.sampled_from([1, 3, 12]))
def test_the_holdout_is_a_share_of_the_groups_whatever_their_size(n, share, seed, size):
    rng = np.random.default_rng(seed)
    strata, groups = rng.integers(0, 3, n), rng.integers(0, max(n // size, 2), n) ** 2
    held_out = draw_holdout(strata, share, seed, groups)

    n_groups = len(np.unique(groups))
    assert len(np.unique(groups[held_out])) == round(share * n_groups)


def test_each_group_is_held_out_with_the_same_probability():
    """Large and small ones: so the held-out rows are the population's."""
    share, seeds = 0.3, 1500
    size = np.concatenate([np.arange(1, 25), [60, 90, 200]])
    groups = np.repeat(np.arange(len(size)), size)
    strata = (groups % 3 == 0).astype(int)
    held_out = np.array([draw_holdout(strata, share, seed, groups) for seed in range(seeds)])

    probability = held_out[:, np.unique(groups, return_index=True)[1]].mean(axis=0)
    assert np.abs(probability - share).max() < 4.5 * np.sqrt(share * (1 - share) / seeds)
    assert held_out.mean() == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("first", [0, 1])
def test_each_of_five_groups_is_held_out_with_the_same_probability(first):
    """One whose label is 0 too, whatever else is hashed."""
    groups, seeds = np.arange(first, first + 5), 1500
    held_out = [draw_holdout(np.zeros(5, int), 0.2, seed, groups) for seed in range(seeds)]

    assert np.abs(np.mean(held_out, axis=0) - 0.2).max() < 4.5 * np.sqrt(0.2 * 0.8 / seeds)


def test_folds_are_the_same_in_another_process_and_for_other_types_of_labels():
    code = (
        "import numpy as np; from metalearners.data.folds import draw_folds;"
        "groups = np.array([f'g{i % 17}' for i in range(50)], dtype=object);"
        "print(draw_folds(np.arange(50) % 17 % 2, 3, 7, groups).tolist())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONHASHSEED": "5"},
        capture_output=True,
        text=True,
        check=True,
    )
    groups = np.array([f"g{i % 17}" for i in range(50)])
    here = draw_folds(np.arange(50) % 17 % 2, 3, 7, groups)

    assert ran.stdout.strip() == str(here.tolist())
