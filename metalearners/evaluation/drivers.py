"""Drivers: the features that the estimates vary with. Shuffling a feature shows its share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from metalearners._typing import Array, Floats, Matrix
from metalearners.base_models.rows import as_frame, as_pandas, take
from metalearners.data.arguments import check_shape, count, numbers
from metalearners.data.containers import check_matrix
from metalearners.evaluation.ties import tied

MOST_ALONE = 128
"""With at most so many features, each is shuffled alone."""

_FIRST = 48  # features shuffled alone where there are more
_BLOCKS = 16  # blocks that the others are shuffled in at first
_TESTS = 128  # blocks that are shuffled, at most
_NEGLIGIBLE = 0.001  # a block with a smaller share of the variance isn't halved
_COPIES = 16  # shuffled samples in one call, as few large calls are faster
_CELLS = 2**24  # of all copies in one call, to bound its memory


def effect_drivers(
    estimate: Callable[[Matrix], Floats],
    X: Matrix,
    seed: int = 0,
    most_rows: int = 500,
    tolerance: float | None = None,
) -> Floats:
    r"""How much of the estimates' variance goes through each feature.

    .. math:: S_j = \frac{E[(\hat\tau(X) - \hat\tau(X^{(j)}))^2]}{2 \operatorname{Var} \hat\tau(X)}

    where X^(j) has feature j shuffled over the rows. It describes the fitted estimates, not the
    causal role of a feature. Correlated features divide their share unevenly.

    Of more than `MOST_ALONE` features, the 48 that correlate most with the estimates are shuffled
    alone, and the others in blocks. Blocks with the largest shares are halved first, until each
    block has one feature or less than .1 % of the variance, or 128 blocks were shuffled. The
    features of a block that was not halved get equal parts of its share.

    Parameters
    ----------
    estimate : callable
        Function of features that returns (m, K-1) estimates.
    X : (n, p) matrix or frame
        Features.
    seed : int
        Draws the rows and the orders.
    most_rows : int
        Number of rows of X that are drawn, at most.
    tolerance : float, optional
        Estimates closer than this are equal; by default the `rounding` of the estimates.

    Returns
    -------
    (p, K-1) array
        Shares, 0 where the estimates don't vary.

    Raises
    ------
    ValueError
        If the estimates aren't finite, or no (m, K-1) array.

    References
    ----------
    Jansen (1999), Computer Physics Communications 117, pp. 35-43: the total effect index.
    Bettonvil and Kleijnen (1997), European Journal of Operational Research 96(1), pp. 180-194:
    sequential bifurcation, the halving of blocks.
    """
    check_matrix(X)
    count("most_rows", most_rows)
    rng = np.random.default_rng(count("seed", seed, least=0))
    rows = np.sort(rng.permutation(X.shape[0])[:most_rows])
    sample = take(X, rows)
    base = numbers("the estimates", estimate(sample), "Pass a function of features.")
    fits = base.ndim == 2 and len(base) == len(rows)
    check_shape("the estimates", fits, f"({len(rows)}, K-1)", base.shape)
    varies = [tied(column, tolerance).max() > 0 for column in base.T]
    test = _Shuffling(estimate, sample, base, np.where(varies, 2 * base.var(axis=0), 0), rng)
    if X.shape[1] <= MOST_ALONE:
        return np.vstack([test([[j]]) for j in range(X.shape[1])])
    return _by_halving(test, _order(sample, base))


@dataclass(frozen=True, eq=False)
class _Shuffling:
    """Shares of variance that go through blocks of features."""

    estimate: Callable[[Matrix], Floats]
    sample: Matrix
    base: Floats  # (n, K-1) estimates of the sample as it is
    spread: Floats  # (K-1,) twice their variance, 0 where they don't vary
    rng: np.random.Generator

    def __call__(self, blocks: Sequence[Sequence[int] | Array]) -> Floats:
        """(number of blocks, K-1) shares, by one prediction.

        Each feature of a block is shuffled apart. With one order for the whole block, correlated
        features could cancel out. Apart, a block has at least half the sum of its features'
        shares, if estimates are additive.
        """
        n = len(self.base)
        rows = {
            int(j): (number, self.rng.permutation(n))
            for number, block in enumerate(blocks)
            for j in block
        }
        moved = _shuffled(self.sample, rows, len(blocks))
        gaps = np.asarray(self.estimate(moved)).reshape(len(blocks), n, -1) - self.base
        shares = np.zeros((len(blocks), self.base.shape[1]))
        np.divide((gaps**2).mean(axis=1), self.spread, out=shares, where=self.spread > 0)
        return shares

    @property
    def at_once(self) -> int:
        """Blocks in one call."""
        n, p = self.sample.shape
        return max(1, min(_COPIES, _CELLS // (n * p)))


def _by_halving(test: _Shuffling, order: Array) -> Floats:
    """(p, K-1) shares; the features of a block get equal parts of the block's share."""
    asked = [order[j : j + 1] for j in range(_FIRST)]
    asked += [block for block in np.array_split(order[_FIRST:], _BLOCKS) if len(block)]
    left, blocks, shares = _TESTS, [], []
    while asked:
        left -= len(asked)
        for begin in range(0, len(asked), test.at_once):
            part = asked[begin : begin + test.at_once]
            blocks += part
            shares += list(test(part))
        largest = sorted(range(len(blocks)), key=lambda i: -shares[i].max())
        divided = [i for i in largest if len(blocks[i]) > 1 and shares[i].max() > _NEGLIGIBLE]
        divided = divided[: min(left // 2, max(1, test.at_once // 2))]
        asked = [half for i in divided for half in np.array_split(blocks[i], 2)]
        kept = [i for i in range(len(blocks)) if i not in divided]
        blocks, shares = [blocks[i] for i in kept], [shares[i] for i in kept]
    result = np.zeros((len(order), test.base.shape[1]))
    for block, share in zip(blocks, shares, strict=True):
        result[block] = share / len(block)
    return result


def _order(X: Matrix, estimates: Floats) -> Array:
    """Features by their squared correlation with the estimates, the largest first.

    Categories have the correlation ratio. The order decides only which features are shuffled
    alone first: those that matter by interactions alone show in their block.
    """
    X = X if as_frame(X) is None else as_pandas(X)
    centred = estimates - estimates.mean(axis=0)
    spread = np.sqrt((centred**2).sum(axis=0))
    if isinstance(X, pd.DataFrame) and _is_one_block(X):
        fit = _correlations(X.to_numpy(float), centred, spread)
    else:
        columns = (_column(X, j) for j in range(X.shape[1]))
        fit = np.array([_correlation(column, centred, spread) for column in columns])
    return np.argsort(-fit, kind="stable")


def _correlations(X: Floats, centred: Floats, spread: Floats) -> Floats:
    """(p,) each feature's largest squared correlation with a column of estimates."""
    known = ~np.isnan(X)
    means = np.nan_to_num(X).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    values = np.where(known, X - means, 0)
    size = np.sqrt((values**2).sum(axis=0))[:, None] * spread
    products = np.abs(values.T @ centred)
    return np.asarray((np.divide(products, size, np.zeros_like(size), where=size > 0) ** 2).max(1))


def _correlation(column: pd.Series, centred: Floats, spread: Floats) -> float:
    """The same for a single feature of any type."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        values = column.to_numpy(float, na_value=np.nan)[:, None]
        return float(_correlations(values, centred, spread)[0])
    codes = pd.factorize(column, use_na_sentinel=False)[0]
    sums = np.array([np.bincount(codes, weights=one) for one in centred.T])
    between = (sums**2 / np.bincount(codes)).sum(axis=1)
    total = spread**2
    return float(np.divide(between, total, out=np.zeros_like(total), where=total > 0).max())


def _column(X: Matrix, j: int) -> pd.Series:
    if isinstance(X, pd.DataFrame):
        return X.iloc[:, j]
    column = X[:, [j]].toarray()[:, 0] if sparse.issparse(X) else X[:, j]
    return pd.Series(column)


def _shuffled(X: Matrix, orders: dict[int, tuple[int, Array]], copies: int) -> Matrix:
    """Copies of the rows, one below the other; `orders` shuffles features, each in one copy.

    By a feature's position, it has the number of that copy and the order of the rows there.
    """
    n = X.shape[0]
    every = np.tile(np.arange(n), copies)
    places = {}
    for j, (number, order) in orders.items():
        places[j] = every.copy()
        places[j][number * n : (number + 1) * n] = order
    if isinstance(X, pd.DataFrame) and _is_one_block(X):
        return pd.DataFrame(_shuffled(X.to_numpy(), orders, copies), columns=X.columns)
    moved = take(X, every)
    if isinstance(X, pd.DataFrame):
        moved = moved.reset_index(drop=True)
        for j, rows in places.items():
            moved.isetitem(j, X.iloc[:, j].array.take(rows))
        return moved
    own, frame = as_frame(X), as_frame(moved)
    if own is not None and frame is not None:
        return frame.with_columns(*(own[:, j][rows] for j, rows in places.items())).to_native()
    if not sparse.issparse(X):
        for j, rows in places.items():
            moved[:, j] = X[rows, j]
        return moved
    columns, moved = X.tocsc(), moved.tolil()
    for j, rows in places.items():
        moved[:, [j]] = columns[:, [j]][rows]
    return moved.tocsr()


def _is_one_block(X: pd.DataFrame) -> bool:
    """Whether a frame has one type of numbers: it is much faster as an array."""
    types = X.dtypes.unique()
    return len(types) == 1 and isinstance(types[0], np.dtype) and types[0].kind in "iuf"
