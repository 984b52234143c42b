"""Why columns of new data should be no features, from their names and their values."""

import re
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
from pandas.api import types

from flows.errors import InputError
from flows.inputs.features import as_features, odd_names
from flows.inputs.formats.dates import as_dates
from flows.inputs.guesses import words
from flows.inputs.source import Table
from flows.messages.progress import Steps
from metalearners.data.leaks import (
    as_codes,
    explains,
    out_of_balance,
    p_of_equal_means,
    still_in_an_arm,
    tells_arm,
    treated_together,
)

_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_WRITTEN_DATE = re.compile(r"(\d{1,2}[./-]\d{1,2}[./-]\d{4}|\d{4}[./]\d{1,2}[./]\d{1,2})($|[ T])")
_AMOUNT = re.compile(r"\s*-?([$€£¥%]\s*-?[\d.,' ]+|[\d.,' ]+\s*([$€£¥%]|EUR|USD))\s*$")
_REPEATED = 20  # pairs that chance would make alike in a column that has none
_MOST_ROWS = 5_000  # that relations between columns are looked for in
LEAST_ROWS = 50
_DIGITS = 6  # of keys
_TEXTS = 0.5  # distinct texts by row
MOVED = 1e-3  # p-value of equal means in the arms, where more speaks for an outcome
DATE = "a date"
_MANY = 50  # distinct values of identities that repeat


@dataclass(frozen=True)
class Design:
    """What columns are judged against.

    Parameters
    ----------
    arms : Series
        Arm of each row.
    y : Series
        Outcome of each row, as a number.
    groups : Series or None
        Cluster of each row, if there are such.
    known : bool
        Whether probabilities of the arms are known, which may differ between rows.
    """

    arms: pd.Series
    y: pd.Series
    groups: pd.Series | None = None
    known: bool = False


def reasons(table: Table, names: list[str], design: Design) -> dict[str, str]:
    """Why columns should be no features, by name."""
    frame, found, steps = table.frame, {}, Steps("init", 2 * len(names))
    for name in names:
        found[name] = table.faults.get(name) or alone(name, frame[name])
        steps.count()
    found = {name: why for name, why in found.items() if why}
    odd = odd_names([name for name in names if name not in found])
    found |= dict.fromkeys(odd, "LightGBM, the default base model, takes no such name")
    left = frame[[name for name in names if name not in found]]
    return found | _relations(left, design, steps)


def _relations(frame: pd.DataFrame, design: Design, steps: Steps) -> dict[str, str]:
    """Why columns should be no features, from what they say of arm and outcome."""
    known = frame.index[design.arms.notna() & design.y.notna()]
    if len(known) < LEAST_ROWS:
        return {}
    rows = sample(known)
    arms, y = design.arms[rows], design.y[rows]
    codes = pd.DataFrame({name: as_codes(frame.loc[rows, name]) for name in frame}, index=rows)
    assigned = _of_clusters(codes, arms, design.groups)
    found = {}
    for name in codes:
        if name not in assigned and tells_arm(codes[name], arms):
            found[name] = "it tells the arm"
        elif not words.was_before(name) and explains(codes[name], y):
            found[name] = "it tells the outcome, so it may come after the treatment"
        steps.count()
    alone = rows if design.groups is None else design.groups[rows].drop_duplicates().index
    if design.known or len(alone) < LEAST_ROWS:
        return found
    return found | _moved(codes.loc[alone].drop(columns=list(found)), arms[alone])


def _of_clusters(codes: pd.DataFrame, arms: pd.Series, groups: pd.Series | None) -> set[str]:
    """Columns of what clusters are, by which a tree tells the clusters and so their arms."""
    if groups is None:
        return set()
    same = codes.groupby(groups[codes.index].to_numpy()).nunique().max() <= 1
    return {name for name in codes if same[name] and codes[name].nunique() > arms.nunique()}


def _moved(codes: pd.DataFrame, arms: pd.Series) -> dict[str, str]:
    """Columns that the treatment seems to have moved, where rows are independent."""
    still = "it has one value in an arm and others in another, as if it came after them"
    moved = "it differs between the arms and other columns don't, as if it came after them"
    outcome = "its name is an outcome's, and it differs between the arms"
    found = dict.fromkeys(out_of_balance(codes, arms), moved)
    named = {name for name in codes if words.like_outcome(name) >= words.NAMED}
    p_values = dict(zip(codes, p_of_equal_means(codes, arms), strict=True))
    found |= {name: outcome for name in named if p_values[name] < MOVED}
    return found | dict.fromkeys(still_in_an_arm(codes, arms), still)


def treated_as_a_whole(column: pd.Series, arms: pd.Series) -> bool:
    """Whether rows with the same value of a column seem to have been treated together."""
    numbers = types.is_numeric_dtype(column.dtype) and not types.is_bool_dtype(column.dtype)
    quantity = numbers and not words.is_identity(str(column.name))
    return treated_together(column, arms, quantity)


def sample(rows: pd.Index) -> pd.Index:
    """As many of the rows as relations are looked for in."""
    return rows.to_series().sample(min(len(rows), _MOST_ROWS), random_state=0).index


def alone(name: str, column: pd.Series) -> str:
    """Why a column should be no feature, from its name and its own values; empty if it may be."""
    n_values, rows, lower = distinct(column), int(column.notna().sum()), words.plain(name)
    texts = not types.is_numeric_dtype(column.dtype)
    whole = not types.is_float_dtype(column.dtype)
    many = rows * _TEXTS if not words.is_always_identity(name) else min(_MANY, rows * _TEXTS)
    fault = written_dates(column) if texts else None
    found = {
        "its values are no numbers and no texts": n_values == 0 < rows,
        "it has one value": n_values < 2,
        "amounts with a unit: write plain numbers": texts and _fits(column, _AMOUNT),
        f"dates: {fault}": bool(fault),
        DATE: fault == ""
        or types.is_datetime64_any_dtype(column.dtype)
        or (texts and _is_date(column)),
        "it looks like another outcome": words.names_outcome(name),
        "it looks like a probability of the treatment": lower in words.PROPENSITIES,
        "its name says that it comes after the treatment": words.comes_after(name),
        "it looks like an identity": whole and words.is_identity(name) and n_values > many,
        "most of its texts stand in one row only": texts and n_values > max(20, rows * _TEXTS),
        "it looks like an identity, other in each row": n_values == rows > 20 and _are_keys(column),
        "it numbers the rows": n_values == rows > 20 and _numbers_rows(column),
    }
    return next((reason for reason, holds in found.items() if holds), "") or _refusal(column)


def _refusal(column: pd.Series) -> str:
    """Why a run would refuse a column as a feature; empty if it wouldn't."""
    try:
        as_features(column.to_frame(), [column.name])
    except InputError as error:
        return str(error).removeprefix("data.features: ").partition(". ")[0]
    return ""


def _are_keys(column: pd.Series) -> bool:
    """Whether whole numbers have as many digits each, and many."""
    if not types.is_integer_dtype(column.dtype):
        return False
    least, most = int(column.min()), int(column.max())
    return least > 0 and len(str(least)) == len(str(most)) >= _DIGITS


def _numbers_rows(column: pd.Series) -> bool:
    """Whether different whole numbers are so near each other that chance would repeat some."""
    if not types.is_integer_dtype(column.dtype):
        return False
    # Of n draws among r numbers, n^2 / 2 r pairs are expected to be alike.
    return bool(len(column) ** 2 > 2 * _REPEATED * (int(column.max()) - int(column.min()) + 1))


def distinct(column: pd.Series) -> int:
    """How many values a column has; 0 where they can't be told apart, as lists."""
    try:
        return int(column.nunique())
    except TypeError:
        return 0


def _is_date(column: pd.Series) -> bool:
    """Whether a column of objects or texts holds dates."""
    if types.is_numeric_dtype(column.dtype) or isinstance(column.dtype, pd.CategoricalDtype):
        return False
    some = column.dropna().head(100)
    if types.infer_dtype(some) in ("date", "datetime"):
        return True
    return _fits(column, _ISO_DATE)


def written_dates(column: pd.Series) -> str | None:
    """What is wrong with dates such as 24.12.2024; None if a column has no such dates."""
    if not _fits(column, _WRITTEN_DATE):
        return None
    texts = column.astype(object)  # of a category too
    return as_dates(pa.chunked_array([pa.array(texts, from_pandas=True)])).fault


def _fits(column: pd.Series, pattern: "re.Pattern[str]") -> bool:
    """Whether the first texts of a column are of a pattern."""
    some = column.dropna().head(100)
    return len(some) > 0 and all(isinstance(v, str) and bool(pattern.match(v)) for v in some)
