"""Who listens on one TCP port, from Linux's own mouth: sock_diag(7). An adapter; it asks the kernel and nobody else.

/proc/net/tcp says the same, but makes a walk through all of the machine's table of connections for it, which is 10 ms
of processor time and more, however few there are. This is 0.05.
"""

import sys

assert sys.platform == "linux"  # noqa: S101 - for the type checker: elsewhere there is nothing of this

import errno  # noqa: E402 - what follows is not there elsewhere
import os  # noqa: E402
import socket  # noqa: E402
import struct  # noqa: E402
from collections.abc import Iterator  # noqa: E402

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_ERROR, _DONE = 2, 3
_REQUEST_DUMP = 0x301
"""NLM_F_REQUEST, NLM_F_ROOT and NLM_F_MATCH (netlink(7))."""
_PROTOCOL = socket.IPPROTO_TCP
_LISTEN = 1 << 10
"""The set of states that has TCP_LISTEN in it alone."""
_HEADER = struct.Struct("=IHHII")
"""``struct nlmsghdr``: length, type, flags, sequence, pid."""
_ID = struct.Struct("!HH")
"""How ``struct inet_diag_sockid`` begins: source and destination port; the source's address follows, 16 bytes."""
_ID_SIZE = 48
_INODE = struct.Struct("=I")
_INODE_AT = 4 + _ID_SIZE + 16
"""Where it stands in ``struct inet_diag_msg``."""
_CODE = struct.Struct("=i")
_MOST = 1 << 16
_PATIENCE = 1.0
"""Seconds; the kernel answers before the question returns."""


def listeners(port: int) -> dict[str, str]:
    """Return the sockets that listen on ``port``: the address of each inode, both written as in /proc/net/tcp.

    Raises:
        OSError: this kernel cannot say, or does not to us.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(_PATIENCE)
        return dict([*_listeners(kernel, port, socket.AF_INET), *_listeners(kernel, port, socket.AF_INET6)])


def _listeners(kernel: socket.socket, port: int, family: int) -> Iterator[tuple[str, str]]:
    whose = _ID.pack(port, 0) + bytes(_ID_SIZE - _ID.size)
    asked = struct.pack("=BBBxI", family, _PROTOCOL, 0, _LISTEN) + whose
    kernel.send(_HEADER.pack(_HEADER.size + len(asked), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 0, 0) + asked)
    words = struct.Struct("=I" if family == socket.AF_INET else "=4I")
    while True:
        data = kernel.recv(_MOST)
        while data:
            length, kind, *_ = _HEADER.unpack_from(data)
            told, data = data[_HEADER.size : length], data[(length + 3) & ~3 :]
            if kind in {_DONE, _ERROR}:  # both may tell that it failed
                code = -_CODE.unpack_from(told)[0] if len(told) >= _CODE.size else 0
                if code or kind == _ERROR:
                    raise OSError(code or errno.EPROTO, os.strerror(code or errno.EPROTO), "sock_diag")
                return
            address = "".join(f"{word:08X}" for word in words.unpack_from(told, 4 + _ID.size))
            yield str(_INODE.unpack_from(told, _INODE_AT)[0]), address
