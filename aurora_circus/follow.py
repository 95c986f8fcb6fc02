"""The journal and the systems' logs, as they are and as they grow."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from aurora_circus import escapes, logs, reach, sentences
from aurora_circus.client import LostError, RefusedError
from aurora_circus.clock import pause
from aurora_circus.context import Context
from aurora_circus.errors import AuroraError, NotRunningError
from aurora_circus.feed import PAGE, ApiFeed, after, journal_path, newest
from aurora_circus.files import open_regular
from aurora_circus.records import Record

LONGEST_POLL = 20.0
"""Seconds that the API may keep us waiting for a record."""
SILENCE = 10.0
"""Seconds for which a lost connection is tried again; a restarted plugin is back after one."""
LOOK = 0.2
"""Seconds between two looks at a log that is followed."""
LONGEST_LINE = 1 << 16
"""Bytes of a line that are kept until its end comes."""
_BLOCK = 1 << 16
_TRIES = 5


class Events:
    """The records of one fleet, of one system or of one kind, written as lines or as JSON."""

    def __init__(self, context: Context, *, server: str | None, event: str | None, as_json: bool) -> None:
        """Ask for nothing yet."""
        self._context, self._terminal, self._clock = context, context.terminal, context.clock
        self._server, self._event, self._as_json = server, event, as_json
        self._changes = sentences.Changes()

    def show(self, count: int | None, *, follow: bool, since: int | None = None) -> None:
        """Write the last ``count`` records, and, where asked to ``follow``, all that come; that has no end.

        With ``since`` these are the first ones that have a greater number; all, where ``count`` is None.

        Where the fleet does not run, the journal is read from its file.

        Raises:
            NotRunningError: there is no fleet, or it is gone for good.
            UnknownServerError: neither the fleet nor its journal knows the system.
        """
        self._check_server()
        try:
            client, _ = reach.connect(self._context)
        except (NotRunningError, reach.Unreachable):
            self._from_files(count, since)
            self._terminal.warn(f"(read from {journal_path(self._context.fleet)})")
            raise
        if since is None:
            page = client.get("/events", limit=PAGE, server=self._server, event=self._event)
            feed = ApiFeed(client, int(page["next"]), server=self._server, event=self._event)
            self._write(self._last(page["events"], count))
        else:
            feed = ApiFeed(client, since, server=self._server, event=self._event)
            self._catch_up(feed, count)
        if follow:
            self._follow(feed)

    def _check_server(self) -> None:
        """Refuse a system that nobody ever heard of: silence would say that nothing has happened to it."""
        fleet, known = self._context.fleet, [each.key for each in self._context.config.systems]
        if self._server is None or self._server in known or newest(fleet, 1, self._server):
            return
        from aurora_circus import operate  # noqa: PLC0415 - only for what goes wrong

        operate.check_keys([self._server], known)

    def _from_files(self, count: int | None, since: int | None) -> None:
        fleet = self._context.fleet
        if since is None:
            self._write(self._last(newest(fleet, PAGE, self._server, self._event), count))
        else:
            found = self._chosen(after(fleet, since, None, self._server, self._event))
            self._write(found if count is None else found[:count])

    def _last(self, found: Sequence[Record], count: int | None) -> Sequence[Record]:
        chosen = self._chosen(found)
        return chosen if count is None else chosen[-count:] if count else []

    def _catch_up(self, feed: ApiFeed, count: int | None) -> None:
        """Write what there is already, page by page."""
        left, before = count, -1
        while feed.since != before and left != 0:
            before = feed.since
            found = self._chosen(feed.read(0.0))
            self._write(found if left is None else found[:left])
            left = None if left is None else max(0, left - len(found))

    def _follow(self, feed: ApiFeed) -> NoReturn:
        while True:
            try:
                self._write(self._chosen(feed.read(LONGEST_POLL)))
            except (RefusedError, LostError) as error:
                feed = self._again(feed, error)
                continue
            if feed.truncated:
                self._terminal.warn("(some records were gone before they could be read)")

    def _again(self, feed: ApiFeed, error: AuroraError) -> ApiFeed:
        """Reach the API anew, and go on where we were."""
        self._terminal.warn(f"(connection lost, trying again for {SILENCE:g} s: {error})")
        until = self._clock.monotonic() + SILENCE
        while True:
            try:
                client, _ = reach.connect(self._context, patience=0.0)
            except (NotRunningError, reach.Unreachable) as fault:
                if self._clock.monotonic() >= until:
                    raise NotRunningError(str(fault)) from None
                pause(LOOK)
                continue
            self._terminal.warn("(connected again)")
            return ApiFeed(client, feed.since, server=self._server, event=self._event)

    def _chosen(self, records: Sequence[Record]) -> Sequence[Record]:
        """Leave out, for people who did not ask for them, the checks that say no more than that all is as before."""
        return records if self._as_json or self._event is not None else self._changes.of(records)

    def _write(self, records: Sequence[Record]) -> None:
        for record in records:
            if self._as_json:
                self._terminal.say(escapes.to_json(record))
            else:
                self._terminal.say(sentences.line(record, self._clock.wall()))


class Logs:
    """The output of one system."""

    def __init__(self, context: Context, key: str) -> None:
        """``key`` is a system of the fleet's configuration."""
        self._context, self._key = context, key
        self._path = next(Path(each.log) for each in context.config.systems if each.key == key)

    def show(self, count: int, *, follow: bool) -> None:
        """Write the last ``count`` lines, and, where asked to ``follow``, all that come; that has no end.

        The file is read by ourselves: what is in it is wanted most when nothing runs any more. Nothing in it reaches
        the terminal that this would obey; as it is, it can be had from the file.

        Raises:
            NotRunningError: there is no fleet; what there is was written all the same.
            MachineError: the log cannot be read.
        """
        terminal = self._context.terminal

        def say(line: str) -> None:
            terminal.say("\t".join(map(escapes.clean, line.split("\t"))).expandtabs())

        if follow:
            follow_log(self._path, count, say)
        for each in logs.tail(self._path, count):
            say(each)
        try:
            reach.connect(self._context)
        except NotRunningError:
            terminal.warn(f"(read from {self._path})")
            raise


def follow_log(path: Path, count: int, write: Callable[[str], None]) -> NoReturn:
    """Write the last ``count`` lines of a log and whatever is added to it; that has no end.

    A log that has become shorter was rotated: what is in it now is new.

    Raises:
        MachineError: it is there and cannot be read.
    """
    for _ in range(_TRIES):
        position, rest = _size(path), b""
        lines = logs.tail(path, count)
        if _size(path) == position:
            break  # else there are lines that we might show twice, or never
    for each in lines:
        write(each)
    while True:
        size = _size(path)
        if size < position:
            position, rest = 0, b""
        if size == position:
            pause(LOOK)
            continue
        data = _read(path, position)
        if not data:
            pause(LOOK)
            continue
        position += len(data)
        *whole, rest = (rest + data).split(b"\n")
        if len(rest) > LONGEST_LINE:  # a line without end is shown in pieces, not kept
            whole.append(rest)
            rest = b""
        for line in whole:
            write(line.decode(errors="replace").rstrip("\r"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _read(path: Path, offset: int) -> bytes:
    try:
        with os.fdopen(open_regular(path, os.O_RDONLY, follow=True), "rb") as file:
            file.seek(offset)
            return file.read(_BLOCK)
    except OSError:
        return b""
