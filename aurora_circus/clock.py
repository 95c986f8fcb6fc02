"""Time, and how a moment is written down.

The only module of the core that imports ``time``: whoever needs a clock is handed one, so that a test can
hand over another. Monotonic time decides, wall time labels. A leaf: any module may import it, and it imports
none.
"""

import functools
import re
import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:[0-5]\d)", re.ASCII | re.IGNORECASE)
"""Narrower than ``fromisoformat``, which reads week dates and times without an offset too."""


class Clock:
    """The machine's two clocks."""

    def monotonic(self) -> float:
        """Return seconds that never go back and mean nothing by themselves; for deadlines.

        On Linux they stand still while the machine is suspended, and so do our deadlines: nothing that was
        meant to be waited for happened in that time. On Windows they go on, and all deadlines are over then.
        """
        return time.monotonic()

    @property
    def resolution(self) -> float:
        """Seconds between two times that :meth:`monotonic` can tell apart: 15.6 ms on Windows before Python 3.13."""
        return time.get_clock_info("monotonic").resolution

    def wall(self) -> float:
        """Return seconds since 1970 as the machine has them; for labels only, since it may be set back."""
        return time.time()


def pause(seconds: float) -> None:
    """Do nothing for so many seconds; a signal whose handler raises ends it."""
    time.sleep(max(0.0, seconds))


def rfc3339(epoch: float) -> str:
    """Return the moment in UTC, rounded to the millisecond: ``2026-01-02T03:04:05.678Z``.

    ``ValueError``: it does not lie in the years 1 to 9999.
    """
    try:
        return _stamp(round(epoch * 1000))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"no moment: {epoch!r} seconds since 1970 ({error})") from error


@functools.lru_cache(maxsize=2048)
def _stamp(milliseconds: int) -> str:
    """Return the moment so many milliseconds after 1970; each status repeats those of the one before, by hundreds."""
    seconds, milliseconds = divmod(milliseconds, 1000)
    return f"{(_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]}.{milliseconds:03d}Z"


def parse_rfc3339(text: str) -> float:
    """Return the seconds since 1970 that ``text`` stands for; any offset, decimals beyond the sixth are cut.

    ``ValueError``: it is not a date and time of RFC 3339. So is a leap second, which no clock here has.
    """
    if not _RFC3339.fullmatch(text):
        raise ValueError(f"not an RFC 3339 time: {text!r}")
    return (datetime.fromisoformat(text.upper()) - _EPOCH).total_seconds()
