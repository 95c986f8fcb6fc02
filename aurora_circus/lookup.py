"""Finds this fleet's circusd, if it lives. An adapter: it looks and asks, and removes nothing but a pidfile that lies.

A pidfile is believed only where the process in it is a circusd that runs this fleet: circusd itself believes any living
pid, and a second circusd on the same sockets would take them over in silence (DESIGN 5.15). What cannot be told apart
from ours is never ended and never doubled.
"""

import contextlib
import json
import os
import socket
from pathlib import Path

import psutil

from aurora_circus import processes
from aurora_circus.errors import AuroraError
from aurora_circus.facts import Process
from aurora_circus.files import open_regular
from aurora_circus.rundir import PIDFILE, endpoints
from aurora_circus.settings import Fleet

PING_PATIENCE = 5.0
"""Seconds within which a circusd answers that is not stuck."""
_MOST_BYTES = 1 << 20


class UncertainError(AuroraError):
    """There is a circusd, and nobody can tell whether it is this fleet's."""


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
    return pid_in(Path(fleet.run_dir) / PIDFILE)


def pid_in(pidfile: Path) -> int | None:
    """Return the number in a pidfile; None where there is none."""
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
