"""Delimited text: what stands in a file is what is read, whatever its dialect and its types."""

import csv
import datetime
import gzip
import io
import math

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flows.inputs.formats.column_types import Marks, typed
from flows.inputs.formats.dates import as_dates
from flows.inputs.formats.text_files import open_text_files

# Without what no CSV can hold: a null byte; and a lone surrogate, which is no text.
CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0")
TEXTS = st.lists(st.text(CHARACTERS, min_size=1, max_size=12), min_size=1, max_size=20)


def source(content: bytes | list[bytes]):
    parts = [content] if isinstance(content, bytes) else content
    opened = {f"part-{i}.csv": part for i, part in enumerate(parts)}
    return open_text_files(list(opened), lambda file: io.BytesIO(opened[file]))


def written(columns: dict[str, list], encoding: str = "utf-8", **how) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, **{"quoting": csv.QUOTE_MINIMAL, **how})
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode(encoding)


def column(files, name: str, labels=()):
    return files.read([name], labels)[0][name]


def read(content, labels=()) -> dict[str, list]:
    files = source(content)
    found, _ = files.read(next(iter(files.names.values())), labels)
    return {name: column.values.to_pylist() for name, column in found.items()}


def test_types_are_those_of_whole_rows_of_the_beginning(monkeypatch):
    monkeypatch.setattr("flows.inputs.formats.text_files._HEAD_BYTES", 64)
    for name in ("t", "te", "tex", "text", "texts"):  # a line end in quotes is one of the last
        texts = ["two\nli\nn\nes"] * 9
        assert read(written({name: texts, "x": [0.5] * 9})) == {name: texts, "x": [0.5] * 9}


def test_a_first_row_may_be_longer_than_the_beginning(monkeypatch):
    monkeypatch.setattr("flows.inputs.formats.text_files._HEAD_BYTES", 64)
    texts = ["a, long\n" * 40, "short"]
    assert read(written({"t": texts, "x": [0.5, 1.5]})) == {"t": texts, "x": [0.5, 1.5]}


@settings(max_examples=300, deadline=None)
@given(texts=TEXTS)
@example(["00001", "00002"])
@example(["12345678901234567890", "1"])
@example(["1", "2", "x7"])
@example(["1.50", "2.5"])
@example(["2024-01-01", "2024-01-02"])
@example(["NA", "?", "-"])
@example(["-0", "+1", "0x10", "1e3"])
def test_a_label_is_the_text_that_stands_in_the_file(texts):
    found = read(written({"a": texts, "b": [1] * len(texts)}, quoting=csv.QUOTE_ALL), ["a"])["a"]

    if all(isinstance(label, bool) for label in found):
        assert [str(label).lower() for label in found] == [text.lower() for text in texts]
    else:
        assert [repr(one) if isinstance(one, float) else str(one) for one in found] == texts


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20))
def test_integers_of_any_length_keep_each_digit(values):
    assert read(written({"a": values, "b": values}))["a"] == values


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=20))
def test_numbers_keep_each_bit(values):
    found = read(written({"a": [*values, 0.5], "b": [0.5] * (len(values) + 1)}))["a"]

    assert [math.copysign(1, v) for v in found[:-1]] == [math.copysign(1, v) for v in values]
    assert found[:-1] == values


DIALECTS = {
    "comma": {},
    "semicolon": {"delimiter": ";"},
    "tab": {"delimiter": "\t"},
    "bar": {"delimiter": "|"},
    "all quoted": {"quoting": csv.QUOTE_ALL},
    "line ends of Unix": {"lineterminator": "\n"},
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("how", DIALECTS.values(), ids=list(DIALECTS))
def test_any_dialect_gives_the_same_table(how, encoding):
    table = {
        "Größe": [1.5, 2.25, -3.0],
        "n": [1, 2, 3],
        "name": ["a, b; c|d", 'say "é"', "two\nlines"],
        "yes": [True, False, True],
    }
    found = read(written(table, encoding, **how))

    assert found == table


@pytest.mark.parametrize("n", [30, 60_000], ids=["few rows", "more than the beginning"])
def test_one_later_text_makes_no_row_another(n):
    codes = [*range(n), "x"]
    found = read(written({"code": codes, "b": codes}), ["code"])["code"]

    assert found == [str(code) for code in codes]


def test_decimal_commas_and_marks_between_thousands_are_sniffed():
    german = b"a;b;c\n1,5;1.234,5;7\n2,25;12,0;8\n"
    english = b'a,b\n"1,234.5",1\n"2,000,000",2\n'

    assert read(german) == {"a": [1.5, 2.25], "b": [1234.5, 12.0], "c": [7, 8]}
    assert read(english) == {"a": [1234.5, 2e6], "b": [1, 2]}


def test_a_mark_of_a_missing_number_is_missing_and_told():
    files = source(written({"x": [*range(40), "?", "NA"], "y": [1.5] * 42}))
    x = column(files, "x")

    assert x.values.to_pylist() == [*range(40), None, None]
    assert x.note == "2 fields '?', 'NA' are taken as missing"


def test_numbers_but_for_a_text_are_a_fault_and_as_labels_none():
    files = source(written({"x": [*range(40), "abc"], "y": [1.5] * 41}))

    assert column(files, "x").fault == "1 of 41 fields are none, such as 'abc'"
    assert column(files, "x", ["x"]).fault == ""
    assert column(source(written({"grade": ["1", "2", "A"] * 9})), "grade").fault == ""


DAY = datetime.date(2024, 1, 31)
DATES = [  # texts, what the first is, how it is told
    (["2024-01-31", None], DAY, ""),
    (["2024/1/31", "2024/02/01"], DAY, ""),
    (["20240131"], DAY, ""),
    (["31.1.2024", " 01.02.2024"], DAY, "its dates are read day first"),
    (["01/31/2024", "02/03/2024"], DAY, "its dates are read month first"),
    (["05/05/2024", "07/07/2024"], datetime.date(2024, 5, 5), ""),
    (["31-01-2024 00:00", "31-01-2024 10:30"], datetime.datetime(2024, 1, 31), "its dates are"),
    (["2024-01-31T10:00:00", "2024-02-01"], datetime.datetime(2024, 1, 31, 10), ""),
]
NO_DATES = [  # texts, the fault
    (["01/02/2024", "03/04/2024"], "'01/02/2024' may be day or month first, and no row tells"),
    (["31.01.2024", None, "soon"], "row 3 has 'soon'"),
    (["2024-01-31", "2024-02-30"], "row 2 has '2024-02-30'"),
    (["31.01.2024", "02.15.2024"], "row 2 has '02.15.2024'"),
    (["31.01.24"], "row 1 has '31.01.24'"),
    (["2024"], "row 1 has '2024'"),
]


@pytest.mark.parametrize(("texts", "first", "note"), DATES)
def test_a_column_that_is_said_to_be_dates_is_read_as_such(texts, first, note):
    found = as_dates(pa.chunked_array([texts[:1], texts[1:]], pa.string()))

    assert found.values.to_pylist()[0] == first
    assert found.values.null_count == texts.count(None)
    assert found.note.startswith(note)
    assert bool(found.note) == bool(note)
    assert not found.fault


@pytest.mark.parametrize(("texts", "fault"), NO_DATES)
def test_dates_that_are_none_or_can_be_read_in_two_ways_are_faults(texts, fault):
    assert as_dates(pa.chunked_array([texts], pa.string())).fault.startswith(fault)


def test_parts_have_one_type_whatever_each_holds():
    parts = [b"id,x\n", b"id,x\n1,2\n", b"id,x\n007,2.5\n", b"x,id\n3,9\n"]

    assert read(parts, ["id"]) == {"id": ["1", "007", "9"], "x": [2.0, 2.5, 3.0]}


def test_a_compressed_part_is_read_as_what_it_holds(tmp_path):
    content = written({"a": [1, 2], "b": ["x", "y"]})
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(content))
    files = open_text_files([str(tmp_path / "a.csv.gz")], gzip.open)

    assert column(files, "b").values.to_pylist() == ["x", "y"]


def test_an_empty_field_is_missing_in_any_type():
    content = written({"t": ["x", "", "z"], "n": [1, "", 3], "b": [True, "", False]})

    assert read(content) == {"t": ["x", None, "z"], "n": [1, None, 3], "b": [True, None, False]}
    assert pd.isna(read(content)["n"][1])


def test_marks_of_missing_values_stand_beside_marks_between_thousands():
    texts = pa.chunked_array([["1,234.5", "NA", "7"], ["?", "NA"]])
    found = typed(texts, Marks(".", ","))

    assert found.values.to_pylist() == [1234.5, None, 7.0, None, None]
    assert found.missing == {"NA": 2, "?": 1}
    assert found.note == "3 fields 'NA', '?' are taken as missing"
