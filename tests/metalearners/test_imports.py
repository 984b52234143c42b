"""What the library brings into a process, and which way its imports point."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import metalearners
from metalearners import evaluation
from tests import simulate

PACKAGE = Path(metalearners.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if path.stem != "__init__"
)
LEARNERS = [learner.__module__.rpartition(".")[2] for learner in simulate.LEARNERS]
ALLOWED = {
    "fsspec",
    "joblib",
    "loky",
    "psutil",
    "tenacity",
    "threadpoolctl",
    "narwhals",
    "numpy",
    "pandas",
    "scipy",
    "sklearn",
    "metalearners",
}
EXTRAS = {
    "base_models.binning": {"lightgbm"},
    "fits.devices": {"catboost", "cupy", "lightgbm", "xgboost"},
    "onnx_graph": {"onnx"},
    "export": {"onnx"},
    "workers.dask": {"cloudpickle", "dask", "distributed"},
    **{name: {"matplotlib"} for name in MODULES if name.startswith("plots.")},
}


def _imported(module: str) -> set[str]:
    """Names of the modules that a source file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse((PACKAGE / f"{module.replace('.', '/')}.py").read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add(node.module)
    return found


def test_the_library_brings_no_orchestrator():
    everything = "; ".join(f"import metalearners.{name}" for name in MODULES)
    code = f"import metalearners, sys; {everything}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    roots = {name.partition(".")[0] for name in ran.stdout.split()}
    assert "sklearn" in roots
    assert not roots & {"prefect", "flows", "deployments", "fastapi", "httpx", "pydantic"}


def test_no_extra_is_needed_to_import_the_library():
    everything = "; ".join(
        f"import metalearners.{name}"
        for name in MODULES
        if name not in ("onnx_graph", "workers.dask")
    )
    code = f"import metalearners, sys; {everything}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    roots = {name.partition(".")[0] for name in ran.stdout.split()}
    assert not roots & {"onnx", "shap", "dask", "distributed"}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_the_standard_library_and_few_packages(module):
    roots = {name.partition(".")[0] for name in _imported(module)}

    assert roots - set(sys.stdlib_module_names) <= ALLOWED | EXTRAS.get(module, set())


@pytest.mark.parametrize("module", [m for m in MODULES if m not in LEARNERS])
def test_the_core_knows_no_learner(module):
    known = _imported(module)

    assert not known & {f"metalearners.{name}" for name in LEARNERS}


@pytest.mark.parametrize("module", LEARNERS)
def test_learners_do_not_know_each_other(module):
    assert not _imported(module) & {f"metalearners.{name}" for name in LEARNERS}


def test_metrics_are_at_the_door_of_their_folder():
    assert (
        evaluation.gain_curve
        is importlib.import_module("metalearners.evaluation.judging.curves").gain_curve
    )
    offered = [getattr(evaluation, name) for name in evaluation.__all__ if name != "DEFINITIONS"]
    assert all(map(callable, offered))
