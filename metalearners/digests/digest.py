"""Content digests: equal content, equal name.

A value without a digest raises an error: a silent miss in a cache, or worse a silent hit, is
harder to find than an error. `identify` names such a value by its type instead, and lists it.

The digest of the user's code covers its source, its bytecode and what it reads: globals, helpers
and attributes of the user's modules, at any depth. The digest of code of the standard library and
of installed packages is its version.
"""

import functools
import inspect
import logging
import platform
import re
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from enum import Enum
from functools import singledispatch
from pathlib import PurePath
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import scipy.special
from scipy.stats.distributions import rv_frozen

from metalearners._typing import Array, Ref
from metalearners.base_models.seeds_and_threads import THREADS
from metalearners.digests.libraries import distributions, installed_as, version_of
from metalearners.digests.names import combine
from metalearners.digests.own_code import UNKNOWN, closure, is_outside, reads
from metalearners.digests.walk import WALK, Walk, walked, without_digest

# Parameters that say how a base model runs, not what it learns.
_NOT_IDENTITY = THREADS | {"verbose", "verbosity"}
_TRIES = 10  # at a source


def digest(value: Any) -> Ref:
    """Digest of a value's content, 40 hexadecimal digits.

    Raises TypeError if the value's type has no digest, or something that its code reads has none.
    """
    walk = WALK.get()
    if walk is None:
        return walked(Walk(lenient=False, reaching=True), lambda: digest(value))
    kind = type(value)
    plain = kind.__module__ == "builtins" or hasattr(value, "get_params") or not _is_users(kind)
    if plain or _is_of_a_library(value):  # Cython compiles functions of types without a package
        return _content(value)
    return walk.once(value, lambda: _users_instance(value))


def _users_instance(value: Any) -> Iterator[Ref]:
    """Digests of an instance of a user's class: its class, its content and its attributes."""
    kind = type(value)
    yield digest(kind)
    if isinstance(value, type):
        yield _class(value)
        return
    if _content.dispatch(kind) is not _content.dispatch(object):
        yield _content(value)
    elif not _has_only_attributes(value):
        yield without_digest(f"{kind.__module__}.{kind.__qualname__}")
    state = object.__getstate__(value)  # type: ignore[attr-defined]
    attributes, slots = state if isinstance(state, tuple) else (state, {})
    yield digest({**slots, **(attributes or {})})


def _has_only_attributes(value: Any) -> bool:
    """Whether an object has no state besides its attributes, as far as pickle knows."""
    if isinstance(value, Enum):
        return True
    for name in ("__reduce__", "__reduce_ex__"):
        if getattr(type(value), name) is not getattr(object, name):
            return False
    with suppress(TypeError):
        object.__reduce_ex__(value, 2)
        return True
    return False


@singledispatch
def _content(value: Any) -> Ref:
    if hasattr(value, "get_params"):  # estimators, transformers, kernels
        return estimator_digest(type(value), value.get_params(deep=False))
    if _is_plain_object(value):
        return combine("object", [digest(type(value)), digest(vars(value))])
    if _is_of_a_library(value):  # such as a compiled function
        named = combine("named", [value.__module__, value.__qualname__, code_version(value)])
        return _of_library(value, named)
    return without_digest(f"{type(value).__module__}.{type(value).__qualname__}")


def _is_of_a_library(value: Any) -> bool:
    """Whether an installed module holds this value under the value's name."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or _is_users_module(module):
        return False
    return callable(value) and getattr(sys.modules.get(module), name, None) is value


def _is_plain_object(value: Any) -> bool:
    """Whether attributes say all about an object, and use doesn't change it.

    This holds for scikit-learn's splitters and scorers. It doesn't hold for all that pickle takes,
    such as random generators, whose state changes with each draw, and handles of files.
    """
    splits = hasattr(value, "split") and hasattr(value, "get_n_splits")
    return not isinstance(value, type) and (splits or hasattr(value, "set_score_request"))


@_content.register(rv_frozen)
def _distribution(value: Any) -> Ref:
    # Other attributes of its family include a random state; searches pass their own instead.
    return combine("distribution", [digest(type(value.dist)), digest([value.args, value.kwds])])


@_content.register(np.ufunc)
def _ufunc(value: Any) -> Ref:
    name = str(value.__name__)
    packages: dict[str, Any] = {"numpy": np, "scipy": scipy.special}
    for package, functions in packages.items():
        if getattr(functions, name, None) is value:
            return combine("ufunc", [package, version_of(package), name])
    return without_digest(
        f"a ufunc of neither numpy nor scipy.special, {name}", "Pass a plain function instead."
    )


@_content.register(bool | int | float | complex | str | range | slice | None)
@_content.register(re.Pattern | PurePath | np.dtype | type(...) | type(NotImplemented))
def _by_text(value: object) -> Ref:
    return combine(type(value).__name__, [repr(value)])


@_content.register(bytes)
def _bytes(value: bytes) -> Ref:
    return combine("bytes", [value])


@_content.register(np.generic | np.str_ | np.bytes_)  # the latter would count as str and bytes
def _scalar(value: np.generic) -> Ref:
    return digest(value.item())


@_content.register(list | tuple)
def _sequence(value: Iterable[Any]) -> Ref:
    return combine("sequence", [digest(item) for item in list(value)])


@_content.register(set | frozenset)
def _set(value: Iterable[Any]) -> Ref:
    return combine("set", sorted(digest(item) for item in list(value)))


@_content.register(Mapping)
def _mapping(value: Mapping[Any, Any]) -> Ref:
    # Iterate over a copy, here and below: other threads may add items meanwhile. Only copies of
    # dicts are taken in one step: while a list of items grows, garbage collection may run others.
    return combine("mapping", sorted(digest(k) + digest(v) for k, v in dict(value).items()))


@_content.register(np.ndarray)
def _array(value: Array) -> Ref:
    if value.dtype.hasobject:
        return combine("objects", [repr(value.shape), *map(digest, value.ravel().tolist())])
    content = np.ascontiguousarray(value)
    return combine("array", [value.dtype.str, repr(value.shape), content.view(np.uint8).data])


@_content.register(logging.Logger)
def _logger(value: logging.Logger) -> Ref:
    return combine("logger", [value.name])  # code writes to it and reads nothing from it


@_content.register(type)
def _class(value: type) -> Ref:
    # A class changes with its bases: a script's class may inherit from a package's.
    versions = [f"{c.__module__}.{c.__qualname__} {code_version(c)}" for c in value.__mro__]
    named = combine("class", versions)
    walk = WALK.get()
    if walk is None or not walk.reaching or not any(map(_is_users, value.__mro__)):
        return _of_library(value, named)
    return walk.once(value, lambda: [named, *_members(value)])


def _members(value: type) -> Iterator[Ref]:
    """Digests of the members of a class and its bases, as far as they are the user's."""
    for kind in filter(_is_users, value.__mro__):
        for name, member in vars(kind).copy().items():
            if _is_of_code(name, member):
                yield combine("member", [name, _member(member)])


# The interpreter adds the first; scikit-learn checks parameters by the second.
_NO_MEMBERS = {"_abc_impl", "_parameter_constraints"}
_SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType)


def _is_of_code(name: str, member: Any) -> bool:
    if name in _NO_MEMBERS or isinstance(member, _SLOTS):
        return False
    return not re.fullmatch("__.*__", name) or callable(member) or hasattr(member, "__func__")


def _member(member: Any) -> Ref:
    """Digest of a class's attribute; a library's descriptor counts by what it wraps."""
    plain = isinstance(member, (type, FunctionType, *_METHODS)) or _is_users(type(member))
    if plain or not hasattr(member, "__get__") or not hasattr(member, "__dict__"):
        return digest(member)
    return combine("descriptor", [digest(type(member)), digest(vars(member))])


_METHODS = (property, staticmethod, classmethod, functools.cached_property)
_WRAPPED = {
    property: ("fget", "fset", "fdel"),
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    functools.cached_property: ("func",),
    functools.partial: ("func", "args", "keywords"),
    functools.partialmethod: ("func", "args", "keywords"),
    types.MethodType: ("__self__", "__func__"),
    type(functools.cache(len)): ("__wrapped__",),
}


def _wrapper(value: Any) -> Ref:
    names = next(names for kind, names in _WRAPPED.items() if isinstance(value, kind))
    return combine("wrapper", [type(value).__name__, *(digest(getattr(value, n)) for n in names)])


for _kind in _WRAPPED:
    _content.register(_kind, _wrapper)


@_content.register(types.BuiltinFunctionType)
def _builtin(value: Any) -> Ref:
    owner = value.__self__
    if owner is not None and not isinstance(owner, types.ModuleType):
        return combine("builtin", [value.__name__, digest(owner)])
    return _of_library(value, combine("builtin", [str(value.__module__), value.__qualname__]))


@_content.register(types.ModuleType)
def _module(value: Any) -> Ref:
    name = str(value.__name__)
    if _is_users_module(name):
        return without_digest(f"the module {name} as a value")
    return combine("module", [name])


def _of_library(code: Any, named: Ref) -> Ref:
    """The digest of a library's function or class, unless it reads what no digest covers."""
    walk = WALK.get()
    if walk is not None and walk.within and is_outside(code):
        return without_digest(f"{code.__module__}.{code.__qualname__}")
    return named


@_content.register(FunctionType)
def _function(value: Any) -> Ref:
    named = combine("function", [value.__module__, value.__qualname__, code_version(value)])
    walk = WALK.get()
    from_user = _is_users(value) or _is_users_module(value.__globals__.get("__name__"))
    if walk is not None and walk.reaching and from_user:
        return walk.once(value, lambda: [named, *_reached(value)])
    if "<" not in value.__qualname__:
        return _of_library(value, named)
    # Lambdas and inner functions may share a name and a source.
    arguments = [list(closure(value).values()), value.__defaults__, value.__kwdefaults__]
    return combine("inner", [named, _bytecode(value.__code__), digest(arguments)])


def _reached(value: Any) -> Iterator[Ref]:
    """Digests of a function's code and of what it refers to."""
    yield _bytecode(value.__code__)
    yield digest([v for v in closure(value).values() if not isinstance(v, types.ModuleType)])
    yield digest([value.__defaults__, value.__kwdefaults__, vars(value)])
    if not _is_users_module(value.__globals__.get("__name__")):
        return  # a library's wrapper around the user's function
    for name, read in reads(value):
        if read is UNKNOWN:
            yield without_digest(f"{name} in {value.__module__}.{value.__qualname__}")
        else:
            yield combine("read", [name, digest(read)])


def _bytecode(code: CodeType) -> Ref:
    constants = [_bytecode(c) if isinstance(c, CodeType) else digest(c) for c in code.co_consts]
    return combine("bytecode", [code.co_code, repr(code.co_names), *constants])


def _is_users(code: Any) -> bool:
    """Whether a class or function is the user's, and not a library's."""
    return _is_users_module(code.__module__)


def _is_users_module(module: Any) -> bool:
    name = str(module)
    root = name.partition(".")[0]
    return root not in sys.stdlib_module_names and installed_as(name) is None


def estimator_digest(factory: Callable[..., Any], params: Mapping[str, Any]) -> Ref:
    """Digest of an estimator's class or factory and of its parameters that shape a fit."""
    shaping = {k: v for k, v in params.items() if k not in _NOT_IDENTITY}
    return combine("estimator", [digest(factory), digest(shaping)])


def code_version(code: Any) -> str:
    """Version of the package that defines a class or function, else a digest of its source.

    The source names code in a notebook, in a script or in a package installed in editable mode.
    """
    module = str(code.__module__)
    if not _is_users_module(module):
        package = installed_as(module)
        return version_of(package) if package else platform.python_version()
    try:
        editable = module.partition(".")[0] in distributions()
        return combine("source", [_source(sys.modules[module] if editable else code)])
    except (KeyError, OSError, TypeError):  # typed into an interpreter
        members = vars(code).copy() if isinstance(code, type) else {"": code}
        functions = {k: m for k, m in members.items() if isinstance(m, FunctionType)}
        return combine("bytecode", [f"{k} {_bytecode(f.__code__)}" for k, f in functions.items()])


def _source(code: Any) -> str:
    """The source of a module, class or function.

    To find that of a class, Python parses its file. Before 3.12, that may raise a SystemError
    where another thread parses meanwhile (python/cpython issue 106905): then it is tried again.
    """
    for _ in range(_TRIES - 1):
        with suppress(SystemError):
            return inspect.getsource(code)
    return inspect.getsource(code)
