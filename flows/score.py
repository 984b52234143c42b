"""The flow that scores new rows with a stored model, batch by batch."""

from typing import Annotated

from prefect import flow

from flows.config.form import described
from flows.config.names import CHAMPION, DEFAULT_REGISTRY
from flows.config.sections import LogicalDate
from flows.runs.recurring import scheduled_time
from flows.scoring.page import in_task, score_page
from flows.scoring.request import request_of, score
from flows.server import prefect_patches
from flows.server.cancellation import interruptible
from flows.server.running import tracked

# Here, as whoever has the flow run imports this module: scripts, and workers of Prefect's too.
prefect_patches.apply("flows")


@tracked
@flow(name="uplift-score", validate_parameters=False)  # `request_of` does it, and says what to do
def uplift_score(
    input: Annotated[
        str,
        described(
            "Rows to score: a file, folder, glob or URL, or ADDRESS#TABLE of a database; may name "
            "dates as {date:%Y-%m-%d}"
        ),
    ],
    output: Annotated[
        str,
        described(
            "Where the scores go: a .parquet, .csv, .feather or .jsonl file, or ADDRESS#TABLE of a "
            "database; may name dates"
        ),
    ],
    model: Annotated[
        str, described("NAME@champion, champion where one name has models, or a run's name")
    ] = CHAMPION,
    sql: Annotated[
        str,
        described(
            "In place of a table: a query of the input's database, or of the rows of its files, "
            "which may name :date"
        ),
    ] = "",
    strict: Annotated[
        bool, described("Refuse levels and strata that the model hasn't seen")
    ] = False,
    recommend: Annotated[
        bool, described("Add the arm to give: of the highest effect, or the control")
    ] = False,
    date: LogicalDate = "",  # as Prefect's API takes no null for a text
    timezone: Annotated[str, described("Time zone of dates, such as Europe/Berlin")] = "UTC",
    registry: Annotated[
        str, described("Folder or fsspec URL of the registry of models")
    ] = DEFAULT_REGISTRY,
    intervals: Annotated[
        float, described("Level of intervals for the effects, such as 0.95; 0 for none")
    ] = 0.0,
) -> str:
    """Estimate the effects for new rows with a stored model: each batch of rows is a task.

    A run that was killed is begun again by a run with the same arguments: finished batches are
    found again, and the output appears whole.

    Parameters
    ----------
    input : str
        The rows: a file, a folder, a glob, a URL, or ``ADDRESS#TABLE`` of PostgreSQL or SQLite.
    output : str
        A file in one of four formats, or ``ADDRESS#TABLE``. Only earlier scores are replaced.
    model : str
        ``NAME@champion``, ``NAME@challenger``, the alias alone where one name has models, or a run.
    sql : str
        A query of the database that `input` names, or of its files, whose rows it calls ``rows``.
    strict : bool
        Whether levels and strata that the model hasn't seen are refused. Otherwise they count as
        missing.
    recommend : bool
        Whether ``treat.<learner>`` says which arm the learner would give: the one of the highest
        effect, or the control where no effect is above 0.
    date : str, optional
        Logical date, which the names of `input` and `output` may hold: by default the scheduled
        time.
    timezone : str
        Time zone of dates.
    registry : str
        Where the registry of models is.
    intervals : float
        Level of pointwise intervals, ``low.<learner>.<arm>`` to ``high.<learner>.<arm>``: above 0
        and below 1, or 0 for none. The run needs ``evaluation.refits``.

    Returns
    -------
    str
        Where the scores are.

    Raises
    ------
    InputError
        If an argument is wrong, there is no such model, or it can't score the rows.
    """
    asked = request_of(locals())
    with interruptible(), score_page() as page:
        report = score(asked, scheduled_time(), in_task)
        page.show(report)
    return report.output
