"""Looks after the systems' logs for the event loop: in a thread, since a disk may hang.

It decides nothing. What cannot be done is said once, until something else is wrong with it, and stops no system.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor, Future
from typing import Any, Protocol

from aurora_circus import logs, settings
from aurora_circus.errors import MachineError
from aurora_circus.reaper import Reaper

log = logging.getLogger(__name__)


class Surroundings(Protocol):
    """What it needs of the driver."""

    common: settings.Fleet
    reaper: Reaper

    def record(self, event: str, key: str | None, details: Mapping[str, object]) -> None:
        """Write into the journal."""

    def aside(self, work: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:  # noqa: ANN401 - any work
        """Have work done in a thread."""


class Rotation:
    """The logs of one fleet. Every method is called on the event loop."""

    def __init__(self, driver: Surroundings, threads: Executor, beside: Callable[[], object]) -> None:
        """``beside`` is what else is looked after in the same thread, and as often."""
        self._driver = driver
        self._threads = threads
        self._beside = beside
        self._loop = asyncio.get_running_loop()
        self._looking: Future[None] | None = None
        self._faults: dict[str, str] = {}

    async def prepare(self, path: str) -> int:
        """Return how long the log is now that a process is about to start; 0 where it cannot be used, or is none."""
        what = f"preparing {path}"
        try:
            size = int(await self._driver.aside(logs.prepare, path)) if path else 0
        except MachineError as error:
            if self._is_news(what, error):
                self._driver.record("controller_error", None, {"step": "preparing a log", "error": str(error)})
            return 0
        self._faults.pop(what, None)
        return size

    def look(self, paths: Mapping[str, str]) -> None:
        """Have the logs at ``paths`` rotated, by system, where they have grown; once a second.

        Nothing comes of it most of the time, and then nobody is woken for it. While the last look takes its time, there
        is no other.

        Raises:
            Exception: what went wrong with the last look, of what is not said otherwise.
        """
        before = self._looking
        if before is not None and not before.done():
            return
        self._looking = self._threads.submit(self._look, paths)
        if before is not None:
            before.result()

    def _look(self, paths: Mapping[str, str]) -> None:
        self._beside()
        done = {key: rotated for key, path in paths.items() if (rotated := self._rotate(path)) is not None}
        if done:
            self._loop.call_soon_threadsafe(self._rotated, paths, done)

    def _rotate(self, path: str) -> logs.Rotated | None:
        limits = self._driver.common.logs
        try:
            rotated = logs.rotate(path, limits.max_bytes, limits.backups)
        except MachineError as error:
            if self._is_news(path, error):
                log.error("%s", error)
            return None
        self._faults.pop(path, None)
        return rotated

    def _rotated(self, paths: Mapping[str, str], done: Mapping[str, logs.Rotated]) -> None:
        for key, rotated in done.items():
            self._driver.reaper.begins(key, 0)
            if rotated.dropped:
                self._driver.record("log_dropped", key, {"file": paths[key], "bytes": rotated.dropped})

    def _is_news(self, what: str, error: MachineError) -> bool:
        known, self._faults[what] = self._faults.get(what), str(error)
        return known != str(error)
