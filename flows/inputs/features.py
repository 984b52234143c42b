"""Feature columns as base models take them: numbers, categories, and days of dates."""

import re
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from flows.errors import InputError
from metalearners.data.schema import as_days, is_date

PLAIN = ("string", "integer", "floating", "boolean")
_LARGEST_INTEGER = 2**53
# What LightGBM takes in no name of a feature.
_ODD = re.compile(r'[",:\[\]{}\n\r]|^$')


def as_features(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Feature columns as base models take them: texts become categories, dates become days.

    Raises InputError if a column is neither.
    """
    return pd.DataFrame({name: as_feature(frame[name]) for name in names}, copy=False)


def as_feature(column: pd.Series) -> pd.Series:
    """A feature column as base models take it; an InputError if they can't."""
    kind = kind_of(column)
    if is_date(kind):
        return as_days(column)
    if kind not in PLAIN:
        raise InputError(
            f"data.features: expected numbers, true/false, texts or dates in {column.name!r}; "
            f"found {kind}. Convert it or leave it out of features."
        )
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column
    if kind == "string":
        return _as_categories(column)
    if kind == "boolean":
        return column.astype(float if column.isna().any() else np.int8)
    if kind == "integer" and (largest := _largest(column)) > _LARGEST_INTEGER:
        raise InputError(
            f"data.features: expected integers up to 2^53 in {column.name!r}, as models take them "
            f"as numbers with 15 digits; found {largest}. Is it an identity? Leave it "
            "out of features."
        )
    if kind == "floating" and np.isinf(column).any():
        raise InputError(
            f"data.features: expected finite numbers in {column.name!r}; found infinite ones. "
            "Replace them, by missing values for instance."
        )
    return column


def _as_categories(texts: pd.Series) -> pd.Series:
    """Texts as categories in the order of the alphabet."""
    codes, found = pd.factorize(texts)
    order = sorted(range(len(found)), key=found.tolist().__getitem__)
    ranks = np.append(np.argsort(order), -1)  # the last is that of missing values, whose code is -1
    levels = pd.CategoricalDtype([found[i] for i in order])
    values = pd.Categorical.from_codes(ranks[codes], dtype=levels)
    return pd.Series(values, texts.index, name=texts.name)


def _largest(column: pd.Series) -> int:
    return max(int(column.max()), -int(column.min()))  # abs(-2^63) is negative


def dates_of(frame: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Names of the feature columns that hold dates or times."""
    return [name for name in names if is_date(kind_of(frame[name]))]


def categories_of(X: pd.DataFrame) -> list[str]:
    """Names of the features that are categories."""
    return [name for name in X if isinstance(X[name].dtype, pd.CategoricalDtype)]


def kind_of(column: pd.Series) -> str:
    """What the values of a column are, whatever it keeps them in, in pandas' words."""
    if column.isna().all():
        return "only missing values"
    values = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else column
    return pd.api.types.infer_dtype(values, skipna=True)


def odd_names(names: Collection[str]) -> list[str]:
    """Names of features that LightGBM takes not, or not beside others."""
    # It keeps names in a line of its model, with spaces as underscores.
    kept = Counter(name.replace(" ", "_") for name in names)
    return [name for name in names if _ODD.search(name) or kept[name.replace(" ", "_")] > 1]
