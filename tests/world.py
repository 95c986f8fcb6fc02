"""A world for the pure machines: it does what they ask, as badly as a test wants, and checks what must always hold."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from aurora_circus import facts
from aurora_circus.facts import Action, Exit, Fact, Look, Outcome, Process, Record, Spawn, State, Terminate
from aurora_circus.fleet import Settled
from aurora_circus.settings import Probe, Restart, System


def system(key: str = "web", **changes: Any) -> System:
    """Return a system with round numbers and no jitter; ``changes`` are its fields, or those of its policies."""
    probe = {name: changes.pop(name) for name in ("interval", "timeout", "failure_threshold") if name in changes}
    policy = {each.name for each in fields(Restart)}
    restart = {name: changes.pop(name) for name in list(changes) if name in policy}
    restart.setdefault("jitter", 0.0)
    values: dict[str, Any] = {"key": key, "title": key, "port": 5000, **changes}
    return System(probe=Probe(**probe), restart=Restart(**restart), **values)


def events(answer: Iterable[object], *, key: str | None = None) -> list[str]:
    """Return the names of the journal events in ``answer``."""
    return [each.event for each in answer if isinstance(each, Record) and key in {None, each.key}]


def details(answer: Iterable[object], event: str) -> dict[str, object]:
    """Return the details of the only ``event`` in ``answer``."""
    (found,) = [each for each in answer if isinstance(each, Record) and each.event == event]
    return dict(found.details)


def actions(answer: Iterable[object]) -> list[Action]:
    """Return what is to be done, without what is to be written."""
    return [each for each in answer if isinstance(each, Action)]


OK = Outcome(ok=True, latency=0.002, verified=True)
REFUSED = Outcome(ok=False, reason="connection refused")
SILENT = Outcome(ok=False, reason="no answer within 2 s")


class World:
    """Keeps what the machines believe to be outside: spawns under way, processes, dead leaders, probes asked for."""

    def __init__(self) -> None:
        """Begin with nothing running."""
        self.spawning: set[str] = set()
        self.running: dict[str, Process] = {}
        self.dead: dict[str, Process] = {}
        """Systems whose leader died and whose group is not known to be gone yet."""
        self.looks: dict[str, Process] = {}
        self.spawns: dict[str, list[float]] = {}
        self.next_pid = 100
        self.log: list[tuple[Fact, list[Action | Record | Settled]]] = []

    def take(self, at: float, answer: Iterable[object]) -> None:
        """Carry out what was asked, and check that it made sense."""
        for each in answer:
            match each:
                case Spawn(key):
                    assert key not in self.spawning, "two starts without an answer between them"
                    assert key not in self.running, "a start beside a living process"
                    assert key not in self.dead, "a start beside what is left of the last process"
                    self.spawning.add(key)
                    self.spawns.setdefault(key, []).append(at)
                case Look(key, process):
                    assert self.running.get(key) == process or key in self.dead
                    self.looks[key] = process
                case Terminate(key, process) | facts.Kill(key, process):
                    assert process.pid >= 100

    def spawned(self, key: str, at: float) -> facts.Spawned:
        """Answer a spawn: there is a new process."""
        self.spawning.discard(key)
        self.next_pid += 1
        self.running[key] = Process(self.next_pid, at)
        return facts.Spawned(at, key, self.running[key])

    def died(self, key: str, at: float, how: Exit | None = None) -> facts.Exited:
        """End the leader of a system."""
        process = self.running.pop(key)
        self.looks.pop(key, None)
        self.dead[key] = process
        return facts.Exited(at, key, process, how or Exit(code=1, last_line="boom"))

    def gone(self, key: str, at: float) -> facts.Gone:
        """Let the rest of the group be gone."""
        return facts.Gone(at, key, self.dead.pop(key))


UP = {State.STARTING, State.HEALTHY}
