"""One circusd that was started from here: its journal as it grows, until all have settled, and from then on.

News comes from the API; where its port is somebody else's, from the files that the plugin writes.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from aurora_circus import kept, reach, sentences
from aurora_circus.client import ApiError, ForeignError, LostError, RefusedError
from aurora_circus.context import Context
from aurora_circus.errors import AuroraError, MachineError
from aurora_circus.facts import Process
from aurora_circus.feed import ApiFeed, Feed, FileFeed, journal_path, last_number
from aurora_circus.kept import Kept
from aurora_circus.logs import tail
from aurora_circus.lookout import Child, ended_within
from aurora_circus.lookup import has_begun
from aurora_circus.processes import identify
from aurora_circus.progress import Progress, troubled, unsettled
from aurora_circus.records import Record
from aurora_circus.screen import screen
from aurora_circus.terminal import clean, duration

CONTROLLER_PATIENCE = 30.0
"""Seconds until circusd, or its plugin, has to be there; each takes less than one."""
_CONNECT = 0.25 if sys.platform == "win32" else 0.05
"""Seconds between two attempts to reach what is about to be there; the death of circusd ends the pause.

On Windows each of them reads the table of all listeners.
"""
_FRAME = 0.25
"""Seconds between two pictures while nothing happens."""
_NEWS = 10.0
"""Seconds that the API may keep us waiting for news."""


class CircusdEndedError(AuroraError):
    """circusd is gone, and nobody here asked for that."""


class NoControllerError(AuroraError):
    """circusd runs without its plugin from the start: nothing is ever going to come up."""


class Session:
    """One circusd that this process has started."""

    def __init__(self, context: Context, child: Child, known: Kept) -> None:
        """Begin right after ``child`` was started: it takes longer to write its first record than we to look.

        ``known``: what was told to it. Of one that replaces another, the fleet has come up once.
        """
        self.config = context.config
        self.child = child
        self.known = known
        self.process = identify(child.pid) or Process(child.pid, 0.0)
        self.context = context
        self.terminal = context.terminal
        self.clock = context.clock
        self.began = self.clock.wall()
        self.progress = Progress(self.config.systems, self.began)
        self.has_api = False
        self.came = known.old is not None
        """Whether the plugin was there once: from then on, trouble with it is no reason to end anything."""
        self._since = last_number(context.fleet)
        self._feed: Feed | None = None
        self._ended_well = False
        """Whether what was shown last of the plugin is an orderly end."""

    def settle(self, keys: Sequence[str], started: Callable[[], None]) -> list[str]:
        """Show the fleet come up until nobody becomes anything else by itself; return who is not as wanted.

        ``started`` is called when others can find this circusd. Those of ``keys`` that an operator had stopped are
        started: now somebody names them.

        Raises:
            CircusdEndedError: see there.
            NoControllerError: see there.
        """
        with screen(self.terminal, self.progress) as show:
            show([], {}, self.clock.wall())
            self._await_circusd()
            started()
            self._feed = self._find_feed()
            self.came = True
            self._start(keys)
            while True:
                records = self._read(_FRAME)
                status = self._status()
                done = status is not None and not unsettled(self.config.systems, status)
                if done:
                    records = [*records, *self._read(0)]
                show(records, status or {}, self.clock.wall())
                if done and status is not None:
                    return troubled(self.config.systems, status)

    def _await_circusd(self) -> None:
        until = self.clock.monotonic() + CONTROLLER_PATIENCE
        while (found := has_begun(self.config.fleet, self.child.pid)) is None:
            if self._ended_within(_CONNECT):
                raise CircusdEndedError
            if self.clock.monotonic() > until:
                raise NoControllerError(f"circusd is not there within {duration(CONTROLLER_PATIENCE)}")
        self.process = found

    def _start(self, keys: Sequence[str]) -> None:
        if not keys or not self.has_api:
            return
        client = reach.client_of(self.context)
        try:
            status = client.get("/status")
            for key in keys:
                if status.get(key, {}).get("state") == "stopped":
                    client.post(f"/start/{key}")
        except AuroraError as error:
            self.terminal.warn(f"starting {', '.join(keys)}: {error}")

    def watch(self) -> NoReturn:
        """Print what happens, for as long as circusd lives.

        Raises:
            CircusdEndedError: it does no more.
        """
        while True:
            for record in self._read(_NEWS):
                if record["event"] not in sentences.QUIET:
                    self.terminal.say(sentences.line(record, self.clock.wall()))

    def stopped(self) -> list[str]:
        """Return who is wanted down."""
        return [key for key, each in (self._status() or {}).items() if each.get("state") == "stopped"]

    def over(self) -> bool:
        """Say whether the fleet was taken down on purpose, by whomever."""
        return kept.marked(self.config.fleet.run_dir) or self.orderly()

    def orderly(self) -> bool:
        """Say whether the fleet went down in good order, by the journal."""
        return _ended_well(self.rest(), before=self._ended_well)

    def rest(self) -> Sequence[Record]:
        """Return what the journal says beyond what was shown."""
        return FileFeed(self.config, self._since, clock=self.clock).read(0)

    def _read(self, wait: float) -> Sequence[Record]:
        while True:
            feed = self._feed = self._feed or self._find_feed()
            try:
                records = feed.read(wait)
            except (RefusedError, LostError):  # the plugin is being restarted, or all of it ends
                self._feed = None
                if self._ended_within(_CONNECT):
                    raise CircusdEndedError from None
                continue
            except (ApiError, ForeignError) as error:
                self.terminal.warn(f"{error}; going on with {journal_path(self.config.fleet)}")
                self._feed = self._files()
                continue
            self._since = feed.since
            self._ended_well = _ended_well(records, before=self._ended_well)
            if not records and self.child.poll() is not None:
                raise CircusdEndedError
            return records

    def _status(self) -> Mapping[str, Mapping[str, Any]] | None:
        try:
            return None if self._feed is None else self._feed.status()
        except (RefusedError, LostError, ApiError, ForeignError):
            return None

    def _find_feed(self) -> Feed:
        """Wait for the API, or for word that it cannot be had."""
        client = reach.client_of(self.context)
        beside = FileFeed(self.config, self._since, clock=self.clock)
        until = self.clock.monotonic() + CONTROLLER_PATIENCE
        while self.clock.monotonic() < until:
            try:
                if reach.is_ours(self.context, reach.health(client)):
                    self.has_api = True
                    return ApiFeed(client, self._since)
            except (RefusedError, LostError, ForeignError):
                pass  # not yet, or somebody else
            for record in beside.read(0):
                if record["event"] == "port_conflict" and record["server"] is None:
                    self.has_api = False
                    told = f"the fleet is supervised, but without its API for now: {sentences.told(record)}"
                    self.terminal.warn(f"{told}\nthe API opens within a second of that port being free")
                    return self._files()
            if self._ended_within(_CONNECT):
                raise CircusdEndedError
        told = f"circusd runs, but its plugin does not come up within {duration(CONTROLLER_PATIENCE)}\n"
        told += end_of(Path(self.config.fleet.log_dir) / "aurora.log")
        if not self.came:
            raise NoControllerError(told)
        self.terminal.warn(f"{told}\nthe systems go on, but nobody watches them until it is back")
        return self._files()

    def _files(self) -> FileFeed:
        return FileFeed(self.config, self._since, circusd=self.process.pid, sleep=self._ended_within, clock=self.clock)

    def _ended_within(self, seconds: float) -> bool:
        return ended_within(self.child, seconds)


def _ended_well(records: Sequence[Record], *, before: bool) -> bool:
    """Say whether the plugin went down in good order, and no other came after it."""
    for each in records:
        if each["event"] in {"controller_started", "controller_stopped"}:
            before = bool(each["details"].get("orderly"))
    return before


def end_of(file: Path) -> str:
    """Return the last lines of a log, under its name."""
    try:
        lines = tail(file, 10)
    except MachineError as error:
        return str(error)
    return "\n".join([f"the end of {file}:", *(f"  {clean(each)}" for each in lines or ["(it is empty)"])])
