"""Keeps the plugin up, from within circusd and on its loop: it must never block, and it decides about nobody else.

circus itself looks for dead children once a second, does nothing of the kind while an operator's slow stop holds its
lock, and not for an hour when the clock is set back. Here the plugin's end is an event, and the next plugin is started
at once, whatever circus is busy with: nothing but the plugin's own watcher is touched, and only while that is active.

A plugin whose loop hangs ends itself. One that was stopped (SIGSTOP), or is stuck so deep that not even its own
watchdog fires, says nothing any more: it gives a sign of life each second, and is ended by force when that stays out.
Time is counted in looks of our own, not by a clock: while circusd itself stands still nobody else is late.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from circus import logger
from circus.exc import ConflictError

from aurora_circus import processes
from aurora_circus.facts import Exit, Process

LOOK = 0.5
"""Seconds between two looks."""
LOOK_AGAIN = 0.25
"""The same while the plugin is found stopped: the fleet's API is away, and whoever continues it does so at once."""
SILENT = 30
"""Looks without a sign of life after which a plugin is stuck; its own watchdog comes first, after 10 s."""
BEGINS = 120
"""The same for one that has just been started, and has not given any yet: it imports, on a busy machine."""
STOPPED = 3
"""Looks in a row that find it stopped."""
YOUNG = 10
"""Looks that a plugin has to live for the next one to be started at once; else at `REST`: no hot loop."""
REST = 2
"""Looks that find no plugin until the next one is started, where the last one died young."""


class Guard:
    """Watches one plugin. Everything is called on circusd's loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, find: Callable[[], Any]) -> None:
        """``find`` returns the plugin's watcher while it is to be kept up; None while nobody wants that."""
        self._loop = loop
        self._find = find
        self._process: Process | None = None
        self._watch: processes.Watch | None = None
        self._age = self._silent = self._stopped = self._missing = 0
        self._heard = False
        self._over = False
        self.reviving = False
        """True while circus is asked for a new one."""

    def begin(self) -> None:
        """Look, and again after `LOOK`."""
        if self._over:
            return
        try:
            self.look()
        finally:
            self._loop.call_later(LOOK_AGAIN if self._stopped else LOOK, self.begin)

    def close(self) -> None:
        """Look no more."""
        self._over = True
        self._forget()

    def beat(self) -> None:
        """Take note of a sign of life."""
        self._silent = 0
        self._heard = True

    def look(self) -> None:
        """See whether there is a plugin, and whether it moves."""
        watcher = self._find()
        if watcher is None:
            self._forget()
            return
        if watcher.is_stopped():
            self._restart(watcher)
            return
        process = _held(watcher)
        if process is None or not processes.alive(process):
            self._missing += 1
            if self._age >= YOUNG or self._missing >= REST:
                self._revive(watcher)
        elif process != self._process:
            self._take(process)
        else:
            self._count(process)

    def _count(self, process: Process) -> None:
        self._age += 1
        self._silent += 1
        self._stopped = self._stopped + 1 if processes.stopped(process) else 0
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
        process = _held(watcher)
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

    def _forget(self) -> None:
        if self._watch is not None:
            self._watch.close()
        self._watch = self._process = None
        self._age = self._silent = self._stopped = self._missing = 0
        self._heard = False


def _report(started: "asyncio.Future[None]") -> None:
    error = None if started.cancelled() else started.exception()
    if error is not None:
        logger.error("aurora: starting the plugin again: %s", error, exc_info=error)


def _held(watcher: Any) -> Process | None:
    """Return the process that circus holds for a watcher, dead or alive."""
    return next((found for pid in watcher.processes if (found := processes.identify(pid)) is not None), None)
