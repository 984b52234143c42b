"""The figures of each run of a name, in the order of their logical dates."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from flows.dates.logical import moment_of
from flows.report.past_runs import qini_of
from metalearners.data.estimate_columns import arm_name
from metalearners.evaluation.findings import claims_ranking

MOST_RUNS = 100
"""Runs of a history; earlier ones are left out."""

_FINISHED = ("done", "partial")


@dataclass
class History:
    """What the runs of a name found over time.

    Parameters
    ----------
    name : str
        That of their config.
    points : list of dict
        The figures of each finished run, by logical date, then by start. Arms and learners that a
        run doesn't have are absent in its point.
    is_cut : bool
        Whether there are more finished runs, which began earlier.
    failed : int
        How many runs have failed.
    failures : list of dict
        Name, logical date and events of the latest of these.
    unread : list of str
        Files in the places of summaries that no run wrote, each with what is wrong with it.
    """

    name: str
    points: list[dict[str, Any]] = field(default_factory=list)
    is_cut: bool = False
    failed: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """The history as plain values."""
        return asdict(self)

    def notes(self) -> list[str]:
        """What isn't among the points, in sentences."""
        said = []
        if self.is_cut:
            said.append(f"Only the latest {len(self.points)} finished runs are shown.")
        if self.failed:
            runs = "1 run has" if self.failed == 1 else f"{self.failed} runs have"
            said.append(f"{runs} failed: `uplift runs list` shows why.")
        if self.unread:
            more = f", and {len(self.unread) - 1} more" if len(self.unread) > 1 else ""
            said.append(f"Not read, as no run wrote it: {self.unread[0]}{more}.")
        if len({(point["outcome"], point["control"]) for point in self.points}) > 1:
            said.append("The outcome or the control differs between these runs: so do the effects.")
        return said


def history_of(
    name: str, summaries: Iterable[Mapping[str, Any]], records: Iterable[Mapping[str, Any]]
) -> History:
    """The history of a name.

    Parameters
    ----------
    name : str
        Of a config.
    summaries : iterable of mapping
        Those of all runs in a folder, the latest first. No more are read than are needed.
    records : iterable of mapping
        Those of the runs that have no summary.
    """
    found, own = History(name), []
    for summary in summaries:
        _note(found, summary)
        if summary.get("name") == name and summary["status"] in _FINISHED:
            own.append(summary)
            if len(own) > MOST_RUNS:
                found.is_cut = True
                break
    for record in records:
        _note(found, record)
    found.points = sorted(map(_point, islice(own, MOST_RUNS)), key=_order)
    return found


def _note(history: History, run: Mapping[str, Any]) -> None:
    """Note a run that failed, or a file that no run wrote."""
    if run["status"] == "damaged":
        history.unread.append(f"{run['run_name']}, {run['error']}")
    elif run.get("name") == history.name and run["status"] == "failed":
        history.failed += 1
        if len(history.failures) < MOST_RUNS:
            history.failures.append(_failure(run))


def _failure(record: Mapping[str, Any]) -> dict[str, Any]:
    date = record.get("logical_date") or record["started"]
    own = {"run_name": record["run_name"], "logical_date": date}
    return {**own, "events": record.get("events", [])}


def _point(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a finished run, by its summary."""
    data, fits = summary.get("data", {}), summary.get("fits", {})
    return {
        "run_name": summary["run_name"],
        "logical_date": summary.get("logical_date") or summary["started"],
        "started": summary["started"],
        "status": summary["status"],
        "seconds": summary.get("seconds"),
        "rows": data.get("rows"),
        "outcome": data.get("outcome", "the outcome"),
        "control": next(iter(data.get("arms", [])), None),
        "fits": {count: fits.get(count) for count in ("executed", "reused")},
        "effects": _effects(summary),
        "qini": _rankings(summary),
        "model": summary.get("model"),
        "events": summary.get("events", []),
    }


def _effects(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Average effects by arm, with their own intervals and those that hold for all arms at once."""
    joint = {arm_name(row["arm"]): row for row in summary.get("ate_joint", [])}
    found = []
    for row in summary.get("ate", []):
        own = {key: row.get(key) for key in ("arm", "estimate", "std_error", "ci_low", "ci_high")}
        whole = joint.get(arm_name(row["arm"]), {})
        ends = {f"joint_{end}": whole.get(f"ci_{end}") for end in ("low", "high")}
        claim = {"degrees": whole.get("degrees"), "claimed": whole.get("claimed")}
        found.append({**own, **ends, **claim})
    return found


def _rankings(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Qini by learner and arm; nothing of learners that failed, or where no rows were held out."""
    return [
        {"learner": name, "arm": row["arm"], **_ranking(row)}
        for name, learner in summary.get("learners", {}).items()
        for row in learner.get("evaluation", {}).get("arms", [])
    ]


def _ranking(row: Mapping[str, Any]) -> dict[str, Any]:
    qini, std_error, adjusted = qini_of(row)
    return {
        "qini": qini,
        "std_error": std_error,
        "p_value_adjusted": adjusted,
        "claimed": _is_claimed(adjusted),
    }


def _is_claimed(p_adjusted: float | None) -> bool:
    return p_adjusted is not None and claims_ranking(p_adjusted)


def _order(point: Mapping[str, Any]) -> tuple[datetime, datetime, str]:
    date, started = (moment_of(point[key], "UTC") for key in ("logical_date", "started"))
    return date, started, point["run_name"]


def clock_of(point: Mapping[str, Any]) -> datetime:
    """A point's logical date, as the clock of its own time zone shows it."""
    return datetime.fromisoformat(point["logical_date"]).replace(tzinfo=None)


def date_of(point: Mapping[str, Any]) -> str:
    """The same as a text, with the time unless that is midnight."""
    date = clock_of(point)
    return f"{date:%Y-%m-%d %H:%M}" if date.hour or date.minute else f"{date:%Y-%m-%d}"


def arms_of(history: History) -> list[str]:
    """The arms that have effects in some run: those of the latest run first."""
    rows = (row for point in reversed(history.points) for row in point["effects"])
    return list(dict.fromkeys(arm_name(row["arm"]) for row in rows))


def control_of(point: Mapping[str, Any]) -> str:
    """The arm against which a run's effects are."""
    return "the control" if point["control"] is None else arm_name(point["control"])


def decision_of(point: Mapping[str, Any]) -> str:
    """What a run decided about its model, and the name that the model has since."""
    model = point["model"] or {}
    alias, decision = model.get("alias"), model.get("decision") or ""
    return f"{decision} ({alias})" if alias else decision


def effect_of(point: Mapping[str, Any], arm: str) -> dict[str, Any] | None:
    """A run's average effect of an arm."""
    return next((row for row in point["effects"] if arm_name(row["arm"]) == arm), None)


def ranking_of(point: Mapping[str, Any], arm: str, learner: str) -> dict[str, Any] | None:
    """A run's Qini of a learner for an arm."""
    own = (row for row in point["qini"] if row["learner"] == learner)
    return next((row for row in own if arm_name(row["arm"]) == arm), None)
