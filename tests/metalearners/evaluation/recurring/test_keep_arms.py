"""Groups that come again each month: what they do to looks, and that they are told from others."""

import numpy as np
import pytest

from metalearners.evaluation import Looks, compare_policies, keep_arms

PANEL, FRESH, LOOKS = 120, 80, 12
HALF = np.full((PANEL + FRESH, 2), 0.5)


def year(rng, anew, guarded):
    """Whether a year of looks promotes, and how many rows count; both policies are as good.

    The challenger has learnt the noise of a panel of groups: it gives each the arm in which it was
    lucky, or not the arm in which it wasn't.
    """
    fitted, noise = rng.integers(0, 2, PANEL), rng.normal(size=PANEL)
    of_panel = np.where(noise > 0, fitted, 1 - fitted)
    looks, rows, before = Looks(0.025), 0, [(fitted, np.arange(PANEL))]
    for month in range(LOOKS):
        groups = np.r_[0:PANEL, 1000 * (month + 1) : 1000 * (month + 1) + FRESH]
        w = rng.integers(0, 2, len(groups))
        if not anew:
            w[:PANEL] = fitted
        own = np.ones(len(groups), bool)
        if guarded:
            own = ~keep_arms(w, groups, HALF, *map(np.concatenate, zip(*before, strict=True)))
        before.append((w, groups))
        y = np.r_[noise, rng.normal(size=FRESH)] + 0.5 * rng.normal(size=len(groups))
        policy = np.r_[of_panel, rng.integers(0, 2, FRESH)][own]
        mu = np.zeros((own.sum(), 2))
        rows_of_look = (y[own], w[own], mu, HALF[own], 1 - policy, policy)
        look = compare_policies(*rows_of_look, groups=groups[own])
        looks, rows = looks.after(str(month), look), rows + own.sum()
        if looks.promotes:
            break
    return looks.promotes, rows


@pytest.mark.parametrize("anew", [False, True])
def test_looks_hold_their_level_if_groups_that_keep_their_arms_dont_count(anew):
    rng = np.random.default_rng(0)
    guarded = [year(rng, anew, guarded=True) for _ in range(100)]
    plain = [year(rng, anew, guarded=False)[0] for _ in range(100)]

    assert np.mean([promotes for promotes, _ in guarded]) <= 0.06  # .025, and chance
    counted = LOOKS * (FRESH + PANEL * anew)
    assert np.mean([rows == counted for promotes, rows in guarded if not promotes]) > 0.95
    if anew:
        assert np.mean(plain) <= 0.06
    else:
        assert np.mean(plain) == 1  # what the guard is for


def test_arms_that_follow_from_known_probabilities_arent_kept():
    """A policy that a coin overrules in one of ten rows gives a group its arm again."""
    rng = np.random.default_rng(1)
    groups = np.arange(1000)
    high = rng.random(1000) < 0.5
    e = np.where(high, 0.9, 0.1)[:, None] * [-1, 1] + [1, 0]
    first, second = ((rng.random(1000) < e[:, 1]).astype(int) for _ in range(2))

    assert np.mean(first == second) > 0.75
    assert not keep_arms(second, groups, e, first, groups).any()
    assert keep_arms(first, groups, e, first, groups).all()


def test_groups_say_nothing_where_they_had_all_arms_and_leave_with_rows_that_nobody_drew():
    w, groups = np.arange(40) % 2, np.arange(40) // 2
    e = np.where(w[:, None] == 1, np.nan, 0.5) * np.ones(2)

    assert not keep_arms(w, groups, e, w, groups).any()
    assert keep_arms(groups % 2, groups, e, groups % 2, groups).all()
    few = groups < 9
    assert not keep_arms((groups % 2)[few], groups[few], e[few], groups % 2, groups).any()
