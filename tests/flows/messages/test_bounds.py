"""Values from outside are bounded: a refusal comes at once and fits a sentence."""

import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from flows.config.data import DataConfig
from flows.config.parts.models import ModelSpec
from flows.config.reading import load_config, parse_config
from flows.errors import InputError
from flows.messages.limits import MOST_BYTES, MOST_DIGITS, MOST_LETTERS, MOST_LEVELS, MOST_VALUES

ROLES = {"source": "a.csv", "outcome": "y", "treatment": "w", "control": 0}
GOOD = "data: {source: a.csv, outcome: y, treatment: w, control: 0}\n"
SECONDS = 5  # a second or less on a machine of one's own


def refusal(text, changes=()):
    """The message that refuses a config, which must come soon."""
    Path("config.yaml").write_text(text)
    begun = time.monotonic()
    with pytest.raises(InputError) as caught:
        load_config(Path("config.yaml"), changes)
    assert time.monotonic() - begun < SECONDS
    assert len(str(caught.value)) < 1000
    return str(caught.value)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def laughs(levels, width, link):
    """Each level names the one before several times."""
    lines = ["a0: &a0 {x: 1}"]
    for i in range(1, levels):
        lines.append(f"a{i}: &a{i} " + link.format(", ".join([f"*a{i - 1}"] * width)))
    return "\n".join(lines) + "\n"


@hypothesis_settings(max_examples=30)
@given(
    levels=st.integers(20, 60),
    width=st.integers(2, 12),
    link=st.sampled_from(["[{}]", "{{<<: [{}]}}", "{{k: [{}]}}"]),
)
def test_aliases_count_as_often_as_they_stand_for(levels, width, link):
    text = laughs(levels, width, link) + GOOD

    assert f"at most {MOST_VALUES:,} values" in refusal(text)


NUMBERS = {
    "decimal": lambda n: "9" * n,
    "negative": lambda n: "-" + "9" * n,
    "hex": lambda n: "0x" + "f" * n,
    "octal": lambda n: "0" + "7" * n,
    "binary": lambda n: "0b" + "1" * n,
    "underscores": lambda n: "1" + "_0" * n,
    "sexagesimal": lambda n: "1" + ":59" * n,
    "float": lambda n: "0." + "1" * n,
    "tagged": lambda n: "!!int " + "9" * n,
}
PLACES = ["clip", "folds.n_folds", "data.control", "models.outcome.params.a", "data.propensity.b"]


@hypothesis_settings(max_examples=60)
@given(
    kind=st.sampled_from(list(NUMBERS)),
    n=st.integers(MOST_DIGITS + 1, 20_000),
    place=st.sampled_from(PLACES),
)
def test_numbers_of_many_digits_are_refused_in_files_and_changes(kind, n, place):
    number = NUMBERS[kind](n)
    nested = number
    for key in reversed(place.split(".")):
        nested = f"{{{key}: {nested}}}"

    assert f"at most {MOST_DIGITS} digits" in refusal(nested)
    assert f"at most {MOST_DIGITS} digits" in refusal(GOOD, [f"{place}={number}"])


@hypothesis_settings(max_examples=40)
@given(place=st.sampled_from(PLACES), sign=st.sampled_from([1, -1]), power=st.integers(100, 6000))
def test_numbers_that_come_as_such_are_refused_too(place, sign, power):
    content = {"data": dict(ROLES)}
    *keys, last = place.split(".")
    inner = content
    for key in keys:
        inner = inner.setdefault(key, {})
    inner[last] = sign * 10**power

    with pytest.raises(InputError, match=rf"at most {MOST_DIGITS} digits.*{last}"):
        parse_config(content)


def test_sections_refuse_by_themselves_what_comes_with_a_flow_run():
    # Prefect checks the arguments of a flow section by section, before the flow begins.
    with pytest.raises(ValidationError, match="at most 100 digits"):
        DataConfig.model_validate({**ROLES, "control": 16**5000})
    with pytest.raises(ValidationError, match="at most 100 levels"):
        ModelSpec.model_validate({"estimator": "x.Y", "params": {"a": nested(MOST_LEVELS + 1)}})


@pytest.mark.parametrize("value", ["!!bool maybe", "!!int ''", "!!float ''", "!!timestamp x"])
def test_a_value_of_another_tag_is_refused(value):
    assert "no value of the tag" in refusal(GOOD + f"clip: {value}")


@pytest.mark.parametrize("number", ["1e400", "-1e99999999", "1.0e+400", "1e-400", "2.5e-9999"])
def test_numbers_beyond_floats_are_refused(number):
    assert "beyond what floats can hold" in refusal(GOOD + f"clip: {number}")


@pytest.mark.parametrize("number", ["0.0", "0e5", "1e-300", "0.01"])
def test_small_numbers_are_taken(number):
    Path("config.yaml").write_text(GOOD + f"clip: {number}")
    assert load_config(Path("config.yaml")).clip == float(number)


def nested(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("levels", [MOST_LEVELS + 1, 1000, 50_000])
@pytest.mark.parametrize("letters", ["[]", "{}"])
def test_deep_nesting_is_refused(levels, letters):
    opening = "[" if letters == "[]" else "{a: "
    text = opening * levels + letters[1] * levels

    assert f"at most {MOST_LEVELS} levels" in refusal(f"data: {text}")


def test_deep_nesting_of_plain_values_is_refused():
    with pytest.raises(InputError, match=f"at most {MOST_LEVELS} levels"):
        parse_config({"data": ROLES, "learners": nested(sys.getrecursionlimit() * 3)})


def test_long_texts_and_keys_are_refused():
    long = "x" * (MOST_LETTERS + 1)

    assert f"at most {MOST_LETTERS:,} letters" in refusal(GOOD + f"output: {long}")
    assert f"at most {MOST_LETTERS:,} letters" in refusal(GOOD, [f"output={long}"])
    with pytest.raises(InputError, match="letters"):
        parse_config({"data": ROLES, long: 1})


def test_a_huge_file_is_refused_unread():
    with Path("config.yaml").open("wb") as file:
        file.truncate(50_000_000_000)  # holes: no disk is needed, memory would be
    begun = time.monotonic()
    with pytest.raises(InputError, match=f"at most {MOST_BYTES:,} bytes"):
        load_config(Path("config.yaml"))
    assert time.monotonic() - begun < SECONDS


def test_many_mistakes_are_told_of_in_some_lines():
    mistakes = {f"{i}{'k' * 50}": 1 for i in range(9000)}
    begun = time.monotonic()
    with pytest.raises(InputError, match=r"and 8950 more\.$"):
        parse_config({"data": ROLES, **mistakes})
    assert time.monotonic() - begun < SECONDS


@hypothesis_settings(max_examples=50)
@given(
    value=st.recursive(
        st.integers() | st.floats() | st.text() | st.binary() | st.none(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    ),
    change=st.text(max_size=300),
)
def test_whatever_comes_is_taken_or_refused_in_our_words(value, change):
    Path("config.yaml").write_text(GOOD)
    for attempt in (
        lambda: parse_config({"data": ROLES, "models": value}),
        lambda: parse_config({"data": value}),
        lambda: load_config(Path("config.yaml"), [f"data.control={change}"]),
    ):
        message = ""
        try:
            attempt()
        except InputError as error:
            message = str(error)
        assert len(message) < 20_000


def test_a_wide_config_is_taken():
    features = ", ".join(f"feature_{i}" for i in range(5000))
    Path("config.yaml").write_text(GOOD.replace("}", f", features: [{features}]}}"))

    assert len(load_config(Path("config.yaml")).data.features) == 5000
