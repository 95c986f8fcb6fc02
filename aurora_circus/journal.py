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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aurora_circus import means, settings
from aurora_circus.background import Background
from aurora_circus.chain import Head, Past, bind
from aurora_circus.clock import Clock, rfc3339
from aurora_circus.errors import MachineError
from aurora_circus.journal_appender import Appender, Disk
from aurora_circus.journal_archive import Archive, Recovered
from aurora_circus.journal_backlog import Backlog, Entry, Limits
from aurora_circus.journal_pages import Filter, Page, Pages
from aurora_circus.records import GAP, Record, encode, plain, text

_log = logging.getLogger(__name__)

_LIMITS = Limits()
_NOTHING = Past()
_STUCK = 5.0
"""Seconds after which a write that has not come back counts as failing."""


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
        past: Past = _NOTHING,
    ) -> None:
        """Find out where numbering stands in the file at ``path``; writing begins with :meth:`start`.

        ``past`` is what an earlier life saved: what is missing up to there is said to be lost, and numbers go on
        after it.
        """
        self._path = Path(path)
        self._system = text(system)
        self._limits = limits
        self._clock = clock or Clock()
        self._appender = Appender(self._path, rotation.max_bytes, rotation.backups, disk or Disk())
        self._archive = Archive(self._path, rotation.backups)
        self._pages = Pages(self._archive, limits.scan_bytes)
        self._background = Background("journal", self.write_pending, limits.retry)
        self._news = threading.Condition()
        """Guards all that follows."""
        self._backlog = Backlog(self._system, limits)
        recovered = self._archive.recover()
        self._seq = recovered.seq
        self._head = Head(recovered.seq, recovered.link)
        self._oldest = self._archive.oldest()
        self._opened = 0
        self._error: str | None = None
        self._writing_since: float | None = None
        self._closed = False
        self._say_what_is_lost(recovered, past)

    def _say_what_is_lost(self, recovered: Recovered, past: Past) -> None:
        """Record what a crash, or somebody, took from the end of the files, and what never came that far."""
        first = recovered.seq + 1
        last = max(recovered.seq + bool(recovered.torn), past.head.seq, past.given)
        if last < first:
            return
        details: dict[str, Any] = {"first": first, "last": last}
        if past.head.seq >= first:
            details["error"] = f"what was written up to {past.head.seq} is there no longer"
            details["gone"] = True
        elif past.given >= first:
            details["error"] = "the controller ended before it could write them"
        if recovered.torn:
            details["torn"] = recovered.torn[:10_000]
        self._record(GAP, None, details, recovered.at if recovered.torn else self._clock.wall(), span=(first, last))

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
        return self._record(event, server, details, at)

    def _record(
        self,
        event: str,
        server: str | None,
        details: Mapping[str, Any],
        at: float,
        *,
        span: tuple[int, int] | None = None,
    ) -> Record:
        record: Record = {
            "timestamp": _timestamp(at),
            "seq": 0,
            "event": text(event),
            "server": None if server is None else text(server),
            "details": plain(details),
            "system": self._system,
        }
        with self._news:
            first, self._seq = span or (self._seq + 1, self._seq + 1)
            record["seq"] = self._seq
            self._backlog.add(Entry(self._seq, first, record["server"], record["event"], encode(record)))
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
            lines, links = bind(self._head.link, [entry.line for entry in batch])
            count, error = self._appender.append(lines, self._head.seq)
            if count:
                self._head = Head(batch[count - 1].seq, links[count - 1])
            if self._appender.opened != self._opened:
                self._opened = self._appender.opened
                self._oldest = self._archive.oldest()
            self._writing_since = None
            with self._news:
                self._backlog.settle(count, None if error is None else means.told(error))
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
        reason = None if error is None else f"{self._path}: cannot be written as it should: {means.told(error)}"
        if reason == self._error:
            return
        self._error = reason
        if reason is None:
            _log.info("%s: is written again", self._path)
        else:
            _log.error("%s", reason)

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
    def head(self) -> Head:
        """The newest record that is in the file."""
        return self._head

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
            return self._read(since, max(1, limit), Filter(server, event))
        except OSError as error:
            raise MachineError(f"journal {self._path}: cannot be read: {error}") from error

    def _read(self, since: int | None, limit: int, wanted: Filter) -> Page:
        with self._news:
            memory, last = self._backlog.entries(), self._seq
        begins = memory[0].first if memory else last + 1
        oldest = min(self._oldest or begins, begins)
        if since is None:
            events = self._pages.newest(memory, begins, limit, wanted)
            return Page(events, oldest, last, more=False, truncated=False)
        events, reached = [], max(0, since)
        truncated = False
        if reached + 1 < begins:
            self._oldest = self._archive.oldest()
            oldest = min(self._oldest or begins, begins)
            truncated = reached + 1 < oldest
            events, reached = self._pages.older(reached, begins, limit, wanted)
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


def _timestamp(at: float) -> str:
    try:
        return rfc3339(at)
    except ValueError:
        return rfc3339(0.0)  # a record never fails its caller, whatever became of the clock
