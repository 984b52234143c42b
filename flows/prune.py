"""The flow that deletes kept fits, as `uplift cache prune` does."""

from typing import Annotated

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from flows.config.form import described
from flows.config.reading import parse
from flows.config.sections import PruneConfig
from flows.fitting.cache import is_there, open_existing, prune
from flows.server.running import tracked

_DEFAULT = PruneConfig()
_TEXTS = {name: str(field.description) for name, field in PruneConfig.model_fields.items()}


@tracked
@flow(name="cache-prune", validate_parameters=False)  # `parse` does it, and says what to do
def cache_prune(
    storage: Annotated[str, described(_TEXTS["storage"])] = _DEFAULT.storage,
    older_than_days: Annotated[
        float, Field(ge=0), described(_TEXTS["older_than_days"])
    ] = _DEFAULT.older_than_days,
    damaged: Annotated[bool, described(_TEXTS["damaged"])] = _DEFAULT.damaged,
    everything: Annotated[bool, described(_TEXTS["everything"])] = _DEFAULT.everything,
) -> State[None]:
    """Delete old fits from a cache, and what killed runs left there and in the working folder.

    Parameters
    ----------
    storage : str
        Folder or fsspec URL of the fits.
    older_than_days : float
        Delete fits that are older than so many days.
    damaged : bool
        Delete fits that runs can't use, too.
    everything : bool
        Delete all fits.

    Returns
    -------
    State
        Completed; its message says what was deleted.

    Raises
    ------
    InputError
        If there is no such cache, or a parameter is wrong. Nothing has been deleted then.
    """
    asked = parse(PruneConfig, dict(locals()), "")
    if asked.storage == _DEFAULT.storage and not is_there(asked.storage, "storage"):
        return Completed(message="No run has kept a fit here yet.")
    cache = open_existing(asked.storage, "storage")
    gone = prune(cache, asked.older_than_days, asked.damaged, asked.everything)
    get_run_logger().info(str(gone))
    return Completed(message=str(gone))
