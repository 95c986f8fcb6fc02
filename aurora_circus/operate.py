"""Start, stop and restart by the API: has the command accepted, waits until it has settled, and says how it went."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aurora_circus import reach, report
from aurora_circus.client import ApiError, Client, LostError, RefusedError
from aurora_circus.clock import pause
from aurora_circus.context import Context
from aurora_circus.errors import UnknownServerError
from aurora_circus.terminal import clean, duration
from aurora_circus.terminal import state as coloured

SLICE = 2.0
"""Seconds after which an operation is looked at again, whatever the journal says."""
HINT_AFTER = 10.0
"""Seconds without news after which it is said what is being waited for."""
_AGAIN = 0.2
_NOT_FOUND = 404
_OK = 200
DONE = {"start": "healthy", "stop": "stopped", "restart": "healthy"}
"""The state that each command is to lead to."""
_ENDS = frozenset({"healthy", "stopped", "failed"})


def check_keys(keys: Iterable[str], known: Sequence[str]) -> None:
    """Refuse keys that this fleet does not have.

    Raises:
        UnknownServerError: naming those it has, and the one that was probably meant.
    """
    lines = []
    for key in keys:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            meant = f"; did you mean {close[0]}?" if close else ""
            lines.append(f"there is no system {clean(key)!r}{meant}")
    if lines:
        raise UnknownServerError("\n".join([*lines, f"this fleet has: {', '.join(known)}"]))


@dataclass(frozen=True, slots=True)
class Command:
    """What is to be done."""

    verb: str
    """``start``, ``stop`` or ``restart``."""
    keys: Sequence[str] | None
    """None: all systems."""
    wait: bool = True
    """Whether to wait until it has settled."""


@dataclass(slots=True)
class Operation:
    """One accepted command."""

    ident: str
    pending: set[str]
    error: str | None = None
    state: str = "running"
    lost: set[str] = field(default_factory=set)
    """Systems whose command a restarted controller knows nothing of: their states have to tell."""


def run(client: Client, command: Command, context: Context) -> int:
    """Have ``command`` carried out, and return the exit code."""
    verb, keys, terminal = command.verb, command.keys, context.terminal
    status = client.get("/status")
    if keys is not None:
        check_keys(keys, list(status))
    began = context.clock.monotonic()
    since = _newest(client)
    operations = []
    for key in [None] if keys is None else dict.fromkeys(keys):
        reply = client.post(f"/{verb}-all" if key is None else f"/{verb}/{key}")
        if warning := reply.body.get("warning"):
            terminal.warn(f"warning: {clean(warning)}")
        ident, servers = str(reply.body.get("operation")), reply.body.get("servers") or [key]
        if reply.status == _OK:
            for each in servers:
                terminal.say(f"{each} is {coloured(DONE[verb])} already")
        elif command.wait:
            operations.append(Operation(ident, set(servers)))
        else:
            terminal.say(f"{verb} of {', '.join(servers)} is accepted (operation {ident})")
    waiting = _Waiting(client, verb, operations, context)
    try:
        waiting.until_settled(since, began)
    except KeyboardInterrupt:
        terminal.warn(f"\nno longer waiting; the {verb} itself goes on: {context.advice('status')}")
        return 1
    return waiting.conclude()


class _Waiting:
    """Waits for some operations, and tells of each system that is through."""

    def __init__(self, client: Client, verb: str, operations: Sequence[Operation], context: Context) -> None:
        self._client, self._verb, self._operations = client, verb, operations
        self._context, self._terminal, self._clock = context, context.terminal, context.clock
        self._longest = max((len(key) for each in operations for key in each.pending), default=0)

    def until_settled(self, since: int, began: float) -> None:
        """Wait until every operation has come to its end; the journal says when it is worth a look."""
        heard = self._clock.monotonic()
        while any(each.state == "running" for each in self._operations):
            try:
                news = self._look(began)
                page = self._client.poll("/events", 0 if news else SLICE, since=since, limit=1000)
                since = since if page is None else int(page["next"])
            except (RefusedError, LostError):
                pause(_AGAIN)
                self._client, _ = reach.connect(self._context)  # it says why, if that fails
                since, news = _newest(self._client), False
            now = self._clock.monotonic()
            if news:
                heard = now
            elif now - heard >= HINT_AFTER:
                heard = now
                self._hint()

    def conclude(self) -> int:
        """Say of what did not go well why, and return the exit code."""
        failed = [each for each in self._operations if each.state != "succeeded"]
        for each in failed:
            word = "was superseded" if each.state == "superseded" else "failed"
            self._terminal.warn(f"{self._verb} {word}: {clean(each.error or each.state)}")
        if failed:
            key = next(iter(failed[0].lost), None) or _first_named(failed[0].error, list(self._client.get("/status")))
            if key is not None:
                self._terminal.warn(f"why, and what next: {self._context.advice('explain', key)}")
        return 1 if failed else 0

    def _look(self, began: float) -> bool:
        """Look at all operations, and tell of systems that are through; return whether there were any."""
        news = False
        status: Mapping[str, Mapping[str, Any]] | None = None
        for operation in self._operations:
            if operation.state != "running":
                continue
            pending = self._pending(operation)
            through = operation.pending - pending
            if through:
                status = status or self._client.get("/status")
                news = True
                for key in [each for each in status if each in through]:
                    self._tell(key, status[key], self._clock.monotonic() - began)
            operation.pending = pending
        return news

    def _pending(self, operation: Operation) -> set[str]:
        """Ask after one operation, and return the systems that it still waits for."""
        try:
            answer = self._client.get(f"/operations/{operation.ident}")
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            return self._judge(operation)
        operation.state, operation.error = str(answer["state"]), answer.get("error")
        if operation.state != "running":
            return set()
        return set(answer.get("pending", operation.pending)) & operation.pending

    def _judge(self, operation: Operation) -> set[str]:
        """Go by the states where the controller was restarted, and has forgotten the operation."""
        status = self._client.get("/status")
        states = {key: status.get(key, {}).get("state") for key in operation.pending}
        pending = {key for key, state in states.items() if state is not None and state not in _ENDS}
        wrong = [key for key, state in states.items() if key not in pending and state != DONE[self._verb]]
        operation.lost |= set(wrong)
        if not pending:
            operation.state = "failed" if operation.lost else "succeeded"
            operation.error = "; ".join(f"{key}: {status.get(key, {}).get('error')}" for key in operation.lost) or None
        return pending

    def _tell(self, key: str, status: Mapping[str, Any], after: float) -> None:
        state = str(status.get("state"))
        why = "" if state in _ENDS - {"failed"} else f"  {clean(status.get('error'))}"
        self._terminal.say(f"{duration(after):>8}  {key:<{self._longest}}  {coloured(state)}{why}")

    def _hint(self) -> None:
        status = self._client.get("/status")
        now = self._clock.wall()
        for key in [key for each in self._operations if each.state == "running" for key in sorted(each.pending)]:
            each = status.get(key, {})
            why = report.note(each, now)
            self._terminal.warn(f"… still waiting: {key} is {each.get('state')}{': ' + why if why else ''}")


def _newest(client: Client) -> int:
    """Return the number of the newest record."""
    return int(client.get("/events", limit=1)["next"])


def _first_named(error: str | None, keys: Sequence[str]) -> str | None:
    """Return the system that an operation's error names first."""
    key = (error or "").partition(":")[0]
    return key if key in keys else None
