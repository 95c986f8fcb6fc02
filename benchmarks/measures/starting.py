"""How long until all is up, and how much memory that takes."""

import time

from benchmarks import proc
from benchmarks.peer import Peer, Plan
from benchmarks.rows import Row
from benchmarks.session import SETTLE, Kind, Rows, planned, session, up

CALLS = 200
"""Status calls before memory is weighed as that of a supervisor in use."""
USE = 10.0


def weights(peer: Peer) -> dict[str, float]:
    """Return the memory of each of a supervisor's processes, in MiB."""
    return {f"{pid} {proc.words(pid)}": proc.pss(pid) / 2**20 for pid in peer.own()}


def held(peer: Peer) -> float:
    """Return the memory of all of a supervisor's processes, in MiB."""
    return sum(weights(peer).values())


def weighed(measure: str, peer: Peer, number: int) -> Row:
    """Return the row of a supervisor's memory, and of what it is made up."""
    each = weights(peer)
    more = {"each": {words: round(value, 2) for words, value in sorted(each.items())[:10]}, "processes": len(each)}
    value = sum(each.values())
    return Row(measure=measure, peer=peer.name, value=value, services=len(peer.services), trial=number, more=more)


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
                yield weighed("cold memory", peer, number)


def memory(kind: Kind, number: int) -> Rows:
    """Weigh it after it was used for a while, with five services and with fifty."""
    for count in (5, 50):
        with session(kind, Plan(services=count), settle=USE) as peer:
            for api in list(peer.apis().values())[:1]:
                api.series(CALLS)
            yield weighed("memory", peer, number)
