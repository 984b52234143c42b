"""Content digests: equal content, equal name.

A value that has no digest raises: a silent miss (or worse, a silent hit) in a cache is harder
to find than a refusal.
"""

import inspect
import json
import platform
import sys
from collections.abc import Iterable, Mapping
from functools import cache, singledispatch
from hashlib import blake2b
from importlib.metadata import distribution, packages_distributions, version
from types import CodeType, FunctionType
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import scipy.special
from scipy import sparse
from scipy.stats.distributions import rv_frozen

from metalearners._typing import Array, Matrix, Ref
from metalearners.containers import as_frame

THREADS = frozenset({"n_jobs", "num_threads", "num_thread", "nthread", "nthreads", "thread_count"})
"""Names of a base model's number of threads: scikit-learn's, and those of boosting libraries."""
# How a base model is run, not what it learns: left out of its identity.
_NOT_IDENTITY = THREADS | {"verbose", "verbosity"}


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
    if hasattr(value, "get_params"):  # estimators, transformers, kernels
        return estimator_digest(type(value), value.get_params(deep=False))
    if _is_plain_object(value):
        return combine("object", [digest(type(value)), digest(vars(value))])
    raise TypeError(
        "Expected a parameter with a content digest (numbers, strings, lists, dicts, arrays, "
        "estimators, splitters, scorers, distributions, functions); found "
        f"{type(value).__module__}.{type(value).__qualname__}. Pass a plain value instead."
    )


def _is_plain_object(value: Any) -> bool:
    """Whether an object is what its attributes say, and use doesn't change it.

    Splitters and scorers of scikit-learn's are known to be so. Anything that can be pickled would
    be a wider rule, but lets in generators, whose state moves on, and handles of the outer world.
    """
    splits = hasattr(value, "split") and hasattr(value, "get_n_splits")
    return not isinstance(value, type) and (splits or hasattr(value, "set_score_request"))


@digest.register(rv_frozen)
def _distribution(value: Any) -> Ref:
    # Not all of its attributes: those of the family hold a random state, and searches pass theirs.
    return combine("distribution", [digest(type(value.dist)), digest([value.args, value.kwds])])


@digest.register(np.ufunc)
def _ufunc(value: Any) -> Ref:
    name = str(value.__name__)
    packages: dict[str, Any] = {"numpy": np, "scipy": scipy.special}
    for package, functions in packages.items():
        if getattr(functions, name, None) is value:
            return combine("ufunc", [package, version(package), name])
    raise TypeError(
        "Expected a parameter with a content digest; found a ufunc that is none of numpy's and "
        f"scipy.special's, {name}. Pass a plain function instead."
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


@digest.register(np.str_)  # these two are a str and bytes first
@digest.register(np.bytes_)
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
    # A class changes with the classes it is made from, such as a package's under a script's.
    versions = [f"{c.__module__}.{c.__qualname__} {code_version(c)}" for c in value.__mro__]
    return combine("class", versions)


@digest.register(FunctionType)
def _function(value: Any) -> Ref:
    named = combine("function", [value.__module__, value.__qualname__, code_version(value)])
    if "<" not in value.__qualname__:
        return named
    # Lambdas and inner functions: many come from one place, with the same name and source.
    closed = [cell.cell_contents for cell in value.__closure__ or ()]
    given = digest([closed, value.__defaults__, value.__kwdefaults__])
    return combine("inner", [named, _bytecode(value.__code__), given])


def _bytecode(code: CodeType) -> Ref:
    constants = [_bytecode(c) if isinstance(c, CodeType) else digest(c) for c in code.co_consts]
    return combine("bytecode", [code.co_code, repr(code.co_names), *constants])


def estimator_digest(factory: type, params: Mapping[str, Any]) -> Ref:
    """Digest of an estimator's class and of the parameters that shape its fit."""
    shaping = {k: v for k, v in params.items() if k not in _NOT_IDENTITY}
    return combine("estimator", [digest(factory), digest(shaping)])


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()  # reads every installed package: once is enough


def code_version(code: Any) -> str:
    """Version of the distribution that defines a class or function, else a digest of its source.

    Code of an installed package changes with its version; code in a notebook, a script or a
    package installed to be edited changes whenever it is edited.
    """
    root = code.__module__.partition(".")[0]
    if root in sys.stdlib_module_names:
        return platform.python_version()
    for name in _distributions().get(root, ()):
        if not _is_editable(name):
            return _version(name)
        return source_digest(sys.modules[code.__module__])
    try:
        return source_digest(code)
    except (OSError, TypeError):  # typed into an interpreter
        members = vars(code) if isinstance(code, type) else {"": code}
        functions = {k: m for k, m in members.items() if isinstance(m, FunctionType)}
        return combine("bytecode", [f"{k} {_bytecode(f.__code__)}" for k, f in functions.items()])


def source_digest(code: Any) -> Ref:
    """Digest of the source of a module, class or function."""
    return combine("source", [inspect.getsource(code)])


@cache
def _version(name: str) -> str:
    return version(name)


@cache
def _is_editable(name: str) -> bool:
    about = distribution(name).read_text("direct_url.json")
    return bool(about and json.loads(about).get("dir_info", {}).get("editable"))


def matrix_digest(X: Matrix) -> tuple[Ref, Ref]:
    """Digests of a feature matrix: its content column by column, and its schema.

    The content decides seeds, so that the same numbers in an array and in a data frame of any
    library give the same fits; the schema (container, column names and types) joins it in the
    matrix's name, because a kept model remembers it.
    """
    frame = as_frame(X)
    if sparse.issparse(X):
        return _sparse_digest(X), combine("csr", [X.dtype.str])
    if frame is None:
        columns = [digest(np.ascontiguousarray(X[:, j])) for j in range(X.shape[1])]
        schema = combine("ndarray", [X.dtype.str])
    else:
        columns = [_column(frame[:, j]) for j in range(X.shape[1])]
        kinds = [f"{name!r} {kind}" for name, kind in frame.schema.items()]
        schema = combine("frame", [str(frame.implementation), *kinds])
    return combine("matrix", [repr(X.shape), *columns]), schema


def _sparse_digest(X: Matrix) -> Ref:
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return combine("csr", [repr(X.shape), *map(digest, (X.data, X.indices, X.indptr))])


def _column(column: nw.Series[Any]) -> Ref:
    if column.dtype.is_numeric():
        # Libraries write a missing whole number differently; as a float it is NaN in each.
        missing = not column.dtype.is_float() and column.is_null().any()
        return digest((column.cast(nw.Float64) if missing else column).to_numpy())
    values = column.to_pandas()
    if isinstance(values.dtype, np.dtype) and not values.dtype.hasobject:
        return digest(values.to_numpy())
    categorical = values.astype("category").cat
    levels = digest(categorical.categories.tolist())
    # Base models may take ordered categories for numbers.
    return combine(
        "levels", [digest(categorical.codes.to_numpy()), levels, str(categorical.ordered)]
    )
