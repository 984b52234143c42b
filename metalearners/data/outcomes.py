"""Shapes of outcomes that make estimates scatter: many zeros, and tails that few rows make."""

from dataclasses import dataclass

import numpy as np

from metalearners._typing import Array, Floats

MOST_UNSURE = 0.25
"""Relative error of a standard error above which it is called unsure."""

_MOST_ZEROS = 0.5  # share of the rows
_VALUES = 2  # other than 0, beside which zeros aren't the rest of a few classes


@dataclass(frozen=True, eq=False)
class OutcomeShape:
    """What of an outcome's distribution makes estimates scatter.

    Parameters
    ----------
    zeros : float
        Share of the rows whose outcome is 0.
    values : int
        Number of other values.
    unsure : (K,) array
        Relative standard error of the standard error of each arm's mean (see `unsureness`).
    """

    zeros: float
    values: int
    unsure: Floats

    @classmethod
    def of(
        cls, y: Array, w: Array, n_variants: int, weight: Floats | None = None
    ) -> "OutcomeShape":
        """The shape of (n,) outcomes of rows with these arms and sampling weights."""
        weight = np.ones(len(y)) if weight is None else weight
        arms = [w == k for k in range(n_variants)]
        unsure = np.array([unsureness(y[own], weight[own]) for own in arms])
        return cls(float((y == 0).mean()), len(np.unique(y[y != 0])), unsure)

    @property
    def has_many_zeros(self) -> bool:
        """Whether over half of the rows are 0, beside more than two other values."""
        return self.zeros > _MOST_ZEROS and self.values > _VALUES

    @property
    def heaviest_arm(self) -> int | None:
        """The arm whose standard error is the least sure; None if all are sure to a quarter."""
        arm = int(self.unsure.argmax())
        return arm if self.unsure[arm] > MOST_UNSURE else None


def unsureness(y: Array, weight: Floats) -> float:
    r"""How unsure the standard error of a mean is: its own relative standard error.

    .. math:: \frac{1}{2} \sqrt{(\kappa - 1) / n}

    Here :math:`\kappa` is the kurtosis of :math:`w_i (y_i - \bar y)` over the n rows with weight:
    3 of a normal outcome, and up to n where one row makes the tail. It is 0 for equal outcomes.
    """
    y, weight = y[weight > 0], weight[weight > 0]
    if not len(y):
        return 0.0
    parts = weight * (y - np.average(y, weights=weight))
    largest = np.abs(parts).max()
    if largest <= 1e-12 * np.abs(weight * y).max():
        return 0.0
    squares = (parts / largest) ** 2
    return float(np.sqrt(squares.var() / len(y)) / squares.mean() / 2)
