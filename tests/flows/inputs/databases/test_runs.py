"""Runs on a query: the bits of a run on files, and no trace of a password."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.conftest import write_config
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
    left = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    assert any(SQL.encode() in content for content in left.values())  # so that it would be found
    assert any(path.suffix == ".db" for path in left)  # Prefect's own
    assert not [path for path, content in left.items() if PASSWORD.encode() in content]
    assert PASSWORD not in said
