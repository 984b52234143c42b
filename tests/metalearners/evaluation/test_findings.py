"""What is claimed of effects and rankings: jointly, by one rule, on terminal and in the report."""

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from flows.messages.outcome import outcome_lines
from flows.report import page as report
from flows.report.figures.results import ArmResult
from metalearners.evaluation.findings import (
    adjusted,
    adjusted_p_values,
    claims_effect,
    claims_ranking,
)
from metalearners.evaluation.judging.curves import gain_curve
from metalearners.evaluation.judging.rate import rate
from metalearners.evaluation.means import Estimate, mean_with_error, simultaneous_intervals


@pytest.mark.parametrize(
    ("joint", "doubt", "claimed"),
    [
        ((0.1, 2.0), "", True),
        ((-2.0, -0.1), "", True),
        ((-0.1, 2.0), "", False),
        ((0.0, 2.0), "", False),
        ((0.1, 2.0), "too many rows were clipped", False),
        ((np.nan, np.nan), "", False),
    ],
)
def test_an_effect_is_claimed_by_its_joint_interval_without_a_doubt(joint, doubt, claimed):
    assert claims_effect(joint, doubt) is claimed


def test_six_arms_without_effect_claim_one_in_5_percent_of_experiments_at_most():
    """Their own intervals would claim one in a fifth of them."""
    jointly, alone = [], []
    for seed in range(200):
        scores = np.random.default_rng(seed).normal(size=(100, 6))
        joint = simultaneous_intervals(scores, draws=2000)
        jointly.append(any(claims_effect(one) for one in joint))
        own = [mean_with_error(column) for column in scores.T]
        alone.append(any(claims_effect((one.ci_low, one.ci_high)) for one in own))

    assert np.mean(jointly) <= 0.09
    assert np.mean(alone) > 0.15


def test_where_all_are_tied_nothing_is_claimed():
    scores = np.random.default_rng(0).normal(size=50)

    found = rate(np.ones(50), scores)
    assert (found.p_value, found.p_greater) == (1, 1)


def test_few_clusters_make_a_p_value_larger():
    rng = np.random.default_rng(0)
    priority = rng.normal(size=60)
    found = rate(priority, 0.5 * priority + rng.normal(size=60), None, np.arange(60) // 10)

    t = found.estimate.estimate / found.estimate.std_error
    assert found.estimate.degrees < 5
    assert found.p_greater == pytest.approx(stats.t.sf(t, found.estimate.degrees))


def test_rankings_are_adjusted_over_learners_and_arms():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=400)
    weak = scores + 12 * rng.normal(size=400)
    rates = {
        "A": [rate(weak, scores), rate(rng.normal(size=400), scores)],
        "B": [rate(scores, scores), rate(rng.normal(size=400), scores)],
    }

    found = adjusted_p_values(rates)

    assert found["A"][0] == pytest.approx(min(1, 3 * rates["A"][0].p_greater))
    assert found["B"][0] == pytest.approx(4 * rates["B"][0].p_greater)
    assert claims_ranking(found["B"][0])
    assert adjusted_p_values({"A": []}) == {"A": []}


def test_tests_that_could_not_be_made_count_for_none():
    found = adjusted({"A": [0.01, None], "B": [0.03, 0.04], "C": []})
    assert found == {"A": [0.03, None], "B": [0.06, 0.06], "C": []}
    assert adjusted({"A": [None]}) == {"A": [None]}


def test_learners_that_know_nothing_claim_a_ranking_in_5_percent_of_runs_at_most():
    claimed = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        scores = rng.normal(size=(100, 2))
        learners = {name: [rate(rng.normal(size=100), one) for one in scores.T] for name in "ABCDE"}
        claimed.append(
            any(claims_ranking(p) for own in adjusted_p_values(learners).values() for p in own)
        )

    assert np.mean(claimed) <= 0.065


def test_a_band_is_that_of_the_distance_from_the_line():
    """At the curve's end there is none; with a large average effect it stays narrow before."""
    rng = np.random.default_rng(0)
    priority, noise = rng.normal(size=500), rng.normal(size=500)
    found = gain_curve(priority, noise).above_line

    area = rate(priority, noise, kind="qini").estimate.estimate
    assert np.trapezoid(np.append(0, found.value), dx=0.01) == pytest.approx(area, abs=0.002)
    assert found.std_error[-1] == 0
    shift = gain_curve(priority, noise + 100).above_line
    np.testing.assert_allclose(shift.std_error, found.std_error, atol=1e-9)
    band = found.joint_high - found.joint_low
    inside = (found.share >= 0.1) & (found.share <= 0.9)  # 50 rows on either side
    assert (band[inside] > (found.high - found.low)[inside]).all()
    assert np.isnan(band[~inside]).all()


# Where claims are told


ARM = ArmResult("b", Estimate(1.0, 0.4, 0.2, 1.8, 99), (-0.1, 2.1), Estimate(1, 1, -1, 3, 99))


def summary(*arms):
    return {
        "run_name": "r",
        "folder": "f",
        "seconds": 1.0,
        "fits": {"executed": 1, "reused": 0},
        "overlap": {"rows_clipped": 0},
        "design": {"design": "auto"},
        "ate": [{"arm": arm.label, **vars(arm.ate)} for arm in arms],
        "ate_joint": [
            {
                "arm": arm.label,
                "ci_low": arm.joint[0],
                "ci_high": arm.joint[1],
                "claimed": arm.claimed,
                "doubt": arm.doubt,
            }
            for arm in arms
        ],
    }


def test_terminal_lines_say_which_interval_they_show():
    sure = replace(ARM, label="c", joint=(0.5, 1.5))
    doubted = replace(sure, label="d", doubt="6 % of its weight was clipped")

    alone = outcome_lines(summary(sure))[1]
    several = outcome_lines(summary(ARM, sure, doubted))[1:4]

    assert alone == "  effect of c: 1 (95 % interval 0.5 to 1.5)"
    assert several == [
        "  effect of b: 1 (joint 95 % interval of 3 arms -0.1 to 2.1, no effect claimed)",
        "  effect of c: 1 (joint 95 % interval of 3 arms 0.5 to 1.5)",
        "  effect of d: 1 (joint 95 % interval of 3 arms 0.5 to 1.5, no effect claimed: 6 % of its "
        "weight was clipped)",
    ]


def test_the_report_claims_what_the_rule_claims():
    """The arm's own interval excludes zero here, and the joint one doesn't."""
    found = report._finding(ARM)

    assert not found.claimed
    assert (found.low, found.high) == ("-0.10", "2.10")
    assert report._finding(replace(ARM, joint=(0.5, 1.5))).claimed
    doubted = report._finding(replace(ARM, joint=(0.5, 1.5), doubt="clipped"))
    assert (doubted.claimed, doubted.doubt) == (False, "clipped")


def test_headline_counts_joint_claims_and_rankings_carry_p_values(run, settings, frame):
    """Six arms without effect and two learners: the report says what it can't tell from noise."""
    rng = np.random.default_rng(4)
    frame["w"], frame["y"] = rng.integers(0, 4, 600), rng.normal(size=600)
    frame.to_parquet("data.parquet")
    settings |= {"learners": ["TLearner", "DRLearner"]}
    ran = run(settings)
    page = " ".join((ran.folder / "report.html").read_text().split())

    joint = ran.summary["ate_joint"]
    assert not any(row["claimed"] for row in joint)
    assert "none of 3 arms shows an average effect" in page
    assert page.count("no effect is claimed: the interval includes zero") == 3
    assert page.count("spread may be noise") == 2  # of histograms and of drivers
    adjusted = [
        arm["qini"]["p_value_adjusted"]
        for own in ran.summary["learners"].values()
        for arm in own["evaluation"]["arms"]
    ]
    raw = [
        arm["qini"]["p_value_greater"]
        for own in ran.summary["learners"].values()
        for arm in own["evaluation"]["arms"]
    ]
    claimed = sum(p < 0.05 for p in adjusted)
    assert (page.count(">yes<"), page.count(">not shown<")) == (claimed, 6 - claimed)
    assert len(raw) == 6
    assert all(a >= b for a, b in zip(adjusted, raw, strict=True))
    assert min(adjusted) == pytest.approx(min(1, 6 * min(raw)))
    assert re.search(r"more than chance explains in \w+ of 3 features", page)
