"""The machine runs short, is suspended, or has its clock set: made for the processes under test alone.

Means that run out are said once, in words; nobody is judged by what could not be looked at; everything comes back by
itself when they are there again.
"""

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.harness import Json, kill, unix_only
from tests.faults.arena import Arena, MakeArena

pytestmark = unix_only
CHAIN: dict[str, Json] = {
    "brain": {"critical": True},
    "router": {"depends_on": ["brain"]},
    "left": {"depends_on": ["router"]},
}
PATIENT: Json = {"interval": 0.5, "timeout": 5.0, "failure_threshold": 3}
"""For a machine that is slow, which is no fault of a system's."""
HOUR = 3600.0

CLOCKS = """
import os, time
_FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shift")
_known = [None, 0.0, 0.0]

def _shift(which):
    try:
        changed = os.stat(_FILE).st_mtime_ns
        if changed != _known[0]:
            with open(_FILE) as file:
                _known[1:] = [float(each) for each in file.read().split()]
            _known[0] = changed
    except (OSError, ValueError):
        pass
    return _known[which]

def _shifted(clock, which, unit):
    return lambda: clock() + unit(_shift(which))

def _nanoseconds(seconds):
    return round(seconds * 1e9)

time.time, time.time_ns = _shifted(time.time, 1, float), _shifted(time.time_ns, 1, _nanoseconds)
time.monotonic = _shifted(time.monotonic, 2, float)
time.monotonic_ns = _shifted(time.monotonic_ns, 2, _nanoseconds)
"""
"""A ``sitecustomize`` that shifts both clocks of a Python by what stands in a file."""


class Clocks:
    """The clocks of the processes under test."""

    def __init__(self, folder: Path) -> None:
        """Have them right."""
        self._folder = folder
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(CLOCKS, encoding="utf-8")
        self.set(0.0)

    def set(self, wall: float, monotonic: float = 0.0) -> None:
        """Have them go wrong by so many seconds from now on."""
        draft = self._folder / "shift.new"
        draft.write_text(f"{wall} {monotonic}\n", encoding="utf-8")
        draft.replace(self._folder / "shift")


@pytest.fixture
def clocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clocks:
    """Give every Python that is started from now on clocks that the test sets."""
    made = Clocks(tmp_path / "clocks")
    paths = [str(tmp_path / "clocks"), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    return made


# --- the clock -----------------------------------------------------------------------------------------------------


def guests(fleet: Arena) -> int:
    """Return the pid of a watcher that is circus's own affair; 0 while it has none."""
    said = fleet.circusctl("list", "guest").strip()
    return int(said) if said.isdigit() else 0


def another_guest(fleet: Arena, old: int) -> Callable[[], int]:
    """Return what finds the pid of the guest that has followed ``old``."""

    def look() -> int:
        found = guests(fleet)
        return 0 if found == old else found

    return look


@pytest.mark.parametrize(
    "shift",
    [
        pytest.param(-HOUR, marks=pytest.mark.fault("machine", "clock set back an hour")),
        pytest.param(HOUR, marks=pytest.mark.fault("machine", "clock set forward an hour")),
    ],
)
def test_a_clock_that_is_set_changes_nothing(arena: MakeArena, clocks: Clocks, shift: float) -> None:
    """Deaths are seen and waited for, restarts, stops and backoffs go on, and the plugin is replaced when it dies."""
    restart = {"backoff_base": 2.0, "backoff_cap": 2.0, "max_retries": 5}
    fleet = arena({**CHAIN, "flapping": {}}, restart=restart)
    before, plugin = fleet.pids(), fleet.plugin()
    fleet.circusctl("add", "--start", "guest", "sleep 1000")  # whom circus alone looks after, once a second
    guest = fleet.until("the guest", lambda: guests(fleet))
    fleet.strike(lambda: clocks.set(shift))
    for _ in range(2):  # one look of circusd's was due by the old time
        kill(guest)
        guest = fleet.until("another guest", another_guest(fleet, guest))
    kill(before["router"])
    fleet.new_process("router", before["router"])
    fleet.circusctl("restart", "left", "--waiting")
    fleet.new_process("left", before["left"])
    fleet.holds()
    fleet.mode("flapping", f"crash={len(fleet.started('flapping')) + 1}")
    kill(before["flapping"])
    fleet.states(flapping="backoff")
    clocks.set(-shift)
    kill(plugin)
    fleet.event("controller_started", nth=2)
    fleet.new_process("flapping", before["flapping"])
    assert fleet.post("/api/autonomous/stop/left?wait=20").status_code == 200
    fleet.states(brain="healthy", router="healthy", left="stopped")
    fleet.holds()
    assert fleet.pids()["brain"] == before["brain"]


def everybody(fleet: Arena) -> list[psutil.Process]:
    """Return circusd and all that runs under it."""
    assert fleet.circusd is not None
    circusd = psutil.Process(fleet.circusd.pid)
    return [circusd, *circusd.children(recursive=True)]


def looked_after(fleet: Arena, seen: dict[str, Json]) -> Callable[[], bool]:
    """Return what says whether every system was probed since."""

    def look() -> bool:
        now = fleet.status()
        return bool(now) and all(now[key]["last_check"] != seen[key]["last_check"] for key in seen)

    return look


@pytest.mark.fault("machine", "suspended for a minute")
def test_nobody_who_answers_is_restarted_after_a_minute_of_sleep(arena: MakeArena, clocks: Clocks) -> None:
    """All stand still while both clocks go on: the controller says so, and every process is the one that it was."""
    fleet = arena(CHAIN)
    before, plugin = fleet.pids(), fleet.plugin()
    stopped = everybody(fleet)

    def suspend() -> None:
        for each in stopped:
            each.suspend()
        clocks.set(60.0, 60.0)
        for each in reversed(stopped):
            each.resume()

    fleet.strike(suspend)
    away = fleet.event("controller_away")["details"]["seconds"]
    fleet.figure("gap seen", away, "s")
    assert away > 50
    for _ in range(3):  # each is probed again, and judged by that
        fleet.until("new looks", looked_after(fleet, fleet.status()))
    fleet.holds()
    assert (fleet.pids(), fleet.plugin()) == (before, plugin)
    assert not fleet.since("server_unhealthy")
    assert not fleet.since("server_exited")


@pytest.mark.fault("machine", "suspended for a minute while one starts")
def test_a_start_that_was_slept_through_is_no_failure(arena: MakeArena, clocks: Clocks) -> None:
    """Its time to come up does not run while nobody does."""
    fleet = arena({"web": {}}, start=False, restart={"start_timeout": 30.0})
    fleet.mode("web", "slow=4")
    fleet.render()
    fleet.launch()
    fleet.until("its process", lambda: fleet.started("web"))
    fleet.states(web="starting")
    stopped = everybody(fleet)

    def suspend() -> None:
        for each in stopped:
            each.suspend()
        clocks.set(60.0, 60.0)
        for each in reversed(stopped):
            each.resume()

    fleet.strike(suspend)
    fleet.event("controller_away")
    fleet.all_healthy()
    fleet.holds()
    assert len(fleet.started("web")) == 1


# --- means that run out --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def limited(pid: int, what: int, count: int) -> Iterator[None]:
    """Lower a limit of one process, and give back what it had."""
    import resource  # noqa: PLC0415 - Unix only

    before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (count, before[1]))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, what, before)


def descriptors() -> int:
    """Return the number of the limit of descriptors."""
    import resource  # noqa: PLC0415 - Unix only

    return int(resource.RLIMIT_NOFILE)


needs_prlimit = pytest.mark.skipif(sys.platform != "linux", reason="only Linux sets another process's limits")


@needs_prlimit
@pytest.mark.fault("machine", "plugin out of file descriptors")
def test_a_plugin_out_of_descriptors_judges_nobody(arena: MakeArena) -> None:
    """It says once that probes cannot be made, restarts nobody for that, and goes on when it can."""
    fleet = arena(CHAIN)
    before, plugin = fleet.pids(), fleet.plugin()
    with limited(plugin, descriptors(), 3):
        fleet.strike(lambda: None)
        short = fleet.noticed("controller_short")["details"]["reason"]
        assert "Too many open files" in short
        kill(before["left"])
        fleet.event("server_exited", "left")
        fleet.until("its next process", lambda: len(fleet.started("left")) == 2)
    fleet.event("controller_short", reason=None)
    fleet.new_process("left", before["left"])
    fleet.holds()
    assert {key: pid for key, pid in fleet.pids().items() if key != "left"} == {
        key: pid for key, pid in before.items() if key != "left"
    }
    assert fleet.plugin() == plugin
    assert len(fleet.since("controller_short")) == 2
    assert not fleet.since("server_unhealthy")
    assert len(fleet.started("left")) == 2


@needs_prlimit
@pytest.mark.fault("machine", "circusd out of file descriptors")
def test_a_spawn_that_fails_for_want_of_descriptors_says_so(arena: MakeArena) -> None:
    """Each attempt fails with that reason; when they are back, so is the system, by itself."""
    fleet = arena(CHAIN, restart={"max_retries": 2, "retry_failed_after": 1.0})
    before, circusd = fleet.pids(), fleet.circusd_pid()
    assert circusd is not None
    with limited(circusd, descriptors(), 3):
        fleet.strike(lambda: kill(before["left"]))
        failed = fleet.noticed("server_failed", "left")["details"]["reason"]
        assert "Too many open files" in failed
        assert fleet.status()["left"]["next_attempt_at"] is not None
    fleet.back("left", before["left"])
    fleet.holds()
    assert {**fleet.pids(), "left": 0} == {**before, "left": 0}


@needs_prlimit
@pytest.mark.fault("machine", "plugin dies while circusd is out of file descriptors")
def test_a_plugin_that_cannot_be_started_is_started_later(arena: MakeArena) -> None:
    """circusd tries once a second, not as fast as it can, and hears a SIGTERM all the time."""
    fleet = arena(CHAIN)
    before, plugin, circusd = fleet.pids(), fleet.plugin(), fleet.circusd_pid()
    assert circusd is not None
    log = fleet.folder / "circusd.out"
    with limited(circusd, descriptors(), 3):
        fleet.strike(lambda: kill(plugin))
        fleet.until("two attempts", lambda: log.read_text(errors="replace").count("Too many open files") >= 2)
    fleet.noticed("controller_started")
    fleet.holds()
    assert fleet.pids() == before
    assert log.read_text(errors="replace").count("Too many open files") < 1000


def may_be_run(program: Path) -> bool:
    """Say whether everybody may run a program."""
    found = program.resolve()
    return found.exists() and all(each.stat().st_mode & 0o005 == 0o005 for each in [found, *found.parents])


def somebody() -> str:
    """Return a user as whom nothing runs; skip where there is none."""
    import pwd  # noqa: PLC0415 - Unix only

    busy = {each.info["username"] for each in psutil.process_iter(["username"])}
    known = {each.pw_name for each in pwd.getpwall()}
    found = next((each for each in ("games", "news", "uucp", "irc", "nobody") if each in known - busy), None)
    if found is None:
        pytest.skip("no user here as whom nothing runs")
    return found


@needs_prlimit
@pytest.mark.fault("machine", "out of processes (a user's limit)")
def test_a_spawn_that_fails_for_want_of_processes_says_so(arena: MakeArena) -> None:
    """EAGAIN is the reason of the failed attempts; once there is room, it comes back by itself."""
    if os.geteuid() != 0:
        pytest.skip("only root runs a system as another user")
    base = getattr(sys, "_base_executable", sys.executable)  # where a virtual environment has it from
    python = next((each for each in (Path(base), Path("/usr/bin/python3")) if may_be_run(each)), None)
    if python is None:
        pytest.skip("no Python here may be run by other users")
    user = somebody()
    code = (
        "import http.server, sys; "
        "http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), "
        "type('H', (http.server.BaseHTTPRequestHandler,), {'do_GET': lambda s: (s.send_response(200), "
        "s.send_header('Content-Length', '0'), s.end_headers()), 'log_message': lambda *_: None})).serve_forever()"
    )
    system: Json = {
        "command": f'"{python}" -c "{code}" {{port}}'.replace("{'do_GET'", "{{'do_GET'").replace("None})", "None}})"),
        "working_dir": "/",
        "circus": {"uid": user, "rlimit_nproc": 40},
    }
    fleet = arena({"web": {}, "limited": system}, restart={"max_retries": 2, "retry_failed_after": 1.0})
    before = fleet.pids()
    crowd = [subprocess.Popen(["sleep", "600"], user=user, cwd="/") for _ in range(45)]
    try:
        fleet.strike(lambda: kill(before["limited"]))
        failed = fleet.noticed("server_failed", "limited")["details"]["reason"]
        assert "Resource temporarily unavailable" in failed
    finally:
        for each in crowd:
            each.kill()
            each.wait()
    fleet.back("limited", before["limited"])
    fleet.holds()
    assert fleet.pids()["web"] == before["web"]


# --- load and network ----------------------------------------------------------------------------------------------


@pytest.mark.fault("machine", "a loaded machine: two busy loops for each core")
def test_a_loaded_machine_costs_nobody_his_process(arena: MakeArena) -> None:
    """The killed one is back, the others are left alone, and the API answers."""
    fleet = arena(CHAIN, probe=PATIENT)
    before = fleet.pids()
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        fleet.strike(lambda: kill(before["left"]))
        fleet.noticed("server_exited", "left")
        fleet.back("left", before["left"])
    finally:
        for each in busy:
            each.kill()
            each.wait()
    fleet.holds()
    assert {**fleet.pids(), "left": 0} == {**before, "left": 0}
    assert not fleet.since("server_unhealthy")


@pytest.mark.quick
@pytest.mark.fault("machine", "HTTP_PROXY and its kin lead nowhere")
def test_no_proxy_is_obeyed(arena: MakeArena, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by probes nor by the command line."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}"
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, nowhere)
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    fleet = arena(CHAIN)
    before = fleet.pids()
    words = [sys.executable, "-m", "aurora_circus", "restart", "left"]
    done = subprocess.run(words, cwd=fleet.folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    fleet.holds()
    assert fleet.pids()["left"] != before["left"]


CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


@pytest.fixture
def without_ipv6() -> Iterator[None]:
    """Put this thread, and whatever it starts, into a network of its own without IPv6."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("a network of one's own takes root, on Linux")
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(CLONE_NEWNET) != 0:
            pytest.skip(f"no network of one's own: {os.strerror(ctypes.get_errno())}")
        try:
            with socket.socket() as any_socket:
                flags = fcntl.ioctl(any_socket, SIOCGIFFLAGS, struct.pack("16sh14x", b"lo", 0))
                up = struct.unpack("16sh14x", flags)[1] | IFF_UP
                fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", up))
            with contextlib.suppress(FileNotFoundError):  # this machine has none at all
                Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1", encoding="ascii")
            yield
        finally:
            assert libc.setns(home, CLONE_NEWNET) == 0
    finally:
        os.close(home)


@pytest.mark.fault("machine", "IPv6 off")
@pytest.mark.usefixtures("without_ipv6")
def test_without_ipv6_everything_works(arena: MakeArena) -> None:
    """Also where the API's host is a name that might have been looked up as ::1."""
    with pytest.raises(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):  # noqa: PT011 - any reason
        pass
    fleet = arena(CHAIN, api={"host": "localhost"})
    before = fleet.pids()
    fleet.strike(lambda: kill(before["router"]))
    fleet.noticed("server_exited", "router")
    fleet.back("router", before["router"])
    fleet.holds()
