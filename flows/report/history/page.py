"""The page of a history: one file that needs neither a network nor scripts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from flows.dates.logical import moment_of
from flows.report import html
from flows.report.elements import Panel, number, spoken, typical
from flows.report.history import plots
from flows.report.history.plots import Marked, Series, Times
from flows.report.history.points import (
    History,
    arms_of,
    clock_of,
    control_of,
    date_of,
    decision_of,
    effect_of,
    ranking_of,
)
from flows.report.plots import MOST_ARMS
from flows.report.tables import Table, of_texts
from metalearners.plots.styles import arm_style, learner_style
from metalearners.registry import REGISTRY

Find = Callable[[Mapping[str, Any]], Marked | None]

_CLAIM = " *"


def sections_of(history: History) -> dict[str, Any]:
    """What the page shows, by the names that its template has for it."""
    points = history.points
    if not points:
        return {"history": history, "notes": history.notes()}
    control, arms = control_of(points[-1]), arms_of(history)
    marked = [k for k, point in enumerate(points) if point["events"]]
    times = Times.by_date([clock_of(point) for point in points], marked)
    return {
        "history": history,
        "notes": history.notes(),
        "labels": [control, *arms],
        "outcome": points[-1]["outcome"],
        "dates": [date_of(points[0]), date_of(points[-1])],
        "effects": _effects(history, arms, times, control),
        "qini": _qini(history, arms, times),
        "course": _course(history),
        "events": _events(history),
    }


def render(sections: Mapping[str, Any]) -> str:
    """The page as HTML."""
    return html.render("history.html.j2", sections)


def _effects(history: History, arms: Sequence[str], times: Times, control: str) -> dict[str, Any]:
    """Average effects by date: a picture for each arm, and a column of the table."""
    points, outcome = history.points, history.points[-1]["outcome"]
    columns: dict[str, Find] = {arm: _effect_finder(arm) for arm in arms}
    panels = []
    for k, arm in enumerate(arms[:MOST_ARMS], start=1):
        series = _series(points, columns[arm], arm_style(k))
        panels.append(Panel(arm, plots.effects(series, times, outcome, arm)))
    caption = f"Average effect against {spoken(control)}, per row, with 95 % intervals"
    return {"panels": panels, "table": _by_date(caption, points, columns)}


def _qini(history: History, arms: Sequence[str], times: Times) -> dict[str, Any] | None:
    """Qini by date: a picture for each arm, with a strip for each learner; None without any."""
    points = history.points
    present = {row["learner"] for point in points for row in point["qini"]}
    learners = [name for name in REGISTRY if name in present]
    if not learners:
        return None
    columns = {(arm, name): _ranking_finder(arm, name) for arm in arms for name in learners}
    panels = []
    for arm in arms[:MOST_ARMS]:
        own = {name: _series(points, columns[arm, name], learner_style(name)) for name in learners}
        panels.append(Panel(arm, plots.qini(own, times, arm)))
    heads = {_head(arm, name, arms, learners): find for (arm, name), find in columns.items()}
    caption = "Qini on held-out rows, with ±1.96 standard errors"
    return {"panels": panels, "table": _by_date(caption, points, heads)}


def _head(arm: str, learner: str, arms: Sequence[str], learners: Sequence[str]) -> str:
    """A column's name: arm and learner, but neither where there is only one."""
    names = [arm] if len(arms) > 1 else []
    return ", ".join([*names, learner] if len(learners) > 1 or not names else names)


def _events(history: History) -> list[tuple[str, list[dict[str, str]]]]:
    """Events by date, those of failed runs too, the latest first."""
    runs = [run for run in (*history.points, *history.failures) if run["events"]]
    runs.sort(key=lambda run: moment_of(run["logical_date"], "UTC"), reverse=True)
    return [(date_of(run), run["events"]) for run in runs]


def _course(history: History) -> dict[str, Any]:
    """What each run fitted, and how long it took."""
    points = history.points
    executed, reused = (
        [point["fits"][kind] or 0 for point in points] for kind in ("executed", "reused")
    )
    times = Times.by_run([clock_of(point) for point in points])
    head = ["Date", "Run", "Status", "Rows", "Executed", "Reused", "Seconds", "Model"]
    rows = [_run_row(point) for point in reversed(points)]
    if not any(row[-1] for row in rows):
        head, rows = head[:-1], [row[:-1] for row in rows]
    return {
        "plot": plots.fits(executed, reused, times),
        "table": of_texts("Runs", head, rows, names=3),
    }


def _run_row(point: Mapping[str, Any]) -> list[str]:
    counts = (point["rows"], point["fits"]["executed"], point["fits"]["reused"])
    names = [date_of(point), point["run_name"], point["status"]]
    return [*names, *map(_count, counts), number(point["seconds"]), decision_of(point)]


def _by_date(
    caption: str, points: Sequence[Mapping[str, Any]], columns: Mapping[str, Find]
) -> Table:
    """A row for each run, the latest first, and a column for each figure."""
    found = {head: [find(point) for point in points] for head, find in columns.items()}
    scales = {head: typical(map(_spread, filter(None, own))) for head, own in found.items()}
    rows = [
        [date_of(point), *(_cell(found[head][k], scales[head]) for head in found)]
        for k, point in reversed(list(enumerate(points)))
    ]
    return of_texts(caption, ["Date", *found], rows)


def _spread(one: Marked) -> float:
    """Ten standard errors: two digits of the error are enough."""
    return 2.5 * (one.ends[1] - one.ends[0]) if one.ends else 0.0


def _cell(one: Marked | None, scale: float | None) -> str:
    if one is None:
        return "–"
    interval = " ({} to {})".format(*(number(end, scale) for end in one.ends)) if one.ends else ""
    return f"{number(one.value, scale)}{interval}{_CLAIM if one.claimed else ''}"


def _series(points: Iterable[Mapping[str, Any]], find: Find, style: Any) -> Series:
    known = [(k, one) for k, one in enumerate(map(find, points)) if one is not None]
    return Series([k for k, _ in known], [one for _, one in known], style)


def _effect_finder(arm: str) -> Find:
    def find(point: Mapping[str, Any]) -> Marked | None:
        row = effect_of(point, arm)
        if row is None or row["estimate"] is None:
            return None
        ends = row["joint_low"], row["joint_high"]
        return Marked(row["estimate"], None if None in ends else ends, bool(row["claimed"]))

    return find


def _ranking_finder(arm: str, learner: str) -> Find:
    def find(point: Mapping[str, Any]) -> Marked | None:
        row = ranking_of(point, arm, learner)
        if row is None or row["qini"] is None:
            return None
        if row["std_error"] is None:
            return Marked(row["qini"], None, False)
        half = 1.96 * row["std_error"]
        return Marked(row["qini"], (row["qini"] - half, row["qini"] + half), row["claimed"])

    return find


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"
