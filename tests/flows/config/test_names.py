"""A config's name: any file gives a safe one, and what is no name is refused in one message."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flows.config.names import DEFAULT_NAME, is_name, name_of_file
from flows.config.reading import load_config, parse_config
from flows.errors import InputError

CONTENT = {"data": {"source": "x.csv", "outcome": "y", "treatment": "w", "control": 0}}


@given(stem=st.text() | st.text("ab.-_ ü/\0\n", max_size=80))
def test_any_file_gives_a_name_that_is_one_folder(stem):
    name = name_of_file(stem)

    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", name)
    assert name == name_of_file(name) == Path("by-name", name).name
    assert name != "latest"


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("shop-mail_2.v3", "shop-mail_2.v3"),
        ("Mein Übungs-Lauf", "Mein-Ubungs-Lauf"),
        ("café (copy)", "cafe-copy"),
        (".hidden", "hidden"),
        ("a" * 64, "a" * 64),
    ],
)
def test_a_file_s_name_stays_as_far_as_it_can(stem, name):
    assert name_of_file(stem) == name


def test_files_whose_letters_no_name_can_hold_have_names_of_their_own():
    stems = ["売上", "在庫", "売上 2026", "在庫 2026", "a" * 65, "a" * 66, "latest", "...", ""]

    assert len({name_of_file(stem) for stem in stems}) == len(stems)


def test_the_name_is_the_config_s_own_else_its_file_s_else_uplift(tmp_path):
    path = tmp_path / "shop mail.yaml"
    path.write_text(yaml.safe_dump(CONTENT))

    assert load_config(path).name == load_config(path, ["name=null"]).name == "shop-mail"
    assert load_config(path, ["name=other"]).name == "other"
    assert parse_config(CONTENT).name == DEFAULT_NAME
    path.write_text(load_config(path, ["name='2026'"]).to_yaml())
    assert load_config(path.rename(tmp_path / "config.yaml")).name == "2026"


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".a", "-a", "a/b", "a b", "ü", "a" * 65, "latest", "a\n", 7, None, ["a"]],
)
def test_what_is_no_name_is_refused(name):
    assert not (isinstance(name, str) and is_name(name))
    with pytest.raises(InputError, match="config: name: expected a text of at most 64 letters"):
        parse_config(CONTENT | {"name": name})
