"""The registry of learners: a file and a line make a learner that can be chosen everywhere."""

import itertools
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import metalearners
from flows.cli.init import write_config
from flows.config.reading import parse_config
from flows.config.sections import Config
from flows.inputs.models import learners_of
from metalearners.plots.styles import learner_style
from metalearners.registry import REGISTRY
from metalearners.utils import metalearner_factory
from tests import simulate
from tests.conftest import REPOSITORY

each_entry = pytest.mark.parametrize("entry", REGISTRY.values(), ids=REGISTRY)
DATA = {"source": "x.csv", "outcome": "y", "treatment": "w", "control": 0}


def test_the_registry_has_the_learners_that_the_laws_are_tested_on():
    assert [entry.load() for entry in REGISTRY.values()] == list(simulate.LEARNERS)


@each_entry
def test_a_learner_of_the_registry_can_be_chosen_everywhere(entry, tmp_path):
    made = getattr(metalearners, entry.name)
    own = {kind: {"estimator": f"lightgbm.LGBM{_sort(made, kind)}"} for kind in _kinds(made)}
    settings = {"data": DATA, "learners": [entry.name], "models": {entry.name: own}}
    config = parse_config(settings)
    (learner,) = learners_of(config, 3).values()

    assert made is entry.load() is metalearner_factory(entry.prefix) is type(learner)
    assert parse_config(settings) == Config.model_validate(config.model_dump())
    assert type(learner_style(entry.name)).__name__ == "Style"
    rows = pd.DataFrame({"w": [0, 1, 0], "x": [3.0, 5.0, 4.0], "y": [1.0, 2.0, 2.5]})
    rows.to_csv(tmp_path / "data.csv")
    write_config(str(tmp_path / "data.csv"), tmp_path / "mine.yaml")
    assert entry.name in (tmp_path / "mine.yaml").read_text()


def _kinds(learner):
    return learner.NUISANCE_KINDS + learner.TREATMENT_KINDS


def _sort(learner, kind):
    return "Classifier" if learner.role_of(kind) == "propensity" else "Regressor"


def test_the_form_offers_each_learner_and_its_models():
    from prefect.utilities.callables import parameter_schema

    from flows import uplift_run

    schema = parameter_schema(uplift_run.fn).model_dump()

    assert schema["properties"]["learners"]["items"]["enum"] == list(REGISTRY)
    models = schema["definitions"]["ModelsConfig"]["properties"]
    assert list(models) == ["outcome", "propensity", "treatment", *REGISTRY]
    for name, entry in REGISTRY.items():
        assert set(models[name]["properties"]) == set(_kinds(entry.load()))


def test_a_file_and_a_line_are_a_learner(tmp_path):
    for package in ("metalearners", "flows"):
        shutil.copytree(REPOSITORY / package, tmp_path / package)
    (tmp_path / "metalearners" / "newlearner.py").write_text(
        "from metalearners.tlearner import TLearner\n\n\nclass NewLearner(TLearner): ...\n"
    )
    registry = tmp_path / "metalearners" / "registry.py"
    line = '_ENTRIES = (\n    Entry("New", "#000000", "*", "1 9"),'
    assert registry.read_text().count("_ENTRIES = (") == 1
    registry.write_text(registry.read_text().replace("_ENTRIES = (", line))
    code = (
        "from metalearners import NewLearner;"
        "from metalearners.utils import metalearner_factory;"
        "from flows.config.reading import parse_config;"
        "from flows.inputs.models import learners_of;"
        f"config = parse_config({{'data': {DATA}, 'learners': ['NewLearner'], "
        "'models': {'NewLearner': {}}});"
        "assert type(learners_of(config, 2)['NewLearner']) is NewLearner;"
        "assert metalearner_factory('New') is NewLearner;"
        "from metalearners.plots.styles import learner_style;"
        "print(learner_style('NewLearner').marker)"
    )

    given = {"cwd": tmp_path, "capture_output": True, "text": True}
    ran = subprocess.run([sys.executable, "-c", code], check=False, **given)

    assert ran.stdout == "*\n", ran.stderr


# How learners are drawn

# Machado, Oliveira and Fernandes (2009): what is seen with no red, green or blue cones, in linear
# RGB.
SEEN = {
    "all colours": np.eye(3),
    "no red": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "no green": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "no blue": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour):
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIELAB, in which a distance of about 2 is just seen."""
    x, y, z = np.cbrt(np.clip(XYZ @ rgb, 1e-6, None) / XYZ.sum(axis=1))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("seen", SEEN)
def test_colours_of_learners_differ_whatever_is_seen_of_them(seen):
    colours = {name: lab(SEEN[seen] @ linear(e.colour)) for name, e in REGISTRY.items()}

    for a, b in itertools.combinations(colours, 2):
        assert np.linalg.norm(colours[a] - colours[b]) > 8, (a, b)


def test_learners_differ_in_marker_and_dash_and_stand_out_from_white():
    styles = [learner_style(name) for name in REGISTRY]

    assert len({one.marker for one in styles}) == len({one.dash for one in styles}) == len(styles)
    for one in styles:
        assert 1.05 / (XYZ[1] @ linear(one.colour) + 0.05) > 3, one
