"""From a source to rows whose columns are read by their roles."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from flows.config.sections import DataConfig
from flows.errors import Faults, InputError, within
from flows.inputs.columns import (
    ROLES,
    check_name,
    choose_columns,
    known_propensity,
    place_of,
    read_arms,
    read_groups,
    read_outcome,
    read_row_ids,
    read_strata,
    read_weight,
    taking_part,
)
from flows.inputs.features import as_feature, dates_of
from flows.inputs.formats.text_files import Asked, Habits
from flows.inputs.source import Table, open_source
from metalearners._typing import Array, Floats, Ref
from metalearners.digests.matrices import matrix_digest
from metalearners.evaluation.design import ArmShares, sample_ratio

_TINY = 0.01  # share of the rows
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
    propensity: Floats | None  # (N, K) known probabilities; None where they are estimated
    shares: ArmShares | None  # of the arms in a declared experiment: `propensity` has them then
    strata: pd.Series | None  # (n,) within which arms were drawn; None for one stratum
    y: Array  # (n,) outcomes
    w: Array  # (n,) codes of the arms
    weight: Floats | None  # (n,)
    groups: Array | None  # (n,) labels of the clusters
    digest: Ref  # of the columns that were read, without the rows' identities
    habits: Habits  # how the source writes numbers and dates
    left_out: dict[str, int]  # rows by label of the arms that take no part
    warnings: list[str]  # what a reader should know


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
    """

    table: pd.DataFrame
    names: list[str]
    X: pd.DataFrame
    dates: list[str]
    warnings: list[str]
    habits: Habits


def read_columns(data: DataConfig, faults: Faults, frame: Any = None) -> Columns | None:
    """Read the columns that a config names, of its source or of a data frame in memory.

    None if nothing can be read.
    """
    asked = Asked(**data.read.model_dump())
    source = faults.judge(
        "data.source", lambda: open_source(data.source, asked, frame), ["data.read"]
    )
    if source is None:
        return None
    for key, named in {"dates": data.read.dates, "types": data.read.types}.items():
        for name in named:
            check = partial(check_name, data, f"read.{key}", name, source.names)
            faults.judge(within(f"data.read.{key}", name), check)
    columns, features, warnings = choose_columns(data, source.names, source.data_names, faults)
    if not columns:
        return None
    read = faults.judge("data.source", lambda: source.read(columns, data.labels))
    if read is None:
        return None
    _check_fields(read, columns, data, faults)
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
        warnings=[*read.notes, *warnings, *_dates(dates)],
        habits=read.habits,
    )


def _feature(table: pd.DataFrame, name: str, faults: Faults) -> pd.Series | None:
    return faults.judge(within("data.features", name), lambda: as_feature(table[name]))


def rows_of(columns: Columns, data: DataConfig, faults: Faults) -> Rows | None:
    """The rows of the columns that were read; None if a role's column is at fault."""
    table, found = columns.table, None
    if faults.knows("data.treatment"):
        found = read_arms(table[data.treatment], data, faults)
    arms, codes, left_out = found or ([], taking_part(table, data), {})
    if codes is None:
        return None
    used = codes >= 0
    own, w = (table, codes) if used.all() else (table[used], codes[used])
    y = faults.judge("data.outcome", lambda: read_outcome(own[data.outcome], data), _OF_OUTCOME)
    weight = faults.judge("data.weight", lambda: read_weight(own, w, arms, data))
    groups = faults.judge("data.group", lambda: read_groups(own, data))
    strata = faults.judge("data.strata", lambda: read_strata(own, data))
    known = partial(known_propensity, table, data, arms, left_out)
    propensity = faults.judge("data.propensity", known, _OF_ARMS)
    if not faults.knows(*ROLES, *_OF_ARMS, *_OF_OUTCOME, "data.design") or columns.X.empty:
        return None
    shares = None
    if data.design == "randomised":
        drawn = partial(_shares, data, arms, w, strata, weight)
        shares = faults.judge("data.strata", drawn)
        if shares is None:
            return None
        propensity = shares.of(len(table), read_strata(table, data))
    return Rows(
        arms=arms,
        features=columns.X,
        dates=columns.dates,
        used=used,
        row_ids=read_row_ids(table, data),
        propensity=propensity,
        shares=shares,
        strata=strata,
        y=y,  # type: ignore[arg-type]  # None is a fault, after which there are no rows
        w=w,
        weight=weight,
        groups=groups,
        digest=_digest(columns, data),
        habits=columns.habits,
        left_out=left_out,
        warnings=[
            *columns.warnings,
            *_repeated_ids(table, data),
            *_constants(columns.X),
            *_many_levels(columns.X),
            *_strata_beside(data, list(columns.X)),
            *_mismatch(data, arms, w, _declared(data, propensity, codes), groups),
            *_tiny_arms(data, arms, w),
        ],
    )


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
        names = {f"in arm {code}.": f"in arm {arm!r}." for code, arm in enumerate(arms)}
        message = re.sub(r"in arm \d+\.", lambda m: names.get(m[0], m[0]), str(error))
        raise InputError(f"{data.source}: {message}") from None


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
        f"Expected numbers in columns of {data.source} that are nearly all numbers, or are "
        f"numbers by data.read.types; found fields that are none in {told}. Where such a field is "
        "a missing value, leave it empty or name it in data.read.missing; where a column is no "
        "number, say so in data.read.types.",
        *roles,
        *(within("data.features", name) for name in found),
    )


def categories_of(X: pd.DataFrame) -> list[str]:
    """Names of the features that are categories."""
    return [name for name in X if isinstance(X[name].dtype, pd.CategoricalDtype)]


def _digest(columns: Columns, data: DataConfig) -> Ref:
    """Digest of what was read: identities shape nothing and may be of any type, dates are days."""
    names = [name for name in columns.names if name != data.row_id or name == data.group]
    table = columns.table[names].assign(**{name: columns.X[name] for name in columns.dates})
    return "-".join(matrix_digest(table))


def _repeated_ids(table: pd.DataFrame, data: DataConfig) -> list[str]:
    if data.row_id in (None, data.group):  # rows of one cluster share its identity
        return []
    repeated = int(table[data.row_id].duplicated(keep=False).sum())
    if not repeated:
        return []
    return [
        f"data.row_id: {repeated} of {len(table)} rows share their {data.row_id!r} with another "
        "row. If rows were joined twice, drop the copies; if an identity has several rows, name it "
        "as data.group, else intervals are too short."
    ]


def _dates(names: list[str]) -> list[str]:
    if not names:
        return []
    return [f"Dates are features as days since 1970-01-01, in UTC: {', '.join(names)}."]


def _declared(data: DataConfig, propensity: Floats | None, codes: Array) -> Floats | None:
    """(n, K) probabilities of a design; None where nothing says them.

    A randomised design whose shares aren't declared may have any, so equal ones are for comparison.
    """
    if data.weight is not None or propensity is None or data.strata is not None:
        return None  # the rows' arms may then have other shares by design
    own = propensity[codes >= 0]
    return own if data.propensity is not None else np.full_like(own, 1 / own.shape[1])


def _mismatch(
    data: DataConfig, arms: list[Any], w: Array, e: Floats | None, groups: Array | None
) -> list[str]:
    """A warning of arms whose sizes the design doesn't give."""
    ratio = None if e is None else sample_ratio(w, e, groups)
    known = data.propensity is not None
    # Without declared shares, only those near equal ones tell what was meant.
    if ratio is None or not ratio.is_mismatch or not (known or ratio.is_close):
        return []
    units = "rows" if groups is None else "groups"
    counts = ", ".join(
        f"{arm} has {found:,.0f} {units} and {expected:,.0f} are expected"
        for arm, found, expected in zip(arms, ratio.found, ratio.expected, strict=True)
    )
    design = "data.propensity" if known else "data.design, randomised with nearly equal shares"
    remedy = (
        ""
        if known
        else " If other shares were meant, set data.design to auto and say them as data.propensity."
    )
    return [
        f"Sample ratio mismatch: the arms aren't of the sizes that {design} gives "
        f"(p = {ratio.p_value:.1g}): {counts}. Rows may be lost or counted twice in one arm, and "
        f"no estimate is safe from that. Find out why before you rely on this run.{remedy}"
    ]


def _tiny_arms(data: DataConfig, arms: list[Any], w: Array) -> list[str]:
    """Arms of so few rows that no experiment would have them, unless they were asked for."""
    if data.design == "observational" or data.propensity is not None or data.arms is not None:
        return []
    if len(arms) == 2 and data.design != "randomised":
        return []  # a rare treatment, as data that nobody drew may have
    counts = np.bincount(w, minlength=len(arms))
    return [
        f"Arm {arm} has {n:,} of {len(w):,} rows, too few for a design: is it another arm's label, "
        "written in another way? Correct it, or list the arms to use in data.arms."
        for arm, n in zip(arms, counts, strict=True)
        if n < _TINY * len(w)
    ]


def _constants(X: pd.DataFrame) -> list[str]:
    return [
        f"Feature {name} has one value, so no effect can vary with it: leave it out."
        for name in X
        if (X[name] == X[name].iloc[0]).all()
    ]


def _many_levels(X: pd.DataFrame) -> list[str]:
    return [
        f"Feature {name} has {X[name].nunique()} different texts: are they numbers, identities, or "
        "dates for data.read.dates?"
        for name in categories_of(X)
        if X[name].nunique() > 100
    ]


def _strata_beside(data: DataConfig, features: list[str]) -> list[str]:
    if data.strata is None or data.strata in features:
        return []
    also = "" if data.design == "randomised" else ", and the average effects too"
    return [
        f"data.strata, {data.strata!r}, isn't among the features: where the arms' shares differ by "
        "stratum, raw differences and the estimates of S-, T- and X-learners mix effects with "
        f"differences between strata{also}. Add it to the features."
    ]
