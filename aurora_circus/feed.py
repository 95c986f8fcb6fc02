"""What happens in the fleet, as it happens: from its API, or, where that cannot be had, from the files it writes.

Both give journal records, each once and in their order, and the state of every system. Records are what is shown;
whether something has come to its end is read from the states.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

from aurora_circus.client import Client
from aurora_circus.clock import Clock, pause, rfc3339
from aurora_circus.config import Config
from aurora_circus.journal_archive import Archive
from aurora_circus.records import Record, decode
from aurora_circus.settings import Fleet, System

PAGE = 1000
"""Records of one answer; the API gives no more."""
LOOK = 0.1
"""Seconds between two looks at a file: nothing tells us that it has grown."""

Status = Mapping[str, Mapping[str, Any]]


class Feed(Protocol):
    """Where records and states come from."""

    since: int
    """The number of the last record that was given."""

    def read(self, wait: float) -> Sequence[Record]:
        """Return the records since the last call; wait ``wait`` seconds at most for the first one."""

    def status(self) -> Status | None:
        """Return every system's status, or as much of it as is known; None when nothing is known yet."""


class ApiFeed:
    """Asks the API. What ``client`` raises comes through; ``since`` is right all the same, for another to go on."""

    def __init__(self, client: Client, since: int, *, server: str | None = None, event: str | None = None) -> None:
        """``server`` and ``event``: records of these only."""
        self._client = client
        self.since = since
        self.truncated = False
        """Whether records after ``since`` were gone already at the last reading."""
        self._server, self._event = server, event

    def read(self, wait: float) -> Sequence[Record]:
        """Return what is new; the API itself waits."""
        page = self._client.poll("/events", wait, since=self.since, limit=PAGE, server=self._server, event=self._event)
        if page is None:
            return []
        self.since, self.truncated = int(page["next"]), bool(page.get("truncated"))
        return list(page["events"])

    def status(self) -> Status | None:
        """Return the API's status."""
        return self._client.get("/status")


class FileFeed:
    """Reads ``events.jsonl`` and the plugin's saved state."""

    def __init__(
        self,
        config: Config,
        since: int,
        *,
        circusd: int | None = None,
        sleep: Callable[[float], object] = pause,
        clock: Clock | None = None,
    ) -> None:
        """``circusd`` is whose state is believed; ``sleep`` returns something true where waiting makes no sense."""
        self.since = since
        self._config = config
        self._circusd = circusd
        self._sleep = sleep
        self._clock = clock or Clock()
        self._archive = archive(config.fleet)
        self._path = journal_path(config.fleet)
        self._seen: tuple[int, int] | None = None

    def read(self, wait: float) -> Sequence[Record]:
        """Return what is new, looking again and again."""
        until = self._clock.monotonic() + wait
        while True:
            found = self._new()
            left = until - self._clock.monotonic()
            if found or left <= 0 or self._sleep(min(LOOK, left)):
                return found

    def status(self) -> Status | None:
        """Return what the saved state says; None as long as that is an earlier circusd's."""
        from aurora_circus import leftovers  # noqa: PLC0415 - psutil, which ``events -f`` has no use for

        state = leftovers.saved_state(self._config.fleet)
        circusd, systems = state.get("circusd"), state.get("systems")
        if not isinstance(circusd, list) or circusd[:1] != [self._circusd] or not isinstance(systems, dict):
            return None
        return {each.key: _remembered(each, systems.get(each.key)) for each in self._config.systems}

    def _new(self) -> list[Record]:
        try:
            found = self._path.stat()
        except OSError:
            return []
        if self._seen == (found.st_ino, found.st_size):
            return []
        self._seen = (found.st_ino, found.st_size)
        records = []
        with closing(self._archive.forward(self.since)) as blocks:
            for each in (line for block in blocks for line in block.split(b"\n")):
                record = decode(each)
                if record is not None and record["seq"] > self.since:
                    records.append(record)
                    self.since = record["seq"]
        return records


def saved_status(config: Config, circusd: int) -> Status | None:
    """Return what the plugin of the living ``circusd`` last saved of every system; None when it saved nothing."""
    return FileFeed(config, 0, circusd=circusd).status()


def journal_path(fleet: Fleet) -> Path:
    """Return where the journal lies."""
    return Path(fleet.log_dir) / "events.jsonl"


def archive(fleet: Fleet) -> Archive:
    """Return the journal's files, to be read."""
    return Archive(journal_path(fleet), fleet.journal.backups)


def last_number(fleet: Fleet) -> int:
    """Return the number of the last record there is; 0 when there is none."""
    return archive(fleet).recover().seq


def newest(fleet: Fleet, count: int, server: str | None = None, event: str | None = None) -> list[Record]:
    """Return the last ``count`` records that fit, oldest first, without asking anybody."""
    found: list[Record] = []
    with closing(archive(fleet).backward()) as blocks:
        for each in (line for block in blocks for line in reversed(block.split(b"\n"))):
            if len(found) >= count:
                break
            record = decode(each)
            if record is not None and server in {None, record.get("server")} and event in {None, record["event"]}:
                found.append(record)
    return found[::-1]


def after(
    fleet: Fleet, since: int, count: int | None, server: str | None = None, event: str | None = None
) -> list[Record]:
    """Return the first ``count`` records, or all, beyond ``since`` that fit, without asking anybody."""
    found: list[Record] = []
    with closing(archive(fleet).forward(since)) as blocks:
        for each in (line for block in blocks for line in block.split(b"\n")):
            record = decode(each)
            if record is None or record["seq"] <= since:
                continue
            if server in {None, record.get("server")} and event in {None, record["event"]}:
                found.append(record)
            if len(found) == count:
                break
    return found


def _remembered(system: System, memory: object) -> dict[str, Any]:
    """Return what is saved of one system in the words of the API."""
    if not isinstance(memory, dict):
        return {"state": "stopped", "port": system.port, "critical": system.critical}
    process, due = memory.get("process"), memory.get("due")
    return {
        "state": memory.get("state"),
        "error": memory.get("error"),
        "port": memory.get("port"),
        "pid": process[0] if isinstance(process, list) and process else None,
        "restarts": memory.get("restarts", 0),
        "attempt": memory.get("attempt", 0),
        "attempts": system.max_attempts,
        "critical": system.critical,
        "autonomous": system.autonomous,
        "next_attempt_at": rfc3339(due) if isinstance(due, (int, float)) else None,
    }
