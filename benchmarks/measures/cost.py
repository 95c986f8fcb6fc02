"""What a supervisor takes of the processor: with nothing to do, and with a program that does not stay."""

import time
from collections.abc import Mapping

from benchmarks import proc
from benchmarks.peer import Peer, Plan
from benchmarks.rows import Row
from benchmarks.session import Kind, Rows, planned, session, up

WINDOW = 30.0
SETTLE = 5.0


def clocks(peer: Peer) -> dict[int, float]:
    """Return the processor's time of each of a supervisor's processes."""
    return {pid: proc.cpu_seconds(pid) for pid in peer.own()}


def spent(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    """Return the seconds between two readings; a process that is new has had all its time in between."""
    return sum(value - before.get(pid, 0.0) for pid, value in after.items())


def shares(peer: Peer, seconds: float) -> dict[int, float]:
    """Return what of one core each of its processes takes in the next seconds, in percent."""
    before, begun = clocks(peer), time.monotonic()
    time.sleep(seconds)
    after, taken = clocks(peer), time.monotonic() - begun
    return {pid: 100 * (value - before.get(pid, 0.0)) / taken for pid, value in after.items()}


def idle(kind: Kind, number: int) -> Rows:
    """Watch it doing nothing but its probes, where it has any: each second, and each five."""
    for interval in (1, 5):
        if interval < kind.fastest or (interval != 1 and not kind.probes):
            continue
        with session(kind, Plan(interval=interval), settle=SETTLE) as peer:
            variant = f"probes each {interval} s"
            found = shares(peer, WINDOW)
            more = {"each": {f"{pid} {proc.words(pid)}": round(value, 3) for pid, value in found.items()}}
            value = sum(found.values())
            yield Row(measure="idle", peer=kind.name, value=value, variant=variant, services=5, trial=number, more=more)


def loop(kind: Kind, number: int) -> Rows:
    """Count the starts of one of five that exits with 1 at once, and what they cost, in the 30 s from the launch on."""
    plan = Plan(looping=1)
    with planned(kind, plan) as peer:
        wall, begun = time.time(), time.monotonic()
        up(peer, plan)
        before, at = clocks(peer), time.monotonic()
        time.sleep(max(0.0, begun + WINDOW - at))
        cost = 100 * spent(before, clocks(peer)) / (time.monotonic() - at)
        starts = [moment - wall for moment in peer.services[0].started() if moment - wall <= WINDOW]
        more = {"moments": [round(each, 2) for each in starts][:60]}
        yield Row(measure="loop", peer=kind.name, value=len(starts), variant="starts", trial=number, more=more)
        yield Row(measure="loop", peer=kind.name, value=cost, variant="cpu", trial=number)
