"""The same questions of fleets of 5, 50, 200 and 500 services."""

import time
from collections.abc import Callable, Iterator

from benchmarks.measures import machine, recovery
from benchmarks.measures.cost import shares
from benchmarks.measures.starting import held
from benchmarks.peer import Peer, Plan
from benchmarks.rows import MACHINE, Row
from benchmarks.session import Kind, Rows, planned, up

SETTLE = 5.0
WINDOW = 15.0
CRASHES = 20
COMMANDS = 3
STOP_LIMIT = 240.0
QUANTITIES = ("cold", "memory", "idle", "crash", "command", "stop")


def grown(size: int) -> Callable[[Kind, int], Rows]:
    """Return the measure of one size."""

    def measure(kind: Kind, number: int) -> Rows:
        plan = Plan(services=size)
        with planned(kind, plan) as peer:
            for quantity, value in quantities(peer, plan):
                yield Row(measure="growth", peer=kind.name, value=value, variant=quantity, services=size, trial=number)

    return measure


def quantities(peer: Peer, plan: Plan) -> Iterator[tuple[str, float | None]]:
    """Yield all that is asked of a fleet of one size, in one session."""
    yield "cold", up(peer, plan)
    time.sleep(SETTLE)
    yield "memory", held(peer)
    yield "idle", sum(shares(peer, WINDOW).values())
    step = max(1, plan.services // CRASHES)
    for _, victim, pid in recovery.harms(peer, peer.services[::step][:CRASHES]):
        yield "crash", recovery.killed(victim, pid)[0]
    for _ in range(COMMANDS):
        begun = time.perf_counter()
        peer.run(peer.status_command())
        yield "command", time.perf_counter() - begun
    yield "stop", peer.stop(STOP_LIMIT)


def grown_by_hand(size: int) -> Callable[[int], Rows]:
    """Return the measure of the machine's own limit: so many services started at once."""

    def measure(number: int) -> Rows:
        with machine.services(size) as (_, _, taken):
            yield Row(measure="growth", peer=MACHINE, value=taken, variant="cold", services=size, trial=number)

    return measure
