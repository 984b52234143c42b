"""Sources that name dates: a window's partitions, found by another way; what is refused."""

from datetime import datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.config.reading import parse_config
from flows.dates.partitions import Window, begins_of, days_of, end_of, partitions_of
from flows.errors import InputError

FORMATS = ["%Y", "%Y-%m", "%G-W%V", "%Y-%m-%d", "%Y/%j", "%Y-%m-%d/%H"]
moments = st.datetimes(datetime(2019, 1, 1), datetime(2030, 12, 31))


def test_windows_that_a_reader_can_check():
    def window(source, date, last=None):
        return partitions_of(source, Window(datetime.fromisoformat(date), last))

    months = window("data/{date:%Y-%m}/*.parquet", "2026-02-15", "3 months")
    assert months == ["data/2025-12/*.parquet", "data/2026-01/*.parquet", "data/2026-02/*.parquet"]
    days = window("d/{date:%Y}/{date:%m-%d}.csv", "2024-03-01T05:00", "2 days")
    assert days == ["d/2024/02-29.csv", "d/2024/03-01.csv"]
    assert window("{date:%G-W%V}.csv", "2024-12-30") == ["2025-W01.csv"]
    assert len(window("{date:%Y-%m-%d}.csv", "2026-11-29", "28 days")) == 28
    assert window("{date:%Y-%m}.csv", "2026-11-29", "28 days") == ["2026-11.csv"]


def test_a_window_may_begin_later_than_it_reaches_back():
    def window(since):
        return Window(datetime(2026, 3, 15), "3 months", since=datetime.fromisoformat(since))

    source = "{date:%Y-%m}.csv"
    assert partitions_of(source, window("2026-02-01")) == ["2026-02.csv", "2026-03.csv"]
    assert partitions_of(source, window("2026-02-02")) == ["2026-03.csv"]
    assert len(partitions_of(source, window("2020-01-01"))) == 3
    assert end_of(source, window("2020-01-01")) == datetime(2026, 4, 1)
    assert end_of("x.csv", window("2020-01-01")) == datetime(2026, 3, 16)
    begin, date = days_of(window("2026-03-01"))
    assert (begin.isoformat(), date.isoformat()) == ("2026-03-01", "2026-03-15")
    found = begins_of(source, window("2026-02-01"))
    assert [str(moment)[:10] for moment in found.values()] == ["2026-02-01", "2026-03-01"]


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=20)
@given(moment=moments, days=st.integers(1, 400))
def test_a_window_of_days_names_each_partition_that_begins_in_it(form, moment, days):
    source = f"x/{{date:{form}}}.csv"
    found = partitions_of(source, Window(moment, f"{days} days"))

    # Each hour or day of the time in which they could begin, by the format alone.
    step = "h" if "%H" in form else "D"
    times = pd.date_range(
        pd.Timestamp(moment).floor(step) - timedelta(days + 800), moment, freq=step
    )
    names = times.strftime(form.replace("/", "_"))
    begins = pd.Series(times, names).groupby(level=0, sort=False).min().iloc[1:]
    own = begins.iloc[-1]
    inside = begins[begins > own - timedelta(days)]
    assert found == [f"x/{name.replace('_', '/')}.csv" for name in inside.index]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source": "{date:%d}.csv"}, "data.source: expected dates as {date:%Y-%m-%d}"),
        ({"source": "{date}.csv"}, "data.source: expected dates as {date:%Y-%m-%d}"),
        ({"source": "{date:%Y-%m}.csv", "last": "soon"}, "data.last: expected a number of minutes"),
        ({"source": "x.csv", "last": "3 months"}, "expected with a source that names dates"),
        ({"source": "{date:%Y}.csv", "missing": "skip"}, "data.missing: expected 'refuse' or"),
        ({"date": "2026-13-01"}, "date: expected a date such as 2026-11-01"),
        ({"date": 20261101}, "date: expected a date such as 2026-11-01"),
        ({"schedule": {"cron": "daily"}}, "schedule.cron: expected minute, hour, day"),
        ({"schedule": {"cron": "0 5 * * *", "timezone": "Mars"}}, "schedule.timezone: expected"),
    ],
)
def test_what_names_no_partitions_is_refused(change, said):
    data = {"source": "x.csv", "outcome": "y", "treatment": "w", "control": 0}
    at_top = {key: value for key, value in change.items() if key in ("date", "schedule")}
    of_data = {key: value for key, value in change.items() if key not in at_top}
    with pytest.raises(InputError, match=r"^config: ") as refused:
        parse_config({"data": data | of_data, **at_top})
    assert said in str(refused.value)


def test_too_many_partitions_are_refused():
    with pytest.raises(InputError, match="at most 10,000 partitions"):
        partitions_of("{date:%Y-%m-%d-%H}.csv", Window(datetime(2026, 1, 1), "3 years"))


def test_a_date_is_of_the_zone_of_the_schedule():
    def config(date, zone="Europe/Berlin"):
        schedule = {"cron": "0 0 * * *", "timezone": zone}
        data = {"source": "{date:%Y-%m-%d}", "outcome": "y", "treatment": "w", "control": 0}
        return parse_config({"data": data, "date": date, "schedule": schedule})

    # Midnight in Berlin, as a scheduler that counts in UTC says it.
    due = datetime.fromisoformat("2026-11-01T23:00:00+00:00")
    at = config(None).at(due)
    assert at.window.date == datetime(2026, 11, 2)
    assert parse_config(at.model_dump()) == at
    assert at.at(datetime.now().astimezone()) == at
    assert config("2026-11-01T23:30Z").window.date == datetime(2026, 11, 2, 0, 30)
    assert config("2026-11-02").window.date == datetime(2026, 11, 2)
    assert config(None).window is config("").window is None
