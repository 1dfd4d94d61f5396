"""When a schedule runs next, in its time zone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lectern_cli.cron import upcoming
from lectern_contract.errors import ConfigurationError

NOW = datetime(2026, 11, 21, 12, 30, 15, tzinfo=UTC)  # a Saturday


@pytest.mark.parametrize(
    ("schedule", "zone", "expected"),
    [
        ("30 2 * * *", "Etc/UTC", "2026-11-22T02:30"),
        ("30 2 * * *", "Europe/Berlin", "2026-11-22T01:30"),
        ("*/15 * * * *", "Etc/UTC", "2026-11-21T12:45"),
        ("30 12 * * *", "Etc/UTC", "2026-11-22T12:30"),
        ("0 9-17/4 * * mon-fri", "Etc/UTC", "2026-11-23T09:00"),
        ("0 0 * * 7", "Etc/UTC", "2026-11-22T00:00"),
        ("0 0 1 jan *", "Etc/UTC", "2027-01-01T00:00"),
        ("0 0 13 * fri", "Etc/UTC", "2026-11-27T00:00"),
        ("0 0 */2 * fri", "Etc/UTC", "2026-11-27T00:00"),
        ("0 0 29 2 *", "Etc/UTC", "2028-02-29T00:00"),
        ("5,10 0/6 * * *", "Etc/UTC", "2026-11-21T18:05"),
        ("@hourly", "Etc/UTC", "2026-11-21T13:00"),
        ("@yearly", "Asia/Tokyo", "2026-12-31T15:00"),
    ],
)
def test_the_next_moment_of_a_schedule(schedule: str, zone: str, expected: str) -> None:
    found = upcoming(schedule, zone, NOW)
    assert found is not None
    assert found.strftime("%Y-%m-%dT%H:%M") == expected


def test_a_time_that_the_clocks_leave_out_is_none() -> None:
    before = datetime(2027, 3, 27, 12, tzinfo=UTC)
    found = upcoming("30 2 * * *", "Europe/Berlin", before)
    assert found == datetime(2027, 3, 29, 0, 30, tzinfo=UTC), "on the 28th 02:30 does not exist"


def test_a_day_that_never_comes_is_none() -> None:
    assert upcoming("0 0 31 2 *", "Etc/UTC", NOW) is None


@pytest.mark.parametrize(
    ("schedule", "zone", "words"),
    [
        ("61 * * * *", "Etc/UTC", "no field"),
        ("* * *", "Etc/UTC", "five fields"),
        ("0 0 L * *", "Etc/UTC", "no field"),
        ("*/0 * * * *", "Etc/UTC", "no field"),
        ("0 0 * * *", "Mars/Olympus", "not known on this machine"),
    ],
)
def test_what_is_no_schedule_is_said(schedule: str, zone: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        upcoming(schedule, zone, NOW)
