"""What later runs of a name compare their rows with: types, levels, arms and distributions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field, ValidationError

from flows.errors import InputError
from flows.inputs.study import Study
from metalearners._typing import Array
from metalearners.data.estimate_columns import arm_name
from metalearners.data.schema import DATE, Feature
from metalearners.evaluation import Reference
from metalearners.files.regular_files import read_regular

FILE = "profile.json"
_MOST_BYTES = 1 << 28
_MOST_ROWS = 20_000  # of which distributions are kept: more would take as long as a fit
_MOST_LEVELS = 1_000


class Column(BaseModel, frozen=True):
    """A feature: what kind of values it has, and the levels of texts unless they are many."""

    kind: str
    levels: list[Any] | None = None


class Profile(BaseModel, frozen=True):
    """The rows of a run, as later runs compare theirs with them.

    Parameters
    ----------
    rows : int
        Number of rows.
    columns : dict
        The features.
    arms : dict
        Share of the rows by arm.
    distributions : dict
        Of the features, as `Reference.to_json` gives them.
    treatment : dict
        The distribution of the arms, in the same form.
    effects : dict
        Those of the served models' estimates of held-out rows, by their column's name; empty until
        there are some.
    """

    rows: Annotated[int, Field(ge=1)]
    columns: dict[str, Column]
    arms: dict[str, float]
    distributions: dict[str, dict[str, Any]]
    treatment: dict[str, dict[str, Any]] = {}
    effects: dict[str, dict[str, Any]] = {}

    @classmethod
    def of(cls, study: Study) -> "Profile":
        """The profile of a run's rows."""
        d = study.dataset
        shares = np.bincount(d.w, minlength=len(study.arms)) / len(d)
        return cls(
            rows=len(d),
            columns={feature.name: _column(feature) for feature in study.schema.features},
            arms=dict(zip(map(arm_name, study.arms), shares.tolist(), strict=True)),
            distributions=Reference.of(*sample(study)).to_json(),
            treatment=Reference.of(treatment(study), groups=d.groups).to_json(),
        )

    def with_effects(self, study: Study, estimates: pd.DataFrame) -> "Profile":
        """The profile with effects: `estimates` has a row for each of the source."""
        d = study.dataset
        if d.held_out is None:
            return self
        drawn = draw(np.flatnonzero(d.held_out), _MOST_ROWS)
        effects = estimates.filter(regex="^cate[.]")[study.used].iloc[drawn]
        found = Reference.of(in_single(effects), *beside(study, drawn))
        return self.model_copy(update={"effects": found.to_json()})

    @property
    def missing(self) -> dict[str, float]:
        """Share of missing values by feature."""
        return {name: own["shares"][0] for name, own in self.distributions.items()}

    @property
    def reference(self) -> Reference:
        """The distributions."""
        return Reference.from_json(self.distributions)


def read_profile(run: Path) -> Profile | None:
    """The profile in a run's folder; None where it has none.

    Raises InputError if the file is another.
    """
    try:
        return Profile.model_validate_json(read_regular(run / FILE, _MOST_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise InputError(
            f"Expected the profile of a run in {run / FILE}; found another file: {error}. Delete "
            "it: then nothing is compared with that run."
        ) from None


def sample(study: Study) -> tuple[pd.DataFrame, Array | None, Array | None]:
    """Rows for distributions, drawn where there are many: features, weights, groups."""
    d = study.dataset
    if len(d) <= _MOST_ROWS:
        return d.X, d.weight, d.groups
    drawn = draw(np.arange(len(d)), _MOST_ROWS)
    return d.X.iloc[drawn], *beside(study, drawn)


def draw(rows: Array, most: int) -> Array:
    """The numbers of some rows, drawn where they are more than asked for; in order."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, most, replace=False))


def beside(study: Study, rows: Array) -> tuple[Array | None, Array | None]:
    """Weights and groups of some rows."""
    d = study.dataset
    return tuple(None if own is None else own[rows] for own in (d.weight, d.groups))  # type: ignore[return-value]


def treatment(study: Study) -> pd.DataFrame:
    """(n, 1) the rows' arms."""
    names = np.array(list(map(arm_name, study.arms)), dtype=object)
    return pd.DataFrame({"arm": names[study.dataset.w]})


def in_single(estimates: pd.DataFrame) -> pd.DataFrame:
    """Estimates that differ by rounding alone are one value, as many rows may share one."""
    return estimates.astype(np.float32)


def _column(feature: Feature) -> Column:
    if feature.dtype == DATE:
        return Column(kind="date")
    if feature.levels is None:
        return Column(kind="boolean" if feature.dtype.startswith("bool") else "number")
    plain = list(_plain(feature))
    return Column(kind="text", levels=plain if len(plain) <= _MOST_LEVELS else None)


def _plain(feature: Feature) -> Iterator[Any]:
    for level in feature.levels or ():
        yield level.item() if isinstance(level, np.generic) else level
