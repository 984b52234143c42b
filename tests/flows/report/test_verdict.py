"""A run's verdict and lights: by the run's own figures, in its summary and on the terminal."""

import numpy as np
import pandas as pd
import pytest

from flows.messages.outcome import outcome_lines
from metalearners.evaluation.verdict.limits import LIMITS
from metalearners.evaluation.verdict.sentences import QUESTIONS


@pytest.fixture
def given(settings):
    """A declared experiment of three arms: mail helps where b is high, a call does nothing."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(1200, 3)), columns=list("abc"))
    frame["w"] = rng.choice(["none", "mail", "call"], 1200)
    frame["y"] = frame["a"] + (frame["w"] == "mail") * 2 * frame["b"] + rng.normal(size=1200)
    frame.to_parquet("data.parquet")
    linear = {"estimator": "sklearn.linear_model.LinearRegression"}
    settings["data"] |= {"control": "none", "design": "randomised", "features": list("abc")}
    settings |= {
        "learners": ["TLearner"],
        "models": {"outcome": linear, "treatment": linear},
        "evaluation": {"holdout": 0.4},
    }
    return settings


def by(summary, key, name):
    return {one[name]: one for one in summary[key]}


def test_a_verdict_answers_by_the_figures_of_the_run(run, given):
    summary = run(given).summary
    said, lights = by(summary, "verdict", "question"), by(summary, "health", "check")

    assert tuple(said) == QUESTIONS
    assert said["effect"]["answer"] == "not shown"
    assert not any(one["claimed"] for one in summary["ate_joint"])
    for one, joint in zip(summary["ate"], summary["ate_joint"], strict=True):
        told = (
            f"{one['arm']} (estimate {one['estimate']:.3g}, 95 % interval {joint['ci_low']:.3g} to "
        )
        assert told in said["effect"]["sentence"]
    adjusted = {one["arm"]: one["p_value_adjusted"] for one in summary["heterogeneity"]}
    claimed = " and ".join(arm for arm, p in adjusted.items() if p < 0.05)
    assert "mail" in claimed
    assert said["heterogeneity"]["sentence"].startswith(f"The effect of {claimed} differs between")
    assert (said["learner"]["answer"], said["target"]["answer"]) == ("TLearner", "by ranking")
    order = list(dict.fromkeys(one.check for one in LIMITS))
    assert list(lights) == sorted(lights, key=order.index)
    assert {one["status"] for one in summary["health"]} <= {"ok", "warn"}
    assert {"sample ratio mismatch", "randomisation", "balance", "few rows"} < set(lights)
    lines = outcome_lines({**summary, "folder": "f"})
    assert [line for line in lines if line[2:].partition(":")[0] in QUESTIONS] == [
        f"  {one['question']}: {one['sentence']}" for one in summary["verdict"]
    ]


@pytest.mark.slow
def test_a_rule_with_costs_decides_whom_to_treat(run, given):
    summary = run(
        {**given, "targeting": {"cost": {"mail": 0.3, "call": 0.1}, "budget": 0.1}}
    ).summary
    found, target = summary["targeting"], by(summary, "verdict", "question")["target"]

    assert target["answer"] == "by ranking"
    gain, over = found["chosen"]["gain"], found["over_random"]
    assert f"It gains {gain['estimate']:.3g} (95 % interval" in target["sentence"]
    assert "within a budget of 0.1" in target["sentence"]
    assert f"That is {over['estimate']:.3g} (95 % interval" in target["detail"]
    for arm, n in found["rows_by_arm"].items():
        assert f"{arm} for {n:,} people (" in target["sentence"]


def test_confounded_rows_without_overlap_are_doubted_first(run, given):
    rng = np.random.default_rng(1)
    frame = pd.read_parquet("data.parquet")
    frame["w"] = np.where(rng.random(1200) < 1 / (1 + np.exp(-4 * frame["a"])), "mail", "none")
    frame["y"] = frame["a"] + (frame["w"] == "mail") + rng.normal(size=1200)
    frame.to_parquet("data.parquet")
    given["data"] |= {"design": "observational"}
    given["models"]["propensity"] = {"estimator": "sklearn.linear_model.LogisticRegression"}

    summary = run(given).summary
    *others, doubt = summary["verdict"]

    assert by(summary, "health", "check")[doubt["answer"]]["status"] == "bad"
    assert doubt["answer"] in {"clipped rows", "overlap"}
    assert {one["answer"] for one in others} == {"in doubt"}
    assert all(one["sentence"].startswith("Not to be relied on until") for one in others)
