"""How good estimates are, judged on rows that no fit has seen; arrays in, numbers out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from metalearners._typing import Array, Floats, Matrix
from metalearners.aipw import Estimate, mean_with_error, n_clusters, same_rows
from metalearners.arguments import check_shape, count, numbers
from metalearners.containers import as_frame, as_pandas, check_matrix, check_same_rows, take
from metalearners.dataset import check_weight
from metalearners.inputs import arm_codes, as_vector


@dataclass(frozen=True, eq=False)
class Gain:
    r"""A gain curve and its summary.

    Parameters
    ----------
    share : (m,) share q of the rows treated, from 0 to 1, highest estimates first
    gain : (m,) effect per row of the whole population of treating that share,
        :math:`G(q) = E[1\{\text{among the top } q\} (\Gamma_k - \Gamma_0)]`
    gain_error : (m,) standard errors of `gain`; zeros without draws
    qini : the area between the curve and the straight line to its end
    qini_error : its standard error; None without draws
    """

    share: Floats
    gain: Floats
    gain_error: Floats
    qini: float
    qini_error: float | None


@dataclass(frozen=True)
class Group:
    """Rows of similar estimates: what was estimated for them, and what happened.

    Parameters
    ----------
    predicted : mean CATE estimate
    actual : mean doubly robust score, with its error
    rows : number of rows
    """

    predicted: float
    actual: Estimate
    rows: int


def gain_curve(
    priority: Floats,
    scores: Floats,
    weight: Floats | None = None,
    groups: Array | None = None,
    draws: int = 200,
    seed: int = 0,
) -> Gain:
    """Gain curve of treating rows by priority, highest first; ties are averaged.

    Parameters
    ----------
    priority : (n,) what rows are ranked by, such as CATE estimates
    scores : (n,) doubly robust scores of the effect, of the same rows
    weight : (n,) sampling weights
    groups : (n,) cluster labels, drawn as a whole
    draws : half-samples for the standard errors; 0 for none

    Raises
    ------
    ValueError
        If columns aren't of the same rows, or values not finite; or weights negative or all zero.

    References
    ----------
    Yadlowsky, Fleming, Shah, Brunskill and Wager (2025), "Evaluating treatment prioritization
    rules via rank-weighted average treatment effects", JASA 120(549): the QINI weighting of
    RATE, and the half-sample bootstrap.
    """
    count("draws", draws, least=0)
    count("seed", seed, least=0)
    (priority, scores), w, groups = same_rows(weight, groups, priority=priority, scores=scores)
    ranking = _Ranking(priority)
    grid = np.linspace(0, 1, 101)
    share, gain = ranking.curve(scores, w)
    curve = np.interp(grid, share, gain)
    if not draws:
        return Gain(grid, curve, np.zeros(len(grid)), _qini(share, gain), None)
    drawn = np.empty((draws, len(grid) + 1))  # a curve on the grid and its area, a draw
    for row, chosen in zip(drawn, _half_samples(groups, len(scores), draws, seed), strict=True):
        one = ranking.curve(scores, w * chosen)
        row[:-1], row[-1] = np.interp(grid, *one), _qini(*one)
    errors = drawn.std(axis=0)
    return Gain(grid, curve, errors[:-1], _qini(share, gain), float(errors[-1]))


def calibration(
    predicted: Floats,
    scores: Floats,
    weight: Floats | None = None,
    groups: Array | None = None,
    n_groups: int = 5,
) -> list[Group]:
    """Estimates against doubly robust scores, in groups of equal size by rank of the estimate.

    Fewer groups come back where the estimates have fewer distinct values.

    Raises
    ------
    ValueError
        As for `gain_curve`.

    References
    ----------
    Chernozhukov, Demirer, Duflo and Fernández-Val (2025), Econometrica 93(4): sorted group
    average treatment effects (GATES).
    """
    count("n_groups", n_groups)
    (predicted, scores), w, groups = same_rows(weight, groups, predicted=predicted, scores=scores)
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, n_groups + 1)[1:-1]))
    member = np.searchsorted(edges, predicted, side="left")
    result = []
    for number in np.unique(member):
        rows = member == number
        own = w[rows]
        clusters = None if groups is None else groups[rows]
        if n_clusters(own, clusters) < 2:  # there is no error to estimate
            continue
        actual = mean_with_error(scores[rows], own, clusters)
        mean = float(np.average(predicted[rows], weights=own))
        result.append(Group(mean, actual, int(rows.sum())))
    return result


def effect_drivers(
    estimate: Callable[[Matrix], Floats], X: Matrix, seed: int = 0, most_rows: int = 500
) -> Floats:
    r"""How much of the estimates' variance goes through each feature.

    .. math:: S_j = \frac{E[(\hat\tau(X) - \hat\tau(X^{(j)}))^2]}{2 \operatorname{Var} \hat\tau(X)}

    where X^(j) has feature j shuffled over the rows. It describes the fitted estimates, not the
    causal role of a feature; features that go together share their part unevenly.

    Parameters
    ----------
    estimate : from features to (m, K-1) estimates
    X : (n, p) features; `most_rows` of them are drawn

    Returns
    -------
    (p, K-1) shares, 0 where the estimates don't vary

    Raises
    ------
    ValueError
        If the estimates aren't finite, or no (m, K-1) array.

    References
    ----------
    Jansen (1999), Computer Physics Communications 117, pp. 35-43: the total effect index.
    """
    check_matrix(X)
    count("most_rows", most_rows)
    rng = np.random.default_rng(count("seed", seed, least=0))
    rows = np.sort(rng.permutation(X.shape[0])[:most_rows])
    sample = take(X, rows)
    base = numbers("the estimates", estimate(sample), "Pass a function of features.")
    fits = base.ndim == 2 and len(base) == len(rows)
    check_shape("the estimates", fits, f"({len(rows)}, K-1)", base.shape)
    spread = 2 * base.var(axis=0)
    shares = np.zeros((X.shape[1], base.shape[1]))
    for j in range(X.shape[1]):
        moved = ((estimate(_shuffled(sample, j, rng)) - base) ** 2).mean(axis=0)
        np.divide(moved, spread, out=shares[j], where=spread > 0)
    return shares


def standardized_differences(
    X: Matrix, w: Array, n_variants: int, weight: Floats | None = None
) -> Floats:
    """Differences of feature means between each arm and the control, in pooled deviations.

    Category columns count by their codes' shares: the largest difference over the levels.

    Returns
    -------
    (p, K-1); values above about 0.1 are usually called unbalanced

    Raises
    ------
    ValueError
        If features are neither numbers nor categories, `w` isn't of arms, or weights are negative
        or all zero in an arm.
    """
    check_matrix(X)
    check_same_rows(X=X, w=w, weight=weight)
    w = arm_codes(as_vector("w", w, X.shape[0]), count("n_variants", n_variants, least=2))
    _, weight, _ = same_rows(weight, None, w=w)
    check_weight(weight, w)
    X = X if as_frame(X) is None else as_pandas(X)
    columns = [_as_numbers(X, j) for j in range(X.shape[1])]
    result = np.zeros((len(columns), n_variants - 1))
    for j, values in enumerate(columns):
        for k in range(1, n_variants):
            (mean, variance), (mean_0, variance_0) = (
                _moments(values[w == arm], weight[w == arm]) for arm in (k, 0)
            )
            pooled = np.sqrt((variance + variance_0) / 2)
            gap = mean - mean_0
            ratio = np.divide(gap, pooled, out=np.zeros_like(gap), where=pooled > 0)
            result[j, k - 1] = ratio[np.argmax(np.abs(ratio))]
    return result


def _moments(values: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Weighted means and variances of columns, over their known values."""
    known = weight[:, None] * ~np.isnan(values)
    filled = np.nan_to_num(values)
    total = np.where(known.sum(axis=0) > 0, known.sum(axis=0), np.nan)
    mean = (known * filled).sum(axis=0) / total
    return mean, (known * (filled - mean) ** 2).sum(axis=0) / total


class _Ranking:
    """Rows sorted by priority, with the ends of ties."""

    def __init__(self, priority: Floats) -> None:
        self.order = np.argsort(-priority, kind="stable")
        ranked = priority[self.order]
        self.ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)

    def curve(self, scores: Floats, weight: Floats) -> tuple[Floats, Floats]:
        """Share treated and gain at the end of each tie; within ties the curve is straight."""
        w = weight[self.order]
        mass = np.cumsum(w)  # its last value, unlike w.sum(), makes the last share exactly 1
        share = mass[self.ends] / mass[-1]
        gain = np.cumsum(w * scores[self.order])[self.ends] / mass[-1]
        return np.append(0.0, share), np.append(0.0, gain)


def _qini(share: Floats, gain: Floats) -> float:
    # grf's mean of q * TOC(q): the trapezoid is exact, as the integrand is 0 at both ends.
    return float(np.trapezoid(gain, share) - gain[-1] / 2)


def _half_samples(groups: Array | None, n: int, draws: int, seed: int) -> Iterator[Array]:
    """Indicators of a random half of the clusters, drawn without replacement."""
    members = (
        np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    )
    n_clusters = int(members.max()) + 1
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        half = rng.permutation(n_clusters) < n_clusters // 2
        yield half[members]


def _shuffled(X: Matrix, j: int, rng: np.random.Generator) -> Matrix:
    order = rng.permutation(X.shape[0])
    if hasattr(X, "iloc"):
        moved = X.copy()
        moved.isetitem(j, X.iloc[order, j].array)
        return moved
    frame = as_frame(X)
    if frame is not None:
        return frame.with_columns(frame[:, j][order]).to_native()
    moved = X.tolil() if sparse.issparse(X) else X.copy(order="K")
    moved[:, [j]] = X[order][:, [j]]
    return moved.tocsr() if sparse.issparse(X) else moved


def _as_numbers(X: Matrix, j: int) -> Floats:
    if sparse.issparse(X):
        return np.asarray(X[:, [j]].toarray(), dtype=float)
    column = X.iloc[:, j] if hasattr(X, "iloc") else X[:, j]
    if hasattr(column, "cat"):
        codes = column.cat.codes.to_numpy()
        return (codes[:, None] == np.arange(len(column.cat.categories))).astype(float)
    try:
        values = np.asarray(column, dtype=float)[:, None]
    except (TypeError, ValueError):
        raise ValueError(
            f"Expected numbers or categories in each column of X; found {column.dtype} in column "
            f"{j}. Convert it, as with .astype('category')."
        ) from None
    if np.isinf(values).any():
        raise ValueError(
            f"Expected finite or missing values in X; found infinite ones in column {j}. Remove "
            "those rows."
        )
    return values
