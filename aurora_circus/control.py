"""The only thing that speaks circus's protocol. An adapter: it asks and reports, it decides nothing.

Commands go over one DEALER socket with an id each, so that an answer finds its question whatever else is under way.
What bites in circus 0.19 is dealt with here:

- one lock: while any watcher starts or stops, every other such command answers errno 5; ours take turns, and one that
  meets somebody else's is asked again until its deadline;
- ``start`` on a dead, unreaped process says ok and starts nothing, ``restart`` starts anew at once, and would end a
  living one; so what is not known to be dead is asked to ``start`` first;
- ``reloadconfig`` takes a changed watcher out, waits for others to stop, and puts it in again: in between it is not
  found, and that is said before the lock is asked for;
- names match by glob unless ``match = "simple"`` is sent, and an answer means nothing unless ``waiting`` is;
- ``kill`` deadlocks circusd together with a later stop: it is never sent.
"""

import asyncio
import contextlib
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from aurora_circus.errors import CircusBusyError, CircusError, CircusRefusedError

ANSWER_TIMEOUT = 5.0
"""Seconds within which circusd answers what takes no lock; its loop is blocked for less, or it is stuck."""
BUSY_PATIENCE = 60.0
"""Seconds for which a command that meets the lock is asked again."""
BUSY_PAUSE = 0.02
"""Seconds between two such questions: circusd tells nobody when the lock is free."""
TURN_PAUSE = 0.25
"""Seconds after which who waits for a turn says that he waits, and again and again: what is in the way may be ended."""
NOTHING_CAME = "circusd started no process for {}: its command cannot be run, or numprocesses is 0; see circusd's log"
_MESSAGE_ERROR, _COMMAND_ERROR = 3, 5
"""Of circus.commands.errors: a watcher that is not there; refused, here always "arbiter is already running …"."""


class Control:
    """Speaks to one circusd. ``send`` puts one frame on the DEALER socket; answers come in through :meth:`receive`."""

    def __init__(self, send: Callable[[bytes], object], alive: Callable[[int], bool]) -> None:
        """``alive`` says whether a pid runs (a zombie does not)."""
        self._send = send
        self._alive = alive
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._turn = asyncio.Lock()
        self._in_line: dict[object, Callable[[], None]] = {}
        """What to call for each command that waits for its turn, when that takes long."""
        self._timer: asyncio.TimerHandle | None = None

    def receive(self, frame: bytes) -> None:
        """Take one answer off the socket. One that nobody waits for any more is dropped: its asker has been told."""
        answer = json.loads(frame)
        future = self._waiting.pop(answer.get("id", ""), None)
        if future is not None and not future.done():
            future.set_result(answer)

    # --- questions -------------------------------------------------------------------------------------------------

    async def circusd(self) -> int:
        """Return circusd's own pid."""
        return int((await self.ask("dstats"))["info"]["pid"])

    async def watchers(self) -> list[str]:
        """Return the names of all watchers, lower case."""
        return list((await self.ask("list"))["watchers"])

    async def statuses(self) -> dict[str, str]:
        """Return what circusd says of each watcher: ``active``, ``stopped``, ``starting`` or ``stopping``."""
        return dict((await self.ask("status"))["statuses"])

    async def pids(self, name: str) -> list[int]:
        """Return the living processes of a watcher."""
        return list((await self.ask("list", name=name))["pids"])

    async def options(self, name: str) -> dict[str, Any]:
        """Return a watcher's options; they include its whole environment, so ask seldom."""
        return dict((await self.ask("options", name=name))["options"])

    async def get(self, name: str, *keys: str) -> dict[str, Any]:
        """Return some options of a watcher, such as what a hook has put there."""
        return dict((await self.ask("get", name=name, keys=[*keys]))["options"])

    # --- commands --------------------------------------------------------------------------------------------------

    async def spawn(self, name: str, *, dead: bool, busy: Callable[[], None]) -> int:
        """Have circusd start a process of ``name`` and return its pid; one that lives already is kept and returned.

        ``dead``: the process circusd holds is known to be dead, so it may be told to start anew outright.
        ``busy`` is called when somebody else's command is in the way; it may raise, which ends the wait.

        Raises:
            CircusBusyError: circusd had no time within :data:`BUSY_PATIENCE`.
            CircusError: it refused, or no process came of it.
        """
        if not dead:
            info = await self._exclusive("start", name, busy)
            if info.get("started"):
                return int(info["started"][-1])
            for pid in info.get("kept", []):
                if self._alive(pid):
                    return int(pid)
            if not info.get("kept"):
                raise CircusError(await self._why_nothing(name))
        info = await self._exclusive("restart", name, busy)
        if not info.get("started"):
            raise CircusError(await self._why_nothing(name))
        return int(info["started"][-1])

    async def _why_nothing(self, name: str) -> str:
        """Return why no process came, by what our hooks in circusd have kept of it."""
        try:
            error = (await self.get(name, "aurora_error"))["aurora_error"]
        except CircusError:
            error = None
        return NOTHING_CAME.format(name) if error is None else f"circusd could not start {name}: {error}"

    async def release(self, name: str) -> None:
        """Have circusd take note that ``name``, whose process is dead, is stopped.

        Raises:
            CircusError: as for :meth:`spawn`.
        """
        await self._exclusive("stop", name, lambda: None)

    async def set_environment(self, name: str, values: Mapping[str, str]) -> None:
        """Hand ``values`` to the hook that makes a watcher's environment, for the next process.

        Raises:
            CircusError: as for :meth:`spawn`.
        """
        await self._in_turn("set", {"name": name, "options": {"env": dict(values)}}, lambda: None)

    async def _exclusive(self, command: str, name: str, busy: Callable[[], None]) -> Mapping[str, Any]:
        properties = {"name": name, "match": "simple", "waiting": True}
        return (await self._in_turn(command, properties, busy)).get("info") or {}

    async def _in_turn(self, command: str, properties: dict[str, Any], busy: Callable[[], None]) -> dict[str, Any]:
        """Wait for our other commands, which may be waiting for somebody else's: that is being in the way as well."""
        place = object()
        self._in_line[place] = busy
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TURN_PAUSE, self._say_busy)
        try:
            await self._turn.acquire()
        finally:
            del self._in_line[place]
        try:
            return await self._insist(command, properties, busy)
        finally:
            self._turn.release()

    def _say_busy(self) -> None:
        """Have everybody who waits say so: one timer for all, since they may be hundreds."""
        self._timer = asyncio.get_running_loop().call_later(TURN_PAUSE, self._say_busy) if self._in_line else None
        for busy in list(self._in_line.values()):
            with contextlib.suppress(CircusError):  # that of one which is gone is refused when its turn has come
                busy()

    async def _insist(self, command: str, properties: dict[str, Any], busy: Callable[[], None]) -> dict[str, Any]:
        """Ask until the lock is free and the watcher is there, for :data:`BUSY_PATIENCE` at most."""
        loop = asyncio.get_running_loop()
        until = loop.time() + BUSY_PATIENCE
        while True:
            answer = await self._ask(command, properties, BUSY_PATIENCE)
            if answer.get("status") == "ok":
                return answer
            reason = str(answer.get("reason"))
            what = f"circusd: {command} {properties['name']}: {reason}"
            pause = _until_again(answer.get("errno"), reason)
            if pause is None:
                raise CircusError(what)
            if loop.time() >= until:
                raise CircusBusyError(what)
            busy()
            await asyncio.sleep(pause)

    async def ask(self, command: str, **properties: Any) -> dict[str, Any]:  # noqa: ANN401 - circus takes any JSON
        """Send a command that takes no lock and return the answer.

        Raises:
            CircusError: circusd refused it, or said nothing within :data:`ANSWER_TIMEOUT`.
        """
        answer = await self._ask(command, properties, ANSWER_TIMEOUT)
        if answer.get("status") != "ok":
            message = f"circusd: {command} {properties}: {answer.get('reason')}"
            raise CircusRefusedError(message)
        return answer

    async def _ask(self, command: str, properties: Mapping[str, Any], timeout: float) -> dict[str, Any]:  # noqa: ASYNC109
        ident = uuid.uuid4().hex
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[ident] = future
        self._send(json.dumps({"id": ident, "command": command, "properties": dict(properties)}).encode())
        try:
            return await asyncio.wait_for(future, timeout)
        except TimeoutError:
            message = f"circusd: {command} {dict(properties)}: no answer within {timeout:g} s"
            raise CircusError(message) from None
        finally:
            self._waiting.pop(ident, None)


def _until_again(errno: object, reason: str) -> float | None:
    """Return how many seconds to wait until a refused command is said again; None when that is of no use."""
    if errno == _COMMAND_ERROR and "already running" in reason:
        return BUSY_PAUSE
    if errno == _MESSAGE_ERROR and reason.endswith("not found"):
        return TURN_PAUSE
    return None
