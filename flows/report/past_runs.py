"""What there is to say of a past run: of any file that lies where its summary should."""

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
    """A part of a summary that commands read; a summary has much more."""


class _Fits(_Read):
    executed: Count = 0
    reused: Count = 0


class _Effect(_Read):
    arm: bool | int | Finite | str
    estimate: Finite | None


class _Summary(_Read):
    run_name: str
    started: str
    status: str
    seconds: Annotated[float, Field(ge=0, lt=1e12)] = 0.0
    fits: _Fits = _Fits()
    ate: list[_Effect] = []
    error: str = ""


def read_summary(path: Path) -> dict[str, Any]:
    """A run's summary, or its record, with all it has.

    Raises
    ------
    ValueError
        If it is none that a run writes; the message says why.
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
    """A run's summary; one with status ``damaged`` where the file is none."""
    try:
        return read_summary(path)
    except ValueError as error:
        problem = f"{path.name}: {error}"
        return {"run_name": name, "started": "", "status": "damaged", "error": problem}
