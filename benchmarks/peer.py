"""What all supervisors under test have in common: planned, launched, asked, stopped, and cleared away.

Each runs alone, in a temporary folder of its own, under ``reaper.py``. Everything that it starts bears that folder's
name, among its arguments or in its environment, and by that it is found, weighed and ended.
"""

import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from benchmarks import proc
from benchmarks.client import HOST, Api, Json, get, health

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PEERS = ROOT / "build" / "peers"
PYTHON = str(Path(sys.executable).resolve())
"""What runs the measured services: the interpreter itself, no virtual environment's."""
NOT_FOR_PEERS = ("PYTHON", "AURORA_", "CIRCUS", "VIRTUAL_ENV", "COVERAGE", "MAKE", "PM2_")
"""How environment variables begin that nobody's measured processes get: those of whoever runs this."""
SPARE_PORTS = 4
TURN = 0.001
"""Seconds between two looks at what tells nobody when it changes."""
MOST_PAUSE = 0.05
"""The same at most, where a look takes long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a supervisor is to run."""

    services: int = 5
    levels: bool = False
    """Whether one service comes first, a second one after it, and all others after that."""
    interval: float = 1.0
    """Seconds between two probes, where it probes."""
    grandchildren: bool = False
    looping: int = 0
    """So many of the services, from the first on, exit with 1 at once."""
    settings: Mapping[str, Json] = field(default_factory=dict)
    """More tables for our own fleet file."""


@dataclass(frozen=True, slots=True)
class Service:
    """One of the programs that are supervised."""

    name: str
    port: int
    argv: tuple[str, ...]
    starts: Path
    """Where each start of it writes its line."""

    @property
    def command(self) -> str:
        """The command line, for a shell and for whoever splits it like one."""
        return shlex.join(self.argv)

    def started(self) -> list[float]:
        """Return when each start happened, in seconds since 1970."""
        lines = self.starts.read_text(encoding="utf-8").splitlines() if self.starts.exists() else []
        return [float(line.split()[0]) for line in lines]

    def pid(self, timeout: float = 0.25) -> int | None:
        """Return who answers healthily on its port."""
        said = health(self.port, timeout)
        return None if said is None else int(said["pid"])

    def harm(self, mode: str) -> bool:
        """Tell it to behave badly from now on: ``hang`` or ``fail``."""
        return get(self.port, f"/{mode}", 1.0) is not None


def free_ports(count: int) -> list[int]:
    """Return a row of ports below those that the system itself hands out, free just now."""
    while True:
        first = random.randrange(12000, 32000 - count)
        with ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    one = stack.enter_context(socket.socket())
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    one.bind((HOST, port))
            except OSError:
                continue
            return list(range(first, first + count))


def pause(looked: float) -> float:
    """Return how long to wait after a look at many that took so long: it must not cost those who start them much."""
    return max(TURN, min(MOST_PAUSE, 3 * looked))


def environment(**more: str) -> dict[str, str]:
    """Return the environment for measured processes: like a user's, whoever runs this."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith(NOT_FOR_PEERS)}, **more}


def version_of(python: Path, *packages: str) -> dict[str, str]:
    """Return the versions of packages that another Python has."""
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    done = subprocess.run([python, "-c", code, *packages], capture_output=True, text=True, check=True)
    return dict(zip(packages, done.stdout.split(), strict=True))


class Peer(ABC):
    """A supervisor. A subclass writes its configuration and says by what commands it is used."""

    name: ClassVar[str]
    notes: ClassVar[str]
    """How it is configured, for the page."""
    probes: ClassVar[bool] = False
    """Whether it asks for health."""
    fastest: ClassVar[float] = 1.0
    """The least number of seconds between two probes that it can be told."""
    period: ClassVar[float] = 1.0
    """Seconds in which what it does by the clock comes round: harm is done at any moment of that."""
    gates: ClassVar[bool] = False
    """Whether a start waits for the health of those before it."""
    revives: ClassVar[bool] = False
    """Whether a supervisor that was killed is replaced without anybody's doing."""
    sigterm: ClassVar[bool] = False
    """Whether SIGTERM to its main process takes everything down in an orderly way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = folder.name
        self.hang_while = folder / "all-hang"
        """While this file exists, every service hangs."""
        self.services: list[Service] = []
        self.ports: list[int] = []
        self.main = 0
        self._command: Sequence[str] = ()
        self._waiting: subprocess.Popen[bytes] | None = None
        self._reapers: list[subprocess.Popen[bytes]] = []

    # --- what a subclass says ------------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def versions(cls) -> dict[str, str]:
        """Return the versions of all that this is."""

    @abstractmethod
    def configure(self, plan: Plan) -> Sequence[str]:
        """Write the configuration, and return the command that starts the supervisor."""

    @abstractmethod
    def stop_command(self) -> Sequence[str]:
        """Return what stops everything, and it."""

    @abstractmethod
    def status_command(self) -> Sequence[str]:
        """Return what shows the state of every service."""

    def apis(self) -> dict[str, Api]:
        """Return its status calls by their names."""
        return {}

    def environment(self) -> dict[str, str]:
        """Return what it is started and commanded with."""
        return environment(BENCH_MARK=self.mark)

    def main_pid(self) -> int:
        """Return the process that supervises: what was launched, unless that leaves a daemon."""
        return self.main

    # --- what is the same for all --------------------------------------------------------------------------------

    def plan(self, plan: Plan) -> None:
        """Write everything; nothing runs yet but the reaper, which waits for a word."""
        numbers = free_ports(plan.services + SPARE_PORTS)
        self.ports = numbers[:SPARE_PORTS]
        for index, port in enumerate(numbers[SPARE_PORTS:]):
            starts = self.folder / f"svc{index}.starts"
            options = ["--port", str(port), "--tag", self.mark, "--log", str(starts)]
            options += ["--hang-while", str(self.hang_while)]
            options += ["--grandchild"] if plan.grandchildren else []
            options += ["--exit-now", "1"] if index < plan.looping else []
            argv = (PYTHON, "-IS", str(HERE / "service.py"), *options)
            self.services.append(Service(f"svc{index}", port, argv, starts))
        self._command = self.configure(plan)
        self.prepare()

    def prepare(self) -> None:
        """Start the reaper of the next launch, and let it come up."""
        with (self.folder / "supervisor.out").open("ab") as out:
            self._waiting = subprocess.Popen(
                [PYTHON, "-IS", str(HERE / "reaper.py"), *self._command],
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                start_new_session=True,
            )
        self._reapers.append(self._waiting)
        time.sleep(0.3)

    def launch(self) -> float:
        """Start the supervisor; return the moment."""
        reaper = self._waiting
        if reaper is None or reaper.stdin is None or reaper.stdout is None:
            raise RuntimeError(f"launching {self.name}: there was no prepare() before it")
        self._waiting = None
        begun = time.monotonic()
        reaper.stdin.write(b"go\n")
        reaper.stdin.close()
        self.main = int(reaper.stdout.readline())
        reaper.stdout.close()
        return begun

    def await_healthy(self, begun: float, seconds: float, services: Sequence[Service] | None = None) -> float | None:
        """Return how long after ``begun`` each has answered once; nothing when one has not in that time."""
        waiting = list(self.services if services is None else services)
        while waiting:
            looked = time.monotonic()
            waiting = [each for each in waiting if each.pid() is None]
            now = time.monotonic()
            if now - begun > seconds:
                return None
            if waiting:
                time.sleep(pause(now - looked))
        return time.monotonic() - begun

    def own(self) -> set[int]:
        """Return the supervisor's processes: all that it started, less services, grandchildren and reapers."""
        reapers = {each.pid for each in self._reapers}
        found = proc.with_mark(self.mark)
        return {
            pid
            for pid in found - reapers
            if b"service.py" not in proc.read(pid, "cmdline") and b"BENCH_GRANDCHILD=" not in proc.read(pid, "environ")
        }

    def run(self, command: Sequence[str], seconds: float = 120.0) -> subprocess.CompletedProcess[bytes]:
        """Run one of its commands to its end."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )

    def stop(self, seconds: float, *, by_signal: bool = False) -> float | None:
        """Take everything down as its user does; return how long until all is gone, nothing when something stays."""
        there = self.own() | {pid for pid in map(Service.pid, self.services) if pid}
        begun = time.monotonic()
        if by_signal:
            proc.send(self.main_pid(), signal.SIGTERM)
        else:
            with suppress(subprocess.TimeoutExpired):
                self.run(self.stop_command(), seconds)
        left = proc.all_gone(there, begun + seconds - time.monotonic())
        return None if left else time.monotonic() - begun

    def end(self) -> None:
        """Leave nothing behind: whoever bears the mark is killed by pid, supervisors first."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            reapers = {each.pid for each in self._reapers}
            left = proc.with_mark(self.mark) - reapers
            if not left:
                break
            own = self.own()
            for pid in [*own, *(left - own)]:
                proc.send(pid)
            proc.all_gone(left, 1.0)
        for each in self._reapers:
            each.kill()
            each.wait()
            for stream in (each.stdin, each.stdout):
                if stream is not None:
                    stream.close()
        shutil.rmtree(self.folder, ignore_errors=True)
