"""Runs one system on Windows, as circus cannot: a whole tree that ends as one, its own log, a stop it is told of.

    python -c '…' ROOT STOP PATIENCE LOG COMMAND...

``ROOT`` is where this package lies; ``STOP`` the path of a stop call, or ``-``, and ``PATIENCE`` the seconds that it
may take; ``LOG`` the file that the command's output is appended to. The runner ends when the command does, with the
same exit code, and nobody of the tree outlives it, whatever ends it: they are all in one job. It asks the command to
stop when its event is set, and then goes on waiting; whoever set the event decides when that has taken too long.

It runs once for each system, in the base interpreter and without site-packages: only the standard library is imported,
and little of that.
"""

import sys

assert sys.platform == "win32"  # noqa: S101 - for the type checker: elsewhere there is nothing of this

import os  # noqa: E402 - what follows is there on Windows only
import shutil  # noqa: E402
import signal  # noqa: E402
import subprocess  # noqa: E402
import time  # noqa: E402
from contextlib import suppress  # noqa: E402
from threading import Thread  # noqa: E402
from typing import NoReturn  # noqa: E402

from aurora_circus import winapi  # noqa: E402

LAST_MOMENT = 0.25
"""Seconds for one that has ended its answer with itself to be gone."""
END_PATIENCE = 2.0
"""Seconds for all that is ended by force to be gone; until then it may hold its port."""
NOT_FOUND = 127
"""The exit code where the command cannot be run, as a Unix shell has it."""
NO_GROUP = 125
"""The exit code where the runner itself cannot do what it is for, as timeout(1) and docker run have it."""


def main() -> NoReturn:
    """Run the command of the command line."""
    stop_path, patience, log, *command = sys.argv[1:]
    output = _open(log)
    for number in (signal.SIGINT, signal.SIGBREAK):  # a console's Ctrl-C is circusd's: it tells us in turn
        signal.signal(number, signal.SIG_IGN)
    try:
        started = winapi.started(winapi.current_process())
        job = winapi.create_job(winapi.name_of("job", os.getpid(), started))
        winapi.join(job)
        stop = winapi.create_event(winapi.name_of("stop", os.getpid(), started))
    except OSError as error:
        _say(output, f"{command[0]} is not run: {error}")
        sys.exit(NO_GROUP)
    try:
        child = subprocess.Popen(
            [shutil.which(command[0]) or command[0], *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
        )
    except OSError as error:
        _say(output, f"{command[0]} cannot be run: {error}")
        _end(job, NOT_FOUND)
    handle = int(child._handle)  # type: ignore[attr-defined]  # noqa: SLF001 - it has no other name
    if winapi.wait_any([handle, stop]) == 1:
        trouble = _ask(child.pid, handle, stop_path, float(patience))
        if trouble:
            _say(output, f"{trouble}: it is ended by force")
            _end(job, winapi.KILLED)
    _end(job, child.wait() & 0xFFFF_FFFF)


def _open(log: str) -> int:
    """Return where the output goes: nowhere, rather than that the system does not start."""
    try:
        return winapi.open_log(log)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)


def _say(output: int, text: str) -> None:
    """Put a line of our own into the system's log."""
    with suppress(OSError):  # a full disk must not change how the system ends
        os.write(output, f"aurora-circus: {text}\r\n".encode(errors="replace"))


def _ask(pid: int, handle: int, stop_path: str, patience: float) -> str | None:
    """Ask the command to stop: by its stop call where it has one, else by CTRL_BREAK; return why it cannot be asked."""
    trouble = _call(handle, stop_path, patience) if stop_path != "-" else ""
    if trouble is None:
        return None
    try:
        winapi.send_break(pid)
    except OSError as error:
        return None if winapi.signalled(handle) else f"{trouble}CTRL_BREAK cannot be sent ({error.strerror})"
    return None


def _call(handle: int, path: str, patience: float) -> str | None:
    """POST to the system itself, ``patience`` seconds at most for all of it; return what went wrong.

    Its end is an answer, too, and many a system gives no other.
    """
    answered = winapi.create_event(None)
    said: list[str | None] = []

    def post() -> None:
        said.append(_post(path, patience))
        winapi.set_handle(answered)

    Thread(target=post, daemon=True).start()
    which = winapi.wait_any([handle, answered], patience)
    if which == 0 or (which == 1 and said[0] is None):
        return None
    if winapi.signalled(handle, LAST_MOMENT):
        return None
    return f"POST {path}: {said[0] if said else f'no answer within {patience:g} s'}; "


def _post(path: str, timeout: float) -> str | None:
    from http.client import HTTPConnection, HTTPException  # noqa: PLC0415 - 3 MB, for a moment at the very end

    connection = HTTPConnection("127.0.0.1", int(os.environ["AURORA_PORT"]), timeout=timeout)
    try:
        connection.request("POST", path, headers={"Content-Length": "0"})
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        return str(error)
    finally:
        connection.close()
    return None if status < 400 else f"answered with {status}"  # noqa: PLR2004 - RFC 9110, 15.5


def _end(job: int, code: int) -> NoReturn:
    """End the whole tree, and last of all this process with ``code``: while it is there, so may others be."""
    ending = []
    with suppress(OSError):  # whoever cannot be ended or waited for alone goes with the job, a moment later
        for pid in winapi.members(job):
            other = winapi.open_process(pid, terminate=True) if pid != os.getpid() else None
            if other is not None:
                winapi.terminate(other, winapi.KILLED)
                ending.append(other)
    until = time.monotonic() + END_PATIENCE
    for other in ending:
        winapi.signalled(other, until - time.monotonic())
    winapi.terminate_job(job, code)
    raise AssertionError  # that was us, too
