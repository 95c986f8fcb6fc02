"""What is promised of a drill, and whether it was kept. Pure: settings and records in, numbers and verdicts out.

The bounds are those that the fleet's own settings give (docs: "how it is noticed, how it comes back"). It must never
read a clock: moments come from whoever watches, as seconds since the fault.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aurora_circus.drill_names import Fault
from aurora_circus.lifecycle import SECOND_LOOK

STRUCK, NOTICED, RECOVERED, BACK = "struck", "noticed", "recovered", "back"
"""The moments of a drill. The first is when it began: 0."""
DEATH_SEEN = 2.0
"""Seconds within which a death is seen: at once by an event, and by the look each second where that is lost."""
TURN = 2.0
"""Seconds for the end of what was told to go, and for circusd to start the next one."""
WHOLE = 60.0
"""Seconds within which a killed system is healthy again, where its own settings do not ask for more."""
PLUGIN_BACK = 2.0
"""Seconds within which the API of a killed plugin answers again: circusd is told of its end."""
SLACK = 0.5
"""Seconds on top of each promise, for the measuring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How one system is watched and brought back, in seconds; and how many of its attempts are used."""

    interval: float
    timeout: float
    failure_threshold: int
    graceful_timeout: float
    start_timeout: float
    backoff_base: float
    backoff_cap: float
    jitter: float
    attempts_used: int = 0

    @classmethod
    def of(cls, explained: Mapping[str, Any]) -> "Policy":
        """Read it from what the API explains of a system."""
        told = explained["policy"]
        names = [each for each in cls.__dataclass_fields__ if each != "attempts_used"]
        return cls(**{each: told[each] for each in names}, attempts_used=explained["attempts_used"])

    @property
    def noticing(self) -> float:
        """Seconds until the threshold is reached by one that answers no more, or wrongly."""
        return self.interval + self.timeout + (self.failure_threshold - 1) * (SECOND_LOOK + self.timeout)

    def wait(self, attempt: int) -> float:
        """Return the most seconds that are waited before an attempt; the first one waits for nothing."""
        if attempt <= 1:
            return 0.0
        return min(self.backoff_base * 2.0 ** min(attempt - 2, 64), self.backoff_cap) * (1 + self.jitter)

    def waits(self, strikes: int) -> float:
        """Return the most seconds that are waited before the next ``strikes`` attempts, all together."""
        return sum(self.wait(self.attempts_used + each) for each in range(1, strikes + 1))


@dataclass(frozen=True, slots=True)
class Promise:
    """From the moment ``since`` to the moment ``until`` it takes ``within`` seconds at most; ``why`` so many."""

    what: str
    since: str
    until: str
    within: float
    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a promise was kept; ``took`` is None where its moment never came."""

    promise: Promise
    took: float | None
    kept: bool


def of(fault: Fault, policy: Policy | None, strikes: int) -> list[Promise]:
    """Return what is promised of ``fault``, which costs ``strikes`` attempts; a policy is a system's."""
    if fault is Fault.PLUGIN_KILL or policy is None:
        return [Promise("the API is back", STRUCK, BACK, PLUGIN_BACK, "circusd is told of its end")]
    dies = fault in {Fault.KILL, Fault.CRASH_LOOP}
    if dies:
        noticed = Promise("noticed", STRUCK, NOTICED, DEATH_SEEN, "an event tells, or else the look each second")
    else:
        looks = policy.failure_threshold - 1
        more = f" + {looks} × ({SECOND_LOOK:g} s + {policy.timeout:g} s)" if looks else ""
        why = f"interval {policy.interval:g} s + timeout {policy.timeout:g} s{more}"
        noticed = Promise("noticed", STRUCK, NOTICED, policy.noticing, why)
    ends = 0.0 if dies else policy.graceful_timeout
    waits = policy.waits(strikes)
    within = ends + waits + strikes * TURN + policy.start_timeout
    parts = [f"grace period {ends:g} s"] if ends else []
    parts += [f"waits {waits:g} s"] if waits else []
    parts += [f"{strikes} × {TURN:g} s", f"start_timeout {policy.start_timeout:g} s"]
    recovered = Promise("healthy again", NOTICED, RECOVERED, within, " + ".join(parts))
    if fault is not Fault.KILL:
        return [noticed, recovered]
    whole = max(WHOLE, noticed.within + within)
    return [noticed, recovered, Promise("killed to healthy", STRUCK, RECOVERED, whole, "of any killed system")]


def longest(promises: Iterable[Promise]) -> float:
    """Return the seconds after which every moment has come if all is kept."""
    at = {STRUCK: 0.0}
    for each in promises:
        at.setdefault(each.until, at.get(each.since, 0.0) + each.within)
    return max(at.values())


def judge(promises: Iterable[Promise], moments: Mapping[str, float], slack: float = SLACK) -> list[Verdict]:
    """Say of each promise whether it was kept, by the moments that came; ``slack`` seconds late is in time."""
    verdicts = []
    for each in promises:
        begins = 0.0 if each.since == STRUCK else moments.get(each.since)
        ends = moments.get(each.until)
        took = None if begins is None or ends is None else max(0.0, ends - begins)
        verdicts.append(Verdict(each, took, took is not None and took <= each.within + slack))
    return verdicts


@dataclass(slots=True)
class Course:
    """How one system fares in a drill, read from the journal as it grows. ``old`` is the process that is struck."""

    key: str
    old: int
    moments: dict[str, float] = field(default_factory=dict)
    new: int | None = None
    """The process in which it is healthy again."""
    spoilt: str | None = None
    """Why it will not come to its end, in words."""

    @property
    def over(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.spoilt is not None or RECOVERED in self.moments

    def take(self, records: Sequence[Mapping[str, Any]], at: float) -> None:
        """Take note of records that came ``at`` so many seconds after the fault."""
        for each in records:
            if not self.over and self.key in {each["server"], *(each["details"].get("servers") or ())}:
                self._take(each["event"], each["details"], at)

    def _take(self, event: str, details: Mapping[str, Any], at: float) -> None:
        pid = details.get("pid")
        if event in {"server_exited", "server_unhealthy"} and pid == self.old:
            self.moments.setdefault(NOTICED, at)
        elif event in {"server_recovered", "server_started"} and pid != self.old:
            self.new = pid
            self.moments[RECOVERED] = at
        elif event == "server_failed":
            self.spoilt = f"it was given up: {details.get('reason')}"
        elif event == "command":
            self.spoilt = f"somebody gave it another command: {details.get('verb')}, by {details.get('by')}"
