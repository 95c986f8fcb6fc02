"""What must hold of a fleet whatever befell it, judged from what anybody can see from outside. Pure.

:mod:`~aurora_circus.witness` looks at processes, ports, API and journal; here it is compared. While something is
under way there are findings that pass by themselves: who asks looks again until there are none, or is out of patience.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aurora_circus import story
from aurora_circus.facts import State


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not hold: ``rule`` is one of the methods' names below, ``key`` a system or None."""

    rule: str
    key: str | None
    what: str

    def __str__(self) -> str:
        """Say it in a line."""
        return f"{self.rule}: {self.key or 'the controller'}: {self.what}"


@dataclass(frozen=True, slots=True)
class Resources:
    """What one of our own processes holds."""

    descriptors: int
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """All that was seen at one moment."""

    status: Mapping[str, Mapping[str, Any]] | None
    """The API's answer; None where there was none."""
    health: str | None
    """What the controller's own ``/health`` complains of; None when it is well."""
    told: story.Story
    """What the journal says, all of it."""
    leaders: Mapping[str, Sequence[int]]
    """For each system the processes that lead a group and bear its name, as far as they run."""
    alive: frozenset[int]
    """Those of the pids in ``status`` that run."""
    zombies: Sequence[int] = ()
    """Dead children of circusd or the plugin that nobody has waited for."""
    listeners: Mapping[str, bool | None] = field(default_factory=dict)
    """For each system's port: whether its own process listens; None where nobody does or that cannot be seen."""
    own: Mapping[str, Resources] = field(default_factory=dict)
    """circusd and the plugin."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """By how much circusd and the plugin may hold more than they did when the fleet had come up.

    Kept-alive connections of the API, probes under way and the threads of a pool come and go.
    """

    descriptors: int = 40
    threads: int = 12


def judge(
    seen: Sight, before: Mapping[str, Resources] | None = None, allowed: Allowance | None = None
) -> list[Finding]:
    """Return what does not hold; ``before`` is what our own processes held when all was well."""
    if seen.status is None:
        return [Finding("api", None, "no answer from the API")]
    return [
        *_controller(seen),
        *(found for key, each in seen.status.items() for found in _system(key, each, seen)),
        *_journal(seen, seen.status),
        *_resources(seen, before or {}, allowed or Allowance()),
    ]


def _controller(seen: Sight) -> Iterator[Finding]:
    if seen.health is not None:
        yield Finding("health", None, seen.health)
    if seen.zombies:
        yield Finding("zombie", None, f"dead children that nobody waited for: {sorted(seen.zombies)}")


def _system(key: str, each: Mapping[str, Any], seen: Sight) -> Iterator[Finding]:
    state, pid = each["state"], each["pid"]
    leaders = seen.leaders.get(key, ())
    if len(leaders) > 1:
        yield Finding("twice", key, f"runs as processes {sorted(leaders)}")
    if state == State.HEALTHY:
        if pid not in seen.alive:
            yield Finding("state", key, f"is said to be healthy as process {pid}, which does not run")
        if seen.listeners.get(key) is False:
            yield Finding("port", key, f"is said to be healthy, but port {each['port']} is another's")
    elif state in {State.STOPPED, State.FAILED}:
        if leaders:
            yield Finding("leftover", key, f"is {state}, but process {sorted(leaders)} runs")
        if state == State.FAILED:
            yield from _failed(key, each)
    elif not _rests(each):
        yield Finding("state", key, f"is {state}: {each['error']}")


def _failed(key: str, each: Mapping[str, Any]) -> Iterator[Finding]:
    if not each["error"] or each["error"] == State.FAILED:
        yield Finding("reason", key, "has failed, and nothing says why")
    if each["next_attempt_at"] is None and each["autonomous"] and each.get("retries", True):
        yield Finding("next", key, "has failed, and nothing says when it is tried again")


def _rests(each: Mapping[str, Any]) -> bool:
    """Say whether it stays as it is until something else changes: a strict gate, or nobody may restart it."""
    return (each["state"] == State.WAITING and bool(each["depends_on"])) or (
        each["state"] == State.UNHEALTHY and not each["autonomous"]
    )


def _journal(seen: Sight, status: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    yield from (Finding("seq", None, each) for each in seen.told.holes)
    yield from (Finding("order", None, each) for each in seen.told.faults)
    for key, each in status.items():
        chapter = seen.told.chapters.get(key)
        state = State(each["state"])
        if chapter is None or state in story.UNTOLD or chapter.state in story.UNTOLD:
            continue
        if chapter.state is not state:
            yield Finding("replay", key, f"is {state}, but the journal leaves it {chapter.state}")
        elif state is State.HEALTHY and chapter.pid not in {None, each["pid"]}:
            yield Finding("replay", key, f"runs as process {each['pid']}, but the journal says {chapter.pid}")


def _resources(seen: Sight, before: Mapping[str, Resources], allowed: Allowance) -> Iterator[Finding]:
    for name, now in seen.own.items():
        then = before.get(name)
        if then is None:
            continue
        if now.descriptors > then.descriptors + allowed.descriptors:
            yield Finding(
                "descriptors", None, f"{name} holds {now.descriptors}, {then.descriptors} when it had come up"
            )
        if now.threads > then.threads + allowed.threads:
            yield Finding("threads", None, f"{name} has {now.threads}, {then.threads} when it had come up")
