"""Segments: kinds of rows that a config names, as conditions on columns of the source."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd

from flows.config.data import DataConfig
from flows.errors import Faults, InputError, continued, within
from flows.inputs.roles.columns import check_column, check_kind
from flows.messages.limits import shown
from metalearners._typing import Array
from metalearners.data.conditions import Condition
from metalearners.evaluation.averages.segments import MOST_LEVELS

Segments = Mapping[str, str]
"""Texts of conditions, by the name of the segment."""


def choose_segments(
    segments: Segments, data: DataConfig, names: list[str], faults: Faults
) -> list[str]:
    """Columns that the segments read; those that the source doesn't have are noted as faults."""
    found = []
    for segment, text in segments.items():
        for column in Condition.of(text).columns:
            place = f"segments.{segment}"
            check = partial(check_column, place, data, column, names)
            faults.judge(within("segments", segment), check)
            found.append(column)
    return [column for column in dict.fromkeys(found) if column in names]


def read_segments(table: pd.DataFrame, segments: Segments, faults: Faults) -> dict[str, Array]:
    """(n,) labels of the rows by segment, of those without a fault."""
    labels = {}
    for name, text in segments.items():
        condition = Condition.of(text)
        needs = [within("data.features", column) for column in condition.columns]
        read = partial(_labels, table, name, condition)
        found = faults.judge(within("segments", name), read, needs)
        if found is not None:
            labels[name] = found
    faults.judge("segments", partial(_check_levels, labels))
    return {name: _as_array(found) for name, found in labels.items()}


def _labels(table: pd.DataFrame, name: str, condition: Condition) -> pd.Series:
    try:
        labels = condition.labels(table)
    except ValueError as error:
        raise InputError(f"segments.{name}: {continued(error)}") from None
    return check_kind(labels.rename(shown(condition.text)), f"segments.{name}")


def _as_array(labels: pd.Series) -> Array:
    """Labels as plain values; None where there is none."""
    if labels.dtype == "boolean" and not labels.hasnans:
        return labels.to_numpy(dtype=bool)
    return np.asarray(labels.astype(object).where(labels.notna(), None))


def _check_levels(labels: Mapping[str, pd.Series]) -> None:
    """Refuse segments that are no kinds of rows but values."""
    counts = {name: found.nunique(dropna=False) for name, found in labels.items()}
    if sum(counts.values()) > MOST_LEVELS:
        most = max(counts, key=counts.__getitem__)
        raise InputError(
            f"segments: expected at most {MOST_LEVELS} levels of all together; found "
            f"{sum(counts.values()):,}, {counts[most]:,} of them in {most!r}. Name fewer kinds of "
            "rows, as with a comparison such as 'history > 300'."
        )
