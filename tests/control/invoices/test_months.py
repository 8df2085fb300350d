"""Months and days of an organisation: a partition of time in every zone, and across moves."""

import zoneinfo
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from control.months import (
    UTC_CALENDAR,
    Calendar,
    border_range,
    first_day,
    month_name,
    month_number,
    month_of,
)

_ZONES = st.sampled_from(sorted(zoneinfo.available_timezones()))
_SECONDS = st.integers(946_684_800, 4_102_444_800)  # 2000 to 2100


def _utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("zone", "second", "start", "end"),
    [
        ("UTC", "2026-03-10", "2026-03-01T00:00", "2026-04-01T00:00"),
        ("Asia/Tokyo", "2026-02-28T15:00", "2026-02-28T15:00", "2026-03-31T15:00"),
        ("Asia/Tokyo", "2026-02-28T14:59:59", "2026-01-31T15:00", "2026-02-28T15:00"),
        ("Europe/Berlin", "2026-03-31T21:59:59", "2026-02-28T23:00", "2026-03-31T22:00"),
        ("Asia/Kolkata", "2026-03-10", "2026-02-28T18:30", "2026-03-31T18:30"),
        ("Asia/Kathmandu", "2026-03-10", "2026-02-28T18:15", "2026-03-31T18:15"),
        ("Australia/Lord_Howe", "2026-04-10", "2026-03-31T13:00", "2026-04-30T13:30"),
        ("Pacific/Kiritimati", "2025-12-31T12:00", "2025-12-31T10:00", "2026-01-31T10:00"),
        ("America/St_Johns", "2009-11-01T03:00", "2009-11-01T02:30", "2009-12-01T03:30"),
    ],
)
def test_the_month_of_a_moment(zone: str, second: str, start: str, end: str) -> None:
    assert month_of(zone, _utc(second)) == (_utc(start), _utc(end))


def test_days_are_as_long_as_the_clocks_make_them() -> None:
    berlin = Calendar.of("Europe/Berlin")
    hours = [
        (end - start) / 3600
        for start, end in (
            berlin.day_of(_utc(day)) for day in ("2026-03-28", "2026-03-29", "2026-10-25")
        )
    ]
    assert hours == [24, 23, 25]
    beirut = Calendar.of("Asia/Beirut")  # the clocks skip midnight
    start, end = beirut.day_of(_utc("2026-03-29T12:00"))
    assert (start, end - start) == (_utc("2026-03-28T22:00"), 23 * 3600)
    apia = Calendar.of("Pacific/Apia")  # there was no 2011-12-30
    assert apia.date_of(_utc("2011-12-30T09:59:59")) == date(2011, 12, 29)
    assert apia.date_of(_utc("2011-12-30T10:00:00")) == date(2011, 12, 31)
    assert apia.day_start(date(2011, 12, 30)) == apia.day_start(date(2011, 12, 31))


@st.composite
def _calendars(draw: st.DrawFn) -> Calendar:
    calendar = Calendar.of(draw(_ZONES))
    for second in sorted(draw(st.lists(_SECONDS, max_size=3))):
        calendar = calendar.moved(second, draw(_ZONES))
    return calendar


@settings(deadline=None)
@given(_calendars(), _SECONDS)
@example(Calendar.of("America/St_Johns"), _utc("2009-11-01T02:45"))
@example(Calendar.of("Pacific/Pago_Pago").moved(0, "Pacific/Kiritimati"), _utc("1970-02-01T11:00"))
def test_no_second_is_in_two_months_or_days_or_in_none(calendar: Calendar, second: int) -> None:
    start, end = calendar.month_of(second)
    assert start <= second < end
    assert calendar.month_of(start) == calendar.month_of(end - 1) == (start, end)
    assert calendar.month_of(end)[0] == end
    number = calendar.number_of(second)
    low, high = border_range(number)
    assert low <= start <= high
    at, days = start, []
    while at < end:
        assert calendar.day_of(at)[0] == at
        days.append(calendar.date_of(at))
        assert calendar.day_start(days[-1]) == at
        assert month_number(days[-1]) == number
        at = calendar.day_of(at)[1]
    assert at == end
    assert days == sorted(set(days))
    assert len(days) >= 27
    assert calendar.date_of(second) in days


def test_a_move_counts_from_the_next_month_on() -> None:
    moved = Calendar.of("Asia/Tokyo").moved(_utc("2026-03-10"), "America/Los_Angeles")
    assert moved.month_of(_utc("2026-03-10")) == month_of("Asia/Tokyo", _utc("2026-03-10"))
    april = moved.month_of(_utc("2026-04-10"))
    assert april == (_utc("2026-03-31T15:00"), _utc("2026-05-01T07:00"))
    first = moved.day_of(april[0])
    assert first == (april[0], _utc("2026-04-02T07:00"))
    assert moved.date_of(april[0]) == date(2026, 4, 1)
    assert moved.month_of(_utc("2026-05-10")) == month_of("America/Los_Angeles", _utc("2026-05-10"))


def test_a_move_that_is_to_come_can_be_taken_back() -> None:
    tokyo, noon = Calendar.of("Asia/Tokyo"), _utc("2026-03-10T12:00")
    away = tokyo.moved(noon, "Europe/Paris")
    assert away.moved(noon + 5, "Asia/Tokyo") == tokyo
    assert away.moved(noon + 5, "UTC") == tokyo.moved(noon, "UTC")
    later = away.moved(_utc("2026-04-10"), "UTC")
    assert [name for _, name in later.zones] == ["Asia/Tokyo", "Europe/Paris", "UTC"]
    for calendar in (tokyo, away, later):
        assert Calendar.read(calendar.zones[-1][1], calendar.zones_text) == calendar


def test_a_first_day_may_have_no_time() -> None:
    calendar = Calendar.of("Pacific/Pago_Pago").moved(_utc("2026-03-10"), "Pacific/Kiritimati")
    border = _utc("2026-04-01T11:00")
    assert calendar.date_of(border - 1) == date(2026, 3, 31)
    assert calendar.date_of(border) == date(2026, 4, 2)
    assert calendar.day_start(date(2026, 4, 1)) == calendar.day_start(date(2026, 4, 2)) == border


def test_numbers_and_names() -> None:
    assert first_day(month_number(date(2026, 12, 31))) == date(2026, 12, 1)
    assert month_name(month_number(date(2026, 1, 5))) == "2026-01"
    assert UTC_CALENDAR.number_of(0) == month_number(date(1970, 1, 1))


def test_a_zone_that_is_unknown_counts_as_utc(caplog: pytest.LogCaptureFixture) -> None:
    second = _utc("2026-03-10")
    assert month_of("Atlantis/Capital", second) == month_of("UTC", second)
    assert "unknown" in caplog.text


@settings(deadline=None)
@given(_ZONES, st.integers(2001, 2037), st.integers(1, 12))
def test_borders_are_midnights(zone: str, year: int, month: int) -> None:
    border = Calendar.of(zone).border(month_number(date(year, month, 1)))
    local = datetime.fromtimestamp(border, zoneinfo.ZoneInfo(zone))
    before = local.astimezone(UTC) - timedelta(seconds=1)
    assert local.date() == date(year, month, 1)
    assert before.astimezone(local.tzinfo).date() < date(year, month, 1)
