"""The house: each folder imports only what lies below it, and what shapes fits lies in one."""

import ast
import importlib
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import flows
import metalearners
from flows.config.reading import ConfigError, Problem
from flows.errors import LearnersFailedError
from metalearners import base_models
from metalearners.fits import unit

# From the ground up; "top" is what outsiders import.
ORDER = {
    "metalearners": (
        *("_typing", "showing", "files", "base_models", "digests", "data", "fits", "cache"),
        *("evaluation", "declaration", "workers", "top", "plots", "resampling"),
    ),
    "flows": (
        *("messages", "errors", "dates", "config", "server", "inputs", "watching", "fitting"),
        *("registry", "report", "tuning", "runs", "scoring", "top", "launch", "doctor", "cli"),
    ),
}
BESIDE = {"evaluation": "cache"}  # on one floor: neither knows the other
PLACES = {package.__name__: Path(package.__file__).parent for package in (metalearners, flows)}


@cache
def modules(package: str) -> dict[str, Path]:
    """The files of a package by dotted name, without the package's own."""
    place = PLACES[package]
    found = {}
    for path in place.rglob("*.py"):
        parts = path.relative_to(place).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path) -> Iterator[str]:
    """Names of modules, and of what is taken from them, that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield from (f"{node.module}.{name.name}" for name in node.names)


def at_import(path: Path) -> Iterator[str]:
    """Names of modules, and of what is taken from them, that a file imports as it is imported."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)


def room(package: str, name: str) -> str:
    """The folder that a module lies in."""
    first = name.partition(".")[0]
    return first if first in ORDER[package] else "top"


def arrows(package: str) -> set[tuple[str, str]]:
    """Pairs of rooms of which the first imports from the second, with a witness each."""
    found = set()
    for name, path in modules(package).items():
        for other in imported(path):
            root, _, rest = other.partition(".")
            if root == package:
                found.add((room(package, name), room(package, rest)))
    return found


@pytest.mark.parametrize("package", ORDER)
def test_every_folder_has_its_place_and_no_place_is_empty(package):
    folders = {name.partition(".")[0] for name in modules(package) if "." in name}

    assert folders <= set(ORDER[package])
    assert {room(package, name) for name in modules(package)} == set(ORDER[package])


@pytest.mark.parametrize("package", ORDER)
def test_arrows_point_down(package):
    floors = {name: floor for floor, name in enumerate(ORDER[package])}
    found = arrows(package)

    assert len(found) > len(floors)
    assert {(a, b) for a, b in found if floors[b] > floors[a]} == set()
    assert not {(a, b) for a, b in found if BESIDE.get(a) == b}


def test_the_library_knows_no_flows():
    everything = [*modules("metalearners").values()]

    assert not [p for p in everything if any(n.startswith("flows") for n in imported(p))]


def test_what_shapes_a_fit_reaches_nothing_else_of_ours():
    files = [path for name, path in modules("metalearners").items() if "base_models." in name]
    own = {name for path in files for name in imported(path) if name.startswith("metalearners")}
    aliases = ast.parse(modules("metalearners")["_typing"].read_text()).body

    assert len(files) > 5
    assert all(
        name.startswith(("metalearners.base_models.", "metalearners._typing.")) for name in own
    )
    plain = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    assert all(isinstance(node, plain) for node in aliases)


def test_a_file_that_is_edited_or_added_where_fits_are_shaped_moves_keys(tmp_path, monkeypatch):
    folder = tmp_path / "base_models"
    shutil.copytree(Path(base_models.__file__).parent, folder)

    def code():
        unit._fit_code.cache_clear()
        return unit._fit_code()

    here = code()
    monkeypatch.setattr(base_models, "__file__", str(folder / "__init__.py"))
    assert code() == here
    seen = {here}
    for path in sorted(folder.glob("*.py")):
        path.write_text(path.read_text() + "\n# edited\n")
        seen.add(code())
    (folder / "helper.py").write_text("")
    seen.add(code())
    (folder / "helper.py").rename(folder / "other.py")
    seen.add(code())
    assert len(seen) == len(list(folder.glob("*.py"))) + 2
    unit._fit_code.cache_clear()


def test_a_key_depends_on_that_code(monkeypatch):
    def key():
        return unit.FitUnit(Spec(), "x", "y", "rows", None, None, None, 0, "predict", 1, True).key

    class Spec:
        digest = "estimator"

    before = key()
    monkeypatch.setattr(unit, "_fit_code", lambda: "edited")

    assert key() != before


def _roots_of_modules_after(code):
    code = f"import sys\n{code}\nprint(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in ran.stdout.split()}


def test_the_library_alone_loads_no_storage_and_no_pool():
    roots = _roots_of_modules_after("from metalearners import *; from metalearners import plots")

    assert "sklearn" in roots
    assert not roots & {"fsspec", "tenacity", "loky", "dask", "distributed", "s3fs", "matplotlib"}


def test_the_command_s_help_loads_no_package_that_a_run_needs():
    roots = _roots_of_modules_after("import flows.cli.commands")

    assert "typer" in roots
    assert not roots & {"numpy", "pandas", "sklearn", "lightgbm", "prefect", "pydantic", "yaml"}


# Rooms


@pytest.mark.parametrize("folder", [*PLACES.values(), Path(__file__).parent])
def test_a_folder_holds_a_dozen_files_and_a_file_a_screenful_of_ideas(folder):
    files = [path for path in folder.rglob("*.py") if "__pycache__" not in path.parts]
    many = {path.parent: 0 for path in files}
    for path in files:
        many[path.parent] += 1
    most = {PLACES["metalearners"]: 24}  # published paths, and a file each learner

    assert {place: n for place, n in many.items() if n > most.get(place, 12)} == {}
    if folder in PLACES.values():
        lines = {path.name: len(path.read_text().splitlines()) for path in files}
        assert {name for name, n in lines.items() if n > 400} <= {"metalearner.py"}


def test_functions_are_short():
    lengths = []
    for package in PLACES:
        for path in modules(package).values():
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    told = node.body[0] if ast.get_docstring(node) else None
                    docstring = told.end_lineno - told.lineno + 1 if told else 0
                    lengths.append(node.end_lineno - node.lineno + 1 - docstring)
    lengths.sort()

    assert len(lengths) > 1000
    assert lengths[len(lengths) // 2] <= 6
    assert lengths[len(lengths) * 9 // 10] <= 20


def errors(package: str) -> Iterator[type[Exception]]:
    """Classes of errors and warnings that a package defines."""
    for name, path in modules(package).items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and node.bases:
                found = getattr(importlib.import_module(f"{package}.{name}"), node.name)
                if issubclass(found, Exception):
                    yield found


@pytest.mark.parametrize("package", PLACES)
def test_errors_pass_from_process_to_process(package: str) -> None:
    arguments = {
        ConfigError: ("where: ", {"clip": 2}, [Problem(["clip"], "clip: too large", False)]),
        LearnersFailedError: ({"DRLearner": "no rows"}, Path("runs"), {"warnings": []}),
    }
    found = list(errors(package))
    assert len(found) >= 4
    for cls in found:
        error = cls(*arguments.get(cls, ("expected, found, remedy",)))
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is cls
        assert (str(again), vars(again)) == (str(error), vars(error))


@pytest.mark.parametrize("package", PLACES)
def test_any_module_may_be_imported_first(package):
    """No two need each other while they are imported."""
    known = {f"{package}.{name}": path for name, path in modules(package).items() if name}
    needs = {}
    for name, path in known.items():
        asked = (one if one in known else one.rpartition(".")[0] for one in at_import(path))
        needs[name] = {one for one in asked if one in known and one != name}
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        raise AssertionError(f"they need each other: {' -> '.join(error.args[1])}") from None
    assert len(order) >= len(known)
