"""Keeps a circusd up: asks it whether it lives, ends one that is stuck, and starts the next on the same circus.ini.

Two use it. ``up`` keeps the circusd that it has started for as long as it runs itself. And where it does not (``up
-d``), the plugin that sees its circusd go starts this as a program, which outlives it:

    python -m aurora_circus.lookout PID WHY        AURORA_KEPT (``kept``) in the environment says the rest

It starts the next one, waits until that one's own plugin keeps it, and ends. Under the lock that ``up`` takes as well,
so there are never two; and never against the mark that the fleet is taken down on purpose.
"""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, Self

from aurora_circus import keeper, kept, launch, lookup, processes, settings
from aurora_circus.clock import Clock, pause
from aurora_circus.errors import AuroraError, MachineError
from aurora_circus.facts import Exit, Process
from aurora_circus.feed import newest
from aurora_circus.journal import Journal
from aurora_circus.kept import Kept
from aurora_circus.settings import Fleet

BEGIN_PATIENCE = 30.0
"""Seconds for a new circusd to be found by others; it takes less than one."""
_LOOK = 0.05
_LONG = 3600.0
RETURN_PATIENCE = 5.0
"""Seconds for an ``up -d`` that has shown how all came up to be gone."""
WRITE_PATIENCE = 3.0
"""Seconds for the last word to reach the disk."""

log = logging.getLogger("aurora_circus.lookout")


class Child(Protocol):
    """A circusd that this process has started, or that somebody else has: a ``subprocess.Popen`` is one."""

    pid: int
    returncode: int | Any
    """How it ended; None while that is not known."""

    def poll(self) -> int | None:
        """Look whether it has ended; None: it has not."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. ``subprocess.TimeoutExpired``: it has not come."""


class Adopted:
    """A circusd that somebody else has started: how it ends, nobody tells us."""

    returncode: int | None = None

    def __init__(self, process: Process) -> None:
        """Keep which one."""
        self.pid = process.pid
        self._process = process

    def poll(self) -> int | None:
        """See :class:`Child`."""
        return None if processes.alive(self._process) else 0

    def wait(self, timeout: float | None = None) -> int:
        """See :class:`Child`."""
        clock = Clock()
        until = None if timeout is None else clock.monotonic() + timeout
        while processes.alive(self._process):
            left = _LONG if until is None else until - clock.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired("circusd", timeout or 0.0)
            processes.await_end(self._process, left)
        return 0


def successor(fleet: Fleet, start: Callable[[], "subprocess.Popen[bytes]"]) -> "subprocess.Popen[bytes] | None":
    """Start the next circusd of a fleet, and return it when others can find it, or when it has ended.

    None: there is nothing to be done, since the fleet was taken down on purpose or somebody else has started one.

    Raises:
        AuroraError: it cannot be started, or nobody knows whether another one runs.
    """
    try:
        Path(fleet.run_dir).mkdir(
            mode=0o700, parents=True, exist_ok=True
        )  # it may have been removed before circusd died
    except OSError as error:
        raise MachineError(f"making the directory {fleet.run_dir}: {error.strerror}") from error
    with launch.lock(fleet, lambda: None):
        if kept.marked(fleet.run_dir) or lookup.find(fleet) is not None:
            return None
        lookup.remove_stale_pidfile(fleet)
        child = start()
        clock = Clock()
        until = clock.monotonic() + BEGIN_PATIENCE
        while lookup.has_begun(fleet, child.pid) is None and clock.monotonic() < until:
            if ended_within(child, _LOOK):
                break
    return child


def ended_within(child: Child, seconds: float) -> bool:
    """Wait for the end of ``child``, ``seconds`` at most; say whether it has come."""
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def how(child: Child) -> str:
    """Say how a circusd has ended; of one that is nobody's child here, nobody knows."""
    return "gone" if child.returncode is None else str(Exit(*processes.from_exit_code(child.returncode)))


def give_up(fleet: Fleet, pid: int, why: str) -> str:
    """Journal that no other circusd is started after the last one, once, and return it in words; no plugin may live.

    Raises:
        MachineError: somebody else has been at it for too long.
    """
    tries = len(keeper.DELAYS)
    with launch.lock(fleet, lambda: None):  # who keeps it besides us, and saw it end as well, gives up too
        if not any(each["details"].get("pid") == pid for each in newest(fleet, 1, event="circusd_given_up")):
            journal = Journal(Path(fleet.log_dir) / "events.jsonl", fleet.name, fleet.journal)
            journal.record("circusd_given_up", None, {"attempts": tries, "pid": pid, "why": why}, Clock().wall())
            journal.close(WRITE_PATIENCE)
    return f"circusd is given up: {tries} in a row were started and ended again, the last one (pid {pid}): {why}"


class Lookout:
    """While entered, asks one circusd whether it lives, and ends it by force when it does not answer any more.

    On a thread of its own, which does nothing else. ``why`` is set before it ends one. One that has not answered yet
    may take longer: it begins.
    """

    def __init__(self, fleet: Fleet, process: Process, *, ask_every: float = keeper.ASK) -> None:
        """Keep what to look at."""
        self._fleet = fleet
        self._process = process
        self._every = ask_every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lookout", daemon=True)
        self.why: str | None = None

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Look no more; a question that is under way may take its time."""
        self._over.set()

    def _run(self) -> None:
        clock = Clock()
        answered = clock.monotonic()
        unanswered, limit = 0, keeper.BEGINS
        while not self._over.wait(self._every):
            if not processes.alive(self._process):
                return
            if lookup.ask_pid(self._fleet) is not None:
                answered, unanswered, limit = clock.monotonic(), 0, keeper.STUCK
                continue
            unanswered += 1
            silent = clock.monotonic() - answered
            # both: while this machine slept, or we did, nobody was asked
            if unanswered >= keeper.ASKED and silent >= limit and not self._over.is_set():
                self._end(silent)
                return

    def _end(self, silent: float) -> None:
        if kept.marked(self._fleet.run_dir):
            return
        self.why = f"it did not answer for {silent:.0f} s"
        try:
            processes.end(self._process)
        except AuroraError as error:
            log.error("%s", error)


class Program:
    """Starts the next circusd, and the one after that, until one of them has settled."""

    def __init__(self, fleet: Fleet, known: Kept, environment: Mapping[str, str]) -> None:
        """``known``: how the last one was started; ``environment``: its plugin's."""
        self._fleet = fleet
        self._known = known
        self._environment = environment

    def run(self, pid: int, why: str, lived: float) -> int:
        """Replace the circusd ``pid``, that ``why`` is no more and has lived for so long; return the exit code.

        An ``up`` that keeps it does so itself, unless it is just about to return: that is waited for.
        """
        keeps = self._known.keeper
        if keeps is not None and processes.works(keeps):
            processes.await_end(keeps, RETURN_PATIENCE)
            if processes.works(keeps):
                log.info("circusd (pid %s) is gone; the `up` that keeps it (pid %s) sees to that", pid, keeps.pid)
                return 0
        while not kept.marked(self._fleet.run_dir):
            attempt = keeper.following(self._known.attempt, lived)
            self._known = replace(self._known, keeper=None, attempt=attempt, old=pid, why=why)
            wait = keeper.delay(attempt)
            if wait is None:
                log.critical("%s", give_up(self._fleet, pid, why))
                return 1
            log.info("circusd (pid %s) is to be replaced in %g s: %s", pid, wait, why)
            pause(wait)
            child = successor(self._fleet, self._start)
            if child is None:
                break
            log.info("circusd runs again, pid %s", child.pid)
            if not ended_within(child, keeper.SETTLED):
                return 0
            pid, why, lived = child.pid, how(child), 0.0
        log.info("no circusd is started: the fleet was taken down, or somebody else has started one")
        return 0

    def _start(self) -> "subprocess.Popen[bytes]":
        known = self._known
        environment = known.environment(self._environment)
        return launch.run(self._fleet, known.argv, Path(known.folder), environment, log.warning)


def main() -> int:
    """Be the program."""
    known = kept.take(os.environ)
    if known is None or known.circusd is None:
        sys.stderr.write(f"{kept.VARIABLE} does not say which circusd this is about\n")
        return 2
    fleet = settings.loads(Fleet, known.fleet)
    form = "%(asctime)s %(name)s[%(process)d] [%(levelname)s] %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, filename=launch.log_path(fleet), encoding="utf-8")
    pid, why, lived = sys.argv[1:]
    try:
        return Program(fleet, known, dict(os.environ)).run(int(pid), why, float(lived))
    except (AuroraError, OSError):
        log.exception("the next circusd is not started")
        return 1


if __name__ == "__main__":
    sys.exit(main())
