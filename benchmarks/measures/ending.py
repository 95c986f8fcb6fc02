"""Ends: of everything, of what a service leaves behind, and of the supervisor itself."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from benchmarks import proc
from benchmarks.client import health
from benchmarks.measures.recovery import killed as kill_one
from benchmarks.peer import Peer, Plan, Service
from benchmarks.rows import Row
from benchmarks.session import Kind, Rows, session

LIMIT = 60.0
CLEARED = 1.5
"""Seconds that a supervisor has, once a service is back, to clear away what its last process has left."""
ALONE = 2.0
"""Seconds between the supervisor's end and anything else."""
UNWATCHED = 8.0
"""Seconds that a service killed meanwhile has to come back without a supervisor."""
OBSERVED = 15.0
"""Seconds that a supervisor started again is looked at."""
CALM = 5.0
"""Seconds at the end of that in which nothing may be started any more: who starts in vain supervises nobody."""
EACH = 0.02
"""Seconds between two looks at each service, to see whether it was away."""


def stop(kind: Kind, number: int) -> Rows:
    """Stop everything by its command and, where that is orderly too, by SIGTERM; flat and in three levels."""
    for levels in (False, True) if kind.gates else (False,):
        for by_signal in (False, True) if kind.sigterm else (False,):
            with session(kind, Plan(levels=levels)) as peer:
                variant = f"{'in three levels' if levels else 'flat'}, by {'SIGTERM' if by_signal else 'its command'}"
                value = peer.stop(LIMIT, by_signal=by_signal)
                yield Row(measure="stop", peer=kind.name, value=value, variant=variant, services=5, trial=number)


def left(kind: Kind, number: int) -> Rows:
    """Count the grandchildren that live on: of one killed service, and of five stopped ones."""
    with session(kind, Plan(grandchildren=True)) as peer:
        victim = peer.services[0]
        said = health(victim.port) or {}
        kill_one(victim, int(said["pid"]))
        time.sleep(CLEARED)
        value = int(proc.alive(int(said["grandchild"])))
        yield Row(measure="left", peer=kind.name, value=value, variant="after a crash", services=1, trial=number)
        there = [int(each["grandchild"]) for each in (health(one.port) for one in peer.services) if each]
        peer.stop(LIMIT)
        remaining = len(proc.all_gone(there, 0.3))
        yield Row(measure="left", peer=kind.name, value=remaining, variant="after a stop", services=5, trial=number)


@dataclass(slots=True)
class Watch:
    """Looks at services all the time, in a thread: who answers, and how long nobody does."""

    services: list[Service]
    pids: dict[str, int]
    begun: float = field(default_factory=time.monotonic)
    away: dict[str, float] = field(default_factory=dict)
    settled: float = 0.0
    """Seconds until the last change."""
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self.away = dict.fromkeys(self.pids, 0.0)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def finish(self) -> None:
        """End."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        looked = dict.fromkeys(self.pids, time.monotonic())
        while not self._over.wait(EACH):
            for each in self.services:
                pid, now = each.pid(), time.monotonic()
                if pid is None:
                    self.away[each.name] += now - looked[each.name]
                if pid != self.pids[each.name]:
                    self.settled = now - self.begun
                    self.pids[each.name] = pid or 0
                looked[each.name] = now


def supervisor_killed(kind: Kind, number: int) -> Rows:
    """Kill the supervisor, see who lives and who looks after them; start it again, and see what that makes of it."""
    with session(kind, Plan()) as peer:
        before = {each.name: each.pid() or 0 for each in peer.services}
        found: dict[str, float | None] = {}
        if kind.revives:
            found = restarted(peer, before, partial(kill_main, peer))
        else:
            kill_main(peer)
            time.sleep(ALONE)
            found["services that live on"] = sum(map(proc.alive, before.values()))
            victim = peer.services[-1]
            found["one killed meanwhile is back"], _ = kill_one(victim, before[victim.name], UNWATCHED)
            peer.prepare()
            found |= restarted(peer, before, peer.launch)
        for variant, value in found.items():
            yield Row(measure="killed", peer=kind.name, value=value, variant=variant, services=5, trial=number)


def kill_main(peer: Peer) -> float:
    """Kill the supervisor; return the moment."""
    proc.send(peer.main_pid())
    return time.monotonic()


def restarted(peer: Peer, before: dict[str, int], begin: Callable[[], float]) -> dict[str, float | None]:
    """Have a supervisor start over what its killed predecessor has left, and see what it makes of that."""
    living = peer.services[:-1]
    counted = sum(len(each.started()) for each in peer.services)
    had = {each.name: each.pid() or 0 for each in peer.services}
    watch = Watch(living, {each.name: before[each.name] for each in living})
    begun = watch.begun = begin()
    watch.start()
    back = peer.await_healthy(begun, OBSERVED)
    time.sleep(max(0.0, begun + OBSERVED - time.monotonic()))
    watch.finish()
    now = {each.name: each.pid() or 0 for each in peer.services}
    replaced = sum(now[name] not in {0, had[name]} for name in now)
    starts = sum(len(each.started()) for each in peer.services) - counted
    latest = max((moment for each in peer.services for moment in each.started()), default=0.0)
    calm = latest < time.time() - CALM
    first = living[0]
    proof = kill_one(first, now[first.name], OBSERVED)[0] if now[first.name] else None
    return {
        "processes kept, of 4": sum(now[each.name] == before[each.name] for each in living),
        "futile starts in 15 s": max(0, starts - replaced),
        "away, each": sum(watch.away.values()) / len(living),
        "away, the worst": max(watch.away.values()),
        "all healthy": back,
        "supervised again": None if proof is None or back is None or not calm else max(watch.settled, back),
        "then killed, is back": proof,
    }
