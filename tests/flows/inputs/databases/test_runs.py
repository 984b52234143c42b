"""Runs on a query: the bits of a run on files, and no trace of a password."""

import subprocess
import sys
from pathlib import Path

import httpx
import pandas as pd
import pytest
import yaml

from flows.dates.queries import Query
from flows.doctor.examination import Places
from flows.doctor.server import CHECKS
from flows.errors import InputError
from flows.inputs.source import open_source
from tests.acceptance.test_processes import wait_for
from tests.acceptance.test_run_page import log_lines, newest_run
from tests.conftest import free_port, write_config
from tests.postgresql import PASSWORD, USER

SQL = "SELECT * FROM shop ORDER BY random()"


@pytest.fixture
def shop(settings, frame, postgresql):
    """Settings for the same rows in a file and in a database: each one's section `data`."""
    address, connection = postgresql
    frame.insert(0, "id", range(len(frame)))
    frame.to_parquet("data.parquet")
    connection.execute(
        "CREATE TABLE shop (id int8, a float8, b float8, c float8, w int8, y float8)"
    )
    with connection.cursor().copy("COPY shop FROM STDIN") as copy:
        for row in frame.sample(frac=1, random_state=0).itertuples(index=False):
            copy.write_row(tuple(row))
    roles = {**settings["data"], "row_id": "id", "features": ["a", "b", "c"]}
    settings["data"] = {**roles, "source": None, "url": address, "sql": SQL}
    return settings, {**settings, "data": roles}


@pytest.mark.slow
def test_rows_of_a_database_reuse_the_fits_of_a_file_and_give_the_same_bits(run, shop):
    of_database, of_file = map(run, shop)

    assert of_database.fits["executed"] > 0
    assert of_file.fits["executed"] == 0
    pd.testing.assert_frame_equal(of_database.estimates, of_file.estimates, check_exact=True)
    assert of_database.summary["ate"] == of_file.summary["ate"]
    digests = {ran.summary["data"]["digest"] for ran in (of_database, of_file)}
    assert len(digests) == 1
    told = of_database.summary["data"]
    assert (told["source"], told["sql"]) == (shop[0]["data"]["url"], SQL)
    assert "sql" not in of_file.summary["data"]
    assert SQL in (of_database.folder / "report.html").read_text()
    again = run(yaml.safe_load((of_database.folder / "config.yaml").read_text()))
    assert again.fits["executed"] == 0


def uplift(*arguments):
    command = [sys.executable, "-m", "flows.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def contents(*folders):
    """What is in each file."""
    return {p: p.read_bytes() for folder in folders for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_nothing_that_a_run_leaves_or_says_has_the_password(shop, monkeypatch):
    for name in ("PREFECT_API_URL", "PREFECT_HOME"):
        monkeypatch.delenv(name, raising=False)
    settings, _ = shop
    config = write_config(settings)
    done = uplift("run", config)
    assert done.returncode == 0, done.stderr
    failed = uplift("run", config, "--set", "models.outcome.params.num_leaves=-1", "--refresh")
    assert failed.returncode in (1, 2)
    monkeypatch.setenv("PGPASSWORD", f"{PASSWORD}-no")
    refused = uplift("run", config)
    assert refused.returncode == 2
    assert f'password authentication failed for user "{USER}"' in refused.stderr
    monkeypatch.setenv("UPLIFT_DATA_ROOTS", f"{Path.cwd()}:{settings['data']['url']}s")
    outside = uplift("run", config)
    assert (outside.returncode, "which this deployment is limited to" in outside.stderr) == (
        2,
        True,
    )

    said = "".join(ran.stdout + ran.stderr for ran in (done, failed, refused, outside))
    left = contents(Path())
    assert any(SQL.encode() in content for content in left.values())  # so that it would be found
    assert any(path.suffix == ".db" for path in left)  # Prefect's own
    assert not [path for path, content in left.items() if PASSWORD.encode() in content]
    assert PASSWORD not in said


# -- passwords in blocks of Prefect's server ------------------------------------------------------


def save(block, value):
    """Save a Secret block on the server of the tests."""
    from prefect.blocks.system import Secret  # Prefect is imported once the server has an address

    Secret(value=value).save(block, overwrite=True)


def as_named(api):
    """The address of that server as a user may name it, and not as this process's own."""
    return api.replace("127.0.0.1", "localhost")


@pytest.mark.slow
def test_a_block_gives_the_password_to_runs_and_scorings_and_nothing_keeps_it(
    api, run, shop, postgresql, monkeypatch, tmp_path_factory
):
    settings, _ = shop
    address, connection = postgresql
    save("shop-reader", PASSWORD)
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("UPLIFT_PASSWORD_BLOCKS", f"{address}=shop-reader")
    monkeypatch.setenv("PREFECT_API_URL", as_named(api))
    run(settings)
    tables = ("--input", f"{address}#shop", "--output", f"{address}#scores")
    scored = uplift("score", "--model", "latest", *tables)
    assert scored.returncode == 0, scored.stderr
    assert connection.execute("SELECT count(*) FROM scores").fetchone() == (600,)
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api")
    refused = uplift("run", write_config(settings))
    assert refused.returncode == 2
    assert "Expected the Secret block 'shop-reader' from the server at" in refused.stderr

    own = newest_run(api)
    wait_for(lambda: any("effect of" in line for line in log_lines(api, own)), 20)
    assert SQL in str(httpx.get(f"{api}/flow_runs/{own}").json()["parameters"])
    said = "".join(each.stdout + each.stderr for each in (scored, refused))
    assert PASSWORD not in said
    left = contents(Path(), tmp_path_factory.getbasetemp() / "server0")  # the server's own folder
    assert any(b"shop-reader" in content for content in left.values())  # in the server's database
    assert not [path for path, content in left.items() if PASSWORD.encode() in content]


def test_a_block_that_gives_no_password_is_refused_in_one_message(api, postgresql, monkeypatch):
    address, _ = postgresql
    monkeypatch.delenv("PGPASSWORD")

    def refusal(blocks):
        monkeypatch.setenv("UPLIFT_PASSWORD_BLOCKS", blocks)
        with pytest.raises(InputError) as refused:
            open_source("", query=Query("SELECT 1 AS a", address))
        assert PASSWORD not in str(refused.value)
        return str(refused.value)

    entry = f"{address}=nobodys"
    assert "PREFECT_API_URL: expected the address" in refusal(entry)  # it has a server of its own
    monkeypatch.setenv("PREFECT_API_URL", as_named(api))
    assert "'nobodys' of the server at" in refusal(entry)
    assert "found no such block" in refusal(entry)
    (doctor,) = [check for check in CHECKS if check.name == "passwords"]
    with pytest.raises(InputError, match="found no such block"):
        doctor.look(Places("cache", Path("runs")))
    save("somebodys", PASSWORD)
    monkeypatch.setenv("UPLIFT_PASSWORD_BLOCKS", f"{address}=somebodys")
    assert doctor.look(Places("cache", Path("runs"))).startswith("those of 1 database(s)")
    save("nobodys", {"password": PASSWORD})
    assert "found another value" in refusal(entry)
    assert "no password supplied" in refusal(f"{address}s=nobodys")  # of another database
    for other in (PASSWORD, f"{address}={PASSWORD}!", "postgresql://=nobodys"):
        assert "found something else as number 2. Correct it." in refusal(f"{entry}, {other}")
