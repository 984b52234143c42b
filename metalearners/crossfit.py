"""A regression's fits put together: out-of-fold predictions, and a model for new rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from metalearners._typing import Array
from metalearners.unit import Fit


class CrossFit:
    """The fits of one regression.

    Parameters
    ----------
    fits : one a fold, then the fit on all training rows where it was asked for
    tests : each fold's test rows
    held_out : rows of no fold
    """

    def __init__(self, fits: Sequence[Fit], tests: Sequence[Array], held_out: Array) -> None:
        self.folds = list(fits[: len(tests)])
        self.overall = fits[len(tests)] if len(fits) > len(tests) else None
        self.tests = tests
        self.held_out = held_out

    @property
    def column(self) -> Array:
        """Predictions for the rows of the data set, in its order.

        Training rows: by the model of the fold they are in, which hasn't seen them. Held-out
        rows: by the model of all training rows; NaN where there is none.
        """
        parts = list(zip(self.tests, self.folds, strict=True))
        if self.overall is not None and self.overall.predictions is not None:
            parts.append((self.held_out, self.overall))
        n_rows = sum(len(test) for test in self.tests) + len(self.held_out)
        column = np.full((n_rows, *np.asarray(self.folds[0].predictions).shape[1:]), np.nan)
        for rows, fit in parts:
            column[rows] = fit.predictions
        return column

    @property
    def model(self) -> Any:
        """The model of all training rows, for new rows.

        Raises
        ------
        ValueError
            If the regression didn't ask for it.
        """
        if self.overall is None or self.overall.model is None:
            raise ValueError("This regression was fitted by folds only: it keeps no served model.")
        return self.overall.model
