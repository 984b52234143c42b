"""Simulations that others have published numbers for: their orderings, and errors as small."""

import os

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import metalearners
from benchmarks.designs import DESIGNS, SETUPS, halves, nie_wager, published
from benchmarks.nie_wager import ORDERINGS, margins, simulate
from benchmarks.peer_fit import base_models

LINEAR = "continuous, two arms, linear"


@pytest.mark.slow
@pytest.mark.parametrize("setup", ORDERINGS)
def test_nie_and_wager_orderings(setup):
    best, others = ORDERINGS[setup]
    errors = simulate("lasso", setup, range(15), (best, *others), n_jobs=os.cpu_count() or 1)

    for gap, standard_error in margins(errors, best, others):
        assert gap > standard_error
    assert errors[best].mean() < {"A": 0.16, "C": 0.12}.get(setup, np.inf)


def test_nie_and_wager_draws_are_as_described():
    for setup in SETUPS:
        draw = nie_wager(setup, 100_000, seed=0)
        assert draw.X.shape == (100_000, 6)
        assert draw.tau.mean() == pytest.approx(_MEAN_EFFECT[setup], abs=0.02)
        assert draw.w.mean() == pytest.approx(_TREATED[setup], abs=0.01)


# By quadrature of the set-ups' formulas
_MEAN_EFFECT = {"A": 0.5, "B": 0.8061, "C": 1.0, "D": (3**0.5 - 2**0.5) / (2 * np.pi) ** 0.5}
_TREATED = {"A": 0.5192, "B": 0.5, "C": 0.5, "D": 0.3092}


@pytest.fixture(scope="module")
def linear_errors() -> dict[str, float]:
    """Each learner's error on one draw of the linear design, a fifth of the published size."""
    train, test = halves(published(DESIGNS[LINEAR], 20_000, seed=1337), share=0.2, seed=1337)
    found = {}
    for name in DESIGNS[LINEAR].rmse:
        learner = getattr(metalearners, f"{name}Learner")
        fitted = learner(False, 2, **base_models(classes=False), n_folds=5, random_state=0)
        with threadpool_limits(1):  # as in the benchmarks
            fitted.fit(train.X, train.y, train.w)
        gaps = fitted.predict(test.X, is_oos=True)[:, :, 0] - test.tau
        found[name] = float(np.sqrt(np.mean(gaps**2)))
    return found


@pytest.mark.parametrize("name", ["T", "X", "R", "DR"])
def test_linear_effects_are_found_by_linear_models(linear_errors, name):
    # A least squares fit of 16,000 rows errs by about .1: the published .05 times root 5.
    assert linear_errors[name] < 0.12


def test_a_linear_s_learner_cannot_say_that_effects_differ(linear_errors):
    assert linear_errors["S"] > 5
