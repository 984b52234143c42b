"""A key covers what the user's code reads, however it gets there; and what can't be followed."""

import functools
import importlib
import inspect
import itertools
import os
import subprocess
import sys
import warnings
from importlib.metadata import packages_distributions

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, Ridge

from metalearners import TLearner
from metalearners.digests.digest import code_version, digest
from metalearners.digests.libraries import _holders, installed_as
from metalearners.digests.walk import identify
from metalearners.fits.estimator_spec import EstimatorSpec
from metalearners.fits.plan import Regression, plan_stage
from metalearners.fits.store import MemoryStore
from metalearners.store import DirectoryStore
from tests.simulate import draw, linear_learner, three_outcomes, three_propensities

SAMPLE = draw(90, three_outcomes, three_propensities, seed=3)
COUNT = itertools.count()

# How `value` of a module may come by `value` of the next, which is called {next}.
LINKS = {
    "from import": "from {package}.{next} import value as further\ndef value(): return further()",
    "module": "import {package}.{next}\ndef value(): return {package}.{next}.value()",
    "relative": "from . import {next} as further\ndef value(): return further.value()",
    "relative name": "from .{next} import value as further\nvalue = lambda: further()",
    "local": "def value():\n    from .{next} import value\n    return value()",
    "local module": (
        "def value():\n    import {package}.{next}\n    return {package}.{next}.value()"
    ),
    "local as": "def value():\n    import {package}.{next} as m\n    return m.value()",
    "default": "from . import {next}\ndef value(f={next}.value): return f()",
    "partial": (
        "import functools\nfrom . import {next}\n"
        "value = functools.partial(lambda f: f(), {next}.value)"
    ),
    "map": "from . import {next}\nALL = {{'a': [{next}.value]}}\ndef value(): return ALL['a'][0]()",
    "closure": (
        "from . import {next}\ndef make(f):\n    def value(): return f()\n    return value\n"
        "value = make({next}.value)"
    ),
    "nested": "from . import {next}\ndef value(): return [{next}.value() for _ in 'a'][0]",
    "decorator": (
        "import functools\nfrom . import {next}\ndef plus(f):\n    @functools.wraps(f)\n"
        "    def inner(): return f() + {next}.value()\n    return inner\n"
        "@plus\ndef value(): return 0"
    ),
    "class": (
        "from . import {next}\nclass Base:\n    @property\n"
        "    def got(self): return {next}.value()\n"
        "class Heir(Base):\n    def __call__(self): return self.got\nvalue = Heir()"
    ),
    "method": (
        "from . import {next}\nclass One:\n    kept = {next}.value\n"
        "    @classmethod\n    def get(cls): return cls.kept()\nvalue = One.get"
    ),
    "cycle": (
        "from . import {next}\ndef value(n=1): return other(n) if n else {next}.value()\n"
        "def other(n): return value(n - 1)"
    ),
}


def _write(folder, package, links, constant):
    place = folder / package
    place.mkdir(exist_ok=True)
    (place / "__init__.py").write_text("")
    for i, link in enumerate(links):
        text = LINKS[link].format(package=package, next=f"m{i + 1}")
        (place / f"m{i}.py").write_text(text + "\n")
    last = f"SCALE = {constant}\nUNREAD = []\ndef value(): return SCALE\n"
    (place / f"m{len(links)}.py").write_text(last)


def _load(folder, package):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]
    importlib.invalidate_caches()
    return importlib.import_module(f"{package}.m0").value


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.sampled_from(sorted(LINKS)), min_size=1, max_size=4))
def test_an_edit_moves_the_key_of_all_that_reaches_it(folder, links):
    package = f"own_{next(COUNT)}"
    names = []
    for constant in (1, 1, 2):
        _write(folder, package, links, constant)
        value = _load(folder, package)
        assert value() == constant
        names.append(identify(lambda value=value: digest(value)))

    assert names[0] == names[1]
    assert names[2].digest != names[1].digest
    assert names[2].gaps == ()


def test_a_value_that_is_set_at_run_time_moves_the_key_and_others_do_not(folder):
    _write(folder, "own_set", ["relative", "class"], 1)
    value = _load(folder, "own_set")
    module = sys.modules["own_set.m2"]
    before = digest(value)

    module.UNREAD.append(1)
    assert digest(value) == before
    module.SCALE = 3
    assert digest(value) != before


def test_names_are_the_same_in_other_processes(folder):
    _write(folder, "own_same", sorted(LINKS), 1)
    code = (
        "from own_same.m0 import value; from metalearners.digests.digest import digest; "
        "print(digest(value))"
    )
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }

    assert found == {digest(_load(folder, "own_same"))}


GAPS = {
    "a file": "def value(): return open('x').read()",
    "a file of a path": "import pathlib\ndef value(): return pathlib.Path('x').read_text()",
    "a file of numpy": "import numpy as np\ndef value(): return np.load('x')",
    "a file of scipy": "import scipy.io\ndef value(): return scipy.io.loadmat('x')",
    "a file of pandas": "import pandas as pd\ndef value(): return pd.read_fwf('x')",
    "a command": "import os\ndef value(): return os.popen('ls').read()",
    "the environment": "import os\ndef value(): return os.environ['X']",
    "a variable": "from os import getenv\ndef value(): return getenv('X')",
    "a folder": "import os\ndef value(): return os.listdir('.')",
    "a folder of a path": "import pathlib\ndef value(): return [*pathlib.Path('.').iterdir()]",
    "a tree of folders": "import os\ndef value(): return [*os.walk('.')]",
    "the clock": "import time\ndef value(): return time.time()",
    "the clock as a text": "from time import asctime\ndef value(): return asctime()",
    "the system's clock": "import time\ndef value(): return time.clock_gettime(0)",
    "the day": "from datetime import datetime\ndef value(): return datetime.now()",
    "settings": "import configparser\ndef value(): return configparser.ConfigParser()",
    "a page": "import httpx\ndef value(): return httpx.get('http://localhost')",
    "code by text": "def value(): return eval('1')",
    "a module by name": "import importlib\ndef value(): return importlib.import_module('os')",
    "a module as a value": "from . import m1\ndef value(): return getattr(m1, 'SCALE')",
    "a process": "import subprocess\ndef value(): return subprocess.run(['ls'])",
    "a generator": "import numpy as np\nRNG = np.random.default_rng(0)\ndef value(): return RNG",
    "a name that isn't there": "def value(): return NOWHERE",
    "a part of a C class": (
        "import numpy as np\nclass G(np.random.Generator): pass\n"
        "g = G(np.random.PCG64(0))\ndef value(): return g"
    ),
}


NO_GAPS = {
    "a pause": "import time\ndef value(): return time.sleep(0)",
    "a stopwatch": "import time\ndef value(): return time.perf_counter()",
    "a time of day": "from datetime import time\ndef value(): return time(8)",
    "a tree of code": "import ast\ndef value(): return [*ast.walk(ast.parse('1'))]",
}


@pytest.mark.parametrize("text", NO_GAPS.values(), ids=NO_GAPS)
def test_names_that_mean_other_things_elsewhere_are_followed(folder, text):
    _write(folder, "own_whole", [], 1)
    (folder / "own_whole" / "m0.py").write_text(text)

    assert identify(lambda: digest(_load(folder, "own_whole"))).gaps == ()


def test_compiled_functions_of_packages_are_known_by_their_version():
    def draws(y, p):
        return np.random.default_rng(0).normal() + p - y, np.ones_like(y)

    assert not identify(lambda: digest(draws)).gaps


def test_a_module_s_package_is_one_that_installed_it():
    for root, names in packages_distributions().items():
        assert set(_holders(root)) <= set(names), root


def test_a_package_that_is_a_link_is_a_package(tmp_path, monkeypatch):
    kept, site = tmp_path / "kept", tmp_path / "site"
    about = site / "linkedpackage-1.0.dist-info"
    about.mkdir(parents=True)
    kept.mkdir()
    (kept / "__init__.py").write_text("")
    (site / "linkedpackage").symlink_to(kept)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: linkedpackage\nVersion: 1.0\n")
    (about / "RECORD").write_text("")
    (about / "top_level.txt").write_text("linkedpackage\n")
    monkeypatch.syspath_prepend(site)
    importlib.import_module("linkedpackage")

    assert installed_as("linkedpackage") == "linkedpackage"


@pytest.mark.parametrize("text", GAPS.values(), ids=GAPS)
def test_what_can_t_be_followed_is_said(folder, text):
    _write(folder, "own_gap", [], 1)
    (folder / "own_gap" / "m1.py").write_text("SCALE = 1\n")
    (folder / "own_gap" / "m0.py").write_text(text)
    value = _load(folder, "own_gap")

    assert identify(lambda: digest(value)).gaps
    with pytest.raises(TypeError, match="content digest"):
        digest(value)


def test_instances_of_data_classes_are_followed(folder):
    _write(folder, "own_data", [], 1)
    text = "from dataclasses import dataclass\n@dataclass\nclass A:\n    a: int = 1\nvalue = A()"
    (folder / "own_data" / "m0.py").write_text(text)
    value = _load(folder, "own_data")

    assert identify(lambda: digest(value)).gaps == ()


# What a fit without a digest is


class Unfollowed(LinearRegression):
    """Reads a variable of the environment."""

    def fit(self, X, y):
        self.here = os.environ.get("NOWHERE")
        return super().fit(X, y)


def _rng_inside(rng=None):
    return Ridge(random_state=None if rng is None else 0)


PARAMETERS = [
    (Unfollowed, {}),
    (_rng_inside, {"rng": np.random.default_rng(0)}),
    (Ridge, {"random_state": np.random.RandomState(0)}),
]


@pytest.mark.parametrize(("factory", "params"), PARAMETERS)
def test_fits_without_a_digest_are_shared_with_none_and_not_kept(tmp_path, factory, params):
    learner = linear_learner(
        TLearner, n_variants=3, nuisance_model_factory=factory, nuisance_model_params=params
    )
    store = DirectoryStore(tmp_path / "fits")
    with pytest.warns(UserWarning, match="neither shared nor kept"):
        kept = learner.fit(SAMPLE.X, SAMPLE.y, SAMPLE.w, store=store).predict(SAMPLE.X, False)

    assert not list((tmp_path / "fits").rglob("*.fit"))
    assert (kept == learner.fit(SAMPLE.X, SAMPLE.y, SAMPLE.w).predict(SAMPLE.X, False)).all()
    d = SAMPLE.dataset()
    asked = {(name, "0"): Regression(EstimatorSpec(factory, params), d.y, 2) for name in "ab"}
    plan = plan_stage(asked, d, MemoryStore())
    assert len(plan.units) == plan.planned == 4
    assert len({unit.seed for unit in plan.units}) == 2  # seeds don't tell the two apart


# Factories


class Factory:
    """Makes ridge regressions."""

    def __init__(self, alpha):
        self.alpha = alpha

    def __call__(self, **params):
        return Ridge(alpha=self.alpha, **params)


def _ridge(alpha=2.0):
    return Ridge(alpha=alpha)


SHARED = Ridge(alpha=2.0)
FACTORIES = {
    "function": _ridge,
    "lambda": lambda: Ridge(alpha=2.0),
    "partial": functools.partial(Ridge, alpha=2.0),
    "object": Factory(2.0),
    "one estimator": lambda: SHARED,
}


@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
def test_any_callable_that_returns_an_estimator_is_a_factory(factory, tmp_path):
    rows = (SAMPLE.X, SAMPLE.y, SAMPLE.w)
    expected = linear_learner(
        TLearner,
        n_variants=3,
        nuisance_model_factory=Ridge,
        nuisance_model_params={"alpha": 2.0},
    ).fit(*rows)
    learner = linear_learner(TLearner, n_variants=3, nuisance_model_factory=factory)
    store = DirectoryStore(tmp_path / "fits")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learner.fit(*rows, store=store)

    np.testing.assert_array_equal(
        learner.predict(SAMPLE.X, False), expected.predict(SAMPLE.X, False)
    )
    assert list((tmp_path / "fits").rglob("*.fit"))
    assert not hasattr(SHARED, "coef_")


def test_factories_differ_by_what_they_make():
    made = [Factory(1.0), Factory(2.0), functools.partial(Ridge, alpha=1), _ridge, Ridge]

    assert len({EstimatorSpec(factory).digest for factory in made}) == len(made)
    assert EstimatorSpec(Factory(1.0)).digest == EstimatorSpec(Factory(1.0)).digest


def test_a_source_is_asked_for_again_where_python_cannot_parse_in_two_threads(monkeypatch):
    """What an issue of Python 3.11 raises cannot be had at will: the error is made up."""

    class Model:
        pass

    asked, getsource = [], inspect.getsource

    def unlucky(code):
        asked.append(code)
        if len(asked) < 3:
            raise SystemError("AST constructor recursion depth mismatch (before=108, after=153)")
        return getsource(code)

    known = code_version(Model)
    monkeypatch.setattr(inspect, "getsource", unlucky)
    assert code_version(Model) == known
    assert len(asked) == 3
