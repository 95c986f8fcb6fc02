"""Where a fleet's sockets, state and logs lie, and the making of these directories. An adapter to files.

Whoever can reach circusd's socket runs commands as its owner. So the directory around it is private, and one
that somebody else could have prepared is refused. One that holds other things is never narrowed by us.
"""

import hashlib
import os
import shlex
import shutil
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from aurora_circus.config import Config
from aurora_circus.errors import MachineError
from aurora_circus.files import open_regular
from aurora_circus.settings import Fleet
from aurora_circus.tables import Faults, Where

LONGEST_SOCKET = 103 if sys.platform == "darwin" else 107
"""Bytes of a Unix socket's path (``sun_path`` in unix(7), less the final NUL)."""
_CONTROL = "circusd.sock"
_EVENTS = "events.sock"
PIDFILE = "circusd.pid"
_OURS = {_CONTROL, _EVENTS, PIDFILE, "state.json"}
"""By these a directory is known to be a fleet's."""


def socket_dir(fleet: Fleet) -> str:
    """Return the directory of the sockets: ``run_dir``, or a short one where that is too long for them."""
    longest = f"{fleet.run_dir}/{_CONTROL}".encode(errors="surrogateescape")
    if len(longest) <= LONGEST_SOCKET:
        return fleet.run_dir
    digest = hashlib.sha256(fleet.run_dir.encode(errors="surrogateescape")).hexdigest()
    return f"/tmp/aurora-{os.getuid()}-{digest[:12]}"  # noqa: S108 - private, and refused when it is not ours


def endpoints(fleet: Fleet) -> tuple[str, str]:
    """Return where circusd takes commands and where it publishes events; for one user always the same."""
    folder = socket_dir(fleet)
    return f"ipc://{folder}/{_CONTROL}", f"ipc://{folder}/{_EVENTS}"


def make_directories(config: Config) -> None:
    """Make the directories of the sockets, the state and the logs, the first two with mode 0700.

    Raises:
        ConfigError: one is there, and somebody else's, or open to others and not the fleet's alone.
        MachineError: one cannot be made.
    """
    fleet = config.fleet
    faults = Faults(config.source)
    _make(fleet.run_dir, 0o700)
    _private(fleet.run_dir, ("fleet", "run_dir"), faults)
    if socket_dir(fleet) != fleet.run_dir:
        _make(socket_dir(fleet), 0o700)
        _private(socket_dir(fleet), ("fleet", "run_dir"), faults, links=False)
    others = [each for each in config.systems if {"uid", "gid"} & config.commands[each.key].circus.keys()]
    _make(fleet.log_dir, 0o711 if others else 0o700)
    _trusted(fleet.log_dir, ("fleet", "log_dir"), faults)
    faults.check()
    for system in others if os.geteuid() == 0 else ():
        _hand_over(system.log, config.commands[system.key].circus)


def _make(path: str, mode: int) -> None:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).mkdir(mode)
    except FileExistsError:
        pass  # whatever it is, it is looked at next
    except OSError as error:
        raise MachineError(f"making the directory {path}: {error.strerror}") from error


def _private(path: str, where: Where, faults: Faults, *, links: bool = True) -> None:
    """Refuse a directory that is not ours; close one that is ours alone and open to others."""
    found = _look(path, links=links)
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISDIR(found.st_mode):
        faults.say(where, f"{path}, which is no directory", "a directory")
    elif found.st_uid != os.geteuid():
        faults.say(where, f"{path}, which belongs to user {found.st_uid}", f"one of user {os.geteuid()}, who runs it")
    elif not mode & 0o077:
        return
    elif not (names := {each.name for each in Path(path).iterdir()}) or names & _OURS:
        Path(path).chmod(0o700)
    else:
        expected = f"a directory for this fleet alone; where it is one: chmod 700 {shlex.quote(path)}"
        faults.say(where, f"{path}, which others may enter (mode {mode:04o}) and which holds other things", expected)


def _trusted(path: str, where: Where, faults: Faults) -> None:
    """Refuse a directory of somebody who could then have us append to any file of ours."""
    found = _look(path)
    if not stat.S_ISDIR(found.st_mode):
        faults.say(where, f"{path}, which is no directory", "a directory")
    elif found.st_uid not in {os.geteuid(), 0}:
        faults.say(where, f"{path}, which belongs to user {found.st_uid}", f"one of user {os.geteuid()} or of root")


def _hand_over(log: str, circus: Mapping[str, str]) -> None:
    """Let the user that a system runs as append to its log: in a directory of ours, it can make none."""
    try:
        descriptor = open_regular(Path(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        try:
            if "uid" in circus:
                shutil.chown(descriptor, user=_number_or_name(circus["uid"]))
            if "gid" in circus:
                shutil.chown(descriptor, group=_number_or_name(circus["gid"]))
        finally:
            os.close(descriptor)
    except (OSError, LookupError) as error:
        raise MachineError(f"handing the log {log} over to its system: {error}") from error


def _number_or_name(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _look(path: str, *, links: bool = True) -> os.stat_result:
    try:
        return Path(path).stat(follow_symlinks=links)
    except OSError as error:
        raise MachineError(f"looking at the directory {path}: {error.strerror}") from error
