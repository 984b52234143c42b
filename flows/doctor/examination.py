"""An examination: small checks one after the other, each with one finding."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any, Literal

from flows.errors import InputError
from flows.messages.secrets import without_secrets

# Modules with a tuple CHECKS, in the order of the findings. What a later one needs comes earlier.
_MODULES = ("packages", "surroundings", "machine", "folders", "server")
_SECONDS = 5.0  # that a check may take; an address that doesn't answer takes longer
_SLICE = 0.1
Status = Literal["ok", "wrong", "unknown"]
_LOCAL = ("file://", "local://")  # URLs of this machine's folders


class NotCheckedError(Exception):
    """There is nothing to check, which is no fault; the message says why."""


@dataclass(frozen=True)
class Places:
    """Where runs of this folder write.

    Parameters
    ----------
    storage : str
        The cache: a folder or an fsspec URL.
    output : Path
        The folder of all runs.
    """

    storage: str
    output: Path

    @property
    def cache_folder(self) -> Path | None:
        """The folder of the cache; None where it is on another machine."""
        for scheme in _LOCAL:
            if self.storage.startswith(scheme):
                return Path(self.storage.removeprefix(scheme))
        return None if "://" in self.storage else Path(self.storage)


@dataclass(frozen=True)
class Check:
    """One question to an installation.

    Parameters
    ----------
    name : str
        What is checked.
    look : callable
        Returns a sentence on what it found sound. Raises InputError for a fault, and
        NotCheckedError where there is nothing to check.
    needs : tuple of str
        Checks without which this one would only repeat their fault.
    """

    name: str
    look: Callable[[Places], str]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """What a check found: `unknown` means that it wasn't made."""

    check: str
    status: Status
    sentence: str

    def __str__(self) -> str:
        return f"{self.status:<9}{self.check:<16}{self.sentence}"


def facts(findings: list[Finding]) -> dict[str, Any]:
    """Findings as plain values, with a status for all of them."""
    wrong = any(finding.status == "wrong" for finding in findings)
    return {"status": "wrong" if wrong else "ok", "checks": list(map(asdict, findings))}


def examine(places: Places) -> Iterator[Finding]:
    """The findings of all checks, one by one; at most one for a fault."""
    wrong: set[str] = set()
    for module in _MODULES:
        for check in _checks_of(module):
            finding = _find(check, places, wrong)
            if finding.status == "wrong":
                wrong.add(check.name)
            yield finding


def _checks_of(module: str) -> tuple[Check, ...]:
    """The checks of a module; one that fails where a package that they need can't be imported."""
    try:
        return tuple(import_module(f"flows.doctor.{module}").CHECKS)
    except Exception as error:  # a broken package may raise anything
        return (Check(module, partial(_refuse_packages, error), ("Prefect", "packages")),)


def _refuse_packages(error: Exception, places: Places) -> str:
    raise InputError(
        f"Expected packages that can be imported; {type(error).__name__}: {error}. Install "
        "uplift-flows again, in a new environment."
    )


def _find(check: Check, places: Places, wrong: set[str]) -> Finding:
    missing = [name for name in check.needs if name in wrong]
    if missing:
        return Finding(check.name, "unknown", f"not checked before this is mended: {missing[0]}")
    status, told = _judge(partial(check.look, places))
    # In one line, and without secrets: texts of other programs may be in it.
    return Finding(check.name, status, " ".join(without_secrets(told).split()))


def _judge(look: Callable[[], str]) -> tuple[Status, str]:
    try:
        return "ok", _in_time(look)
    except NotCheckedError as reason:
        return "unknown", str(reason)
    except InputError as fault:
        return "wrong", str(fault)
    except Exception as error:
        return "wrong", (
            f"Expected this check to end; found {type(error).__name__}: {error}. Files may have "
            "changed meanwhile: run `uplift doctor` again. If it stays, mend what the error names."
        )


def _in_time(look: Callable[[], str]) -> str:
    """What a check returns or raises; a disk or a server that doesn't answer makes it late."""
    ended: Future[str] = Future()

    def run() -> None:
        try:
            ended.set_result(look())
        except BaseException as error:
            ended.set_exception(error)

    Thread(target=run, daemon=True).start()  # nothing waits for it at the end of the process
    for _ in range(round(_SECONDS / _SLICE)):  # counted: a process that was stopped isn't late
        if wait([ended], _SLICE).done:
            return ended.result()
    raise InputError(
        f"Expected this check to end within {_SECONDS:.0f} s; it didn't. A disk or a server that "
        "it asks doesn't answer: see that it does, or name another."
    )
