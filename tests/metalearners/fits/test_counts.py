"""What fits cost, in counts that no machine changes: fits, bins, predicted rows, copies of X."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from scipy import sparse

from metalearners import DRLearner, RLearner, SLearner, TLearner, XLearner
from metalearners.store import MemoryStore
from tests.counting import ROUNDS, count_lightgbm
from tests.simulate import draw, three_outcomes, three_propensities

FIVE = (SLearner, TLearner, XLearner, RLearner, DRLearner)
BASES = (LGBMRegressor, LGBMRegressor, LGBMClassifier)
QUIET = {**ROUNDS, "verbosity": -1}
N, FOLDS, NEW = 400, 5, 30


def made(learner, n_arms=2):
    return learner(False, n_arms, *BASES, QUIET, QUIET, QUIET, n_folds=FOLDS)


def regressions(n_arms):
    """Regressions of five learners, shared ones once: (those of one output, the S-learner's)."""
    each = n_arms - 1  # arms but the control
    nuisances = n_arms + 1 + each  # mu_k of T, X and DR; e of X, R and DR; m_k of R
    return nuisances + (2 + 1 + 1) * each, 1  # two effects an arm of X, one of R and of DR


@pytest.fixture(scope="module", params=[2, 3])
def five(request):
    """Five learners that share a store, their rows, and what their fits and estimates took."""
    n_arms = request.param
    s = draw(N) if n_arms == 2 else draw(N, three_outcomes, three_propensities)
    store = MemoryStore()
    with pytest.MonkeyPatch.context() as patch:
        counts = count_lightgbm(patch)
        learners = [made(one, n_arms).fit(s.X, s.y, s.w, 2, store=store) for one in FIVE]
        fitted = len(counts.predicted)
        for one in learners:
            one.predict(s.X, is_oos=False)
        again = len(counts.predicted) - fitted
        new = {}
        for one in learners:
            before = counts.n_predicted
            one.predict(s.X[:NEW], is_oos=True)
            new[type(one)] = counts.n_predicted - before
        counts.predicted = counts.predicted[:fitted]
    return n_arms, counts, again, new


def test_each_unit_is_fitted_once(five):
    n_arms, counts, _, _ = five

    # A model of each fold and one of all rows, which the library serves for each regression.
    assert len(counts.fits) == sum(regressions(n_arms)) * (FOLDS + 1)
    assert len(set(counts.fits)) == len(counts.fits)


def test_features_are_binned_once_without_the_arm_and_once_with_it(five):
    _, counts, _, _ = five

    assert sorted(counts.binned) == [(N, 5), (N, 6)]


def test_each_fold_s_model_predicts_its_rows_once(five):
    n_arms, counts, again, _ = five
    plain, with_arm = regressions(n_arms)

    # The S-learner's models predict each row at every arm.
    assert counts.n_predicted == N * (plain + n_arms * with_arm)
    assert len({id(model) for model, _ in counts.predicted}) == FOLDS * (plain + with_arm)
    assert len(counts.predicted) == FOLDS * (plain + n_arms * with_arm)
    assert again == 0  # estimates of the rows fitted on are kept


def test_new_rows_are_predicted_once_by_each_model_that_effects_need(five):
    n_arms, _, _, new = five
    each = n_arms - 1
    needed = {SLearner: n_arms, TLearner: n_arms, RLearner: each, DRLearner: each}

    assert new == {one: NEW * n for one, n in (needed | {XLearner: 1 + 2 * each}).items()}


@pytest.mark.parametrize("container", [np.asarray, pd.DataFrame, sparse.csr_matrix])
def test_shared_bins_stand_in_for_copies_of_the_features(container, monkeypatch):
    """Two workers hold copies of a fold's rows to predict, and none to train on."""
    rng = np.random.default_rng(0)
    X = container(rng.normal(size=(20_000, 50)).astype(np.float32))
    size = 20_000 * 50 * 4 * (2 if sparse.issparse(X) else 1)  # with as many positions
    y, w = rng.normal(size=20_000), np.arange(20_000) % 2
    counts = count_lightgbm(monkeypatch)
    tracemalloc.start()
    try:
        made(DRLearner).fit(X, y, w, n_jobs_cross_fitting=2)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    # Two of a fold, each twice where LightGBM wants another layout: .8. Predictions, targets,
    # masks: .4. Fits that bin their own rows hold 2.3 to 2.9 times X.
    assert 0 < most / size < 2
    # Bins of all rows, and of the rows of each worker's fit; a byte for each value.
    assert 1 < counts.most_bins / X.shape[0] / X.shape[1] <= 1 + 2
