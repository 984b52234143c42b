"""Wrong input is refused before anything is fitted: what was expected, what was found, a remedy.

Tables of cases, read in this process; a few through the real command at the end. What looks odd
and is right stands beside what is refused.
"""

import copy
import datetime
import decimal
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from xgboost import build_info

from flows.config.files import check_file
from flows.config.parts.models import ModelSpec
from flows.config.reading import load_config, parse_config
from flows.errors import InputError
from flows.inputs.models import resolve
from flows.inputs.source import open_source
from flows.inputs.study import load_study
from flows.launch import start
from flows.runs.loading import load
from flows.runs.records import find_run
from flows.scoring import score_file
from flows.scoring.outputs import JsonLines
from metalearners.bundle import Bundle

CONFIG = {
    "data": {
        "source": "data.parquet",
        "outcome": "y",
        "treatment": "w",
        "control": "a",
        "features": ["x", "n"],
    },
    "learners": ["DRLearner"],
    "folds": {"n_folds": 3},
    "cache": {"enabled": False},
}
N = 120


def rows() -> pd.DataFrame:
    """120 rows with a column for each role."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "y": rng.normal(size=N),
            "yes": np.arange(N) // 2 % 2,
            "w": ["a", "b"] * (N // 2),
            "w3": ["a", "b", "c"] * (N // 3),
            "x": rng.normal(size=N),
            "n": rng.integers(0, 5, N),
            "site": rng.choice(["u", "v"], N),
            "family": np.arange(N) // 3,
            "weight": rng.uniform(0.5, 2, N),
            "p": np.full(N, 0.5),
            "id": np.arange(N),
        }
    )


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("UPLIFT_DATA_ROOTS", "UPLIFT_IMPORT_ROOTS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def merged(base, changes):
    """The base with the changes laid over it, map by map."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def data(**roles):
    return {"data": roles}


def study(changes=(), frame=None):
    """The study of a frame, or of whatever the changed config says is the source."""
    config = merged(CONFIG, dict(changes))
    if config["data"]["source"] == "data.parquet":
        (rows() if frame is None else frame).to_parquet("data.parquet")
    return load(parse_config(config))


def refused(match, changes=(), frame=None):
    with pytest.raises(InputError, match=match) as caught:
        study(changes, frame)
    assert "Traceback" not in str(caught.value)
    assert not Path("runs").exists(), "refused input leaves nothing behind"


# Values of the config

SETTINGS = [
    ({"modells": {}}, "modells: unknown key. Did you mean 'models'?"),
    (data(controll="a"), "data.controll: unknown key. Did you mean 'control'?"),
    ({"str": 1, "a[b": 2}, "str: unknown key"),
    ({"models": {"outcom": {"estimator": "x.Y"}}}, "models.outcom: unknown key. .*'outcome'"),
    ({"models": {"outcome": {"estimator": "x.Y", "parms": {}}}}, "parms: .*mean 'params'"),
    ({"models": {"outcome": "lightgbm.LGBMRegressor"}}, "models.outcome: expected a map with est"),
    ({"models": {"outcome": {"params": {}}}}, "models.outcome.estimator: expected a value"),
    ({"models": {"outcome": {"estimator": 3}}}, "estimator: expected a text; found 3"),
    ({"models": {"outcome": {"estimator": "x.Y", "params": [1]}}}, "params: expected a map"),
    ({"models": {"outcome": {"estimator": "x.Y", "params": {1: 2}}}}, "expected a text; found 1"),
    ({"models": {"outcome": {"estimator": "x.Y", "params": {"a": b"b"}}}}, "found b'b'"),
    ({"models": {"outcome": {"estimator": "x.Y", "params": {"a": {b"b"}}}}}, "lists and maps"),
    ({"models": {"DRLearner": {"treatment_model": "x.Y"}}}, "treatment_model: expected a map"),
    ({"models": None}, "models: expected a map with outcome"),
    ({"models": {"propensity": 1}}, "models.propensity: expected a map"),
    ({"clip": "tenth"}, "clip: expected a number or 'auto'; found 'tenth'"),
    ({"learners": []}, "learners: expected one or more; found none"),
    ({"learners": None}, "learners: expected a list; found None"),
    ({"learners": "DRLearner"}, "learners: expected a list; found 'DRLearner'"),
    ({"learners": ["DRlearner"]}, "Did you mean 'DRLearner'"),
    ({"learners": ["MetaLearner"]}, "learners.0: expected 'SLearner'"),
    ({"learners": ["DRLearner", "DRLearner"]}, "found 'DRLearner' twice"),
    ({"clip": -0.1}, "clip: expected a number greater than or equal to 0"),
    ({"clip": 0.5}, "clip: expected a number less than 0.5"),
    ({"clip": float("nan")}, "clip: .*found nan"),
    ({"clip": True}, "clip: expected a number or 'auto'; found True"),
    ({"folds": {"n_folds": 1}}, "n_folds: expected a number greater than or equal to 2; found 1"),
    ({"folds": {"n_folds": "5"}}, "n_folds: expected a whole number; found '5'"),
    ({"folds": {"n_folds": 5.0}}, "n_folds: expected a whole number; found 5.0"),
    ({"folds": {"n_folds": True}}, "n_folds: expected a whole number; found True"),
    ({"folds": {"n_folds": "five"}}, "found 'five'"),
    ({"folds": {"n_folds": None}}, "found None"),
    ({"folds": {"n_folds": 10**30}}, "n_folds: expected a number less than"),
    ({"folds": {"seed": -1}}, "folds.seed: .*found -1"),
    ({"folds": {"seed": True}}, "folds.seed: .*found True"),
    ({"folds": {"seed": 2**32}}, "folds.seed: .*less than"),
    ({"folds": 5}, "folds: expected a map with n_folds, seed, repeats; found 5"),
    ({"evaluation": {"holdout": -0.1}}, "holdout: .*greater than or equal to 0"),
    ({"evaluation": {"holdout": 1}}, "holdout: .*less than 1; found 1"),
    ({"evaluation": {"holdout": float("nan")}}, "holdout: .*found nan"),
    ({"evaluation": {"holdout": False}}, "holdout: expected a number; found False"),
    ({"evaluation": {"bootstrap": -1}}, "bootstrap: .*found -1"),
    ({"evaluation": {"bootstrap": 1.5}}, "bootstrap: expected a whole number"),
    ({"evaluation": {"bootstrap": 10**9}}, "bootstrap: .*less than"),
    (
        {"parallelism": {"runner": "dask", "address": "somewhere"}},
        "address: expected an address such as tcp://host:8786; found 'somewhere'",
    ),
    (
        {"parallelism": {"runner": "spark"}},
        "runner: expected 'thread', 'process', 'dask' or 'serial'; found 'spark'",
    ),
    ({"parallelism": {"workers": -1}}, "workers: .*found -1"),
    ({"parallelism": {"workers": True}}, "workers: .*found True"),
    ({"parallelism": {"worker": 2}}, "parallelism.worker: .*Did you mean 'workers'"),
    ({"parallelism": {"base_model_threads": 0}}, "base_model_threads: .*found 0"),
    ({"parallelism": "Auto"}, "expected 'auto' or a map .*Did you mean 'auto'"),
    ({"cache": {"enabled": "no"}}, "cache.enabled: expected true or false; found 'no'"),
    ({"cache": {"storage": "s3://me:secret@b/x"}}, "cache.storage: a URL without credentials"),
    ({"cache": {"storage": "~/cache"}}, "cache.storage: expected a folder of this machine"),
    ({"cache": {"max_age_days": 0}}, "max_age_days: .*greater than 0"),
    (
        {"parallelism": {"unit_seconds": 5}},
        "unit_seconds: .*runners process and dask; found thread",
    ),
    ({"parallelism": {"address": "tcp://a:1"}}, "address: expected with the runner dask"),
    ({"output": "~/runs"}, "output: expected a folder of this machine, written out"),
    ({"output": ""}, "output: expected a folder"),
    ({"output": "a\0b"}, "output: expected a folder"),
    ({"output": 3}, "output: expected a text; found 3"),
    (data(outcome_type="Binary"), "outcome_type: .*Did you mean 'binary'"),
    (data(time="x"), "'x' is in two roles, features and time"),
    (data(time=2024), "data.time: expected a text; found 2024"),
    (data(outcome=1), "data.outcome: expected a text; found 1"),
    (data(control=None), "data.control: expected .* or a text; found None"),
    (data(control=["a"]), r"data.control: .*found \['a'\]"),
    (data(arms=["a", "b", "b"]), "data.arms: expected each once; found 'b' twice"),
    (data(arms=[]), "data.arms: expected one or more; found none. Say null for all"),
    (data(features=[]), "data.features: expected one or more; found none"),
    (data(features=["x", "x"]), "data.features: expected each once; found 'x' twice"),
    (data(features="x"), "data.features: expected a list; found 'x'"),
    (data(features=["x", "y"]), "'y' is in two roles, features and outcome"),
    (data(outcome="w"), "'w' is in two roles, outcome and treatment"),
    (data(weight="x"), "'x' is in two roles, features and weight"),
    (data(weight="g", group="g"), "'g' is in two roles"),
    (data(row_id="y"), "'y' is in two roles"),
    (data(propensity={"b": "x"}), "'x' is in two roles, features and propensity"),
    (data(row_id="held_out"), "data.row_id: the estimates have a column 'held_out'"),
    (data(row_id="cate.DRLearner.b"), "data.row_id: the estimates have a column 'cate"),
    (
        data(propensity="p"),
        "data.propensity: expected a number or a map from arm.*found 'p'. .*say {1: p}",
    ),
    (data(propensity=True), "data.propensity: expected a number or a map; found True"),
    (data(propensity={"b": None}), "data.propensity.b: expected a number or a text; found None"),
    (data(source=""), "data.source"),
    (data(read={"encoding": "hex"}), "read.encoding: expected an encoding .*found 'hex'"),
]


@pytest.mark.parametrize(("changes", "match"), SETTINGS, ids=lambda v: str(v)[:60])
def test_value_of_the_config_is_refused(changes, match):
    with pytest.raises(InputError, match=match) as caught:
        parse_config(merged(CONFIG, changes))
    assert "pydantic" not in str(caught.value)
    assert "expected 'auto'; found {" not in str(caught.value), "only the form that was meant"


@pytest.mark.parametrize(
    "source",
    [
        "s3://key:secret@bucket/x.parquet",
        "https://token@host/x.parquet",
        "simplecache::https://user:secret@host/x.parquet",
        "zip://x.csv::https://user:secret@host/x.zip",
        "https://host/x.parquet?sig=secret",
        "https://host/x.parquet?v=1&X-Amz-Signature=secret",
        "https://host/x.parquet?access_token=secret",
    ],
)
def test_secrets_in_a_url_are_refused_and_not_repeated(source):
    with pytest.raises(InputError, match="without credentials") as caught:
        parse_config(merged(CONFIG, data(source=source)))
    assert "secret" not in str(caught.value).replace("secrets", "")


@pytest.mark.parametrize(
    "changes",
    [
        data(source="abfs://container@account.dfs.core.windows.net/x.parquet"),
        data(source="https://host/a@b.parquet"),
        data(source="data/?/key=1/*.parquet"),
        data(row_id="family", group="family"),
        data(treatment="w3", propensity={"b": "p", "c": "p"}),
        {"parallelism": {}},
        {"clip": 0, "evaluation": {"holdout": 0}},
        {"models": {"DRLearner": {"treatment_model": {"estimator": "x.Y"}}}},
    ],
    ids=str,
)
def test_what_looks_odd_and_is_right_is_taken(changes):
    parse_config(merged(CONFIG, changes))


# The config as a file

FILES = {
    "empty": (b"", "found nothing"),
    "list": (b"- a", r"found \['a'\]"),
    "scalar": (b"3", "found 3"),
    "empty map": (b"{}", "with the key `data`"),
    "broken": (b"data: [a", "valid YAML .*line 1, column 9"),
    "tabs": (b"data:\n\tsource: x", "valid YAML"),
    "two documents": (b"a: 1\n---\nb: 2", "valid YAML .*single document"),
    "no text": (b"\xff\xfe\x00", "readable config"),
    "UTF-16": ("data: {}".encode("utf-16"), "readable config"),
    "data as text": (b"data: x.parquet", "data: expected a map with source"),
    "no data": (b"learners: [DRLearner]", "data: expected a value, found none. Add the key"),
    "key twice": (b"clip: 0.1\nclip: 0.2", "key 'clip' twice at line 2"),
    "nested key twice": (b"data: {source: a, source: b}", "key 'source' twice"),
    "boolean key": (b"on: 1", "expected a text as key"),
    "map as key": (b"? {a: b}\n: c", "valid YAML .*unhashable"),
    "python object": (b"data: !!python/object/apply:os.mkdir [trap]", "constructor for the tag"),
    "in itself": (b"data: &a {source: *a}", "data.source: expected a text"),
    "params in themselves": (
        b"data: {source: a}\nmodels: {outcome: {estimator: a, params: &p {a: *p}}}",
        "expected values that don't contain themselves",
    ),
    "too deep": (b"data: " + b"[" * 2000 + b"]" * 2000, "valid YAML"),
    "a number of 5000 digits": (b"clip: " + b"9" * 5000, "valid YAML"),
}


@pytest.mark.parametrize(("content", "match"), FILES.values(), ids=FILES)
def test_config_file_is_refused(content, match):
    Path("config.yaml").write_bytes(content)
    with pytest.raises(InputError, match=match) as caught:
        load_config(Path("config.yaml"))
    assert "config.yaml" in str(caught.value)
    assert not Path("trap").exists()


@pytest.mark.parametrize("path", ["nowhere.yaml", ".", "a\0b", "x" * 300])
def test_config_that_is_no_file_is_refused(path):
    with pytest.raises(InputError, match=r"doesn't exist|readable config file"):
        load_config(Path(path))


CHANGES = [
    ("folds", "Expected --set key.path=value; found 'folds'"),
    ("=3", "Expected --set"),
    ("folds.=3", "Expected --set"),
    ("folds..seed=3", "Expected --set"),
    ("folds.n_folds=[1", "valid YAML in --set"),
    ("folds.n_folds=", "n_folds: expected a whole number; found None"),
    ("folds.n_folds=x", "n_folds: expected a whole number; found 'x'"),
    ("data.control={a: 1, a: 2}", "key 'a' twice"),
    ("data.control=!!python/name:os.system", "constructor for the tag"),
    ("learners.0=SLearner", r"Expected a mapping at 'learners' .*has \['DRLearner'\] there"),
    ("data.source.x=3", "Expected a mapping at 'source'"),
    ("data.foo=1", "data.foo: unknown key"),
    ("a.b.c.d=1", "a: unknown key"),
    ("models.outcome.params.n=3", "models.outcome.estimator: expected a value"),
    ("data=null", "data: expected a map"),
]


@pytest.mark.parametrize(("change", "match"), CHANGES, ids=[c for c, _ in CHANGES])
def test_change_is_refused(change, match):
    Path("config.yaml").write_text(yaml.safe_dump(CONFIG))
    with pytest.raises(InputError, match=match):
        load_config(Path("config.yaml"), [change])


def test_changes_are_read_as_yaml_and_reach_through_defaults():
    Path("config.yaml").write_text(
        yaml.safe_dump({**CONFIG, "parallelism": "auto"}).replace("a\n", "a # arm\n")
    )
    changes = ["parallelism.workers=2", "clip=1e-3", "data.control='no'", "data.propensity.b=0.4"]
    config = load_config(Path("config.yaml"), changes, "elsewhere")

    assert config.parallelism.workers == 2
    assert config.clip == 0.001
    assert config.data.control == "no"
    assert config.data.propensity == {"b": 0.4}
    assert config.output == "elsewhere"


def test_yaml_of_people_is_read_as_meant():
    Path("config.yaml").write_text(
        "\ufeffdata: &d {source: a.parquet, outcome: y, treatment: w, control: 2020-01-01}\n"
        "models: {treatment: {estimator: a.B, params: {rate: 1e-3, names: [1e, e3, '1e3']}}}\n"
    )
    config = load_config(Path("config.yaml"))

    assert config.data.control == "2020-01-01"
    assert config.models.treatment.params == {"rate": 0.001, "names": ["1e", "e3", "1e3"]}


def test_merge_keys_may_be_overridden():
    text = yaml.safe_dump(CONFIG).replace("data:\n", "data:\n  <<: {source: z, row_id: i}\n")
    Path("config.yaml").write_text(text)
    config = load_config(Path("config.yaml"))

    assert (config.data.source, config.data.row_id) == ("data.parquet", "i")


# Random configs: a config or one refusal, and a written config is the same again

_WORDS = ["auto", "str", "float", "[key]", "a[b", "data", "estimator", "params", "1e3", "no", "~"]
_WORDS += ["2020-01-01", "0x1f", ".inf", "<<", "!x", "*a", "- a", "# c", "\n", "\x85", "\u2028"]
_FULL = merged(
    CONFIG,
    {
        "data": {"row_id": "id", "arms": ["a", "b"], "time": None, "propensity": {"b": 0.5}},
        "models": {
            "outcome": {"estimator": "a.B", "params": {"n": 1, "s": [{"estimator": "c.D"}]}},
            "DRLearner": {"treatment_model": {"estimator": "e.F"}},
        },
        "parallelism": {"workers": 2},
        "evaluation": {"holdout": 0.2, "bootstrap": 10},
    },
)
_keys = st.sampled_from(_WORDS) | st.text(max_size=4) | st.booleans() | st.integers(0, 3)
_scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | _keys
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=5,
)


def places(value, at=()):
    """Paths to all parts of a config."""
    yield at
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, part in items:
        yield from places(part, (*at, key))


def with_value(content, path, value):
    """The content with a value at a path; as it was where there is no such path."""
    if not path:
        return value
    key, *rest = path
    if isinstance(content, dict):
        return {**content, key: with_value(content.get(key), rest, value)}
    if isinstance(content, list) and isinstance(key, int):
        return [with_value(v, rest, value) if i == key else v for i, v in enumerate(content)]
    return content


_places = st.sampled_from(list(places(_FULL)))
_paths = _places | st.tuples(_places, _keys).map(lambda pair: (*pair[0], pair[1]))


@hypothesis_settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(changes=st.lists(st.tuples(_paths, _values), max_size=3))
def test_random_config_is_taken_or_refused_and_is_the_same_when_written(changes):
    content = _FULL
    for path, value in changes:
        content = with_value(content, path, value)
    try:
        config = parse_config(content)
    except InputError:
        return
    Path("written.yaml").write_text(config.to_yaml(), encoding="utf-8")
    assert repr(load_config(Path("written.yaml"))) == repr(config)
    json.dumps(config.model_dump(mode="json"))


@pytest.mark.parametrize("key", [True, 1, 1.0, "1", "1e3"])
def test_written_config_keeps_the_types_of_labels(key):
    config = parse_config(merged(CONFIG, data(control=key, arms=[key], propensity={key: 0.5})))
    Path("written.yaml").write_text(config.to_yaml())
    again = load_config(Path("written.yaml"))

    assert again == config
    assert [type(label) for label in again.data.propensity] == [type(key)]


# Where the rows are


def write(path, frame=None, **more):
    frame = rows() if frame is None else frame
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if ".csv" in path.name or ".tsv" in path.name:
        frame.to_csv(path, index=False, **more)
    else:
        frame.to_parquet(path, **more)
    return str(path)


def half_of(path):
    content = Path(write(path)).read_bytes()
    Path(path).write_bytes(content[: len(content) // 2])
    return path


def with_content(path, content):
    Path(path).write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def csv_with(line, change):
    lines = rows().to_csv(index=False).splitlines()
    lines[line] = change(lines[line])
    return with_content("odd.csv", "\n".join(lines))


def twice_named(path):
    table = pa.Table.from_pandas(rows())
    pq.write_table(table.rename_columns(["x" if c == "n" else c for c in table.column_names]), path)
    return path


def stream_instead_of_file():
    table = pa.Table.from_pandas(rows())
    with pa.ipc.new_stream("stream.arrow", table.schema) as sink:
        sink.write_table(table)
    return "stream.arrow"


def feather(path):
    rows().to_feather(path)
    return path


def folder(*files):
    for name, frame in files:
        write(f"folder/{name}", frame)
    return "folder"


def late_type():
    pad = "p" * 1000
    lines = ["y,w,x,n,pad", *[f"0.5,a,1,1,{pad}", f"0.7,b,2,2,{pad}"] * 17_000, "0,a,1,1.5,p"]
    return with_content("late.csv", "\n".join(lines))


SOURCES = {
    "missing": (lambda: "nowhere.parquet", "Expected data at nowhere.parquet.*found none"),
    "no match": (lambda: write("a.parquet") and "*.csv", "found none"),
    "empty": (lambda: with_content("a.parquet", b""), "Expected rows .*the file is empty"),
    "blank CSV": (
        lambda: with_content("a.csv", "\n\n"),
        "names of columns, .*; found none",
    ),
    "truncated Parquet": (lambda: half_of("a.parquet"), "can't be read.*whole"),
    "truncated Feather": (
        lambda: with_content("b.feather", Path(feather("a.feather")).read_bytes()[:900]),
        "Not an Arrow file",
    ),
    "CSV named Parquet": (lambda: with_content("a.parquet", "x,y\n1,2\n"), "can't be read"),
    "Parquet named CSV": (
        lambda: with_content("b.csv", Path(write("a.parquet")).read_bytes()),
        "can't be read",
    ),
    "Arrow stream": (stream_instead_of_file, "Not an Arrow file"),
    "compressed CSV": (lambda: with_content("a.csv.gz", b"x"), "can't be read: .*whole"),
    "Excel": (lambda: with_content("a.xlsx", b"PK"), "ending in .*found .xlsx"),
    "no ending": (lambda: with_content("a", b"x"), "ending in .*found none"),
    "no rows": (lambda: write("a.parquet", rows().head(0)), "Expected rows in a.parquet"),
    "header only": (lambda: write("a.csv", rows().head(0)), "Expected rows in a.csv"),
    "long row": (lambda: csv_with(50, lambda t: t + ",9"), "Row #51: Expected 11 columns, got 12"),
    "short row": (lambda: csv_with(50, lambda t: t[:9]), "Row #51: Expected 11 columns"),
    "open quote": (lambda: csv_with(-1, lambda t: '1,"' + t), "can't be read"),
    "CSV column twice": (
        lambda: csv_with(0, lambda t: t.replace("n,", "x,")),
        "found .*x.* more than once",
    ),
    "Parquet column twice": (
        lambda: twice_named("a.parquet"),
        "found .* more than once",
    ),
    "folder of other files": (
        lambda: Path("folder").mkdir() or (with_content("folder/a.md", "x") and "folder"),
        "at folder; found .md",
    ),
    "folder of two formats": (
        lambda: folder(("a.parquet", None), ("b.csv", None)),
        "one format.*found .csv, .parquet",
    ),
    "folder with an empty file": (
        lambda: folder(("a.parquet", None)) and with_content("folder/b.parquet", b"") and "folder",
        "b.parquet; the file is empty",
    ),
    "folder whose files lack a column": (
        lambda: folder(("a.parquet", None), ("b.parquet", rows().drop(columns="x"))),
        "same columns in all files.*b.parquet has no x",
    ),
    "folder whose files differ in type": (
        lambda: folder(("a.parquet", None), ("b.parquet", rows().assign(x="t"))),
        "can't be read.*one type throughout",
    ),
    "folder named as a file": (lambda: Path("a.parquet").mkdir() or "a.parquet", "found none"),
    "dangling link": (lambda: os.symlink("no.parquet", "a.parquet") or "a.parquet", "found none"),
    "unknown protocol": (lambda: "foo://bucket/x.parquet", "Protocol not known: foo"),
    "no such URL": (lambda: "memory://nothing.parquet", "found none"),
    "data in a URL": (lambda: "data:text/csv;base64,eA==", "can't be read"),
    "chain with no archive": (
        lambda: f"zip://a.csv::file://{Path(write('a.parquet')).resolve()}",
        "not a zip file",
    ),
    "package not installed": (lambda: "gs://bucket/x.parquet", "install gcsfs"),
    "no characters of a path": (lambda: "a\0b.parquet", "Expected data at"),
}


@pytest.mark.parametrize(("make", "match"), SOURCES.values(), ids=SOURCES)
def test_source_is_refused(make, match):
    refused(match, data(source=make()))


TAKEN_SOURCES = {
    "CSV": lambda: write("a.csv"),
    "UTF-16": lambda: write("a.csv", encoding="utf-16"),
    "Latin-1": lambda: write("a.csv", rows().assign(site="Zürich"), encoding="latin-1"),
    "semicolons": lambda: write("a.csv", sep=";"),
    "tabs": lambda: write("a.tsv", sep="\t"),
    "compressed CSV": lambda: write("a.csv.gz"),
    "CSV with a byte order mark": lambda: write("a.csv", encoding="utf-8-sig"),
    "CSV with an empty line": lambda: csv_with(50, lambda line: "\n" + line),
    "Latin-1 in a column not read": lambda: with_content(
        "a.csv", rows().assign(site="é").to_csv(index=False).encode("latin-1")
    ),
    "Feather": lambda: feather("a.feather"),
    "Arrow": lambda: feather("a.arrow"),
    "capitals": lambda: write("A.PARQUET"),
    "odd name": lambda: write("a b#c%20.parquet"),
    "brackets": lambda: write("a[1].parquet"),
    "folder": lambda: folder(("a.parquet", None), (".b.parquet", None), ("_SUCCESS.csv", None)),
    "folder with a marker": lambda: (
        folder(("a.parquet", None)) and with_content("folder/_SUCCESS", b"") and "folder"
    ),
    "glob over a marker": lambda: (
        folder(("a.parquet", None)) and with_content("folder/_SUCCESS", b"") and "folder/*"
    ),
    "hidden folder above": lambda: write(".a/_b/c.parquet") and ".a/_b/*.parquet",
    "folder named as a file": lambda: write("a.parquet/part-0.parquet") and "a.parquet",
    "URL of a file": lambda: f"file://{Path(write('a.parquet')).resolve()}",
}


@pytest.mark.parametrize("make", TAKEN_SOURCES.values(), ids=TAKEN_SOURCES)
def test_source_is_taken(make):
    assert len(study(data(source=make())).dataset) == N


def test_parts_of_a_folder_are_a_column():
    rows().to_parquet("parts", partition_cols=["site"])
    found = study(data(source="parts", features=["x", "site"]))

    assert (
        found.features["site"].value_counts().to_dict() == rows()["site"].value_counts().to_dict()
    )


def test_csv_types_are_settled_by_many_rows():
    frame = rows().sample(60_000, replace=True, random_state=0, ignore_index=True)
    frame["n"] = [*(["1"] * 59_999), "1.5"]
    assert study(data(source=write("a.csv", frame))).features["n"].max() == 1.5


# Columns and roles


def put(column, values):
    return rows().assign(**{column: values})


COLUMNS = {
    "unknown column": ({}, data(outcome="yy"), "data.outcome: .*'yy' is none.* It has: y, yes"),
    "unknown feature": ({}, data(features=["x", "sit"]), "data.features: .*mean 'site'"),
    "unknown propensity column": ({}, data(propensity={"b": "q"}), "data.propensity.b: expected a"),
    "every column has a role": (
        lambda: rows()[["y", "w"]],
        data(features=None),
        "every column has a role",
    ),
    # outcome
    "text outcome": ({"y": "t"}, {}, "data.outcome: expected numbers in 'y'; found string"),
    "mixed outcome": ({"y": ["1", "."] * 60}, {}, "data.outcome: .*found string"),
    "missing outcome": ({"y": np.nan}, {}, "data.outcome: .*only missing values"),
    "null outcome": ({"y": None}, {}, "data.outcome: .*only missing values"),
    "one outcome missing": ({"y": [np.nan, *range(119)]}, {}, "found 1 missing and 0 infinite"),
    "infinite outcome": ({"y": [np.inf, *range(119)]}, {}, "found 0 missing and 1 infinite"),
    "date outcome": ({"y": pd.Timestamp("2020-01-01")}, {}, "found datetime64"),
    "a mark for missing": (
        {"y": [1.7e308, *range(119)]},
        {},
        "1e.100 in 'y'; found 1.7e.308. Does",
    ),
    "list outcome": ({"y": [[1]] * N}, {}, "data.outcome: .*found mixed"),
    "not binary": ({}, data(outcome_type="binary"), "expected 0/1 .*found 120 values such as"),
    "one and two": (
        {"y": [1, 2] * 60},
        data(outcome_type="binary"),
        "found 2 values such as 1, 2.*recode",
    ),
    "yes and no": (
        {"y": ["yes", "no"] * 60},
        data(outcome_type="binary"),
        "found string, such as 'yes', 'no'.* counts as 1 as data.positive",
    ),
    "positive for numbers": ({}, data(positive=1), "positive: expected with outcome_type: binary"),
    "positive is yes": (
        {"y": ["yes", "no"] * 60},
        data(outcome_type="binary", positive=True),
        "data.positive: .*found True: .*in quotes",
    ),
    "positive isn't there": (
        {"y": ["yes", "no"] * 60},
        data(outcome_type="binary", positive="y"),
        "data.positive: expected a label among 'no', 'yes'; found 'y'",
    ),
    "positive of three": (
        {"y": ["yes", "no", "?"] * 40},
        data(outcome_type="binary", positive="yes"),
        "data.positive: expected two labels in 'y'; found 3",
    ),
    "positive with a missing one": (
        {"y": ["yes", "no"] * 59 + ["no", None]},
        data(outcome_type="binary", positive="yes"),
        "1 of 120 have none",
    ),
    "one class": ({"y": 1}, data(outcome_type="binary"), "expected both classes.*only 1"),
    "one class an arm": ({"y": [0, 1] * 60}, data(outcome_type="binary"), "each arm"),
    "missing class": (
        {"y": pd.array([None, *[True, False] * 59, True], dtype="boolean")},
        data(outcome_type="binary"),
        "found 1 missing",
    ),
    # treatment
    "treatment missing in a row": ({"w": [None, *"b" * 119]}, {}, "of 'w'; 1 of 120 have none"),
    "number missing": ({"w": [np.nan, *[0, 1] * 59, 0]}, data(control=0), "1 of 120 have"),
    "one arm": ({"w": "a"}, {}, r"two or more arms in 'w'; found \['a'\]"),
    "control absent": ({}, data(control="zz"), "among 'a', 'b'; found 'zz'"),
    "control with a space": ({"w": ["a ", "b"] * 60}, {}, "among 'a ', 'b'; found 'a'"),
    "control is no": ({"w": ["no", "yes"] * 60}, data(control=False), "found False: .*in quotes"),
    "arms are no and yes": (
        {"w": ["no", "yes"] * 60},
        data(control="no", arms=[False, True]),
        "data.arms: .*found False: .*in quotes",
    ),
    "number for a boolean": ({"w": [False, True] * 60}, data(control=0), "False, True; found 0"),
    "unknown arm": ({}, data(arms=["a", "q"]), "data.arms: .*found 'q'"),
    "arms without control": ({}, data(arms=["b"]), "the control 'a' among them"),
    "one arm chosen": ({}, data(arms=["a"]), "two or more arms"),
    "one arm in two spellings": (
        {"w": ["f", "25"] * 60},
        data(control="f", arms=["f", "25", 25]),
        "each arm once",
    ),
    "dates as arms": (
        {"w": [datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)] * 60},
        {},
        "data.treatment: .*found date. Convert it to text",
    ),
    "times as arms": ({"w": pd.to_datetime(["2020", "2021"] * 60)}, {}, "found datetime64"),
    "decimals as arms": ({"w": [decimal.Decimal(1), decimal.Decimal(2)] * 60}, {}, "found decimal"),
    "lists as arms": ({"w": [[1], [2]] * 60}, {}, "data.treatment: .*found mixed"),
    "infinite arms": (
        {"w": [0.0, np.inf] * 60},
        data(control=0),
        "data.treatment: .*found infinit",
    ),
    "bytes as arms": ({"w": [b"a", b"b"] * 60}, {}, "found bytes"),
    "an amount as treatment": (
        {"w": np.arange(N)},
        data(control=0),
        "found 0 of 0, which has 1 rows",
    ),
    "a stratum without the control": (
        {"w": [*[1, 0] * 59, 0, 0], "site": [*"u" * 118, *"vv"]},
        data(control=1, design="randomised", strata="site"),
        r"a stratum, 'v', with none in arm 1\.",
    ),
    "fewer rows than folds": (
        {"w": [*"a" * 116, *"b" * 4]},
        {"folds": {"n_folds": 5}, "evaluation": {"holdout": 0}},
        "at least 5 rows of each arm for 5 folds; found 4 rows in arm 'b'",
    ),
    "more folds than rows": ({}, {"folds": {"n_folds": 61}}, "found 48 rows in arm 'a'"),
    "fewer of a class than folds": (
        {"y": [1, 1, *[0] * 118]},
        {**data(outcome_type="binary"), "evaluation": {"holdout": 0}},
        "found 1 rows of class 1 in arm 'a'",
    ),
    # hold-out
    "hold-out without an arm": (
        {},
        {"evaluation": {"holdout": 0.004}},
        "found 0 of 'a', which has 60 rows",
    ),
    "hold-out of nearly all": ({}, {"evaluation": {"holdout": 0.99}}, "rows of each arm"),
    # features
    "infinite feature": ({"x": [np.inf, *range(119)]}, {}, "finite numbers in 'x'; found infinite"),
    "durations": ({"x": pd.Timedelta("1D")}, {}, "in 'x'; found timedelta64. Convert it or"),
    "lists": ({"x": [[1.0]] * N}, {}, "found mixed"),
    "structs": ({"x": [{"a": 1}] * N}, {}, "found mixed"),
    "bytes": ({"x": [b"a"] * N}, {}, "found bytes"),
    "missing numbers": ({"x": np.nan}, {}, "found only missing values. Convert it or leave it out"),
    "missing texts": ({"x": pd.array([None] * N, dtype="str")}, {}, "only missing values"),
    "nulls": ({"x": None}, {}, "only missing values"),
    "missing categories": ({"x": pd.Categorical([None] * N)}, {}, "only missing values"),
    "names LightGBM can't write": (
        lambda: rows().rename(columns={"x": "size, cm"}),
        data(features=["size, cm", "n"]),
        "other names than .'size, cm'.: LGBM",
    ),
    "names LightGBM can't tell apart": (
        lambda: rows().rename(columns={"x": "a b", "n": "a_b"}),
        data(features=["a b", "a_b"]),
        "'a b', 'a_b'",
    ),
    "a feature named as the S-learner's": (
        lambda: rows().rename(columns={"x": "treatment"}),
        {**data(features=["treatment"]), "learners": ["SLearner"]},
        "other names than the treatment's",
    ),
    # weights
    "negative weight": ({"weight": [-1.0, *[1.0] * 119]}, data(weight="weight"), "1 negative ones"),
    "zero weights": ({"weight": 0.0}, data(weight="weight"), "only zeros in .'a', 'b'"),
    "an arm of zero weights": ({"weight": [0, 1] * 60}, data(weight="weight"), "zeros in .'a'."),
    "hold-out without weight": (
        {"weight": [1, 1, *[0] * 118]},
        data(weight="weight"),
        "evaluation.holdout: .*found 0 of 'a'",
    ),
    "missing weight": ({"weight": [np.nan, *[1] * 119]}, data(weight="weight"), "1 missing"),
    "infinite weight": ({"weight": np.inf}, data(weight="weight"), "120 infinite"),
    "text weight": ({"weight": "1"}, data(weight="weight"), "data.weight: .*found string"),
    # groups
    "one group": ({"family": 1}, data(group="family"), "as many groups as folds, 3; found 1"),
    "two groups": ({"family": [1, 2] * 60}, data(group="family"), "found 2 in 'family'"),
    "group missing": ({"family": [None, *[1] * 119]}, data(group="family"), "1 of 120 have none"),
    "lists as groups": ({"family": [[1], [2]] * 60}, data(group="family"), "found mixed"),
    "decimals as groups": (
        {"family": [decimal.Decimal(i) for i in range(N)]},
        data(group="family"),
        "data.group: .*found decimal. Convert it to text",
    ),
    "an arm in fewer groups than folds": (
        {"family": [i // 2 if i % 2 else i // 60 for i in range(N)]},
        {**data(group="family"), "evaluation": {"holdout": 0}},
        "3 groups of each arm for 3 folds; found 2 groups in arm 'a'",
    ),
    # known propensities
    "certain": ({}, data(propensity=1), r"inside \(0, 1\).*found from 0 to 1"),
    "negative": ({}, data(propensity=-0.1), "found from -0.1 to 1.1"),
    "not a number": ({}, data(propensity=float("nan")), "found from nan to nan"),
    "a number for three arms": (
        {},
        data(treatment="w3", propensity=0.3),
        "a map from arm to probability for 3 arms; found the number 0.3",
    ),
    "an arm left out": ({}, data(treatment="w3", propensity={"b": 0.3}), r"those of \['b'\]"),
    "only the control": ({}, data(propensity={"a": 0.5}), r"each of \['b'\]"),
    "no arm": ({}, data(propensity={}), r"those of \[\]"),
    "unknown arm's probability": ({}, data(propensity={"b": 0.5, "q": 0.1}), "found 'q'"),
    "an arm given as yes": (
        {"w": ["no", "yes"] * 60},
        data(control="no", propensity={True: 0.5}),
        "data.propensity: .*found True: .*in quotes",
    ),
    "an arm in two spellings": (
        {"w": [0, 1] * 60},
        data(control=0, propensity={1: 0.5, "1": 0.4}),
        r"found those of \[1, 1\]",
    ),
    "more than one in all": ({}, data(propensity={"a": 0.5, "b": 0.6}), "sums from 1.1"),
    "less than one in all": ({}, data(propensity={"a": 0.4, "b": 0.4}), "sums from 0.8"),
    "nothing for the control": (
        {},
        data(treatment="w3", propensity={"b": "p", "c": "p"}),
        "found from 0 to 0.5",
    ),
    "missing in a column": (
        {"p": [np.nan, *[0.5] * 119]},
        data(propensity={"b": "p"}),
        "data.propensity: .*1 missing",
    ),
    "above one in a column": ({"p": 2.0}, data(propensity={"b": "p"}), "from -1 to 2"),
    "text in a column": ({"p": "half"}, data(propensity={"b": "p"}), "found string"),
    "large integers beside a gap": (
        {"x": pd.array([*range(2**60, 2**60 + N - 1), None], dtype="Int64")},
        {},
        r"integers up to 2\^53 in 'x'",
    ),
}


@pytest.mark.parametrize(("columns", "changes", "match"), COLUMNS.values(), ids=COLUMNS)
def test_column_is_refused(columns, changes, match):
    refused(match, changes, columns() if callable(columns) else rows().assign(**columns))


TAKEN_COLUMNS = {
    "boolean arms": ({"w": [False, True] * 60}, data(control=False, arms=[True, False])),
    "booleans with nulls as a feature": ({"x": pd.array([True, None] * 60, dtype="boolean")}, {}),
    "booleans as outcome": ({"y": [True, True, False, False] * 30}, data(outcome_type="binary")),
    "labels as outcome": (
        {"y": ["yes", "yes", "no", "no"] * 30},
        data(outcome_type="binary", positive="no"),
    ),
    "a text for a number": ({"w": [0, 1] * 60}, data(control="0")),
    "a whole number for a float": ({"w": [0.0, 1.0] * 60}, data(control=0)),
    "a number for a text": ({"w": ["25", "f"] * 60}, data(control="f", arms=["f", 25])),
    "a float for a text": ({"w": ["25", "f"] * 60}, data(control="f", arms=["f", 25.0])),
    "categories as arms": ({"w": pd.Categorical(["a", "b"] * 60, list("abc"))}, {}),
    "an empty label": ({"w": ["", "b"] * 60}, data(control="")),
    "nullable numbers": ({"x": pd.array([1, None] * 60, dtype="Int64")}, {}),
    "half precision": ({"x": np.arange(N, dtype="float16")}, {}),
    "decimals": ({"x": decimal.Decimal(1), "y": [decimal.Decimal(i) for i in range(N)]}, {}),
    "texts with missing ones": ({"x": ["u", None] * 60}, {}),
    "numbers as categories": ({"x": pd.Categorical([1, 2] * 60)}, {}),
    "ids twice": ({"id": [1, 2] * 60}, data(row_id="id")),
    "dates as ids": ({"id": [datetime.date(2020, 1, 1)] * N}, data(row_id="id")),
    "decimals as ids": ({"id": [decimal.Decimal(i) for i in range(N)]}, data(row_id="id")),
    "lists as ids": ({"id": [[1]] * N}, data(row_id="id")),
    "left-out arms without outcome": (
        {"y": [0.1, 0.2, np.nan] * 40},
        data(treatment="w3", arms=["a", "b"]),
    ),
    "a propensity by the other spelling": (
        {"w": [0, 1] * 60},
        data(control=0, propensity={"1": 0.5}),
    ),
    "boolean arms with propensities": (
        {"w": [False, True] * 60},
        data(control=False, propensity={True: 0.5}),
    ),
    "the control's propensity too": ({}, data(propensity={"a": 0.5, "b": "p"})),
    "known propensities make up for a wrong model": (
        {"x": [None, *range(119)]},
        {
            **data(propensity=0.5),
            "models": {"propensity": {"estimator": "sklearn.linear_model.LogisticRegression"}},
        },
    ),
    "a treatment model that the learners don't use": (
        {"x": [None, *range(119)]},
        {
            "learners": ["TLearner"],
            "models": {"treatment": {"estimator": "sklearn.linear_model.Ridge"}},
        },
    ),
}


@pytest.mark.parametrize(("columns", "changes"), TAKEN_COLUMNS.values(), ids=TAKEN_COLUMNS)
def test_column_is_taken(columns, changes):
    assert study(changes, rows().assign(**columns)).dataset.n_variants == 2


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["u", "v"] * 60, pa.large_string()),
        pa.array(["u", "v"] * 60, pa.string_view()),
        pa.array(["u", "v"] * 60).dictionary_encode(),
        pa.array([1, 2] * 60).dictionary_encode(),
        pa.array([1, None] * 60, pa.uint64()),
        pa.array([True, None] * 60),
        pa.array(np.arange(N, dtype="float16")),
    ],
    ids=lambda values: str(values.type)[:30],
)
def test_arrow_types_are_taken(values):
    table = pa.Table.from_pandas(rows().drop(columns="x"), preserve_index=False)
    pq.write_table(table.append_column("x", values), "typed.parquet")
    assert len(study(data(source="typed.parquet")).dataset) == N


def test_csv_labels_and_missing_values_are_read_as_meant():
    frame = rows().assign(w=["NA", "f"] * 60, site=["", "u"] * 60)
    found = study(data(source=write("a.csv", frame), control="NA", features=["x", "site"]))

    assert found.arms == ["NA", "f"]
    assert found.features["site"].isna().sum() == 60


def test_empty_treatment_in_a_csv_is_missing():
    frame = rows().assign(w=["", "b"] * 60)
    refused("60 of 120 have none", data(source=write("a.csv", frame)))


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_dates_are_read_as_such_whatever_the_format(ending):
    frame = rows().assign(id=[f"{1 + i % 28:02}.02.2024" for i in range(N)])
    source = with_content("a.jsonl", frame.to_json(orient="records", lines=True))
    source = source if ending == "jsonl" else write(f"a.{ending}", frame)
    read = data(source=source, row_id="id", read={"dates": ["id"]})

    refused("expected dates in 'w', .*; row 1 has 'a'", merged(read, data(read={"dates": ["w"]})))
    refused("read.dates: .*'q' is none", merged(read, data(read={"dates": ["q"]})))
    refused("read.types: .*'q' is none", merged(read, data(read={"types": {"q": "text"}})))
    refused("found both for 'id'", merged(read, data(read={"types": {"id": "text"}})))
    found = study(read)
    assert found.row_ids[0] == datetime.date(2024, 2, 1)
    assert "id: its dates are read day first." in found.warnings
    days = study(merged(read, data(features=["id"], row_id=None))).features["id"]
    assert days[0] == (datetime.date(2024, 2, 1) - datetime.date(1970, 1, 1)).days


def test_many_texts_are_warned_of():
    found = study(frame=put("x", [f"{i}." for i in range(N)]))
    assert "Feature x has 120 different texts" in found.warnings[-1]


def test_rows_that_share_an_identity_are_warned_of():
    frame = put("id", [*range(N - 2), 0, 0])
    shared = f"3 of {N} rows share their 'id' with another row"

    assert any(shared in line for line in study(data(row_id="id"), frame).warnings)
    in_clusters = study(data(row_id="id", group="id"), frame)
    assert not any("share their" in line for line in in_clusters.warnings)


def test_a_feature_whose_rows_share_their_arm_is_warned_of():
    village = np.arange(1200) // 20
    columns = {"village": village, "w": village % 2, "x": np.arange(1200) % 7, "y": village % 5 / 2}
    frame = pd.DataFrame(columns | {"arm": village % 2, "id": np.arange(1200)})
    own = data(features=["village", "x"], row_id=None, control=0)

    (told,) = [line for line in study(own, frame).warnings if "treated as a whole" in line]
    assert told.startswith("All rows of the same 'village' have one arm")
    grouped = study(merged(own, data(features=["x"], group="village")), frame)
    assert not any("treated as a whole" in line for line in grouped.warnings)
    mixed = study(own, frame.assign(w=np.arange(1200) % 2))
    assert not any("treated as a whole" in line for line in mixed.warnings)


def test_columns_that_nobody_named_as_features_are_judged():
    frame = put("cust_key", np.arange(N)[::-1] * 977)
    found = study(data(features=None), frame)

    (told,) = [line for line in found.warnings if "may not belong there" in line]
    assert "cust_key (it looks like an identity)" in told
    dates = put("signup", pd.Categorical([f"{1 + i % 28:02}.03.2024" for i in range(N)]))
    found = study(data(features=None), dates)
    assert any("signup (a date)" in line for line in found.warnings)
    named = study(data(features=["cust_key"]), frame)
    assert not any("may not belong" in line for line in named.warnings)


RANDOMISED = data(design="randomised")
RATIOS = {  # rows by arm, changes, what the warning begins with; empty for none
    "known and right": ([2_000, 2_000], data(propensity=0.5), ""),
    "known and wrong": ([2_200, 1_800], data(propensity=0.5), "Sample ratio mismatch: .*2,200 r"),
    "known, a tenth": ([3_600, 400], data(propensity=0.1), ""),
    "randomised, equal": ([2_020, 1_980], RANDOMISED, ""),
    "randomised, nearly equal": (
        [20_700, 19_300],
        RANDOMISED,
        "Sample ratio .*nearly.*design to auto",
    ),
    "randomised, a tenth": ([3_600, 400], RANDOMISED, ""),
    "nobody drew them": ([20_700, 19_300], {}, ""),
    "a rare treatment": ([3_980, 20], {}, ""),
    "a trial's tiny arm": ([3_980, 20], RANDOMISED, "Arm b has 20 of 4,000 rows"),
    "a third label": ([2_000, 1_980, 20], {}, "Arm c has 20 of 4,000 rows"),
    "arms that are listed": ([2_000, 1_980, 20], data(arms=["a", "b", "c"]), ""),
}


@pytest.mark.parametrize(("counts", "changes", "told"), RATIOS.values(), ids=RATIOS)
def test_sizes_of_arms_that_no_design_gives_are_warned_of(counts, changes, told):
    n, rng = sum(counts), np.random.default_rng(0)
    arms = rng.permutation(np.repeat(list("abc")[: len(counts)], counts))
    frame = pd.DataFrame({"w": arms, **{name: rng.normal(size=n) for name in "yxn"}})
    found = study(changes, frame).warnings

    warned = [line for line in found if re.match("Sample ratio|Arm .* has", line)]
    assert len(warned) == bool(told)
    assert re.match(told, "".join(warned))


@pytest.mark.parametrize("value", [1, "a", True])
def test_a_feature_with_one_value_is_warned_of(value):
    found = study(data(features=["x", "same"]), put("same", [value] * N))
    lines = [line for line in found.warnings if "has one value" in line]
    assert lines == ["Feature same has one value, so no effect can vary with it: leave it out."]


# Base models

LINEAR = "sklearn.linear_model.LinearRegression"
PIPELINE = "sklearn.pipeline.Pipeline"
IMPUTER = {"estimator": "sklearn.impute.SimpleImputer"}
OPEN = {"estimator": "os.system", "params": {"command": "touch trap"}}


def model(estimator, role="outcome", /, **params):
    return {"models": {role: {"estimator": estimator, "params": params}}}


def pipeline(*steps):
    return model(PIPELINE, steps=[list(step) for step in steps])


def end(estimator=LINEAR):
    return ("fit", {"estimator": estimator})


MODELS = {
    # paths
    "no path": (model("LinearRegression"), "the import path of an estimator from sklearn, lightgb"),
    "empty": (model(""), "import path"),
    "a package": (model("sklearn"), "import path"),
    "a trailing dot": (model("sklearn.linear_model."), "import path"),
    "a leading dot": (model(".sklearn.linear_model.Ridge"), "import path"),
    "two dots": (model("sklearn..linear_model.Ridge"), "can't be imported"),
    "a foreign package": (model("os.system"), "found 'os.system'. Nothing of it was imported"),
    "builtins": (model("builtins.eval"), "Nothing of it was imported"),
    "our own": (model("metalearners.DRLearner"), "Nothing of it was imported"),
    "a module that isn't there": (model("sklearn.nope.X"), "'sklearn.nope' can't be imported"),
    "a package that isn't there": (model("cuml.linear_model.Ridge"), "'cuml.*Install its package"),
    "a class that isn't there": (
        model("lightgbm.LGBMRegressr"),
        "has no estimator 'LGBMRegressr'. Did you mean 'LGBMRegressor'",
    ),
    "a module": (model("sklearn.linear_model"), "interface .*is a module"),
    "a module within": (model("lightgbm.basic.ctypes"), "is a module"),
    "through a module within": (model("lightgbm.basic.ctypes.CDLL"), "can't be imported"),
    "through a package's import": (model("sklearn.os.system"), "can't be imported"),
    "a method": (model(f"{LINEAR}.fit"), "can't be imported"),
    "a function": (model("sklearn.datasets.load_iris"), "is a function .*Nothing of it was run"),
    "a test helper": (model("sklearn.utils._testing.assert_allclose"), "is a function"),
    "any class": (model("lightgbm.Booster"), "is a class of lightgbm.basic. Nothing"),
    "a mixin": (model("sklearn.base.RegressorMixin"), "interface"),
    # roles
    "a classifier for numbers": (
        model("lightgbm.LGBMClassifier"),
        "expected a regressor; LGBMClassifier is a classifier. Name a regressor",
    ),
    "a regressor for classes": (
        {**model("lightgbm.LGBMRegressor"), **data(outcome="yes", outcome_type="binary")},
        "models.outcome: expected a classifier",
    ),
    "a regressor for arms": (model(LINEAR, "propensity"), "expected a classifier"),
    "a classifier for effects": (
        model("sklearn.linear_model.LogisticRegression", "treatment"),
        "models.treatment: expected a regressor",
    ),
    "a clusterer": (model("sklearn.cluster.KMeans"), "expected a regressor; KMeans is none"),
    "a scaler": (model("sklearn.preprocessing.StandardScaler"), "expected a regressor"),
    "no probabilities": (model("sklearn.svm.LinearSVC", "propensity"), "has no predict_proba"),
    "no weights for the R-learner": (
        {**model("sklearn.neighbors.KNeighborsRegressor", "treatment"), "learners": ["RLearner"]},
        "RLearner: .*takes no sample_weight",
    ),
    "no weights where there are some": (
        {**model("sklearn.neighbors.KNeighborsRegressor"), **data(weight="weight")},
        "fit takes sample_weight; KNeighborsRegressor, the variant_outcome_model",
    ),
    # kinds
    "an unknown kind": (
        {"models": {"DRLearner": {"foo": {"estimator": LINEAR}}}},
        "models.DRLearner: expected model kinds among .*; found 'foo'",
    ),
    "a mistyped kind of another learner": (
        {"models": {"RLearner": {"outcome_modell": {"estimator": LINEAR}}}},
        "models.RLearner: .*Did you mean 'outcome_model'",
    ),
    # parameters
    "an unknown parameter": (model(LINEAR, alpha=1), "no parameter 'alpha'. It has: fit_inter"),
    "a mistyped parameter": (
        model("lightgbm.LGBMRegressor", n_estimator=3),
        "no parameter 'n_estimator'. Did you mean 'n_estimators'",
    ),
    "a parameter LightGBM would only warn of": (
        model("lightgbm.LGBMRegressor", nonsense=3),
        "no parameter 'nonsense'",
    ),
    "a wrong value": (model("sklearn.linear_model.Ridge", alpha=-1), "'alpha' parameter of Ridge"),
    "a text for a number": (model("sklearn.linear_model.Ridge", alpha="x"), "Got 'x' instead"),
    "a needed parameter": (model(PIPELINE), "missing 1 required positional argument: 'steps'"),
    "a file to read": (
        model("lightgbm.LGBMRegressor", forcedsplits_filename="/etc/passwd"),
        "expected no parameter such as 'forcedsplits_filename'",
    ),
    "machines to call": (
        model("lightgbm.LGBMRegressor", machines="h:1"),
        "no parameter 'machines'",
    ),
    "a folder of pickles": (
        model(PIPELINE, steps=[list(end())], memory="/tmp"),
        "no parameter such as 'memory'",
    ),
    # nested
    "nested foreign": (pipeline(("a", OPEN), end()), "steps.0.1: .*found 'os.system'. Nothing"),
    "foreign in the depth": (
        pipeline(("a", {"estimator": PIPELINE, "params": {"steps": [["b", OPEN]]}}), end()),
        "steps.0.1.params.steps.0.1: .*found 'os.system'",
    ),
    "foreign in a column transformer": (
        pipeline(
            (
                "a",
                {
                    "estimator": "sklearn.compose.ColumnTransformer",
                    "params": {"transformers": [["b", OPEN, ["x"]]]},
                },
            ),
            end(),
        ),
        "transformers.0.1: .*found 'os.system'",
    ),
    "foreign in a grid": (
        model(
            "sklearn.model_selection.GridSearchCV",
            estimator={"estimator": "sklearn.linear_model.Ridge"},
            param_grid={"alpha": [OPEN]},
        ),
        "param_grid.alpha.0: .*found 'os.system'",
    ),
    "foreign in a number's place": (
        model("lightgbm.LGBMRegressor", n_estimators=OPEN),
        "params.n_estimators: .*found 'os.system'",
    ),
    "foreign in a function's place": (
        pipeline(
            (
                "a",
                {
                    "estimator": "sklearn.preprocessing.FunctionTransformer",
                    "params": {"func": "os.system"},
                },
            ),
            end(),
        ),
        "'func' parameter of FunctionTransformer must be a callable",
    ),
    "nested function": (
        pipeline(("a", {"estimator": "sklearn.datasets.load_iris"}), end()),
        "steps.0.1: .*is a function",
    ),
    "nested mistyped parameter": (
        pipeline(("a", {**IMPUTER, "params": {"strateg": "mean"}}), end()),
        "SimpleImputer has no parameter 'strateg'. Did you mean 'strategy'",
    ),
    "nested wrong value": (
        pipeline(("a", {**IMPUTER, "params": {"strategy": "nope"}}), end()),
        "'strategy' parameter of SimpleImputer",
    ),
    "nested mistyped key": (
        pipeline(("a", {**IMPUTER, "parms": {}}), end()),
        "steps.0.1.parms: unknown key. Did you mean 'params'",
    ),
    "nested number for a path": (
        pipeline(("a", {"estimator": 3}), end()),
        "steps.0.1.estimator: expected a text; found 3",
    ),
    "nested list for a map": (
        pipeline(("a", {**IMPUTER, "params": [1]}), end()),
        "steps.0.1.params: expected a map",
    ),
    "nested without what it needs": (
        pipeline(("a", {"estimator": PIPELINE}), end()),
        "steps.0.1: Pipeline can't be built",
    ),
    "nested path as text": (pipeline(("a", IMPUTER["estimator"]), end()), "should be transformers"),
    "steps that are none": (model(PIPELINE, steps="x"), "'steps' parameter of Pipeline"),
    "no steps": (model(PIPELINE, steps=[]), "pipeline is empty"),
    "steps in the wrong order": (pipeline(end(), ("a", IMPUTER)), "should be transformers"),
    "two steps of one name": (pipeline(("a", IMPUTER), ("a", {"estimator": LINEAR})), "not unique"),
    "a pipeline without a model": (pipeline(("a", IMPUTER)), "expected a regressor"),
    "a pipeline that classifies": (
        pipeline(("a", IMPUTER), end("sklearn.linear_model.LogisticRegression")),
        "expected a regressor; Pipeline is a classifier",
    ),
}


@pytest.mark.parametrize(("changes", "match"), MODELS.values(), ids=MODELS)
def test_base_model_is_refused_before_data_are_read(changes, match):
    source = {} if "weight" in changes.get("data", {}) else {"source": "nowhere.parquet"}
    refused(match, merged(changes, data(**source)))
    assert not Path("trap").exists()


DEVICES = {
    "xgboost": (
        model("xgboost.XGBRegressor", device="cuda"),
        r"Expected a device for device='cuda' .* XGBRegressor of models\.outcome; .* leave out",
    ),
    "lightgbm": (
        model("lightgbm.LGBMRegressor", "treatment", device_type="cuda"),
        r"LGBMRegressor of models\.treatment; lightgbm says: CUDA Tree Learner was not enabled",
    ),
}


@pytest.mark.skipif(build_info().get("USE_CUDA", False), reason="this XGBoost has GPU code")
@pytest.mark.parametrize(("changes", "match"), DEVICES.values(), ids=DEVICES)
def test_a_missing_device_is_refused_except_where_a_cluster_fits(changes, match):
    refused(match, changes)
    cluster = {"parallelism": {"runner": "dask", "address": "tcp://nowhere:8786"}}
    load_study(parse_config(merged(CONFIG, changes | cluster)))


MISSING = {"x": [None, *range(119)]}
UNFILLED = pipeline(("a", {"estimator": "sklearn.preprocessing.PolynomialFeatures"}), end())


def test_pipeline_that_cannot_take_the_features_is_refused():
    refused("no missing values in x: Pipeline", UNFILLED, rows().assign(**MISSING))


# Several faults at once

LOGISTIC = "sklearn.linear_model.LogisticRegression"
TOGETHER = {  # of a config, columns and models: changes of the config, columns
    "unknown key": ({"learner": []}, {}),
    "bad number": ({"folds": {"n_folds": 1}}, {}),
    "another bad number": ({"clip": -1}, {}),
    "missing column": (data(outcome="yy"), {}),
    "missing feature": (data(features=["x", "n", "nn", "site"]), {}),
    "infinite feature": ({}, {"x": [np.inf, *range(N - 1)]}),
    "texts as weights": (data(weight="weight"), {"weight": "1"}),
    "groups of dates": (data(group="family"), {"family": [datetime.date(2020, 1, 1)] * N}),
    "row without arm": ({}, {"w": [None, *"ab" * 59, "a"]}),
    "label that isn't there": (data(control="c"), {}),
    "unknown estimator": (model("lightgbm.LGBMRegressr"), {}),
    "wrong role": (model(LOGISTIC, "treatment"), {}),
    "missing values": (
        model(PIPELINE, "propensity", steps=[list(end(LOGISTIC))]),
        {"n": [None, *range(N - 1)]},
    ),
    "unknown kind": ({"models": {"XLearner": {"foo": {"estimator": LINEAR}}}}, {}),
    "output": ({"output": "file/runs"}, {}),
    "cache": ({"cache": {"enabled": True, "storage": "file/cache"}}, {}),
}
TOGETHER_WITH_ROWS = {  # those of folds and of fits need rows whose roles are right
    "folds": ({"folds": {"n_folds": 61}}, {}),
    "fit on a few rows": (model("lightgbm.LGBMRegressor", "treatment", num_leaves=1), {}),
    "weights": (data(weight="weight") | model("sklearn.neighbors.KNeighborsRegressor"), {}),
    **{name: TOGETHER[name] for name in ("infinite feature", "output", "unknown kind")},
}


def faults_of(*faults):
    """Lines of the message for faults, through the reading of a config and of its data."""
    config, columns = merged(CONFIG, data(features=["x", "n", "site"])), {}
    for changes, changed in faults:
        config, columns = merged(config, changes), columns | changed
    rows().assign(**columns).to_parquet("data.parquet")
    Path("mine.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(InputError) as caught:
        load(start.config_of(Path("mine.yaml")))
    head, *lines = str(caught.value).removeprefix("mine.yaml: ").split("\n- ")
    assert not lines or head == f"{len(lines)} faults:"
    assert not Path("runs").exists()
    return set(lines or [head])


@pytest.mark.slow
@pytest.mark.parametrize("faults", [TOGETHER, TOGETHER_WITH_ROWS], ids=["columns", "rows"])
def test_faults_come_in_one_message_each_as_it_reads_alone(faults):
    Path("file").touch()
    alone = {name: faults_of(fault) for name, fault in faults.items()}
    assert all(len(lines) == 1 for lines in alone.values())

    assert faults_of(*faults.values()) == set().union(*alone.values())
    rng = np.random.default_rng(0)
    for several in [rng.choice(list(faults), size, replace=False) for size in (2, 3)]:
        expected = set().union(*(alone[name] for name in several))
        assert faults_of(*(faults[name] for name in several)) == expected


def test_nothing_is_guessed_of_what_a_fault_leaves_unknown():
    """No default stands in for a setting that was refused, no column for one that isn't there."""
    infinite = {"z": [np.inf, *range(N - 1)]}
    labels = {"y": ["yes", "no"] * 60}
    assert len(faults_of((data(features=None, outcome="yy"), infinite))) == 1
    assert len(faults_of((data(outcome_typ="binary"), labels))) == 1
    assert len(faults_of((data(propensity={"b": 0.5}, weight="wait"), {"weight": 0}))) == 1
    few = {"folds": {"n_folds": 1}, "evaluation": {"holdout": 0}}
    assert len(faults_of((few, {"w": [*"bb", *"a" * 118]}))) == 1
    assert len(faults_of(({"data": {"source": "no.csv", "outcome": "yy"}}, {}))) == 1
    classifier = data(outcome_type="binray") | model("lightgbm.LGBMClassifier")
    assert len(faults_of((classifier, {}))) == 1


def test_a_dot_in_a_name_hides_no_fault_of_another():
    infinite = [np.inf, *range(N - 1)]
    changes, columns = data(features=["a", "a.b"]), {"a": infinite, "a.b": infinite}
    assert len(faults_of((changes, columns))) == 2


def test_nested_estimators_are_built_and_fitted():
    steps = pipeline(("impute", IMPUTER), end())["models"]["outcome"]
    found = study(
        {
            "learners": ["TLearner"],
            "models": {"outcome": steps},
            "evaluation": {"holdout": 0},
        },
        rows().assign(**MISSING),
    )
    d = found.dataset
    learner = found.learners["TLearner"].fit(d.X, d.y, d.w)

    assert np.isfinite(learner.predict(d.X, is_oos=True)).all()
    assert [
        name
        for name, _ in learner._nuisance_models["variant_outcome_model"][0]._overall_estimator.steps
    ] == [
        "impute",
        "fit",
    ]


TRAP = """
from pathlib import Path
from sklearn.linear_model import Ridge
class NoEstimator:
    def __init__(self, **anything): Path("trap").touch()
def function(*anything): Path("trap").touch()
class Own(Ridge):
    pass
"""


@pytest.fixture
def own_module(here, monkeypatch):
    (here / "trapped.py").write_text(TRAP)
    (here / "broken.py").write_text("raise RuntimeError('no driver')")
    monkeypatch.syspath_prepend(here)
    yield
    for name in ("trapped", "broken"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ("trapped.NoEstimator", "is a class of trapped"),
        ("trapped.function", "is a function"),
        ("trapped.Path", "is a class of pathlib"),
        ("broken.Model", "can't be imported .no driver."),
    ],
)
def test_import_roots_of_the_process_let_in_estimators_alone(own_module, monkeypatch, path, match):
    monkeypatch.setenv("UPLIFT_IMPORT_ROOTS", " trapped , broken,")
    refused(match, model(path))
    assert not Path("trap").exists()


def test_import_roots_are_the_environments_alone(own_module, monkeypatch):
    refused("Nothing of it was imported", model("trapped.Own"))
    refused("unknown key", {"import_roots": ["trapped"]})
    assert "trapped" not in sys.modules
    monkeypatch.setenv("UPLIFT_IMPORT_ROOTS", "trapped")
    assert study(model("trapped.Own")).learners


def test_class_must_come_from_an_allowed_package(own_module, monkeypatch):
    """A module that is let in lets in no class of a package that isn't."""
    (Path("outer.py")).write_text("from trapped import Own\n")
    monkeypatch.setenv("UPLIFT_IMPORT_ROOTS", "outer")
    refused("is a class of trapped", model("outer.Own"))
    sys.modules.pop("outer")


# Places that are written to


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"output": "file"}, "output: expected a folder that can be written to; file: File exists"),
        ({"output": "file/runs"}, "output: .*Not a directory"),
        ({"output": "/proc/runs"}, "output: .*/proc/runs"),
        ({"output": "dangling"}, "output: .*dangling"),
        ({"output": "x" * 300}, "output: .*too long"),
        ({"cache": {"enabled": True, "storage": "file/cache"}}, "cache.storage: expected a folder"),
        ({"cache": {"enabled": True, "storage": "/proc/cache"}}, "cache.storage: expected a fold"),
    ],
    ids=str,
)
def test_place_that_cannot_be_written_is_refused(changes, match):
    Path("file").touch()
    Path("dangling").symlink_to("no/where")
    with pytest.raises(InputError, match=match):
        study(changes)


def test_cache_that_is_off_needs_no_place():
    Path("file").touch()
    study({"cache": {"enabled": False, "storage": "file/cache"}})
    assert Path("runs").is_dir()


def test_new_cache_is_its_owners_alone():
    study({"cache": {"enabled": True, "storage": "a/cache"}})
    assert Path("a/cache").stat().st_mode & 0o777 == 0o700


def test_file_that_is_none_is_refused():
    os.mkfifo("pipe")
    Path("folder").mkdir()
    Path("file").touch()
    for path in ("pipe", "folder", "s3:/bucket/x.json"):
        with pytest.raises(InputError, match="--json: expected the name of a file"):
            check_file(Path(path), "--json")
    for path in ("file/x.json", "/proc/x.json"):
        with pytest.raises(InputError, match="--json: expected a folder that can be written to"):
            check_file(Path(path), "--json")
    check_file(Path("file"), "--json")


# The places that a deployment is limited to


@pytest.fixture
def confined(here, monkeypatch):
    for path in ("in/a.parquet", "in/parts/a.parquet", "out/a.parquet"):
        write(path)
    Path("in/link").symlink_to("../out")
    Path("in/link.parquet").symlink_to("../out/a.parquet")
    Path("in/parts/b.parquet").symlink_to("../../out/a.parquet")
    monkeypatch.setenv("UPLIFT_DATA_ROOTS", str(here / "in"))
    return data(source="in/a.parquet") | {"output": "in/runs"}


@pytest.mark.parametrize(
    "source",
    [
        "out/a.parquet",
        "in/../out/a.parquet",
        "in/link/a.parquet",
        "in/link.parquet",
        "in/parts",
        "in/parts/*.parquet",
        "in/*/../../out/a.parquet",
        "/etc/passwd",
        "{here}/out/a.parquet",
        "file://{here}/out/a.parquet",
        "file:{here}/out/a.parquet",
        "local://{here}/out/a.parquet",
        "simplecache::file://{here}/out/a.parquet",
        "memory://a.parquet",
    ],
)
def test_source_outside_is_refused(confined, here, source):
    refused(
        "Expected a place inside .*/in", merged(confined, data(source=source.format(here=here)))
    )


def test_path_that_only_looks_relative_is_refused(confined, here, monkeypatch):
    inner = here / "in"
    monkeypatch.chdir(inner)
    refused("Expected a place inside", data(source=f"file:{here}/out/a.parquet"))


@pytest.mark.parametrize("place", ["out", "in/../out", "in/link/runs", "/tmp/runs"])
def test_place_outside_is_refused(confined, place):
    for changes in ({"output": place}, {"cache": {"enabled": True, "storage": place}}):
        with pytest.raises(InputError, match="Expected a place inside"):
            study(merged(confined, changes))
    assert not Path("out/runs").exists()


def test_places_inside_are_taken(confined):
    assert len(study(confined).dataset) == N


def test_urls_are_limited_by_their_beginning(confined, here, monkeypatch):
    import fsspec

    for path in ("/kept/a.parquet", "/keptother/a.parquet"):
        with fsspec.open(f"memory:/{path}", "wb") as file:
            file.write(Path("out/a.parquet").read_bytes())
    monkeypatch.setenv("UPLIFT_DATA_ROOTS", f"memory://kept:{here / 'in'}")

    study(merged(confined, data(source="memory://kept/a.parquet")))
    for source in ("keptother/a.parquet", "kept/../keptother/a.parquet", "kept/%2e%2e/x.parquet"):
        refused("Expected a place inside", merged(confined, data(source=f"memory://{source}")))


# Scoring


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A stored model of the features x (float), n (int) and site (text)."""
    return store(tmp_path_factory.mktemp("stored") / "run", {})


def store(run, changes, frame=None):
    run.mkdir()
    frame = rows() if frame is None else frame
    frame.to_parquet(run / "data.parquet")
    small = {"estimator": "lightgbm.LGBMRegressor", "params": {"n_estimators": 2}}
    models = changes.get("models", {"outcome": small, "treatment": small})
    settings = {
        "data": {"source": str(run / "data.parquet"), "features": ["x", "n", "site"]},
        "learners": ["TLearner"],
        "output": str(run / "runs"),
    }
    config = {**merged(merged(CONFIG, settings), changes), "models": models}
    found = load(parse_config(config))
    d = found.dataset
    for learner in found.learners.values():
        learner.fit(d.X, d.y, d.w, propensity=d.propensity)
    about = {"versions": {}, "config": found.config.model_dump(mode="json")}
    Bundle(found.learners, found.arms, found.schema, about).save(run / "model")
    (run / "summary.json").write_text("{}")
    return run / "model"


def scored(model, strict=True, **columns):
    rows().assign(**columns).to_parquet("new.parquet")
    score_file(model, "new.parquet", Path("scores.parquet"), strict)
    return pd.read_parquet("scores.parquet").filter(like="cate.").iloc[:, -1].to_numpy()


SCORED = {
    "an unknown level": ({"site": "q"}, r"levels of 'site' among \['u', 'v'\]; found \['q'\]"),
    "an unknown category": ({"site": pd.Categorical(["q"] * N)}, "found .'q'.*not seen"),
    "a number for a text": ({"site": 1}, r"found \['1'\], which the model has not seen"),
    "lists for texts": ({"site": [["u"]] * N}, "Expected texts in feature 'site'.*found mixed"),
    "text for a number": ({"x": "a"}, "Expected numbers.*'x': most are no numbers"),
    "dates": ({"x": pd.Timestamp("2020-01-01")}, "found datetime64"),
    "infinite": ({"x": np.inf}, "finite numbers in feature 'x'"),
}


@pytest.mark.parametrize(("columns", "match"), SCORED.values(), ids=SCORED)
def test_row_that_the_model_does_not_know_is_refused(stored, columns, match):
    with pytest.raises(InputError, match=match):
        scored(stored, **columns)
    assert not Path("scores.parquet").exists()


def test_numbers_written_as_texts_are_numbers(stored):
    assert scored(stored, x="1.5").tolist() == scored(stored, x=1.5).tolist()


def test_levels_that_the_model_has_not_seen_are_missing_and_counted(stored):
    missing = scored(stored, site=[None, *["u"] * (N - 1)])
    with pytest.warns(UserWarning, match=r"1 of 120 rows have levels of 'site'.*\['q'\]"):
        found = scored(stored, strict=False, site=["q", *["u"] * (N - 1)])

    assert found.tolist() == missing.tolist()


@pytest.mark.parametrize("ending", ["parquet", "csv", "feather", "jsonl"])
def test_scores_are_written_in_the_format_that_their_name_says(stored, ending):
    estimates = scored(stored)
    score_file(stored, "new.parquet", Path(f"scores.{ending}"))

    opened = open_source(f"scores.{ending}")
    found = opened.read(opened.names).frame.filter(like="cate.").iloc[:, -1]
    assert found.tolist() == estimates.tolist()


def test_json_lines_hold_each_float_whole_and_dates_as_iso():
    odd = [1.4106948946903155, 3.2e-11, 5e-324, -1.7976931348623157e308, None]
    days = pd.Series([pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-02 03:04:05.000006")])
    zoned = days.dt.tz_localize("UTC").reindex(range(5))
    frame = pd.DataFrame({"at": days.reindex(range(5)), "zoned": zoned, "a": odd, "n": range(5)})
    written = JsonLines.encode(frame, pa.timestamp("us"), True)
    lines = [json.loads(line) for line in written.splitlines()]

    assert [line["a"] for line in lines] == odd
    assert [line["at"] for line in lines] == [
        "2024-01-01T00:00:00", "2024-01-02T03:04:05.000006", None, None, None
    ]  # fmt: skip
    assert lines[0]["zoned"] == "2024-01-01T00:00:00+00:00"
    assert [line["n"] for line in lines] == list(range(5))


def test_a_format_that_cannot_be_written_is_refused(stored):
    with pytest.raises(InputError, match=r"--output: .*ends in .parquet, .*found scores.xlsx"):
        score_file(stored, write("new.parquet"), Path("scores.xlsx"))


TAKEN_ROWS = {
    "missing numbers": {"x": np.nan},
    "nulls": {"x": None, "n": None},
    "missing texts": {"site": None},
    "whole numbers for floats": {"x": 1},
    "fractions for whole numbers": {"n": 1.5},
    "nullable": {"n": pd.array([1, None] * 60, dtype="Int64")},
    "booleans": {"n": pd.array([True, None] * 60, dtype="boolean")},
    "categories": {"site": pd.Categorical(["u"] * N, ["z", "u"])},
}


@pytest.mark.parametrize("columns", TAKEN_ROWS.values(), ids=TAKEN_ROWS)
def test_row_is_scored(stored, columns):
    assert np.isfinite(scored(stored, **columns)).all()


def test_numbers_are_scored_as_they_are(here):
    """A number beyond the type that the model was fitted with isn't wrapped around."""
    frame = put("n", np.arange(N, dtype="uint8"))
    linear = {"models": {"outcome": {"estimator": LINEAR}}, **data(features=["n"])}
    learned = store(here / "run", linear, frame)
    at = {n: scored(learned, n=n)[0] for n in (0, 1, 44, 300)}

    assert at[300] == pytest.approx(at[0] + 300 * (at[1] - at[0]))
    assert at[300] != pytest.approx(at[44])


def test_absent_feature_is_refused(stored):
    rows().drop(columns=["x", "site"]).to_parquet("new.parquet")
    with pytest.raises(InputError, match=r"not found: \['x', 'site'\]. Add or rename"):
        score_file(stored, "new.parquet", Path("scores.parquet"))


def test_missing_values_that_the_model_cannot_take_are_refused(here):
    linear = {"models": {"outcome": {"estimator": LINEAR}}, **data(features=["x"])}
    with pytest.raises(InputError, match=r"can't be scored: .*NaN"):
        scored(store(here / "run", linear), x=np.nan)


@pytest.mark.parametrize("output", ["file/x.parquet", "/proc/x.parquet", "folder.csv", "pipe.csv"])
def test_scores_that_cannot_be_written_are_refused(stored, output):
    Path("file").touch()
    Path("folder.csv").mkdir()
    os.mkfifo("pipe.csv")
    with pytest.raises(InputError, match="--output: expected"):
        score_file(stored, write("new.parquet"), Path(output))


def test_scores_do_not_overwrite_the_rows(stored):
    content = Path(write("new.parquet")).read_bytes()
    with pytest.raises(InputError, match="another file than the rows"):
        score_file(stored, "new.parquet", Path("../" + Path.cwd().name) / "new.parquet")
    Path("in").mkdir()
    Path("in/p1.parquet").write_bytes(content)
    for source in ("in/*.parquet", "in", Path("in/p1.parquet").absolute().as_uri()):
        with pytest.raises(InputError, match="another file than the rows"):
            score_file(stored, source, Path("in/p1.parquet"))
    assert Path("new.parquet").read_bytes() == Path("in/p1.parquet").read_bytes() == content


def test_known_propensities_are_wanted_where_the_learner_uses_them(here):
    known = data(features=["x"], propensity={"b": "p"})
    frame = rows().drop(columns="p")
    frame.to_parquet("new.parquet")
    score_file(store(here / "t", known), "new.parquet", Path("scores.parquet"))
    x_learner = store(here / "x", {**known, "learners": ["XLearner"]})
    with pytest.raises(InputError, match=r"propensity columns \['p'\] in new.parquet"):
        score_file(x_learner, "new.parquet", Path("scores.parquet"))
    with pytest.raises(InputError, match=r"data.propensity: .*found from -1 to 2"):
        scored(x_learner, p=2.0)


@pytest.mark.parametrize("labels", [[False, True], [0.0, 1.0], [0, 1]], ids=str)
def test_labels_of_any_type_find_their_propensity_again(here, labels):
    changes = data(features=["x"], control=labels[0], propensity={labels[1]: 0.5})
    frame = rows().assign(w=labels * 60)
    learned = store(here / "run", {**changes, "learners": ["XLearner"]}, frame)
    assert len(scored(learned)) == N


def edited(change):
    def edit(model):
        path = model / "manifest.json"
        manifest = json.loads(path.read_text())
        change(manifest)
        path.write_text(json.dumps(manifest))

    return edit


def replace(name, make):
    return lambda model: (model / name).write_bytes(make((model / name).read_bytes()))


DAMAGE = {
    "a changed model": replace("TLearner.pickle", lambda c: c[:-2] + b"x."),
    "a truncated model": replace("TLearner.pickle", lambda c: c[:100]),
    "another pickle": replace("TLearner.pickle", lambda _: b"cos\nsystem\n(S'touch trap'\ntR."),
    "no model": lambda model: (model / "TLearner.pickle").unlink(),
    "no manifest": lambda model: (model / "manifest.json").unlink(),
    "an empty manifest": replace("manifest.json", lambda _: b""),
    "a truncated manifest": replace("manifest.json", lambda c: c[:80]),
    "a list for a manifest": replace("manifest.json", lambda _: b"[]"),
    "another format": edited(lambda m: m.update(format_version=99)),
    "the format of version 0.1": edited(lambda m: m.update(format_version=1)),
    "no format": edited(lambda m: m.pop("format_version")),
    "other arms": edited(lambda m: m.update(arms=["a", "c"])),
    "fewer features": edited(lambda m: m["features"].pop()),
    "features in another order": edited(lambda m: m["features"].reverse()),
    "levels in another order": edited(lambda m: m["features"][2]["levels"].reverse()),
    "no learners": edited(lambda m: m.update(files={})),
    "a file elsewhere": edited(lambda m: m["files"].update({"../x.pickle": "0"})),
    "no config": edited(lambda m: m["about"].pop("config")),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_model_is_refused_and_not_unpickled(stored, here, damage):
    shutil.copytree(stored, here / "model")
    damage(here / "model")
    with pytest.raises(InputError, match=r"stored model|damaged|format"):
        scored(here / "model")
    assert not Path("trap").exists()


@pytest.mark.parametrize("name", ["nothing", "", "..", "a/b"])
def test_unknown_run_is_refused(name):
    with pytest.raises(InputError, match="Expected a finished run"):
        find_run(name, Path("runs"))


# Through the command


def uplift(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )


COMMANDS = {
    "config missing": (["run", "nowhere.yaml"], "nowhere.yaml doesn't exist"),
    "unknown key": (["run", "good.yaml", "--set", "clipp=1"], "Did you mean 'clip'"),
    "data missing": (
        ["run", "good.yaml", "--set", "data.source=no.csv"],
        "Expected data at no.csv",
    ),
    "a function": (
        ["run", "good.yaml", "--set", "models.outcome={estimator: os.system}"],
        "Nothing of it was imported",
    ),
    "too few rows": (["run", "good.yaml", "--set", "folds.n_folds=61"], "for 61 folds"),
    "output": (["run", "good.yaml", "--output", "file/runs"], "output: expected a folder"),
    "cache": (["run", "good.yaml", "--set", "cache={storage: file/cache}"], "cache.storage"),
    "summary": (["run", "good.yaml", "--json", "file/x.json"], "--json: expected a folder"),
    "score": (
        ["score", "--model", "latest", "--input", "data.parquet", "--output", "x.parquet"],
        "Expected a finished run",
    ),
}


# Seen after the config was read, when a server has begun to start already; it ends by itself.
AFTER_THE_CONFIG = ("data missing", "a function", "too few rows", "output", "cache")
SEEN_IN_DATA = {COMMANDS[name][1] for name in AFTER_THE_CONFIG}


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "message"), COMMANDS.values(), ids=COMMANDS)
def test_command_ends_with_status_2_and_one_message(arguments, message):
    write("data.parquet")
    Path("file").touch()
    Path("good.yaml").write_text(yaml.safe_dump(CONFIG))
    done = uplift(*arguments)

    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("uplift: ") == 1
    assert done.stderr.startswith("uplift: ")
    assert "Traceback" not in done.stderr
    assert not done.stdout
    assert not list(Path().glob(".uplift/**/*.fit"))
    if message not in SEEN_IN_DATA:
        assert not Path(".uplift/server.json").exists(), "no server was needed"
    assert not list(Path().glob("runs/*"))


def test_nested_steps_read_no_files_that_a_column_names():
    vectorizer = ModelSpec(
        estimator="sklearn.feature_extraction.text.CountVectorizer", params={"input": "filename"}
    )

    with pytest.raises(InputError, match="base models use no files"):
        resolve(vectorizer, "models.outcome")
