"""The reference of Python names, made from docstrings."""

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterable
from functools import cached_property
from inspect import isclass
from types import ModuleType

from prefect import Flow

import metalearners

OF_SKLEARN = re.compile(r"set_\w+_request")  # it adds these to each estimator
# Beside the top of the library and folders that list their names: what pages name.
FURTHER = (
    "metalearners.base_models.binning",
    "metalearners.data.conditions",
    "metalearners.data.folds",
    "flows.cli",
    "flows.errors",
)
# Names that users may import from a module that doesn't define them.
IMPORTED = {
    "flows.cli": ("main",),
    "metalearners.bundle": ("arm_name", "estimate_columns"),
    "metalearners.metalearner": ("Job", "Rows"),
    "metalearners.store": ("check_cache_makers",),
}


def modules() -> list[str]:
    """Modules that users import."""
    top = [f"metalearners.{m.name}" for m in pkgutil.iter_modules(metalearners.__path__)]
    inner = [m.name for m in pkgutil.walk_packages(metalearners.__path__, "metalearners.")]
    folders = {name for name in inner if hasattr(importlib.import_module(name), "__path__")}
    listing = [name for name in folders if hasattr(importlib.import_module(name), "__all__")]
    public = [name for name in top if name not in folders and "._" not in name]
    return ["metalearners", *sorted([*public, *listing]), "flows", *FURTHER]


def names(module: ModuleType) -> list[str]:
    """Public names of a module: those that it lists, or else those that its source defines."""
    if hasattr(module, "__all__"):
        found = sorted(module.__all__)
    else:
        body = ast.parse(inspect.getsource(module)).body
        found = [name for node in body for name in defined(node)]
    both = dict.fromkeys([*found, *IMPORTED.get(module.__name__, ())])
    return [name for name in both if not name.startswith("_")]


def defined(node: ast.stmt) -> list[str]:
    """Names that a statement defines."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def name_pages() -> dict[str, str]:
    """Return the text of each page by its name, in reStructuredText: the index, and modules."""
    known = {}
    for name in modules():
        module = importlib.import_module(name)
        known[name] = {each: getattr(module, each) for each in names(module)}
    classes = {value for values in known.values() for value in values.values() if isclass(value)}
    pages = {name: module_page(name, values, classes) for name, values in known.items() if values}
    tree = [".. toctree::", "   :hidden:", "", *(f"   {name}" for name in pages)]
    return {**pages, "index": "\n".join([*heading("Python"), *table(pages), *tree, ""])}


def module_page(module: str, values: dict[str, object], classes: set[type]) -> str:
    """The page of a module."""
    listed = [each for each, value in values.items() if is_function(value) or isclass(value)]
    entries = [entry(f"{module}.{each}", value, classes) for each, value in values.items()]
    about = [f".. automodule:: {module}", "   :no-members:", ""]
    parts = [*heading(module), *about, *(table(listed) if len(listed) > 1 else []), *entries]
    return "\n".join(parts)


def heading(text: str) -> list[str]:
    """Lines of the heading of a page."""
    return [text, "=" * len(text), ""]


def table(listed: Iterable[str]) -> list[str]:
    """Lines of a table of names, each with the first line of its docstring."""
    return [".. autosummary::", "   :nosignatures:", "", *(f"   {name}" for name in listed), ""]


def is_function(value: object) -> bool:
    """Whether a value is a function, or a flow made of one."""
    return inspect.isroutine(value) or isinstance(value, Flow)


def entry(name: str, value: object, classes: set[type]) -> str:
    """The directive that documents a name."""
    if isclass(value):
        members = [member(value, f"{name}.{each}") for each in own_members(value, classes)]
        return f".. autoclass:: {name}\n\n" + "".join(f"   {each}\n\n" for each in members)
    return f".. {'autofunction' if is_function(value) else 'autodata'}:: {name}\n"


def member(value: type, name: str) -> str:
    """The directive that documents a member of a class."""
    found = inspect.getattr_static(value, name.rpartition(".")[2])
    if isinstance(found, property | cached_property):
        return f".. autoproperty:: {name}"
    if inspect.isroutine(found):
        return f".. automethod:: {name}"
    return f".. autoattribute:: {name}"


def own_members(value: type, classes: set[type]) -> list[str]:
    """Public members of a class, less those of a base that has a place of its own."""
    bases = [
        base
        for base in value.__mro__
        if base.__module__.startswith(("metalearners", "flows"))
        and (base is value or base not in classes)
    ]
    found = dict.fromkeys(name for base in bases for name in vars(base))
    return [name for name in found if not name.startswith("_") and not OF_SKLEARN.fullmatch(name)]
