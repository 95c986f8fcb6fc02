"""Who listens on a port. An adapter: it looks, it binds and connects to nothing but a socket of its own.

On Linux the kernel is asked (``sockdiag``, or else its tables, proc_net_tcp(5)), on Windows the table that names the
owner of each listener (GetExtendedTcpTable); elsewhere psutil asks each process.
"""

import os
import socket
import sys
from collections.abc import Iterable
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import psutil

from aurora_circus.escapes import clean
from aurora_circus.facts import Holder

_WINDOWS = sys.platform == "win32"
_LINUX = sys.platform.startswith("linux")
_LISTEN = "0A"
"""TCP_LISTEN in /proc/net/tcp."""
_LOOPBACK = ("0100007F", "0000000000000000FFFF00000100007F")
_ANY = ("00000000", "0" * 32)
_HERE = IPv4Address("127.0.0.1")


if sys.platform == "win32":
    from aurora_circus.winapi import listeners as _table
else:

    def _table() -> list[tuple[bytes, int, int]]:
        """Return Windows' table of listeners."""
        raise OSError("this system has no such table")


if sys.platform == "linux":
    from aurora_circus.sockdiag import listeners as _asked
else:

    def _asked(port: int) -> dict[str, str]:
        """Return what Linux says."""
        raise OSError(f"this system has no answer for port {port}")


def listening(port: int) -> bool:
    """Say whether anybody would answer on 127.0.0.1:``port``."""
    if _LINUX:
        return bool(_inodes(port))
    owners = _owners(port) if _WINDOWS else None  # there, a connection that is refused takes two seconds
    if owners is not None:
        return bool(owners)
    return _answers(port)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def belongs(port: int, pids: Iterable[int]) -> bool | None:
    """Say whether the listener on 127.0.0.1:``port`` is one of ``pids``; None where that may not be seen."""
    group = list(pids)
    if _WINDOWS:
        owners = _owners(port) or set()
        return True if set(group) & owners else None if owners <= {0} else False
    if not _LINUX:
        return _belongs_elsewhere(port, group)
    inodes = _inodes(port)
    if not inodes:
        return None
    seen = [_holds(pid, inodes) for pid in group]
    if True in seen:
        return True
    return None if None in seen else False


def holder(port: int) -> Holder | None:
    """Return who listens on 127.0.0.1:``port``; without its pid where that may not be seen; None when nobody does."""
    if _LINUX:
        inodes = _inodes(port)
        if not inodes:
            return None
        pid = next((each for each in psutil.pids() if _holds(each, inodes)), None)
    elif _WINDOWS:
        pid = next((each for each in _owners(port) or () if each), None)
        if pid is None and not listening(port):
            return None
    else:
        pid = next((each for each in psutil.pids() if _belongs_elsewhere(port, [each])), None)
        if pid is None and not listening(port):
            return None
    return Holder(pid, None if pid is None else _command(pid))


def taken() -> set[int] | None:
    """Return all ports that somebody listens on, whatever the address; None where only single ones may be asked for."""
    try:
        if _WINDOWS:
            return {port for _, port, _ in _table()}
        seen = psutil.net_connections("tcp")
    except (psutil.AccessDenied, OSError):  # macOS tells nobody but root
        return None
    return {each.laddr.port for each in seen if each.status == psutil.CONN_LISTEN and each.laddr}


def free_port(low: int, high: int, taken: Iterable[int]) -> int | None:
    """Return the first port from ``low`` to ``high`` that nobody listens on and that is not in ``taken``."""
    used = set(taken)
    return next((each for each in range(low, high + 1) if each not in used and not listening(each)), None)


def _owners(port: int) -> set[int] | None:
    """Return the pids of the listeners that 127.0.0.1:``port`` reaches; 0 stands for one that may not be seen.

    None: the table could not be had.
    """
    try:
        table = _table()
    except OSError:
        return None
    found = [(ip_address(packed), pid) for packed, number, pid in table if number == port]
    loopback = {pid for address, pid in found if address == _HERE or getattr(address, "ipv4_mapped", None) == _HERE}
    everywhere = {pid for address, pid in found if address.is_unspecified and address.version == _HERE.version}
    if loopback or everywhere:
        return loopback or everywhere
    by_six = {pid for address, pid in found if address.is_unspecified}
    return by_six if by_six and _answers(port) else set()  # there it may, or may not, take IPv4 as well


def _inodes(port: int) -> set[str]:
    """Return the socket inodes of the listeners that 127.0.0.1:``port`` reaches: the most specific address wins."""
    try:
        found = _asked(port)
    except OSError:  # a kernel without it, or one that does not tell us
        found = _in_tables(port)
    loopback = {inode for inode, address in found.items() if address in _LOOPBACK}
    return loopback or {inode for inode, address in found.items() if address in _ANY}


def _in_tables(port: int) -> dict[str, str]:
    """Return what :func:`sockdiag.listeners` does, from where every Linux has it."""
    found: dict[str, str] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            address, _, number = fields[1].partition(":")
            if fields[3] == _LISTEN and int(number, 16) == port:
                found[fields[9]] = address
    return found


def _holds(pid: int, inodes: set[str]) -> bool | None:
    """Say whether ``pid`` has one of the sockets open; None where its descriptors may not be seen."""
    try:
        entries = list(Path(f"/proc/{pid}/fd").iterdir())
    except PermissionError:
        return None if _foreign(pid) else False  # what is dying cannot be looked into either, whoever asks
    except OSError:
        return False
    for entry in entries:
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.startswith("socket:[") and target[8:-1] in inodes:
            return True
    return False


def _foreign(pid: int) -> bool:
    """Say whether ``pid`` runs as somebody whose descriptors are none of our business."""
    try:
        return sys.platform != "win32" and os.geteuid() not in {0, Path(f"/proc/{pid}").stat().st_uid}
    except OSError:
        return False


def _belongs_elsewhere(port: int, pids: list[int]) -> bool | None:
    unseen = False
    for pid in pids:
        try:
            connections = psutil.Process(pid).net_connections(kind="tcp")
        except psutil.AccessDenied:
            unseen = True
            continue
        except psutil.Error:
            continue
        if any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in connections):
            return True
    return None if unseen else False


def _command(pid: int) -> str | None:
    try:
        found = psutil.Process(pid)
        return clean(" ".join(found.cmdline()) or found.name())[:200]  # anybody may put anything there
    except psutil.Error:
        return None
