"""Shows a run's progress on a terminal, and tables of runs, fits and settings."""

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import starmap
from typing import TYPE_CHECKING, Any

from rich import filesize
from rich.console import Console
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from flows.messages.limits import shown
from flows.messages.outcome import comparison_rows, interval
from flows.messages.output import plain, say
from flows.messages.progress import describe, listening

_FIRST_LINE = 30.0  # seconds after which a stage that goes on has its first line
_LATER_LINES = 60.0  # seconds between two lines of a stage, at most
_ALIKE = 8  # a stage of fewer steps has unlike ones, which don't say how long the rest takes

if TYPE_CHECKING:  # else the command's help would wait for the library
    from metalearners.cache.fit_cache import Entry

_MOST_OF_SOURCE = 40  # letters, in a list on a terminal


@contextlib.contextmanager
def progress_display(quiet: bool) -> Iterator[None]:
    """Show a run's progress: bars on a terminal, lines elsewhere, nothing where quiet."""
    if quiet:
        yield
    elif sys.stderr.isatty():
        with _bars() as bars, listening(_BarListener(bars)):
            yield
    else:
        with listening(_LineListener()):
            yield


def _bars() -> Progress:
    return Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        _TimeLeft(),
        console=Console(stderr=True),
        speed_estimate_period=3600,  # steps may be minutes apart
    )


class _TimeLeft(TimeRemainingColumn):
    """Time left, where the steps that are done say so."""

    def render(self, task: Task) -> Text:
        unlike = task.total is None or task.total < _ALIKE
        return Text("-:--:--", style="progress.remaining") if unlike else super().render(task)


class _BarListener:
    """Shows a bar for each stage."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}
        self.totals: dict[str, int] = {}

    def begin(self, stage: str) -> None:
        if stage not in self.tasks:
            self.advance(stage, 0, 1)

    def advance(self, stage: str, done: int, total: int) -> None:
        if stage not in self.tasks:
            self.tasks[stage] = self.bars.add_task(stage, total=total)
        self.totals[stage] = total
        self.bars.update(self.tasks[stage], completed=done, total=total)

    def end(self, stage: str, seconds: float, executed: int, reused: int) -> None:
        total = self.totals.get(stage, 1)
        self.advance(stage, total, total)

    def tell(self, message: str) -> None:
        self.bars.console.print(plain(message), markup=False, highlight=False)


class _LineListener:
    """Prints a line when a stage ends, and before that ever fewer of one that takes long."""

    def __init__(self) -> None:
        self.begun: dict[str, float] = {}
        self.due: dict[str, float] = {}  # seconds from a stage's beginning to its next line

    def begin(self, stage: str) -> None:
        self.begun.setdefault(stage, time.monotonic())
        self.due.setdefault(stage, _FIRST_LINE)

    def advance(self, stage: str, done: int, total: int) -> None:
        self.begin(stage)
        seconds = time.monotonic() - self.begun[stage]
        if seconds >= self.due[stage] and 0 < done < total:
            self.due[stage] = seconds + min(seconds, _LATER_LINES)
            left = seconds * (total - done) / done
            told = f", about {left:.0f} s left" if total >= _ALIKE else ""
            say(f"{stage}: {done} of {total}, {seconds:.0f} s{told}")

    def end(self, stage: str, seconds: float, executed: int, reused: int) -> None:
        say(describe(stage, seconds, executed, reused))

    def tell(self, message: str) -> None:
        say(message)


def runs_table(runs: list[dict[str, Any]]) -> None:
    """Print past runs: a few lines for each on a terminal, one whole line for each in a pipe."""
    rows = [{key: cell(fact) for key, fact in _facts_of(run).items()} for run in runs]
    if not rows:
        _print("No runs yet.")
    elif sys.stdout.isatty():
        longest = max(len(row["run"]) for row in rows)
        for row in rows:
            _print_block(row, longest)
    else:
        table = Table(*rows[0], box=None)
        for row in rows:
            add_row(table, row.values())
        _print(table)


def _facts_of(run: dict[str, Any]) -> dict[str, str]:
    """What a list says of a run."""
    fits, data = run.get("fits", {}), run.get("data", {})
    return {
        "run": run["run_name"],
        "status": run["status"],
        "seconds": f"{run['seconds']:.1f}" if "seconds" in run else "",
        "executed": str(fits.get("executed", "")),
        "reused": str(fits.get("reused", "")),
        "name": run.get("name", ""),
        "outcome": ", ".join(data.get("outcomes") or [data.get("outcome", "")]),
        "data": data.get("source", ""),
        "learners": ", ".join(starmap(_learner, run.get("learners", {}).items())),
        "effects": ", ".join(map(_effect, run.get("ate", []))),
        "error": " ".join(run.get("error", "").split()),
    }


def _print_block(facts: dict[str, str], longest: int) -> None:
    """Print a run's facts in a few lines, as wide as the terminal."""
    head = [facts["run"].ljust(longest), facts["status"].ljust(7)]
    if facts["seconds"]:
        head.append(f"{facts['seconds']:>7} s")
    if facts["executed"]:
        head.append(f"{facts['executed']} executed, {facts['reused']} reused")
    source = facts["data"]
    if len(source) > _MOST_OF_SOURCE:  # its end says most; `runs show` has it whole
        source = f"...{source[-_MOST_OF_SOURCE:]}"
    rows_of = " in ".join(filter(None, (facts["outcome"], source)))
    about = "; ".join(filter(None, (facts["name"], rows_of, facts["learners"])))
    console = Console()
    console.print(Text("  ".join(head).rstrip(), "bold"))
    for line in filter(None, (about, facts["effects"], facts["error"])):
        console.print(Padding(Text(line), (0, 0, 0, 2), expand=False))


def _learner(name: str, found: Any) -> str:
    failed = isinstance(found, dict) and "error" in found
    return f"{name} (failed)" if failed else name


def _effect(row: dict[str, Any]) -> str:
    estimate = "none" if row["estimate"] is None else f"{row['estimate']:.3g}"
    return f"{row['arm']} {estimate}"


def cell(fact: str) -> str:
    """A fact in one line, without what would control the terminal."""
    return plain(shown(fact, 500)).replace("\n", "\\n")


def add_row(table: Table, facts: Iterable[str]) -> None:
    """Add a row of facts to a table."""
    table.add_row(*(Text(cell(fact)) for fact in facts))  # as text: brackets are no markup


def comparison_table(comparison: dict[str, Any], outcome: str = "") -> None:
    """Print a line for each candidate of a comparison, in the order of the choice."""
    rows = comparison_rows(comparison)
    table = Table(*rows[0], box=None, title=cell(outcome) or None, title_justify="left")
    for row in rows:
        add_row(table, row.values())
    _print(table)


def cache_table(entries: list["Entry"]) -> None:
    """Print a line for each fit of a cache, and their total."""
    table = Table("what", "size", "age", "hits", "key", box=None)
    for entry in entries:
        age = "" if entry.age is None else _duration(entry.age)
        label = entry.label or "(its head can't be read)"
        cells = (label, filesize.decimal(entry.size), age, str(entry.hits), entry.key[:12])
        add_row(table, cells)
    if entries:
        _print(table)
    size, hits = sum(e.size for e in entries), sum(e.hits for e in entries)
    print(f"{len(entries)} fits, {filesize.decimal(size)}, reused {hits} times")


def models_table(models: list[dict[str, Any]]) -> None:
    """Print a line for each model of a registry."""
    if not models:
        _print("No models yet.")
        return
    table = Table("name", "model", "alias", "date", "effects", "qini", box=None)
    for model in models:
        known = (model["name"], model["run"], model["alias"] or "", model["date"])
        add_row(table, (*known, ", ".join(map(_effect, model["ate"])), _ranking(model["qini"])))
    _print(table)


def model_shown(told: dict[str, Any]) -> None:
    """Print what is known of a name or of a model, and then its history."""
    for key, value in told.items():
        if key != "history":
            _print(Text(f"{key}: {cell(_in_words(key, value))}"))
    keys = ("at", "event", "model", "decision", "champion", "challenger", "difference", "why")
    table = Table("no.", *keys, box=None)
    for event in told["history"]:
        known = {**event, "difference": _interval(event["difference"])}
        cells = (known[key] for key in ("number", *keys))
        add_row(table, ("" if value is None else str(value) for value in cells))
    _print(table)


def _interval(found: dict[str, float] | None) -> str:
    """An estimate with the ends of its interval."""
    return "" if found is None else interval(found)


def _in_words(key: str, value: Any) -> str:
    if key == "ate":
        return ", ".join(map(_effect, value))
    if key == "qini":
        return _ranking(value)
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return "none" if value is None else str(value)


def _ranking(qini: dict[str, list[dict[str, Any]]]) -> str:
    """Qini coefficients of learners that were judged on a hold-out."""
    by_learner = {name: ", ".join(map(_effect, arms)) for name, arms in qini.items() if arms}
    return "; ".join(f"{name} {arms}" for name, arms in by_learner.items())


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _print(content: Table | Text | str) -> None:
    Console(width=None if sys.stdout.isatty() else 10_000).print(content)


def settings_table(found: dict[str, Any]) -> None:
    """Print the settings that `uplift tune` measured, the one to keep first, and what it noted."""
    from flows.tune import remarks, table_rows

    lines = table_rows(found["settings"])
    table = Table(*lines[0], box=None)
    for line in lines:
        add_row(table, line.values())
    _print(table)
    print(remarks(found))
