"""Runs the commands of this machine's service manager, with a bound, and keeps the files it reads. An adapter."""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from aurora_circus.errors import MachineError
from aurora_circus.files import remove, replace
from aurora_circus.service_plan import Step

_MOST_WORDS = 2000
_FILE_MODE = 0o644
"""systemd and launchd read their files as somebody else, and nothing in them is a secret."""


def run(step: Step) -> str:
    """Run one command and return what it wrote.

    Raises:
        MachineError: there is no such command, it failed, or it took too long.
    """
    line = subprocess.list2cmdline(step.argv) if sys.platform == "win32" else shlex.join(step.argv)
    try:
        done = subprocess.run(
            step.argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=step.patience,
            check=False,
        )
    except FileNotFoundError as error:
        raise MachineError(f"{line}: there is no {step.argv[0]} here") from error
    except subprocess.TimeoutExpired as error:
        raise MachineError(f"{line}: no end within {step.patience:g} s") from error
    except OSError as error:
        raise MachineError(f"{line}: {error.strerror}") from error
    if done.returncode != 0:
        told = (done.stderr.strip() or done.stdout.strip() or "it said nothing")[-_MOST_WORDS:]
        raise MachineError(f"{line}: exit code {done.returncode}: {told}")
    return done.stdout


def read(path: Path, encoding: str) -> str | None:
    """Return what is in a service's file; None where there is none.

    Raises:
        MachineError: there is one, and it cannot be read.
    """
    try:
        return path.read_bytes().decode(encoding, errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MachineError(f"reading {path}: {error.strerror}") from error


def write(path: Path, text: str, encoding: str) -> None:
    """Put ``text`` into a service's file, whole or not at all; its directory is made where it is missing.

    Raises:
        MachineError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        draft = Path(name)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor is no path
                file.write(text.encode(encoding))
                file.flush()
                os.fsync(file.fileno())
            draft.chmod(_FILE_MODE)
            replace(draft, path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    except PermissionError as error:
        raise MachineError(f"writing {path}: {error.strerror}: the machine's services are root's to install") from error
    except OSError as error:
        raise MachineError(f"writing {path}: {error.strerror}") from error


def forget(path: Path) -> None:
    """Remove a service's file.

    Raises:
        MachineError: it cannot be removed.
    """
    try:
        remove(path)
    except OSError as error:
        raise MachineError(f"removing {path}: {error.strerror}") from error
