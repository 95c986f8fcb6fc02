"""Whether the plugin's own work is on time, and what a service manager is to be told of it. Pure.

A service manager that watches (systemd's ``WatchdogSec``) hears ``WATCHDOG=1`` only while circusd answers and every
probe is on time, so a plugin that is stuck, or whose circusd is, is replaced. A disk that is full or a journal that
cannot be written is said in words and starves no watchdog: nobody would be helped by a fleet that is bounced for it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from aurora_circus.facts import State
from aurora_circus.lifecycle import Lifecycle

LATE = 5.0
"""Seconds without a look at circusd, or beyond a probe's time, after which this controller is not healthy."""
FEEDS = 4
"""How often the watchdog is fed within its time: losing some, or being late with one, does not count."""
UNWATCHED = 60.0
"""The same time where the manager does not watch: then only that all is ready is said again."""
_NAMED = 5
"""How many systems are named in one state."""
_LONGEST = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the plugin sees at one moment."""

    states: Mapping[str, State]
    circusd: bool
    """Whether circusd answers, and did so in time."""
    late: Sequence[str] = ()
    """Systems whose probes are late."""
    trouble: str | None = None
    """What circusd last failed at."""
    unwritten: str | None = None
    """Why the journal, or what must survive, is not on the disk."""

    @property
    def well(self) -> bool:
        """Whether the plugin does what it is there for."""
        return self.circusd and not self.late


def answers(now: float, looked_at: float | None, trouble: str | None) -> bool:
    """Say whether circusd answers: the last look at it succeeded, and is not long ago."""
    return trouble is None and looked_at is not None and now - looked_at < LATE


def late(lives: Iterable[Lifecycle], now: float) -> list[str]:
    """Return the healthy systems that should have been probed by now, and were not."""

    def is_late(life: Lifecycle) -> bool:
        probe = life.system.probe
        return life.last_at is not None and now - life.last_at > probe.interval + probe.timeout + LATE

    return [life.system.key for life in lives if life.state is State.HEALTHY and is_late(life)]


def words(view: View) -> str:
    """Return how the fleet is, in one line."""
    count = len(view.states)
    healthy = sum(each is State.HEALTHY for each in view.states.values())
    parts = [f"{healthy} of {count} systems healthy"]
    for state in State:
        keys = [key for key, each in view.states.items() if each is state]
        if keys and state is not State.HEALTHY:
            more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
            parts.append(f"{state}: {', '.join(keys[:_NAMED])}{more}")
    if not view.circusd:
        parts.append(f"circusd: {view.trouble or f'not looked at for {LATE:g} s'}")
    if view.late:
        parts.append(f"probes late: {', '.join(view.late[:_NAMED])}")
    if view.unwritten:
        parts.append(f"not written: {view.unwritten}")
    line = "; ".join(parts)
    return "".join(each if each.isprintable() else " " for each in line)[:_LONGEST]


class Liveness:
    """What a service manager is to be told, by sd_notify(3): each answer is one datagram, or None for nothing."""

    def __init__(self, watchdog: float | None) -> None:
        """``watchdog``: seconds after which the manager replaces what it hears nothing of; None: it does not watch."""
        self._watchdog = watchdog
        self._every = (watchdog or UNWATCHED) / FEEDS
        self._fed: float | None = None
        self._said = ""
        self._over = False

    def look(self, now: float, view: View) -> str | None:
        """Take note of one look at everything."""
        if self._over:
            return None
        lines = []
        if view.well and (self._fed is None or now - self._fed >= self._every):
            lines.append("READY=1")  # again and again: the manager may have started its main process anew meanwhile
            if self._watchdog is not None:
                if self._fed is None:  # a life of ours that was taken down may have put it out
                    lines.append(f"WATCHDOG_USEC={round(self._watchdog * 1e6)}")
                lines.append("WATCHDOG=1")
            self._fed = now
        text = words(view)
        if text != self._said:
            self._said = text
            lines.append(f"STATUS={text}")
        return "\n".join(lines) or None

    def over(self, *, whole: bool, why: str) -> str | None:
        """Say that this plugin ends; ``whole``: and circusd with it, so the service does.

        A watchdog is put out: what comes down in its own time is not to be killed for being silent, nor is a circusd
        that an operator has told to stop everything and to stay.
        """
        if self._over:
            return None
        self._over = True
        return "\n".join([*(["STOPPING=1"] if whole else []), "WATCHDOG_USEC=0", f"STATUS={why}"])

    def gone(self, why: str) -> str | None:
        """Say that this plugin ends and another one is to follow; the watchdog waits for that one."""
        if self._over:
            return None
        self._over = True
        return f"STATUS={why}"
