"""A real fleet that something is done to, and the oracle that looks at it afterwards.

A test makes a fleet, strikes, and waits for what has to come of it; when it is left, everything that must hold is
looked at from outside, the fleet is ended, and nothing of it may be left. How long things took is noted for the table
in ``docs/faults.md`` and never judged here: the machine may be busy.
"""

import contextlib
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import psutil
import requests

from aurora_circus import oracle, ports, story, witness
from tests.e2e.harness import DEADLINE, Fleet, Json
from tests.faults.honest import HonestClient

Made = TypeVar("Made")
MakeArena = Callable[..., "Arena"]


class Arena(Fleet):
    """A fleet under test. ``figures`` are what the table says of it: a label, and a number with its unit."""

    def __init__(self, folder: Path, systems: Mapping[str, Json], figures: dict[str, Any], **tables: Json) -> None:
        """Write nothing yet; ``figures`` is shared by all fleets of one test."""
        super().__init__(folder, systems, **tables)
        self.figures = figures
        self.excused: dict[str, str] = {}
        self.struck = 0
        """The number of the last record before the fault."""
        self._struck_at: float | None = None
        self._before: dict[str, oracle.Resources] = {}
        self._client: HonestClient | None = None
        self._left: list[str] = []
        self._told = story.Story()

    # --- the fault -------------------------------------------------------------------------------------------------

    def begin(self) -> "Arena":
        """Render, launch, wait until all are healthy, and take note of what circusd and the plugin hold."""
        self.start()
        self.watch()
        return self

    def watch(self) -> None:
        """Take note of what circusd and the plugin hold, and begin to ask the API all the time."""
        seen = self.look()
        self._before = dict(seen.own)
        if self._client is None:
            self._client = HonestClient(self.api_port)

    def strike(self, fault: Callable[[], Made]) -> Made:
        """Do it, and take note of when."""
        journal = self.journal()
        self.struck = journal[-1]["seq"] if journal else 0
        self._struck_at = time.time()
        return fault()

    def since(self, name: str, key: str | None = None, **details: object) -> list[Json]:
        """Return the records of one event since the fault."""
        return [
            each
            for each in self.events(name, key)
            if each["seq"] > self.struck and details.items() <= each["details"].items()
        ]

    def noticed(self, name: str, key: str | None = None, **details: object) -> Json:
        """Wait for the first such record since the fault; how long it took is the figure ``noticed``."""
        found = self.until(f"{name} {key} {details} since the fault", lambda: self.since(name, key, **details))[0]
        self._time("noticed", found)
        return found

    def back(self, key: str, old: int) -> int:
        """Wait until ``key`` is healthy in another process than ``old``; the figure ``back`` says how long it took."""
        pid = self.new_process(key, old)
        for each in reversed([*self.since("server_recovered", key), *self.since("server_started", key)]):
            self._time("back", each)
            break
        return pid

    def _time(self, label: str, record: Json) -> None:
        if self._struck_at is not None:
            at = datetime.fromisoformat(record["timestamp"]).timestamp()
            self.figure(label, round(max(0.0, at - self._struck_at), 3), "s")

    def figure(self, label: str, value: float, unit: str) -> None:
        """Have the table say so; the last word under a label counts."""
        self.figures[label] = [value, unit]

    # --- what must hold --------------------------------------------------------------------------------------------

    def excuse(self, rule: str, why: str) -> None:
        """Do not ask for a rule that cannot hold after this fault; ``why`` is for the reader."""
        self.excused[rule] = why

    def look(self) -> oracle.Sight:
        """Look at the fleet from outside."""
        return witness.look(
            self.config().fleet,
            witness.Answers(self.status() or None, self._complaint()),
            circusd=self.circusd_pid(),
            plugin=self.plugin_pid(),
            so_far=self._told,
        )

    def circusd_pid(self) -> int | None:
        """Return the pid of the circusd that runs; None where there is none."""
        return self.circusd.pid if self.circusd is not None and self.circusd.poll() is None else None

    def plugin_pid(self) -> int | None:
        """Return the pid of the plugin that circusd runs just now; None where there is none."""
        circusd = self.circusd_pid()
        if circusd is None:
            return None
        for each in psutil.Process(circusd).children():
            with contextlib.suppress(psutil.Error):
                if any("AuroraPlugin" in word for word in each.cmdline()) and each.status() != psutil.STATUS_ZOMBIE:
                    return each.pid
        return None

    def lose_circusd(self) -> None:
        """End circusd hard, and wait until its plugin has gone as well."""
        assert self.circusd is not None
        plugin = self.plugin_pid()
        self.circusd.kill()
        self.circusd.wait()
        if plugin is not None:
            self.launch_waits_for(plugin)

    def told_to_start_all(self) -> bool:
        """Say to the API that everybody is to be started; False when it could not be told just now."""
        try:
            return self.post("/api/autonomous/start-all").ok
        except requests.RequestException:
            return False

    def _complaint(self) -> str | None:
        try:
            response = self.session.get(f"{self.url}/health", timeout=10)
        except requests.RequestException as error:
            return f"no answer: {error}"
        return None if response.ok else response.text

    def findings(self, but: set[str] | None = None) -> list[oracle.Finding]:
        """Return what does not hold just now."""
        found = oracle.judge(self.look(), self._before)
        return [each for each in found if each.rule not in self.excused and each.rule not in (but or set())]

    def holds(self, but: set[str] | None = None) -> None:
        """Wait until everything that must hold does; say what does not, when the deadline is over."""
        self.until("everything that must hold", lambda: not self.findings(but))

    def told(self) -> str:
        """Put what does not hold on top of what is told of a failure."""
        found = "\n".join(map(str, self.findings())) if self.circusd is not None else ""
        return f"{found}\n{super().told()}"

    def running(self) -> bool:
        """Say whether there is a circusd to be looked at."""
        return self.circusd_pid() is not None

    def quiet(self) -> None:
        """Ask no more, and note what was seen meanwhile."""
        if self._client is not None:
            self._client.stop()
            self.figure("slowest answer", round(self._client.slowest * 1000, 1), "ms")
            self.figure("away", round(self._client.away, 2), "s")
            self._client = None

    def finish(self) -> None:
        """End the fleet in good order where it runs, and take note of what is left of it; then end that by force."""
        orderly = self.running()
        if orderly:
            self.take_down()
            assert self.circusd is not None
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.circusd.wait(DEADLINE)
            self._left = [f"process {pid}" for pid in self.leftovers()]
            held = [port for port in (*self.ports.values(), self.api_port) if ports.listening(port)]
            self._left += [f"listener on port {port}" for port in held]
        self.end()

    def nothing_left(self) -> None:
        """Check that the orderly end left no process and no listener of this fleet."""
        assert self._left == [], f"left over: {self._left}\n{self.told_by_logs()}"
