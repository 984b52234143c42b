"""Events of a run: what differs from earlier runs of its name by more than chance, in sentences.

Of each kind, a run in which nothing changes raises one with a probability of 0.001 at most. For
this, p-values are multiplied by the number of arms, learners or columns that are looked at.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from flows.messages.limits import shown
from flows.report.history.points import date_of, effect_of, ranking_of
from flows.watching.changes import Change, Watched
from metalearners.data.estimate_columns import arm_name
from metalearners.evaluation.recurring.changes import LEVEL, Figure, fall
from metalearners.evaluation.recurring.drift import DRIFT, Drift

_LATE = timedelta(hours=1)
Point = Mapping[str, Any]


@dataclass(frozen=True)
class Event:
    """Something that someone should be told of a run.

    Parameters
    ----------
    event : str
        Its kind, as ``drift``.
    sentence : str
        What happened, with figures, and neither rows nor secrets.
    about : str
        The arm, or the learner and the arm; empty where it is about the whole run.
    """

    event: str
    sentence: str
    about: str = ""


@dataclass(frozen=True)
class _Found:
    """A run's figure, and whether the run tells it from zero."""

    figure: Figure
    is_told: bool


_Find = Callable[[Point], _Found | None]


def events_of(points: Sequence[Point], watched: Watched) -> list[Event]:
    """The events of a run.

    Parameters
    ----------
    points : sequence
        The figures of the earlier runs of its name and, as the last, its own.
    watched : Watched
        Its rows beside those of earlier runs.
    """
    *earlier, own = points
    what = own["outcome"], own["control"]
    alike = [point for point in earlier if (point["outcome"], point["control"]) == what]
    return [
        *_no_effect(alike, own),
        *_calibration_lost(alike, own),
        *_sample_ratio(watched),
        *_drift(watched),
        *_schema_change(watched),
    ]


def late(point: Point, began: datetime, scheduled: datetime) -> list[Event]:
    """The event of a run that began more than an hour after the time for which it was scheduled."""
    waited = began - scheduled
    if waited <= _LATE:
        return []
    hours = waited / timedelta(hours=1)
    return [Event("late", f"The run for {date_of(point)} began {hours:.3g} hours after its time.")]


def failed(learners: Mapping[str, str]) -> list[Event]:
    """The event of a run some of whose learners failed."""
    if not learners:
        return []
    sentence = f"{', '.join(learners)} failed, the other learners didn't: see the report."
    return [Event("failed", sentence)]


def promoted(name: str, model: Mapping[str, Any]) -> list[Event]:
    """The event of a run that made a model the champion of its name."""
    run, gain = model.get("promoted"), model.get("difference")
    if not run:
        return []
    better = ""
    if gain:
        interval = f"{gain['ci_low']:.3g} to {gain['ci_high']:.3g}"
        better = f": its policy gains {gain['estimate']:.3g} per row ({interval}) over the last one"
    return [Event("promoted", f"{run} is the champion of {name} now{better}.")]


def _no_effect(earlier: Sequence[Point], own: Point) -> Iterator[Event]:
    arms = [arm_name(row["arm"]) for row in own["effects"]]
    finders = {arm: _effect(arm) for arm in arms}
    for arm, before, p_value in _lost("no-effect", earlier, own, finders):
        row = effect_of(own, arm) or {}
        yield Event(
            "no-effect",
            f"The average effect of {arm} isn't told from zero any more: {row['estimate']:.3g} "
            f"(joint 95 % interval {row['joint_low']:.3g} to {row['joint_high']:.3g}), after "
            f"{before:.3g} on average in earlier runs ({_p(p_value)}).",
            arm,
        )


def _calibration_lost(earlier: Sequence[Point], own: Point) -> Iterator[Event]:
    names = [(row["learner"], arm_name(row["arm"])) for row in own["qini"]]
    finders = {" ".join(name): _ranking(*name) for name in names}
    for about, before, p_value in _lost("calibration-lost", earlier, own, finders):
        row = ranking_of(own, *reversed(about.split(" ", 1))) or {}
        yield Event(
            "calibration-lost",
            f"The estimates of {about} don't predict effects of held-out rows any more: Qini "
            f"{row['qini']:.3g} ± {1.96 * row['std_error']:.2g}, after {before:.3g} on average in "
            f"earlier runs ({_p(p_value)}).",
            about,
        )


def _lost(
    kind: str, earlier: Sequence[Point], own: Point, finders: Mapping[str, _Find]
) -> Iterator[tuple[str, float, float]]:
    """Figures that an earlier run told from zero and that have fallen; each is told once."""
    for about, find in finders.items():
        now, found = find(own), [(point, find(point)) for point in earlier]
        known = [(point, one) for point, one in found if one is not None]
        told = [k for k, (_, one) in enumerate(known) if one.is_told]
        if now is None or now.is_told or not told:
            continue
        since = [event for point, _ in known[told[-1] + 1 :] for event in point["events"]]
        if any((one["event"], one.get("about")) == (kind, about) for one in since):
            continue
        fallen = fall(now.figure, [one.figure for _, one in known])
        is_same = fallen.before * known[told[-1]][1].figure.estimate > 0
        if is_same and fallen.p_value * len(finders) < LEVEL:
            yield about, fallen.before, fallen.p_value


def _effect(arm: str) -> _Find:
    def find(point: Point) -> _Found | None:
        row = effect_of(point, arm)
        if row is None or None in (row["estimate"], row["joint_low"], row["joint_high"]):
            return None
        is_told = row["joint_low"] > 0 or row["joint_high"] < 0
        return _found(row["estimate"], row["std_error"], row["degrees"], is_told)

    return find


def _ranking(learner: str, arm: str) -> _Find:
    def find(point: Point) -> _Found | None:
        row = ranking_of(point, arm, learner)
        if row is None or row["qini"] is None:
            return None
        return _found(row["qini"], row["std_error"], None, row["claimed"])

    return find


def _found(
    estimate: float, error: float | None, degrees: float | None, is_told: bool
) -> _Found | None:
    if not error or error < 0:
        return None
    return _Found(Figure(estimate, error, max(degrees or np.inf, 1)), is_told)


def _p(value: float) -> str:
    return "p < 1e-12" if value < 1e-12 else f"p = {value:.1g}"


def _sample_ratio(watched: Watched) -> Iterator[Event]:
    arms = watched.arms
    if arms is None or arms.p_value >= LEVEL:
        return
    shares = ", ".join(
        f"{arm} {share:.3g}, not {arms.expected[arm]:.3g}" for arm, share in arms.found.items()
    )
    yield Event(
        "sample-ratio",
        f"The arms' shares aren't those of {arms.by} ({_p(arms.p_value)}): {shown(shares)}. No "
        "estimate is safe from that.",
    )


def _drift(watched: Watched) -> Iterator[Event]:
    tested: list[tuple[str, Drift]] = [
        *((one.column, one) for one in watched.drifts),
        *((f"the effect of {o.arm} by {o.learner}", o.drift) for o in watched.effects),
    ]
    told = [
        f"{name} (PSI {one.psi:.2g})"
        for name, one in tested
        if one.status == DRIFT and one.p_value * len(tested) < LEVEL
    ]
    if told:
        about = f"Distributions differ from those of {watched.since}"
        yield Event("drift", f"{about}: {shown(', '.join(told))}.")


def _schema_change(watched: Watched) -> Iterator[Event]:
    told = [_schema(one) for one in watched.changes if _is_schema(one)]
    if told:
        yield Event("schema-change", f"Changed since {watched.since}: {shown('; '.join(told))}.")


def _is_schema(change: Change) -> bool:
    is_new = change.p_value is not None and change.p_value < LEVEL
    return change.status == "warned" and (change.kind in ("column", "type") or is_new)


def _schema(change: Change) -> str:
    if change.kind == "category":  # levels are values of rows
        return f"category {change.column!r}: levels that weren't there before"
    return str(change)
