"""Runs whose LightGBM fits share bins."""

import numpy as np

WITHOUT = {"holdout": 0, "bootstrap": 0}


def test_the_switch_fits_anew(run, settings):
    settings |= {"evaluation": WITHOUT}
    apart, shared = run(settings | {"share_bins": False}), run(settings)

    assert shared.fits["executed"] == shared.fits["unique"] == apart.fits["unique"]
    assert "own_bins" not in apart.summary
    assert shared.summary["own_bins"] == {}
    effects = [ran.estimates["cate.DRLearner.1"] for ran in (apart, shared)]
    assert np.corrcoef(effects)[0, 1] > 0.5


def test_the_summary_says_which_models_bin_their_own_rows(run, settings):
    settings["models"]["propensity"] = {"estimator": "sklearn.linear_model.LogisticRegression"}
    settings["models"]["treatment"]["params"]["linear_tree"] = True
    summary = run(settings | {"evaluation": WITHOUT}).summary

    (told,) = summary["own_bins"].values()
    assert set(told) == {"propensity_model", "treatment_model"}
    assert "LogisticRegression" in told["propensity_model"]
    assert "linear_tree" in told["treatment_model"]
