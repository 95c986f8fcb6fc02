"""This fleet's circusd as a process: finding it, starting it, asking whether it lives. An adapter.

A pidfile is believed only where the process in it is a circusd that runs this fleet: circusd itself believes any living
pid, and a second circusd on the same sockets would take them over in silence. What cannot be told apart
from ours is never ended and never doubled.
"""

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from aurora_circus import processes
from aurora_circus.clock import Clock
from aurora_circus.config import Config
from aurora_circus.errors import AuroraError, MachineError
from aurora_circus.facts import Process
from aurora_circus.files import open_regular
from aurora_circus.interrupts import pause
from aurora_circus.rundir import PIDFILE, endpoints
from aurora_circus.settings import Fleet

INI = "circus.ini"
_HEADER = "as aurora-circus read it"
"""What the first lines of a rendered circus.ini say."""
PING_PATIENCE = 5.0
"""Seconds within which a circusd answers that is not stuck."""
LOCK_PATIENCE = 60.0
"""Seconds for another ``up`` to be done with its start."""
_LOCK_LOOK = 0.05
_MOST_BYTES = 1 << 20


class UncertainError(AuroraError):
    """There is a circusd, and nobody can tell whether it is this fleet's."""


def ini_path(config: Config, has_file: bool) -> Path:  # noqa: FBT001 - one of two cases
    """Return where the ``circus.ini`` lies that is run: beside the fleet file, else in the current directory."""
    return (Path(config.file).parent if has_file else Path.cwd()) / INI


def log_path(fleet: Fleet) -> Path:
    """Return the file that circusd's own output goes to."""
    return Path(fleet.log_dir) / "circusd.log"


# --- finding -------------------------------------------------------------------------------------------------------


def find(fleet: Fleet) -> Process | None:
    """Return this fleet's circusd, if it lives.

    Raises:
        UncertainError: there is one, and it may or may not be ours.
    """
    pid = read_pidfile(fleet)
    process = None if pid is None else processes.identify(pid)
    if process is not None and processes.alive(process):
        ours = _runs(process, fleet)
        if ours or (ours is None and ask_pid(fleet) == process.pid):
            return process
        if ours is None:
            raise UncertainError(
                f"the pidfile {fleet.run_dir}/{PIDFILE} names pid {process.pid}, a circusd of which cannot be told "
                f"whether it runs this fleet: {command(process)}\n"
                f"if it does, end it: kill {process.pid}; if it does not, remove that pidfile"
            )
    return _find_by_socket(fleet) if _heard(fleet) else None


def _find_by_socket(fleet: Fleet) -> Process | None:
    """Return the circusd on this fleet's socket, whose pidfile is gone."""
    pid = ask_pid(fleet)
    if pid is not None:
        return processes.identify(pid)
    if not _heard(fleet):
        return None  # it has ended meanwhile
    raise UncertainError(
        f"somebody listens on {_socket(fleet)} and does not answer: a circusd of this fleet that is stuck?\n"
        "find its pid (ps aux | grep circusd), and end it: kill -9 PID"
    )


def read_pidfile(fleet: Fleet) -> int | None:
    """Return the number in the pidfile; None where there is none."""
    return _pid_in(Path(fleet.run_dir) / PIDFILE)


def _pid_in(pidfile: Path) -> int | None:
    text = read_text(pidfile)
    return int(text) if text is not None and text.strip().isdigit() else None


def remove_stale_pidfile(fleet: Fleet) -> str | None:
    """Remove a pidfile that names no circusd of this fleet, and say why; None where there is nothing to remove."""
    file = Path(fleet.run_dir) / PIDFILE
    if not os.path.lexists(file):
        return None
    pid = read_pidfile(fleet)
    process = None if pid is None else processes.identify(pid)
    file.unlink(missing_ok=True)
    if process is None or not processes.alive(process):
        return f"a stale pidfile is removed: pid {pid} is gone"
    return f"a stale pidfile is removed: pid {pid} is not this fleet's circusd ({command(process)})"


def ask_pid(fleet: Fleet, timeout: float = PING_PATIENCE) -> int | None:
    """Return the pid of the circusd on this fleet's socket by its own word; None when it says none in time.

    ``dstats`` takes none of circusd's locks, so one that does not answer is stuck, or not there.
    """
    import zmq  # noqa: PLC0415 - 50 ms, and needed only where there is a doubt

    context = zmq.Context()
    wire = context.socket(zmq.DEALER)
    wire.setsockopt(zmq.LINGER, 0)
    try:
        wire.connect(endpoints(fleet)[0])
        wire.send(json.dumps({"id": "ping", "command": "dstats", "properties": {}}).encode())
        if not wire.poll(round(timeout * 1000)):
            return None
        return int(json.loads(wire.recv())["info"]["pid"])
    except (zmq.ZMQError, ValueError, KeyError, TypeError):
        return None
    finally:
        wire.close()
        context.term()


def _socket(fleet: Fleet) -> str:
    return endpoints(fleet)[0].removeprefix("ipc://")


def _heard(fleet: Fleet) -> bool:
    """Say whether anybody listens on the socket of this fleet's circusd."""
    if not hasattr(socket, "AF_UNIX"):
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fsencode(_socket(fleet)))
        except OSError:
            return False
    return True


def command(process: Process) -> str:
    """Return a process's command line, for people."""
    try:
        return " ".join(psutil.Process(process.pid).cmdline())[:200]
    except psutil.Error:
        return "its command line cannot be seen"


def _runs(process: Process, fleet: Fleet) -> bool | None:
    """Say whether ``process`` is a circusd that runs this fleet; None for a circusd of which that cannot be seen."""
    try:
        found = psutil.Process(process.pid)
        words = found.cmdline()
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return None
    if not any("circusd" in word for word in words):
        return False
    folder = Path("/")
    with contextlib.suppress(psutil.Error, OSError):
        folder = Path(found.cwd())
    wanted = f"pidfile = {fleet.run_dir}/{PIDFILE}"
    texts = [read_text(folder / word) for word in words[1:] if word.endswith(".ini")]
    if any(text is not None and wanted in text.splitlines() for text in texts):
        return True
    return None


def read_text(path: Path) -> str | None:
    """Return the text of a regular file; None where there is none that can be read."""
    try:
        with os.fdopen(open_regular(path, os.O_RDONLY, follow=True), "rb") as file:
            return file.read(_MOST_BYTES).decode(errors="replace")
    except OSError:
        return None


# --- starting and ending -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def lock(fleet: Fleet, waiting: Callable[[], None]) -> Iterator[None]:
    """Keep a second ``up`` of this fleet from starting a second circusd; ``waiting`` is called when one is at it.

    Raises:
        MachineError: it is not done within :data:`LOCK_PATIENCE` seconds.
    """
    import fcntl  # noqa: PLC0415 - Unix only, as is all of this

    clock = Clock()
    until = clock.monotonic() + LOCK_PATIENCE
    told = False
    descriptor = os.open(fleet.run_dir, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if clock.monotonic() > until:
                    raise MachineError(f"another `up` has been starting this fleet for {LOCK_PATIENCE:g} s") from None
            if not told:
                waiting()
                told = True
            pause(_LOCK_LOOK)
        yield
    finally:
        os.close(descriptor)


def refuse_foreign_ini(path: Path, fleet: Fleet) -> None:
    """Refuse to write over a ``circus.ini`` that somebody wrote for something else, or that another fleet runs from.

    Raises:
        MachineError: such a file lies there.
    """
    text = read_text(path)
    named = re.search(r"(?m)^pidfile = (.+)$", text or "")
    if named is not None and Path(named[1]).parent != Path(fleet.run_dir):
        pid = _pid_in(Path(named[1]))
        other = None if pid is None else processes.identify(pid)
        if other is not None and any("circusd" in word for word in command(other).split()):
            raise MachineError(
                f"another fleet runs from {path} (circusd, pid {other.pid}), and keeps it\n"
                "keep the file of each fleet in a directory of its own"
            )
    if text is not None and text.strip() and _HEADER not in text[:2000]:
        raise MachineError(
            f"{path} is not one of ours, and is left alone\n"
            "move it away, or keep fleet.toml (it may be empty) in a directory of its own"
        )


def start(fleet: Fleet, ini: Path) -> "subprocess.Popen[bytes]":
    """Start circusd on ``ini`` in a session of its own: no Ctrl-C and no closed terminal reaches it.

    ``-P`` keeps modules that happen to lie beside the ini from being imported in place of real ones.

    Raises:
        MachineError: it cannot be started.
    """
    log = log_path(fleet)
    argv = [sys.executable, "-P", "-m", "circus.circusd", str(ini), "--log-output", str(log)]
    try:
        with os.fdopen(open_regular(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
            return subprocess.Popen(
                argv, cwd=ini.parent, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
    except OSError as error:
        raise MachineError(f"starting circusd: {error}") from error


def terminate(process: Process) -> bool:
    """Ask circusd to end; False when it is gone.

    Raises:
        MachineError: we may not.
    """
    if not processes.alive(process):
        return False
    try:
        os.kill(process.pid, signal.SIGTERM)
    except ProcessLookupError:
        return False
    except PermissionError as error:
        raise MachineError(f"SIGTERM to circusd, pid {process.pid}: {error.strerror}") from error
    return True


@contextlib.contextmanager
def watched(process: Process) -> Iterator[int | None]:
    """Hold what :func:`await_end` waits for while this block lasts."""
    descriptor = processes.watch(process)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def await_end(process: Process, watch: int | None, timeout: float) -> bool:
    """Wait ``timeout`` seconds at most for the end of ``process``; return whether it has ended."""
    if watch is not None:
        poll = select.poll()
        poll.register(watch, select.POLLIN)
        poll.poll(timeout * 1000)
    elif processes.alive(process):
        select.select([], [], [], timeout)
    return not processes.alive(process)
