"""When a circusd is stuck, whether it is replaced, and how often. Pure: it counts and compares, and reads no clock."""

ASK = 1.0
"""Seconds between two questions to circusd, which takes no lock for their answer."""
STUCK = 15
"""Seconds without any answer after which it is stuck."""
BEGINS = 60
"""The same for one that has just been started, and has not given any yet."""
ASKED = 3
"""Questions in a row that have to go unanswered as well, where each is waited for."""
DELAYS = (0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Seconds before each replacement in a row; after the last one it is given up."""
STABLE = 60.0
"""A circusd that has lived for so many seconds is the last of its row."""
SETTLED = 10.0
"""Seconds for the plugin of a new circusd to be there; until then, who started it keeps it."""


def delay(attempt: int) -> float | None:
    """Return how many seconds to wait before replacement number ``attempt`` (from 0) of a row; None: no more."""
    return DELAYS[attempt] if attempt < len(DELAYS) else None


def following(attempt: int | None, lived: float) -> int:
    """Return which replacement in a row comes next, after one that has lived for ``lived`` seconds.

    ``attempt`` is the number of that one; None where it replaced nobody.
    """
    return 0 if attempt is None or lived >= STABLE else attempt + 1


def replaces(*, marked: bool, draining: bool, keeper_works: bool) -> bool:
    """Say whether the plugin replaces a circusd that is kept: nobody has asked for its end, or sees to it already.

    ``marked``: the fleet is taken down on purpose. ``draining``: the plugin has heard so itself. ``keeper_works``: the
    ``up`` that has started it still runs.
    """
    return not marked and not draining and not keeper_works
