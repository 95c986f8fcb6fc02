"""The status of a whole fleet as JSON text, of which most is kept from one call to the next.

Between two probes nothing of a system's object changes but its uptime. Of two hundred systems, to make all objects and
to write them down took 5 ms of each call, and as long nobody else in this process did anything.
"""

import json
from collections.abc import Callable
from threading import Lock
from typing import Any, NamedTuple

from aurora_circus import views
from aurora_circus.answers import encode
from aurora_circus.clock import rfc3339
from aurora_circus.facts import State
from aurora_circus.fleet import Fleet
from aurora_circus.lifecycle import Lifecycle

JITTER = 0.0005
"""Seconds by which the clocks may be apart from where they were, less than what timestamps show."""
_UPTIME = b'"uptime":'
"""Stands in an object once: within a string, its quotes would be escaped."""


class _Seen(NamedTuple):
    """A system as it was read."""

    life: Lifecycle
    changes: int
    drill: str | None
    shift: float
    began: float | None
    status: dict[str, Any]

    def written(self) -> "_Kept":
        text = encode({**self.status, "uptime": 0, "drill": self.drill})
        head, name, tail = text.partition(_UPTIME)
        key = json.dumps(self.life.system.key).encode()
        return _Kept(self, key + b":" + head + name, tail.removeprefix(b"0"))


class _Kept(NamedTuple):
    """The same, written down on both sides of its uptime."""

    seen: _Seen
    head: bytes
    tail: bytes

    def at(self, now: float) -> bytes:
        began = self.seen.began
        uptime = 0.0 if began is None else views.uptime(now, began)
        return self.head + repr(uptime).encode() + self.tail


class FleetText:
    """What was written down of a fleet. Thread-safe: at worst, two threads write down the same."""

    def __init__(self, lock: Lock, drill_of: Callable[[str], str | None]) -> None:
        """``lock`` is held while the fleet changes, and here while it is read; ``drill_of`` tells a drill."""
        self._lock = lock
        self._drill_of = drill_of
        self._kept: dict[str, _Kept] = {}

    def at(self, fleet: Fleet, now: float, shift: float) -> bytes:
        """Return all systems' status objects, by key; ``shift`` makes epoch seconds of monotonic ones."""
        with self._lock:
            found = {each.system.key: self._look(fleet, each, now, shift) for each in fleet}
        kept = {key: each if isinstance(each, _Kept) else each.written() for key, each in found.items()}
        self._kept = kept
        return b"{" + b",".join([each.at(now) for each in kept.values()]) + b"}"

    def _look(self, fleet: Fleet, life: Lifecycle, now: float, shift: float) -> _Kept | _Seen:
        key = life.system.key
        kept, drill = self._kept.get(key), self._drill_of(key)
        if kept is not None and life.state is not State.WAITING:  # what one waits for is up to others
            seen = kept.seen
            if (seen.life, seen.changes, seen.drill) == (life, life.changes, drill) and abs(
                seen.shift - shift
            ) < JITTER:
                return kept
        status = views.status(fleet, life, now, lambda at: rfc3339(at + shift))
        return _Seen(life, life.changes, drill, shift, views.began(life), status)
