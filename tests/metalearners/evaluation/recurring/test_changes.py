"""Falls of figures: the test by hand, and years in which nothing changes."""

import numpy as np
import pytest
from scipy import stats

from metalearners.evaluation.recurring.changes import LEVEL, Figure, chance_unseen, fall


def test_a_fall_by_hand():
    """Errors .4 and .2 weigh 1 to 4; the mean's error is .2 * .4 + .8 * .2."""
    before, error = 0.2 * 3.0 + 0.8 * 2.0, 0.2 * 0.4 + 0.8 * 0.2
    t = (before - 1.0) / np.hypot(error, 0.3)

    found = fall(Figure(1.0, 0.3), [Figure(3.0, 0.4), Figure(2.0, 0.2)])

    assert found.before == pytest.approx(before)
    assert found.p_value == pytest.approx(stats.norm.sf(t), rel=1e-6)
    mirrored = fall(Figure(-1.0, 0.3), [Figure(-3.0, 0.4), Figure(-2.0, 0.2)])
    assert (mirrored.before, mirrored.p_value) == (-found.before, found.p_value)
    assert fall(Figure(4.0, 0.3), [Figure(2.0, 0.2)]).p_value > 0.99  # a rise is no fall


def test_degrees_are_those_of_two_samples_of_unequal_variance():
    before, now = (0.5, 12.0), (0.3, 9.0)
    freedom = (0.25 + 0.09) ** 2 / (0.25**2 / 12 + 0.09**2 / 9)

    found = fall(Figure(0.0, *now), [Figure(2.0, *before)])

    assert found.p_value == pytest.approx(stats.t.sf(2 / np.hypot(0.5, 0.3), freedom))


@pytest.mark.parametrize("overlap", [1, 3])
@pytest.mark.parametrize("effect", [0.0, 2.0, 4.0])
def test_months_in_which_nothing_changes_keep_the_level(effect, overlap):
    """Of 6,000 months; each shares rows with the two before it where windows overlap."""
    rng = np.random.default_rng(int(10 * effect) + overlap)
    falls = 0
    for _ in range(500):
        drawn = rng.normal(size=12 + overlap)
        noise = np.convolve(drawn, np.full(overlap, overlap**-0.5), "valid")
        year = [Figure(effect + own, 1.0) for own in noise]
        falls += sum(fall(year[k], year[:k]).p_value < LEVEL for k in range(1, 13))

    assert falls <= stats.binom.ppf(0.999, 6000, LEVEL)


def test_an_effect_that_ends_is_seen():
    rng = np.random.default_rng(0)
    seen = [
        fall(Figure(rng.normal(), 1.0), [Figure(9 + rng.normal(), 1.0) for _ in range(5)])
        for _ in range(400)
    ]
    assert np.mean([one.p_value < LEVEL for one in seen]) > 0.97


def test_a_rare_level_that_was_missed_has_that_chance():
    """Six of 200 rows before and 300 now have a level; all are among the 300 by chance."""
    rng = np.random.default_rng(0)
    all_new = np.mean([(rng.choice(500, 6, replace=False) < 300).all() for _ in range(20_000)])

    assert chance_unseen(6, 300, 200) == pytest.approx(all_new, rel=0.1)
    assert chance_unseen(0, 300, 200) == 1
