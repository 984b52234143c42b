"""Logical dates of runs, and what gives them: moments, time zones, schedules."""

import re
from datetime import datetime
from zoneinfo import ZoneInfo, available_timezones

from flows.messages.limits import shown

_CRON = re.compile(r"\S+( \S+){4,5}")


def check_date(value: object) -> object:
    """A date or a moment as ISO 8601 writes it, or a ValueError; none for an empty text."""
    if value is None or value == "":
        return None
    try:
        return _text(datetime.fromisoformat(str(value)) if isinstance(value, str) else None)
    except ValueError:
        raise ValueError(
            "expected a date such as 2026-11-01, or a moment such as 2026-11-01T05:00 or "
            f"2026-11-01T05:00+01:00; found {shown(repr(value))}."
        ) from None


def _text(moment: datetime | None) -> str:
    if moment is None:
        raise ValueError("no text")
    plain = moment.replace(microsecond=0)
    is_day = plain.tzinfo is None and not (plain.hour or plain.minute or plain.second)
    return plain.date().isoformat() if is_day else plain.isoformat()


def date_at(moment: datetime, timezone: str) -> str:
    """The logical date of a moment, as a time zone writes it."""
    return _text(moment.astimezone(ZoneInfo(timezone)))


def moment_of(date: str, timezone: str) -> datetime:
    """The moment of a logical date, in a time zone; a date without an offset is of that zone."""
    moment, zone = datetime.fromisoformat(date), ZoneInfo(timezone)
    return moment.replace(tzinfo=zone) if moment.tzinfo is None else moment.astimezone(zone)


def check_cron(text: str) -> str:
    """The text, or a ValueError if it doesn't look like a cron schedule."""
    if not _CRON.fullmatch(text):
        raise ValueError(
            "expected minute, hour, day, month and weekday, such as '0 5 * * *', and seconds as a "
            f"sixth field where they matter; found {shown(repr(text))}."
        )
    return text


def check_zone(name: str) -> str:
    """The name, or a ValueError if no time zone has it."""
    if name not in available_timezones():
        raise ValueError(
            f"expected the name of a time zone, such as Europe/Berlin; found {shown(repr(name))}."
        )
    return name
