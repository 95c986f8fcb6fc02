"""One circusd a fleet: a name that one process holds, that ends with it, and that nobody can remove. An adapter.

The pidfile and the sockets lie in ``run_dir``, and whoever removes that while a circusd runs would let a second one
start beside it. On Linux the first one therefore also listens on an abstract Unix socket (unix(7)): it lies in no
directory. Its name has our user and our mount namespace in it, since the same path in two containers is two fleets.
Elsewhere there is nothing of the kind, and a claim is granted to everybody.
"""

import contextlib
import hashlib
import os
import socket
import struct
import sys
from pathlib import Path

_held: dict[str, socket.socket] = {}
"""By the name of the place; kept for as long as this process lives."""
_PATIENCE = 1.0

if sys.platform == "linux":

    def take(run_dir: str) -> bool:
        """Claim a fleet for this process; False when another process of ours holds it.

        A name that a stranger holds is nobody's claim: he would keep us from starting.
        """
        if run_dir in _held:
            return True
        mine = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            mine.bind(_name(run_dir))
            mine.listen(128)
        except OSError:
            mine.close()
            return holder(run_dir) is None
        mine.setblocking(False)  # noqa: FBT003 - the standard library's signature
        _held[run_dir] = mine
        return True

    def release(run_dir: str) -> None:
        """Give a claim back."""
        held = _held.pop(run_dir, None)
        if held is not None:
            held.close()

    def answer() -> None:
        """Let go of those who looked who we are: else the line of those who wait is full one day."""
        for each in _held.values():
            with contextlib.suppress(OSError):
                while True:
                    each.accept()[0].close()

    def holder(run_dir: str) -> int | None:
        """Return the pid of the process of ours that claims a fleet; 0 where that cannot be seen, None for nobody."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(_PATIENCE)
            try:
                probe.connect(_name(run_dir))
            except (BlockingIOError, TimeoutError):
                return 0  # a long line of those who looked: it is stuck
            except OSError:
                return None
            said = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, uid, _ = struct.unpack("3i", said)
        return int(pid) if uid == os.geteuid() else None

    def _name(run_dir: str) -> bytes:
        try:
            world = str(Path("/proc/self/ns/mnt").readlink())
        except OSError:
            world = ""
        text = f"{os.geteuid()} {world} {os.path.realpath(run_dir)}"
        return b"\0aurora-circus-" + hashlib.sha256(os.fsencode(text)).hexdigest().encode()

else:

    def take(run_dir: str) -> bool:
        """Grant it."""
        del run_dir
        return True

    def release(run_dir: str) -> None:
        """Have nothing to give back."""

    def answer() -> None:
        """Have nobody to answer."""

    def holder(run_dir: str) -> int | None:
        """See nobody."""
        del run_dir
        return None
