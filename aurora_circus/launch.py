"""Starts this fleet's circusd, one at a time, and sees it end. An adapter."""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import aurora_circus
from aurora_circus import processes
from aurora_circus.clock import Clock
from aurora_circus.config import Config
from aurora_circus.errors import MachineError
from aurora_circus.facts import Process
from aurora_circus.files import open_regular
from aurora_circus.fleetfile import NO_FILE
from aurora_circus.interrupts import pause
from aurora_circus.lookup import command, pid_in, read_text
from aurora_circus.settings import Fleet

INI = "circus.ini"
_HEADER = "as aurora-circus read it"
"""What the first lines of a rendered circus.ini say."""
LOCK_PATIENCE = 60.0
"""Seconds for another ``up`` to be done with its start."""
_LOCK_LOOK = 0.05


def ini_path(config: Config) -> Path:
    """Return where the ``circus.ini`` lies that is run: beside the fleet file, else in the current directory."""
    return (Path.cwd() if config.source == NO_FILE else Path(config.file).parent) / INI


def log_path(fleet: Fleet) -> Path:
    """Return the file that circusd's own output goes to."""
    return Path(fleet.log_dir) / "circusd.log"


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
        pid = pid_in(Path(named[1]))
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
                argv,
                cwd=ini.parent,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
    except OSError as error:
        raise MachineError(f"starting circusd: {error}") from error


def _environment() -> dict[str, str]:
    """Return our environment; where we run from a bare checkout, circusd is told where that is.

    Only there: the systems inherit it.
    """
    root = str(Path(aurora_circus.__path__[0]).parent)
    here = os.path.realpath(sys.path[0] or ".")  # ``python -m`` puts the current directory there
    if here != root or any(os.path.realpath(each) == root for each in sys.path[1:]):
        return dict(os.environ)
    others = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{others}" if others else root}


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
