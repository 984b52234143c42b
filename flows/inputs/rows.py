"""From a source to rows whose columns are read by their roles."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import pandas as pd

from flows.config.data import DataConfig
from flows.dates.partitions import Window
from flows.errors import Faults, InputError, within
from flows.inputs import concerns
from flows.inputs.features import as_feature, dates_of, kind_of
from flows.inputs.formats.text_files import Asked, Habits
from flows.inputs.roles.columns import (
    ROLES,
    check_name,
    choose_columns,
    known_propensity,
    place_of,
    read_arms,
    read_drawn,
    read_groups,
    read_outcome,
    read_row_ids,
    read_strata,
    read_time,
    read_weight,
    taking_part,
)
from flows.inputs.roles.costs import Costs, choose_costs, cost_columns, read_costs
from flows.inputs.roles.segments import Segments, choose_segments, read_segments
from flows.inputs.source import Table, open_source
from metalearners._typing import Array, Floats, Ref
from metalearners.data.schema import as_days, is_date
from metalearners.digests.matrices import matrix_digest
from metalearners.evaluation.design import ArmShares
from metalearners.evaluation.recurring.policies import drawn_shares

_OF_ARMS = ("data.treatment", "data.control", "data.arms")
_OF_OUTCOME = ("data.outcome_type", "data.positive")


@dataclass(frozen=True, eq=False, kw_only=True)
class Rows:
    """The N rows of a source, and what the columns say of the n whose arm takes part."""

    arms: list[Any]  # labels, the control first
    features: pd.DataFrame  # (N, p)
    dates: list[str]  # names of the features that held dates
    used: Array  # (N,) whether a row's arm takes part
    row_ids: pd.Series  # (N,)
    begins: Array | None  # (N,) when the rows' partitions begin; None where that isn't known
    propensity: Floats | None  # (N, K) known probabilities; None where they are estimated
    shares: ArmShares | None  # of the arms in a declared experiment: `propensity` has them then
    strata: pd.Series | None  # (n,) within which arms were drawn; None for one stratum
    drawn: Array | None  # (n,) whether chance drew the arm; None where the config doesn't say
    outcomes: dict[str, Array]  # (n,) each, by column
    w: Array  # (n,) codes of the arms
    weight: Floats | None  # (n,)
    groups: Array | None  # (n,) labels of the clusters
    time: Array | None  # (n,) whole numbers in the order of time; None where folds don't follow it
    segments: dict[str, Array]  # (n,) labels of the rows, by the name of the segment
    digest: Ref  # of the columns that were read, without the rows' identities
    habits: Habits  # how the source writes numbers and dates
    left_out: dict[str, int]  # rows by label of the arms that take no part
    warnings: list[str]  # what a reader should know
    # (n,) codes that folds and hold-outs balance; None for the arms and the outcome's classes
    balance: Array | None = None
    costs: Floats | None = None  # (N, K-1) of the other arms; None where nobody is targeted

    @property
    def y(self) -> Array:
        """(n,) outcomes of the column that these rows are about: the first."""
        return next(iter(self.outcomes.values()))

    def about(self, outcome: str) -> Self:
        """The rows with one outcome alone."""
        return replace(self, outcomes={outcome: self.outcomes[outcome]})

    def chances(self, among: Array) -> Floats | None:
        """(m, K) probabilities with which chance drew the arms of some rows; None if unknown.

        Those of a row whose arm nobody drew are missing. A declared experiment has the shares of
        the arms among these rows.

        Raises ValueError if a stratum has no row of an arm.
        """
        drawn = self.drawn if self.shares is None else np.ones(len(self.w), bool)
        if drawn is None or not drawn[among].any():
            return None if self.propensity is None else self.propensity[self.used][among]
        strata = None if self.strata is None else self.strata.to_numpy()[among]
        weight = None if self.weight is None else self.weight[among]
        return drawn_shares(self.w[among], len(self.arms), drawn[among], strata, weight)


@dataclass(frozen=True, eq=False)
class Columns:
    """What was read of the columns that a config names: those in which there was no fault.

    Parameters
    ----------
    table : DataFrame
        Of N rows.
    names : list of str
        Of the columns that can be used.
    X : DataFrame
        Features as base models take them.
    dates : list of str
        Names of the features that held dates.
    warnings : list of str
        What a reader should know.
    habits : Habits
        How the source writes numbers and dates.
    begins : (N,) array of datetime64, optional
        When the rows' partitions begin; None where that isn't known.
    """

    table: pd.DataFrame
    names: list[str]
    X: pd.DataFrame
    dates: list[str]
    warnings: list[str]
    habits: Habits
    begins: Array | None


def read_columns(
    data: DataConfig,
    faults: Faults,
    frame: Any = None,
    window: Window | None = None,
    segments: Segments = MappingProxyType({}),
    costs: Costs = MappingProxyType({}),
) -> Columns | None:
    """Read the columns that a config names, of its source or of a data frame in memory.

    Those of segments and costs alone are in the table, but not among the names: they shape no fit.

    None if nothing can be read.
    """
    asked = Asked(**data.read.model_dump())
    opened = partial(open_source, data.place, asked, frame, window, data.query)
    source = faults.judge("data.source", opened, ["data.read"])
    if source is None:
        return None
    for key, named in {"dates": data.read.dates, "types": data.read.types}.items():
        for name in named:
            check = partial(check_name, data, f"read.{key}", name, source.names)
            faults.judge(within(f"data.read.{key}", name), check)
    others = choose_costs(costs, data, source.names, faults)
    columns, features, warnings = choose_columns(
        data, source.names, source.data_names, faults, others
    )
    others += choose_segments(segments, data, source.names, faults)
    if not columns:
        return None
    every = list(dict.fromkeys([*columns, *others]))
    read = faults.judge("data.source", lambda: source.read(every, data.labels))
    if read is None:
        return None
    _check_fields(read, every, data, faults)
    X = {
        name: column
        for name in features
        if (column := _feature(read.frame, name, faults)) is not None
    }
    dates = dates_of(read.frame, list(X))
    return Columns(
        table=read.frame,
        names=[name for name in columns if name in X or name not in features],
        X=pd.DataFrame(X, copy=False),
        dates=dates,
        warnings=[
            *read.notes,
            *warnings,
            *concerns.unlikely_features(data, read, list(X)),
            *concerns.dates(dates),
        ],
        habits=read.habits,
        begins=read.begins,
    )


def _feature(table: pd.DataFrame, name: str, faults: Faults) -> pd.Series | None:
    return faults.judge(within("data.features", name), lambda: as_feature(table[name]))


def rows_of(
    columns: Columns,
    data: DataConfig,
    faults: Faults,
    segments: Segments = MappingProxyType({}),
    costs: Costs | None = None,
) -> Rows | None:
    """The rows of the columns that were read; None if a role's column is at fault."""
    table, found = columns.table, None
    if faults.knows("data.treatment"):
        found = read_arms(table[data.treatment], data, faults)
    arms, codes, left_out = found or ([], taking_part(table, data), {})
    if codes is None:
        return None
    used = codes >= 0
    own, w = (table, codes) if used.all() else (table[used], codes[used])
    facts = _facts(own, w, arms, data, faults)
    facts["segments"] = read_segments(own, segments, faults)
    known = partial(known_propensity, table, data, arms, left_out)
    propensity = faults.judge("data.propensity", known, _OF_ARMS)
    if not faults.knows(*ROLES, *_OF_ARMS, *_OF_OUTCOME, "data.design") or columns.X.empty:
        return None
    shares = None
    if data.design == "randomised":
        share = partial(_shares, data, arms, w, facts["strata"], facts["weight"])
        shares = faults.judge("data.strata", share)
        if shares is None:
            return None
        propensity = shares.of(len(table), read_strata(table, data))
    rows = Rows(
        arms=arms,
        features=columns.X,
        dates=columns.dates,
        used=used,
        row_ids=read_row_ids(table, data),
        begins=columns.begins,
        propensity=propensity,
        shares=shares,
        w=w,
        **facts,
        digest=_digest(columns, data),
        habits=columns.habits,
        left_out=left_out,
        costs=_costs(table, costs, arms, faults),
        warnings=columns.warnings,
    )
    return replace(rows, warnings=[*rows.warnings, *_concerns(rows, table, data)])


def _costs(
    table: pd.DataFrame, costs: Costs | None, arms: list[Any], faults: Faults
) -> Floats | None:
    if costs is None:
        return None
    needs = [within("targeting.cost", column) for column in cost_columns(costs)]
    read = partial(read_costs, table, costs, arms)
    return faults.judge("targeting.cost", read, [*_OF_ARMS, *needs])


def _facts(
    own: pd.DataFrame, w: Array, arms: list[Any], data: DataConfig, faults: Faults
) -> dict[str, Any]:
    """What the columns say of the rows whose arm takes part; None for what is at fault."""
    judge = faults.judge
    return {
        "outcomes": _read_outcomes(own, data, faults),
        "weight": judge("data.weight", lambda: read_weight(own, w, arms, data)),
        "groups": judge("data.group", lambda: read_groups(own, data)),
        "strata": judge("data.strata", lambda: read_strata(own, data)),
        "drawn": judge("data.drawn", lambda: read_drawn(own, data)),
        "time": judge("data.time", lambda: read_time(own, data)),
    }


def _read_outcomes(own: pd.DataFrame, data: DataConfig, faults: Faults) -> dict[str, Array]:
    """(n,) outcomes by column, of those without a fault."""
    found = {}
    for role, name in data.roles.items():
        if role.partition(".")[0] == "outcome":
            one = data.of_outcome(name)
            read = partial(_read_outcome, own, one)
            y = faults.judge(place_of(role), read, _OF_OUTCOME)
            if y is not None:
                found[name] = y
    return found


def _read_outcome(own: pd.DataFrame, data: DataConfig) -> Array:
    return read_outcome(own[data.first_outcome], data)


def _concerns(rows: Rows, table: pd.DataFrame, data: DataConfig) -> list[str]:
    X, arms, used, w = rows.features, rows.arms, rows.used, rows.w
    design = concerns.declared(data, rows.propensity, used)
    return [
        *concerns.repeated_ids(table, data),
        *concerns.constants(X),
        *concerns.many_levels(X),
        *concerns.treated_together(X, data, used, w),
        *concerns.strata_beside(data, list(X)),
        *concerns.mismatch(data, arms, w, design, rows.groups),
        *concerns.tiny_arms(data, arms, w),
    ]


def _shares(
    data: DataConfig, arms: list[Any], w: Array, strata: pd.Series | None, weight: Floats | None
) -> ArmShares:
    with in_labels(data, arms):
        return ArmShares.among(w, len(arms), strata, weight)


@contextlib.contextmanager
def in_labels(data: DataConfig, arms: list[Any]) -> Iterator[None]:
    """Refuse what the library refuses, in terms of the data's labels: it knows arms by code."""
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{data.place}: {labelled(error, arms)}") from None


def labelled(error: ValueError, arms: list[Any]) -> str:
    """A refusal of the library, with labels of arms in place of their codes."""
    names = {f"in arm {code}": f"in arm {arm!r}" for code, arm in enumerate(arms)}
    return re.sub(r"in arm \d+(?=[.,])", lambda m: names.get(m[0], m[0]), str(error))


def _check_fields(table: Table, columns: list[str], data: DataConfig, faults: Faults) -> None:
    """Refuse columns whose fields aren't what they are said to be, or are nearly all."""
    dates = data.read.dates
    for name in (name for name in columns if name in table.faults and name in dates):
        places = [place_of(role) for role, column in data.roles.items() if column == name]
        faults.note(
            f"data.read.dates: expected dates in {name!r}, such as 2024-12-31, 31.12.2024 or "
            f"12/31/2024, all written alike; {table.faults[name]}. Write them as 2024-12-31, or "
            "name what stands for a missing one in data.read.missing.",
            *places,
            within("data.features", name),
        )
    found = [name for name in columns if name in table.faults and name not in dates]
    if not found:
        return
    told = "; ".join(f"{name!r}: {table.faults[name]}" for name in found[:10])
    roles = [place_of(role) for role, name in data.roles.items() if name in found]
    faults.note(
        f"Expected numbers in columns of {data.place} that are nearly all numbers, or are "
        f"numbers by data.read.types; found fields that are none in {told}. Where such a field is "
        "a missing value, leave it empty or name it in data.read.missing; where a column is no "
        "number, say so in data.read.types.",
        *roles,
        *(within("data.features", name) for name in found),
    )


def _digest(columns: Columns, data: DataConfig) -> Ref:
    """Digest of what was read: identities shape nothing and may be of any type, dates are days."""
    names = [name for name in columns.names if name != data.row_id or name == data.group]
    dates = {name: columns.X[name] for name in columns.dates}
    if data.time is not None and is_date(kind_of(columns.table[data.time])):
        dates[data.time] = as_days(columns.table[data.time])
    return "-".join(matrix_digest(columns.table[names].assign(**dates)))
