"""Batches of any size are typed as all rows are, in each format."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.dates.queries import Query
from flows.errors import InputError
from flows.inputs.batches.columns import LABEL
from flows.inputs.batches.queries import QueryBatches
from flows.inputs.batches.source import open_batches
from flows.inputs.databases import postgresql as server
from flows.inputs.formats.frames import as_frame
from flows.inputs.formats.text_files import Asked, Habits
from flows.inputs.source import open_source
from metalearners.data.schema import as_days
from tests.flows.inputs.test_source import FILES as WRITTEN
from tests.flows.inputs.test_source import TABLE

N = 60
KINDS = {
    "x": "number",
    "z": "number",
    "site": "text",
    "day": "date",
    "at": "date",
    "id": LABEL,
    "code": LABEL,
    "share": LABEL,
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rows():
    """Rows of which the last ones alone tell the types of columns of text."""
    days = pd.date_range("2024-01-01", periods=N, freq="D")
    frame = pd.DataFrame(
        {
            "x": np.random.default_rng(0).normal(size=N).round(6),
            "z": np.arange(N) * 1000.5,
            "site": ["u", "v", None] * (N // 3),
            "day": days.strftime("%d.%m.%Y"),  # the order is told by the 13th row alone
            "at": [*days[:-1].strftime("%Y-%m-%d"), "2024-05-01 12:30:00"],
            "id": [*map(str, range(N - 1)), "007"],
            "code": np.arange(N),
            "share": [*np.arange(N - 1) / 8, 0.3],
        }
    )
    frame.loc[::7, ["x", "day"]] = None
    return frame


def by_groups(frame):
    pq.write_table(pa.Table.from_pandas(frame), "a.parquet", row_group_size=11)
    return "a.parquet"


def by_batches(frame):
    pa.feather.write_feather(pa.Table.from_pandas(frame), "a.feather", chunksize=11)
    return "a.feather"


def by_lines(frame, **how):
    frame.to_csv("a.csv", index=False, **how)
    return "a.csv"


def json_lines(frame):
    frame.to_json("a.jsonl", orient="records", lines=True)
    return "a.jsonl"


def in_folders(frame):
    for i, (site, part) in enumerate(frame.fillna({"site": "_"}).groupby("site")):
        Path(f"all/site={site}").mkdir(parents=True)
        kind = {"code": ["int8", "int32", "int64"][i]}
        part.drop(columns="site").astype(kind).to_parquet(f"all/site={site}/0.parquet")
    return "all"


FORMATS = {
    "Parquet": by_groups,
    "Feather": by_batches,
    "CSV": by_lines,
    "decimal commas": lambda f: by_lines(f, sep=";", decimal=","),
    "JSON lines": json_lines,
    "folders": in_folders,
    "data frame": lambda f: f,
}


def batches(source, kinds, size, **how):
    place, frame = (source, None) if isinstance(source, str) else ("", source)
    return list(open_batches(place, Asked(**how), frame).batches(kinds, size))


def together(read):
    """The rows of batches, which must have the same types."""
    return pa.concat_tables(
        [pa.table({n: c.values for n, c in batch.columns.items()}) for batch in read]
    )


@pytest.mark.parametrize("write", FORMATS.values(), ids=list(FORMATS))
def test_batches_of_any_size_are_the_rows_read_at_once(write, monkeypatch):
    for module in ("text_files", "json_lines"):  # so that even these rows come in blocks
        monkeypatch.setattr(f"flows.inputs.formats.{module}._BLOCK_BYTES", 600)
    source = write(rows())
    whole = together(batches(source, KINDS, 1000))
    for size in (1, 7, 11, 25):
        read = batches(source, KINDS, size)
        assert [b.rows for b in read] == [*[size] * (N // size), *([N % size] if N % size else [])]
        assert [b.begin for b in read] == list(range(0, N, size))
        assert together(read).equals(whole), size

    labels = [name for name, kind in KINDS.items() if kind == LABEL]
    types = {name: kind for name, kind in KINDS.items() if kind != LABEL}
    place, frame = (source, None) if isinstance(source, str) else ("", source)
    expected = open_source(place, Asked(), frame).read(list(KINDS), labels, types).frame
    found = as_frame(dict(zip(KINDS, whole.columns, strict=True)), labels, "")
    for name, kind in KINDS.items():
        a, b = (as_days(f[name]) if kind == "date" else f[name] for f in (found, expected))
        pd.testing.assert_series_equal(a, b, check_exact=True)


@pytest.mark.parametrize("write", WRITTEN.values(), ids=list(WRITTEN))
def test_what_programs_write_is_the_same_in_batches(write):
    source = write(TABLE)
    names = open_source(source).data_names
    expected = open_source(source).read(names, names).frame
    for size in (1, 3, 100):
        read = together(batches(source, dict.fromkeys(names, LABEL), size))
        found = as_frame(dict(zip(names, read.columns, strict=True)), names, "")
        pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_batches_that_are_not_wanted_are_passed_over():
    source = by_groups(rows())
    opened = open_batches(source, Asked())
    found = list(opened.batches({"code": LABEL}, 7, lambda number: number in (3, 4)))

    assert [bool(batch.columns) for batch in found] == [n in (3, 4) for n in range(9)]
    assert found[4].columns["code"].values.to_pylist() == list(range(28, 35))
    assert sum(batch.rows for batch in found) == N


FAULTS = {
    "no date": ("day", "31.13.2024", "'day': row 60 has '31.13.2024'"),
    "no number": ("x", "many", "'x': most are no numbers|'x': 1 of .* 'many'"),
}


@pytest.mark.parametrize(("column", "field", "match"), FAULTS.values(), ids=list(FAULTS))
def test_a_field_of_the_last_row_is_refused(column, field, match):
    frame = rows().astype({"x": object})
    frame.loc[N - 1, column] = field
    source = by_lines(frame)
    for size in (7, 1000):
        with pytest.raises(InputError, match=match) as told:
            batches(source, KINDS, size)
        assert "in columns of a.csv that have such in the model" in str(told.value)
        is_told_where = str(told.value).startswith("Rows 57 to 60: ")
        assert is_told_where == (size == 7 and column == "x")


def test_the_order_of_day_and_month_is_that_of_all_rows_or_the_usual_one():
    frame = pd.DataFrame({"day": ["05.03.2024", "06.03.2024", "07.04.2024"]})
    with pytest.raises(InputError, match=r"'05\.03\.2024' may be day or month first"):
        batches(by_lines(frame), {"day": "date"}, 2)
    usual = Habits(orders={"day": "month first"})
    found = together(batches("a.csv", {"day": "date"}, 2, usual=usual))["day"].to_pylist()
    assert [d.month for d in found] == [5, 6, 7]
    told = by_lines(pd.concat([frame, pd.DataFrame({"day": ["31.12.2024"]})]))
    read = batches(told, {"day": "date"}, 2, usual=usual)
    assert [d.month for d in together(read)["day"].to_pylist()] == [3, 3, 4, 12]
    assert [batch.columns["day"].note for batch in read] == ["its dates are read day first"] * 2


def test_rows_of_json_are_counted_however_lines_hold_them(monkeypatch):
    monkeypatch.setattr("flows.inputs.formats.json_lines._BLOCK_BYTES", 24)
    Path("a.jsonl").write_text('{"x":0} {"x":1}\n{"x":2}\n{"x":\n3}\n{"x":4}\n{"x":5} {"x":6}\n')
    opened = open_batches("a.jsonl", Asked())
    for wanted in range(7):
        found = list(opened.batches({"x": LABEL}, 1, lambda number, w=wanted: number == w))
        assert [batch.rows for batch in found] == [1] * 7
        assert found[wanted].columns["x"].values.to_pylist() == [wanted]


def test_long_whole_numbers_of_one_block_keep_their_digits_beside_decimals(monkeypatch):
    monkeypatch.setattr("flows.inputs.formats.json_lines._BLOCK_BYTES", 25)
    Path("a.jsonl").write_text('{"x":9007199254740993}\n{"x":1.0}\n')
    assert together(batches("a.jsonl", {"x": LABEL}, 1))["x"].to_pylist()[0] == "9007199254740993"
    Path("a.jsonl").write_text('{"x":9007199254740993}\n{"x":0.5}\n')
    with pytest.raises(InputError, match="whole numbers of up to 38 digits"):
        batches("a.jsonl", {"x": LABEL}, 1)
    Path("a.jsonl").write_text('{"x":9007199254740993}\n{"x":1}\n')
    read = together(batches("a.jsonl", {"x": LABEL}, 1))["x"]
    assert read.to_pylist() == [9007199254740993, 1]


def test_numbers_and_texts_in_other_blocks_of_json_lines_are_refused(monkeypatch):
    monkeypatch.setattr("flows.inputs.formats.json_lines._BLOCK_BYTES", 10)
    Path("a.jsonl").write_text('{"x":1}\n{"x":2.5}\n{"x":"a"}\n')
    with pytest.raises(InputError, match=r"Column\(/x\) changed from double to string"):
        open_batches("a.jsonl", Asked())


def test_decimals_of_any_digits_are_labels_of_the_type_of_training(postgresql, monkeypatch):
    url, connection = postgresql
    wanted = [Decimal(n) for n in ("1.5", "0.125", "12345678901234567890123456789012345678")]
    connection.execute("CREATE TABLE new (id numeric)")
    for value in wanted:
        connection.execute("INSERT INTO new VALUES (%s)", [value])
    monkeypatch.setattr(server, "AT_ONCE", 1)
    query = Query("SELECT id FROM new", url)
    opened = QueryBatches(query, Asked(), None, None, pytest.fail)  # which are no files
    batches = list(opened.batches({"id": LABEL}, 1))
    found = [batch.columns["id"].values for batch in batches]
    assert [values.type for values in found] == [pa.decimal256(41, 3)] * 3
    trained = open_source("", query=query).read(["id"], ["id"]).frame
    assert sorted(values[0].as_py() for values in found) == sorted(trained["id"]) == sorted(wanted)
