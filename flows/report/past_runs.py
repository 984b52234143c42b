"""Reads the summary of a past run, or says what is wrong with the file in its place."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from flows.dates.logical import moment_of
from flows.messages.limits import shown
from metalearners.files.regular_files import read_regular

_MOST_BYTES = 1 << 26
_LARGEST = 1e150  # so that pictures can reckon with it


def _in_time(text: str) -> str:
    """The text of a moment that every zone's calendar has; a ValueError for any other."""
    try:
        moment_of(text, "UTC")
    except OverflowError:
        raise ValueError("beyond the calendar") from None
    return text


Finite = Annotated[float, Field(allow_inf_nan=False)]
Figure = Annotated[float, Field(gt=-_LARGEST, lt=_LARGEST)]
Label = bool | int | Finite | str
Count = Annotated[int, Field(ge=0, lt=1 << 63)]
Moment = Annotated[str, AfterValidator(_in_time)]


class _Read(BaseModel, strict=True):
    """The part of a summary that commands and the histories of runs read."""


class _Fits(_Read):
    executed: Count = 0
    reused: Count = 0


class _Effect(_Read):
    arm: Label
    estimate: Figure | None
    std_error: Figure | None = None
    ci_low: Figure | None = None
    ci_high: Figure | None = None


class _Joint(_Read):
    arm: Label
    ci_low: Figure | None = None
    ci_high: Figure | None = None
    degrees: Figure | None = None
    claimed: bool | None = None


class _Rate(_Read):
    estimate: Figure
    std_error: Figure
    p_value_adjusted: Figure


class _Ranking(_Read):
    arm: Label
    qini: _Rate | Figure | None = None  # a number in format 1, as are the next two
    qini_std_error: Figure | None = None
    qini_p_value_adjusted: Figure | None = None


class _Evaluation(_Read):
    arms: list[_Ranking] = []


class _Learner(_Read):
    evaluation: _Evaluation = _Evaluation()


class _Data(_Read):
    source: str = ""
    outcome: str = ""
    outcomes: list[str] = []
    rows: Count = 0
    arms: list[Label] = []


class _Model(_Read):
    alias: str | None = None
    decision: str | None = None


class _Event(_Read):
    event: str
    sentence: str = ""
    about: str = ""


class _Summary(_Read):
    run_name: str
    name: str = ""
    logical_date: Literal[""] | Moment = ""
    started: Moment
    status: str
    seconds: Annotated[float, Field(ge=0, lt=1e12)] = 0.0
    fits: _Fits = _Fits()
    ate: list[_Effect] = []
    ate_joint: list[_Joint] = []
    data: _Data = _Data()
    learners: dict[str, _Learner] = {}
    model: _Model | None = None
    events: list[_Event] = []
    error: str = ""


def read_summary(path: Path) -> dict[str, Any]:
    """A run's summary, or its record, with all entries.

    Raises ValueError if no run writes such a file; the message says why.
    """
    try:
        content = json.loads(read_regular(path, _MOST_BYTES))
        _Summary.model_validate(content)
    except ValidationError as error:
        where = ".".join(str(key) for key in error.errors()[0]["loc"])
        raise ValueError(f"no value of a run at {shown(where)}" if where else "no map") from None
    except OSError as error:
        raise ValueError(error.strerror or type(error).__name__) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        raise ValueError(shown(str(error))) from None
    return dict(content)


def qini_of(row: Mapping[str, Any]) -> tuple[float | None, float | None, float | None]:
    """Qini, its standard error and its adjusted p-value, in a summary's evaluation of an arm."""
    found = row.get("qini")
    if isinstance(found, Mapping):
        return found["estimate"], found["std_error"], found["p_value_adjusted"]
    return found, row.get("qini_std_error"), row.get("qini_p_value_adjusted")


def summary_or_damage(path: Path, name: str) -> dict[str, Any]:
    """A run's summary, or one with the status ``damaged`` for any other file."""
    try:
        return read_summary(path)
    except ValueError as error:
        problem = f"{path.name}: {error}"
        return {"run_name": name, "started": "", "status": "damaged", "error": problem}
