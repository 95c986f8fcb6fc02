"""A real fleet for a test: circusd, the plugin and the services, in a folder and on ports of their own.

Whatever a test waits for, it waits for with a deadline, and a circusd that dies ends the wait. The deadlines only
bound a failure; no test asserts how long something took.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
import requests

from aurora_circus import fleetfile, launch, lookup, ports, processes, render, take_down
from aurora_circus.config import Config
from aurora_circus.facts import Process
from tests.free_ports import free_ports

WINDOWS = sys.platform == "win32"
DEADLINE = 180.0 if WINDOWS else 60.0
"""Seconds for anything that is waited for, on a machine that is busy with other things; all takes longer under Wine."""
PROBE_TIMEOUT = 5.0 if WINDOWS else 0.5
TURN = 0.02
"""Seconds between two looks at what tells nobody when it changes."""
SERVICE = Path(__file__).with_name("service.py")
Found = TypeVar("Found")
Json = dict[str, Any]

FAST = {
    "probe": {"interval": 0.3, "timeout": PROBE_TIMEOUT, "failure_threshold": 1},
    "restart": {"backoff_base": 0.05, "backoff_cap": 0.2, "start_timeout": DEADLINE / 2},
    "stop": {"graceful_timeout": 5.0, "path": "/stop"} if WINDOWS else {"graceful_timeout": 1.0},
}
"""Policies that make a test short."""


def kill(pid: int) -> None:
    """End a process as an operator's kill -9, or Task Manager, does."""
    psutil.Process(pid).kill()


BY_KILL = {"code": 15, "signal": None} if WINDOWS else {"code": None, "signal": "SIGKILL"}
"""How the journal tells an end by :func:`kill`: Windows knows an exit code, and psutil makes it 15."""


def freeze(pid: int) -> None:
    """Stop a process, and on Windows its whole job, in its tracks: what connects still can, and nobody answers."""
    leader = processes.identify(pid)
    assert leader is not None
    for each in processes.members(leader) if WINDOWS else [leader]:
        psutil.Process(each.pid).suspend()


unix_only = pytest.mark.skipif(WINDOWS, reason="Windows has no such thing")


def needs_owners() -> None:
    """Skip a test where the system does not say whose a listener is."""
    with socket.create_server(("127.0.0.1", 0)) as mine:
        found = ports.holder(mine.getsockname()[1])
    if found is None or found.pid != os.getpid():
        pytest.skip("this system does not say whose a listener is: Wine does not, Windows does")


def _value(value: object) -> str:
    """Write a value as TOML, which is JSON but for two things: no surrogate pairs, and no bare DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml(values: Mapping[str, Any], prefix: str = "") -> str:
    """Write nested tables as TOML."""
    plain = "".join(f"{k} = {_value(v)}\n" for k, v in values.items() if not isinstance(v, Mapping))
    tables = "".join(toml(v, f"{prefix}{k}.") for k, v in values.items() if isinstance(v, Mapping))
    return (f"[{prefix[:-1]}]\n" if prefix and plain else "") + plain + tables


def end_of(file: Path, size: int) -> str:
    """Return the last ``size`` bytes of a file as text; of what is none (a test may have put it there), nothing."""
    if not file.is_file():
        return ""
    with file.open("rb") as found:
        found.seek(max(0, found.seek(0, os.SEEK_END) - size))
        return found.read(size).decode("utf-8", "replace")


class Fleet:
    """One fleet in ``folder``. ``systems`` are tables of ``[system.KEY]``; each runs the test's service."""

    def __init__(self, folder: Path, systems: Mapping[str, Json], **tables: Json) -> None:
        """Write fleet.toml; nothing runs yet."""
        self.folder = folder
        numbers = free_ports(len(systems) + 1)
        self.ports = dict(zip(systems, numbers, strict=False))
        self.api_port = numbers[-1]
        self.url = f"http://127.0.0.1:{self.api_port}"
        command = f'{{python}} "{SERVICE}" "{folder}"'
        table = {
            key: {"port": self.ports[key], **({"command": command} if "command" not in values else {}), **values}
            for key, values in systems.items()
        }
        merged = {name: {**FAST.get(name, {}), **tables.get(name, {})} for name in {*FAST, *tables}}
        merged["fleet"] = {"name": "test", "builtin": False, **merged.get("fleet", {})}
        self.settings = {**merged, "api": {"port": self.api_port, **merged.get("api", {})}, "system": table}
        self.ini = folder / "circus.ini"
        self.circusd: subprocess.Popen[bytes] | None = None
        self.session = requests.Session()
        self.session.trust_env = False

    # --- running it ------------------------------------------------------------------------------------------------

    def mode(self, key: str, words: str) -> None:
        """Say how a service behaves from its next start on."""
        (self.folder / f"{key}.mode").write_text(words, encoding="utf-8")

    def render(self) -> None:
        """Write fleet.toml and circus.ini."""
        file = self.folder / "fleet.toml"
        file.write_text(toml(self.settings), encoding="utf-8")
        config = self.config()
        render.prepare_endpoints(config)
        render.make_directories(config)
        render.write(render.render(config, python=sys.executable), self.ini)

    def launch(self) -> None:
        """Start circusd on circus.ini."""
        with (self.folder / "circusd.out").open("ab") as out:
            self.circusd = subprocess.Popen(
                [sys.executable, *(("-X", "utf8") if WINDOWS else ()), "-m", "circus.circusd", str(self.ini)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                **launch.DETACHED,
            )

    def start(self) -> "Fleet":
        """Render, launch, and wait until every system is healthy."""
        self.render()
        self.launch()
        self.all_healthy()
        return self

    def end(self) -> None:
        """End circusd and whatever is left of the fleet; by pid, each known to be ours."""
        if self.circusd is not None and self.circusd.poll() is None:
            self.circusd.terminate()
            try:
                self.circusd.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self.circusd.kill()
                self.circusd.wait()
        for pid in self.leftovers():
            with contextlib.suppress(psutil.NoSuchProcess):
                kill(pid)

    def take_down(self) -> None:
        """Tell circusd to end, as a service manager would; on Windows, as `down` does."""
        assert self.circusd is not None
        if not WINDOWS:
            self.circusd.terminate()
            return
        process = self.known_circusd()
        while not launch.await_end(process, take_down.SAY_AGAIN):
            launch.terminate(self.config().fleet, process)

    def config(self) -> Config:
        """Return the fleet as it was last rendered."""
        return fleetfile.load(str(self.folder / "fleet.toml"))

    def known_circusd(self) -> Process:
        """Return circusd as the command line finds it."""
        found = lookup.find(self.config().fleet)
        assert found is not None
        return found

    def started(self, key: str) -> list[tuple[int, int]]:
        """Return (pid, grandchild's pid or 0) of each start of a service."""
        file = self.folder / f"{key}.starts"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [(int(pid), int(child)) for pid, child in (line.split() for line in lines)]

    def leftovers(self) -> list[int]:
        """Return the pids of services of this test, and of their grandchildren, that still run.

        A service is known by the folder on its command line; a program that is told no folder, by what a system's
        environment has and by working there.
        """
        found = []
        for each in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                foreign = "AURORA_SYSTEM" in each.environ() and each.cwd() == str(self.folder)
                if (foreign or str(self.folder) in each.cmdline()) and each.status() != psutil.STATUS_ZOMBIE:
                    found.append(each.pid)
        return found

    # --- asking it -------------------------------------------------------------------------------------------------

    def get(self, path: str) -> Json:
        """Ask the API; an error of the connection or the status is the test's."""
        response = self.session.get(f"{self.url}{path}", timeout=DEADLINE)
        response.raise_for_status()
        return dict(response.json())

    def post(self, path: str) -> requests.Response:
        """Tell the API."""
        return self.session.post(f"{self.url}{path}", timeout=DEADLINE)

    def status(self) -> dict[str, Json]:
        """Return every system's status; nothing while there is no API."""
        try:
            return self.get("/api/autonomous/status")
        except (requests.ConnectionError, requests.HTTPError):
            return {}

    def pids(self) -> dict[str, int]:
        """Return the pid of every system that has one."""
        return {key: each["pid"] for key, each in self.status().items() if each["pid"]}

    def journal_file(self) -> Path:
        """Return where the journal is written."""
        return Path(self.folder, self.settings["fleet"].get("log_dir", ".aurora/logs"), "events.jsonl")

    def journal(self) -> list[Json]:
        """Return the journal as it is on the disk."""
        file = self.journal_file()
        lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
        return [json.loads(line) for line in lines]

    def events(self, name: str, key: str | None = None) -> list[Json]:
        """Return the journal's records of one event, of one system where ``key`` says so."""
        return [each for each in self.journal() if each["event"] == name and key in {None, each["server"]}]

    def circusctl(self, *words: str) -> str:
        """Run circusctl as an operator would, and return what it printed."""
        endpoint = render.endpoints(self.config().fleet)[0]
        done = subprocess.run(
            [sys.executable, "-m", "circus.circusctl", "--endpoint", endpoint, "--timeout", "30", *words],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        return done.stdout + done.stderr

    # --- waiting for it --------------------------------------------------------------------------------------------

    def until(self, what: str, look: Callable[[], Found | None]) -> Found:
        """Look until there is something to return; fail after :data:`DEADLINE`, or when circusd has died."""
        assert self.circusd is not None
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            found = look()
            if found:
                return found
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.circusd.wait(TURN)
        message = f"waited in vain: {what}\n{json.dumps(self.status(), indent=1)}\n" + self.told()
        raise AssertionError(message)

    def told(self) -> str:
        """Return the journal, and what circusd and the plugin said, for a failure to be understood."""
        return end_of(self.journal_file(), 20_000) + "\n" + self.told_by_logs()

    def told_by_logs(self) -> str:
        """Return what circusd and the plugin said."""
        logs = self.folder / ".aurora" / "logs"
        files = [self.folder / "circusd.out", logs / "circusd.log", logs / "aurora.log"]
        return "\n".join(f"--- {each.name}\n{end_of(each, 4000)}" for each in files)

    def states(self, **wanted: str) -> None:
        """Wait until each named system is in its state."""

        def look() -> bool:
            status = self.status()
            return bool(status) and all(status[key]["state"] == state for key, state in wanted.items())

        self.until(f"states {wanted}", look)

    def all_healthy(self) -> None:
        """Wait until every system is healthy."""
        self.states(**dict.fromkeys(self.ports, "healthy"))

    def event(self, name: str, key: str | None = None, *, nth: int = 1, **details: object) -> Json:
        """Wait for the ``nth`` record of an event with these details, and return it."""

        def look() -> Json | None:
            fitting = [each for each in self.events(name, key) if details.items() <= each["details"].items()]
            return fitting[nth - 1] if len(fitting) >= nth else None

        return self.until(f"{nth} × {name} {key} {details}", look)

    def new_process(self, key: str, old: int) -> int:
        """Wait until a system is healthy in another process than ``old``, and return its pid."""

        def look() -> int | None:
            each = self.status().get(key, {})
            return each["pid"] if each.get("healthy") and each["pid"] != old else None

        return self.until(f"a new process of {key}", look)

    def gone(self, pid: int) -> None:
        """Wait until a process is no more."""
        known = processes.identify(pid)
        self.until(f"end of {pid}", lambda: known is None or not processes.alive(Process(pid, known.started)))

    def launch_waits_for(self, pid: int) -> None:
        """Wait until a process has ended, while no circusd runs; init may take a second to wait for it."""
        known = processes.identify(pid)
        if known is not None:
            processes.await_end(known, DEADLINE)

    @staticmethod
    def leads(leader: int, pid: int) -> bool:
        """Say whether ``pid`` is of the group of ``leader``: on Unix it is the same, on Windows its runner."""
        known = processes.identify(leader)
        return known is not None and pid in {each.pid for each in processes.members(known)}

    @staticmethod
    def alive(pid: int) -> bool:
        """Say whether a process runs."""
        known = processes.identify(pid)
        return known is not None and processes.alive(known)

    def plugin(self) -> int:
        """Return the pid of the plugin."""
        return int(self.events("controller_started")[-1]["details"]["pid"])

    def ended(self) -> int:
        """Wait for circusd's end and return its exit code."""
        assert self.circusd is not None
        return self.circusd.wait(DEADLINE)


def seqs_are_whole(journal: list[Json]) -> None:
    """Check that the numbers rise by one, all the way."""
    numbers = [each["seq"] for each in journal]
    assert numbers == list(range(1, len(numbers) + 1))


@contextlib.contextmanager
def listener(port: int, program: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """Run another program that answers 200 on ``port``."""
    code = program or (
        "import http.server, sys\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.send_header('Content-Length', '2'); self.end_headers()\n"
        "        self.wfile.write(b'ok')\n"
        "    def log_message(self, *a): pass\n"
        "s = http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), H)\n"
        "print('ready', flush=True); s.serve_forever()\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(port)], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == b"ready"
        yield other
    finally:
        other.kill()
        other.wait()
        if other.stdout is not None:
            other.stdout.close()
