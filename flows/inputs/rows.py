"""From a source to rows whose columns are read by their roles."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from flows.config.sections import DataConfig
from flows.errors import InputError
from flows.inputs.columns import (
    as_features,
    check_design,
    choose_columns,
    dates_of,
    known_propensity,
    read_arms,
    read_groups,
    read_outcome,
    read_row_ids,
    read_strata,
    read_weight,
)
from flows.inputs.source import Table, open_source
from flows.inputs.text_files import Asked
from metalearners._typing import Array, Floats, Ref
from metalearners.digests.matrices import matrix_digest
from metalearners.evaluation.design import ArmShares


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
    left_out: dict[str, int]  # rows by label of the arms that take no part
    warnings: list[str]  # what a reader should know


def read_rows(data: DataConfig) -> Rows:
    """Read the columns that a config names.

    Raises InputError if the source can't be read, or a column isn't what its role needs.
    """
    source = open_source(data.source, Asked(**data.read.model_dump()))
    columns, features, warnings = choose_columns(data, source.names, source.data_names)
    read = source.read(columns, data.labels)
    _check_numbers(read, columns, data)
    table = read.frame
    arms, codes, left_out = read_arms(table[data.treatment], data)
    X, dates = as_features(table, features), dates_of(table, features)
    check_design(data, arms, left_out)
    propensity = known_propensity(table, data, arms)
    used = codes >= 0
    own, w = (table, codes) if used.all() else (table[used], codes[used])
    weight = None if data.weight is None else read_weight(own[data.weight], w, arms)
    strata, shares = read_strata(own, data), None
    if data.design == "randomised":
        with in_labels(data, arms):
            shares = ArmShares.among(w, len(arms), strata, weight)
        propensity = shares.of(len(table), read_strata(table, data))
    return Rows(
        arms=arms,
        features=X,
        dates=dates,
        used=used,
        row_ids=read_row_ids(table, data),
        propensity=propensity,
        shares=shares,
        strata=strata,
        y=read_outcome(own[data.outcome], data),
        w=w,
        weight=weight,
        groups=None if data.group is None else read_groups(own[data.group]),
        digest="-".join(matrix_digest(table[_digested(columns, data)])),
        left_out=left_out,
        warnings=[
            *read.notes,
            *warnings,
            *_repeated_ids(table, data),
            *_dates(dates),
            *_constants(X),
            *_many_levels(X),
            *_strata_beside(data, features),
        ],
    )


@contextlib.contextmanager
def in_labels(data: DataConfig, arms: list[Any]) -> Iterator[None]:
    """Refuse what the library refuses, in terms of the data's labels: it knows arms by code."""
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        message = str(error)
        for code, arm in enumerate(arms):
            message = message.replace(f"in arm {code}.", f"in arm {arm!r}.")
        raise InputError(f"{data.source}: {message}") from None


def _check_numbers(table: Table, columns: list[str], data: DataConfig) -> None:
    """Refuse columns that are numbers but for a few texts, all in one message."""
    faults = [f"{name!r}: {table.faults[name]}" for name in columns if name in table.faults]
    if faults:
        raise InputError(
            f"Expected numbers in columns of {data.source} that are nearly all numbers; found "
            f"fields that are none in {'; '.join(faults[:10])}. Where such a field is a missing "
            "value, leave it empty or name it in data.read.missing; where a column is no number, "
            "say so in data.read.types."
        )


def categories_of(X: pd.DataFrame) -> list[str]:
    """Names of the features that are categories."""
    return [name for name in X if isinstance(X[name].dtype, pd.CategoricalDtype)]


def _digested(columns: list[str], data: DataConfig) -> list[str]:
    # Identities shape nothing, and may be of any type.
    return [name for name in columns if name != data.row_id or name == data.group]


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


def _constants(X: pd.DataFrame) -> list[str]:
    return [
        f"Feature {name} has one value, so no effect can vary with it: leave it out."
        for name in X
        if (X[name] == X[name].iloc[0]).all()
    ]


def _many_levels(X: pd.DataFrame) -> list[str]:
    return [
        f"Feature {name} has {X[name].nunique()} different texts: are they numbers, or identities?"
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
