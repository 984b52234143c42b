"""Runs whose LightGBM fits share bins."""

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMRegressor

from metalearners.base_models import binning
from metalearners.base_models.binned_sets import BinnedSets
from metalearners.base_models.binning import own_bins

WITHOUT = {"holdout": 0, "bootstrap": 0}


@pytest.mark.parametrize("runner", ["serial", "process"])
def test_other_runners_give_the_same_bits_as_threads(run, settings, runner):
    settings |= {"cache": {"enabled": False}, "evaluation": WITHOUT}
    settings["learners"] = ["SLearner", "DRLearner"]
    settings["parallelism"] = {"runner": "thread", "workers": 2}
    threads = run(settings)
    settings["parallelism"] = {"runner": runner}
    other = run(settings)

    pd.testing.assert_frame_equal(threads.estimates, other.estimates, check_exact=True)
    assert other.summary["parallelism"]["runner"] == runner


def test_the_switch_fits_anew_and_a_second_run_fits_nothing(run, settings):
    apart = run(settings | {"share_bins": False})
    shared, again = run(settings), run(settings)

    assert shared.fits["executed"] == shared.fits["unique"] == apart.fits["unique"]
    assert again.fits["executed"] == 0
    assert "own_bins" not in apart.summary
    assert shared.summary["own_bins"] == {}
    effects = [ran.estimates["cate.DRLearner.1"] for ran in (apart, shared)]
    assert np.corrcoef(effects)[0, 1] > 0.5


def test_a_run_builds_one_set_for_its_features(run, settings, monkeypatch):
    assert own_bins(LGBMRegressor(), np.ones((2, 2))) is None  # its first call tries LightGBM
    built = []
    get = BinnedSets.get

    def counted(self, key, owner, build):
        return get(self, key, owner, lambda: built.append(key) or build())

    monkeypatch.setattr(BinnedSets, "get", counted)
    monkeypatch.setattr(binning, "_sets", BinnedSets())  # other runs have the same features
    run(settings | {"cache": {"enabled": False}})

    assert len(built) == len(set(built)) == 1


def test_the_summary_says_which_models_bin_their_own_rows(run, settings):
    settings["models"]["propensity"] = {"estimator": "sklearn.linear_model.LogisticRegression"}
    settings["models"]["treatment"]["params"]["linear_tree"] = True
    summary = run(settings | {"evaluation": WITHOUT}).summary

    (told,) = summary["own_bins"].values()
    assert set(told) == {"propensity_model", "treatment_model"}
    assert "LogisticRegression" in told["propensity_model"]
    assert "linear_tree" in told["treatment_model"]
