"""What the UI shows of a run while it lasts: a progress bar, a log line a stage, a table."""

import contextlib
import time
from collections.abc import Iterator
from typing import cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import (
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from flows.progress import describe, listening
from flows.runs import COUNTS, Run

_EVERY_SECONDS = 2.0  # an update costs the server some 15 ms
_FITTING = ("nuisance", "treatment")


@contextlib.contextmanager
def run_page(run: Run) -> Iterator[None]:
    """Keep the page of the parent flow's run up to date for the time of the context."""
    try:
        with listening(_PageListener()):
            yield
    finally:
        with contextlib.suppress(Exception):  # the page is no reason for a run to fail
            _show_stages(run)


class _PageListener:
    """One bar for both stages of fits."""

    def __init__(self) -> None:
        self._bar: UUID | None = None
        self._updated = 0.0

    def advance(self, stage: str, done: int, total: int) -> None:
        due = time.monotonic() - self._updated > _EVERY_SECONDS
        if stage in _FITTING and total and (due or done == total):
            self._updated = time.monotonic()
            share = (_FITTING.index(stage) + done / total) / len(_FITTING)
            with contextlib.suppress(Exception):
                self._show(100 * share, f"{stage} stage: {done} of {total} fits")

    def end(self, stage: str, seconds: float, executed: int, reused: int) -> None:
        get_run_logger().info(describe(stage, seconds, executed, reused))

    def _show(self, percent: float, description: str) -> None:
        if self._bar is None:
            made = create_progress_artifact(percent, "uplift-progress", description)
            self._bar = cast(UUID, made)  # no coroutine, as this isn't one
        else:
            update_progress_artifact(self._bar, percent, description)


def _show_stages(run: Run) -> None:
    shown = ("name", "seconds", *COUNTS)
    rows = [{key: stage[key] for key in shown} for stage in run.stages]
    for row in rows:
        row["seconds"] = round(row["seconds"], 2)
    if rows:
        create_table_artifact(rows, "uplift-stages", f"Stages of the run {run.name}")
