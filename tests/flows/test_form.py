"""The form of Prefect's UI: the schema that it draws, and what it sends for a config."""

import copy

import pytest
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import ValidationError, validate

from deployments.uplift import CONFIGS, deployments
from flows import uplift_backfill, uplift_run, uplift_tune
from flows.config import Config, load_config, parse_config
from flows.errors import InputError
from metalearners.evaluation import DEFINITIONS
from metalearners.registry import REGISTRY

SCHEMA = parameter_schema(uplift_run).model_dump()
HIDDEN = {"schedule", "compare"}  # of no use to a single run
DATA = {"source": "d.csv", "outcome": "y", "treatment": "w", "control": 0}
MODEL = {"estimator": "lightgbm.LGBMRegressor", "params": {"max_depth": None}}


def parts(value):
    """Every map in nested values."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, dict | list):
            yield from parts(item)


def resolved(field, schema=SCHEMA):
    if "$ref" not in field:
        return field
    return {**schema["definitions"][field["$ref"].rpartition("/")[2]], **field}


def filled(field, value=None, schema=SCHEMA):
    """What the UI sends for a field that nobody touches: its value, or else its default."""
    field = resolved(field, schema)
    value = copy.deepcopy(field.get("default")) if value is None else value
    for name, inner in field.get("properties", {}).items() if "anyOf" not in field else ():
        own = filled(inner, (value or {}).get(name), schema)
        if own is not None:
            value = {**(value or {}), name: own}
    return value


def accepted(**parameters):
    try:
        validate(parameters, SCHEMA, raise_on_error=True)
    except ValidationError:
        return False
    return True


def is_map(field):
    """Whether the UI draws an editor of JSON: an object whose keys nothing limits."""
    limits = {"properties", "anyOf", "maxProperties"}
    return field.get("type") == "object" and not limits & field.keys()


def test_no_field_of_the_form_is_null_or_without_a_name_and_words():
    assert all(field["title"] == name for name, field in SCHEMA["properties"].items())
    sections = [SCHEMA, *(part for part in parts(SCHEMA["definitions"]) if "properties" in part)]
    assert len(sections) > len(REGISTRY)
    for section in sections:
        for field in map(resolved, section["properties"].values()):
            assert {"type": "null"} not in list(parts(field))
            assert field["title"]
            assert field["description"]
            if any(map(is_map, [field, *field.get("anyOf", [])])):
                assert '{"' in field["description"]  # an example of what to write


def test_every_choice_of_the_config_is_one_in_the_form():
    fields = {f"{d}.{n}": f for d, s in SCHEMA["definitions"].items() for n, f in choices(s)}

    assert {name: field["enum"] for name, field in fields.items()} == {
        "DataConfig.missing": ["refuse", "warn"],
        "DataConfig.design": ["auto", "randomised", "observational"],
        "EvaluationConfig.definition": ["default", *DEFINITIONS],
        "WatchConfig.on_schema_change": ["refuse", "warn", "ignore"],
        "ParallelismConfig.runner": ["thread", "process", "dask", "serial"],
        "ReadConfig.decimal": [".", ","],
        "PromotionConfig.rule": ["better"],
    }
    outcome_type = SCHEMA["definitions"]["DataConfig"]["properties"]["outcome_type"]
    assert outcome_type["anyOf"][0]["enum"] == ["regression", "binary"]
    assert SCHEMA["properties"]["learners"]["items"]["enum"] == list(REGISTRY)
    for part in parts(SCHEMA):
        assert "const" not in part or part["enum"] == [part["const"]]


def choices(section):
    return [(name, field) for name, field in section["properties"].items() if "enum" in field]


def test_every_key_of_the_config_that_a_run_can_have_is_in_the_form():
    def compare(section, properties):
        assert section.model_fields.keys() - HIDDEN <= properties.keys()
        for name, field in section.model_fields.items():
            if hasattr(field.annotation, "model_fields"):
                compare(field.annotation, resolved(properties[name])["properties"])

    compare(Config, SCHEMA["properties"])
    for flow in (uplift_tune, uplift_backfill):
        assert parameter_schema(flow).model_dump()["definitions"] == SCHEMA["definitions"]
    backfill = parameter_schema(uplift_backfill).model_dump()["properties"].keys()
    assert backfill ^ SCHEMA["properties"].keys() == {
        *("from_date", "to_date", "every"),
        *("date", "refresh"),
    }


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_form_that_is_left_alone_sends_the_config(path):
    config = load_config(path)
    (deployment,) = [d for d in deployments({"own": config}) if d.name == "own"]
    sent = {
        name: filled(field, deployment.parameters.get(name))
        for name, field in SCHEMA["properties"].items()
    }

    assert accepted(**sent)
    assert sent.pop("refresh") is False
    assert parse_config(sent) == config


def test_a_query_needs_no_source():
    asked = {"sql": "SELECT 1", "url": "sqlite:///shop.db"}
    without = {key: value for key, value in DATA.items() if key != "source"}

    for data in (without | asked, without | asked | {"source": None}):
        assert accepted(data=data)
        assert parse_config({"data": data}).data.place == "sqlite:///shop.db"
    with pytest.raises(InputError, match=r"data\.source: expected a value"):
        parse_config({"data": without})


def test_defaults_left_alone_are_absent_keys():
    sent = {name: filled(field) for name, field in SCHEMA["properties"].items() if name != "data"}
    sent["data"] = filled(SCHEMA["properties"]["data"], DATA)
    assert accepted(**sent)
    del sent["refresh"]

    assert parse_config(sent) == parse_config({"data": DATA})


@pytest.mark.parametrize("label", [25, "25", 2.5, True, "yes"])
def test_labels_stay_the_numbers_or_texts_that_they_are(label):
    data = {**DATA, "control": label, "arms": [label, "other"]}

    assert accepted(data=data)
    sent = parse_config({"data": data}).data
    assert [type(each) for each in (sent.control, sent.arms[0])] == [type(label)] * 2


@pytest.mark.parametrize(
    ("parameters", "fits"),
    [
        ({"data": {**DATA, "time": None, "row_id": None, "positive": None, "arms": None}}, True),
        ({"data": {**DATA, "propensity": None}, "models": {"outcome": None}}, True),
        ({"data": {**DATA, "propensity": {"0": 0.5}}, "models": {"outcome": MODEL}}, True),
        ({"data": DATA, "cache": {"max_age_days": None}, "parallelism": {"workers": None}}, True),
        ({"data": DATA, "models": {"DRLearner": {"treatment_model": MODEL}}}, True),
        ({"data": {**DATA, "time": "t"}}, True),
        ({"data": {**DATA, "arms": []}}, False),
        ({"data": {**DATA, "read": {"thousands": "x"}}}, False),
        ({"data": DATA, "models": {"outcome": {"params": {}}}}, False),
        ({"data": DATA, "models": {"TLearner": {"treatment_model": MODEL}}}, False),
        ({"data": DATA, "clip": 0.5}, False),
        ({"data": DATA, "parallelism": "automatic"}, False),
    ],
)
def test_the_form_takes_what_a_config_may_say(parameters, fits):
    assert accepted(**parameters) is fits


def test_wrong_parameters_are_refused_in_a_config_s_own_words(api):
    with pytest.raises(InputError, match=r"config: data.sauce: unknown key. Did you mean 'source'"):
        uplift_run(data={**DATA, "sauce": 1})
    with pytest.raises(InputError, match="refresh: expected true or false; found 'no'"):
        uplift_run(data=DATA, refresh="no")
    for wrong in ("9", True):
        with pytest.raises(InputError, match=f"budget_seconds: expected .* 0; found {wrong!r}"):
            uplift_tune(data=DATA, budget_seconds=wrong)
