"""Our journal: how fast it is written, and what a very long one costs who starts and who asks."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.client import HOST, HttpApi, request
from benchmarks.figures import quantile
from benchmarks.measures.starting import held
from benchmarks.peer import HERE, Peer, Plan
from benchmarks.peers.aurora import BIN, Aurora
from benchmarks.rows import Row
from benchmarks.session import SETTLE, Kind, Rows, planned, up

SIZE = 1_000_000_000
RATE_SIZE = 20_000_000
"""Bytes that are written to measure how fast."""
CALLS = 500
FILE = Path(".aurora") / "logs" / "events.jsonl"
ASKED = {
    "status": "/api/autonomous/status",
    "newest 100 events": "/api/autonomous/events?limit=100",
    "oldest 100 events": "/api/autonomous/events?since=0&limit=100",
    "100 events from the middle": "/api/autonomous/events?since={middle}&limit=100",
    "a kind of event that there is none of": "/api/autonomous/events?since=0&limit=100&event=server_failed",
}


def fill(peer: Peer, file: Path, size: int) -> dict[str, float]:
    """Have a journal written by the product's own code."""
    done = peer.run([str(BIN / "python"), str(HERE / "callers" / "journal_fill.py"), str(file), str(size)], 900)
    if done.returncode:
        raise RuntimeError(f"writing a journal of {size} bytes: exit {done.returncode}: {done.stderr.decode()[-300:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def ask(peer: Peer, which: str, records: float, number: int) -> Rows:
    """Ask the API everything about its journal."""
    for name, path in ASKED.items():
        api = HttpApi((HOST, peer.ports[0]), request(path.format(middle=int(records / 2))))
        taken = api.series(CALLS)
        for what, value in (("p50", median(taken)), ("p99", quantile(taken, 0.99))):
            variant = f"{name}, {which}: {what}"
            yield Row(measure="journal", peer=peer.name, value=value, variant=variant, services=5, trial=number)


@contextmanager
def with_journal(peer_kind: Kind, size: int) -> Iterator[tuple[Peer, float]]:
    """Plan a peer that finds a journal of this size, and say how many records that has."""
    plan = Plan(settings={"journal": {"max_bytes": 2 * SIZE}})
    with planned(peer_kind, plan) as peer:
        written = {"records": 0.0}
        if size:
            file = peer.folder / FILE
            file.parent.mkdir(parents=True, exist_ok=True)
            written = fill(peer, file, size)
        yield peer, written["records"]


def journal(kind: Kind, number: int) -> Rows:
    """Write for a while; then start, ask and weigh it with a new journal and with one of a gigabyte."""
    with planned(Aurora, Plan()) as peer, TemporaryDirectory(prefix="bench-journal-") as place:
        written = fill(peer, Path(place) / "events.jsonl", RATE_SIZE)
        rate = written["records"] / written["seconds"]
        yield Row(measure="journal", peer=kind.name, value=rate, variant="records written a second", trial=number)
    for which, size in (("a new journal", 0), ("1 GB", SIZE)):
        with with_journal(kind, size) as (peer, records):
            taken = up(peer, Plan())
            yield Row(
                measure="journal", peer=kind.name, value=taken, variant=f"start, {which}", services=5, trial=number
            )
            peer.run(["sleep", f"{SETTLE:g}"])
            yield from ask(peer, which, records, number)
            variant = f"memory, {which}, MiB"
            yield Row(measure="journal", peer=kind.name, value=held(peer), variant=variant, services=5, trial=number)
