"""What the registry writes: an entry for each model, and an event for each thing that happened."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar
from uuid import uuid4

from pydantic import BaseModel, Field, ValidationError

from flows.errors import InputError
from flows.messages.limits import shown
from metalearners.cache.claims import this_process
from metalearners.cache.storage import Storage
from metalearners.evaluation.means import Estimate
from metalearners.evaluation.recurring.looks import Look

R = TypeVar("R", bound="_Record")
MANIFEST = "manifest.json"
_MOST_BYTES = 1 << 24  # of a record
_MOST_EARLIER = 100  # champions that can be rolled back to
_LASTING = ("champion", "challenger", "earlier", "contests")  # until an event changes them

# Others' records may name what they like: these become parts of paths.
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=255)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Choice = Literal["first", "promoted", "kept", "refused", "manual"]


class _Record(BaseModel, frozen=True, strict=True):
    """Plain values, which are read as strictly as they are written."""

    format_version: Literal[1] = 1

    def content(self) -> bytes:
        """The record as a file."""
        return (self.model_dump_json(indent=2) + "\n").encode()


class Figure(BaseModel, frozen=True, strict=True):
    """An estimate about an arm; a learner's, if it has a name."""

    arm: bool | int | Finite | str
    estimate: Finite | None
    std_error: Finite | None


class Entry(_Record):
    """A model of the registry: the run that made it, its figures and its files."""

    run: FileName
    name: str
    date: str  # the run's logical date
    until: str | None = None  # the end of its last partition; None where rows had no dates
    source: str
    outcome: str
    rows: int
    ate: list[Figure]
    qini: dict[str, list[Figure]]  # by learner; no figures without a hold-out
    digest: str  # of the bundle's manifest
    files: list[FileName]  # the bundle's, the manifest last


class Difference(BaseModel, frozen=True, strict=True):
    """How much better a challenger is than the champion, over all looks so far."""

    estimate: Finite
    std_error: Finite
    ci_low: Finite
    ci_high: Finite


def plain(found: Estimate) -> dict[str, float]:
    """An estimate as a `Difference` has it."""
    return {name: getattr(found, name) for name in Difference.model_fields}


class Contest(BaseModel, frozen=True, strict=True):
    """The test of a challenger against a champion."""

    event: int  # the number of the event with which it began
    champion: FileName
    challenger: FileName
    since: str  # the logical date of the run that began it
    alpha: Finite  # what all its looks together may spend


class Seen(BaseModel, frozen=True, strict=True):
    """A look that a run took at new rows, and what they say."""

    champion: FileName
    challenger: FileName
    date: str  # the run's logical date
    until: str  # the end of the last partition; later looks begin there
    look: Look


class Event(_Record):
    """Something that happened to a name's models, and the aliases since then."""

    number: Annotated[int, Field(ge=1)]
    event: Literal["registered", "promoted", "rolled back"]
    model: FileName  # its run's name
    decision: Choice | None = None  # on a model that was registered
    promoted: FileName | None = None  # the challenger that the run made champion
    why: str
    look: Seen | None = None
    difference: Difference | None = None
    champion: FileName
    challenger: FileName | None = None
    earlier: list[FileName] = []  # champions to roll back to, the latest last
    contests: list[Contest] = []  # that began within a year, the latest last
    at: str
    by: str
    mark: str  # no two events are equal

    def alias_of(self, run: str) -> str | None:
        """The alias of a model since then."""
        aliases = {self.challenger: "challenger", self.champion: "champion"}
        return aliases.get(run)


def following(last: Event | None, event: str, model: str, why: str, **facts: Any) -> Event:
    """The event after another; aliases stay as they are but for those among the facts."""
    kept = {} if last is None else {name: getattr(last, name) for name in _LASTING}
    return Event(
        number=1 if last is None else last.number + 1,
        event=event,  # type: ignore[arg-type] # which is checked
        model=model,
        why=why,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        by=this_process(),
        mark=uuid4().hex,
        **{**kept, **facts},
    )


def crowned(last: Event | None, run: str) -> dict[str, Any]:
    """The aliases once a model is champion."""
    if last is None:
        return {"champion": run}
    return {
        "champion": run,
        "challenger": None if last.challenger == run else last.challenger,
        "earlier": [*last.earlier, last.champion][-_MOST_EARLIER:],
    }


def entry_of(
    run: str, name: str, date: str, found: Mapping[str, Any], manifest: Mapping[str, Any]
) -> Entry:
    """The entry of a run's model, from what the run's summary says of its results.

    Raises InputError if the summary lacks figures that a run's has.
    """
    try:
        return _entry(run, name, date, found, manifest)
    except (LookupError, TypeError, AttributeError, ValidationError) as error:
        raise InputError(
            f"Expected the figures of a run in the summary of {shown(run)}; found others: "
            f"{shown(str(error))}. Run its config again."
        ) from None


def _entry(
    run: str, name: str, date: str, found: Mapping[str, Any], manifest: Mapping[str, Any]
) -> Entry:
    learners = {k: v for k, v in found["learners"].items() if "error" not in v}
    return Entry(
        run=run,
        name=name,
        date=date,
        until=found["data"].get("until"),
        **{key: found["data"][key] for key in ("source", "outcome", "rows")},
        ate=[_figure(ate["arm"], ate["estimate"], ate["std_error"]) for ate in found["ate"]],
        qini={
            learner: [
                _figure(judged["arm"], judged["qini"]["estimate"], judged["qini"]["std_error"])
                for judged in own["evaluation"].get("arms", [])
            ]
            for learner, own in learners.items()
        },
        digest=manifest["digest"],
        files=[*sorted(manifest["files"]), MANIFEST],
    )


def _figure(arm: Any, estimate: float | None, std_error: float | None) -> Figure:
    return Figure(arm=arm, estimate=estimate, std_error=std_error)


def read_record(storage: Storage, file: str, kind: type[R]) -> R:
    """A record of the registry.

    Raises InputError if the file is none of these; an OSError where it can't be read.
    """
    content = storage.read(file, most=_MOST_BYTES)
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(key) for key in first["loc"]) or "its beginning"
        raise InputError(
            f"Expected {file} of the registry {storage.location} as it was written; found other "
            f"content at {shown(where)}: {shown(first['msg'])}. Restore the file."
        ) from None
