"""How long until a service that was harmed answers again, in another process.

Each service is harmed once in a session, so that no supervisor counts one failure as a second one. The harm comes at a
random moment. The end of the old process is told by the kernel; from then on its port is asked a thousand times a
second.
"""

import random
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial

from benchmarks import proc
from benchmarks.peer import TURN, Peer, Plan, Service
from benchmarks.rows import Row
from benchmarks.session import Kind, Rows, session

LIMIT = 40.0
"""Seconds after which it will not happen any more."""
WATCHED = 12.0
"""The same, of a supervisor that asks for no health."""
SESSION = 60.0
"""Seconds after which no further service of a session is harmed: figures of the slow are fewer."""
STARTED = 12.0
"""Seconds after a start until no start period is on any more: monit asks a service for its health only after 10 s."""
PAUSE = 0.5
LOOPING = 3


def again(service: Service, old: int, limit: float, harm: Callable[[], object]) -> float | None:
    """Do the harm; return how long until another process than ``old`` answers."""
    death = proc.Death(old)
    try:
        begun = time.monotonic()
        harm()
        if not death.wait(limit):
            return None
    finally:
        death.close()
    while time.monotonic() - begun < limit:
        found = service.pid()
        if found not in {None, old}:
            return time.monotonic() - begun
        time.sleep(TURN)
    return None


def harms(peer: Peer, victims: list[Service]) -> Iterator[tuple[int, Service, int]]:
    """Yield victims with their processes, each at a random moment, for as long as a session may take."""
    begun = time.monotonic()
    for trial, victim in enumerate(victims):
        if time.monotonic() - begun > SESSION:
            return
        pid = victim.pid()
        if pid is None:
            raise RuntimeError(f"{peer.name}: {victim.name} is not healthy before its turn")
        time.sleep(PAUSE + random.uniform(0, peer.period))
        yield trial, victim, pid


def killed(victim: Service, pid: int, limit: float = LIMIT) -> tuple[float | None, float | None]:
    """Kill one; return the seconds until it is back, and those of them until its new process began."""
    wall = time.time()
    taken = again(victim, pid, limit, lambda: proc.send(pid, signal.SIGKILL))
    begun = [at - wall for at in victim.started() if at > wall]
    return taken, begun[0] if begun else None


def crash(kind: Kind, number: int) -> Rows:
    """Kill each of five."""
    with session(kind, Plan()) as peer:
        for trial, victim, pid in harms(peer, peer.services):
            taken, began = killed(victim, pid)
            yield Row(
                measure="crash",
                peer=kind.name,
                value=taken,
                services=5,
                trial=5 * number + trial,
                more={"began": began, "healthy_again_after_start": taken and began and taken - began},
            )


def crash_while_hung(kind: Kind, number: int) -> Rows:
    """Kill one while another hangs: five pairs of ten services."""
    with session(kind, Plan(services=10)) as peer:
        hung = peer.services[5:]
        for trial, victim, pid in harms(peer, peer.services[:5]):
            hung[trial].harm("hang")
            time.sleep(random.uniform(0.1, 1.0))
            taken, _ = killed(victim, pid)
            yield Row(measure="crash-hang", peer=kind.name, value=taken, services=10, trial=5 * number + trial)


def crash_while_looping(kind: Kind, number: int) -> Rows:
    """Kill each of five while three others exit as soon as they are started."""
    with session(kind, Plan(services=5 + LOOPING, looping=LOOPING), settle=1.0) as peer:
        for trial, victim, pid in harms(peer, peer.services[LOOPING:]):
            taken, _ = killed(victim, pid)
            yield Row(measure="crash-loop", peer=kind.name, value=taken, services=8, trial=5 * number + trial)


def unhealthy(mode: str) -> Callable[[Kind, int], Rows]:
    """Return the measure of one way to be alive and not healthy: ``hang``, ``fail`` or ``freeze``."""

    def measure(kind: Kind, number: int) -> Rows:
        if number and not kind.probes:
            return  # once is enough to see that it does not notice
        with session(kind, Plan(), settle=STARTED) as peer:
            victims = peer.services if kind.probes else peer.services[:1]
            for trial, victim, pid in harms(peer, victims):
                harm = partial(proc.send, pid, signal.SIGSTOP) if mode == "freeze" else partial(victim.harm, mode)
                taken = again(victim, pid, LIMIT if kind.probes else WATCHED, harm)
                yield Row(measure=mode, peer=kind.name, value=taken, services=5, trial=5 * number + trial)

    return measure
