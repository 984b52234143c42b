"""A flow run that fails by an error of ours shows the error's message, and no traceback of ours.

What: The message of the failed state is the error's. In the log, the line about the error is this
message, with the traceback of what a base model raised, if one did; the line that repeats it with
the engine's own traceback is left out.
Why: Prefect writes "Flow run encountered an exception: InputError: " before the message, and two
tracebacks through its engine and ours into the log, in which the message is hard to find.
Measured: A run with a wrong column had 2 tracebacks of 80 lines in all, on 3.9.1.
Until: Prefect lets an error say how it is shown.
"""

import logging
from types import TracebackType
from typing import Any

from prefect import engine, flow_engine

from flows.errors import FitError, InputError
from flows.messages.secrets import without_secrets

_OURS = (InputError, FitError)
_LOGGERS = ("prefect.flow_runs", "prefect.engine")
_BEFORE_MODEL = {"prefect", "flows", "metalearners"}


def apply() -> None:
    """Show the messages of our errors in this process."""
    module: Any = flow_engine
    if module.exception_to_failed_state is not _failed_state:
        _failed_state.original = module.exception_to_failed_state  # type: ignore[attr-defined]
        module.exception_to_failed_state = _failed_state
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_is_told)


async def _failed_state(exc: BaseException | None = None, *arguments: Any, **more: Any) -> Any:
    state = await _failed_state.original(exc, *arguments, **more)  # type: ignore[attr-defined]
    if isinstance(exc, _OURS):
        state.message = without_secrets(str(exc))
    return state


def _is_told(record: logging.LogRecord) -> bool:
    """Whether a line is kept; the engine's about an error of ours becomes the error's message."""
    error = record.exc_info[1] if record.exc_info else None
    by_engine = record.pathname in (engine.__file__, flow_engine.__file__)
    if not (by_engine and isinstance(error, _OURS)):  # users' flows write lines here too
        return True
    record.msg, record.args = without_secrets(str(error)), ()
    raised = error.__cause__ if isinstance(error, FitError) else None
    record.exc_info = (type(raised), raised, _within_model(raised)) if raised else None
    return not record.funcName.startswith("run_flow") and record.name != "prefect.engine"


def _within_model(raised: BaseException) -> TracebackType | None:
    """The traceback of what a base model raised, after the last line that is ours."""
    within = trace = raised.__traceback__
    while trace:
        if _package(trace) in _BEFORE_MODEL:
            within = trace.tb_next or trace
        trace = trace.tb_next
    return within


def _package(trace: TracebackType) -> str:
    return str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
