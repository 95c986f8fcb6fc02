"""Where a fleet's sockets, state and logs lie, and the making of these directories. An adapter to files.

Whoever can reach circusd's socket runs commands as its owner. So the directory around it is private, and one
that somebody else could have prepared is refused. One that holds other things is never narrowed by us.
"""

import contextlib
import os
import shlex
import shutil
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from aurora_circus import kept
from aurora_circus.config import Config
from aurora_circus.endpoints import CONTROL, EVENTS, choose_ports, chosen_ports, socket_dir
from aurora_circus.errors import MachineError
from aurora_circus.files import open_regular
from aurora_circus.tables import Faults, Where

PIDFILE = "circusd.pid"
_OURS = {CONTROL, EVENTS, PIDFILE, "state.json", kept.MARK}
"""By these a directory is known to be a fleet's."""
_WINDOWS = sys.platform == "win32"


def make_directories(config: Config) -> None:
    """Make the directories of the sockets, the state and the logs, the first two with mode 0700.

    On Windows that mode means, in the Pythons that know it (3.11.10, 3.12.4 and later), that only oneself and
    administrators may enter a directory that is made; what is there already is left as it is.

    Raises:
        ConfigError: one is there, and somebody else's, or open to others and not the fleet's alone.
        MachineError: one cannot be made.
    """
    fleet = config.fleet
    faults = Faults(config.source)
    _make(fleet.run_dir, 0o700)
    if _WINDOWS:
        _make(fleet.log_dir, 0o700)
        for key, path in (("run_dir", fleet.run_dir), ("log_dir", fleet.log_dir)):
            if not Path(path).is_dir():
                faults.say(("fleet", key), f"{path}, which is no directory", "a directory")
        faults.check()
        return
    _private(fleet.run_dir, ("fleet", "run_dir"), faults)
    if socket_dir(fleet) != fleet.run_dir:
        _make(socket_dir(fleet), 0o700)
        _private(socket_dir(fleet), ("fleet", "run_dir"), faults, links=False)
    others = [each for each in config.systems if {"uid", "gid"} & config.commands[each.key].circus.keys()]
    _make(fleet.log_dir, 0o711 if others else 0o700)
    _trusted(fleet.log_dir, ("fleet", "log_dir"), faults)
    faults.check()
    for system in others if _user() == 0 else ():
        _hand_over(system.log, config.commands[system.key].circus)


def prepare_endpoints(config: Config, *, anew: bool = False) -> None:
    """See to it that circusd's endpoints can be rendered; on Windows that takes a choice, which is kept.

    ``anew``: no circusd of this fleet runs, and nobody needs the ports that were chosen before.

    Raises:
        MachineError: there are no two free ports, or the choice cannot be kept.
    """
    if sys.platform == "win32" and (chosen_ports(config.fleet) is None or anew):
        make_directories(config)
        choose_ports(config.fleet, [config.fleet.api.port, *(each.port for each in config.systems)])


if sys.platform == "win32":

    def _user() -> int:
        """Return who we are, for which Windows has no number."""
        return 0

else:

    def _user() -> int:
        """Return who we are."""
        return os.geteuid()


def _make(path: str, mode: int) -> None:
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):  # whatever it is, it is looked at next
            Path(path).mkdir(mode)
    except OSError as error:
        raise MachineError(f"making the directory {path}: {error.strerror}") from error


def _private(path: str, where: Where, faults: Faults, *, links: bool = True) -> None:
    """Refuse a directory that is not ours; close one that is ours alone and open to others."""
    link = _look(path, links=False)
    found = _look(path) if links else link
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISLNK(link.st_mode) and link.st_uid not in {_user(), 0}:
        faults.say(where, f"{path}, a link that belongs to user {link.st_uid}", f"one of user {_user()}, who runs it")
    elif not stat.S_ISDIR(found.st_mode):
        faults.say(where, f"{path}, which is no directory", "a directory")
    elif found.st_uid != _user():
        faults.say(where, f"{path}, which belongs to user {found.st_uid}", f"one of user {_user()}, who runs it")
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
    elif found.st_uid not in {_user(), 0}:
        faults.say(where, f"{path}, which belongs to user {found.st_uid}", f"one of user {_user()} or of root")


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
