"""Shapes of outcomes: the formula against kurtosis and simulated errors, and what counts as odd."""

import numpy as np
import pytest
from scipy.stats import kurtosis

from metalearners.data.outcomes import OutcomeShape, unsureness

RNG = np.random.default_rng(0)


def of(y, w=None, weight=None):
    w = np.zeros(len(y), int) if w is None else w
    return OutcomeShape.of(np.asarray(y, float), w, w.max() + 1, weight)


def test_unsureness_is_the_scatter_of_the_standard_error_itself():
    draws = RNG.exponential(size=(4000, 400))
    errors = draws.std(axis=1)
    told = [unsureness(y, np.ones(400)) for y in draws]

    np.testing.assert_allclose(np.mean(told), errors.std() / errors.mean(), rtol=0.05)
    expected = np.sqrt((kurtosis(draws[0], fisher=False) - 1) / 400) / 2
    np.testing.assert_allclose(told[0], expected, rtol=1e-12)


def test_neither_unit_nor_shift_nor_rows_without_weight_matter():
    y, weight = RNG.exponential(size=300), RNG.integers(1, 4, 300).astype(float)
    own = unsureness(y, weight)
    with_others = unsureness(np.append(y, [1e9, -5]), np.append(weight, [0, 0]))

    np.testing.assert_allclose(unsureness(1e3 * y + 1e6, 7 * weight), own, rtol=1e-6)
    assert with_others == own
    assert unsureness(y, np.ones(300)) != own


@pytest.mark.parametrize("y", [[], [3.0], [2.5] * 50, [1e6 + 0.1] * 50])
def test_equal_outcomes_are_sure(y):
    assert unsureness(np.array(y), np.ones(len(y))) == 0


def test_one_row_that_makes_the_tail_is_as_unsure_as_can_be():
    y = np.append(np.zeros(999), 1.0)

    np.testing.assert_allclose(unsureness(y, np.ones(1000)), 0.5, rtol=0.01)


def test_the_arm_that_is_least_sure_is_told():
    w = np.repeat([0, 1, 2], [1000, 200, 1000])
    light = RNG.normal(size=2200)
    heavy = np.where(w == 1, RNG.lognormal(0, 2.5, 2200), light)

    assert of(light, w).heaviest_arm is None
    assert of(heavy, w).heaviest_arm == 1


@pytest.mark.parametrize(
    ("y", "many"),
    [
        (np.repeat([0.0, 1, 2, 3], [51, 16, 16, 17]), True),
        (np.repeat([0.0, 1, 2, 3], [50, 16, 16, 18]), False),
        (np.repeat([0.0, 1, 2], [90, 5, 5]), False),  # classes
        (np.repeat([0.0, -3, -2, 1], [95, 2, 2, 1]), True),
    ],
)
def test_many_zeros_are_over_half_beside_several_values(y, many):
    assert of(y).has_many_zeros is many


def test_few_rows_of_a_normal_outcome_are_no_heavy_tail():
    found = [of(RNG.normal(size=60), np.arange(60) % 2).heaviest_arm for _ in range(500)]

    assert np.mean([arm is not None for arm in found]) < 0.02
