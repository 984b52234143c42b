"""Reads the summary of a past run, or says what is wrong with the file in its place."""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from flows.messages.limits import shown
from metalearners.cache.regular_files import read_regular

_MOST_BYTES = 1 << 26

Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=1 << 63)]


class _Read(BaseModel, strict=True):
    """The part of a summary that commands read."""


class _Fits(_Read):
    executed: Count = 0
    reused: Count = 0


class _Effect(_Read):
    arm: bool | int | Finite | str
    estimate: Finite | None


class _Data(_Read):
    source: str = ""
    outcome: str = ""


class _Summary(_Read):
    run_name: str
    name: str = ""
    started: str
    status: str
    seconds: Annotated[float, Field(ge=0, lt=1e12)] = 0.0
    fits: _Fits = _Fits()
    ate: list[_Effect] = []
    data: _Data = _Data()
    learners: dict[str, Any] = {}
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


def summary_or_damage(path: Path, name: str) -> dict[str, Any]:
    """A run's summary, or one with the status ``damaged`` for any other file."""
    try:
        return read_summary(path)
    except ValueError as error:
        problem = f"{path.name}: {error}"
        return {"run_name": name, "started": "", "status": "damaged", "error": problem}
