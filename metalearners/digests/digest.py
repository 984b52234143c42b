"""Content digests: equal content, equal name.

A value that has no digest raises: a silent miss (or worse, a silent hit) in a cache is harder
to find than a refusal. `identify` names such a value by its type instead, and says so.

Code of the user's is named by its source, by what it compiles to, and by what it reads: globals,
helpers and attributes of the user's modules, as far as they reach. Code of the standard library
and of installed packages is named by its version.
"""

import functools
import logging
import platform
import re
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from functools import cache, singledispatch
from importlib.metadata import version
from pathlib import PurePath
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import scipy.special
from scipy.stats.distributions import rv_frozen

from metalearners._typing import Array, Ref
from metalearners.base_models.seeds_and_threads import THREADS
from metalearners.digests.libraries import distributions, installed_as, source_digest, version_of
from metalearners.digests.names import combine
from metalearners.digests.own_code import content, is_outside, reads
from metalearners.digests.walk import WALK, Walk, walked, without_digest

# How a base model is run, not what it learns: left out of its identity.
_NOT_IDENTITY = THREADS | {"verbose", "verbosity"}


def digest(value: Any) -> Ref:
    """Digest of a value's content, 40 hexadecimal digits.

    Raises
    ------
    TypeError
        If the type of the value, or something that its code reads, has no digest.
    """
    walk = WALK.get()
    if walk is None:
        return walked(Walk(lenient=False, reaching=True), lambda: digest(value))
    kind = type(value)
    if kind.__module__ == "builtins" or hasattr(value, "get_params") or not _is_own(kind):
        return _content(value)
    if _is_of_a_library(value):  # compiled by Cython, whose types are of no package
        return _content(value)
    return walk.once(value, lambda: _own_instance(value))


def _own_instance(value: Any) -> Iterator[Ref]:
    """Of an instance of a class of the user's: its class, its attributes, and what it inherits."""
    kind = type(value)
    yield digest(kind)
    if isinstance(value, type):
        yield _class(value)
    elif _content.dispatch(kind) is not _content.dispatch(object):
        yield _content(value)
    elif not _is_its_attributes(value):
        yield without_digest(f"{kind.__module__}.{kind.__qualname__}")
    slots = [name for c in kind.__mro__ for name in _as_tuple(vars(c).get("__slots__", ()))]
    stated = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    if not isinstance(value, type):
        yield digest({**stated, **getattr(value, "__dict__", {})})


def _is_its_attributes(value: Any) -> bool:
    """Whether an object has no more state than its attributes, as far as pickle knows."""
    if isinstance(value, Enum):
        return True
    for name in ("__reduce__", "__reduce_ex__"):
        if getattr(type(value), name) is not getattr(object, name):
            return False
    try:
        object.__reduce_ex__(value, 2)
    except TypeError:
        return False
    return True


def _as_tuple(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


@singledispatch
def _content(value: Any) -> Ref:
    if hasattr(value, "get_params"):  # estimators, transformers, kernels
        return estimator_digest(type(value), value.get_params(deep=False))
    if _is_plain_object(value):
        return combine("object", [digest(type(value)), digest(vars(value))])
    if _is_of_a_library(value):  # such as a function that is compiled
        named = combine("named", [value.__module__, value.__qualname__, code_version(value)])
        return _of_library(value, named)
    return without_digest(f"{type(value).__module__}.{type(value).__qualname__}")


def _is_of_a_library(value: Any) -> bool:
    """Whether a value is what an installed module has under the value's own name."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or _is_own_module(module):
        return False
    return callable(value) and getattr(sys.modules.get(module), name, None) is value


def _is_plain_object(value: Any) -> bool:
    """Whether an object is what its attributes say, and use doesn't change it.

    Splitters and scorers of scikit-learn's are known to be so. Anything that can be pickled would
    be a wider rule, but lets in generators, whose state moves on, and handles of the outer world.
    """
    splits = hasattr(value, "split") and hasattr(value, "get_n_splits")
    return not isinstance(value, type) and (splits or hasattr(value, "set_score_request"))


@_content.register(rv_frozen)
def _distribution(value: Any) -> Ref:
    # Not all of its attributes: those of the family hold a random state, and searches pass theirs.
    return combine("distribution", [digest(type(value.dist)), digest([value.args, value.kwds])])


@_content.register(np.ufunc)
def _ufunc(value: Any) -> Ref:
    name = str(value.__name__)
    packages: dict[str, Any] = {"numpy": np, "scipy": scipy.special}
    for package, functions in packages.items():
        if getattr(functions, name, None) is value:
            return combine("ufunc", [package, version(package), name])
    return without_digest(
        f"a ufunc that is none of numpy's and scipy.special's, {name}",
        "Pass a plain function instead.",
    )


@_content.register(type(None))
@_content.register(type(...))
@_content.register(type(NotImplemented))
@_content.register(bool)
@_content.register(int)
@_content.register(float)
@_content.register(str)
def _plain(value: object) -> Ref:
    return combine(type(value).__name__, [repr(value)])


@_content.register(bytes)
def _bytes(value: bytes) -> Ref:
    return combine("bytes", [value])


@_content.register(np.str_)  # these two are a str and bytes first
@_content.register(np.bytes_)
@_content.register(np.generic)
def _scalar(value: np.generic) -> Ref:
    return digest(value.item())


@_content.register(list)
@_content.register(tuple)
def _sequence(value: Iterable[Any]) -> Ref:
    return combine("sequence", [digest(item) for item in value])


@_content.register(set)
@_content.register(frozenset)
def _set(value: Iterable[Any]) -> Ref:
    return combine("set", sorted(digest(item) for item in list(value)))


@_content.register(Mapping)
def _mapping(value: Mapping[Any, Any]) -> Ref:
    # A list of what is there now, here and below: other threads may add to it meanwhile.
    return combine("mapping", sorted(digest(k) + digest(v) for k, v in list(value.items())))


@_content.register(np.ndarray)
def _array(value: Array) -> Ref:
    if value.dtype.hasobject:
        return combine("objects", [repr(value.shape), *map(digest, value.ravel().tolist())])
    content = np.ascontiguousarray(value)
    return combine("array", [value.dtype.str, repr(value.shape), content.view(np.uint8).data])


@_content.register(complex)
@_content.register(type(Ellipsis))
@_content.register(range)
@_content.register(slice)
@_content.register(re.Pattern)
@_content.register(PurePath)
@_content.register(np.dtype)
def _by_its_text(value: Any) -> Ref:
    return combine(type(value).__name__, [repr(value)])


@_content.register(logging.Logger)
def _logger(value: logging.Logger) -> Ref:
    return combine("logger", [value.name])  # it is told, and tells nothing


@_content.register(type)
def _class(value: type) -> Ref:
    # A class changes with the classes it is made from, such as a package's under a script's.
    versions = [f"{c.__module__}.{c.__qualname__} {code_version(c)}" for c in value.__mro__]
    named = combine("class", versions)
    walk = WALK.get()
    if walk is None or not walk.reaching or not any(map(_is_own, value.__mro__)):
        return _of_library(value, named)
    return walk.once(value, lambda: [named, *_members(value)])


def _members(value: type) -> Iterator[Ref]:
    """Digests of what the user's classes among a class's bases hold."""
    for own in filter(_is_own, value.__mro__):
        for name, member in list(vars(own).items()):
            if _is_of_code(name, member):
                yield combine("member", [name, _member(member)])


# Put into a class by the interpreter; or checks of parameters, which shape no fit.
_NO_MEMBERS = {"_abc_impl", "_parameter_constraints"}
_SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType)


def _is_of_code(name: str, member: Any) -> bool:
    if name in _NO_MEMBERS or isinstance(member, _SLOTS):
        return False
    return not re.fullmatch("__.*__", name) or callable(member) or hasattr(member, "__func__")


def _member(member: Any) -> Ref:
    """Digest of a class's attribute; of a descriptor of a library's, by what it wraps."""
    plain = isinstance(member, (type, FunctionType, *_METHODS)) or _is_own(type(member))
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
    type(cache(len)): ("__wrapped__",),
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
    if _is_own_module(name):
        return without_digest(f"the module {name} as a value")
    return combine("module", [name])


def _of_library(code: Any, named: Ref) -> Ref:
    """The digest of a library's function or class, if what it brings is its own code."""
    walk = WALK.get()
    if walk is not None and walk.within and is_outside(code):
        return without_digest(f"{code.__module__}.{code.__qualname__}")
    return named


@_content.register(FunctionType)
def _function(value: Any) -> Ref:
    named = combine("function", [value.__module__, value.__qualname__, code_version(value)])
    walk = WALK.get()
    own = _is_own(value) or _is_own_module(value.__globals__.get("__name__"))
    if walk is not None and walk.reaching and own:
        return walk.once(value, lambda: [named, *_reached(value)])
    if "<" not in value.__qualname__:
        return _of_library(value, named)
    # Lambdas and inner functions: many come from one place, with the same name and source.
    closed = [content(cell) for cell in value.__closure__ or ()]
    given = digest([closed, value.__defaults__, value.__kwdefaults__])
    return combine("inner", [named, _bytecode(value.__code__), given])


def _reached(value: Any) -> Iterator[Ref]:
    """Digests of a function's code and of all that it refers to."""
    yield _bytecode(value.__code__)
    closed = [content(cell) for cell in value.__closure__ or ()]
    yield digest([c for c in closed if not isinstance(c, types.ModuleType)])
    yield digest([value.__defaults__, value.__kwdefaults__, vars(value)])
    if not _is_own_module(value.__globals__.get("__name__")):
        return  # a library's wrapper around a function of the user's
    for read in reads(value):
        if read.known:
            yield combine("read", [read.name, digest(read.value)])
        else:
            yield without_digest(f"{read.name} in {value.__module__}.{value.__qualname__}")


def _bytecode(code: CodeType) -> Ref:
    constants = [_bytecode(c) if isinstance(c, CodeType) else digest(c) for c in code.co_consts]
    return combine("bytecode", [code.co_code, repr(code.co_names), *constants])


def _is_own(code: Any) -> bool:
    """Whether a class or function is the user's, and not a library's."""
    return _is_own_module(code.__module__)


def _is_own_module(module: Any) -> bool:
    name = str(module)
    root = name.partition(".")[0]
    return root not in sys.stdlib_module_names and installed_as(name) is None


def estimator_digest(factory: Callable[..., Any], params: Mapping[str, Any]) -> Ref:
    """Digest of an estimator's class or factory and of the parameters that shape its fit."""
    shaping = {k: v for k, v in params.items() if k not in _NOT_IDENTITY}
    return combine("estimator", [digest(factory), digest(shaping)])


def code_version(code: Any) -> str:
    """Version of the distribution that defines a class or function, else a digest of its source.

    Code of an installed package changes with its version; code in a notebook, a script or a
    package installed to be edited changes whenever it is edited.
    """
    module = str(code.__module__)
    root = module.partition(".")[0]
    if root in sys.stdlib_module_names and root != "__main__":
        return platform.python_version()
    installed = installed_as(module)
    if installed is not None:
        return version_of(installed)
    try:
        return source_digest(sys.modules[module] if root in distributions() else code)
    except (KeyError, OSError, TypeError):  # typed into an interpreter
        members = vars(code) if isinstance(code, type) else {"": code}
        functions = {k: m for k, m in list(members.items()) if isinstance(m, FunctionType)}
        return combine("bytecode", [f"{k} {_bytecode(f.__code__)}" for k, f in functions.items()])
