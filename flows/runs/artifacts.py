"""The page of a run in the UI: a progress bar, a log line for each stage, tables, pictures."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, cast
from uuid import UUID

from prefect import get_client, get_run_logger
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.schemas.actions import ArtifactUpdate

from flows.messages.progress import describe, listening
from flows.runs.records import COUNTS, REFITS, REPEATS, SEQUENTIAL, Run

_EVERY_SECONDS = 2.0  # an update costs the server some 15 ms
_FITTING = ("nuisance", "treatment")
_AGAIN = (REFITS, SEQUENTIAL, REPEATS)


@contextlib.contextmanager
def run_page(run: Run) -> Iterator["_RunPage"]:
    """Keep the page of the parent flow's run up to date within the context."""
    with ThreadPoolExecutor(1) as aside:  # at the end it waits until all is shown
        page = _RunPage(run, aside)
        try:
            with listening(page):
                yield page
        finally:
            page.show_stages()


class Page:
    """A progress bar and log lines of a flow's run.

    The server may take half a second for a change while fits use all cores, and may be away. So
    another thread makes the changes, of several to the same part the last one.

    Parameters
    ----------
    aside : ThreadPoolExecutor
        The thread.
    key : str
        Of the bar, among the artifacts of all runs.
    """

    def __init__(self, aside: ThreadPoolExecutor, key: str) -> None:
        self._aside = aside
        self._key = key
        self._context = copy_context()  # the parent's: what is shown belongs to its run
        self._waiting: dict[Callable[..., Any], tuple[Any, ...]] = {}
        self._log = get_run_logger()  # the parent's, whichever sub-flow reports
        self._bar: UUID | None = None
        self._updated = 0.0

    def begin(self, stage: str) -> None:
        """Nothing is shown before the first steps."""

    def advance(self, stage: str, done: int, total: int) -> None:
        """Move the bar, every other second."""
        if total and time.monotonic() - self._updated > _EVERY_SECONDS:
            self._updated = time.monotonic()
            self._show(100 * done / total, f"{stage}: {done:,} of {total:,}")

    def end(self, stage: str, seconds: float, executed: int, reused: int) -> None:
        """Log that a stage has ended."""
        self._log.info(describe(stage, seconds, executed, reused))

    def tell(self, message: str) -> None:
        """Log a warning."""
        self._log.warning(message)

    def _show(self, percent: float, description: str) -> None:
        self._later(self._set_bar, percent, description)

    def _later(self, change: Callable[..., Any], *content: Any) -> None:
        self._waiting[change] = content
        self._aside.submit(self._context.run, self._make, change)  # keeps its errors, unread

    def _make(self, change: Callable[..., Any]) -> None:
        content = self._waiting.pop(change, None)
        if content is not None:
            change(*content)

    def _set_bar(self, percent: float, description: str) -> None:
        if self._bar is None:
            made = create_progress_artifact(percent, self._key, description)
            self._bar = cast(UUID, made)
        else:
            update_progress_artifact(self._bar, percent, description)


class _RunPage(Page):
    """A bar for all stages of fits, a table of the stages that have ended, and the results."""

    def __init__(self, run: Run, aside: ThreadPoolExecutor) -> None:
        super().__init__(aside, "uplift-progress")
        self._run = run
        self._table: UUID | None = None
        self._shares: dict[str, float] = {}

    def begin(self, stage: str) -> None:
        if stage in _FITTING and not self._shares:
            self._shares[stage] = 0.0
            self._updated = time.monotonic()
            self._show(0, f"{stage} models")

    def advance(self, stage: str, done: int, total: int) -> None:
        if stage in _AGAIN:
            super().advance(stage, done, total)
        if stage not in _FITTING or not total:
            return
        self._shares[stage] = done / total
        if time.monotonic() - self._updated > _EVERY_SECONDS:
            self._updated = time.monotonic()
            share = sum(self._shares.values()) / len(_FITTING)
            self._show(100 * share, f"{stage} models: {done} of {total} fits")

    def end(self, stage: str, seconds: float, executed: int, reused: int) -> None:
        super().end(stage, seconds, executed, reused)
        if stage in (_FITTING[-1], *_AGAIN):
            self._show(100, "all fits are done")
        if stage in (*_FITTING, *_AGAIN):
            self.show_stages()

    def show_stages(self) -> None:
        """The table as it is now."""
        rows = []
        for stage in self._run.stages:
            counts = {count: stage[count] for count in COUNTS}
            rows.append({"name": stage["name"], "seconds": round(stage["seconds"], 2), **counts})
        if rows:
            self._later(self._set_table, rows)

    def show_results(self, effects: list[dict[str, str]], pictures: str) -> None:
        """A table of the effects, and where the report is, with its main pictures."""
        folder = self._run.folder.resolve()
        place = f"The report of {self._run.name}, on the machine of the run:"
        text = f"{place}\n\n    {folder / 'report.html'}\n\n{pictures}"
        about = f"Effects of the run {self._run.name}"
        self._later(create_table_artifact, effects, "uplift-effects", about)
        self._later(create_markdown_artifact, text, "uplift-report", place)

    def show_verdict(self, answers: list[dict[str, str]], health: list[dict[str, str]]) -> None:
        """Answers to what a reader asks first, and the lights of what to doubt."""
        self._later(self._set_verdict, answers, health)

    def _set_verdict(self, answers: list[dict[str, str]], health: list[dict[str, str]]) -> None:
        name = self._run.name
        create_table_artifact(answers, "uplift-verdict", f"Verdict of the run {name}")
        create_table_artifact(health, "uplift-health", f"Health of the run {name}")

    def show_tables(self, tables: list[tuple[str, str, list[dict[str, str]]]]) -> None:
        """Tables of the report that a decision rests on: name, caption and rows."""
        self._later(self._set_tables, tables)

    def _set_tables(self, tables: list[tuple[str, str, list[dict[str, str]]]]) -> None:
        for name, caption, rows in tables:
            create_table_artifact(rows, f"uplift-{name.replace('_', '-')}", caption)

    def show_comparison(self, rows: list[dict[str, str]], rule: str) -> None:
        """The ranked table of candidates, and which was chosen, by what rule."""
        self._later(self._set_comparison, rows, rule)

    def _set_comparison(self, rows: list[dict[str, str]], rule: str) -> None:
        # Through a method of its own: another table that waits would be taken for an older one.
        create_table_artifact(rows, "uplift-comparison", rule)

    def show_history(self, pictures: str) -> None:
        """Where the history of the run's name is, with its main pictures."""
        self._later(self._set_history, pictures)

    def _set_history(self, pictures: str) -> None:
        place = f"The runs of {self._run.config_name} over time, on the machine of the run:"
        text = f"{place}\n\n    {self._run.folder.resolve() / 'history.html'}\n\n{pictures}"
        create_markdown_artifact(text, "uplift-history", place)

    def _set_table(self, rows: list[dict[str, Any]]) -> None:
        if self._table is None:
            about = f"Stages of the run {self._run.name}"
            # Outside coroutines this returns no coroutine.
            self._table = cast(UUID, create_table_artifact(rows, "uplift-stages", about))
            return
        with get_client(sync_client=True) as client:
            client.update_artifact(self._table, ArtifactUpdate(data=json.dumps(rows)))
