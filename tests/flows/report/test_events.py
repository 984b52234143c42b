"""Events: what has changed is told once, with figures; what hasn't is told in hardly any year."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from flows.report.history.events import events_of, failed, late, promoted
from flows.watching.arms import Shares
from flows.watching.changes import Change, Watched
from flows.watching.effects import EffectDrift
from flows.watching.profile import Profile
from metalearners.evaluation.recurring.drift import Drift

NOBODY = Profile(rows=1, columns={}, arms={}, distributions={})
CALM = Watched(NOBODY, "before")


def point(effects=(), qini=(), events=(), outcome="y", control="no"):
    """A run's figures: estimates by arm with an error of 1, and Qinis by learner and arm."""
    return {
        "outcome": outcome,
        "control": control,
        "logical_date": "2026-03-01T05:00:00+00:00",
        "effects": [
            {
                "arm": arm,
                "estimate": value,
                "std_error": 1.0,
                "degrees": 1e6,
                "joint_low": value - 2,
                "joint_high": value + 2,
                "claimed": abs(value) > 2,
            }
            for arm, value in dict(effects).items()
        ],
        "qini": [
            {"learner": learner, "arm": arm, "qini": value, "std_error": 1.0, "claimed": value > 2}
            for (learner, arm), value in dict(qini).items()
        ],
        "events": [vars(one) for one in events],
    }


def kinds(found):
    return [one.event for one in found]


def course(points, watched=CALM):
    """The events of each of some runs, one after the other."""
    past, told = [], []
    for own in points:
        found = events_of([*past, own], watched)
        past.append({**own, "events": [vars(one) for one in found]})
        told.append(found)
    return told


def test_an_effect_that_ends_is_told_once_and_again_after_it_was_back():
    values = [9, 8, 9, 0.5, -0.3, 9, 0.2]
    found = course([point({"long": value, "short": 9}) for value in values])

    assert list(map(kinds, found)) == [[], [], [], ["no-effect"], [], [], ["no-effect"]]
    (event,) = found[3]
    assert event.about == "long"
    assert event.sentence == (
        "The average effect of long isn't told from zero any more: 0.5 (joint 95 % interval -1.5 "
        "to 2.5), after 8.67 on average in earlier runs (p = 4e-09)."
    )


def test_an_effect_that_nobody_told_or_that_is_within_chance_raises_nothing():
    assert course([point({"a": 1.5}), point({"a": 0.0})])[-1] == []
    assert course([point({"a": 3.0}), point({"a": 1.0})])[-1] == []
    others = [point({"a": 9}, outcome="z"), point({"a": 9}, control="b"), point({"a": 0})]
    assert course(others)[-1] == []
    assert course([point({"a": 0})])[-1] == []
    chance = [*[point({"a": -1.9})] * 20, point({"a": 2.1}), point({"a": 1.9})]
    assert course(chance)[-1] == []  # the other way than the run that told one


def test_a_ranking_that_is_lost_is_told_of_its_learner_and_arm():
    names = [("DRLearner", "a b"), ("TLearner", "a b")]
    before = point(qini=dict.fromkeys(names, 9.0))
    found = course([before, before, point(qini={names[0]: 0.1, names[1]: 9.0})])[-1]

    assert [(one.event, one.about) for one in found] == [("calibration-lost", "DRLearner a b")]
    assert "Qini 0.1 ± 2, after 9 on average in earlier runs" in found[0].sentence


@pytest.mark.parametrize("effect", [0.0, 2.0, 3.0, 5.0])
def test_hardly_any_year_without_a_change_has_an_event(effect):
    """200 years of two arms and two learners: 4,400 runs of a name."""
    rng = np.random.default_rng(int(effect))
    noisy = 0
    for _ in range(200):
        names = [(learner, arm) for learner in "DT" for arm in "ab"]
        months = [
            point(
                dict(zip("ab", effect + rng.normal(size=2), strict=True)),
                dict(zip(names, effect + rng.normal(size=4), strict=True)),
            )
            for _ in range(12)
        ]
        noisy += any(course(months))
    assert noisy <= 4  # .001 a month and kind would be 4.4 years; the error's bound makes it fewer


def drift(column, psi, p_value, status="drift"):
    return Drift(column, psi, 9, p_value, status)


def test_drift_counts_all_columns_together():
    moved = drift("cate.DRLearner.long", 0.4, 1e-9)
    of_effect = EffectDrift("DRLearner", "long", moved, np.arange(1), np.ones(1))
    watched = Watched(NOBODY, "before", drifts=(drift("age", 0.31, 1e-8),), effects=(of_effect,))
    (event,) = course([point()], watched)[0]
    assert event.event == "drift"
    assert event.sentence == (
        "Distributions differ from those of before: age (PSI 0.31), the effect of long by "
        "DRLearner (PSI 0.4)."
    )
    by_chance = (drift("age", 0.3, 9e-4), drift("size", 0.0, 0.5, "stable"))
    assert course([point()], Watched(NOBODY, "before", drifts=by_chance))[0] == []


def test_a_schema_changes_by_columns_types_and_levels_that_chance_didnt_miss():
    def told(*changes):
        return course([point()], Watched(NOBODY, "before", changes=changes))[0]

    column = Change("column", "age", "number", None, "warned")
    level = Change("category", "city", "3 levels", ["Aix-sur-Secret"], "warned", 1e-9)
    (event,) = told(column, level)
    assert event.event == "schema-change"
    assert "column 'age': number before, none now" in event.sentence
    assert "Secret" not in event.sentence
    for quiet in (
        Change("category", "city", "3 levels", ["Aix"], "warned", 0.2),
        Change("column", "age", "number", None, "noted"),
        Change("missing", "age", 0.1, 0.3, "warned"),
        Change("rows", None, 100, 1000, "warned"),
    ):
        assert told(quiet) == []


def test_shares_of_arms_beyond_chance_are_told():
    found, expected = {"no": 0.45, "yes": 0.55}, {"no": 0.5, "yes": 0.5}
    arms = Shares(found, expected, 1e-12, "data.propensity")
    (event,) = course([point()], Watched(NOBODY, arms=arms))[0]
    assert event.event == "sample-ratio"
    assert "no 0.45, not 0.5, yes 0.55, not 0.5" in event.sentence
    near = Shares(found, expected, 0.002, "data.propensity")
    assert course([point()], Watched(NOBODY, arms=near))[0] == []


def test_promotions_failures_and_lateness_are_told():
    gain = {"estimate": 0.1, "std_error": 0.02, "ci_low": 0.03, "ci_high": 0.2}
    (event,) = promoted("shop", {"promoted": "20260301-x", "difference": gain})
    assert event.sentence == (
        "20260301-x is the champion of shop now: its policy gains 0.1 per row (0.03 to 0.2) over "
        "the last one."
    )
    assert promoted("shop", {"promoted": None}) == promoted("shop", {}) == []
    (event,) = failed({"XLearner": "/home/me/secret: no rows"})
    assert (event.event, "secret" in event.sentence) == ("failed", False)
    assert failed({}) == []
    scheduled = datetime(2026, 3, 1, 5, tzinfo=UTC)
    assert late(point(), scheduled + timedelta(minutes=59), scheduled) == []
    (event,) = late(point(), scheduled + timedelta(hours=2, minutes=30), scheduled)
    assert event.sentence == "The run for 2026-03-01 05:00 began 2.5 hours after its time."
    json.dumps(vars(event))
