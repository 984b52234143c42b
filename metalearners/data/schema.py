"""The features of a fitted model: names, types, category levels."""

import warnings
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

DATE = "date"
"""The type of a feature that holds dates or times."""


class SchemaError(ValueError):
    """Features that a model can't be applied to."""


@dataclass(frozen=True)
class Feature:
    """One feature: its name, its type and, for a category, its levels in order."""

    name: str
    dtype: str
    levels: tuple[Any, ...] | None = None
    ordered: bool = False


@dataclass(frozen=True)
class Unseen:
    """Levels of a feature that the model hasn't seen.

    Parameters
    ----------
    rows : int
        How many rows have such.
    levels : tuple
        The different ones, in the order of the rows; the first few may do.
    """

    rows: int
    levels: tuple[Any, ...]

    def told(self, name: str, n_rows: int) -> str:
        """A warning, by the name of the feature and the number of all rows."""
        return (
            f"{self.rows} of {n_rows} rows have levels of {name!r} that the model hasn't seen, "
            f"such as {list(self.levels[:5])}: they count as missing."
        )


@dataclass(frozen=True)
class Schema:
    """The features of a fitted model, in order."""

    features: tuple[Feature, ...]

    @classmethod
    def of(cls, X: pd.DataFrame, dates: Collection[str] = ()) -> Self:
        """Schema of a data frame, whose columns `dates` hold what `as_days` made of dates."""
        return cls(
            tuple(Feature(name, DATE) if name in dates else _feature(X[name]) for name in X.columns)
        )

    @classmethod
    def from_json(cls, items: list[dict[str, Any]]) -> Self:
        """Schema from the values that `to_json` returned."""
        read = ({**i, "levels": i["levels"] and tuple(i["levels"])} for i in items)
        return cls(tuple(Feature(**item) for item in read))

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values."""
        return [asdict(feature) for feature in self.features]

    @property
    def names(self) -> list[str]:
        """Names of the features."""
        return [feature.name for feature in self.features]

    def conform(self, X: pd.DataFrame, unseen_missing: bool = False) -> pd.DataFrame:
        """The features of new rows, with the types and levels that the model was fitted with.

        Parameters
        ----------
        X : DataFrame
            The rows; columns may be in any order, and there may be others.
        unseen_missing : bool
            Whether a level that the model hasn't seen counts as missing. A warning says which.

        Raises
        ------
        SchemaError
            If a feature is absent, of another type, or has a level that the model hasn't seen and
            that doesn't count as missing.
        """
        found, unseen = self.match(X, unseen_missing)
        for name, levels in unseen.items():
            warnings.warn(levels.told(name, len(X)), stacklevel=2)
        return found

    def match(
        self, X: pd.DataFrame, unseen_missing: bool = False
    ) -> tuple[pd.DataFrame, dict[str, Unseen]]:
        """What `conform` returns, and the levels that count as missing, by feature; no warning."""
        if not isinstance(X, pd.DataFrame):
            raise SchemaError(
                "Expected a pandas DataFrame, as the model was fitted on; found "
                f"{type(X).__module__}.{type(X).__qualname__}. Convert it, as with .to_pandas()."
            )
        self.check_names(X.columns)
        unseen: dict[str, Unseen] = {}
        kept = unseen if unseen_missing else None
        return pd.DataFrame({f.name: _conformed(X[f.name], f, kept) for f in self.features}), unseen

    def check_names(self, names: Collection[str]) -> None:
        """Raise a SchemaError if features aren't among the names of columns."""
        absent = [name for name in self.names if name not in names]
        if absent:
            raise SchemaError(
                f"Expected the features {self.names}; not found: {absent}. Add or rename columns."
            )


def is_date(kind: str) -> bool:
    """Whether a kind of values, in the words of pandas' `infer_dtype`, is dates or times."""
    return kind in ("date", "datetime", "datetime64")


def as_days(column: pd.Series) -> pd.Series:
    """Dates and times as days since 1970-01-01; those with a time zone in UTC."""
    # Nanoseconds would end in the year 2262.
    times = pd.to_datetime(column, utc=True).dt.as_unit("us")
    return (times - pd.Timestamp(0, tz="UTC").as_unit("us")) / pd.Timedelta(days=1)


def _feature(column: pd.Series) -> Feature:
    if isinstance(column.dtype, pd.CategoricalDtype):
        levels = tuple(column.cat.categories.tolist())
        return Feature(str(column.name), "category", levels, bool(column.cat.ordered))
    return Feature(str(column.name), str(column.dtype))


def _conformed(column: pd.Series, feature: Feature, unseen: dict[str, Unseen] | None) -> pd.Series:
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    kind = pd.api.types.infer_dtype(column, skipna=True)
    numeric = kind in ("integer", "floating", "boolean")
    takes, what = numeric, "numbers"
    if feature.levels is not None:
        takes, what = numeric or kind == "string", "texts"
    elif feature.dtype == DATE:
        takes, what = is_date(kind), "dates"
    if column.notna().any() and not takes:
        raise SchemaError(
            f"Expected {what} in feature {feature.name!r}, as the model was fitted on; found "
            f"{kind}. Convert the column."
        )
    if feature.dtype == DATE:
        return as_days(column)
    if feature.levels is None:
        return _as_numbers(column, feature)
    return _as_levels(column, feature, unseen)


def _as_numbers(column: pd.Series, feature: Feature) -> pd.Series:
    if str(column.dtype) != feature.dtype:
        # Any number is a float; a narrower type would wrap around.
        values = column.to_numpy(dtype=float, na_value=np.nan)
        column = pd.Series(values, column.index, name=column.name)
    if column.dtype.kind == "f" and np.isinf(column).any():
        raise SchemaError(f"Expected finite numbers in feature {feature.name!r}; found infinite.")
    return column


def _as_levels(column: pd.Series, feature: Feature, unseen: dict[str, Unseen] | None) -> pd.Series:
    """A category, whose unseen levels are missing and noted in `unseen`, or refused without it."""
    known = pd.CategoricalDtype(list(feature.levels or ()), feature.ordered)
    codes = known.categories.get_indexer(column)
    unknown = column[(codes == -1) & column.notna()]
    levels = unknown.unique().tolist()
    if levels and unseen is not None:
        unseen[feature.name] = Unseen(len(unknown), tuple(levels))
    elif levels:
        raise SchemaError(
            f"Expected levels of {feature.name!r} among {known.categories[:20].tolist()}; found "
            f"{levels[:10]}, which the model has not seen. Map them to known levels, leave those "
            "rows out, or fit again with them."
        )
    values = pd.Categorical.from_codes(codes, dtype=known)
    return pd.Series(values, column.index, name=column.name)
