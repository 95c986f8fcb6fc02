"""Starts this fleet's circusd, one at a time, and sees it end. An adapter."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aurora_circus
from aurora_circus import kept, locks, marks, processes
from aurora_circus.clock import Clock, pause
from aurora_circus.config import Config
from aurora_circus.errors import MachineError
from aurora_circus.facts import Process
from aurora_circus.files import open_regular
from aurora_circus.fleetfile import NO_FILE
from aurora_circus.kept import Kept
from aurora_circus.lookup import UncertainError, find, quit_, read_text
from aurora_circus.settings import Fleet

INI = "circus.ini"
_HEADER = "as aurora-circus read it"
"""What the first lines of a rendered circus.ini say."""
LOCK_PATIENCE = 60.0
"""Seconds for another ``up`` to be done with its start."""
_LOCK_LOOK = 0.05
END_PATIENCE = 5.0
"""Seconds until what was sent SIGKILL has to be gone."""


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
    clock = Clock()
    until = clock.monotonic() + LOCK_PATIENCE
    told = False
    try:
        descriptor = locks.open_lock(fleet.run_dir, "up.lock")
    except OSError as error:
        raise MachineError(f"locking {fleet.run_dir}: {error.strerror}") from error
    try:
        while not locks.try_lock(descriptor):
            if clock.monotonic() > until:
                raise MachineError(f"another `up` has been starting this fleet for {LOCK_PATIENCE:g} s")
            if not told:
                waiting()
                told = True
            pause(_LOCK_LOOK)
        yield
    finally:
        os.close(descriptor)


if sys.platform == "win32":
    _APART = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
    DETACHED: dict[str, Any] = {"creationflags": _APART | subprocess.CREATE_BREAKAWAY_FROM_JOB}
    """A console of its own that nobody sees or closes, in which CTRL_BREAK reaches the systems."""
    LESS_DETACHED: dict[str, Any] = {"creationflags": _APART}
    """Where the job that we are in lets nobody leave."""
else:
    DETACHED: dict[str, Any] = {"start_new_session": True}
    LESS_DETACHED = DETACHED


def refuse_foreign_ini(path: Path, fleet: Fleet) -> None:
    """Refuse to write over a ``circus.ini`` that somebody wrote for something else, or that another fleet runs from.

    Raises:
        MachineError: such a file lies there.
    """
    text = read_text(path)
    other = _fleet_in(text or "")
    if other is not None and Path(other.run_dir) != Path(fleet.run_dir):
        try:
            found = find(other)
            who = None if found is None else f"circusd, pid {found.pid}"
        except UncertainError as error:
            who = str(error)
        if who is not None:
            raise MachineError(
                f"another fleet runs from {path} ({who}), and keeps it\n"
                "keep the file of each fleet in a directory of its own"
            )
    if text is not None and text.strip() and _HEADER not in text[:2000]:
        raise MachineError(
            f"{path} is not one of ours, and is left alone\n"
            "move it away, or keep fleet.toml (it may be empty) in a directory of its own"
        )


def _fleet_in(text: str) -> Fleet | None:
    """Return the fleet whose settings a ``circus.ini`` of ours holds, as far as its place."""
    for each in re.finditer(r"(?m)^fleet = (.+)$", text):
        with contextlib.suppress(ValueError, TypeError, KeyError):  # of another version it may be: the place will do
            return Fleet(run_dir=str(json.loads(each[1])["run_dir"]))
    return None


def start(fleet: Fleet, ini: Path, warn: Callable[[str], None], known: Kept) -> "subprocess.Popen[bytes]":
    """Start circusd on ``ini``, as one that is kept; see :func:`run`.

    ``-P`` keeps modules that happen to lie beside the ini from being imported in place of real ones.

    Raises:
        MachineError: it cannot be started.
    """
    utf8 = ("-X", "utf8") if sys.platform == "win32" else ()  # circus reads its file in the machine's code page
    options = ("--log-output", str(log_path(fleet)))
    argv = [sys.executable, "-P", *utf8, "-m", "circus.circusd", str(ini), *options]
    return run(fleet, argv, ini.parent, {**environment(), kept.VARIABLE: known.dumps()}, warn)


def run(
    fleet: Fleet, argv: Sequence[str], folder: Path, variables: Mapping[str, str], warn: Callable[[str], None]
) -> "subprocess.Popen[bytes]":
    """Run circusd in a session (console) of its own: no Ctrl-C and no closed terminal reaches it.

    ``warn`` is told where it cannot be that far apart from us.

    Raises:
        MachineError: it cannot be started.
    """
    log = log_path(fleet)
    try:
        with os.fdopen(open_regular(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:

            def popen(how: Mapping[str, Any]) -> "subprocess.Popen[bytes]":
                return subprocess.Popen(
                    argv,
                    cwd=folder,
                    env=variables,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    **how,
                )

            try:
                return popen(DETACHED)
            except PermissionError:
                child = popen(LESS_DETACHED)
                warn("the job that this terminal runs in lets nobody leave: the fleet ends with it")
                return child
    except OSError as error:
        raise MachineError(f"starting circusd: {error}") from error


def environment() -> dict[str, str]:
    """Return our environment; where we run from a bare checkout, circusd is told where that is.

    Only there: the systems inherit it. Marks are left out: run from within a system, this is no part of that.
    """
    own = {name: value for name, value in os.environ.items() if name not in marks.ALL}
    root = str(Path(aurora_circus.__path__[0]).parent)
    here = os.path.realpath(sys.path[0] or ".")  # ``python -m`` puts the current directory there
    if here != root or any(os.path.realpath(each) == root for each in sys.path[1:]):
        return own
    others = os.environ.get("PYTHONPATH")
    return {**own, "PYTHONPATH": f"{root}{os.pathsep}{others}" if others else root}


def terminate(fleet: Fleet, process: Process) -> bool:
    """Ask circusd to end; False when it is gone.

    Raises:
        MachineError: we may not.
    """
    if not processes.alive(process):
        return False
    if sys.platform == "win32":  # where a signal would end it at once
        quit_(fleet)
    else:
        try:
            os.kill(process.pid, signal.SIGTERM)
        except ProcessLookupError:
            return False
        except PermissionError as error:
            raise MachineError(f"SIGTERM to circusd, pid {process.pid}: {error.strerror}") from error
    return True


def end(process: Process) -> bool:
    """End circusd by force; return whether it has ended.

    Raises:
        MachineError: we may not.
    """
    processes.end(process)
    return await_end(process, END_PATIENCE)


def await_end(process: Process, timeout: float) -> bool:
    """Wait ``timeout`` seconds at most for the end of ``process``; return whether it has ended."""
    processes.await_end(process, timeout)
    return not processes.alive(process)
