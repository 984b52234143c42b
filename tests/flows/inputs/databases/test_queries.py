"""Rows of a query: those of a Parquet file with the same values and types, or one refusal."""

import datetime
import sqlite3
import sys
from contextlib import closing
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from flows.config.data import DataConfig
from flows.config.reading import ConfigError, parse_config
from flows.dates.partitions import Window
from flows.dates.queries import DUCKDB, Query
from flows.errors import Faults, InputError
from flows.inputs.places import check_allowed
from flows.inputs.rows import read_columns, rows_of
from flows.inputs.source import IN_MEMORY, open_source
from flows.runs.loading import told_with_data
from metalearners.workers.auto import Machine
from tests.conftest import free_port

ROLES = {"outcome": "y", "treatment": "arm", "control": "none", "row_id": "id"}
N = 300
UTC = datetime.UTC
TYPES = {
    "id": ("int8", "INTEGER", pa.int64()),
    "y": ("float8", "REAL", pa.float64()),
    "arm": ("text", "TEXT", pa.string()),
    "amount": ("numeric(12,2)", "DECIMAL(12, 2)", pa.decimal128(12, 2)),
    "whole": ("int4", "INT", pa.int32()),
    "code": ("varchar(9)", "VARCHAR(9)", pa.string()),
    "day": ("date", "DATE", pa.date32()),
    "at": ("timestamp", "TIMESTAMP", pa.timestamp("us")),
    "seen": ("timestamptz", "TIMESTAMP WITH TIME ZONE", pa.timestamp("us", "UTC")),
    "truth": ("bool", "BOOLEAN", pa.bool_()),
    "empty": ("int4", "INTEGER", pa.int32()),
}
QUERY = "SELECT * FROM shop"


def gap(value, i):
    return None if i % 7 == 3 else value


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Values of many types, with gaps, also in a Parquet file of the working folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    begin = datetime.datetime(2025, 1, 1, 5, 30, 1, 250)
    columns = {
        "id": list(range(N)),
        "y": rng.normal(size=N).tolist(),
        "arm": rng.choice(["none", "Früh", "00001"], N).tolist(),
        "amount": [
            gap(Decimal(int(v)).scaleb(-2), i) for i, v in enumerate(rng.integers(0, 10**9, N))
        ],
        "whole": [gap(int(v), i) for i, v in enumerate(rng.integers(-9, 9, N))],
        "code": [gap(f"{v:04}", i) for i, v in enumerate(rng.integers(0, 20, N))],
        "day": [gap(begin.date() + datetime.timedelta(days=i), i) for i in range(N)],
        "at": [gap(begin + datetime.timedelta(hours=i), i) for i in range(N)],
        "seen": [
            gap(begin.replace(tzinfo=UTC) + datetime.timedelta(minutes=i), i) for i in range(N)
        ],
        "truth": [gap(bool(v), i) for i, v in enumerate(rng.integers(0, 2, N))],
        "empty": [gap(i, 3 if i < 250 else 0) for i in range(N)],  # no value in the first rows
    }
    schema = pa.schema([(name, types[-1]) for name, types in TYPES.items()])
    made = pa.table(columns, schema)
    pa.parquet.write_table(made, "shop.parquet")
    return made


def shuffled(table):
    return table.take(np.random.default_rng(1).permutation(len(table)))


def in_postgresql(table, request):
    """The address of a database with the rows in another order."""
    address, connection = request.getfixturevalue("postgresql")
    declared = ", ".join(f"{name} {types[0]}" for name, types in TYPES.items())
    connection.execute(f"CREATE TABLE shop ({declared})")
    with connection.cursor().copy("COPY shop FROM STDIN") as copy:
        for row in shuffled(table).to_pylist():
            copy.write_row(tuple(row.values()))
    return {"url": address}


def in_sqlite(table, request):
    declared = ", ".join(f"{name} {types[1]}" for name, types in TYPES.items())
    with closing(sqlite3.connect("shop.db")) as connection:
        connection.execute(f"CREATE TABLE shop ({declared})")
        for row in shuffled(table).to_pylist():
            values = [float(v) if isinstance(v, Decimal) else v for v in row.values()]
            values = [str(v) if isinstance(v, datetime.date) else v for v in values]
            connection.execute(f"INSERT INTO shop VALUES ({','.join('?' * len(row))})", values)
        connection.commit()
    return {"url": "sqlite:///shop.db"}


def in_duckdb(table, request):
    pa.parquet.write_table(shuffled(table), "rows.parquet")
    return {"url": DUCKDB, "source": "rows.parquet"}


DATABASES = [in_postgresql, in_sqlite, in_duckdb]


@pytest.fixture(params=DATABASES)
def place(table, request):
    """Where the rows of a database are, and what its query calls them."""
    if request.param is in_duckdb:
        pytest.importorskip("duckdb")
    of_files = request.param is in_duckdb
    return request.param(table, request), "SELECT * FROM rows" if of_files else QUERY


def read_rows(window=None, **data):
    """The rows, or one refusal, as `load_study` has them."""
    faults = Faults()
    config = DataConfig(**{**ROLES, **data})
    columns = read_columns(config, faults, None, window)
    rows = columns and rows_of(columns, config, faults)
    faults.refuse()
    return rows


def read(where, sql, columns=None, window=None):
    """Columns of a query."""
    query = Query(sql, where["url"])
    opened = open_source(where.get("source", ""), None, None, window, query)
    return opened.read(columns or opened.names).frame


def test_a_query_gives_the_rows_of_a_parquet_file_with_its_types(place, table):
    where, sql = place
    of_file = read_rows(source="shop.parquet")
    found = read_rows(**where, sql=f"{sql};")

    pd.testing.assert_frame_equal(found.features, of_file.features, check_exact=True)
    pd.testing.assert_series_equal(found.row_ids, of_file.row_ids, check_dtype=False)
    assert (found.digest, found.arms, found.dates) == (of_file.digest, of_file.arms, of_file.dates)
    assert found.warnings == of_file.warnings


def test_its_rows_have_one_order_whatever_order_they_come_in(place):
    where, sql = place
    roles = {"row_id": None, "features": ["whole", "code"]}
    orders = ["y", "whole DESC, y", "code, arm, y"]
    found = [read_rows(**where, **roles, sql=f"{sql} ORDER BY {order}") for order in orders]

    assert len({rows.digest for rows in found}) == 1
    assert "data.row_id isn't set" in found[0].warnings[0]
    by_id = [read_rows(**where, sql=f"{sql} ORDER BY {order}") for order in orders]
    assert all(list(rows.row_ids) == list(range(N)) for rows in by_id)


CHANGES = [
    "DROP TABLE {0}",
    "DELETE FROM {0}",
    "INSERT INTO {0} (id) VALUES (-1)",
    "UPDATE {0} SET y = 0",
    "CREATE TABLE other (a int)",
    "WITH x AS (DELETE FROM {0} RETURNING *) SELECT * FROM x",
    "SELECT 1 AS a; DELETE FROM {0}",
    "SELECT 1 AS a; COMMIT; DELETE FROM {0}",
    "COMMIT",
    "VACUUM",
    "COPY {0} TO 'out.csv'",
    "ATTACH 'other.db' AS other",
    "PRAGMA user_version = 3",
    "SET TRANSACTION READ WRITE",
    "",
    "-- nothing",
]


def test_a_statement_that_does_more_than_read_is_refused_and_changes_nothing(place, tmp_path):
    where, sql = place
    table = sql.rpartition(" ")[-1]
    before, files = read(where, sql), sorted(tmp_path.rglob("*"))
    for change in CHANGES:
        with pytest.raises(InputError, match=r"one (query that only reads|SELECT)") as refused:
            read(where, change.format(table))
        assert refused.value.__cause__ is None
        assert "c_" not in str(refused.value)  # names of cursors differ each time
    pd.testing.assert_frame_equal(read(where, sql), before)
    assert sorted(tmp_path.rglob("*")) == files


OF_POSTGRESQL = [
    "SELECT set_config('transaction_read_only', 'off', false)",
    "SELECT nextval('numbers')",
    "SELECT * FROM shop FOR UPDATE",
    "SELECT * INTO other FROM shop",
    "EXPLAIN ANALYZE DELETE FROM shop",
    "DO $$ BEGIN DELETE FROM shop; END $$",
    "SELECT emptied()",
]


def test_postgresql_lets_no_function_write(table, request):
    where = in_postgresql(table, request)
    _, connection = request.getfixturevalue("postgresql")
    connection.execute("CREATE SEQUENCE numbers")
    body = "BEGIN DELETE FROM shop; RETURN 1; END"
    connection.execute(f"CREATE FUNCTION emptied() RETURNS int LANGUAGE plpgsql AS '{body}'")
    for sql in OF_POSTGRESQL:
        with pytest.raises(InputError, match="only reads"):
            read(where, sql)
    assert connection.execute("SELECT count(*) FROM shop").fetchone() == (N,)


OF_SQLITE = [
    "SELECT load_extension('x')",
    "SELECT * FROM pragma_database_list",
    "EXPLAIN SELECT * FROM shop",
]


def test_sqlite_reads_nothing_but_its_tables(table, request):
    where = in_sqlite(table, request)
    for sql in OF_SQLITE:
        with pytest.raises(InputError, match="only reads"):
            read(where, sql)


OF_DUCKDB = [
    "SELECT * FROM read_text('secret.txt')",
    "SELECT * FROM read_blob('secret.txt')",
    "SELECT * FROM read_csv('secret.txt')",
    "SELECT * FROM read_parquet('shop.parquet')",
    "SELECT * FROM 'shop.parquet'",
    "SELECT * FROM 'rows.parquet'",
    "SELECT * FROM glob('*')",
    "SELECT * FROM query('COPY rows TO ''out.csv''')",
    "SELECT * FROM table",
    "COPY (SELECT 1) TO 'out.csv'",
    "EXPORT DATABASE 'out'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "SELECT * FROM arrow_scan(1, 2, 3)",
    "SELECT * FROM sqlite_scan('shop.db', 'shop')",
    "SELECT getenv('HOME')",
]


def test_duckdb_opens_nothing_but_the_rows(table, request, tmp_path):
    pytest.importorskip("duckdb")
    where = in_duckdb(table, request)
    (tmp_path / "secret.txt").write_text("hunter2")
    files = sorted(tmp_path.rglob("*"))
    for sql in OF_DUCKDB:
        with pytest.raises(InputError) as refused:
            read(where, sql)
        assert "hunter2" not in str(refused.value)
    assert sorted(tmp_path.rglob("*")) == files


def test_duckdb_takes_files_as_a_run_reads_them(table, tmp_path):
    pytest.importorskip("duckdb")
    for part in range(2):
        folder = tmp_path / f"parts/half={part}"
        folder.mkdir(parents=True)
        half = table.slice(part * N // 2, N // 2).select(["id", "code"])
        pa.parquet.write_table(half, folder / "rows.parquet")
        pa.parquet.write_table(half, tmp_path / f"{part}.parquet")
    half = half.set_column(0, "id", half["id"].cast(pa.int16()))
    pa.parquet.write_table(half, "1.parquet")
    table.select(["id", "code"]).to_pandas().to_csv("rows.csv", sep=";", index=False)
    sql = "SELECT count(*) AS n, sum(id) AS s, min(code) AS c FROM rows"
    for source in ("[01].parquet", "rows.csv", "parts"):
        found = read({"url": DUCKDB, "source": source}, sql).iloc[0]
        assert (found["n"], found["s"]) == (N, N * (N - 1) / 2)
        assert found["c"] == min(filter(None, table["code"].to_pylist()))  # no number
    halves = read({"url": DUCKDB, "source": "parts"}, "SELECT DISTINCT half FROM rows")
    assert list(halves["half"]) == [0, 1]
    frame = table.to_pandas()
    of_frame = open_source(IN_MEMORY, frame=frame, query=Query(sql, DUCKDB)).read(["s"])
    assert of_frame.frame["s"][0] == frame["id"].sum()
    notes = open_source("rows.csv", query=Query("SELECT id FROM rows", DUCKDB)).read(["id"]).notes
    assert any("';'" in note for note in notes)


def test_days_of_the_window_are_parameters(place):
    where, sql = place
    window = Window(datetime.datetime(2025, 3, 16, 5), "1 month")
    day = "day" if where["url"] != "sqlite:///shop.db" else "date(day)"
    inside = f"{sql} WHERE {day} BETWEEN :begin AND :date"
    data = DataConfig(**ROLES, **where, sql=inside, last="1 month")
    assert data.names_dates

    found = read(where, inside, ["day"], window)["day"]
    assert (min(found), max(found)) == (datetime.date(2025, 2, 17), datetime.date(2025, 3, 16))
    alone = read(where, inside, ["day"], Window(window.date))["day"]
    assert list(alone) == [datetime.date(2025, 3, 16)]
    with pytest.raises(InputError, match=r"asked for :(begin|date), which a run's config"):
        read(where, inside)


def test_numbers_of_any_digits_and_what_is_computed_have_one_type(table, request):
    where = in_postgresql(table, request)
    found = read(
        where,
        "SELECT id, id::numeric / 4 AS quarter,"
        " CASE id WHEN 0 THEN 'NaN' ELSE 1.5 END::numeric AS n,"
        " count(*) OVER () AS rows, '6f9619ff-8b86-d011-b42d-00c04fc964ff'::uuid AS u,"
        " CASE WHEN id > 5 THEN 'a' END AS late, '\\x00'::bytea AS raw FROM shop WHERE id < 30",
    )

    assert list(found["quarter"]) == [i / 4 for i in range(30)]
    assert found["n"].isna().sum() == 1
    assert found["rows"].dtype == np.int64
    assert list(found["late"].isna()) == [True] * 6 + [False] * 24
    assert found["u"][0] == "6f9619ff-8b86-d011-b42d-00c04fc964ff"
    with pytest.raises(InputError, match=r"one plain type each in postgresql://.*'j'.*with CAST"):
        read(where, "SELECT id, '{}'::json AS j FROM shop")
    assert list(read(where, "SELECT 1 AS one, '{}'::json AS j", ["one"])["one"]) == [1]
    with pytest.raises(InputError, match=r"Expected rows in postgresql://"):
        read(where, "SELECT id FROM shop WHERE id < 0")
    with pytest.raises(InputError, match=r"found \"?'?\[?'a'\]? more than once"):
        read(where, "SELECT 1 AS a, 2 AS a")


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        ("INTEGER", 1.5),
        ("INTEGER", "x"),
        ("DATE", 5),
        ("DATE", "soon"),
        ("BOOLEAN", 2),
        ("REAL", b"x"),
    ],
)
def test_a_value_of_sqlite_that_is_not_of_its_column_is_refused(
    tmp_path, monkeypatch, declared, value
):
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect("odd.db")) as connection:
        connection.execute(f"CREATE TABLE odd (a {declared})")
        connection.execute("INSERT INTO odd VALUES (?)", [value])
        connection.commit()
    with pytest.raises(InputError, match=r"one plain type each in sqlite:///odd.db.*'a'"):
        read({"url": "sqlite:///odd.db"}, "SELECT a FROM odd")


def test_a_driver_that_is_absent_or_a_server_that_is_away_is_told(table, request, monkeypatch):
    address = f"postgresql://127.0.0.1:{free_port()}/db"
    with pytest.raises(InputError, match=r"database says: .*onnection .*refused.*the environment"):
        read({"url": address}, "SELECT 1 AS a")
    with pytest.raises(InputError, match=r"file of SQLite at no.db; found none"):
        read({"url": "sqlite:///no.db"}, "SELECT 1 AS a")
    with pytest.raises(InputError, match=r"database says: file is not a database"):
        read({"url": "sqlite:///shop.parquet"}, "SELECT 1 AS a")
    for name, where in {"psycopg": {"url": address}, "duckdb": in_duckdb(table, request)}.items():
        monkeypatch.setitem(sys.modules, name, None)
        extra = {"psycopg": "sql"}.get(name, name)
        with pytest.raises(InputError, match=rf"Expected the driver .*uplift-flows\[{extra}\]"):
            read(where, "SELECT 1 AS a")


def test_rows_beyond_memory_are_refused_while_they_come(place, monkeypatch):
    where, sql = place
    free = 24 * N
    monkeypatch.setattr("flows.inputs.room.machine", lambda: Machine(1, free))
    monkeypatch.setattr("flows.inputs.databases.postgresql.AT_ONCE", 10)

    assert len(read(where, sql, ["id", "y"])) == N
    with pytest.raises(InputError, match=r"fit into memory.*Select fewer columns"):
        read(where, sql, ["id", "y", "at", "seen"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "data.source: expected a value, found none"),
        ({"source": None}, "expected a source, or sql with the url"),
        ({"sql": QUERY}, "data.source: expected a value"),
        ({"source": "a.csv", "sql": QUERY}, "expected sql together with its url"),
        ({"url": "sqlite:///a.db"}, "expected sql together with its url"),
        ({"sql": QUERY, "url": "sqlite:///a.db", "source": "a.csv"}, "a source beside sqlite"),
        ({"sql": QUERY, "url": DUCKDB}, "expected a source"),
        ({"sql": "SELECT :day", "url": "sqlite:///a.db"}, "data.sql: expected :date and :begin"),
        ({"sql": QUERY, "url": "sqlite:///a.db", "last": "3 days"}, "or a query with :begin"),
        (
            {"sql": "SELECT 'https://me:pw@host'", "url": DUCKDB, "source": "a"},
            "without credentials",
        ),
        *(
            ({"sql": QUERY, "url": url}, "data.url: ")
            for url in (
                *(
                    "postgresql://me:pw@host/db",
                    "postgresql://host/db?host=other",
                    "mysql://host/db",
                ),
                *("postgresql://host", "postgresql://host/db?passfile=x", "postgresql://a,b/db"),
                *("postgresql://host/a=b", "sqlite://", "sqlite:///a.db?mode=rw", "duckdb:///a.db"),
                *("postgresql+psycopg://host/db", "sqlite:///", "postgresql://host/%2Fetc"),
            )
        ),
    ],
)
def test_a_config_names_one_source(data, message):
    with pytest.raises(InputError) as refused:
        parse_config({"data": {"outcome": "y", "treatment": "w", "control": 0, **data}})
    assert message in str(refused.value)
    assert ":pw@" not in str(refused.value)


def test_a_query_s_faults_are_told_with_the_config_s_once_each(table, request):
    where = in_sqlite(table, request)
    data = {**ROLES, **where, "sql": QUERY, "outcome": "why", "design": "odd"}

    def told(**more):
        with pytest.raises(ConfigError) as refused:
            parse_config({"data": data | more})
        return str(told_with_data(refused.value, None))

    assert "data.design: expected" in told()
    assert "data.outcome: expected a column of sqlite:///shop.db; 'why'" in told()
    assert told().count("\n- ") == 2
    assert "data.url: expected postgresql" in told(url="mysql://host/db")
    assert told(url="mysql://host/db").count("\n- ") == 2


@pytest.mark.parametrize(
    ("place", "roots", "is_inside"),
    [
        ("postgresql://host/db", "postgresql://host/db", True),
        ("postgresql://host/db", "postgresql://host", True),
        ("postgresql://host/db", "postgresql://host/other", False),
        ("postgresql://host/db2", "postgresql://host/db", False),
        ("postgresql://host:5433/db", "postgresql://host/db", False),
        ("postgresql://host:5433/db", "here:postgresql://host:5433/db:there", True),
        ("postgresql://host:5433/other", "postgresql://host:5433/db", False),
        ("postgresql:///db", "here", False),
        ("sqlite:///here/a.db", "here", True),
        ("sqlite:///here/../a.db", "here", False),
        ("sqlite:////etc/a.db", "here", False),
        ("sqlite:///a.db", "sqlite:///a.db", False),
        ("there/a.csv", "here:there", True),
    ],
)
def test_a_process_may_be_limited_to_databases(place, roots, is_inside, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UPLIFT_DATA_ROOTS", roots)
    if is_inside:
        check_allowed(place)
        return
    with pytest.raises(InputError, match="limited to"):
        check_allowed(place)
    if place.startswith(("sqlite", "postgresql")):
        with pytest.raises(InputError, match="limited to"):
            open_source("", query=Query("SELECT 1", place))
