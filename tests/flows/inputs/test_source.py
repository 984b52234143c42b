"""Rules of reading: what stands in files of any kind reaches the run as it is, or is refused."""

import datetime
import decimal
import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import psutil
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.errors import InputError
from flows.inputs.formats.text_files import Asked
from flows.inputs.room import least_bytes
from flows.inputs.source import open_source
from flows.runs.records import peak_rss_bytes
from metalearners.workers.auto import Machine

TABLE = pd.DataFrame(
    {
        "y": [0.5, 1.25, -3.0, 7.5],
        "arm": ["control", "mail", "mail", "control"],
        "id": ["00001", "00002", "A3", "12345678901234567890"],
        "n": [1, 2, 3, 2**40],
        "city": ["Zürich", "Genève, centre", 'say "Basel"', "two\nlines"],
        "known": [True, False, True, True],
    }
)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(source, labels=("arm", "id"), **asked):
    opened = open_source(str(source), Asked(**asked))
    return opened.read(opened.data_names, labels)


def refused(match, source, labels=("arm", "id"), **asked):
    with pytest.raises(InputError, match=match):
        read(source, labels, **asked)


def zipped(frame):
    with gzip.open("a.csv.gz", "wt", encoding="utf-8", newline="") as file:
        frame.to_csv(file, index=False)
    return "a.csv.gz"


def in_parts(frame):
    for i, part in enumerate((frame.head(0), frame.head(1), frame.tail(3))):
        Path("parts").mkdir(exist_ok=True)
        part.to_csv(f"parts/{i}.csv", index=False)
    Path("parts/_SUCCESS").touch()
    return "parts"


def parquet_in_parts(frame):
    Path("parts").mkdir()
    frame.head(0).to_parquet("parts/0.parquet")  # of no types, as texts go
    frame.head(1).astype({"n": "int8"}).to_parquet("parts/1.parquet")
    frame.tail(3).to_parquet("parts/2.parquet")
    return "parts"


def by_arm(frame):
    for arm, part in frame.groupby("arm", sort=True):
        Path(f"by_arm/arm={arm}").mkdir(parents=True)
        part.drop(columns="arm").to_parquet(f"by_arm/arm={arm}/0.parquet", index=False)
    return "by_arm"


def to(path, write, **how):
    write(path, **how)
    return path


FILES = {
    "pandas CSV": lambda t: to("a.csv", t.to_csv, index=False),
    "pandas CSV with its index": lambda t: to("a.csv", t.to_csv),
    "semicolons": lambda t: to("a.csv", t.to_csv, index=False, sep=";"),
    "semicolons and decimal commas": lambda t: to(
        "a.csv", t.to_csv, index=False, sep=";", decimal=","
    ),
    "tabs": lambda t: to("a.tsv", t.to_csv, index=False, sep="\t"),
    "bars": lambda t: to("a.txt", t.to_csv, index=False, sep="|"),
    "byte-order mark": lambda t: to("a.csv", t.to_csv, index=False, encoding="utf-8-sig"),
    "Latin-1": lambda t: to("a.csv", t.to_csv, index=False, encoding="latin-1"),
    "UTF-16": lambda t: to("a.csv", t.to_csv, index=False, encoding="utf-16"),
    "line ends of Windows": lambda t: to("a.csv", t.to_csv, index=False, lineterminator="\r\n"),
    "all quoted": lambda t: to("a.csv", t.to_csv, index=False, quoting=1),
    "gzip": zipped,
    "CSV in parts": in_parts,
    "polars CSV": lambda t: to("a.csv", pl.from_pandas(t).write_csv),
    "Parquet": lambda t: to("a.parquet", t.to_parquet),
    "Parquet with its index": lambda t: to("a.parquet", t.set_index("y", drop=False).to_parquet),
    "Parquet in parts": parquet_in_parts,
    "polars Parquet": lambda t: to("a.parquet", pl.from_pandas(t).write_parquet),
    "hive": by_arm,
    "Feather": lambda t: to("a.feather", t.to_feather),
    "Arrow": lambda t: to("a.arrow", pl.from_pandas(t).write_ipc),
    "JSON lines": lambda t: to("a.jsonl", t.to_json, orient="records", lines=True),
    "polars JSON lines": lambda t: to("a.ndjson", pl.from_pandas(t).write_ndjson),
}


@pytest.mark.parametrize("write", FILES.values(), ids=list(FILES))
def test_files_of_any_kind_give_the_same_typed_table(write):
    found = read(write(TABLE)).frame[list(TABLE.columns)]

    found = found.sort_values("n", ignore_index=True).astype({"arm": "str", "id": "str"})
    pd.testing.assert_frame_equal(
        found.astype({"city": "str", "known": "bool"}),
        TABLE.astype({"arm": "str", "id": "str", "city": "str"}),
        check_dtype=False,
    )
    assert [found[c].dtype.kind for c in ("y", "n")] == ["f", "i"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=8).filter(
        any
    )
)
def test_integer_labels_stay_integers_beside_missing_ones(labels):
    column = pa.array(labels, pa.int64())
    pa.parquet.write_table(pa.table({"id": column, "x": [0.5] * len(labels)}), "l.parquet")
    pa.feather.write_feather(pa.table({"id": column, "x": [0.5] * len(labels)}), "l.feather")
    Path("l.csv").write_text("id,x\n" + "".join(f"{'' if i is None else i},0.5\n" for i in labels))
    for source in ("l.parquet", "l.feather", "l.csv"):
        found = read(source).frame["id"]
        assert [None if pd.isna(one) else int(one) for one in found] == labels


def test_unsigned_labels_beside_missing_ones_keep_each_digit():
    column = pa.array([2**64 - 1, None], pa.uint64())
    pa.parquet.write_table(pa.table({"id": column}), "l.parquet")
    assert int(read("l.parquet").frame["id"][0]) == 2**64 - 1


def test_an_identity_is_one_thing_over_all_parts():
    Path("d").mkdir()
    Path("d/0.csv").write_text("id,x\n1,2\n")
    Path("d/1.csv").write_text("id,x\n01,2\n")

    assert read("d").frame["id"].tolist() == ["1", "01"]


def test_a_column_of_a_file_comes_before_the_name_of_its_folder():
    Path("d/site=u").mkdir(parents=True)
    Path("d/site=u/0.csv").write_text("site,x\nv,1\nu,2\n")

    assert read("d").frame["site"].tolist() == ["v", "u"]


def test_folders_above_the_working_folder_say_nothing_of_data(monkeypatch):
    Path("run=7").mkdir()
    monkeypatch.chdir("run=7")
    Path("d.csv").write_text("x,z\n1,2\n")

    assert list(read("d.csv").frame) == ["x", "z"]


def test_keys_of_folders_are_columns_with_missing_ones():
    for i, key in enumerate(("1", "2", "__HIVE_DEFAULT_PARTITION__")):
        Path(f"d/week={key}").mkdir(parents=True)
        Path(f"d/week={key}/0.csv").write_text(f"x,z\n{i},2\n")

    weeks = read("d").frame["week"]
    assert weeks[:2].tolist() == [1, 2]
    assert pd.isna(weeks[2])


def test_what_a_program_wrote_for_itself_is_no_data():
    TABLE.set_index("n", drop=False).rename_axis(None).to_csv("a.csv")
    TABLE.iloc[[0, 2]].to_parquet("a.parquet")

    for source in ("a.csv", "a.parquet"):
        assert open_source(source).data_names == list(TABLE)


def test_decimals_are_numbers_and_dates_stay_dates():
    frame = pd.DataFrame(
        {
            "price": [decimal.Decimal("1.25"), decimal.Decimal("2.50")],
            "day": [datetime.date(2024, 1, 1), datetime.date(2024, 2, 1)],
        }
    )
    frame.to_parquet("a.parquet")
    found = read("a.parquet").frame

    assert found["price"].tolist() == [1.25, 2.5]
    assert found["price"].dtype == np.float64
    assert found["day"].tolist() == frame["day"].tolist()


SKIPPED = {
    "another ending": ("notes.docx", "found .csv, .docx"),
    "an unknown compression": ("1.csv.rar", "found .csv, .csv.rar"),
    "no ending": ("README", "found .csv, none"),
    "another format": ("1.parquet", "found .csv, .parquet"),
}


@pytest.mark.parametrize(("name", "match"), SKIPPED.values(), ids=list(SKIPPED))
def test_no_file_of_a_folder_is_skipped_in_silence(name, match):
    Path("d").mkdir()
    Path("d/0.csv").write_text("a,b\n1,2\n")
    Path("d", name).write_bytes(b"x")

    refused(match, "d")
    assert read("d/*.csv").frame["a"].tolist() == [1]


def test_a_column_that_only_a_later_part_has_is_refused():
    Path("d").mkdir()
    Path("d/0.csv").write_text("a,b\n1,2\n")
    Path("d/1.csv").write_text("a,b,c\n1,2,3\n")

    refused("same columns in all files of d; .*0.csv has no c", "d")


def test_parts_of_other_types_are_refused_by_name():
    Path("d").mkdir()
    pd.DataFrame({"a": [1]}).to_parquet("d/0.parquet")
    pd.DataFrame({"a": ["x"]}).to_parquet("d/1.parquet")

    refused("can't be read: .*one type throughout", "d")


def test_what_a_config_asks_for_is_not_sniffed():
    Path("a.csv").write_bytes("a,b\n1,5;é\n2,5;none\n".encode("cp850"))
    asked = {"separator": ";", "decimal": ",", "encoding": "cp850", "missing": ["none"]}

    found = open_source("a.csv", Asked(**asked))
    assert found.names == ["a,b"]

    Path("b.csv").write_bytes(b"zip;x\n10115;1,5\n20095;-\n")
    frame = read("b.csv", decimal=",", missing=["-"], types={"zip": "text"}).frame
    assert frame["zip"].tolist() == ["10115", "20095"]
    assert frame["x"][0] == 1.5
    assert pd.isna(frame["x"][1])


def test_a_type_that_is_asked_for_is_taken_or_a_fault():
    Path("b.csv").write_text("code,x\n007,1\n010,?\n010,abc\n")

    assert read("b.csv", types={"code": "number"}).frame["code"].tolist() == [7, 10, 10]
    found = read("b.csv", types={"x": "number"})
    assert found.faults == {"x": "most are no numbers"}


@pytest.mark.parametrize("way", ["jsonl", "parquet", "memory", "categories"])
def test_what_a_config_asks_for_holds_for_every_format(way):
    frame = pd.DataFrame(
        {
            "zip": [10115, 20095, 1067],
            "age": ["31", "n.a.", "42"],
            "spent": [1.5, -9, 3.0],
            "joined": ["31.12.2024", "01.02.2024", None],
            "city": ["n.a.", "Bonn", "Jena"],
        }
    )
    asked = {
        "missing": ["n.a.", "-9"],
        "types": {"zip": "text", "age": "number"},
        "dates": ["joined"],
    }
    frame.assign(spent=frame["spent"].astype(object).replace(-9, "-9")).to_csv("a.csv", index=False)
    expected = read("a.csv", (), **asked).frame

    if way == "categories":
        frame = frame.astype(dict.fromkeys(frame, "category"))
    if way == "jsonl":
        frame.to_json("a.jsonl", orient="records", lines=True)
    if way == "parquet":
        frame.to_parquet("a.parquet")
    in_memory = frame if way in ("memory", "categories") else None
    found = open_source(f"a.{way}", Asked(**asked), in_memory).read(list(frame)).frame

    for name in frame:
        assert found[name].astype(object).where(found[name].notna(), None).tolist() == (
            expected[name].astype(object).where(expected[name].notna(), None).tolist()
        ), name


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("kg;eur\n1,234;1,5\n2,250;2,25\n", {"kg": 1.234, "eur": 1.5}),
        ("kg;eur\n1.234;1,5\n2.250;2,25\n", {"kg": 1234, "eur": 1.5}),
        ("kg;eur\n0,512;1\n0,250;2\n", {"kg": 0.512, "eur": 1}),
        ('kg,eur\n"1,234","1,234.5"\n"2,250",2\n', {"kg": 1234, "eur": 1234.5}),
        ('codes,age\n"1,2",1.000\n"3,4",2.100\n', {"age": 1}),
        ('codes,age\n"1,2",20.5\n"3,4",21.5\n', {"age": 20.5}),
        ("kg;eur\n1.5;1\n2.250;2\n", {"kg": 1.5, "eur": 1}),
    ],
)
def test_marks_are_those_that_no_column_contradicts(text, numbers):
    Path("a.csv").write_text(text)
    frame = read("a.csv", ()).frame

    assert {name: frame[name][0] for name in numbers} == numbers


@pytest.mark.parametrize(
    ("asked", "field", "number"),
    [
        ({"thousands": ","}, "2,250", 2250),
        ({"thousands": "."}, "2.250,5", 2250.5),
        ({"decimal": ","}, "2,250", 2.25),
        ({"decimal": "."}, "2.250", 2.25),
        ({"decimal": ",", "thousands": "."}, "2.250,5", 2250.5),
    ],
)
@pytest.mark.parametrize("other", ["1,5", "1.5", "15"])
def test_two_marks_are_never_the_same(asked, field, number, other):
    Path("a.csv").write_text(f"a;b\n{field};{other}\n")
    assert read("a.csv", (), **asked, types={"a": "number"}).frame["a"][0] == number

    frame = pd.DataFrame({"a": [field]})
    opened = open_source("", Asked(**asked, types={"a": "number"}), frame)
    assert opened.read(["a"]).frame["a"][0] == number


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("identity", ["01067", "12345678901234567890"])
def test_a_column_with_one_identity_is_texts_wherever_it_stands(identity, late):
    rows = [str(i) for i in range(20_000, 20_000 + (200_000 if late else 400))]
    rows.insert(len(rows) if late else 0, identity)
    Path("a.csv").write_text("zip\n" + "\n".join(rows) + "\n")
    found = read("a.csv", ())

    assert found.faults == {}
    assert found.frame["zip"].iloc[-1 if late else 0] == identity
    assert found.frame["zip"].iloc[100] == rows[100]


def test_marks_of_missing_values_hold_for_numbers_however_written():
    Path("a.csv").write_text("a,b\n-9.0,-9\n1.5,2\n")

    assert read("a.csv", (), missing=["-9"]).frame.isna().sum().to_dict() == {"a": 1, "b": 1}


def test_keys_of_folders_have_the_types_that_are_asked_for():
    for key in ("1", "2"):
        Path(f"d/k={key}/at=2024-01-0{key}").mkdir(parents=True)
        TABLE.to_parquet(f"d/k={key}/at=2024-01-0{key}/a.parquet")
    frame = read("d", types={"k": "text"}, dates=["at"]).frame

    assert frame["k"].unique().tolist() == ["1", "2"]
    assert frame["at"].iloc[-1] == datetime.date(2024, 1, 2)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_an_encoding_holds_for_large_files_and_later_parts(encoding):
    Path("d").mkdir()
    Path("d/0.csv").write_bytes(
        "city,n\nBonn,1\n".encode("utf-16" if "16" in encoding else "utf-8")
    )
    lines = "".join(f"Zürich {i},{i}\n" for i in range(120_000))
    Path("d/1.csv").write_bytes(f"city,n\n{lines}".encode(encoding))
    frame = read("d", ()).frame

    assert frame["city"].iloc[-1] == "Zürich 119999"
    assert frame["n"].sum() == 1 + sum(range(120_000))


def test_letters_that_only_later_rows_show_are_refused_by_the_encoding():
    lines = "".join(f"Bonn {i},{i}\n" for i in range(120_000))
    Path("a.csv").write_bytes(f"city,n\n{lines}Zürich,1\n".encode("cp1252"))

    refused("data.read.encoding: expected utf-8.*Name the encoding", "a.csv", labels=())
    assert read("a.csv", (), encoding="cp1252").frame["city"].iloc[-1] == "Zürich"


def test_a_line_for_excel_says_the_separator():
    Path("a.csv").write_bytes(b'sep=|\r\na|b\r\n1,5|x\r\n2,5|"y|z"\r\n')
    frame = read("a.csv", ()).frame

    assert frame.to_dict("list") == {"a": [1.5, 2.5], "b": ["x", "y|z"]}
    Path("a.xlsx").write_bytes(b"PK")
    refused("Save the sheet as CSV", "a.xlsx")


def test_what_was_sniffed_is_said_once():
    Path("a.csv").write_bytes("a;b\n1,5;é\n2,5;x\n".encode("cp1252"))
    notes = read("a.csv").notes

    assert notes == [
        "a.csv is read with separator ';', encoding 'cp1252', decimal ',', thousands '.'."
    ]
    assert read(to("b.csv", TABLE.to_csv, index=False)).notes == []


def test_json_lines_keep_what_they_say():
    lines = [{"id": "007", "x": 1.5, "z": None}, {"id": "8", "x": 2, "z": "t"}]
    Path("a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = read("a.jsonl").frame

    assert found["id"].tolist() == ["007", "8"]
    assert found["x"].tolist() == [1.5, 2.0]
    assert found["z"].isna().tolist() == [True, False]


def test_labels_of_json_lines_are_what_stands_there():
    Path("d").mkdir()
    Path("d/0.jsonl").write_text('{"id": 5, "arm": "2024-01-01"}\n{"arm": "2024-02-01"}\n')
    Path("d/1.jsonl").write_text('{"id": 10000000000000000001, "arm": "2024-01-01 5 h"}\n')
    found = read("d").frame

    assert found["id"].fillna("").tolist() == ["5", "", "10000000000000000001"]
    assert found["arm"].tolist() == ["2024-01-01", "2024-02-01", "2024-01-01 5 h"]
    Path("a.jsonl").write_text('{"id": 10000000000000000001}\n{"id": 1.5}\n')
    refused(r"whole numbers of up to 38 digits, in \['id'\] of .*a.jsonl", "a.jsonl")


@pytest.mark.slow
def test_rows_beyond_memory_are_refused_before_they_are_read():
    memory = psutil.virtual_memory().total
    nulls = pa.nulls(1_000_000, pa.float64())
    part = pa.table({f"x{j}": nulls for j in range(400)})
    with pyarrow.parquet.ParquetWriter("large.parquet", part.schema) as file:
        for _ in range(memory // part.nbytes + 1):
            file.write_table(part)
    opened = open_source("large.parquet")
    before = peak_rss_bytes()
    with pytest.raises(InputError, match=r"fit into memory.* GB are free.*fewer columns"):
        opened.read(opened.names)
    assert peak_rss_bytes() - before < 100_000_000
    assert len(opened.read(["x0"]).frame) > memory // part.nbytes


ROWS = 20_000
POOLS = []  # threads of pyarrow may use them until the process ends


def to_feather(file, frame, **how):
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pyarrow.feather.write_feather(table, file, chunksize=5_000, **how)


def to_csv(file, frame):
    frame.to_csv(file, index=False)


def to_lines(file, frame):
    frame.to_json(file, orient="records", lines=True)


WRITERS = {
    "a.parquet": lambda file, frame: frame.to_parquet(file, index=False),
    "a.feather": lambda file, frame: to_feather(file, frame, compression="zstd"),
    "a.arrow": lambda file, frame: to_feather(file, frame, compression="uncompressed"),
    "a.csv": to_csv,
    "a.csv.gz": to_csv,
    "a.jsonl": to_lines,
    "a.jsonl.gz": to_lines,
}


@pytest.fixture
def free(monkeypatch):
    """Sets the bytes of memory that are free; files are read in small blocks."""
    for place in ("json_lines._BLOCK_BYTES", "text_files._BLOCK_BYTES", "text_files._HEAD_BYTES"):
        monkeypatch.setattr(f"flows.inputs.formats.{place}", 1 << 16)

    def set_free(memory):
        monkeypatch.setattr("flows.inputs.room.machine", lambda: Machine(1, memory))

    return set_free


@pytest.fixture
def peak():
    """Starts to measure the bytes that pyarrow takes, and returns what tells their peak."""
    usual = pa.default_memory_pool()

    def begin():
        POOLS.append(pa.proxy_memory_pool(usual))
        pa.set_memory_pool(POOLS[-1])
        return POOLS[-1].max_memory

    yield begin
    pa.set_memory_pool(usual)


@pytest.mark.parametrize("file", WRITERS)
def test_rows_that_just_fit_are_read_and_others_refused_before(file, free, peak):
    values = np.random.default_rng(0).normal(size=(ROWS, 8)) + 0.5
    frame = pd.DataFrame(values, columns=[f"x{j}" for j in range(8)])
    WRITERS[file](file, frame)
    free(frame.to_numpy().nbytes)
    assert len(open_source(file).read(list(frame)).frame) == ROWS

    free(frame.to_numpy().nbytes - 1)
    of_read = peak()
    with pytest.raises(InputError, match=rf"fit into memory.* are free; the columns of {file} ta"):
        open_source(file).read(list(frame))
    assert of_read() < frame.to_numpy().nbytes / 2
    if not file.startswith("a.jsonl"):  # all columns of JSON lines are read
        assert len(open_source(file).read(["x0"]).frame) == ROWS


@pytest.mark.parametrize("file", [file for file in WRITERS if "csv" in file or "json" in file])
def test_texts_are_counted_as_they_are(file, free):
    parts = ["two\nlines", 'say "Basel"', "Genève, centre", "long " * 40, ""]
    rng = np.random.default_rng(0)
    texts = [
        f"{number} {part}"
        for number, part in zip(rng.random(ROWS), parts * (ROWS // 5), strict=True)
    ]
    frame = pd.DataFrame({"t": texts, "x": 0.25})
    frame.loc[ROWS - 9, "x"] = None
    WRITERS[file](file, frame)
    least = sum(len(text.encode()) + 12 for text in texts)
    free(int(1.01 * least))  # and a bit a value for those that are missing
    assert len(open_source(file).read(["t", "x"]).frame) == ROWS
    free(int(0.99 * least))
    with pytest.raises(InputError, match="fit into memory"):
        open_source(file).read(["t", "x"])


def test_a_column_that_turns_into_texts_is_counted_as_texts(free):
    Path("d").mkdir()
    Path("d/0.csv").write_text("x\n")
    Path("d/1.csv").write_text("x\n" + "1.5\n" * ROWS + "much\n")
    free((4 + 3) * ROWS + 100)
    assert open_source("d").read(["x"], labels=["x"]).frame["x"].iloc[-1] == "much"
    assert open_source("d").read(["x"], types={"x": "text"}).frame["x"].iloc[-1] == "much"
    free((4 + 3) * ROWS)
    with pytest.raises(InputError, match="fit into memory"):
        open_source("d").read(["x"])


def test_a_refusal_says_how_much_of_the_rows_is_too_much(free):
    to_lines("a.jsonl", pd.DataFrame({"id": range(10 * ROWS), "of a long name": 0.5}))
    free(2 * 8 * ROWS)
    with pytest.raises(
        InputError, match=r"of at most the first 1\d.* % of a.jsonl.*Write them as Parq"
    ):
        open_source("a.jsonl")


def test_what_cannot_be_read_is_refused_by_who_reads_it(free):
    free(1_000_000)
    lines = '{"x": 1.5}\n' * ROWS
    Path("a.jsonl").write_text(lines + '{"x": "much"}\n' + lines)
    refused("Expected data, as its name says.*JSON.*changed from number to string", "a.jsonl")
    Path("a.jsonl").write_text('{"x": "' + "much" * ROWS * 50 + '"}')
    refused("Expected data, as its name says.*straddling", "a.jsonl")
    Path("a.csv").write_text("x,y\n" + "1,2\n" * ROWS + "1,2,3\n")
    refused("Expected data, as its name says.*Row #20002: Expected 2 columns, got 3", "a.csv")


def test_the_estimate_of_memory_is_never_above_what_rows_take():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=2_000), "b": rng.integers(0, 2, 2_000) == 1})
    frame["c"] = rng.choice(["", "x", "a longer text"], 2_000)
    frame["d"] = rng.normal(size=2_000).astype(np.float32)
    for names in (["a"], ["b"], ["c"], ["d"], ["a", "d"], list(frame)):
        types = pa.Table.from_pandas(frame[names]).schema.types
        assert (
            0 < least_bytes(2_000, types) <= frame[names].memory_usage(deep=True, index=False).sum()
        )
