"""Realised effects: what an earlier model predicts for new rows beside their average effects."""

from dataclasses import dataclass

import numpy as np
from scipy import special

from metalearners._typing import Array, Floats
from metalearners.data.containers import check_same_rows
from metalearners.data.conversion import as_array
from metalearners.evaluation.means import Estimate, Means, mean_with_error, same_rows
from metalearners.showing.results import Shown


@dataclass(frozen=True)
class Realised(Shown):
    """A model's predictions of an arm's effect for new rows, beside what happened.

    Parameters
    ----------
    predicted : Estimate
        The mean of the predictions.
    actual : Estimate
        The average effect.
    difference : Estimate
        The actual one less the predicted one.
    p_value : float
        Two-sided, of the hypothesis that the model's predictions for such rows are right on
        average.
    """

    predicted: Estimate
    actual: Estimate
    difference: Estimate
    p_value: float


def realised(
    scores: Floats,
    predicted: Floats,
    w: Array,
    weight: Floats | None = None,
    groups: Array | None = None,
) -> Realised:
    r"""How far an arm's average effect is from what a model predicts for the same rows.

    The model may predict a random part S of the n rows alone. The difference is the mean of

    .. math:: \psi_i = \Gamma_i - \bar\tau - \frac{1[i \in S]}{p} (\hat\tau(X_i) - \bar\tau),
        \quad p = \sum_{i \in S} w_i \Big/ \sum_i w_i,

    where the mean of the predictions in S is the one with a bar. Its error is that of a mean of
    scores, with weights, clusters and arms (`mean_with_error`). So without clusters and weights it
    is that of

    .. math:: \frac{Var(\Gamma) - 2 Cov(\Gamma, \hat\tau)}{n} + \frac{Var(\hat\tau)}{|S|}.

    The model counts as it is. It must not have been fitted on these rows.

    Parameters
    ----------
    scores : (n,) array
        Doubly robust scores of the arm less those of the control (`aipw_scores`).
    predicted : (n,) array
        Predictions; missing in the rows that the model wasn't asked for.
    w : (n,) array of int
        Arm codes.
    weight, groups
        As for `mean_with_error`.

    Raises
    ------
    ValueError
        If the model was asked for fewer than two rows or clusters; else as for `mean_with_error`.

    References
    ----------
    Särndal, Swensson and Wretman (1992), Model Assisted Survey Sampling, chapter 9: means of which
    one is over a random part of the rows (two phases).

    Examples
    --------
    >>> predicted = np.array([1.0, 1.0, np.nan, 1.0])
    >>> found = realised(np.array([1.0, 3.0, 2.0, 2.0]), predicted, np.zeros(4, int))
    >>> found.difference.estimate, round(found.p_value, 3)
    (1.0, 0.092)
    """
    check_same_rows(scores=scores, predicted=predicted, w=w)
    predicted, w = as_array(predicted).astype(float), as_array(w)
    asked = np.isfinite(predicted)
    (scores, shown), weight, groups = same_rows(
        weight, groups, scores=scores, predicted=np.where(asked, predicted, 0)
    )
    if not asked.any():
        raise ValueError("Expected rows that the model was asked for; found none.")
    own = None if groups is None else groups[asked]
    of_model = mean_with_error(shown[asked], weight[asked], own)
    part = weight[asked].sum() / weight.sum()
    gaps = scores - of_model.estimate - asked * (shown - of_model.estimate) / part
    made = Means.of(np.column_stack([scores, gaps]), weight, groups, w)
    actual, difference = made.estimates(0.95)
    return Realised(of_model, actual, difference, _p_value(difference))


def _p_value(found: Estimate) -> float:
    """Two-sided, of the hypothesis that a mean is 0."""
    if found.std_error == 0:
        return float(found.estimate == 0)
    t = abs(found.estimate) / found.std_error
    return float(2 * special.stdtr(found.degrees, -t))
