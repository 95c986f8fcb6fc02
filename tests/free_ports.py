"""Ports for tests that nobody else takes before they are used: not the system, and not another run.

A port that ``bind(0)`` gave and that was closed again belongs to the next who asks so, and Windows' Python asks so for
each of its event loops. These are below those that any system gives away (RFC 6335, 6; Linux from 32,768 on), in a
block that one process has to itself: it keeps the block's first port for as long as it lives.
"""

import itertools
import random
import socket
from collections.abc import Iterator

FIRST, LAST = 10_000, 20_000
BLOCK = 200
"""Ports of a block; its first stands for all of them."""
HERE = "127.0.0.1"


def _bound(port: int) -> socket.socket | None:
    """Return a socket that has ``port``; None where somebody else has, or had a moment ago."""
    made = socket.socket()
    try:
        made.bind((HERE, port))
    except OSError:
        made.close()
        return None
    return made


def _claim() -> tuple[socket.socket, int]:
    """Return what holds a block, and its first port."""
    blocks = range(FIRST, LAST, BLOCK)
    for first in random.sample(blocks, len(blocks)):
        if (held := _bound(first)) is not None:
            return held, first
    raise OSError(f"every {BLOCK}th port from {FIRST} to {LAST} is taken")


def _numbers() -> Iterator[int]:
    """Give the block's ports in turn, for ever, so that one comes again as late as it can."""
    _held, first = _claim()
    while True:
        yield from range(first + 1, first + BLOCK)


_turn = _numbers()


def free_ports(count: int) -> list[int]:
    """Return ports that nobody has, all different."""
    found: list[int] = []
    for port in itertools.islice(_turn, BLOCK - 1):
        if (held := _bound(port)) is not None:
            held.close()
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"of {BLOCK - 1} ports up to {port} only {len(found)} are free, and not {count}")


def free_port() -> int:
    """Return one that nobody has."""
    return free_ports(1)[0]
