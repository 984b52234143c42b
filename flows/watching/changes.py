"""What changed since the last run of a name, and what a config says to do about it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from flows.config.parts.recurring import WatchConfig
from flows.errors import InputError
from flows.inputs.study import Study
from flows.messages.limits import shown
from flows.watching.arms import Shares, compare_arms
from flows.watching.effects import EffectDrift, compare_effects, new_rows, realised_effects
from flows.watching.profile import Profile, read_profile, sample
from metalearners._typing import Array, Floats
from metalearners.evaluation.recurring.changes import chance_unseen
from metalearners.evaluation.recurring.drift import DRIFT, Drift, Reference

Kind = Literal["column", "type", "category", "missing", "treatment", "rows"]
_SCHEMA = ("column", "type", "category")  # kinds of which the config has a policy
_STATUS = {"refuse": "refused", "warn": "warned", "ignore": "noted"}
_SHARE = 0.05  # the least change of a share that is told
_TIMES = 2  # the least factor of the number of rows that is told


@dataclass(frozen=True)
class Change:
    """A difference from the last run: values before and after, and what came of it.

    `p_value` is the probability of as many rows with an unseen level where no level is new.
    """

    kind: Kind
    column: str | None
    before: Any
    after: Any
    status: str = ""
    p_value: float | None = None

    def __str__(self) -> str:
        of = "" if self.column is None else f" {self.column!r}"
        before, after = (shown(_said(value)) for value in (self.before, self.after))
        return f"{self.kind}{of}: {before} before, {after} now"


@dataclass(frozen=True, eq=False)
class Watched:
    """A run's rows beside those of the last run of its name.

    Parameters
    ----------
    profile : Profile
        Of the run's rows.
    since : str, optional
        Name of the last run; None if there is none to compare with.
    drifts : tuple of Drift
        Of the features.
    effects : tuple of EffectDrift
        Of what the last run's model estimates.
    effects_absent : str
        Why there are none; empty where there are, or no last run is there.
    arms : Shares, optional
        The shares of the arms beside the expected ones; None where nothing says these.
    new : (n,) array of bool, optional
        Rows that the last run didn't have; None if there is none to compare with.
    """

    profile: Profile
    since: str | None = None
    changes: tuple[Change, ...] = ()
    drifts: tuple[Drift, ...] = ()
    effects: tuple[EffectDrift, ...] = ()
    effects_absent: str = ""
    arms: Shares | None = None
    new: Array | None = None

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
        changes = [
            {k: v for k, v in vars(change).items() if k != "p_value"} for change in self.changes
        ]
        effects = [one.summary() for one in self.effects]
        drift = {"features": features, "effects": effects, "effects_absent": self.effects_absent}
        return {"since": self.since, "changes": changes, "drift": drift}

    def realised(self, study: Study, outcomes: Floats) -> dict[str, Any]:
        """What the last run's model predicts for new rows, beside their average effects.

        `outcomes` are (n, K) expected ones, of models that weren't fitted on the row.
        """
        if self.new is None or not self.effects:
            return {"effects": [], "absent": self.effects_absent}
        return realised_effects(study, outcomes, self.new, self.effects)


def watch(study: Study, past: Sequence[Mapping[str, Any]], key: bytes = b"") -> Watched:
    """Compare a run's rows with those of earlier runs of its name.

    Parameters
    ----------
    study : Study
        The run's rows.
    past : sequence of mapping
        Summaries of the earlier runs, the latest first.
    key : bytes
        The secret by which their models are verified.

    Raises InputError if the schema changed and the config refuses that.
    """
    profile, asked = Profile.of(study), study.config.watch
    folders = [Path(study.config.output) / str(run["run_name"]) for run in past]
    usual = (folder for folder, run in zip(folders, past, strict=True) if not _is_mismatch(run))
    arms = compare_arms(study, next(usual, None))
    before = read_profile(folders[0]) if folders else None
    if before is None:
        return Watched(profile, arms=arms)
    changes = tuple(_judged(change, asked) for change in changes_between(before, profile))
    refused = [str(change) for change in changes if change.status == "refused"]
    since = folders[0].name
    if refused:
        raise InputError(
            f"watch.on_schema_change: expected the columns, types and categories of {since}; "
            f"found changes: {'; '.join(refused)}. Correct the data, or say warn."
        )
    drifts = tuple(_drifts(study, before, profile))
    new = new_rows(study, past[0])
    effects = compare_effects(study, past[0], before, new, key)
    return Watched(profile, since, changes, drifts, *effects, arms, new)


def _is_mismatch(run: Mapping[str, Any]) -> bool:
    """Whether an earlier run's arms weren't of the expected sizes."""
    return any(event["event"] == "sample-ratio" for event in run.get("events", []))


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
            told = f"{len(old.levels)} levels", unseen[:10]
            p_value = _chance(name, unseen, before, after)
            yield Change("category", name, *told, p_value=p_value)
    shares = before.missing[name], after.missing[name]
    if abs(shares[1] - shares[0]) > _SHARE:
        yield Change("missing", name, *shares)


def _chance(name: str, unseen: list[Any], before: Profile, after: Profile) -> float:
    """Probability of as many rows of an unseen level, were it a rare one; over all levels."""
    old, new = before.distributions[name], after.distributions[name]
    levels = list(new["levels"] or ())  # of drawn rows, which may lack some
    shares = [new["shares"][1 + levels.index(one)] for one in unseen if one in levels]
    earlier = before.rows * old["worth"] / old["rows"]  # rows of groups come together
    chance = chance_unseen(max(shares, default=0) * new["worth"], new["worth"], earlier)
    return min(1.0, chance * len(levels) * len(after.columns))


def _judged(change: Change, asked: WatchConfig) -> Change:
    status = _STATUS[asked.on_schema_change] if change.kind in _SCHEMA else "warned"
    return replace(change, status=status)


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
