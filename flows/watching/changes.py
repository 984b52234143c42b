"""What changed since the last run of a name, and what a config says to do about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flows.config.sections import WatchConfig
from flows.errors import InputError
from flows.inputs.study import Study
from flows.messages.limits import shown
from flows.watching.profile import Profile, read_profile, sample
from metalearners.evaluation.recurring.drift import DRIFT, Drift, Reference

Kind = Literal["column", "type", "category", "missing", "treatment", "rows"]
_SCHEMA = ("column", "type", "category")  # kinds of which the config has a policy
_STATUS = {"refuse": "refused", "warn": "warned", "ignore": "noted"}
_SHARE = 0.05  # the least change of a share that is told
_TIMES = 2  # the least factor of the number of rows that is told


@dataclass(frozen=True)
class Change:
    """A difference from the last run: values before and after, and what came of it."""

    kind: Kind
    column: str | None
    before: Any
    after: Any
    status: str = ""

    def __str__(self) -> str:
        of = "" if self.column is None else f" {self.column!r}"
        before, after = (shown(_said(value)) for value in (self.before, self.after))
        return f"{self.kind}{of}: {before} before, {after} now"


@dataclass(frozen=True)
class Watched:
    """A run's rows beside those of the last run of its name.

    Parameters
    ----------
    profile : Profile
        Of the run's rows.
    since : str, optional
        Name of the last run; None if there is none to compare with.
    """

    profile: Profile
    since: str | None = None
    changes: tuple[Change, ...] = ()
    drifts: tuple[Drift, ...] = ()

    @property
    def warnings(self) -> list[str]:
        """Sentences on what a reader should know."""
        told = [str(change) for change in self.changes if change.status == "warned"]
        drifted = [one.column for one in self.drifts if one.status == DRIFT]
        lines = [f"Changed since {self.since}: {'; '.join(told)}."] if told else []
        if drifted:
            lines.append(
                f"Distributions differ from those of {self.since}: {shown(', '.join(drifted))}. "
                "Effects that depend on these features may have moved."
            )
        return lines

    def summary(self) -> dict[str, Any]:
        """What `summary.json` says of it."""
        features = [
            {"feature": one.column, "psi": one.psi, "p_value": one.p_value, "status": one.status}
            for one in self.drifts
        ]
        changes = [vars(change) for change in self.changes]
        return {"since": self.since, "changes": changes, "drift": {"features": features}}


def watch(study: Study, last: Path | None) -> Watched:
    """Compare a run's rows with those of the last run of its name, in a folder.

    Raises InputError if the schema changed and the config refuses that.
    """
    profile, asked = Profile.of(study), study.config.watch
    before = None if last is None else read_profile(last)
    if last is None or before is None:
        return Watched(profile)
    changes = tuple(_judged(change, asked) for change in changes_between(before, profile))
    refused = [str(change) for change in changes if change.status == "refused"]
    if refused:
        raise InputError(
            f"watch.on_schema_change: expected the columns, types and categories of {last.name}; "
            f"found changes: {'; '.join(refused)}. Correct the data, or say warn."
        )
    return Watched(profile, last.name, changes, tuple(_drifts(study, before, profile)))


def changes_between(before: Profile, after: Profile) -> Iterator[Change]:
    """The differences that are told."""
    for name in {**before.columns, **after.columns}:
        yield from _of_column(name, before, after)
    for arm in {**before.arms, **after.arms}:
        shares = before.arms.get(arm), after.arms.get(arm)
        if None in shares or abs((shares[1] or 0) - (shares[0] or 0)) > _SHARE:
            yield Change("treatment", arm, *shares)
    if not 1 / _TIMES <= after.rows / before.rows <= _TIMES:
        yield Change("rows", None, before.rows, after.rows)


def _of_column(name: str, before: Profile, after: Profile) -> Iterator[Change]:
    old, new = before.columns.get(name), after.columns.get(name)
    if old is None or new is None:
        yield Change("column", name, old and old.kind, new and new.kind)
        return
    if old.kind != new.kind:
        yield Change("type", name, old.kind, new.kind)
    elif old.levels is not None and new.levels is not None:
        unseen = [level for level in new.levels if level not in old.levels]
        if unseen:
            yield Change("category", name, f"{len(old.levels)} levels", unseen[:10])
    shares = before.missing[name], after.missing[name]
    if abs(shares[1] - shares[0]) > _SHARE:
        yield Change("missing", name, *shares)


def _judged(change: Change, asked: WatchConfig) -> Change:
    status = _STATUS[asked.on_schema_change] if change.kind in _SCHEMA else "warned"
    return Change(change.kind, change.column, change.before, change.after, status)


def _drifts(study: Study, before: Profile, after: Profile) -> list[Drift]:
    """Drift of the features that both runs have, of the same kind."""
    columns = before.reference.columns
    alike = {
        name: columns[name]
        for name, own in before.columns.items()
        if name in after.columns and after.columns[name].kind == own.kind
    }
    if not alike:
        return []
    return Reference(alike).compare(*sample(study), threshold=study.config.watch.drift)


def _said(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
