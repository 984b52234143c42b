"""Default base models: LightGBM, regularised by the rows and arms there are."""

from typing import Any, Literal, TypeAlias

import numpy as np

Role: TypeAlias = Literal["outcome", "propensity", "treatment"]


def lightgbm_params(role: Role, n_rows: int, n_variants: int) -> dict[str, Any]:
    """Parameters of a default LightGBM model of a role.

    LightGBM as it comes (31 leaves of 20 rows) takes noise for signal where rows are few: it sees
    propensities from .03 to .99 in an experiment where each is one half. Here trees grow with the
    cube root of the rows an arm, and leaves hold a fixed part of these. Propensities and effects
    are the weaker signals, so their models are stiffer than those of outcomes.

    Parameters
    ----------
    role : what the model is of
    n_rows : rows to be fitted on, of all arms
    n_variants : number of arms

    Examples
    --------
    >>> lightgbm_params("outcome", 2000, 2)["num_leaves"]
    10
    """
    rows = n_rows / n_variants
    size = np.cbrt(rows)
    shared = {"learning_rate": 0.05 if rows < 10_000 else 0.1}
    if role == "outcome":
        return {
            "n_estimators": 100,
            **shared,
            "num_leaves": _within(size, 4, 31),
            "min_child_samples": _within(rows / 50, 10, 200),
        }
    # Propensities are to follow confounding where there is some: more steps, in smaller leaves.
    steps, part = (100, 20) if role == "propensity" else (50, 10)
    return {
        "n_estimators": steps,
        **shared,
        "num_leaves": _within(size / 2, 3, 31),
        "min_child_samples": _within(rows / part, 20, 500),
        "reg_lambda": 10.0,
    }


def _within(value: float, least: int, most: int) -> int:
    return int(np.clip(np.floor(value + 1e-9), least, most))
