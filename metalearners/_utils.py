"""Loaders of two public data sets, and a dimension, which published examples import from here."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from metalearners._typing import Matrix
from metalearners.data.arguments import generator


def get_linear_dimension(X: Matrix) -> int:
    """Number of columns of a feature matrix once its categories are one-hot encoded."""
    if not isinstance(X, pd.DataFrame):
        return int(X.shape[1])
    columns = (X.iloc[:, j] for j in range(X.shape[1]))
    return sum(len(c.cat.categories) if c.dtype == "category" else 1 for c in columns)


def load_mindset_data(path: Path) -> tuple[pd.DataFrame, str, str, list[str], list[str]]:
    """The simulated National Study of Learning Mindsets, with a row for each pupil.

    Returns
    -------
    Rows, and the names of the outcome, the treatment, all features and the categorical features,
    whose columns have pandas' category type

    Raises
    ------
    ValueError
        If the file lacks a column that the study has.
    """
    outcome, treatment = "achievement_score", "intervention"
    categorical = ["ethnicity", "gender", "frst_in_family", "school_urbanicity", "schoolid"]
    rows = _read(path, [outcome, treatment, *categorical])
    features = [name for name in rows.columns if name not in (outcome, treatment)]
    rows = rows.astype(dict.fromkeys(categorical, "category"))
    return rows, outcome, treatment, features, categorical


def load_twins_data(
    path: Path, rng: np.random.Generator
) -> tuple[pd.DataFrame, str, str, list[str], list[str], str]:
    """Twin births in the USA: one twin of each pair, the second with probability 0.3.

    The file holds pairs in succession, one twin with treatment 0 and one with 1, so that both
    outcomes of a pair are known: columns mu_0, mu_1 and true_cate, their difference.

    Returns
    -------
    Rows, and the names of the outcome, the treatment, all features, the categorical features,
    whose columns have pandas' category type, and the effect

    Raises
    ------
    ValueError
        If the file lacks a column, or its rows don't come in such pairs.
    """
    outcome, treatment, effect = "outcome", "treatment", "true_cate"
    numerical = ["dlivord_min", "dtotord_min"]
    # Twins differ in the first two, an identity is no feature, regions follow from the states.
    left_out = ["bord", "wt", "infant_id", "brstate_reg", "stoccfipb_reg", "mplbir_reg"]
    rows = _read(path, [outcome, treatment, *numerical, *left_out]).drop(columns=left_out)
    features = [name for name in rows.columns if name not in (outcome, treatment)]
    categorical = [name for name in features if name not in numerical]
    rows = rows.astype(dict.fromkeys(categorical, "category"))
    _check_pairs(rows[treatment].to_numpy())
    first = np.arange(0, len(rows), 2)
    chosen = rows.iloc[first + generator(rng).binomial(1, 0.3, size=len(first))]
    known = {f"mu_{k}": rows.loc[rows[treatment] == k, outcome].to_numpy() for k in (0, 1)}
    chosen = chosen.reset_index(drop=True).assign(**known)
    chosen[effect] = chosen["mu_1"] - chosen["mu_0"]
    return chosen, outcome, treatment, features, categorical, effect


def _read(path: Path, needed: Sequence[str]) -> pd.DataFrame:
    rows = pd.read_csv(path)
    absent = [name for name in needed if name not in rows.columns]
    if absent:
        raise ValueError(
            f"Expected columns {', '.join(needed)} in {path}; found none called "
            f"{', '.join(absent)}. Pass the data set's own file."
        )
    return rows


def _check_pairs(treatment: np.ndarray) -> None:
    paired = len(treatment) % 2 == 0 and np.isin(treatment, (0, 1)).all()
    if not paired or (treatment[::2] + treatment[1::2] != 1).any():
        raise ValueError(
            f"Expected rows two by two, one twin with treatment 0 and one with 1; found "
            f"{len(treatment)} rows in another order. Sort the file by pair."
        )
