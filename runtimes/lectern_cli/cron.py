"""When a schedule runs next: cron's five fields as Kubernetes' CronJobs read them, in a time zone. Pure.

Used to tell a person when; what runs is the CronJob.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lectern_contract.errors import ConfigurationError

MOST_DAYS = 366 * 8
"""How far is looked ahead: the 29th of February is at most eight years away."""
MACROS: Mapping[str, str] = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_MONTHS = {
    "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6,
    "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12,
}  # fmt: skip
_DAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}


def upcoming(schedule: str, time_zone: str, after: datetime) -> datetime | None:
    """The first moment after `after` that `schedule` names, in UTC; None when there is none in eight years.

    A time that a change of clocks leaves out is none. Raises `ConfigurationError` for what is no schedule or zone.
    """
    fields = MACROS.get(schedule, schedule).split()
    if len(fields) != 5:
        raise ConfigurationError(f"{schedule!r} is no schedule: it takes five fields")
    minutes, hours = _values(fields[0], 0, 59), _values(fields[1], 0, 23)
    days, months = _values(fields[2], 1, 31), _values(fields[3], 1, 12, _MONTHS)
    weekdays = {each % 7 for each in _values(fields[4], 0, 7, _DAYS)}
    zone = _zone(time_zone)
    first = after.astimezone(zone).date()
    for ahead in range(MOST_DAYS):
        day = first + timedelta(days=ahead)
        in_month, in_week = day.day in days, day.isoweekday() % 7 in weekdays
        either = not _starred(fields[2]) and not _starred(fields[4])
        if day.month not in months or not (in_month or in_week if either else in_month and in_week):
            continue
        for hour in sorted(hours):
            for minute in sorted(minutes):
                moment = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone).astimezone(UTC)
                back = moment.astimezone(zone)
                if moment > after and (back.hour, back.minute) == (hour, minute):
                    return moment
    return None


def _starred(field: str) -> bool:
    """Whether a field of days restricts nothing: then the other one of the two decides alone."""
    return field.startswith(("*", "?"))


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigurationError(f"the time zone {name!r} is not known on this machine") from error


def _values(field: str, lowest: int, highest: int, names: Mapping[str, int] | None = None) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        try:
            if span in ("*", "?"):
                low, high = lowest, highest
            else:
                first, _, last = span.partition("-")
                low = _number(first, names)
                high = _number(last, names) if last else (highest if step else low)
            every = int(step) if step else 1
        except ValueError as error:
            raise ConfigurationError(f"{field!r} is no field of a schedule") from error
        if not (lowest <= low <= high <= highest and every > 0):
            raise ConfigurationError(f"{field!r} is no field of a schedule: it takes {lowest} to {highest}")
        found |= set(range(low, high + 1, every))
    return found


def _number(text: str, names: Mapping[str, int] | None) -> int:
    known = (names or {}).get(text.lower())
    return int(text) if known is None else known
