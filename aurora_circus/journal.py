"""The audit trail ``events.jsonl``: each record has the next number, across restarts and rotations.

An adapter. :meth:`Journal.record` is called by the event loop and never waits for the disk: it numbers the
record, keeps it in memory and leaves the writing to a thread. When the disk is full or broken nothing stops:
records wait up to a bound, then the oldest are dropped, and that is said: a ``journal_gap`` with ``{"first":
a, "last": b}`` as its ``details`` stands in the file where those records would stand, and bears the number of
the last of them, ``b``. So numbers rise in the file whatever happened, and each one that is missing lies in a
gap. A line torn by a crash is the same case: it is cut off, and what stood of it is in the gap's ``torn``.

Readers are answered from memory as soon as a record has its number. If the plugin is killed before its writer
came to it (a millisecond, or as long as the disk is full), that number goes to another record.
"""

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aurora_circus import settings
from aurora_circus.background import Background
from aurora_circus.clock import Clock, rfc3339
from aurora_circus.errors import MachineError
from aurora_circus.journal_appender import Appender, Disk
from aurora_circus.journal_archive import Archive
from aurora_circus.journal_backlog import Backlog, Entry, Limits
from aurora_circus.records import GAP, Record, decode, encode, last_number, plain, text

_log = logging.getLogger(__name__)

_LIMITS = Limits()
_STUCK = 5.0
"""Seconds after which a write that has not come back counts as failing."""


@dataclass(frozen=True, slots=True)
class Page:
    """What :meth:`Journal.read` found."""

    events: list[Record]
    """Oldest first."""
    oldest: int
    """The number of the oldest record there is; where there is none, the one that the first will get."""
    next: int
    """What to give as ``since`` to go on: all up to it was looked at, whether it matched or not."""
    more: bool
    """Whether there were records beyond ``next``."""
    truncated: bool
    """Whether records after ``since`` are no longer there."""


@dataclass(frozen=True, slots=True)
class _Filter:
    server: str | None
    event: str | None

    def fits(self, server: str | None, event: str) -> bool:
        return self.server in (None, server) and self.event in (None, event)

    def records(self, block: bytes) -> Iterator[Record]:
        """Yield the records of a block of lines that fit; where there can be none, no JSON is read."""
        words = [word.encode(errors="replace") for word in (self.server, self.event) if word is not None]
        if not all(word in block for word in words):
            return
        for line in block.split(b"\n"):
            record = decode(line) if all(word in line for word in words) else None
            if record is not None and self.fits(record.get("server"), record["event"]):
                yield record


class Journal:
    """One fleet's journal. Whatever the disk does, recording never fails; see :attr:`last_error`."""

    def __init__(  # noqa: PLR0913 - the last three are for tests
        self,
        path: str | Path,
        system: str,
        rotation: settings.Journal,
        *,
        limits: Limits = _LIMITS,
        disk: Disk | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Find out where numbering stands in the file at ``path``; writing begins with :meth:`start`."""
        self._path = Path(path)
        self._system = text(system)
        self._limits = limits
        self._clock = clock or Clock()
        self._appender = Appender(self._path, rotation.max_bytes, rotation.backups, disk or Disk())
        self._archive = Archive(self._path, rotation.backups)
        self._background = Background("journal", self.write_pending, limits.retry)
        self._news = threading.Condition()
        """Guards all that follows."""
        self._backlog = Backlog(self._system, limits)
        recovered = self._archive.recover()
        self._seq = self._written = recovered.seq
        self._oldest = self._archive.oldest()
        self._opened = 0
        self._error: str | None = None
        self._writing_since: float | None = None
        self._closed = False
        if recovered.torn:
            number = recovered.seq + 1
            details = {"first": number, "last": number, "torn": recovered.torn[:10_000]}
            self.record(GAP, None, details, recovered.at)

    # --- Writing

    def start(self) -> None:
        """Start the writer's thread, which opens and mends the file at once; until then records wait."""
        self._background.start()
        self._background.wake()

    def record(self, event: str, server: str | None, details: Mapping[str, Any], at: float) -> Record:
        """Give a record its number, have it written, and return it. Never waits, never fails.

        ``at`` is when it happened, in seconds since 1970. :func:`records.plain` says what becomes of
        ``details``.
        """
        record: Record = {
            "timestamp": _timestamp(at),
            "seq": 0,
            "event": text(event),
            "server": None if server is None else text(server),
            "details": plain(details),
            "system": self._system,
        }
        with self._news:
            self._seq = record["seq"] = self._seq + 1
            self._backlog.add(Entry(self._seq, self._seq, record["server"], record["event"], encode(record)))
            self._news.notify_all()
        self._background.wake()
        return record

    def write_pending(self) -> bool:
        """Write what waits; return whether all of it is written. One step of the one writer."""
        while True:
            with self._news:
                batch = self._backlog.take()
            if not batch and self._appender.is_open:
                return True
            self._writing_since = self._clock.monotonic()
            count, error = self._appender.append([entry.line for entry in batch], self._written)
            if count:
                self._written = batch[count - 1].seq
            if self._appender.opened != self._opened:
                self._opened = self._appender.opened
                self._oldest = self._archive.oldest()
            self._writing_since = None
            with self._news:
                self._backlog.settle(count, None if error is None else str(error))
            self._report(error or self._appender.rotation_error)
            if error is not None:
                return False

    def flush(self, timeout: float) -> bool:
        """Wait until all recorded so far is written, ``timeout`` seconds at most; return whether it is."""
        return self._background.flush(timeout)

    def close(self, timeout: float) -> bool:
        """Write what waits, put it on the disk itself, wake up whoever waits; return whether all that worked.

        It takes ``timeout`` seconds at most, and one fsync. What is recorded later stays in memory.
        """
        with self._news:
            self._closed = True
            self._news.notify_all()
        drained = self._background.close(timeout)
        if self._background.alive:
            return False  # a write hangs: its file is not ours to touch
        error = self._appender.close()
        if error is not None:
            self._report(error)
        return drained and error is None

    def _report(self, error: OSError | None) -> None:
        reason = None if error is None else str(error)
        if reason == self._error:
            return
        self._error = reason
        if reason is None:
            _log.info("%s: is written again", self._path)
        else:
            _log.error("%s: cannot be written as it should: %s", self._path, reason)

    # --- Health

    @property
    def last_error(self) -> str | None:
        """What is wrong with the writing just now, or None."""
        if self._background.dead and not self._closed:
            return f"{self._path}: its writer has died"
        since = self._writing_since
        if since is not None and self._clock.monotonic() - since > _STUCK:
            return f"{self._path}: a write has been hanging for more than {_STUCK:g} s"
        return self._error

    @property
    def writable(self) -> bool:
        """Whether the last write did all that it should, and none hangs."""
        return self.last_error is None

    @property
    def pending(self) -> int:
        """How many records wait for the disk."""
        return len(self._backlog)

    # --- Reading

    @property
    def last_seq(self) -> int:
        """The number of the newest record; 0 if there is none."""
        return self._seq

    def wait_for(self, seq: int, timeout: float) -> bool:
        """Wait ``timeout`` seconds at most for a record beyond ``seq``; return whether there is one.

        :meth:`close` ends the wait.
        """
        with self._news:
            self._news.wait_for(lambda: self._seq > seq or self._closed, timeout)
            return self._seq > seq

    def read(self, since: int | None, limit: int, server: str | None = None, event: str | None = None) -> Page:
        """Return the first ``limit`` (1 or more) records beyond ``since``; if that is None, the last ones.

        ``server`` and ``event``: only those. With a filter a page may be short of ``limit``, or empty, and yet
        there is ``more``: one call looks through a bounded part of the files. Go on with the page's ``next``.
        ``MachineError``: the files are there and cannot be read.
        """
        try:
            return self._read(since, max(1, limit), _Filter(server, event))
        except OSError as error:
            raise MachineError(f"journal {self._path}: cannot be read: {error}") from error

    def _read(self, since: int | None, limit: int, wanted: _Filter) -> Page:
        with self._news:
            memory, last = self._backlog.entries(), self._seq
        begins = memory[0].first if memory else last + 1
        oldest = min(self._oldest or begins, begins)
        if since is None:
            events = self._newest(memory, begins, limit, wanted)
            return Page(events, oldest, last, more=False, truncated=False)
        events, reached = [], max(0, since)
        truncated = False
        if reached + 1 < begins:
            self._oldest = self._archive.oldest()
            oldest = min(self._oldest or begins, begins)
            truncated = reached + 1 < oldest
            events, reached = self._older(reached, begins, limit, wanted)
        if reached + 1 >= begins:
            for entry in memory:
                if entry.seq <= reached:
                    continue
                if len(events) >= limit:
                    break
                reached = entry.seq
                if wanted.fits(entry.server, entry.event):
                    events.append(entry.record)
        reached = min(reached, last)
        return Page(events, oldest, reached, more=reached < last, truncated=truncated)

    def _older(self, since: int, begins: int, limit: int, wanted: _Filter) -> tuple[list[Record], int]:
        """Return what the files have between the two, and the number up to which they were looked through."""
        found: list[Record] = []
        passed = 0
        with closing(self._archive.forward(since)) as blocks:
            for block in blocks:
                for record in wanted.records(block):
                    if record["seq"] >= begins:
                        return found, begins - 1
                    if record["seq"] > since:
                        found.append(record)
                    if len(found) >= limit:
                        return found, found[-1]["seq"]
                passed += len(block)
                here = last_number(block) if passed > self._limits.scan_bytes else None
                if here is not None:
                    return found, max(since, min(here, begins - 1))
        return found, begins - 1

    def _newest(self, memory: list[Entry], begins: int, limit: int, wanted: _Filter) -> list[Record]:
        fitting = [entry for entry in memory if wanted.fits(entry.server, entry.event)]
        found = [entry.record for entry in fitting[-limit:]]
        passed = 0
        with closing(self._archive.backward()) as blocks:
            while len(found) < limit and passed <= self._limits.scan_bytes and (block := next(blocks, b"")):
                found[:0] = [record for record in wanted.records(block) if record["seq"] < begins]
                passed += len(block)
        return found[-limit:]


def _timestamp(at: float) -> str:
    try:
        return rfc3339(at)
    except ValueError:
        return rfc3339(0.0)  # a record never fails its caller, whatever became of the clock
