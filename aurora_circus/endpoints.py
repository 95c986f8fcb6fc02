"""Where circusd is reached: Unix sockets in a private directory; on Windows, two ports. An adapter.

Windows has no such sockets, and circus no password: there it is two ports on 127.0.0.1, chosen at random for each fleet
and kept in ``run_dir``. Whoever has logged in to that machine can reach them.
"""

import hashlib
import os
import secrets
import socket
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from aurora_circus.errors import MachineError
from aurora_circus.files import open_regular, replace
from aurora_circus.settings import Fleet

LONGEST_SOCKET = 103 if sys.platform == "darwin" else 107
"""Bytes of a Unix socket's path (``sun_path`` in unix(7), less the final NUL)."""
CONTROL = "circusd.sock"
EVENTS = "events.sock"
CHOSEN = "endpoints"
"""The file that holds the two ports, on Windows."""
CIRCUSD_LOCK = "circusd.lock"
"""The file that a circusd has locked while it lives, on Windows."""
PORTS = range(20_000, 49_152)
"""From where they are taken: below those that Windows gives to connections (RFC 6335, 6)."""
_TRIES = 100


def socket_dir(fleet: Fleet) -> str:
    """Return the directory of the sockets: ``run_dir``, or a short one where that is too long for them."""
    longest = f"{fleet.run_dir}/{CONTROL}".encode(errors="surrogateescape")
    if sys.platform == "win32" or len(longest) <= LONGEST_SOCKET:
        return fleet.run_dir
    else:  # noqa: RET505 - the type checker takes it for what the other systems have
        digest = hashlib.sha256(fleet.run_dir.encode(errors="surrogateescape")).hexdigest()
        return f"/tmp/aurora-{os.getuid()}-{digest[:12]}"  # noqa: S108 - private, and refused when it is not ours


def endpoints(fleet: Fleet, platform: str = sys.platform) -> tuple[str, str]:
    """Return where circusd takes commands and where it publishes events.

    On Windows they are what :func:`choose_ports` has chosen; before that, and for a look at another system's, two that
    follow from ``run_dir``.
    """
    if platform == "win32":
        control, events = chosen_ports(fleet) or _ports_for_a_look(fleet)
        return f"tcp://127.0.0.1:{control}", f"tcp://127.0.0.1:{events}"
    folder = socket_dir(fleet)
    return f"ipc://{folder}/{CONTROL}", f"ipc://{folder}/{EVENTS}"


if sys.platform == "win32":

    def guard(endpoint: str) -> None:
        """Refuse nothing: a port belongs to nobody before it is bound."""

else:

    def guard(endpoint: str) -> None:
        """Refuse an endpoint whose directory others could have prepared: it would be theirs who answers there.

        One in ``/tmp`` is made private when the fleet is rendered, and may be somebody else's after the next boot.

        A port belongs to nobody before it is bound.

        Raises:
            MachineError: it is somebody else's, others may write to it, or it is a link of somebody else's.
        """
        if not endpoint.startswith("ipc://"):
            return
        folder = Path(endpoint.removeprefix("ipc://")).parent
        for follow in (False, True):
            try:
                found = folder.stat(follow_symlinks=follow)
            except FileNotFoundError:
                return
            except OSError as error:
                raise MachineError(f"looking at {folder}, where circusd's sockets lie: {error.strerror}") from error
            if found.st_uid not in {os.geteuid(), 0}:
                raise MachineError(f"circusd's sockets lie in {folder}, which belongs to user {found.st_uid}")
            if stat.S_ISDIR(found.st_mode) and found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise MachineError(f"circusd's sockets lie in {folder}, which others may write to")


def chosen_ports(fleet: Fleet) -> tuple[int, int] | None:
    """Return the two ports of a fleet on Windows; None before they are chosen.

    Raises:
        MachineError: they are chosen, and cannot be read.
    """
    file = Path(fleet.run_dir) / CHOSEN
    try:
        with os.fdopen(open_regular(file, os.O_RDONLY), "rb") as opened:
            control, events = map(int, opened.read(100).split())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise MachineError(f"reading circusd's ports from {file}: {error}") from error
    return control, events


def choose_ports(fleet: Fleet, taken: Iterable[int]) -> None:
    """Choose two ports anew that nobody listens on, and that are not in ``taken``; no circusd of this fleet may run.

    Raises:
        MachineError: none is to be had, or the choice cannot be kept.
    """
    found: list[int] = []
    used = set(taken)
    for _ in range(_TRIES):
        port = PORTS.start + secrets.randbelow(len(PORTS))
        if port not in used and _is_free(port):
            found.append(port)
            used.add(port)
        if len(found) == 2:  # noqa: PLR2004 - commands and events
            break
    else:
        raise MachineError(f"looking for two free ports from {PORTS.start} to {PORTS.stop - 1}: found {found}")
    file = Path(fleet.run_dir) / CHOSEN
    draft = file.with_name(f"{CHOSEN}.{os.getpid()}.tmp")
    try:
        draft.write_text(f"{found[0]} {found[1]}\n", encoding="ascii")
        replace(draft, file)
    except OSError as error:
        raise MachineError(f"writing {file}: {error.strerror}") from error


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        if sys.platform == "win32":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _ports_for_a_look(fleet: Fleet) -> tuple[int, int]:
    digest = hashlib.sha256(fleet.run_dir.encode(errors="surrogateescape")).digest()
    first = PORTS.start + int.from_bytes(digest[:4], "big") % (len(PORTS) - 1)
    return first, first + 1
