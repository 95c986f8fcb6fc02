"""How long until all is up, and how much memory that takes."""

import time

from benchmarks import proc
from benchmarks.peer import Peer, Plan
from benchmarks.rows import Row
from benchmarks.session import SETTLE, Kind, Rows, planned, session, up

CALLS = 200
"""Status calls before memory is weighed as that of a supervisor in use."""
USE = 10.0


def held(peer: Peer) -> float:
    """Return the memory of all of a supervisor's processes, in MiB."""
    return sum(map(proc.pss, peer.own())) / 2**20


def cold(kind: Kind, number: int) -> Rows:
    """Launch it until all five answer, flat and, where a start waits for health, in three levels."""
    for variant, levels in (("flat", False), ("in three levels", True)):
        if levels and not kind.gates:
            continue
        plan = Plan(levels=levels)
        with planned(kind, plan) as peer:
            taken = up(peer, plan)
            yield Row(measure="cold", peer=kind.name, value=taken, variant=variant, services=5, trial=number)
            if not levels:
                time.sleep(SETTLE)
                own = peer.own()
                more = {"processes": len(own)}
                yield Row(measure="cold memory", peer=kind.name, value=held(peer), services=5, trial=number, more=more)


def memory(kind: Kind, number: int) -> Rows:
    """Weigh it after it was used for a while, with five services and with fifty."""
    for count in (5, 50):
        with session(kind, Plan(services=count), settle=USE) as peer:
            for api in list(peer.apis().values())[:1]:
                api.series(CALLS)
            yield Row(measure="memory", peer=kind.name, value=held(peer), services=count, trial=number)
