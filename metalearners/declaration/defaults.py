"""Default base models: LightGBM, regularised by the numbers of rows and arms."""

from typing import Any, Literal, TypeAlias

import numpy as np

Role: TypeAlias = Literal["outcome", "propensity", "treatment"]


def lightgbm_params(role: Role, n_rows: int, n_variants: int) -> dict[str, Any]:
    """Parameters of a default LightGBM model of a role.

    LightGBM's own defaults (31 leaves of 20 rows) overfit where rows are few: they estimate
    propensities from .03 to .99 in an experiment where each is one half. Here the number of leaves
    grows with the cube root of the rows of an arm, and a leaf holds a fixed share of these rows.
    Propensities and effects are weaker signals, so their models are regularised more than those of
    outcomes. `n_rows` are those to fit on, of all `n_variants` arms.

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
    # Propensities should follow confounding where there is some: more steps, in smaller leaves.
    steps, part = (100, 20) if role == "propensity" else (50, 10)
    return {
        "n_estimators": steps,
        **shared,
        "num_leaves": _within(size / 2, 3, 31),
        "min_child_samples": _within(rows / part, 20, 500),
        "reg_lambda": 10,  # whole, as a browser would write it: keys of fits tell 10 from 10.0
    }


def _within(value: float, least: int, most: int) -> int:
    return int(np.clip(np.floor(value + 1e-9), least, most))
