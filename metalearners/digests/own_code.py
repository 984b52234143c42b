"""What a function refers to: read off its bytecode, without a run of it."""

import builtins
import dis
import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import resolve_name
from types import CodeType, FunctionType, ModuleType
from typing import Any

# What these give is in no code: it is in files, in the environment, behind a connection; or it is
# code by name.
_OUTSIDE = {
    *("open", "eval", "exec", "compile", "__import__", "globals", "vars", "input", "fromfile"),
    *("genfromtxt", "memmap", "getenv", "import_module", "popen", "system", "getline", "getlines"),
}
_OUTSIDE_VERBS = ("read_", "scan_", "load")  # such as read_csv of pandas, loadmat of scipy
_OUTSIDE_MODULES = {"subprocess", "socket", "importlib", "runpy", "ctypes", "sqlite3", "urllib"}
# Of any object, where it isn't known of what sort.
_OUTSIDE_METHODS = {"open", "read_text", "read_bytes"}
_GLOBALS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
_STORES = {"STORE_FAST", "STORE_NAME", "STORE_DEREF"}
_ATTRIBUTES = {"LOAD_ATTR", "LOAD_METHOD"}
_FILLING = {"EXTENDED_ARG", "CACHE", "NOP", "PUSH_NULL"}
_ABSENT = object()
_Steps = list[dis.Instruction]


@dataclass(frozen=True)
class Read:
    """A value that code reads by name.

    Parameters
    ----------
    name : as the code writes it, such as ``helpers.SCALE``
    value : that it has now
    known : whether that can be said
    """

    name: str
    value: Any = None
    known: bool = True


def reads(function: FunctionType) -> Iterator[Read]:
    """What a function, and the code within it, reads of globals, modules and imports.

    Closures and defaults aren't among them, but what is read of modules in a closure is.
    """
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    closed = {name: content(cell) for name, cell in cells}
    modules = {name: value for name, value in closed.items() if isinstance(value, ModuleType)}
    return _reads(function.__code__, function.__globals__, modules)


def content(cell: Any) -> Any:
    """The value in a closure's cell; None where there is none yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def is_outside(code: Any) -> bool:
    """Whether a function or class of a library's brings what no digest of code covers."""
    module = str(getattr(code, "__module__", None)).partition(".")[0]
    name = str(getattr(code, "__name__", ""))
    return name in _OUTSIDE or name.startswith(_OUTSIDE_VERBS) or module in _OUTSIDE_MODULES


def _reads(code: CodeType, scope: Mapping[str, Any], modules: Mapping[str, Any]) -> Iterator[Read]:
    steps = [step for step in dis.get_instructions(code) if step.opname not in _FILLING]
    local = dict(modules)
    for at, step in enumerate(steps):
        if step.opname in _GLOBALS:
            yield from _of_global(steps, at, scope)
        elif step.opname == "IMPORT_NAME":
            yield from _of_import(steps, at, scope, local)
        elif step.opname in _ATTRIBUTES and step.argval in _OUTSIDE_METHODS:
            yield Read(step.argval, known=False)
        elif step.opname.startswith("LOAD_"):
            # From Python 3.13, one step may load two: a module among them is used as a value.
            names = step.argval if isinstance(step.argval, tuple) else (step.argval,)
            for name in names if local else ():
                if isinstance(name, str) and name in local and "CONST" not in step.opname:
                    yield _of_attributes(name, local[name], steps, at)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _reads(constant, scope, local)


def _of_global(steps: _Steps, at: int, scope: Mapping[str, Any]) -> Iterator[Read]:
    name = steps[at].argval
    value = scope.get(name, getattr(builtins, name, _ABSENT))
    if value is not _ABSENT:
        yield _of_attributes(name, value, steps, at)
    elif steps[at].opname == "LOAD_GLOBAL":  # names in a class's body are mostly its own
        yield Read(name, known=False)


def _of_attributes(name: str, value: Any, steps: _Steps, at: int) -> Read:
    """What is read by a name, and of a module by the attributes that follow it."""
    while isinstance(value, ModuleType):
        at += 1
        if at >= len(steps) or steps[at].opname not in _ATTRIBUTES:
            break  # digests refuse a module of the user's as a value
        name = f"{name}.{steps[at].argval}"
        value = getattr(value, steps[at].argval, _ABSENT)
    known = not any(value is unknown for unknown in (_ABSENT, os.environ, sys.modules))
    return Read(name, value, known) if known else Read(name, known=False)


def _of_import(
    steps: _Steps, at: int, scope: Mapping[str, Any], local: dict[str, Any]
) -> Iterator[Read]:
    """What an import within a function brings; modules join those known by a local name."""
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
            value = _imported(module, step.argval)
            local.pop(target.argval, None)
            if isinstance(value, ModuleType):
                local[target.argval] = value
            else:
                yield Read(f"{name}.{step.argval}", value)
    except Exception:  # whatever a module does when it is imported
        yield Read(f"import {name}", known=False)


def _imported(module: ModuleType, name: str) -> Any:
    if not hasattr(module, name):
        return importlib.import_module(f"{module.__name__}.{name}")
    return getattr(module, name)
