"""The errors of runs: wrong input, a fit that failed, and learners that failed."""

import copyreg
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from flows.messages.secrets import without_secrets

T = TypeVar("T")
TRACEBACK_VARIABLE = "UPLIFT_TRACEBACK"  # anything in it: failures show their traceback
_MOST_FAULTS = 50


class InputError(ValueError):
    """Wrong input or config; nothing was fitted.

    The message says what was expected, what was found and how to mend it, without the secrets of
    addresses.
    """

    def __init__(self, message: str) -> None:
        super().__init__(without_secrets(message))


class UnreadableError(InputError):
    """Input that couldn't be read: it may be wrong, or its place may fail for a while."""


def as_it_is(error: Exception) -> tuple[Any, ...]:
    """What pickle needs of an error whose class takes more than its message."""
    return copyreg.__newobj__, (type(error), *error.args), vars(error)  # type: ignore[attr-defined]


class Faults:
    """Faults of a config and its data, found one by one and told in one message.

    A check that needs what a fault has made unknown isn't made: it would guess.

    Parameters
    ----------
    told : iterable of str
        Messages of the faults that were found before.
    """

    def __init__(self, told: Iterable[str] = ()) -> None:
        self._told = dict.fromkeys(told)
        self._unknown: set[str] = set()

    def judge(self, place: str, check: Callable[[], T], needs: Iterable[str] = ()) -> T | None:
        """What a check returns; None if it finds a fault, or needs what isn't known.

        Parameters
        ----------
        place : str
            What the check is about, such as ``data.outcome``: unknown after a fault.
        check : callable
            Raises an InputError for a fault.
        needs : iterable of str
            Other places.
        """
        if not self.knows(place, *needs):
            return None
        try:
            return check()
        except InputError as fault:
            self.note(str(fault), place)
            return None

    def note(self, message: str, *places: str) -> None:
        """Add a fault, which makes places unknown."""
        self._told[message] = None
        self._unknown.update(places)

    def knows(self, *places: str) -> bool:
        """Whether there was no fault at places, in what they are part of, or in their parts."""
        near = [(f"{place}.", f"{unknown}.") for place in places for unknown in self._unknown]
        return not any(a.startswith(b) or b.startswith(a) for a, b in near)

    def __bool__(self) -> bool:
        return bool(self._told)

    def message(self) -> str:
        """The fault, or a line for each."""
        if len(self._told) == 1:
            return next(iter(self._told))
        lines = list(self._told)[:_MOST_FAULTS]
        if len(self._told) > len(lines):
            lines.append(f"... and {len(self._told) - len(lines)} more.")
        return "\n- ".join([f"{len(self._told)} faults:", *lines])

    def refuse(self) -> None:
        """Raise an InputError if there are any."""
        if self:
            raise InputError(self.message())


def within(place: str, *keys: str) -> str:
    """A place inside another, by keys of any text: their dots separate nothing."""
    return ".".join([place, *(key.replace(".", "\0") for key in keys)])


def continued(error: Exception) -> str:
    """The message of an error as it goes on behind a place and a colon."""
    told = str(error)
    return told[:1].lower() + told[1:]


class FitError(RuntimeError):
    """A unit couldn't be fitted."""


class LearnersFailedError(FitError):
    """Some learners of a run failed; the others were scored.

    Parameters
    ----------
    failed : Mapping
        What went wrong, by learner.
    folder : Path
        With the others' results.
    summary : dict
        The content of `summary.json`.
    """

    def __init__(self, failed: Mapping[str, str], folder: Path, summary: dict[str, Any]) -> None:
        reasons = "; ".join(f"{name}: {reason.rstrip('.')}" for name, reason in failed.items())
        super().__init__(f"{reasons}. The results of the other learners are in {folder}.")
        self.run_record = {**summary, "error": without_secrets(str(self))}

    def __reduce__(self) -> tuple[Any, ...]:
        return as_it_is(self)
