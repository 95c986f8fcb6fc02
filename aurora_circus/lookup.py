"""Finds this fleet's circusd, if it lives. An adapter: it looks and asks, and removes nothing but a pidfile that lies.

A pidfile is believed only where the process in it is a circusd that runs this fleet: circusd itself believes any living
pid, and a second circusd on the same sockets would take them over in silence (DESIGN 5.15). What cannot be told apart
from ours is never ended and never doubled.
"""

import contextlib
import json
import os
import socket
import sys
import uuid
from pathlib import Path
from typing import Any

import psutil

from aurora_circus import claim, locks, ports, processes
from aurora_circus.clock import pause
from aurora_circus.endpoints import CHOSEN, CIRCUSD_LOCK, chosen_ports, endpoints, guard
from aurora_circus.errors import AuroraError
from aurora_circus.facts import Process
from aurora_circus.files import open_regular, same_place
from aurora_circus.rundir import PIDFILE
from aurora_circus.settings import Fleet

PING_PATIENCE = 5.0
"""Seconds within which a circusd answers that is not stuck."""
CLI = b"aurora-cli-"
"""How the names begin by which the command line's own commands come to circusd; ``outside`` knows it."""
LOCK_PATIENCE = 2.0
"""Seconds until Windows has taken back the lock of a process that has ended."""
_AGAIN = 0.05
QUIT_PATIENCE = 0.5
"""Seconds for circusd to say that it has heard; whoever waits for its end looks at other things too."""
_MOST_BYTES = 1 << 20


class UncertainError(AuroraError):
    """There is a circusd, and nobody can tell whether it is this fleet's."""


def find(fleet: Fleet) -> Process | None:
    """Return this fleet's circusd, if it lives.

    Raises:
        UncertainError: there is one, and it may or may not be ours.
    """
    return _find_by_port(fleet) if sys.platform == "win32" else _find_by_pidfile(fleet)


def _find_by_pidfile(fleet: Fleet) -> Process | None:
    """Return the circusd that claims this fleet, that its pidfile names, or that holds its socket."""
    claiming = processes.identify(claim.holder(fleet.run_dir) or 0)
    if claiming is not None and processes.alive(claiming):
        return claiming
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


def _find_by_port(fleet: Fleet) -> Process | None:
    """Return the circusd on this fleet's port, where there are no pidfiles; nobody else can listen there with it.

    The port may be another fleet's by now, or any program's: a circusd that is ours says where our plugin works.
    """
    if not _heard(fleet):
        _check_lock(fleet)
        return None
    said = _say(fleet, "get", name="aurora", keys=["working_dir"])
    if said is None:
        if not _heard(fleet):
            return None  # it has ended meanwhile
        holder = ports.holder(_port(fleet))
        raise UncertainError(
            f"somebody listens on {endpoints(fleet)[0]} and does not answer: {holder or 'who, cannot be seen'}\n"
            "a circusd of this fleet that is stuck? end it: taskkill /F /PID …; if it is another program, end that, or "
            f"remove {Path(fleet.run_dir) / CHOSEN}"
        )
    options = said.get("options")
    folder = options.get("working_dir") if isinstance(options, dict) else None
    pid = ask_pid(fleet)
    ours = isinstance(folder, str) and same_place(folder, fleet.run_dir)
    return processes.identify(pid) if ours and pid is not None else None


def _check_lock(fleet: Fleet) -> None:
    """Make sure that no circusd of this fleet lives where it cannot be heard.

    Raises:
        UncertainError: one does; it is nowhere near the ports that we know of.
    """
    for _ in range(round(LOCK_PATIENCE / _AGAIN)):
        try:
            descriptor = locks.open_lock(fleet.run_dir, CIRCUSD_LOCK)
        except FileNotFoundError:
            return
        except OSError as error:
            raise UncertainError(f"looking whether a circusd runs this fleet, in {fleet.run_dir}: {error}") from error
        try:
            if locks.try_lock(descriptor):
                return
        finally:
            os.close(descriptor)
        pause(_AGAIN)  # one that has just ended is soon forgotten, and tells nobody when
    raise UncertainError(
        f"a circusd of this fleet lives: it holds {Path(fleet.run_dir) / CIRCUSD_LOCK}; but it does not listen where "
        f"{Path(fleet.run_dir) / CHOSEN} says\nfind its pid (Task Manager, column command line), and end it"
    )


def has_begun(fleet: Fleet, child: int) -> Process | None:
    """Return the circusd that was started as ``child``, once others can find it."""
    if sys.platform == "win32":
        found = _find_by_port(fleet) if _heard(fleet) else None
    else:
        found = (processes.identify(child) or Process(child, 0.0)) if read_pidfile(fleet) == child else None
    return found


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
    said = _say(fleet, "dstats", timeout)
    try:
        return None if said is None else int(said["info"]["pid"])
    except (ValueError, KeyError, TypeError):
        return None


def quit_(fleet: Fleet) -> None:
    """Have circusd take everything down and end; whether it has heard is for its end to show."""
    _say(fleet, "quit", QUIT_PATIENCE)


def _say(fleet: Fleet, command: str, timeout: float = PING_PATIENCE, **properties: object) -> dict[str, Any] | None:
    """Say something to circusd and return its answer; None when there is none in time, or none that makes sense.

    It knows us for the command line by the name of our end of the wire.

    Raises:
        MachineError: it could be somebody else who answers there.
    """
    import zmq  # noqa: PLC0415 - 50 ms, and needed only where there is a doubt

    guard(endpoints(fleet)[0])
    context = zmq.Context()
    wire = context.socket(zmq.DEALER)
    wire.setsockopt(zmq.LINGER, 0)
    wire.setsockopt(zmq.IDENTITY, CLI + uuid.uuid4().hex.encode())
    try:
        wire.connect(endpoints(fleet)[0])
        wire.send(json.dumps({"id": "cli", "command": command, "properties": properties}).encode())
        if not wire.poll(round(timeout * 1000)):
            return None
        answer = json.loads(wire.recv())
        return answer if isinstance(answer, dict) else None
    except (zmq.ZMQError, ValueError):
        return None
    finally:
        wire.close()
        context.term()


def _port(fleet: Fleet) -> int:
    return int(endpoints(fleet)[0].rpartition(":")[2])


def _socket(fleet: Fleet) -> str:
    return endpoints(fleet)[0].removeprefix("ipc://")


def _heard(fleet: Fleet) -> bool:
    """Say whether anybody listens where this fleet's circusd would."""
    if sys.platform == "win32":
        return chosen_ports(fleet) is not None and ports.listening(_port(fleet))
    else:  # noqa: RET505 - the type checker takes it for what the other systems have
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
