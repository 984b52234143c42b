"""A scoring as a run of Prefect's: each batch is a task, and the page shows what was scored."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
from prefect import State, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed

from flows.messages.limits import shown
from flows.messages.progress import listening
from flows.runs.artifacts import Page
from flows.scoring.request import Report


@task(name="score", task_run_name="batch {number}", cache_policy=NO_CACHE)
def score_batch(number: int, score: Callable[[], Any] | None) -> State[Any] | None:
    """Have a batch scored; one that a killed scoring had kept ends as `Cached`."""
    if score is None:
        return Completed(name="Cached", message="An earlier process had scored it.")
    score()
    return None


def in_task(number: int, score: Callable[[], pd.DataFrame] | None) -> pd.DataFrame | None:
    """Score a batch as a task."""
    # The task returns no estimates: the flow would hold them until its end.
    found: list[pd.DataFrame] = []
    score_batch(number, None if score is None else lambda: found.append(score()))
    return found[0] if found else None


@contextlib.contextmanager
def score_page() -> Iterator["ScorePage"]:
    """Keep the page of a scoring's run up to date within the context."""
    with ThreadPoolExecutor(1) as aside:  # at the end it waits until all is shown
        page = ScorePage(aside, "uplift-score-progress")
        with listening(page):
            yield page


class ScorePage(Page):
    """A progress bar, and at the end a table of the model, the rows and what was unseen in them."""

    def show(self, report: Report) -> None:
        """Show what was scored."""
        for line in report.scored.told:
            self.tell(line)
        rows = report.scored.seen.rows
        self._show(100, f"{rows:,} rows are scored")
        table = [{"what": what, "value": value} for what, value in _facts(report).items()]
        self._later(create_table_artifact, table, "uplift-score", f"Scores in {report.output}")
        self._log.info("%s rows scored by %s: %s", f"{rows:,}", report.model, report.output)


def _facts(report: Report) -> dict[str, str]:
    seen = report.scored.seen
    unseen = {
        f"rows with unseen levels of {shown(name)}": f"{found.rows:,}, such as "
        f"{shown(', '.join(map(repr, found.levels)))}"
        for name, found in seen.levels.items()
    }
    return {
        "model": report.model,
        "rows": f"{seen.rows:,}",
        "input": report.input,
        "output": report.output,
        "logical date": report.date.isoformat(timespec="seconds"),
        "rows of unseen strata": f"{seen.strata:,}",
        **(unseen or {"rows with unseen levels": "0"}),
    }
