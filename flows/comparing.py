"""The flow that runs learners and candidates, and judges them: which one to choose, how surely."""

from datetime import UTC, datetime
from typing import Annotated, Any

from prefect import Flow, flow

from flows.config.form import described
from flows.config.parts.models import CompareConfig
from flows.config.reading import parse_config
from flows.config.sections import Config
from flows.errors import InputError
from flows.messages.limits import shown
from flows.runs.loading import Prepared, check_folders, with_body
from flows.runs.making import make
from flows.runs.recurring import scheduled_time
from flows.server.running import tracked
from flows.uplift import taking_config


@tracked
@flow(name="uplift-compare", validate_parameters=False)  # `parse_config` does it
@taking_config(without="compare")  # which is its own
def uplift_compare(
    compare: Annotated[
        CompareConfig, described("Further candidates, and whether to stack")
    ] = CompareConfig(),
    refresh: Annotated[bool, described("Fit again what the cache has")] = False,
    **config: Any,
) -> str:
    """Run learners and candidates as `uplift_run`, and judge them on held-out rows.

    A random half of the held-out rows chooses, and the other judges, both by nuisances that belong
    to no candidate.

    Parameters
    ----------
    compare : CompareConfig
        Candidates beside the learners, and whether a mixture of all is judged too.
    refresh : bool
        Whether to fit again what the cache has.
    **config
        The config, as of `uplift_run`.

    Returns
    -------
    str
        The run's folder, whose `summary.json` has the section `comparison`.

    Raises
    ------
    InputError
        If the data or the config are wrong, or no rows are held out; nothing has been fitted then.
    LearnersFailedError
        If some candidates failed; the folder, which the message names, has the others' results.
    """
    parsed = parse_config({**config, "compare": compare})
    if not isinstance(refresh, bool):
        raise InputError(f"refresh: expected true or false; found {shown(repr(refresh))}.")
    check_folders(parsed)
    return make(parsed.of_comparison(), refresh, scheduled_time())


def with_study(prepared: Prepared, refresh: bool) -> Flow[..., str]:
    """`uplift_compare`, on a study that was loaded before."""
    config: Config = prepared.study.config
    return with_body(uplift_compare, lambda: make(config, refresh, datetime.now(UTC), prepared))
