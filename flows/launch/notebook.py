"""A finished run as a notebook shows it: what it found, its warnings, and where its report is."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flows.messages.outcome import by_outcome, comparison_rows, interval
from flows.messages.output import plain
from metalearners.showing.results import table_html


def run_html(summary: dict[str, Any], folder: Path) -> str:
    """A run in HTML, from its summary; the folder is where a browser finds its report."""
    fits = summary["fits"]
    partial = ", some learners failed" if summary.get("status") == "partial" else ""
    counts = (
        f"{fits['executed']} fits executed, {fits['reused']} reused, {summary['seconds']:.1f} s"
    )
    parts = [
        f"<b>{_text(summary['run_name'])}</b>: {counts}{partial}",
        *(part for name, own in by_outcome(summary).items() for part in _findings(name, own)),
        _table(list(_policies(summary.get("targeting", {})))),
        _listed("Warnings", dict.fromkeys(_warnings(summary))),
        _links(folder),
    ]
    return f"<div>{''.join(f'<div>{part}</div>' for part in parts if part)}</div>"


def _findings(outcome: str, found: dict[str, Any]) -> Iterator[str]:
    """What was found of one outcome; its name is empty where there is no list of them."""
    if outcome:
        yield f"<b>{_text(outcome)}</b>"
    yield _listed("", (one["sentence"] for one in found.get("verdict", [])))
    yield _table(list(_effects(found)))
    yield _table(list(_rankings(found)))
    yield _comparison(found)


def _effects(found: dict[str, Any]) -> Iterator[dict[str, str]]:
    """A row for each arm: its average effect with the interval that decides about a claim."""
    for ate, joint in zip(found["ate"], found["ate_joint"], strict=True):
        yield {
            "Arm": str(ate["arm"]),
            "Average effect (joint 95 % interval)": interval({**ate, **joint}),
            "Claimed": _claim(joint),
        }


def _claim(joint: dict[str, Any]) -> str:
    if joint["claimed"]:
        return "yes"
    return f"no: {joint['doubt']}" if joint["doubt"] else "no"


def _rankings(found: dict[str, Any]) -> Iterator[dict[str, str]]:
    """A row for each test of whether a learner's estimates order rows by their effects."""
    for one in found.get("heterogeneity", []):
        yield {
            "Learner": one["learner"],
            "Arm": str(one["arm"]),
            "AUTOC (95 % interval)": interval(one["autoc"]),
            "p, adjusted": f"{one['p_value_adjusted']:.2g}",
            "Test": one["test"],
        }


def _policies(targeting: dict[str, Any]) -> Iterator[dict[str, str]]:
    """A row for the rule that says whom to treat, and for the best arm alone, on held-out rows."""
    if "chosen" in targeting:
        alone = targeting["best_single_arm"]
        policies = {"the rule": targeting["chosen"], f"{alone['arm']} alone, at random": alone}
        for name, found in policies.items():
            yield {
                "Policy": name,
                "Cost a row": f"{found['spend']:.3g}",
                "Gain a row (95 % interval)": interval(found["gain"]),
                "Gain less cost": interval(found["net"]),
            }


def _comparison(found: dict[str, Any]) -> str:
    judged = found.get("comparison")
    return _table(comparison_rows(judged)) + _text(judged["rule"]) if judged else ""


def _warnings(summary: dict[str, Any]) -> Iterator[str]:
    for outcome, found in by_outcome(summary).items():
        of = f"{outcome}: " if outcome else ""
        for name, learner in found.get("learners", {}).items():
            if "error" in learner:
                yield f"{of}{name} failed: {learner['error']}"
        for light in found.get("health", []):
            if light["status"] != "ok":
                yield f"{of}{light['sentence']}"
    yield from summary.get("caveats", [])
    yield from summary.get("warnings", [])


def _links(folder: Path) -> str:
    files = {"Report": "report.html", "estimates": "estimates.parquet", "figures": "summary.json"}
    named = (
        f'<a href="{escape(_address(folder / file))}">{name}</a>' for name, file in files.items()
    )
    return f"{', '.join(named)} in {_text(folder)}"


def _address(file: Path) -> str:
    """Where a browser finds a file: beside the notebook, or by its whole path."""
    return file.as_uri() if file.is_absolute() else quote(file.as_posix())


def _table(rows: Sequence[dict[str, str]]) -> str:
    if not rows:
        return ""
    return table_html([*rows[0]], [[_text(cell) for cell in row.values()] for row in rows])


def _listed(title: str, sentences: Iterable[str]) -> str:
    items = "".join(f"<li>{_text(one)}</li>" for one in sentences)
    return f"{title}<ul>{items}</ul>" if items else ""


def _text(value: object) -> str:
    return escape(plain(str(value)))
