"""How far a fleet has come up: who has settled, who has not, and who never will by itself. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from aurora_circus import sentences, terminal
from aurora_circus.clock import parse_rfc3339
from aurora_circus.records import Record
from aurora_circus.report import note
from aurora_circus.settings import System
from aurora_circus.terminal import NOTHING, clean, duration

Status = Mapping[str, Mapping[str, Any]]

GOOD = frozenset({"healthy", "stopped"})
"""Ends that are as somebody wants them."""
HEAD = ("SYSTEM", "STATE", "AFTER", "PORT", "PID", "")
_HEALTHY = frozenset({"server_started", "server_recovered"})
_HIDDEN = sentences.QUIET | {"server_stopping", "controller_started", "controller_stopped", "restart_failed"}


def unsettled(systems: Sequence[System], status: Status) -> list[str]:
    """Return who may still become something else without anybody's doing."""
    return [each.key for each in systems if not _settled(each, systems, status)]


def troubled(systems: Sequence[System], status: Status) -> list[str]:
    """Return who is neither healthy nor wanted down."""
    return [each.key for each in systems if _state(each.key, status) not in GOOD]


def _settled(system: System, systems: Sequence[System], status: Status) -> bool:
    state = _state(system.key, status)
    if state in {*GOOD, "failed", None}:
        return True
    if state == "unhealthy":
        return not system.autonomous  # it is left as it is
    if state == "waiting" and system.gate == "strict":
        return any(
            _settled(each, systems, status) and _state(each.key, status) != "healthy"
            for each in systems
            if each.key in system.depends_on
        )
    return False


def _state(key: str, status: Status) -> str | None:
    """Return the state of a system; None of one that circusd does not have."""
    found = status.get(key)
    return None if found is None else str(found.get("state"))


class Progress:
    """What is shown while a fleet comes up; ``began`` is when, in seconds since 1970."""

    def __init__(self, systems: Sequence[System], began: float) -> None:
        """Nothing has happened yet."""
        self._systems = systems
        self._began = began
        self._after: dict[str, float] = {}

    def lines(self, records: Sequence[Record]) -> list[str]:
        """Take note of records, and return those that are news as lines."""
        found = []
        for record in records:
            at = self._elapsed(record)
            if record.get("event") in _HEALTHY:
                self._after[str(record.get("server"))] = at
            if _is_news(record):
                who = clean(record.get("server") or "")
                found.append(f"{duration(at):>8}  {who:<{self._longest}}  {sentences.told(record)}")
        return found

    def table(self, status: Status, now: float, width: int | None) -> str:
        """Return how everybody is, as a table."""
        rows = []
        for system in self._systems:
            each = status.get(system.key, {"state": "waiting"})
            state, pid = str(each.get("state")), each.get("pid")
            if state == "healthy":
                after = duration(self._after.setdefault(system.key, now - self._began))
            else:
                after = NOTHING if state in {"waiting", "stopped"} else duration(now - self._began)
            name = f"{system.key} *" if system.critical else system.key
            port = clean(each.get("port") or system.port)
            rows.append(
                (name, terminal.state(state), after, port, NOTHING if pid is None else str(pid), note(each, now))
            )
        return terminal.table(HEAD, rows, width)

    @property
    def _longest(self) -> int:
        return max(len(each.key) for each in self._systems)

    def _elapsed(self, record: Record) -> float:
        try:
            return max(0.0, parse_rfc3339(str(record.get("timestamp"))) - self._began)
        except ValueError:
            return 0.0


def _is_news(record: Record) -> bool:
    """Say whether a record is worth a line while everybody starts: that somebody begins to is not."""
    event, details = record.get("event"), record.get("details") or {}
    if event == "server_starting":
        return bool(details.get("missing"))
    if event == "port_conflict" and record.get("server") is None:
        return False  # the API's port: whoever looked for the API has said so
    return event not in _HIDDEN
