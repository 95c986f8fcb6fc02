"""Keeps the plugin up, from within circusd and on its loop: it must never block, and it decides about nobody else.

circus itself looks for dead children once a second, does nothing of the kind while an operator's slow stop holds its
lock, and not for an hour when the clock is set back. Here the plugin's end is an event, and the next plugin is started
at once, whatever circus is busy with: nothing but the plugin's own watcher is touched, and only while that is active.

A plugin whose loop hangs ends itself. That one was stopped (SIGSTOP) is an event too. One that is stuck so deep that
not even its own watchdog fires says nothing any more: it gives a sign of life every other second, and is ended by force
when that stays out. Time is counted in looks of our own, not by a clock: while circusd itself stands still nobody is
late.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from circus import logger
from circus.exc import ConflictError

from aurora_circus import processes
from aurora_circus.facts import Exit, Process

LOOK = 2.4
"""Seconds between two looks, if nothing else happens: a sign of life has one made with it, since circusd is awake."""
AGAIN = 0.9
"""Seconds after a look until a sign of life has another one made; it comes every two seconds, or more often."""
MISSING_LOOK = 0.6
"""Seconds between two looks while there is no plugin."""
STOPPED_LOOK = 0.25
"""The same while it is found stopped: the fleet's API is away, and whoever continues it does so at once."""
SILENT = 7
"""Looks without a sign of life after which a plugin is stuck; its own watchdog comes first, after 10 s."""
BEGINS = 25
"""The same for one that has just been started, and has not given any yet: it imports, on a busy machine."""
STOPPED = 3
"""Looks in a row that find it stopped."""
YOUNG = 3
"""Looks that a plugin has to live for the next one to be started at once; else at the next look: no hot loop."""


class Guard:
    """Watches one plugin. Everything is called on circusd's loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, find: Callable[[], Any], beside: Callable[[], None] = lambda: None
    ) -> None:
        """``find`` returns the plugin's watcher while it is to be kept up; None while nobody wants that.

        ``beside`` is what else is to be looked after as often.
        """
        self._loop = loop
        self._find = find
        self._beside = beside
        self._process: Process | None = None
        self._watch: processes.Watch | None = None
        self._age = self._silent = self._stopped = 0
        self._heard = False
        self._over = False
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0
        """From when on a sign of life has a look made, by the loop's clock."""
        self.reviving = False
        """True while circus is asked for a new one."""

    def begin(self) -> None:
        """Look, and again after `LOOK`."""
        if self._over:
            return
        self._next = self._loop.time() + AGAIN
        try:
            self.look()
        finally:
            self._plan(STOPPED_LOOK if self._stopped else LOOK if self._process else MISSING_LOOK)
            self._beside()

    def _plan(self, delay: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay, self.begin)

    def close(self) -> None:
        """Look no more."""
        self._over = True
        self._forget()

    def beat(self) -> None:
        """Take note of a sign of life; what it came with goes first, then a look. The first one is a new plugin's."""
        self._silent = 0
        now = self._loop.time()
        if now >= self._next or (self._process is None and not self._heard):
            self._next = now + AGAIN
            self._loop.call_soon(self.begin)
        self._heard = True

    def child(self) -> None:
        """Take note that a child of circusd's has ended, was stopped, or goes on: see whether the plugin is stopped."""
        if self._process is not None and not self._stopped and processes.stopped(self._process):
            self.begin()

    def look(self) -> None:
        """See whether there is a plugin, and whether it moves."""
        watcher = self._find()
        if watcher is None:
            self._forget()
            return
        if watcher.is_stopped():
            self._restart(watcher)
            return
        process, how = _held(watcher)
        if process is None or how == "ended":
            self._revive(watcher)
        elif process != self._process:
            self._take(process)
        else:
            self._count(process, stopped=how == "stopped")

    def _count(self, process: Process, *, stopped: bool) -> None:
        self._age += 1
        self._silent += 1
        self._stopped = self._stopped + 1 if stopped else 0
        if self._stopped >= STOPPED:
            why = "was stopped"
        elif self._silent >= (SILENT if self._heard else BEGINS):
            why = f"has given no sign of life for {self._silent * LOOK:g} s"
        else:
            return
        logger.error("aurora: the plugin (pid %s) %s: it is ended by force, and started again", process.pid, why)
        processes.kill(process)

    def _restart(self, watcher: Any) -> None:
        """Have circus start a watcher that it has stopped, since it could start no process; with its lock, or later."""
        self._forget()
        with contextlib.suppress(ConflictError):
            watcher.start().add_done_callback(_report)

    def _revive(self, watcher: Any) -> None:
        """Have circus start the next one; with its lock or without, nothing else has to do with this watcher now."""
        for pid in list(watcher.processes):
            watcher.reap_process(pid)
        self.reviving = True
        try:
            watcher.manage_processes().add_done_callback(_report)
        finally:
            self.reviving = False
        process, _ = _held(watcher)
        if process is not None:
            self._take(process)

    def _take(self, process: Process) -> None:
        self._forget()
        self._process = process
        self._watch = processes.watch(process)
        if self._watch is not None:
            self._watch.notify(self._loop, self._ended)

    def _ended(self) -> None:
        process = self._process
        if process is not None and self._find() is not None:
            status = processes.exit_status(process)
            how = "" if status is None else f" ({Exit(*status)})"
            logger.error("aurora: the plugin (pid %s) has ended%s: it is started again", process.pid, how)
        if self._age >= YOUNG:
            self.look()
        else:
            self._plan(MISSING_LOOK)

    def _forget(self) -> None:
        if self._watch is not None:
            self._watch.close()
        self._watch = self._process = None
        self._age = self._silent = self._stopped = 0
        self._heard = False


def _report(started: "asyncio.Future[None]") -> None:
    error = None if started.cancelled() else started.exception()
    if error is not None:
        logger.error("aurora: starting the plugin again: %s", error, exc_info=error)


def _held(watcher: Any) -> tuple[Process | None, processes.How]:
    """Return the process that circus holds for a watcher, dead or alive, and how it is."""
    found = (processes.glance(pid) for pid in watcher.processes)
    return next((each for each in found if each is not None), (None, "ended"))
