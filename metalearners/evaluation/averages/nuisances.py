"""What average effects are computed from: outcomes, arms and what models predict for them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from metalearners._typing import Array, Floats
from metalearners.data.arguments import check_shape
from metalearners.data.containers import check_same_rows
from metalearners.data.conversion import arm_codes, as_array, as_vector
from metalearners.data.dataset import check_weight
from metalearners.evaluation.means import same_rows


@dataclass(frozen=True, eq=False)
class Nuisances:
    """Rows of two arms or more, checked."""

    y: Floats  # (n,) outcomes
    w: Array  # (n,) codes of arms, each of which has rows
    mu: Floats  # (n, K) outcome expectations
    e: Floats  # (n, K) propensities, above 0
    weight: Floats  # (n,) sampling weights, some above 0 in each arm
    groups: Array | None  # (n,) labels of clusters

    @classmethod
    def of(cls, y: Any, w: Any, mu: Any, e: Any, weight: Any, groups: Any) -> "Nuisances":
        """Rows as users pass them.

        Raises
        ------
        ValueError
            As for `same_rows` and `check_positive`, or if an arm has no rows or weight.
        """
        check_same_rows(y=y, w=w, mu=mu, e=e, weight=weight, groups=groups)
        mu, e = as_array(mu), as_array(e)
        wide = mu.ndim == 2 and mu.shape[1] > 1
        check_shape("mu", wide, "(n, K), a column for the control and each arm", mu.shape)
        check_shape("e", e.shape == mu.shape, f"{mu.shape}, that of mu", e.shape)
        k = mu.shape[1]
        columns = {f"mu {j}": column for j, column in enumerate(mu.T)}
        columns |= {f"e {j}": column for j, column in enumerate(e.T)}
        (outcome, *found), weight, groups = same_rows(weight, groups, y=y, **columns)
        arms = arm_codes(as_vector("w", w, len(outcome)), k)
        check_weight(weight, arms)
        e = np.column_stack(found[k:])
        check_positive(e)
        return cls(outcome, arms, np.column_stack(found[:k]), e, weight, groups)

    @property
    def n_variants(self) -> int:
        """Number of arms, with the control."""
        return self.mu.shape[1]


def check_positive(e: Floats) -> None:
    """Refuse propensities, of which none may be 0, that aren't above 0 and at most 1."""
    outside = int(((e <= 0) | (e > 1)).any(axis=1).sum())
    if outside:
        raise ValueError(
            f"Expected propensities above 0 and at most 1; found {outside} rows with others. Clip "
            "them, or leave those rows out."
        )
