"""Arrays and frames of any library, as users pass them, become the columns of a data set."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd

from metalearners._typing import Array, Floats, Matrix
from metalearners.base_models.rows import as_frame
from metalearners.data.containers import check_same_rows, check_unmasked, select
from metalearners.data.dataset import check_arms, check_propensity
from metalearners.data.folds import FoldSplits, Splits


def as_array(values: Any) -> Array:
    """Values of an array, a list or a series of any library as a numpy array."""
    check_unmasked(values)
    series = nw.from_native(values, series_only=True, allow_series=True, pass_through=True)
    try:
        return series.to_numpy() if isinstance(series, nw.Series) else np.asarray(values)
    except ValueError:
        raise ValueError(
            f"Expected one value for each row; found a {type(values).__name__} of parts that "
            "differ in length. Pass one column."
        ) from None


def as_vector(name: str, values: Any, n_rows: int) -> Array:
    """(n,) values as a numpy array, from an array, a list or a series of any library."""
    found = as_array(values)
    if found.shape != (n_rows,):
        shown = found.shape or f"a {type(values).__name__}"
        raise ValueError(
            f"Expected {name} of shape ({n_rows},), a value for each row of X; found "
            f"{shown}. Pass one column of the same rows."
        )
    return found


def by_row(fit_params: Mapping[str, Any], n_rows: int) -> dict[str, Any]:
    """Those arguments of a `fit` that have a value for each row, by the names of messages."""
    sized = {name: value for name, value in fit_params.items() if hasattr(value, "__len__")}
    return {f"fit_params[{k!r}]": v for k, v in sized.items() if len(v) == n_rows}


def as_outcome(y: Any, is_classification: bool) -> Array:
    """The outcome as a numpy array: integers for classes, floats otherwise.

    Classes that aren't whole numbers or are too large stay floats; `check_outcome` refuses them.
    """
    values = np.asarray(y)
    if values.dtype.kind not in "biuf":
        values = _as_floats(values, "outcomes")
    if is_classification:
        whole = np.isfinite(values).all() and np.array_equal(values, np.floor(values))
        fits = whole and (values.dtype.kind in "bi" or np.abs(values).max() < 2.0**63)
        return values.astype(np.int64 if fits else float)
    return values if values.dtype.kind == "f" else values.astype(float)


def _as_floats(values: Array, what: str) -> Floats:
    if values.dtype.kind in "biuf":
        return values.astype(float)
    flat = values.ravel()
    try:
        if values.dtype.kind != "O" or any(isinstance(v, (str, bytes)) for v in flat):
            raise TypeError("dates and texts, even of digits, are no numbers")
        numbers = pd.array(flat.tolist()).astype("Float64").to_numpy(float, na_value=np.nan)
    except (TypeError, ValueError):
        raise ValueError(
            f"Expected numbers as {what}; found values of type {values.dtype}, such as "
            f"{flat[:3].tolist()}. Convert or encode them."
        ) from None
    return np.asarray(numbers).reshape(values.shape)


def arm_codes(
    w: Array, n_variants: int, arms: Sequence[Any] | None = None, judged: bool = False
) -> Array:
    """(n,) arm codes from 0, the control, to ``n_variants - 1``.

    `w` holds codes, or labels among `arms`, of which the control is first. If `judged`, arms may
    be absent.

    Raises
    ------
    ValueError
        If a row has no arm or an unknown one, or an arm has no rows.
    """
    absent = int(pd.isna(w).sum())
    if absent:
        raise ValueError(
            "Number of variants present in the treatment isn't known: expected one for each row; "
            f"found {absent} missing of {len(w)}. Leave those rows out."
        )
    if arms is None:
        w = np.asarray(pd.Index(w).infer_objects()) if w.dtype.kind == "O" else w
        _check_codes(w, n_variants, judged)
        return w.astype(np.int64)
    codes = pd.Index(list(arms), dtype=object).get_indexer(pd.Index(w.astype(object)))
    unknown = pd.unique(pd.Series(w[codes < 0], dtype=object)).tolist()
    if unknown:
        raise ValueError(
            f"Expected treatments among the arms {list(arms)}; found {unknown[:5]}. Leave those "
            "rows out, or name these arms too."
        )
    check_arms(codes, n_variants, judged)
    return np.asarray(codes, dtype=np.int64)


def _check_codes(w: Array, n_variants: int, judged: bool) -> None:
    if w.dtype.kind not in "biuf":
        shown = pd.unique(pd.Series(w, dtype=object))[:5].tolist()
        raise ValueError(
            f"Treatment variant should be encoded with values 0 to {n_variants - 1}, or the labels "
            f"named in the argument arms of the constructor, the control first; found {shown}."
        )
    check_arms(w, n_variants, judged)  # before a cast to integers cuts off fractions


def as_weight(values: Any, n_rows: int) -> Floats | None:
    """(n,) weights as floats."""
    if values is None:
        return None
    return _as_floats(as_vector("sample_weight", values, n_rows), "sample_weight")


def as_groups(values: Any, n_rows: int) -> Array | None:
    """(n,) labels of groups; an error if they can't be sorted, such as texts among numbers."""
    if values is None:
        return None
    found = as_vector("groups", values, n_rows)
    if found.dtype.kind == "O":
        try:
            sorted(set(found[~pd.isna(found)]))
        except TypeError:
            kinds = sorted({type(label).__name__ for label in found})
            raise ValueError(
                f"Expected groups with labels of one type, numbers or texts; found {kinds}. "
                "Convert them, as with str."
            ) from None
        found = np.asarray(pd.Index(found).infer_objects())  # folds hash numbers by value
    return found


def known_propensity(given: Any, n_variants: int, X: Matrix) -> Floats | None:
    """(n, K) known propensities from each form that a user may pass.

    The forms are: P(W = 1) of two arms, as a number or an (n,) column; K numbers, one for each
    arm; an (n, K) array or frame; names of columns of X, one for two arms or one for each arm;
    None for unknown propensities.

    Raises
    ------
    ValueError
        If they have another shape, or aren't probabilities that sum to 1 in each row.
    """
    if given is None:
        return None
    check_same_rows(X=X, propensity=given)
    n_rows = X.shape[0]
    values = _propensity_columns(given, X)
    if values.shape == (n_variants,) and n_rows != n_variants:
        values = np.tile(values, (n_rows, 1))
    elif n_variants == 2 and values.shape in ((), (1,), (n_rows,), (n_rows, 1)):
        treated = np.broadcast_to(values.reshape(-1), n_rows)
        values = np.column_stack([1 - treated, treated])
    check_propensity(values, n_rows, n_variants)
    return values


def _propensity_columns(given: Any, X: Matrix) -> Floats:
    names = [given] if isinstance(given, str) else given
    if isinstance(names, Sequence) and names and all(isinstance(name, str) for name in names):
        given = select(X, tuple(names))
    frame = as_frame(given)
    values = as_array(given) if frame is None else frame.to_numpy()
    return values if values.dtype.kind == "f" else _as_floats(values, "propensity")


def as_splits(cv: Any, n_rows: int) -> Splits | None:
    """Folds as (train, test) pairs of positions; None if folds are to be drawn.

    `cv` has such pairs, as a splitter's ``split`` returns them, or (n,) fold numbers; a row with a
    negative number is in no fold.
    """
    if cv is None:
        return None
    if not isinstance(cv, Iterable) or isinstance(cv, (str, bytes, Mapping)):
        raise _no_folds(f"a {type(cv).__name__}")
    if not isinstance(cv, np.ndarray):
        pairs = list(cv)
        if all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
            return [_positions(number, *pair) for number, pair in enumerate(pairs, start=1)]
        if any(hasattr(pair, "__len__") for pair in pairs):
            raise _no_folds("others among them")
    folds = as_vector("cv", cv, n_rows)
    if folds.dtype.kind not in "iu":
        raise _no_folds(f"{folds.dtype} values")
    numbers = np.full(n_rows, -1)  # without gaps, as a gap would be a fold without rows
    numbers[folds >= 0] = np.unique(folds[folds >= 0], return_inverse=True)[1]
    return FoldSplits(numbers)


def _positions(number: int, *pair: Any) -> tuple[Array, Array]:
    train, test = map(np.asarray, pair)
    if any(rows.ndim != 1 or not rows.size for rows in (train, test)):
        raise _no_folds(f"shapes {train.shape} and {test.shape} in pair {number}")
    return train, test


def _no_folds(found: str) -> ValueError:
    return ValueError(
        "Expected cv as (train, test) pairs of row positions, some in each, or a whole number a "
        f"row for its fold; found {found}. Pass list(splitter.split(X))."
    )


def as_classes(y: Array) -> tuple[Array, Array]:
    """Distinct classes, sorted, and the position of each row's class among them."""
    absent = int(pd.isna(y).sum())
    try:
        if y.dtype.kind == "O":
            hash(tuple(y.tolist()))
        if not absent:
            return np.unique(y, return_inverse=True)
    except TypeError:  # the message below says more
        pass
    kinds = sorted({type(label).__name__ for label in y.tolist()})
    raise ValueError(
        f"Expected a class for each row, all of one type, numbers or texts; found {absent} missing "
        f"and values of {kinds}. Encode them."
    )
