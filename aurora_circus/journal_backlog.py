"""What the journal holds in memory: the newest records, for readers, and those that wait for the disk. Pure.

Part of the adapter ``journal``, whose lock guards every call. Both are bounded. When those that wait are too
many, the oldest are dropped, and where they would stand in the file a ``journal_gap`` takes their place.
"""

from collections import deque
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

from aurora_circus.records import GAP, Record, decode, encode


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a journal keeps in memory, writes and reads at once, and how long it waits."""

    ring: int = 1000
    """The newest records, which are answered from memory."""
    ring_bytes: int = 1 << 20
    backlog: int = 10_000
    """Records that may wait for the disk."""
    backlog_bytes: int = 4 << 20
    batch_bytes: int = 1 << 18
    """Of one write."""
    scan_bytes: int = 32 << 20
    """Of the files that one read looks through: a filter may match next to nothing."""
    retry: float = 1.0
    """Seconds between two attempts to write."""


class Entry(NamedTuple):
    """A record in memory."""

    seq: int
    first: int
    """The first number that it stands for; only a gap stands for more than its own."""
    server: str | None
    event: str
    line: bytes

    @property
    def record(self) -> Record:
        """A new copy of the record."""
        record = decode(self.line)
        assert record is not None, "our own line"  # noqa: S101 - for the type checker: it was encoded here
        return record


class Backlog:
    """Entries by number: waiting ones are taken in batches, and each batch is settled before the next."""

    def __init__(self, system: str, limits: Limits) -> None:
        self._system = system
        self._limits = limits
        self._ring: deque[Entry] = deque()
        self._ring_bytes = 0
        self._waiting: deque[Entry] = deque()
        self._waiting_bytes = 0
        self._batch: list[Entry] = []
        self._lost: tuple[int, Entry] | None = None
        """The first number, and the last entry, dropped between the batch and the others that wait."""
        self._reason: str | None = None

    def __len__(self) -> int:
        """How many wait for the disk."""
        return len(self._batch) + len(self._waiting)

    def add(self, entry: Entry) -> None:
        """Keep the next record for readers and for the disk."""
        self._ring.append(entry)
        self._ring_bytes += len(entry.line)
        while len(self._ring) > self._limits.ring or self._ring_bytes > self._limits.ring_bytes:
            self._forget()
        self._waiting.append(entry)
        self._waiting_bytes += len(entry.line)
        self._drop_excess()

    def take(self) -> list[Entry]:
        """Return what is to be written next, in order; empty if nothing is."""
        self._place_gap()
        size = 0
        while self._waiting and (not self._batch or size + len(self._waiting[0].line) <= self._limits.batch_bytes):
            entry = self._waiting.popleft()
            size += len(entry.line)
            self._batch.append(entry)
        self._waiting_bytes -= size
        return [*self._batch]

    def settle(self, count: int, reason: str | None) -> None:
        """Take note that ``count`` of the batch are written; the rest waits again, for that ``reason``."""
        unwritten, self._batch = self._batch[count:], []
        self._reason = reason or self._reason
        if unwritten:
            self._place_gap()
            self._waiting.extendleft(reversed(unwritten))
            self._waiting_bytes += sum(len(entry.line) for entry in unwritten)
            self._drop_excess()

    def entries(self) -> list[Entry]:
        """Return what needs no disk to be read, in order, up to the newest; all before has been written."""
        waiting = [*self._batch, *([self._gap(*self._lost)] if self._lost else []), *self._waiting]
        if not self._ring:
            return waiting
        begins = self._ring[0].seq
        return [*takewhile(lambda entry: entry.seq < begins, waiting), *self._ring]

    def _forget(self) -> None:
        self._ring_bytes -= len(self._ring.popleft().line)

    def _drop_excess(self) -> None:
        limits = self._limits
        while len(self._waiting) > limits.backlog or self._waiting_bytes > limits.backlog_bytes:
            entry = self._waiting.popleft()
            self._waiting_bytes -= len(entry.line)
            self._lost = (self._lost[0] if self._lost else entry.first, entry)
            while self._ring and self._ring[0].seq <= entry.seq:
                self._forget()  # or its number would be read as one thing now and as a gap later

    def _place_gap(self) -> None:
        if self._lost:
            gap = self._gap(*self._lost)
            self._lost = None
            self._waiting.appendleft(gap)
            self._waiting_bytes += len(gap.line)

    def _gap(self, first: int, last: Entry) -> Entry:
        record = last.record | {
            "event": GAP,
            "server": None,
            "details": {"first": first, "last": last.seq, "error": self._reason},
        }
        return Entry(last.seq, first, None, GAP, encode(record))
