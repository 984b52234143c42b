"""Finds the runs of a config, and shows their figures over time."""

import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table

from flows.config.names import DEFAULT_OUTPUT, is_name
from flows.config.reading import load_config
from flows.errors import InputError
from flows.launch.display import add_row, cell
from flows.messages.output import say, show
from flows.report.history.points import (
    History,
    arms_of,
    date_of,
    decision_of,
    effect_of,
    ranking_of,
)
from flows.runs.recurring import history
from metalearners.files.regular_files import write_whole

_GAP = 2  # spaces between columns


def find_history(config: Path, output: str | None) -> History:
    """The history of a config, or of the name of one.

    Raises InputError if it is neither, or the config is wrong.
    """
    if config.is_file() or not is_name(str(config)):
        loaded = load_config(config, output=output)
        return history(loaded.name, Path(loaded.output))
    folder = Path(output or DEFAULT_OUTPUT)
    found = history(str(config), folder)
    if not found.points and not found.failed:
        raise InputError(
            f"Expected a config, or the name of one that has run; found no file {config}, and no "
            f"run of this name in {folder}. Name the config, or its runs' folder with --output."
        )
    return found


def write_page(found: History, path: Path) -> None:
    """Write the page of a history."""
    from flows.report.history.page import render, sections_of  # slow, as it draws

    write_whole(path, render(sections_of(found)).encode())


def history_table(found: History) -> None:
    """Print a row for each run, oldest first; on a terminal, in as many tables as its width needs.

    What isn't shown is told on standard error.
    """
    if not found.points:
        show(f"No finished run of {found.name} yet.")
    is_terminal = sys.stdout.isatty()
    groups = _groups(found)
    columns = list(chain(*groups))
    width = Console().width if is_terminal else _across(columns)
    for part in _fitted(groups, width) if found.points else []:
        heads = (Column(column[0], justify=_justify(column)) for column in part)
        table = Table(*heads, box=None, padding=(0, _GAP, 0, 0), pad_edge=False)
        for row in zip(*(column[1:] for column in part), strict=True):
            add_row(table, row)
        Console(width=width).print(table)
        if is_terminal:
            show("")
    if any(text.endswith("*") for column in columns for text in column):
        show("* claimed by the run: see its report")
    for note in found.notes():
        say(note)


def _groups(found: History) -> list[list[list[str]]]:
    """Columns that belong together, the dates first; each begins with its name."""
    points, arms = found.points, arms_of(found)
    learners = list(dict.fromkeys(row["learner"] for point in points for row in point["qini"]))
    effects = [
        [f"effect of {arm}", *(_effect(effect_of(point, arm)) for point in points)] for arm in arms
    ]
    qini = [
        [f"Qini {learner} {arm}", *(_qini(ranking_of(point, arm, learner)) for point in points)]
        for arm in arms
        for learner in learners
    ]
    groups = [[["date", *map(date_of, points)]], effects, qini, *_course(points)]
    return [[list(map(cell, column)) for column in group] for group in groups]


def _course(points: Sequence[dict[str, Any]]) -> tuple[list[list[str]], list[list[str]]]:
    """What runs took; and what they decided and told, where some did."""
    took = [
        ["rows", *(_text(point["rows"]) for point in points)],
        ["executed", *(_text(point["fits"]["executed"]) for point in points)],
        ["reused", *(_text(point["fits"]["reused"]) for point in points)],
        ["seconds", *(f"{point['seconds'] or 0:.1f}" for point in points)],
        ["run", *map(_run, points)],
    ]
    told = [
        ["model", *map(decision_of, points)],
        ["events", *(", ".join(one["event"] for one in point["events"]) for point in points)],
    ]
    return took, [column for column in told if any(column[1:])]


def _fitted(groups: Sequence[list[list[str]]], width: int) -> list[list[list[str]]]:
    """Columns side by side as far as they fit a width, each time with the dates before them."""
    (dates,), *others = groups
    parts = [[dates]]
    for group in others:
        if _across([*parts[-1], *group]) <= width:
            parts[-1] += group
            continue
        for column in group:
            if column is group[0] or _across([*parts[-1], column]) > width:
                parts.append([dates])
            parts[-1].append(column)
    return [part for part in parts if len(part) > 1]


def _across(columns: Sequence[list[str]]) -> int:
    """The width of columns side by side."""
    return sum(max(map(cell_len, column)) + _GAP for column in columns) - _GAP


def _justify(column: Sequence[str]) -> Literal["left", "right"]:
    return "right" if column[0] in ("rows", "executed", "reused", "seconds") else "left"


def _effect(row: dict[str, Any] | None) -> str:
    """An average effect with the interval that decides whether the run claims it."""
    if row is None or row["estimate"] is None:
        return "-"
    claim = "*" if row["claimed"] else ""
    if row["joint_low"] is None or row["joint_high"] is None:
        return f"{row['estimate']:.3g}{claim}"
    return f"{row['estimate']:.3g} ({row['joint_low']:.3g} to {row['joint_high']:.3g}){claim}"


def _qini(row: dict[str, Any] | None) -> str:
    """A Qini with 1.96 standard errors."""
    if row is None or row["qini"] is None:
        return "-"
    if row["std_error"] is None:
        return f"{row['qini']:.3g}"
    claim = "*" if row["claimed"] else ""
    return f"{row['qini']:.3g} ± {1.96 * row['std_error']:.2g}{claim}"


def _run(point: dict[str, Any]) -> str:
    return point["run_name"] + (" (partial)" if point["status"] == "partial" else "")


def _text(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
