"""A flow run that fails by an error of ours shows the error's message, and no traceback of ours.

What: The message of the failed state is the error's. In the log, the line about the error is this
message, with the traceback of what a base model raised, if one did; the line that repeats it with
the engine's own traceback is left out. A parameter that a flow of ours hasn't is such an error.
Why: Prefect writes "Flow run encountered an exception: InputError: " before the message, and two
tracebacks through its engine and ours into the log, in which the message is hard to find. A run
with an unknown parameter ends as Crashed, before it has begun, and its page doesn't say why.
Measured: A run with a wrong column had 2 tracebacks of 80 lines in all, on 3.9.1. Its API takes
unknown parameters for a deployment that enforces a schema.
Until: Prefect lets an error say how it is shown, and its API refuses unknown parameters.
"""

import inspect
import logging
from types import TracebackType
from typing import Any

from prefect import engine, flow_engine

from flows.config.problems import nearest
from flows.errors import FitError, InputError
from flows.messages.limits import shown
from flows.messages.secrets import without_secrets

_OURS = (InputError, FitError)
_LOGGERS = ("prefect.flow_runs", "prefect.engine")
_BEFORE_MODEL = {"prefect", "flows", "metalearners"}


def apply() -> None:
    """Show the messages of our errors in this process."""
    module: Any = flow_engine
    for name, own in _REPLACED.items():
        if getattr(module, name) is not own:
            own.original = getattr(module, name)
            setattr(module, name, own)
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_is_told)


async def _failed_state(exc: BaseException | None = None, *arguments: Any, **more: Any) -> Any:
    state = await _failed_state.original(exc, *arguments, **more)  # type: ignore[attr-defined]
    if isinstance(exc, _OURS):
        state.message = without_secrets(str(exc))
    return state


def _flow_parameters(flow: Any, flow_run: Any, parameters: Any) -> Any:
    """A run's parameters; some that our flow hasn't are refused when its function is called."""
    stored = {} if flow_run is None else flow_run.parameters
    if not parameters and _unknown(flow.fn, stored):
        return stored
    return _flow_parameters.original(flow, flow_run, parameters)  # type: ignore[attr-defined]


def _call_with_parameters(fn: Any, parameters: Any) -> Any:
    unknown = _unknown(fn, parameters)
    if unknown:
        known, name = list(inspect.signature(fn).parameters), str(unknown[0])
        hint = nearest(name, known)
        raise InputError(f"{shown(name)}: unknown key. {hint}Valid here: {', '.join(known)}.")
    return _call_with_parameters.original(fn, parameters)  # type: ignore[attr-defined]


def _unknown(fn: Any, parameters: Any) -> list[str]:
    """Parameters that a flow of ours hasn't."""
    ours = str(getattr(fn, "__module__", "")).partition(".")[0] == "flows"
    return sorted(parameters.keys() - inspect.signature(fn).parameters.keys()) if ours else []


# By their names in Prefect's module.
_REPLACED: dict[str, Any] = {
    "exception_to_failed_state": _failed_state,
    "_flow_parameters": _flow_parameters,
    "call_with_parameters": _call_with_parameters,
}


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
