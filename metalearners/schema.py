"""What a model's features look like: names, types, category levels."""

from dataclasses import asdict, dataclass
from typing import Any, Self

import pandas as pd


class SchemaError(ValueError):
    """Features that a model can't be applied to."""


@dataclass(frozen=True)
class Feature:
    """One feature: its name, its type and, for a category, its levels in order."""

    name: str
    dtype: str
    levels: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class Schema:
    """The features of a fitted model, in order."""

    features: tuple[Feature, ...]

    @classmethod
    def of(cls, X: pd.DataFrame) -> Self:
        """Schema of a data frame."""
        return cls(tuple(_feature(X[name]) for name in X.columns))

    @classmethod
    def from_json(cls, items: list[dict[str, Any]]) -> Self:
        """Schema from what `to_json` made."""
        levels = (item["levels"] and tuple(item["levels"]) for item in items)
        return cls(
            tuple(Feature(i["name"], i["dtype"], v) for i, v in zip(items, levels, strict=True))
        )

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values."""
        return [asdict(feature) for feature in self.features]

    @property
    def names(self) -> list[str]:
        """Names of the features."""
        return [feature.name for feature in self.features]

    def conform(self, X: pd.DataFrame) -> pd.DataFrame:
        """The features of new rows, with the types and levels that the model was fitted with.

        Raises
        ------
        SchemaError
            If a feature is absent, of another sort, or has a level the model hasn't seen.
        """
        absent = [name for name in self.names if name not in X.columns]
        if absent:
            raise SchemaError(
                f"Expected the features {self.names}; not found: {absent}. The data have "
                f"{list(X.columns)}: add or rename columns."
            )
        return pd.DataFrame({f.name: _conformed(X[f.name], f) for f in self.features})


def _feature(column: pd.Series) -> Feature:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return Feature(str(column.name), "category", tuple(column.cat.categories.tolist()))
    return Feature(str(column.name), str(column.dtype))


def _conformed(column: pd.Series, feature: Feature) -> pd.Series:
    if feature.levels is None:
        if not pd.api.types.is_numeric_dtype(column.dtype):
            raise SchemaError(
                f"Expected numbers in feature {feature.name!r}, as the model was fitted on; "
                f"found {column.dtype}. Convert the column."
            )
        if feature.dtype.startswith(("int", "uint", "bool")) and column.dtype.kind == "f":
            return column  # missing values, or decimals where there were none: kept as they are
        return column.astype(feature.dtype)
    known = pd.CategoricalDtype(list(feature.levels))
    values = column.astype(known)
    unseen = column[values.isna() & column.notna()].unique().tolist()
    if unseen:
        raise SchemaError(
            f"Expected levels of {feature.name!r} among {list(feature.levels)[:20]}; found "
            f"{unseen[:10]}, which the model has not seen. Map them to known levels, leave those "
            "rows out, or fit again with them."
        )
    return values
