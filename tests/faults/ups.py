"""Fleets that the command line has brought up, as its users do: in the foreground, or in the background."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, cast

from aurora_circus import lookup, processes
from aurora_circus.clock import pause
from aurora_circus.errors import AuroraError
from aurora_circus.facts import Process
from tests.e2e.harness import DEADLINE, TURN, kill
from tests.faults.arena import Arena


class Circusd:
    """The circusd of a fleet, whichever that is just now, where a test's own would be a ``Popen``."""

    def __init__(self, fleet: Arena) -> None:
        """Keep whose."""
        self._fleet = fleet
        self._last: Process | None = None

    def now(self) -> Process | None:
        """Return which it is; None while there is none."""
        try:
            found = lookup.find(self._fleet.config().fleet)
        except AuroraError:
            return None
        self._last = found or self._last
        return found

    @property
    def pid(self) -> int:
        """Its pid."""
        found = self.now()
        assert found is not None
        return found.pid

    def poll(self) -> int | None:
        """Return None while there is one."""
        return None if self.now() else 0

    def wait(self, timeout: float = DEADLINE) -> int:
        """Wait until there is none, or, as whoever only wants to pass the time, for as long as is said."""
        for _ in range(int(timeout / TURN)):
            ended = timeout > TURN and self.now() is None and not (self._last and processes.alive(self._last))
            if ended and not self._fleet.leftovers():  # who has started it sees its end, and goes, a moment later
                return 0
            pause(TURN)
        raise subprocess.TimeoutExpired("circusd", timeout)

    def terminate(self) -> None:
        """Ask it to end."""
        os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        kill(self.pid)


def command(fleet: Arena, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command in the fleet's directory."""
    return subprocess.run(
        [sys.executable, "-m", "aurora_circus", *words],
        cwd=fleet.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=3 * DEADLINE,
        check=False,
    )


def known(fleet: Arena) -> Arena:
    """Take the circusd that the command line has started for the test's."""
    fleet.circusd = cast("Any", Circusd(fleet))
    fleet.all_healthy()
    fleet.watch()
    return fleet


def up_detached(fleet: Arena) -> Arena:
    """Bring it up by ``up -d``."""
    fleet.render()
    done = command(fleet, "up", "-d")
    assert done.returncode == 0, done.stdout + done.stderr + fleet.told_by_logs()
    return known(fleet)


@contextlib.contextmanager
def up(fleet: Arena) -> Iterator["subprocess.Popen[bytes]"]:
    """Bring it up by ``up``, and take it down by Ctrl-C, where that still runs: orderly, and leaving nothing."""
    fleet.render()
    output = fleet.folder / "up.out"
    with output.open("ab") as out:
        started = subprocess.Popen(
            [sys.executable, "-m", "aurora_circus", "up"],
            cwd=fleet.folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        known(fleet)
        yield started
        if started.poll() is None:
            fleet.holds()
            fleet.quiet()
            started.send_signal(signal.SIGINT)
            assert started.wait(3 * DEADLINE) == 0, output.read_text(encoding="utf-8")
            assert fleet.leftovers() == []
    finally:
        if started.poll() is None:
            started.kill()
            started.wait()


def replaced(fleet: Arena, starts: int) -> None:
    """Wait until each system has been started so often, by one circusd after the other, and all are well."""
    fleet.until(f"{starts} starts each", lambda: all(len(fleet.started(key)) >= starts for key in fleet.ports))
    fleet.all_healthy()
    assert [len(fleet.started(key)) for key in fleet.ports] == [starts] * len(fleet.ports)
