"""Does the drills: one fault at a time, on the plugin's event loop, and no longer than was asked for.

It strikes processes and says whose health is asked of a stand-in; what becomes of that is the fleet's to find out, as
of any fault. A stand-in is asked on 127.0.0.1 alone, only instead of the process that ran when the drill began, and it
can only make things worse: where it is gone, or answers that all is well, the system itself is asked. It must never
outlast its time, its process, or an operator's command to the same system.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import psutil

from aurora_circus import probe, processes, settings
from aurora_circus.clock import Clock, rfc3339
from aurora_circus.drill_names import CONTROLLER, STANDS_IN, Fault
from aurora_circus.drills import Order, RefusedDrillError, Status, attempts_left, refusal, strikes
from aurora_circus.errors import MachineError
from aurora_circus.facts import Outcome, Process, State
from aurora_circus.fleet import Fleet
from aurora_circus.journal import Journal

ANSWER_FIRST = 0.1
"""Seconds for the answer to reach who asked for the plugin's end."""
FLUSH_PATIENCE = 1.0
"""Seconds for the record of it to reach the disk."""

log = logging.getLogger(__name__)


class Surroundings(Protocol):
    """What drills need of the driver."""

    clock: Clock
    fleet: Fleet
    journal: Journal
    common: settings.Fleet

    def record(self, event: str, key: str | None, details: Mapping[str, object]) -> None:
        """Write into the journal."""

    def start(self, work: Coroutine[Any, Any, None], what: str) -> None:
        """Let work go on beside everything else."""

    def aside(self, work: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:  # noqa: ANN401 - any work
        """Have work done in a thread."""


@dataclass(slots=True, eq=False)
class Drill:
    """The one that runs."""

    key: str
    order: Order
    by: str
    process: Process | None
    left: int
    """Processes that are still to be ended, of a crash loop."""
    ends_at: float
    """Monotonic seconds."""
    timer: asyncio.TimerHandle | None = None


class Drilling:
    """The drills of one fleet. Every method but the properties is called on the event loop."""

    def __init__(self, driver: Surroundings) -> None:
        """Nothing is done yet."""
        self._driver = driver
        self._loop = asyncio.get_running_loop()
        self._current: Drill | None = None

    # --- orders ----------------------------------------------------------------------------------------------------

    def fault_of(self, key: str) -> str | None:
        """Return what is being done to a system, or None; from any thread."""
        drill = self._current
        return None if drill is None or drill.key != key else str(drill.order.fault)

    def told(self, key: str) -> dict[str, object] | None:
        """Return what there is to know of the drill of a system, or None; from any thread."""
        drill = self._current
        if drill is None or drill.key != key:
            return None
        shift = self._driver.clock.wall() - self._driver.clock.monotonic()
        return {"fault": str(drill.order.fault), "by": drill.by, "ends_at": rfc3339(drill.ends_at + shift)}

    def begin(self, key: str, order: Order, by: str, status: Status) -> dict[str, object]:
        """Begin a drill on a fleet of this ``status``, and return what is done.

        Raises:
            RefusedDrillError: it may not be; nothing was done.
            MachineError: the system refused it.
        """
        reason = refusal(order.fault, key, status, force=order.force)
        if reason is None and self._current is not None:
            reason = f"a drill runs already: {self._current.order.fault}"
        if reason is None and order.port in {self._driver.common.api.port, *(each["port"] for each in status.values())}:
            reason = f"port {order.port} is the fleet's own, and no stand-in's"
        if reason is not None:
            raise RefusedDrillError(reason)
        process = None if key == CONTROLLER else self._driver.fleet.lives[key].process
        count = 0 if key == CONTROLLER else strikes(order.fault, attempts_left(status[key]))
        ends_at = self._driver.clock.monotonic() + order.seconds
        drill = self._current = Drill(key, order, by, process, count, ends_at)
        drill.timer = self._loop.call_later(order.seconds, self._over, drill, "its time is over")
        details = {"fault": str(order.fault), "phase": "begins", "by": by, "seconds": order.seconds}
        pid = None if process is None else process.pid
        self._record(drill, {**details, "pid": pid, "port": order.port})
        if process is None:
            self._driver.start(self._end_ourselves(), "a drill of the plugin's end")
        elif order.fault not in STANDS_IN:
            self._strike(drill, process)
        return {"fault": str(order.fault), "pid": pid, "seconds": order.seconds, "strikes": count}

    def end(self, key: str, by: str) -> bool:
        """End the drill of a system because somebody wants that; False where there is none."""
        drill = self._current
        if drill is None or drill.key != key:
            return False
        self._over(drill, f"ended by {by}")
        return True

    def close(self) -> None:
        """End whatever runs: the controller does, too."""
        if self._current is not None:
            self._over(self._current, "the controller ends")

    # --- what happens ----------------------------------------------------------------------------------------------

    def appeared(self, key: str, process: Process) -> None:
        """End a new process in a crash loop."""
        drill = self._current
        if drill is not None and drill.key == key and drill.order.fault is Fault.CRASH_LOOP:
            self._strike(drill, process)

    def commanded(self, servers: Sequence[str], by: object) -> None:
        """Give way to an operator who wants something else of the system."""
        drill = self._current
        if drill is not None and drill.key in servers:
            self._over(drill, f"another command was given, by {by}")

    def check(self) -> None:
        """End a drill that has had its effect; called after each change."""
        drill = self._current
        if drill is None or drill.process is None:
            return
        life = self._driver.fleet.lives.get(drill.key)
        if life is None or not life.wanted:
            self._over(drill, "it is not wanted up any more")
        elif drill.order.fault is Fault.CRASH_LOOP:
            if life.state is State.FAILED:
                self._over(drill, "it was given up")
        elif life.process != drill.process:
            self._over(drill, "its process is gone")

    async def look(self, key: str, process: Process, system: settings.System) -> Outcome:
        """Probe a system, or in a drill its stand-in."""
        drill = self._current
        if drill is None or drill.process != process or drill.key != key or drill.order.port is None:
            return await probe.look(system.port, system.probe)
        began = self._loop.time()
        outcome = await probe.look(drill.order.port, system.probe)
        late = self._loop.time() - began >= system.probe.timeout - self._driver.clock.resolution
        shown = late if drill.order.fault is Fault.SLOW_HEALTH else outcome.latency is not None
        if not outcome.ok and shown and self._current is drill:
            return dataclasses.replace(outcome, reason=f"drill {drill.order.fault}: {outcome.reason}")
        if self._current is drill:
            self._over(
                drill, f"its stand-in does not show the fault: {outcome.reason or 'it answers that all is well'}"
            )
        return await probe.look(system.port, system.probe)

    # --- how it is done --------------------------------------------------------------------------------------------

    def _strike(self, drill: Drill, process: Process) -> None:
        how = processes.freeze if drill.order.fault is Fault.HANG else processes.kill
        drill.left -= 1
        try:
            how(process)
        except MachineError as error:
            self._over(drill, str(error))
            raise
        if drill.order.fault is Fault.CRASH_LOOP and drill.left <= 0:
            self._over(drill, "as many processes were ended as were to be")

    def _over(self, drill: Drill, why: str) -> None:
        if self._current is not drill:
            return
        self._current = None
        if drill.timer is not None:
            drill.timer.cancel()
        if drill.order.fault is Fault.HANG and drill.process is not None:
            try:
                processes.thaw(drill.process)
            except MachineError as error:
                log.error("%s: %s", drill.key, error)
                why = f"{why}; {error}"
        self._record(drill, {"fault": str(drill.order.fault), "phase": "over", "by": drill.by, "why": why})

    def _record(self, drill: Drill, details: Mapping[str, object]) -> None:
        self._driver.record("drill", None if drill.key == CONTROLLER else drill.key, details)

    async def _end_ourselves(self) -> None:
        await self._driver.aside(self._driver.journal.flush, FLUSH_PATIENCE)
        await asyncio.sleep(ANSWER_FIRST)
        psutil.Process().kill()
