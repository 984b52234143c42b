"""Scores from and to tables of databases: the bits of files, whole or not at all."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from flows.dates.queries import Query, table_at
from flows.errors import InputError
from flows.inputs.source import open_source
from flows.scoring import files, score_file, tables
from flows.scoring.request import request_of, score
from tests.flows.scoring.conftest import N, rows

pytestmark = pytest.mark.filterwarnings("ignore:(day|at). its dates are read")
DAY = datetime.fromisoformat("2026-11-01T05:00+00:00")
TYPES = {"x": "float8", "site": "text", "day": "text", "block": "int4", "id": "text"}


class InPostgreSql:
    """A database of a server."""

    def __init__(self, request):
        self.url, self._connection = request.getfixturevalue("postgresql")

    def run(self, statement, *values):
        self._connection.execute(statement.replace("?", "%s"), values)

    def names(self):
        asked = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        return {name for (name,) in self._connection.execute(asked).fetchall()}


class InSqlite:
    """A file of the working folder."""

    url = "sqlite:///shop.db"

    def __init__(self, request):
        pass

    def run(self, statement, *values):
        with closing(sqlite3.connect("shop.db")) as connection:
            connection.execute(statement, values)
            connection.commit()

    def names(self):
        with closing(sqlite3.connect("shop.db")) as connection:
            return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


@pytest.fixture(params=[InPostgreSql, InSqlite])
def database(request, tmp_path, monkeypatch):
    """A database with the rows in another order; files have them too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "_MOST_ROWS", 25)
    frame = rows()[list(TYPES)]
    frame.to_parquet("new.parquet")
    made = request.param(request)
    declared = ", ".join(f"{name} {type}" for name, type in TYPES.items())
    made.run(f"CREATE TABLE new ({declared.replace('float8', 'double precision')})")
    for row in frame.sample(frac=1, random_state=0).itertuples(index=False):
        values = [None if pd.isna(value) else value for value in row]
        made.run("INSERT INTO new VALUES (?, ?, ?, ?, ?)", *values)
    return made


@pytest.fixture
def wanted(model, database):
    """The scores of the file."""
    score_file(model, "new.parquet", Path("wanted.parquet"))
    return pd.read_parquet("wanted.parquet")


def scoring(model, **asked):
    (model.parent / "summary.json").write_text("{}")
    plain = {"sql": None, "strict": False, "date": None, "timezone": "UTC", "registry": "none"}
    plain["recommend"] = False
    return score(request_of({**plain, "model": str(model.parent), **asked}), DAY)


def rows_of(place):
    """Rows of a table in the order of their identity."""
    table = table_at(place)
    opened = open_source("", query=Query(table.query.sql, table.url, "id"))
    return opened.read(opened.names, ["id"]).frame


def test_from_and_to_a_table_are_the_bits_of_files(model, database, wanted):
    table = f"{database.url}#new"
    for source, name in ((table, "table"), ("new.parquet", "file")):
        scoring(model, input=source, output=f"of-{name}.csv")
        scoring(model, input=source, output=f"of-{name}.parquet")
    assert Path("of-table.csv").read_bytes() == Path("of-file.csv").read_bytes()
    found = pd.read_parquet("of-table.parquet")
    pd.testing.assert_frame_equal(found, wanted, check_exact=True)

    report = scoring(model, input=table, output=f"{database.url}#scores")
    assert (report.scored.seen.rows, report.output) == (N, f"{database.url}#scores")
    pd.testing.assert_frame_equal(rows_of(report.output), wanted, check_exact=True)
    assert database.names() == {"new", "scores"}
    assert not list(Path(".uplift/scoring").iterdir())
    scoring(model, input="new.parquet", output="sqlite:///fresh/scores_{date:%Y}.db#s_{date:%m}")
    found = rows_of("sqlite:///fresh/scores_2026.db#s_11")
    pd.testing.assert_frame_equal(found, wanted, check_exact=True)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "feather"])
def test_recommended_arms_are_those_of_the_highest_effects(model, database, wanted, ending):
    for output in (f"scores.{ending}", f"{database.url}#scores"):
        for _ in range(2):  # the second replaces the first
            scoring(model, input="new.parquet", output=output, recommend=True)
    readers = {"csv": pd.read_csv, "jsonl": partial(pd.read_json, lines=True)}
    read = {"parquet": pd.read_parquet, "feather": pd.read_feather}.get(ending)
    found = read(f"scores.{ending}") if read else readers[ending](f"scores.{ending}", dtype="str")
    given = set()
    for scores in (found, rows_of(f"{database.url}#scores")):
        assert list(scores) == [*wanted, "treat.TLearner", "treat.XLearner"]
        for name in ("TLearner", "XLearner"):
            best = np.where(wanted[f"cate.{name}.b"] > 0, "b", "a")
            assert scores[f"treat.{name}"].tolist() == best.tolist()
            given |= {*best}
    assert given == {"a", "b"}
    if read:
        pd.testing.assert_frame_equal(found[list(wanted)], wanted, check_exact=True)


def test_a_query_may_name_the_date_and_compute_columns(model, database, wanted):
    asked = (
        "SELECT id, day, site, block, x * 1.0 AS x, 'a:b' AS other FROM new\n"
        "WHERE CAST(:date AS date) IS NOT NULL -- a comment;\n;"
    )
    scoring(model, input=database.url, sql=asked, output="scores.parquet")
    found = pd.read_parquet("scores.parquet")
    pd.testing.assert_frame_equal(found, wanted, check_exact=True)

    with pytest.raises(InputError, match=r"not found: \['x'\]"):
        scoring(
            model, input=database.url, sql="SELECT id, day, site, block FROM new", output="a.csv"
        )
    for change in ("DELETE FROM new", "SELECT * FROM new) AS a; DELETE FROM new; SELECT (1"):
        with pytest.raises(InputError, match="only reads"):
            scoring(model, input=database.url, sql=change, output="a.csv")
    assert len(rows_of(f"{database.url}#new")) == N
    no_id = "SELECT day, site, block, x FROM new"
    told = scoring(model, input=database.url, sql=no_id, output="a.csv").scored.told
    assert any("Rows are numbered as the database gives them" in line for line in told)


def test_only_earlier_scores_of_the_same_rows_are_replaced(model, database, wanted, monkeypatch):
    output = f"{database.url}#scores"
    for _ in range(2):
        scoring(model, input="new.parquet", output=output)
    pd.testing.assert_frame_equal(rows_of(output), wanted, check_exact=True)
    rows(20).to_parquet("other.parquet")
    with pytest.raises(InputError, match=r"--output: expected a new table.*scores of new.parquet"):
        scoring(model, input="other.parquet", output=output)
    with pytest.raises(InputError, match=r"found .*#new with something else"):
        scoring(model, input="new.parquet", output=f"{database.url}#new")
    database.run("CREATE VIEW seen AS SELECT * FROM new")
    with pytest.raises(InputError, match=r"found .*#seen with something else"):
        scoring(model, input="new.parquet", output=f"{database.url}#seen")
    told = {
        InPostgreSql: r"--output: expected a database in which .*no\.scores",
        InSqlite: r"output: expected a table as .*#no\.scores.*a schema in PostgreSQL alone",
    }
    with pytest.raises(InputError, match=told[type(database)]):
        scoring(model, input="new.parquet", output=f"{database.url}#no.scores")
    if database.url.startswith("postgresql"):
        monkeypatch.setattr(tables, "_MOST_BYTES", 10)
        with pytest.raises(InputError, match=r"at most 10 bytes, .*found 'cate\.TLearner\.b'"):
            scoring(model, input="new.parquet", output=output)
    pd.testing.assert_frame_equal(rows_of(output), wanted, check_exact=True)


def test_a_table_stays_as_it_was_until_all_scores_are_there(model, database, monkeypatch, scored):
    output = f"{database.url}#scores"
    rows(20).to_parquet("in.parquet")
    scoring(model, input="in.parquet", output=output)
    before = rows_of(output)
    rows().to_parquet("in.parquet")
    values = tables._values

    def fail(*arguments):
        for i, row in enumerate(values(*arguments)):
            if i == 70:
                raise ConnectionError("the server is gone")
            yield row

    with monkeypatch.context() as patched:
        patched.setattr(tables, "_values", fail)
        with pytest.raises(OSError, match=r"#scores isn't written: .*the server is gone"):
            scoring(model, input="in.parquet", output=output)
    pd.testing.assert_frame_equal(rows_of(output), before)
    assert database.names() == {"new", "scores"}
    scored.clear()
    scoring(model, input="in.parquet", output=output)
    assert not scored  # all batches were kept
    assert len(rows_of(output)) == N


@pytest.mark.parametrize(("change", "n_scored"), [("", 1), ("UPDATE new SET x = 7", 5)])
def test_batches_of_a_database_are_used_again_if_their_rows_are_the_same(
    model, database, monkeypatch, scored, change, n_scored
):
    score_batch, table = files.Scorer.score, f"{database.url}#new"

    def fail(self, batch):
        if len(scored) == 4:
            raise OSError("the machine is gone")
        return score_batch(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(files.Scorer, "score", fail)
        with pytest.raises(OSError, match="gone"):
            scoring(model, input=table, output="scores.csv")
    if change:
        database.run(change)
    scored.clear()
    scoring(model, input=table, output="scores.csv")
    assert len(scored) == n_scored
    scoring(model, input=table, output="wanted.csv")
    assert Path("scores.csv").read_bytes() == Path("wanted.csv").read_bytes()


def test_identities_of_any_type_are_read_back_as_they_were(database):
    columns = {
        "n": pa.array([1, None], pa.int16()),
        "large": pa.array([2**64 - 1, None], pa.uint64()),
        "digits": pa.array([Decimal("12345678901234567890.5"), None]),
        "day": pa.array([20_000, None], pa.int32()).cast(pa.date32()),
        "at": pa.array([10**15, None]).cast(pa.timestamp("us")),
        "seen": pa.array([10**15, None]).cast(pa.timestamp("us", "UTC")),
        "truth": pa.array([True, None]),
        "code": pa.array(["a'\\\t\n\"", None]).dictionary_encode(),
        "x": [0.1 + 0.2, 5e-324],
        "cate.A.b:c%s": [1.0, 2.0],
    }
    pa.feather.write_feather(pa.table(columns), "rows.feather")
    place = table_at(f"{database.url}#types")
    with pa.OSFile("rows.feather") as file:
        tables.write_table(place, "a */ *\0/ mark", pa.ipc.open_file(file))
    tables.check_table(place, "a */ *\0/ mark")

    source = open_source("", query=place.query)
    found = source.read(source.names, ["n", "large", "digits"]).frame
    assert str(found["large"][0]) == "18446744073709551615"
    assert str(found["digits"][0]) == "12345678901234567890.5"
    assert found["x"].tolist() == columns["x"]
    assert found["code"].tolist()[0] == "a'\\\t\n\""
    assert found["at"][0] == pd.Timestamp(10**15, unit="us")
    assert found["seen"][0] == pd.Timestamp(10**15, unit="us", tz="UTC")
    assert (found["n"][0], found["truth"][0], str(found["day"][0])) == (1, True, "2024-10-04")
    assert found["cate.A.b:c%s"].tolist() == [1.0, 2.0]
    assert found.drop(columns=["x", "cate.A.b:c%s"]).iloc[1].isna().all()


def test_a_table_with_the_same_columns_keeps_its_indexes_and_views(model, database, wanted):
    output = f"{database.url}#scores"
    scoring(model, input="new.parquet", output=output)
    database.run("CREATE INDEX by_id ON scores (id)")
    database.run("CREATE VIEW seen AS SELECT id FROM scores")
    scoring(model, input="new.parquet", output=output)
    pd.testing.assert_frame_equal(rows_of(output), wanted, check_exact=True)
    assert len(rows_of(f"{database.url}#seen")) == N
    database.run("DROP VIEW seen")
    database.run("DROP INDEX by_id")  # it is there


def test_columns_that_a_table_can_not_have_are_refused_before_a_row_is_scored(
    model, database, scored
):
    output = f"{database.url}#scores"
    scoring(model, input="new.parquet", output=output)
    database.run("ALTER TABLE scores ADD more TEXT")  # so that it must be made anew
    database.run("CREATE VIEW seen AS SELECT id FROM scores")
    before = rows_of(output)
    scored.clear()
    with pytest.raises(InputError, match=r"expected a database in which .* can be .*replaced"):
        scoring(model, input="new.parquet", output=output)
    rows().assign(id=[str(i).encode() for i in range(N)]).to_parquet("bytes.parquet")
    with pytest.raises(InputError, match=r"expected columns of numbers, texts.*'id' of binary"):
        scoring(model, input="bytes.parquet", output=f"{database.url}#bytes")
    assert not scored
    pd.testing.assert_frame_equal(rows_of(output), before)
    assert database.names() - {"seen"} == {"new", "scores"}


def test_another_role_s_table_is_refused_before_a_row_is_scored(
    model, request, scored, tmp_path, monkeypatch
):
    url, connection = request.getfixturevalue("postgresql")
    monkeypatch.chdir(tmp_path)
    rows().to_parquet("new.parquet")
    scoring(model, input="new.parquet", output=f"{url}#scores")
    connection.execute(
        "DROP ROLE IF EXISTS reader; CREATE ROLE reader; GRANT CREATE ON SCHEMA public TO reader;"
        "GRANT USAGE ON SCHEMA public TO reader; GRANT SELECT ON scores TO reader"
    )
    monkeypatch.setenv("PGOPTIONS", "-c role=reader")
    scored.clear()
    with pytest.raises(InputError, match="it says: permission denied for table scores"):
        scoring(model, input="new.parquet", output=f"{url}#scores")
    assert not scored
    connection.execute("GRANT INSERT, DELETE ON scores TO reader")
    scoring(model, input="new.parquet", output=f"{url}#scores")
    connection.execute("DROP OWNED BY reader; DROP ROLE reader")


def test_times_that_a_table_would_cut_are_refused_before_a_row_is_scored(model, database, scored):
    moments = pd.Series(pd.date_range("2024-01-01", periods=N)).astype("datetime64[ns]")
    rows().assign(id=moments).to_parquet("whole.parquet")
    scoring(model, input="whole.parquet", output=f"{database.url}#whole")
    assert list(rows_of(f"{database.url}#whole")["id"]) == list(moments)
    moments[N - 1] += pd.Timedelta(1, "ns")
    rows().assign(id=moments).to_parquet("finer.parquet")
    scored.clear()
    with pytest.raises(InputError, match=r"found 2024-04-29 00:00:00\.000000001 in 'id'"):
        scoring(model, input="finer.parquet", output=f"{database.url}#finer")
    assert not scored
    assert database.names() == {"new", "whole"}


WRITE = """
import time
import pyarrow as pa
from flows.dates.queries import table_at
from flows.scoring import tables

def values(*arguments):
    yield from plain(*arguments)
    print("written", flush=True)
    time.sleep(600)

plain, tables._values = tables._values, values
with pa.OSFile("rows.feather") as file:
    tables.write_table(table_at("sqlite:///shop.db#scores"), "scores", pa.ipc.open_file(file))
"""


def test_a_killed_writer_of_sqlite_stops_no_reader(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = table_at("sqlite:///shop.db#scores")
    for n in (1000, 200_000):  # SQLite writes what is more than its cache before the end
        pa.feather.write_feather(pa.table({"id": range(n), "x": np.arange(n) / 7}), "rows.feather")
        if n == 1000:
            with pa.OSFile("rows.feather") as file:
                tables.write_table(place, "scores", pa.ipc.open_file(file))
    before = rows_of(str(place))
    with subprocess.Popen([sys.executable, "-c", WRITE], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"written\n"
        child.kill()

    def count():
        with closing(sqlite3.connect("file:shop.db?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT count(*) FROM scores").fetchone()

    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        count()
    pd.testing.assert_frame_equal(rows_of(str(place)), before)
    assert count() == (1000,)


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_duckdb_answers_a_query_of_files(model, tmp_path, monkeypatch, ending):
    pytest.importorskip("duckdb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "_MOST_ROWS", 25)
    frame = rows()[list(TYPES)]
    frame.to_parquet("new.parquet")
    score_file(model, "new.parquet", Path("wanted.csv"))
    mixed = frame.sample(frac=1, random_state=0)
    Path("in").mkdir()
    if ending == "csv":
        mixed.to_csv("in/2026-11-01.csv", index=False)
    else:
        mixed.to_parquet("in/2026-11-01.parquet")
    asked = {
        "input": f"in/{{date:%Y-%m-%d}}.{ending}",
        "sql": "SELECT *, x * 2 AS more FROM rows WHERE CAST(:date AS date) = '2026-11-01'",
    }
    for output in ("scores.csv", "sqlite:///shop.db#scores"):
        assert scoring(model, **asked, output=output).scored.seen.rows == N
    assert Path("scores.csv").read_bytes() == Path("wanted.csv").read_bytes()
    with pytest.raises(InputError, match="Expected one SELECT as the query; found DROP"):
        scoring(model, **{**asked, "sql": "DROP TABLE rows"}, output="scores.csv")
