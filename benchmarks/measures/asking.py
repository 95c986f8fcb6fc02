"""How long a look at the state of everything takes: by the API, and by the command."""

import time
from statistics import median

from benchmarks.client import HOST, Api, HttpApi, request
from benchmarks.figures import quantile
from benchmarks.measures.machine import services
from benchmarks.peer import Plan
from benchmarks.rows import MACHINE, Row
from benchmarks.session import Kind, Rows, session

CALLS = 2000
CLIENTS = 20
SECONDS = 20.0
"""A series ends after so many, however many calls it has made."""
COMMANDS = 5


def told(peer: str, name: str, taken: list[float], number: int) -> Rows:
    """Yield what a series comes down to: its median, and what 99 of 100 calls stay under."""
    if not taken:
        yield Row(measure="status", peer=peer, value=None, variant=f"{name}: p50", services=5, trial=number)
        return
    more = {"calls": len(taken), "most": round(max(taken), 6)}
    for what, value in (("p50", median(taken)), ("p99", quantile(taken, 0.99))):
        yield Row(
            measure="status", peer=peer, value=value, variant=f"{name}: {what}", services=5, trial=number, more=more
        )


def ways(peer: str, api: Api, number: int) -> Rows:
    """Ask over one kept connection, over new ones, and with twenty clients at once."""
    yield from told(peer, "kept connection", api.series(CALLS, seconds=SECONDS), number)
    yield from told(peer, "new connections", api.series(CALLS, fresh=True, seconds=SECONDS), number)
    yield from told(peer, f"{CLIENTS} clients", api.series(CALLS, clients=CLIENTS, seconds=SECONDS), number)


def status(kind: Kind, number: int) -> Rows:
    """Ask each API; at last while all services hang, which they do also when they are started anew."""
    with session(kind, Plan()) as peer:
        apis = peer.apis()
        names = {name: kind.name if len(apis) == 1 else f"{kind.name} ({name})" for name in apis}
        for name, api in apis.items():
            yield from ways(names[name], api, number)
        peer.hang_while.touch()
        time.sleep(1)
        for name, api in apis.items():
            yield from told(names[name], "all hung", api.series(CALLS, seconds=SECONDS), number)


def status_of_machine(number: int) -> Rows:
    """Ask the measured service itself, the least that a Python can do."""
    with services(1) as (ports, _, _):
        yield from ways(MACHINE, HttpApi((HOST, ports[0]), request("/health")), number)


def command(kind: Kind, number: int) -> Rows:
    """Run its command."""
    with session(kind, Plan()) as peer:
        for trial in range(COMMANDS):
            begun = time.perf_counter()
            done = peer.run(peer.status_command())
            taken = time.perf_counter() - begun
            if done.returncode:
                raise RuntimeError(f"{kind.name}: status: exit {done.returncode}: {done.stderr.decode()[-200:]}")
            yield Row(measure="command", peer=kind.name, value=taken, services=5, trial=COMMANDS * number + trial)
