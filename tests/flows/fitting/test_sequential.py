"""The sequential test of a run: the library's, by the run's workers and cache."""

import numpy as np
import pytest

from flows.config.reading import parse_config
from flows.errors import InputError
from flows.inputs.study import load_study
from metalearners.evaluation.findings import adjusted_p_values
from metalearners.resampling import sequential_rate

NAMES = ["TLearner", "DRLearner"]


@pytest.fixture
def asked(settings):
    """Settings of two learners, with the test."""
    settings["evaluation"] |= {"sequential": True}
    return {**settings, "learners": NAMES}


def entries(ran):
    """The entries about the test, by learner."""
    rows = ran.summary["heterogeneity"]
    return {row["learner"]: row for row in rows if row["test"] == "sequential"}


@pytest.mark.parametrize("runner", ["thread", pytest.param("process", marks=pytest.mark.slow)])
def test_it_is_the_library_s_whoever_fits(run, asked, runner):
    asked["parallelism"] = {"runner": runner, "workers": 2}
    ran = run(asked)
    study = load_study(parse_config(asked))
    d, folds = study.dataset, study.config.folds.n_folds

    wanted = {
        name: sequential_rate(
            learner, study.reference, d.X, d.y, d.w, n_folds=folds, groups=d.groups
        )
        for name, learner in study.learners.items()
    }
    adjusted = adjusted_p_values(wanted)
    for name, row in entries(ran).items():
        (own,) = wanted[name]
        assert row["autoc"]["estimate"] == own.autoc.estimate
        assert row["autoc"]["std_error"] == own.autoc.std_error
        assert (row["p_value"], [row["p_value_adjusted"]]) == (own.p_greater, adjusted[name])
    assert set(entries(ran)) == set(NAMES)
    kinds = [row["test"] for row in ran.summary["heterogeneity"]]
    assert kinds == ["sequential"] * 2 + ["holdout"] * 2


@pytest.mark.slow
def test_its_fits_are_counted_and_reused_and_change_nothing_else(run, asked):
    first, second = run(asked), run(asked)
    asked["evaluation"]["sequential"] = False
    plain = run(asked)

    stage = first.stages["sequential"]
    assert stage["executed"] == stage["unique"] > 0
    assert second.stages["sequential"]["executed"] == second.fits["executed"] == 0
    assert first.fits["unique"] == plain.fits["unique"] + stage["unique"]
    assert entries(first) == entries(second)
    assert not entries(plain)
    assert "sequential" not in plain.stages
    np.testing.assert_array_equal(first.estimates.to_numpy(), plain.estimates.to_numpy())


def test_too_few_rows_before_a_fold_are_refused(asked, frame):
    rare = frame.copy()
    rare.loc[rare.index[12:], "w"] = 0
    rare["w"] = rare["w"].map({0: "none", 1: "mail"})
    asked["data"] |= {"control": "none"}
    rare.to_parquet("data.parquet")
    asked["evaluation"]["holdout"] = 0
    match = r"evaluation.sequential: .* in arm 'mail'\. .* Set it to false"
    with pytest.raises(InputError, match=match):
        load_study(parse_config(asked))


def test_a_fit_that_fails_costs_the_test_alone(run, asked, monkeypatch):
    monkeypatch.setenv("UPLIFT_IMPORT_ROOTS", "tests")
    model = {"estimator": "tests.faulty.FitsOnManyRows", "params": {"least": 55}}
    asked["models"] = {**asked.get("models", {}), "outcome": model}
    ran = run(asked)

    assert not entries(ran)
    assert any("There is no sequential test" in line for line in ran.summary["warnings"])
    assert ran.summary["status"] == "done"
