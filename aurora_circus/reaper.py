"""Sees processes end: at once where the system has an event for it, and in the order in which it happens.

Of each it finds out how it ended and what it last said, and waits until nobody of its group is left. It decides
nothing: it tells :class:`~aurora_circus.facts.Exited` and :class:`~aurora_circus.facts.Gone`.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Protocol

from aurora_circus import facts, logs, ports, processes
from aurora_circus.clock import Clock
from aurora_circus.facts import Exit, Fact, Holder, Process, State
from aurora_circus.lifecycle import Lifecycle
from aurora_circus.marks import Mark

log = logging.getLogger(__name__)

EXIT_PATIENCE = 0.05
"""Seconds to wait for circusd's word on how a process ended, where it was quicker than we were to collect it."""
_BY_FORCE = frozenset({"SIGKILL", "SIGSEGV", "SIGBUS", "SIGABRT", "SIGFPE", "SIGILL"})
"""What nobody asks a process to end by. Any other end is no crash before circusd has said what it was told."""
LOOK_AGAIN = 1.0
"""Seconds between two looks at who is left of a group, where the system refuses to tell of their ends."""
ORDER_PATIENCE = 0.5
"""Seconds that the word of one exit waits for that of an earlier one, whose details take longer to find out."""
WORDS_KEPT = 50
"""Of circusd's words on how processes ended."""


class Surroundings(Protocol):
    """What a reaper needs of the driver."""

    clock: Clock

    def tell(self, fact: Fact) -> None:
        """Take a fact."""

    def start(self, work: Coroutine[Any, Any, None], what: str) -> None:
        """Let work go on beside everything else."""

    async def catch_up(self) -> None:
        """Hear what circusd was told before now."""

    def aside(self, work: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:  # noqa: ANN401 - any work
        """Have work done in a thread."""

    def ending(self, work: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:  # noqa: ANN401 - any work
        """Have work done in a thread for what ends, which waits for no disk."""

    def mark(self, key: str) -> Mark:
        """Return what a system bears."""


class Reaper:
    """Watches the processes of one fleet. ``lives`` returns its systems; every method is called on the event loop."""

    def __init__(self, driver: Surroundings, lives: Callable[[], Mapping[str, Lifecycle]]) -> None:
        """Watch nobody yet."""
        self._driver = driver
        self._lives = lives
        self._loop = asyncio.get_running_loop()
        self._watched: dict[Process, processes.Watch] = {}
        self._ending: dict[Process, asyncio.Event] = {}
        """Whose end was seen, until nobody of their groups is left; set when the end was told."""
        self._batch: list[tuple[str, Process]] = []
        self._last: asyncio.Event | None = None
        self._words: dict[int, int] = {}
        self._log_sizes: dict[str, int] = {}

    def begins(self, key: str, log_size: int) -> None:
        """Take note of how long the log of ``key`` is when a process of it begins: what follows are its own words."""
        self._log_sizes[key] = log_size

    def word(self, pid: int, code: int) -> None:
        """Take circusd's word on how a process ended; a hint for where we came too late to see."""
        self._words[pid] = code
        while len(self._words) > WORDS_KEPT:
            self._words.pop(next(iter(self._words)))

    def watch(self, key: str, process: Process) -> None:
        """Be told of the end of ``process``, by the system where it can, by :meth:`look` otherwise."""
        if process in self._watched:
            return
        watch = processes.watch(process)
        if watch is not None:
            try:
                watch.notify(self._loop, lambda: self._ended(key, process))
            except OSError as error:  # out of whatever it takes: then it is seen by looking
                log.error("%s: nothing will tell of the end of process %d: %s", key, process.pid, error)
                watch.close()
            else:
                self._watched[process] = watch
        elif not processes.alive(process):
            self._loop.call_soon(self._ended, key, process)

    def look(self) -> None:
        """See who has ended of those that the system tells nothing of."""
        for key, life in self._lives().items():
            if life.process is not None and life.process not in self._watched and not processes.alive(life.process):
                self._ended(key, life.process)

    async def last_word(self, key: str, process: Process) -> None:
        """Wait until the end of ``process`` was told, where it has ended: who comes after it is heard after it."""
        if not processes.alive(process):
            self._ended(key, process)
            await self._ending[process].wait()

    def _ended(self, key: str, process: Process) -> None:
        if process not in self._ending:
            self._ending[process] = asyncio.Event()
            if not self._batch:
                self._loop.call_soon(self._tell_batch)
            self._batch.append((key, process))

    def _tell_batch(self) -> None:
        """Go on with those whose end was seen at once, dependents first: that is the order in which a fleet goes."""
        order = {key: number for number, key in enumerate(self._lives())}
        batch, self._batch = sorted(self._batch, key=lambda each: -order.get(each[0], 0)), []
        for key, process in batch:
            before, self._last = self._last, asyncio.Event()
            self._driver.start(self._exited(key, process, before, self._last), f"exit of {key}")

    async def _exited(self, key: str, process: Process, before: asyncio.Event | None, told: asyncio.Event) -> None:
        """Find out how it ended and say so, after those that ended ``before`` it.

        That it ended is said whatever goes wrong with the details: nobody would look at it again.
        """
        at, moment = self._driver.clock.monotonic(), processes.moment()
        how, holder = Exit(), None
        try:
            how = await self._how(key, process)
            holder = await self._holder(key)
            if before is not None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(before.wait(), ORDER_PATIENCE)
        finally:
            self._driver.tell(facts.Exited(at, key, process, how, holder))
            told.set()
            self._ending[process].set()
            watch = self._watched.pop(process, None)
            if watch is not None:
                watch.close()
            self._driver.start(self._sweep(key, process, moment), f"end of the group of {key}")

    async def _how(self, key: str, process: Process) -> Exit:
        seen = processes.exit_status(process)
        life = self._lives().get(key)
        up = life is not None and life.wanted and life.state in {State.STARTING, State.HEALTHY}
        if up and (seen is None or seen[1] not in _BY_FORCE):
            await self._driver.catch_up()  # whose wish it was, circusd knew before it sent the signal
        if seen is None and process.pid not in self._words:
            await asyncio.sleep(EXIT_PATIENCE)  # circusd's word on how it ended is on its way
        if seen is None:
            code = self._words.pop(process.pid, None)
            seen = (None, None) if code is None else processes.from_exit_code(code)
        if life is None or not life.system.log:
            return Exit(*seen)
        size = self._log_sizes.get(key, 0)
        return Exit(*seen, await self._driver.aside(logs.last_line_since, life.system.log, size))

    async def _holder(self, key: str) -> Holder | None:
        """Return who else has the port of one that died while it started: that may be what it died of."""
        life = self._lives().get(key)
        if life is None or life.state is not State.STARTING:
            return None
        holder: Holder | None = await self._driver.aside(ports.holder, life.system.port)
        return holder

    async def _sweep(self, key: str, process: Process, moment: int) -> None:
        """Wait until nobody of the system that ``process``, which is dead, has led runs any more, and say so."""
        while others := await self._left(key, process, moment):
            for each in others:
                await self.end_of(key, each)
            moment = processes.moment()
        processes.forget(process)
        self._driver.tell(facts.Gone(self._driver.clock.monotonic(), key, process))
        self._ending.pop(process, None)

    async def _left(self, key: str, process: Process, moment: int) -> list[Process]:
        """Return who else is left of the system; that nobody is, is said only of a machine that could be looked at."""
        while True:
            try:
                left = await self._driver.ending(processes.left, process, self._driver.mark(key), moment)
            except OSError as error:
                log.error("%s: who is left of it cannot be seen: %s", key, error)
                await asyncio.sleep(LOOK_AGAIN)
            else:
                return [each for each in left if each != process]

    async def end_of(self, key: str, process: Process) -> None:
        """Wait for the end of one process, or for a while where nothing tells of it."""
        watch = processes.watch(process)
        if watch is None:
            if processes.alive(process):
                await asyncio.sleep(EXIT_PATIENCE)  # this system has no event for it
            return
        ended = asyncio.Event()
        try:
            watch.notify(self._loop, ended.set)
            await ended.wait()
        except OSError as error:  # out of whatever it takes: it is looked at again
            log.error("%s: nothing will tell of the end of process %d: %s", key, process.pid, error)
            await asyncio.sleep(LOOK_AGAIN)
        finally:
            watch.close()
