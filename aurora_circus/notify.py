"""Speaks to the service manager that started this fleet, by sd_notify(3): a datagram to ``$NOTIFY_SOCKET``. An adapter.

Never waits: a manager that reads nothing costs a message, and the next one says it again. Nothing but systemd's own
convention is needed for that, so there is no library.
"""

import contextlib
import os
import socket
import sys
from collections.abc import Mapping

from aurora_circus.errors import MachineError

SOCKET = "NOTIFY_SOCKET"
WATCHDOG = "WATCHDOG_USEC"
SERVED_BY = "AURORA_SERVED_BY"
"""Who serves a fleet as a service, ``pid:start``; circusd has it from there."""
PRIVATE = frozenset({SOCKET, WATCHDOG, "WATCHDOG_PID", SERVED_BY})
"""What is between us and the service manager: a system that found it would speak in the name of the whole fleet."""


def watchdog(environ: Mapping[str, str]) -> float | None:
    """Return the seconds within which the manager wants to hear that all is well; None where it does not watch.

    ``$WATCHDOG_PID`` is not asked: the plugin speaks for the unit's main process, which that names.
    """
    try:
        seconds = int(environ.get(WATCHDOG, "")) / 1e6
    except ValueError:
        return None
    return seconds if seconds > 0 else None


class Notifier:
    """Tells one service manager things."""

    def __init__(self, address: str) -> None:
        """``address`` is a path, or with an ``@`` in front a name of Linux' abstract sockets."""
        self._address = address

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Notifier | None":
        """Return who speaks to the manager that ``environ`` names; None where there is none that we can speak to."""
        address = environ.get(SOCKET, "")
        return cls(address) if address[:1] in {"/", "@"} and sys.platform != "win32" else None

    def send(self, text: str) -> None:
        """Say it.

        Raises:
            MachineError: it could not be said.
        """
        try:
            _send(text.encode(errors="replace"), os.fsencode(self._address))
        except (OSError, ValueError) as error:
            told = getattr(error, "strerror", None) or error
            raise MachineError(f"telling the service manager on {self._address}: {told}") from error


if sys.platform == "win32":

    def _send(_message: bytes, _to: bytes) -> None:
        """Do nothing: there are no such sockets, and no such manager."""

else:

    def _send(message: bytes, to: bytes) -> None:
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as wire:
            wire.settimeout(0.0)
            wire.sendto(message, b"\0" + to[1:] if to.startswith(b"@") else to)
