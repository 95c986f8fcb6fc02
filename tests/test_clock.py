"""Time as it is written down."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from aurora_circus.clock import Clock, parse_rfc3339, rfc3339

YEAR_1, YEAR_10000 = -62_135_596_800, 253_402_300_800


@pytest.mark.parametrize(
    ("epoch", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_767_323_045.678, "2026-01-02T03:04:05.678Z"),
        (1_767_323_045.9996, "2026-01-02T03:04:06.000Z"),
        (-0.5, "1969-12-31T23:59:59.500Z"),
        (YEAR_1, "0001-01-01T00:00:00.000Z"),
    ],
)
def test_a_moment_is_written_in_utc_to_the_nearest_millisecond(epoch: float, text: str) -> None:
    """Milliseconds are rounded, before 1970 as after it, and always three digits."""
    assert rfc3339(epoch) == text
    assert parse_rfc3339(text) == pytest.approx(epoch, abs=0.0005)


@hypothesis_settings(deadline=None)
@given(st.integers(YEAR_1 * 1000, YEAR_10000 * 1000 - 1))
def test_what_was_written_is_read_back_to_the_millisecond(milliseconds: int) -> None:
    """No moment changes on the way to a text and back."""
    text = rfc3339(milliseconds / 1000)
    assert rfc3339(parse_rfc3339(text)) == text
    assert round(parse_rfc3339(text) * 1000) == milliseconds


@hypothesis_settings(deadline=None)
@given(st.integers(YEAR_1, YEAR_10000 - 2), st.integers(YEAR_1, YEAR_10000 - 2))
def test_texts_sort_as_moments_do(one: int, other: int) -> None:
    """The later moment has the greater text."""
    assert (one < other) == (rfc3339(one) < rfc3339(other))


@pytest.mark.parametrize("epoch", [float("nan"), float("inf"), -float("inf"), 1e300, YEAR_1 - 1, YEAR_10000])
def test_what_is_no_moment_is_refused(epoch: float) -> None:
    """A number beyond the years 1 to 9999 is a ValueError, whatever is wrong with it."""
    with pytest.raises(ValueError, match="no moment"):
        rfc3339(epoch)


@pytest.mark.parametrize(
    ("text", "epoch"),
    [
        ("1970-01-01T01:30:00.5+01:30", 0.5),
        ("1969-12-31 22:30:00-01:30", 0),
        ("1970-01-01t00:00:01z", 1),
        ("1970-01-01T00:00:00.1234567Z", 0.123456),
    ],
)
def test_any_offset_and_any_decimals_are_read(text: str, epoch: float) -> None:
    """Other programs' times are read too, as RFC 3339 allows them to be written."""
    assert parse_rfc3339(text) == epoch


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-W01-1T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-01-02T24:04:05Z",
        "2026-01-02T03:04:60Z",
        "2026-01-02T03:04:05Z\n",
        "٢٠٢٦-01-02T03:04:05Z",
        "2026-01-02T03:04:05+24:00",
    ],
)
def test_what_is_no_rfc3339_time_is_refused(text: str) -> None:
    """Neither a date without a time, nor a time without an offset, nor a day that there is not."""
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says, it is no time
        parse_rfc3339(text)


def test_the_clocks_go_forward() -> None:
    """Monotonic time never goes back; wall time is of this century."""
    clock = Clock()
    assert clock.monotonic() <= clock.monotonic()
    assert rfc3339(clock.wall())[:2] == "20"
