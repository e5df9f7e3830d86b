from datetime import UTC, datetime, timedelta, timezone

import pytest

from dagferry_shared import times
from support.refusals import refused, short


def test_now_is_what_a_document_can_hold():
    moment = times.now()
    assert times.parse(times.show(moment)) == moment
    assert abs(datetime.now(UTC) - moment) < timedelta(seconds=5)


def test_instant_of_another_zone_is_written_in_utc():
    moment = datetime(2026, 1, 1, 1, 2, 3, 4999, tzinfo=timezone(timedelta(hours=2)))
    assert times.show(moment) == "2025-12-31T23:02:03.004Z"


@pytest.mark.parametrize("value", ["0001-01-01T00:00:00.000Z", "2024-02-29T23:59:59.999Z", "9999-12-31T23:59:59.999Z"])
def test_instant_round_trips(value):
    assert times.show(times.parse(value)) == value == times.instant(value, "x")


def test_last_instant_is_the_last_that_can_be_written():
    assert times.show(times.LAST) == "9999-12-31T23:59:59.999Z"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "2026-01-01",
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.000000Z",
        "2026-01-01T00:00:00.000+00:00",
        "2026-01-01t00:00:00.000z",
        "2026-01-01 00:00:00.000Z",
        "2026-01-01T00:00:00,000Z",
        "2026-01-01T00:00:00.000Z\n",
        "\uff12026-01-01T00:00:00.000Z",
        "2026-02-30T00:00:00.000Z",
        "0000-01-01T00:00:00.000Z",
        "2026-13-01T00:00:00.000Z",
        "2026-01-01T24:00:00.000Z",  # Python 3.13 reads it as the next day: two spellings of one instant
        "2026-01-01T23:60:00.000Z",
        "2026-06-30T23:59:60.000Z",
        "x" * 100_000,
    ],
    ids=short,
)
def test_instant_in_any_other_form_is_refused(value):
    with refused():
        times.parse(value, "issued")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("15m", 900),
        ("12h", 43200),
        ("7d", 604800),
        ("2w", 1209600),
        (" 5m ", 300),
        ("36600d", 36600 * 86400),
    ],
)
def test_duration_is_read(value, seconds):
    assert times.duration(value) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "value", ["", "0", "0s", "-1", "1.5h", "1y", "1 h", "h", "36601d", "9" * 9 + "w", "9" * 5000, "\uff15m"]
)
def test_duration_that_is_zero_negative_huge_or_unclear_is_refused(value):
    with refused():
        times.duration(value, "--ttl")
