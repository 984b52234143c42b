"""Checks of plain arguments; each message says what it expected, what it found and a remedy."""

from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd

from metalearners._typing import Floats


def generator(rng: Any) -> np.random.Generator:
    """The generator itself, or a new, unseeded one for None."""
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise ValueError(
            f"Expected a numpy Generator or None as rng; found {rng!r}. Pass "
            "np.random.default_rng(seed) for repeatable draws."
        )
    return np.random.default_rng(rng)


def count(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """An argument that must be a whole number from `least` to `most`."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        limit = "" if most is None else f" and at most {most}"
        raise ValueError(
            f"{name} needs to be an integer greater or equal to {least}{limit}; found {value!r}. "
            "Pass such a number."
        )
    return int(value)


def one_of(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """An argument that must be one of some texts."""
    if value not in allowed:
        raise ValueError(f"Expected {name} as one of {', '.join(allowed)}; found {value!r}.")
    return str(value)


def number(value: Any, allowed: pd.Interval, expected: str, remedy: str) -> float:
    """An argument that must be a finite number in an interval.

    The message begins with `expected` and ends with `remedy`.
    """
    if not isinstance(value, Real) or not np.isfinite(float(value)) or value not in allowed:
        raise ValueError(f"{expected}; found {value!r}. {remedy}")
    return float(value)


def numbers(name: str, values: Any, remedy: str) -> Floats:
    """An argument that must be an array of finite numbers, as floats."""
    try:
        found = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(
            f"Expected numbers in {name}; found {type(values).__name__} with other values. {remedy}"
        ) from None
    absent = int((~np.isfinite(found)).sum())
    if absent:
        raise ValueError(
            f"Expected finite numbers in {name}; found {absent} missing or infinite of "
            f"{found.size}. {remedy}"
        )
    return found


def check_shape(name: str, fits: bool, expected: str, found: tuple[int, ...]) -> None:
    """Refuse an array whose shape doesn't fit."""
    if not fits:
        raise ValueError(f"Expected {name} of shape {expected}; found {found}. Reshape it.")


def by_feature(name: str, given: Any, n_features: int) -> Floats:
    """(p,) values from one number for all features, or one for each."""
    values = numbers(name, given, "Pass one number, or one for each feature.")
    check_shape(name, values.shape in ((), (n_features,)), f"() or ({n_features},)", values.shape)
    return np.full(n_features, values)
