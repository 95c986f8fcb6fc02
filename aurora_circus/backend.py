"""What the API may ask of the driver, from its own threads: reading under the driver's lock, commands on its loop."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar, cast

from aurora_circus import chain, drills, liveness, logs, views
from aurora_circus.clock import rfc3339
from aurora_circus.drill_names import CONTROLLER
from aurora_circus.driver import Driver
from aurora_circus.errors import MachineError, UnknownServerError
from aurora_circus.fleet import Operation, Verb
from aurora_circus.fleet_text import FleetText
from aurora_circus.lifecycle import Lifecycle

COMMAND_PATIENCE = 5.0
"""Seconds for the event loop to accept a command; it takes a millisecond, or the plugin hangs."""
SAVE_PATIENCE = 0.06
"""Seconds that an answer waits for the wish to be on the disk, so that what was accepted lasts; an answer takes 0.1."""
LINES_SHOWN = 20
Result = TypeVar("Result")


class Accepted:
    """One accepted command, as the API shows it."""

    def __init__(
        self, operation: Operation, settled: threading.Event, driver: Driver, warning: str | None = None
    ) -> None:
        """``settled`` is set when the operation has come to its end."""
        self._operation, self._settled, self._driver = operation, settled, driver
        self.warning = warning
        """What whoever asked for it should know although it was accepted."""

    @property
    def id(self) -> str:
        """The name it can be asked after by."""
        return self._operation.ident

    @property
    def state(self) -> str:
        """``running``, ``succeeded``, ``failed`` or ``superseded``."""
        return self._operation.state

    @property
    def error(self) -> str | None:
        """Why it did not succeed."""
        return self._operation.error

    def wait(self, timeout: float) -> bool:
        """Wait ``timeout`` seconds at most for its end; False when that did not come."""
        return self._settled.wait(timeout)

    def as_dict(self) -> dict[str, object]:
        """Return it as JSON values."""
        operation = self._operation
        shift = self._driver.clock.wall() - self._driver.clock.monotonic()
        return {
            "id": operation.ident,
            "command": operation.verb,
            "servers": list(operation.servers),
            "by": operation.by,
            "state": operation.state,
            "pending": sorted(operation.running),
            "error": operation.error,
            "accepted_at": rfc3339(operation.at + shift),
            "finished_at": None if operation.finished is None else rfc3339(operation.finished + shift),
        }


class Backend:
    """Implements the API's ``Backend`` protocol. Thread-safe; nothing here waits for a system."""

    def __init__(self, driver: Driver, loop: asyncio.AbstractEventLoop) -> None:
        """``loop`` is the driver's."""
        self._driver, self._loop = driver, loop
        self._text = FleetText(driver.lock, driver.drilling.fault_of)

    @property
    def keys(self) -> Sequence[str]:
        """The systems, in start order."""
        return list(self._driver.fleet.lives)

    def status(self) -> dict[str, dict[str, object]]:
        """Return every system's status object."""
        now, shift = self._now()
        fleet, drilling = self._driver.fleet, self._driver.drilling
        with self._driver.lock:
            found = {each.system.key: views.status(fleet, each, now, lambda at: rfc3339(at + shift)) for each in fleet}
        return {key: {**each, "drill": drilling.fault_of(key)} for key, each in found.items()}

    def status_text(self) -> bytes:
        """Return the same as JSON, of which what has not changed is not made anew."""
        return self._text.at(self._driver.fleet, *self._now())

    def status_of(self, key: str) -> dict[str, object]:
        """Return one system's status object.

        Raises:
            UnknownServerError: there is no such system.
        """
        now, shift = self._now()
        with self._driver.lock:
            life = self._life(key)
            found = views.status(self._driver.fleet, life, now, lambda at: rfc3339(at + shift))
        return {**found, "drill": self._driver.drilling.fault_of(key)}

    def command(self, verb: str, keys: Sequence[str] | None, by: str) -> tuple[Accepted, bool]:
        """Have a command accepted; True when there is nothing to do. ``keys`` None means all systems."""
        servers = list(self._driver.fleet.lives) if keys is None else list(keys)
        operation, nothing = self._on_loop(lambda: self._driver.command(cast("Verb", verb), servers, by))
        warning = None
        if not self._driver.saved(SAVE_PATIENCE) and (error := self._driver.state_error) is not None:
            warning = f"accepted, and forgotten should the controller end before this is mended: {error}"
        return Accepted(operation, self._driver.settled[operation.ident], self._driver, warning), nothing

    def drill(self, key: str, order: drills.Order | None, by: str) -> dict[str, object]:
        """Begin a drill of a system, or end the one that there is (None).

        Raises:
            RefusedDrillError: it may not be begun.
            UnknownServerError: there is no such system.
            MachineError: the system refused it.
        """
        driver = self._driver

        def do() -> dict[str, object]:
            if order is None:
                return {"ended": driver.drilling.end(key, by)}
            if driver.draining:
                raise drills.RefusedDrillError("the fleet is being taken down")
            if key != CONTROLLER:
                self._life(key)
            return driver.drilling.begin(key, order, by, self.status())

        return self._on_loop(do)

    def _on_loop(self, work: Callable[[], Result]) -> Result:
        """Have ``work`` done on the driver's loop, and return what it returns or raise what it raises."""
        answer: Future[Result] = Future()

        def do() -> None:
            try:
                answer.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it is raised where it was asked for
                answer.set_exception(error)

        self._loop.call_soon_threadsafe(do)
        return answer.result(COMMAND_PATIENCE)

    def operation(self, ident: str) -> Accepted | None:
        """Return an accepted command, None when it is unknown or long forgotten."""
        operation, settled = self._driver.fleet.operations.get(ident), self._driver.settled.get(ident)
        return None if operation is None or settled is None else Accepted(operation, settled, self._driver)

    def explain(self, key: str) -> dict[str, object]:
        """Return all that is known of one system.

        Raises:
            UnknownServerError: there is no such system.
        """
        driver = self._driver
        now, shift = self._now()
        with driver.lock:
            life = self._life(key)
            answer = views.explain(
                driver.fleet,
                life,
                now,
                lambda at: rfc3339(at + shift),
                probes=list(driver.probes.get(key, ())),
                asked=driver.asked.get(key),
            )
        answer["drill"] = driver.drilling.told(key)
        answer["output"], answer["output_error"] = [], None
        try:
            answer["output"] = logs.tail(life.system.log, LINES_SHOWN) if life.system.log else []
        except MachineError as error:
            answer["output_error"] = str(error)
        return answer

    def logs(self, key: str, tail: int) -> list[str]:
        """Return the last lines of a system's own output.

        Raises:
            UnknownServerError: there is no such system.
        """
        life = self._life(key)
        return logs.tail(life.system.log, tail) if life.system.log else []

    def events(
        self, since: int | None, limit: int, server: str | None, event: str | None, wait: float
    ) -> dict[str, Any]:
        """Return journal records; wait ``wait`` seconds at most for one when there is none yet."""
        journal = self._driver.journal
        clock = self._driver.clock
        until = clock.monotonic() + wait
        while True:
            page = journal.read(since, limit, server, event)
            left = until - clock.monotonic()
            if page.events or left <= 0 or since is None or not journal.wait_for(page.next, left):
                break
            since = page.next if not page.truncated else since
        return {
            "events": page.events,
            "next": page.next,
            "oldest": page.oldest,
            "truncated": page.truncated,
            "system": self._driver.common.name,
        }

    def health(self) -> tuple[bool, dict[str, object]]:
        """Say how this controller itself is: circusd answers, probes are on time, the journal is writable."""
        driver = self._driver
        now = driver.clock.monotonic()
        with driver.lock:
            late = liveness.late(driver.fleet, now)
        circusd = liveness.answers(now, driver.looked_at, driver.trouble)
        writable = driver.journal.writable
        state = driver.state_error
        head = chain.Past(driver.journal.head, driver.journal.last_seq)
        healthy = circusd and writable and state is None and not late and driver.short is None
        return healthy, {
            "service": "aurora_circus",
            "circusd": {"ok": circusd, "error": driver.trouble},
            "journal": {"ok": writable, "error": driver.journal.last_error, **chain.save(head)},
            "state": {"ok": state is None, "error": state},
            "probes": {"ok": not late and driver.short is None, "late": late, "error": driver.short},
            "fleet": driver.common.name,
            "run_dir": driver.common.run_dir,
            "bundled": driver.common.bundled,
        }

    def _life(self, key: str) -> Lifecycle:
        life = self._driver.fleet.lives.get(key)
        if life is None:
            message = f"unknown server {key!r}"
            raise UnknownServerError(message)
        return life

    def _now(self) -> tuple[float, float]:
        now = self._driver.clock.monotonic()
        return now, self._driver.clock.wall() - now
