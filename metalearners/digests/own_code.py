"""What the user's functions read, taken from their bytecode without a call of them."""

import builtins
import dis
import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.util import resolve_name
from types import CodeType, FunctionType, ModuleType
from typing import Any

# What these return isn't in any code: it comes from files, the environment or a connection, or
# it is code that is looked up by a text.
_OUTSIDE = {
    *("open", "eval", "exec", "compile", "__import__", "globals", "vars", "input", "fromfile"),
    *("genfromtxt", "memmap", "getenv", "import_module", "popen", "system", "getline", "getlines"),
    *("listdir", "scandir", "glob", "iglob"),
    # These names alone mean other things elsewhere: `ast.walk`, `datetime.time`. Timers such as
    # `time.perf_counter` tell no time of day.
    *("os.walk", "os.fwalk", "time.time", "time.time_ns", "time.localtime", "time.gmtime"),
    *("time.ctime", "time.asctime", "time.strftime", "time.clock_gettime"),
    *("time.clock_gettime_ns",),
}
_OUTSIDE_VERBS = ("read_", "scan_", "load")  # such as read_csv of pandas, loadmat of scipy
_OUTSIDE_MODULES = {
    *("subprocess", "socket", "importlib", "runpy", "ctypes", "sqlite3", "urllib", "http"),
    *("requests", "httpx", "aiohttp", "boto3", "sqlalchemy", "fsspec", "h5py", "shelve", "dbm"),
    *("configparser", "mmap", "ftplib"),
}
_OUTSIDE_METHODS = {  # of an object of any type
    *("open", "read_text", "read_bytes", "iterdir", "glob", "rglob", "now", "today", "utcnow"),
}
_GLOBALS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
_STORES = {"STORE_FAST", "STORE_NAME", "STORE_DEREF"}
_ATTRIBUTES = {"LOAD_ATTR", "LOAD_METHOD"}
_FILLING = {"EXTENDED_ARG", "CACHE", "NOP", "PUSH_NULL"}
_ABSENT = object()
_Steps = list[dis.Instruction]
_Read = tuple[str, Any]

UNKNOWN = object()
"""Stands for a value that the bytecode doesn't tell."""


def reads(function: FunctionType) -> Iterator[_Read]:
    """What a function, and the code within it, reads of globals, modules and imports.

    Each is a name as the code writes it, such as ``helpers.SCALE``, with its present value, or
    `UNKNOWN`. Values of closures and defaults aren't among them; attributes of a closure's modules
    are.
    """
    values = closure(function)
    modules = {name: value for name, value in values.items() if isinstance(value, ModuleType)}
    return _reads(function.__code__, function.__globals__, modules)


def closure(function: FunctionType) -> dict[str, Any]:
    """Values of a function's closure by name; None for an empty cell."""
    values: dict[str, Any] = dict.fromkeys(function.__code__.co_freevars)
    for name, cell in zip(values, function.__closure__ or (), strict=True):
        with suppress(ValueError):
            values[name] = cell.cell_contents
    return values


def is_outside(code: Any) -> bool:
    """Whether a library's function or class returns what no digest of code covers."""
    module = str(getattr(code, "__module__", None)).partition(".")[0]
    name = str(getattr(code, "__name__", ""))
    return (
        not _OUTSIDE.isdisjoint((name, f"{module}.{name}"))
        or name.startswith(_OUTSIDE_VERBS)
        or module in _OUTSIDE_MODULES
    )


def _reads(code: CodeType, scope: Mapping[str, Any], modules: Mapping[str, Any]) -> Iterator[_Read]:
    steps = [step for step in dis.get_instructions(code) if step.opname not in _FILLING]
    local = dict(modules)
    for at, step in enumerate(steps):
        if step.opname in _GLOBALS:
            yield from _of_global(steps, at, scope)
        elif step.opname == "IMPORT_NAME":
            yield from _of_import(steps, at, scope, local)
        elif step.opname in _ATTRIBUTES and step.argval in _OUTSIDE_METHODS:
            yield step.argval, UNKNOWN
        elif step.opname.startswith("LOAD_") and "CONST" not in step.opname:
            # From Python 3.13 on, one step may load two names.
            names = step.argval if isinstance(step.argval, tuple) else (step.argval,)
            for name in filter(local.__contains__, names):
                yield _of_attributes(name, local[name], steps, at)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _reads(constant, scope, local)


def _of_global(steps: _Steps, at: int, scope: Mapping[str, Any]) -> Iterator[_Read]:
    name = steps[at].argval
    value = scope.get(name, getattr(builtins, name, _ABSENT))
    if value is not _ABSENT:
        yield _of_attributes(name, value, steps, at)
    elif steps[at].opname == "LOAD_GLOBAL":  # the others also load names of a class's own body
        yield name, UNKNOWN


def _of_attributes(name: str, value: Any, steps: _Steps, at: int) -> _Read:
    """What a name reads, and the attributes that follow it if it is a module's."""
    while isinstance(value, ModuleType):
        at += 1
        if at >= len(steps) or steps[at].opname not in _ATTRIBUTES:
            break  # the user's module as a value: `digest` refuses it
        name = f"{name}.{steps[at].argval}"
        value = getattr(value, steps[at].argval, UNKNOWN)
    changing = value is os.environ or value is sys.modules
    return name, UNKNOWN if changing else value


def _of_import(
    steps: _Steps, at: int, scope: Mapping[str, Any], local: dict[str, Any]
) -> Iterator[_Read]:
    """What an import within a function reads; modules are added to `local` by their name there."""
    level = next((s.argval for s in steps[max(0, at - 2) : at] if type(s.argval) is int), 0)
    name = "." * level + steps[at].argval
    package = scope.get("__package__") or str(scope.get("__name__", "")).rpartition(".")[0]
    try:
        module = importlib.import_module(resolve_name(name, package))
        if steps[at - 1].argval is None:  # `import a.b` gives a, from which `as` goes on to b
            module = sys.modules[module.__name__.partition(".")[0]]
        if steps[at + 1].opname in _STORES:
            local[steps[at + 1].argval] = module
        for step, target in zip(steps[at + 1 :: 2], steps[at + 2 :: 2], strict=False):
            if step.opname != "IMPORT_FROM":
                return
            if not hasattr(module, step.argval):
                importlib.import_module(f"{module.__name__}.{step.argval}")
            value = getattr(module, step.argval)
            local.pop(target.argval, None)
            if isinstance(value, ModuleType):
                local[target.argval] = value
            else:
                yield f"{name}.{step.argval}", value
    except Exception:  # whatever a module raises when it is imported
        yield f"import {name}", UNKNOWN
