"""The flow that runs a config once for each of several dates, each with a page of its own."""

import logging
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.config.form import described
from flows.config.reading import parse_config
from flows.config.sections import Config
from flows.messages.limits import shown
from flows.runs.backfill import Dated, backfill, dates_between
from flows.runs.loading import check_folders
from flows.server.cancellation import interruptible
from flows.server.running import tracked
from flows.uplift import run_of_date, taking_config

_Ended = State[list[str]]
_DATES = ("from_date", "to_date", "every")
_EVERY = "Time between two dates, such as 1 week; empty: a partition of the source, or a day"


@tracked
@flow(name="uplift-backfill", validate_parameters=False)  # `parse_config` does it
@taking_config(without="date")  # each run has its own
def uplift_backfill(
    from_date: Annotated[str, described("First logical date, such as 2026-11-01")],
    to_date: Annotated[str, described("Last logical date")],
    every: Annotated[str, described(_EVERY)] = "",
    **config: Any,
) -> _Ended:
    """Run a config once for each logical date that has no finished run, oldest first.

    Each date is a sub-flow run of `uplift_run`. The same call goes on where an earlier one ended.

    Parameters
    ----------
    from_date, to_date : str
        First and last logical date.
    every : str
        Time between two dates: by default a partition of the source, or a day.
    **config
        The config, as of `uplift_run`, without a date.

    Returns
    -------
    State
        Completed, with the folders of the runs, or Failed if a date has no finished run.

    Raises
    ------
    InputError
        If the config or a date is wrong. No run has been made then.
    """
    parsed = parse_config(config)
    dates = dates_between(parsed, from_date, to_date, every or None, _DATES)
    check_folders(parsed)
    with interruptible():
        made = [_told(dated) for dated in backfill(parsed, dates, _run, get_run_logger().warning)]
    create_table_artifact([_row(dated) for dated in made], "uplift-backfill")
    failed = [str(dated) for dated in made if dated.folder is None]
    if failed:
        why = shown("; ".join(failed), 1_000)
        return Failed(message=f"{len(failed)} of {len(made)} dates have no finished run: {why}")
    new = sum(dated.is_new for dated in made)
    folders = [str(dated.folder) for dated in made]
    return Completed(message=f"{new} runs made; {len(made) - new} dates had one.", data=folders)


def _run(config: Config) -> Path:
    values = {name: getattr(config, name) for name in Config.model_fields}
    return Path(run_of_date(config)(**values))


def _told(dated: Dated) -> Dated:
    get_run_logger().log(logging.ERROR if dated.folder is None else logging.INFO, str(dated))
    return dated


def _row(dated: Dated) -> dict[str, Any]:
    made = "made" if dated.is_new else "done already"
    return {
        "Date": dated.date,
        "Run": dated.folder.name if dated.folder else "none",
        "Result": made if dated.folder else dated.error,
    }
