"""Data that move: what a logical date reads, and one run a date."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from flows.config.parts.recurring import ScheduleConfig
from flows.config.reading import parse_config
from flows.dates.logical import moment_of
from flows.errors import InputError
from flows.inputs.study import load_study
from flows.launch.backfill import backfill
from flows.runs.backfill import dates_between
from flows.runs.recurring import due, fire_times
from tests.conftest import write_config

MONTHS = ["2026-01", "2026-02", "2026-03"]


@pytest.fixture
def by_month(settings, frame):
    """The settings, with a file for each of three months, whose rows are told by their number."""
    for number, (month, rows) in enumerate(
        zip(MONTHS, (frame[i : i + 200] for i in (0, 200, 400)), strict=True)
    ):
        Path(month).mkdir()
        rows.assign(row=rows.index, month=number).to_csv(f"{month}/rows.csv", index=False)
    settings["data"] |= {"source": "{date:%Y-%m}/*.csv", "row_id": "row", "features": list("abc")}
    return settings


def rows_at(settings, date, **data):
    config = parse_config({**settings, "date": date, "data": settings["data"] | data})
    return load_study(config)


def test_a_date_reads_the_rows_of_its_window_in_order(by_month):
    assert list(rows_at(by_month, "2026-02-28").row_ids) == list(range(200, 400))
    assert list(rows_at(by_month, "2026-03-01", last="2 months").row_ids) == list(range(200, 600))
    whole = rows_at(by_month, "2026-03-31", last="3 months")
    by_glob = rows_at(by_month, None, source="2026-*/*.csv")
    assert whole.digest == by_glob.digest


def test_a_month_without_files_is_refused_or_told(by_month):
    said = "found none in 1 of 2 partitions: 2026-04/"
    with pytest.raises(InputError, match=said):
        rows_at(by_month, "2026-04-01", last="2 months")
    study = rows_at(by_month, "2026-04-01", last="2 months", missing="warn")
    assert list(study.row_ids) == list(range(400, 600))
    assert "No files are in 1 of 2 partitions: 2026-04/*.csv." in study.warnings
    with pytest.raises(InputError, match="found none in 1 of 1 partitions"):
        rows_at(by_month, "2026-05-01", missing="warn")


def test_partitions_outside_the_roots_are_refused(by_month, monkeypatch, tmp_path):
    monkeypatch.setenv("UPLIFT_DATA_ROOTS", str(tmp_path / "2026-01"))
    assert rows_at(by_month, "2026-01-01", source=f"{tmp_path}/{{date:%Y-%m}}/rows.csv")
    with pytest.raises(InputError, match="which this deployment is limited to"):
        rows_at(by_month, "2026-02-01", source=f"{tmp_path}/{{date:%Y-%m}}/rows.csv")


@pytest.mark.slow
@pytest.mark.usefixtures("api")
def test_a_backfill_makes_one_run_a_date_and_goes_on_where_it_ended(by_month):
    config = parse_config(by_month)
    dates = dates_between(config, "2026-01-01", "2026-04-15")
    assert dates == ["2026-01-01", "2026-02-01", "2026-03-01", "2026-04-01"]

    made = list(backfill(config, dates, quiet=True))
    assert [one.is_new for one in made] == [True, True, True, False]
    assert "found none in 1 of 1 partitions: 2026-04/*.csv" in made[3].error
    summaries = [json.loads((one.folder / "summary.json").read_text()) for one in made[:3]]
    assert [one["logical_date"][:10] for one in summaries] == dates[:3]
    assert [one["data"]["rows"] for one in summaries] == [200, 200, 200]

    Path("2026-04").mkdir()
    pd.read_csv("2026-01/rows.csv").to_csv("2026-04/rows.csv", index=False)
    again = list(backfill(config, dates, quiet=True))
    assert [one.is_new for one in again] == [False, False, False, True]
    assert [one.folder for one in again[:3]] == [one.folder for one in made[:3]]
    fits = json.loads((again[3].folder / "summary.json").read_text())["fits"]
    assert (fits["executed"], fits["reused"]) == (0, fits["unique"])  # the rows of January

    path = write_config({**by_month, "name": config.name})
    command = ["backfill", str(path), "--from", "2026-01-01", "--to", "2026-04-01"]
    ran = subprocess.run(
        [sys.executable, "-m", "flows.cli", *command], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("done already") == 4
    kept = (again[3].folder / "config.yaml").read_text()
    assert "date: '2026-04-01'" in kept or "date: 2026-04-01" in kept


@pytest.mark.parametrize(
    ("begin", "end", "every", "said"),
    [
        ("soon", "2026-01-01", None, "--from: expected a date"),
        ("2026-02-01", "2026-01-01", None, "--to: expected a date from 2026-02-01 on"),
        ("2026-01-01", "2026-02-01", "often", "--every: expected a number of minutes"),
        ("1000-01-01", "2026-02-01", "1d", "at most 10,000 dates"),
    ],
)
def test_wrong_dates_are_refused(by_month, begin, end, every, said):
    with pytest.raises(InputError, match=said):
        dates_between(parse_config(by_month), begin, end, every)


@pytest.mark.slow
@pytest.mark.usefixtures("api")
def test_a_backfill_knows_runs_at_other_hours_and_leaves_the_latest_alone(by_month):
    config = parse_config(by_month)
    late = config.model_copy(update={"date": "2026-03-15T05:00+01:00"})
    (made,) = backfill(late, ["2026-03-15T05:00+01:00"], quiet=True)
    found = list(backfill(config, dates_between(config, "2026-02-01", "2026-03-01"), quiet=True))

    assert [one.is_new for one in found] == [True, False]
    assert found[1].folder == made.folder
    assert (Path("runs") / "latest").resolve() == made.folder.resolve()
    model = json.loads((found[0].folder / "summary.json").read_text())["model"]
    assert (model["alias"], model["decision"]) == (None, "refused")


def test_a_date_in_an_hour_that_comes_twice_is_found_and_one_that_never_comes_is_none(settings):
    schedule = {"cron": "0 * * * *", "timezone": "Europe/Berlin"}
    config = parse_config({**settings, "schedule": schedule})
    spring = dates_between(config, "2026-03-29T00:00", "2026-03-29T04:00", "1h")
    assert [date[11:13] for date in spring] == ["", "01", "03", "04"]
    autumn = "2026-10-25T02:00:00"
    folder = Path("runs") / "twice"
    folder.mkdir(parents=True)
    data = {"source": "data.parquet", "outcome": "y"}
    about = {"run_name": "twice", "name": config.name, "started": autumn, "status": "done"}
    date = moment_of(autumn, "Europe/Berlin").isoformat()
    (folder / "summary.json").write_text(json.dumps({**about, "data": data, "logical_date": date}))
    (found,) = backfill(config, [autumn], quiet=True)
    assert (found.is_new, found.folder) == (False, folder)


def test_steps_of_months_end_with_the_month(by_month):
    config = parse_config(by_month)
    dates = dates_between(config, "2026-01-31", "2026-04-30", "1 month")
    assert dates == ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"]
    assert dates_between(config, "2026-01-01", "2026-01-15", "1w") == [
        "2026-01-01",
        "2026-01-08",
        "2026-01-15",
    ]


def test_what_is_due_follows_the_policy(settings):
    def config(catch_up):
        schedule = {"cron": "0 5 * * *", "timezone": "Europe/Berlin", "catch_up": catch_up}
        return parse_config({**settings, "name": "shop", "schedule": schedule})

    def finish(date, status="done", **more):
        folder = Path("runs") / f"run-{date}".replace(":", "-")
        folder.mkdir(parents=True)
        data = {"source": "data.parquet", "outcome": "y"}
        about = {"run_name": folder.name, "name": "shop", "started": date, "status": status}
        summary = {**about, "data": data, "logical_date": date, **more}
        (folder / "summary.json").write_text(json.dumps(summary))

    def day(number, hour=5):
        return datetime.fromisoformat(f"2026-03-{number}T{hour:02}:00:00+01:00")

    now = day(20, 6)
    latest, everything = config("latest"), config("all")
    assert due(latest, day(20), now) == due(everything, day(20), now) == [day(20)]  # the first run
    assert due(latest, day(18), now) == [day(20)]  # in place of its own
    finish(day(17).isoformat())
    assert due(latest, day(20), now) == [day(20)]
    assert due(everything, day(20), now) == [day(18), day(19), day(20)]
    assert due(everything, day(17), now) == due(latest, day(17), day(17, 6)) == []
    finish(day(19, 14).isoformat())  # by hand, at an hour of its own
    assert due(everything, day(20), now) == [day(18), day(19), day(20)]
    finish(day(19).isoformat(), data={"source": "other.parquet", "outcome": "y"})
    assert due(everything, day(20), now) == [day(18), day(19), day(20)]
    finish(day(18).isoformat(), "failed", error="its process died without reporting an error")
    assert due(everything, day(20), now) == [day(18), day(19), day(20)]
    (Path("runs") / f"run-{day(18).isoformat()}".replace(":", "-")).rename("gone")
    finish(day(18).isoformat(), "partial")
    assert due(everything, day(20), now) == [day(19), day(20)]
    finish(day(20).isoformat())
    assert due(everything, day(20), now) == [day(19)]
    assert due(latest, day(18), now) == []


def test_a_schedule_fires_by_the_clock_of_its_zone():
    daily = ScheduleConfig(cron="0 5 * * *", timezone="Europe/Berlin")
    begin = datetime(2026, 3, 27, 12, tzinfo=UTC)
    found = fire_times(daily, begin, begin + timedelta(days=4))
    assert [moment.astimezone(UTC).hour for moment in found] == [4, 3, 3, 3]
