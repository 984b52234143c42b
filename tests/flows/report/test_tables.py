"""Tables of a report: what the page shows is what the run's folder has."""

import re
from pathlib import Path

import pandas as pd
import pytest

import flows
import flows.report.sections
from flows.report.tables import Column, Table, figure, interval, of_texts, tables_of, text

RECORDS = [{"arm": "mail", "estimate": 1.23456, "ci_low": -0.5, "ci_high": 3, "rows": None}]


def test_a_table_has_texts_for_a_page_and_values_for_a_file():
    columns = [text("Arm", "arm"), figure("Effect", "estimate"), interval("Interval")]
    table = Table("Effects", [*columns, text("Rows", "rows")], RECORDS, file="effects")

    assert table.head == ["Arm", "Effect", "Interval", "Rows"]
    assert table.rows == [["mail", "1.23", "-0.500 to 3.00", ""]]
    assert table.frame.to_dict("records") == RECORDS


def test_a_value_that_is_no_number_is_told_apart_from_one_that_is_absent():
    column = Column("x", ("x",), "{:.0f}".format)

    assert [column.text(one) for one in ({"x": 2.0}, {"x": None}, {})] == ["2", "", ""]


def test_tables_with_files_are_found_wherever_they_are():
    of_file = Table("", [], [], file="a")

    found = tables_of({"a": {"b": {"c": of_file}, "d": None}, "e": of_texts("", ["x"], [["1"]])})
    assert list(found) == [of_file]


def test_every_table_of_the_report_is_in_the_run_s_folder(run, settings):
    ran = run(settings | {"learners": ["TLearner", "DRLearner"]})
    page = (ran.folder / "report.html").read_text()
    found = {path.stem: pd.read_parquet(path) for path in (ran.folder / "tables").iterdir()}

    captions = re.findall(r"<caption>(.*?)</caption>", page)
    assert len(found) == len(captions)
    assert sum(map(len, found.values())) == len(re.findall("<tr>", page)) - len(captions)
    adjusted = found["average_effects"].iloc[0]
    (ate,) = ran.summary["ate"]
    names = ["estimate", "std_error", "ci_low", "ci_high"]
    assert adjusted[names].tolist() == [ate[name] for name in names]
    for (_, row), own in zip(
        found["qini"].iterrows(), ran.summary["learners"].values(), strict=True
    ):
        (arm,) = own["evaluation"]["arms"]
        assert row["estimate"] == pytest.approx(arm["qini"]["estimate"], rel=1e-12)


def test_the_docs_name_every_file_of_a_table():
    sources = Path(flows.report.sections.__file__).parent.glob("*.py")
    files = set(re.findall(r'file="(\w+)"', "".join(one.read_text() for one in sources)))
    page = (Path(flows.__file__).parents[1] / "docs" / "report.md").read_text()
    named = re.findall(r"^\| (`.*?) \|", page, re.M)

    assert len(files) > 15
    assert {name for row in named for name in re.findall(r"`(\w+)`", row)} == files
