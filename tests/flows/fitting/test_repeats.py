"""Repeats: figures are medians over runs with other seeds, and their fits are those runs' own."""

import numpy as np
import pytest

from flows.config.reading import ConfigError, parse_config
from flows.errors import InputError
from flows.launch.start import data_told
from metalearners.evaluation import Estimate, median_average, median_p_value

NAMES = ["TLearner", "DRLearner"]
E = ("estimate", "std_error", "ci_low", "ci_high")


@pytest.fixture
def asked(settings):
    """Settings of two learners."""
    return {**settings, "learners": NAMES}


def estimates(rows, joint):
    """Estimates of a summary, with the degrees of freedom that another entry has."""
    return [
        Estimate(*(row[key] for key in E), degrees=own["degrees"])
        for row, own in zip(rows, joint, strict=True)
    ]


def judged(ran, name):
    """What held-out rows say of a learner's only arm."""
    (arm,) = ran.summary["learners"][name]["evaluation"]["arms"]
    return arm


@pytest.mark.slow
def test_figures_are_medians_over_runs_with_the_seeds_and_fit_nothing_else(run, asked):
    asked["evaluation"] |= {"definition": "radcliffe"}
    alone = [run({**asked, "folds": {"seed": seed}}) for seed in (4, 5, 6)]
    whole = run({**asked, "folds": {"seed": 4, "repeats": 3}})

    assert whole.fits["executed"] == 0
    assert whole.stages["repeats"]["reused"] > 0
    (ate,) = whole.summary["ate"]
    own = [estimates(one.summary["ate"], one.summary["ate_joint"])[0] for one in alone]
    wanted = median_average(own)
    assert {key: ate[key] for key in E} == pytest.approx({key: getattr(wanted, key) for key in E})
    for name in NAMES:
        found, each = judged(whole, name), [judged(one, name) for one in alone]
        for metric in ("qini", "autoc"):
            values = [one[metric]["estimate"] for one in each]
            assert found[metric]["estimate"] == pytest.approx(np.median(values))
            for p in ("p_value", "p_value_greater"):
                assert found[metric][p] == median_p_value([one[metric][p] for one in each])
            lows = [one[metric]["ci_low"] for one in each]
            assert found[metric]["ci_low"] < np.median(lows)
        column = f"cate.{name}.1"
        rows = np.median([one.estimates[column] for one in alone], axis=0)
        np.testing.assert_allclose(whole.estimates[column], rows)
        values = [one["definition"]["qini"] for one in each]
        assert found["definition"] == {"name": "radcliffe", "qini": np.median(values)}
    held_out = np.all([one.estimates["held_out"] for one in alone], axis=0)
    assert 0 < held_out.sum() < alone[0].estimates["held_out"].sum()
    np.testing.assert_array_equal(whole.estimates["held_out"], held_out)
    stable = {(row["figure"], row["learner"]): row for row in whole.summary["stability"]}
    values = [one.estimate for one in own]
    row = stable["ate", None]
    assert (row["lowest"], row["highest"]) == (min(values), max(values))
    assert row["spread"] == pytest.approx(np.std(values, ddof=1))
    assert {("qini", name) for name in NAMES} < set(stable)
    assert "stability" not in alone[0].summary
    page = (whole.folder / "report.html").read_text()
    assert "How figures move over 3 draws of the folds" in page
    assert "All was fitted 3 times" in page


@pytest.mark.slow
def test_a_fit_that_fails_costs_the_repeats_alone(run, asked, monkeypatch, frame):
    """A row that is held out in the run itself breaks the treatment models of a repeat."""
    asked["learners"] = ["DRLearner"]
    monkeypatch.setenv("UPLIFT_IMPORT_ROOTS", "tests")
    held_out = [run({**asked, "folds": {"seed": seed}}).estimates["held_out"] for seed in (0, 1)]
    row = frame.index[held_out[0] & ~held_out[1]][0]
    model = {"estimator": "tests.faulty.FailsWith", "params": {"value": float(frame["a"][row])}}
    asked["models"] = {**asked["models"], "treatment": model}
    ran = run({**asked, "folds": {"seed": 0, "repeats": 2}})

    assert any("The figures are of one draw" in line for line in ran.summary["warnings"])
    assert "stability" not in ran.summary
    assert ran.summary["status"] == "done"


def test_repeats_of_folds_in_time_are_refused(asked):
    asked["data"]["time"] = "a"
    asked["folds"] = {"repeats": 2}
    with pytest.raises(ConfigError, match=r"folds: expected repeats: 1 with data.time"):
        parse_config(asked)
    asked["data"]["outcome"] = "z"
    match = r"(?s)2 faults.*folds: .*repeats.*data.outcome"
    with pytest.raises(InputError, match=match), data_told():
        parse_config(asked)


def test_equal_estimates_without_draws_have_figures(run, asked):
    """They have no error, no line, and a single group; the test of order has no draws."""
    linear = {"estimator": "sklearn.linear_model.LinearRegression"}
    asked |= {"learners": ["SLearner"], "models": {"outcome": linear}, "folds": {"repeats": 2}}
    asked["evaluation"] |= {"bootstrap": 0}
    ran = run(asked)

    (arm,) = ran.summary["learners"]["SLearner"]["evaluation"]["arms"]
    assert (arm["qini"]["estimate"], arm["qini"]["p_value"], arm["blp"]) == (0, 1, None)
    assert arm["gates"]["p_monotone"] is None
    relative = {row["figure"]: row["relative"] for row in ran.summary["stability"]}
    assert relative["ate"] > 0
    assert relative["qini"] is relative["autoc"] is None
