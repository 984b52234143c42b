"""Where float32 loses information: outcomes far from 0, features with many digits.

LightGBM, XGBoost and CatBoost keep outcomes as float32, with about seven digits. Trees of
scikit-learn use float64, but choose splits by squares of sums, which lose twice as many digits.
"""

import warnings
from collections.abc import Iterable
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from scipy import sparse
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeRegressor

from metalearners._typing import Array, Matrix
from metalearners.base_models.nesting import package_of, parts
from metalearners.base_models.rows import as_frame

_TREES = (DecisionTreeRegressor, RandomForestRegressor, ExtraTreesRegressor)
_FAR = 2.0**13  # standard deviations from 0: float32 then rounds to over a thousandth of one
_ROWS = 2_000  # to compare values of
_LOST = 0.1  # share of distinct values

# Losses of differences alone, which don't change when a constant is added to the outcome.
_OF_DIFFERENCES: dict[str, tuple[str, set[str | None]]] = {
    "lightgbm": (
        "objective",
        {None, "regression", "l2", "mse", "rmse", "l1", "mae", "huber", "quantile", "fair"}
        | {"regression_l2", "mean_squared_error", "regression_l1", "mean_absolute_error"},
    ),
    "xgboost": ("objective", {None, "reg:squarederror", "reg:absoluteerror", "reg:quantileerror"}),
    "catboost": ("loss_function", {None, "RMSE"}),
    "sklearn.tree": ("criterion", {"squared_error", "friedman_mse", "absolute_error"}),
}
_SINGLE = frozenset({"lightgbm", "xgboost", "catboost"})
_FIXED_START = ("boost_from_average", "base_score")


def centre_of(estimator: Any, y: Array) -> float:
    """What to subtract from a regression's outcomes before a fit, and add to its predictions.

    It is 0 unless the outcomes lie so far from 0 that float32 rounds their differences, the base
    model loses digits (see above), and its loss is one of differences.
    """
    model = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    return float(np.median(y)) if _is_far(y) and _has_loss_of_differences(model) else 0.0


def _is_far(y: Array) -> bool:
    return bool(abs(y.mean()) > _FAR * y.std())


def _has_loss_of_differences(model: Any) -> bool:
    family = "sklearn.tree" if isinstance(model, _TREES) else package_of(model)
    if family not in _OF_DIFFERENCES or not hasattr(model, "get_params"):
        return False
    name, losses = _OF_DIFFERENCES[family]
    given = model.get_params(deep=False)
    loss = given.get(name)
    known = (loss is None or isinstance(loss, str)) and loss in losses
    return known and all(given.get(start) in (None, True) for start in _FIXED_START)


def concerns(estimators: Iterable[Any], X: Matrix, y: Array, with_arguments: bool) -> list[str]:
    """What float32 does to these outcomes and features, a sentence each.

    `y` are outcomes, not classes. With arguments of `fit`, such as outcomes to stop by, base
    models get outcomes as they are.
    """
    sentences = []
    models = list(estimators)
    if _is_far(y):
        single = [m for m in models if any(package_of(p) in _SINGLE for p in parts(m))]
        affected = [m for m in single if with_arguments or not centre_of(m, y)]
        if affected:
            names = ", ".join(sorted({type(m).__name__ for m in affected}))
            sentences.append(
                f"Outcomes lie around {y.mean():.6g} and differ by {y.std():.3g}: {names} keeps "
                "them in float32, which rounds such differences off. Subtract a constant from the "
                "outcomes: effects don't depend on it."
            )
    merged = merged_features(X) if any(_bins_singly(p) for m in models for p in parts(m)) else []
    if merged:
        sentences.append(
            f"Features {', '.join(merged)} have values that float32 can't tell apart, and trees "
            "that keep features in float32 (XGBoost, CatBoost, scikit-learn's forests, LightGBM on "
            "arrays of whole numbers) see them as one. Subtract the smallest, as the first date."
        )
    return sentences


def tell(sentences: Iterable[str]) -> None:
    """Warn of each concern."""
    for sentence in sentences:
        warnings.warn(sentence, UserWarning, stacklevel=4)


def merged_features(X: Matrix) -> list[str]:
    """Columns that lose more than a tenth of their distinct values in float32.

    It compares at most 2,000 rows, at even distances.
    """
    if sparse.issparse(X):
        return []
    frame = as_frame(X)
    rows = np.arange(0, X.shape[0], max(1, X.shape[0] // _ROWS))
    if frame is None:
        columns = zip(map(str, range(X.shape[1])), X[rows].T, strict=True)
        return [name for name, values in columns if _merges(values)] if _wide(X.dtype) else []
    series = frame.iter_columns()
    return [str(c.name) for c in series if _wide_type(c.dtype) and _merges(c[rows].to_numpy())]


def _wide(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "iuf" and dtype.itemsize > 2 and dtype != np.float32


def _wide_type(dtype: Any) -> bool:
    narrow = (nw.Float32, nw.Int8, nw.Int16, nw.UInt8, nw.UInt16, nw.Decimal)
    return dtype.is_numeric() and dtype not in narrow


def _merges(values: Array) -> bool:
    distinct = np.unique(values.astype(float))
    return bool(len(np.unique(distinct.astype(np.float32))) < (1 - _LOST) * len(distinct))


def _bins_singly(part: Any) -> bool:
    trees = type(part).__module__.startswith(("sklearn.tree", "sklearn.ensemble."))
    hist = type(part).__name__.startswith("HistGradientBoosting")
    return package_of(part) in _SINGLE or (trees and not hist)
