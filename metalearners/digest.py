"""Content digests: equal content, equal name.

A value that has no digest raises: a silent miss (or worse, a silent hit) in a cache is harder
to find than a refusal.
"""

import inspect
from collections.abc import Iterable, Mapping
from functools import cache, singledispatch
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from types import FunctionType
from typing import Any

import numpy as np
import pandas as pd

from metalearners._typing import Array, Matrix, Ref


def combine(tag: str, parts: Iterable[str | bytes | memoryview]) -> Ref:
    """Digest of a tagged sequence of parts; the boundaries between parts count."""
    h = blake2b(digest_size=20)
    for part in (tag, *parts):
        raw = part.encode() if isinstance(part, str) else part
        h.update(len(raw).to_bytes(8, "little"))
        h.update(raw)
    return h.hexdigest()


@singledispatch
def digest(value: Any) -> Ref:
    """Digest of a value's content, 40 hexadecimal digits.

    Raises
    ------
    TypeError
        If the type of the value has no digest.
    """
    if hasattr(value, "get_params") and hasattr(value, "fit"):
        return combine("estimator", [digest(type(value)), digest(value.get_params(deep=False))])
    raise TypeError(
        f"Expected a parameter with a content digest (numbers, strings, lists, dicts, arrays, "
        f"estimators, functions); found {type(value).__module__}.{type(value).__qualname__}. "
        f"Pass a plain value instead."
    )


@digest.register(type(None))
@digest.register(bool)
@digest.register(int)
@digest.register(float)
@digest.register(str)
def _plain(value: object) -> Ref:
    return combine(type(value).__name__, [repr(value)])


@digest.register(bytes)
def _bytes(value: bytes) -> Ref:
    return combine("bytes", [value])


@digest.register(np.generic)
def _scalar(value: np.generic) -> Ref:
    return digest(value.item())


@digest.register(list)
@digest.register(tuple)
def _sequence(value: Iterable[Any]) -> Ref:
    return combine("sequence", [digest(item) for item in value])


@digest.register(set)
@digest.register(frozenset)
def _set(value: Iterable[Any]) -> Ref:
    return combine("set", sorted(digest(item) for item in value))


@digest.register(Mapping)
def _mapping(value: Mapping[Any, Any]) -> Ref:
    return combine("mapping", sorted(digest(k) + digest(v) for k, v in value.items()))


@digest.register(np.ndarray)
def _array(value: Array) -> Ref:
    if value.dtype.hasobject:
        return combine("objects", [repr(value.shape), *map(digest, value.ravel().tolist())])
    content = np.ascontiguousarray(value)
    return combine("array", [value.dtype.str, repr(value.shape), content.view(np.uint8).data])


@digest.register(type)
def _class(value: type) -> Ref:
    return combine("class", [value.__module__, value.__qualname__, code_version(value)])


@digest.register(FunctionType)
def _function(value: Any) -> Ref:
    return combine("function", [value.__module__, value.__qualname__, code_version(value)])


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()  # reads every installed package: once is enough


def code_version(code: Any) -> str:
    """Version of the distribution that defines a class or function, else a digest of its source.

    Code of an installed package changes with its version; code in a notebook or a script changes
    whenever it is edited.
    """
    root = code.__module__.partition(".")[0]
    for distribution in _distributions().get(root, ()):
        try:
            return version(distribution)
        except PackageNotFoundError:  # pragma: no cover - a broken installation
            continue
    try:
        return combine("source", [inspect.getsource(code)])
    except (OSError, TypeError):
        return "builtin"


def matrix_digest(X: Matrix) -> tuple[Ref, Ref]:
    """Digests of a feature matrix: its content column by column, and its schema.

    The content decides seeds, so that the same numbers in an array and in a data frame give the
    same fits; the schema (container, column names) joins it in the matrix's name, because a
    kept model remembers it.
    """
    if isinstance(X, pd.DataFrame):
        columns = [_column(X.iloc[:, j]) for j in range(X.shape[1])]
        schema = combine("frame", [repr(name) for name in X.columns])
    else:
        columns = [digest(np.ascontiguousarray(X[:, j])) for j in range(X.shape[1])]
        schema = combine("ndarray", [X.dtype.str])
    return combine("matrix", [repr(X.shape), *columns]), schema


def _column(column: pd.Series) -> Ref:
    if isinstance(column.dtype, np.dtype) and not column.dtype.hasobject:
        return digest(column.to_numpy())
    categorical = column.astype("category")
    codes = digest(categorical.cat.codes.to_numpy())
    return combine(str(column.dtype), [codes, digest(categorical.cat.categories.tolist())])
