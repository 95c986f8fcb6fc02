"""A session: one supervisor, alone on the machine, its services up and settled; and a question asked in turns."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peer import Peer, Plan
from benchmarks.rows import Row

START_LIMIT = 180.0
"""Seconds for all to come up."""
SETTLE = 3.0
"""Seconds from then on before anything is measured: what a start leaves to be done is done by then."""

Kind = type[Peer]
Rows = Iterator[Row]


class NotUpError(Exception):
    """A supervisor did not bring its services up; the message says how long it was waited for."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A question that each peer is asked, in turns."""

    name: str
    of_peer: Callable[[Kind, int], Rows]
    """Asks one peer once; the number is the round's."""
    peers: tuple[str, ...]
    of_machine: Callable[[int], Rows] | None = None
    """The same without a supervisor: the machine's own limit. It takes its turn like a peer."""
    share: float = 0.2
    """Rounds for each of ``--trials``: a round may give several figures."""

    def rounds(self, trials: int) -> int:
        """Return how many rounds so many trials make."""
        return max(1, round(trials * self.share))


@contextmanager
def planned(kind: Kind, plan: Plan) -> Iterator[Peer]:
    """Write everything for a peer; whatever comes of it, nothing of it is left."""
    peer = kind(Path(tempfile.mkdtemp(prefix="bench-")))
    try:
        peer.plan(plan)
        yield peer
    finally:
        peer.end()


@contextmanager
def session(kind: Kind, plan: Plan, settle: float = SETTLE) -> Iterator[Peer]:
    """Bring a peer up, and let it settle."""
    with planned(kind, plan) as peer:
        up(peer, plan)
        time.sleep(settle)
        yield peer


def up(peer: Peer, plan: Plan) -> float:
    """Launch a peer, and return the seconds until each of its services that should answer does."""
    taken = peer.await_healthy(peer.launch(), START_LIMIT, peer.services[plan.looping :])
    if taken is None:
        raise NotUpError(f"{peer.name}: not all of {plan.services} services up after {START_LIMIT:g} s")
    return taken
