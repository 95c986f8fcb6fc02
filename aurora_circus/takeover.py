"""Takes over what ran before the plugin did, and ends what earlier lives have left before its place is taken again.

What runs is disturbed by nobody: it is known by circusd's word, by our memory, or by the marks that it bears. Part of
the driver; it runs on the event loop, and never holds up a thread that others wait for.
"""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, Literal, Protocol

from aurora_circus import processes
from aurora_circus.clock import Clock
from aurora_circus.errors import CircusError
from aurora_circus.facts import Exit, Process, State
from aurora_circus.fleet import Fleet, Memory
from aurora_circus.lifecycle import KILL_PATIENCE, WITH_PROCESS, Lifecycle
from aurora_circus.marks import PLUGIN, Mark
from aurora_circus.reaper import Reaper

OTHERS_GRACE = 5.0
"""Seconds for what is no system of this fleet, such as an earlier plugin that has not ended yet."""
LIMIT = 30.0
"""Seconds that something of an earlier life has for its end at most, however long its grace period is."""
LOOK_AGAIN = 1.0
"""Seconds after which it is looked again at who is left, whatever has ended meanwhile."""

log = logging.getLogger(__name__)


class Surroundings(Protocol):
    """What a takeover needs of the driver."""

    clock: Clock
    fleet: Fleet
    reaper: Reaper

    def record(self, event: str, key: str | None, details: Mapping[str, object]) -> None:
        """Write into the journal."""

    def start(self, work: Coroutine[Any, Any, None], what: str) -> None:
        """Let work go on beside everything else."""

    def end(self, key: str, process: Process, how: Literal["SIGTERM", "SIGKILL"]) -> None:
        """Send a signal to everybody of a system."""

    def mark(self, key: str) -> Mark:
        """Return what a system's processes bear."""

    def ending(self, work: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:  # noqa: ANN401 - any work
        """Have work done in a thread that never waits for a disk."""


class Takeover:
    """Knows of which systems nothing is left that nobody knows of. ``same``: circusd is that of our last life."""

    def __init__(self, driver: Surroundings) -> None:
        """Know of none yet."""
        self.same = False
        self._driver = driver
        self._clear: set[str] = set()
        self._clearing: dict[str, asyncio.Lock] = {}

    def is_clear(self, key: str) -> None:
        """Take note that nobody of ``key`` is left: it was seen."""
        self._clear.add(key)

    def begins(self, key: str) -> None:
        """Take note that there is a process of ``key`` again, which may leave something."""
        self._clear.discard(key)

    async def clear(self, key: str) -> None:
        """End what an earlier life has left of ``key``, and of which nobody knew; nothing where that was seen before.

        Raises:
            CircusError: it cannot be ended.
        """
        async with self._clearing.setdefault(key, asyncio.Lock()):  # else each would tell of whom one has ended
            if key not in self._clear:
                await self._end_left(key)
                self._clear.add(key)

    async def _end_left(self, key: str) -> None:
        driver, mark = self._driver, self._driver.mark(key)
        left = (await driver.ending(processes.left_of, mark.run_dir, (key,), processes.moment())).get(key)
        if left:
            life = driver.fleet.lives.get(key)
            grace = min(OTHERS_GRACE if life is None else life.system.graceful_timeout, LIMIT)
            await driver.ending(processes.terminate_all, left[0], mark)
            forced = not await self._all_gone(key, left[0], grace)
            if forced:
                await driver.ending(processes.kill_all, left[0], mark)
                if not await self._all_gone(key, left[0], KILL_PATIENCE):
                    message = f"pid {left[0].pid} of an earlier life of {key} cannot be ended"
                    raise CircusError(message)
            details = {"pids": [each.pid for each in left], "forced": forced}
            driver.record("leftover_ended", None if key == PLUGIN else key, details)

    async def _all_gone(self, key: str, leader: Process, limit: float) -> bool:
        """Wait until nobody is left, ``limit`` seconds at most; the loop is told of each end, and no thread waits."""
        loop = asyncio.get_running_loop()
        until = loop.time() + limit
        while left := await self._driver.ending(processes.left, leader, self._driver.mark(key)):
            rest = until - loop.time()
            if rest <= 0:
                return False
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._driver.reaper.end_of(key, left[0]), min(LOOK_AGAIN, rest))
        return True

    async def left(self, run_dir: str, keys: Collection[str]) -> Mapping[str, Sequence[Process]]:
        """Return who runs of each system that no living circusd holds; what has no marks is looked for by ``keys``."""
        found: Mapping[str, Sequence[Process]] = await self._driver.ending(processes.left_of, run_dir, keys)
        return found

    def adopt(
        self,
        memories: Mapping[str, Memory],
        running: Mapping[str, Sequence[int]],
        left: Mapping[str, Sequence[Process]],
    ) -> tuple[list[str], list[str]]:
        """Take over what runs, and know what an earlier circusd left.

        Returns the systems that were taken over, and those that run and are to be stopped: nobody wants them up, and
        our last life died over it. What is left of a system that is wanted up serves until its turn has come; of
        others it is ended at once. The caller holds what guards the fleet.
        """
        driver, now = self._driver, self._driver.clock.monotonic()
        adopted, unwanted = [], []
        driver.fleet.remember(memories, now)
        for key, life in driver.fleet.lives.items():
            known = memories.get(key, Memory(wanted=life.system.wanted))
            if known.port is not None and life.system.port_policy == "dynamic":
                driver.fleet.move(key, known.port)
            process = next((each for pid in running.get(key, ()) if (each := processes.identify(pid))), None)
            before = known.process
            if not life.wanted and (going := self._going(known, process)) is not None:
                unwanted.append(key)
                self._take(key, life, going, now)
            elif process is not None and processes.alive(process) and life.wanted:
                adopted.append(key)
                if self.same and before is not None and before != process:
                    self._replaced_unseen(key, before, process)
                self._take(key, life, process, now, healthy=known.state is State.HEALTHY)
                life.spawned_at = now - processes.age(process, driver.clock.wall())
            elif process is not None:
                continue
            elif before is not None and self.same and _was_up(life, known):
                adopted.append(key)
                self._take(key, life, before, now)  # it died while nobody looked: that is an exit like any other
            elif (serves := _serving(before, left.get(key, ()))) is not None and life.wanted:
                life.leave(serves)
                driver.reaper.watch(key, serves)
            elif before is not None and processes.members(before):  # whom a dead one has left, with no marks
                driver.end(key, before, "SIGKILL")
        for key in left:
            now_there = driver.fleet.lives[key].process if key in driver.fleet.lives else None
            if now_there is None or (key in adopted and processes.alive(now_there)):
                driver.start(self.clear(key), f"end of what is left of {key}")
        return adopted, unwanted

    def _take(self, key: str, life: Lifecycle, process: Process, now: float, *, healthy: bool = False) -> None:
        processes.hold(process, self._driver.mark(key))
        life.adopt(now, process, healthy=healthy)
        self._driver.reaper.watch(key, process)

    def _going(self, known: Memory, process: Process | None) -> Process | None:
        """Return the process of a system that is wanted down and was not yet, when our last life ended."""
        if process is not None and processes.alive(process):
            return process
        return known.process if process is None and self.same and known.state in WITH_PROCESS else None

    def _replaced_unseen(self, key: str, before: Process, process: Process) -> None:
        """Tell of an end, and of a start, that nobody saw: circusd was told to while the plugin was away."""
        driver = self._driver
        driver.record("server_exited", key, {"pid": before.pid, **dataclasses.asdict(Exit()), "after": None})
        details = {"cause": "started outside", "attempt": 0, "of": driver.fleet.lives[key].system.max_attempts}
        driver.record("server_starting", key, details)
        log.info("%s: process %d has taken the place of %d, unseen", key, process.pid, before.pid)


def _was_up(life: Lifecycle, known: Memory) -> bool:
    return life.wanted and known.wanted and known.state in {State.STARTING, State.HEALTHY, State.UNHEALTHY}


def _serving(known: Process | None, left: Sequence[Process]) -> Process | None:
    """Return who is to be replaced in its turn: the process we knew, or one that only its marks tell of."""
    if known is not None and processes.alive(known):
        return known
    return left[0] if left else None
