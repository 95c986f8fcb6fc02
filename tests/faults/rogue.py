"""An HTTP service that answers /health in every bad way there is. Run as a plain script; never imported.

    python rogue.py FOLDER

FOLDER/KEY.mode (KEY is AURORA_SYSTEM) says how, from the next request on; without it, it is well. Each answer adds a
line to FOLDER/KEY.asked: the mode that it was given in. The modes are the names in MODES, a number (that status),
``refused`` (nobody listens), ``die`` (at its start) and ``to=URL`` (a redirect).
"""

import contextlib
import gzip
import json
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path

KEY = os.environ["AURORA_SYSTEM"]
FOLDER = Path(sys.argv[1])
PORT = int(os.environ["PORT"])
LOOK = 0.02
"""Seconds between two looks at whether to listen."""
HOSTILE = "\x1b[2J\x1b[H\x1b]0;owned\x07\x9b31m\u202e\u2066\u200b\r\x08\x7f<script>alert(1)</script>\t漢字\ud800"
"""What a terminal obeys, what a page would, and what shows nothing of itself."""
WELL = {"status": "healthy", "tasks_processed": 7, "uptime": 1.5, "last_activity": "a moment ago"}
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
BOMB = gzip.compress(b" " * 50_000_000)
"""50 KB that are 50 MB once unpacked."""
WRONG = {
    "status": ["healthy"],
    "autonomous_mode": "yes",
    "tasks_processed": "many",
    "decisions_made": True,
    "systems_healed": {"a": 1},
    "uptime": [1],
    "last_activity": 5,
}


def whole(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> list[bytes]:
    """Return one answer that is complete."""
    lines = [b"HTTP/1.1 " + status, *headers, b"Content-Length: " + str(len(body)).encode()]
    return [b"\r\n".join([*lines, b"", body])]


def drip(data: bytes) -> Iterator[bytes]:
    """Give a byte a second."""
    for each in data:
        yield bytes([each])
        threading.Event().wait(1.0)


def silence() -> Iterator[bytes]:
    """Give nothing, for ever."""
    threading.Event().wait()
    yield b""


def then(first: bytes, more: bytes) -> Iterator[bytes]:
    """Give one thing and then another without end."""
    yield first
    yield from repeat(more)


MODES: dict[str, Callable[[], Iterator[bytes] | list[bytes]]] = {
    "well": lambda: whole(json.dumps(WELL).encode()),
    "silent": silence,
    "drip": lambda: drip(whole(json.dumps(WELL).encode())[0]),
    "headers": lambda: then(HEAD, b"X-More: and more\r\n" * 500),
    "interim": lambda: then(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 500),
    "huge": lambda: then(HEAD + b"Content-Length: 1000000000\r\n\r\n", b"x" * 65_536),
    "chunked": lambda: then(CHUNKED, b"1000\r\n" + b"x" * 4096 + b"\r\n"),
    "extensions": lambda: then(CHUNKED, b"1;" + b"x" * 30_000 + b"\r\nx\r\n"),
    "bomb": lambda: whole(BOMB, b"Content-Encoding: gzip", b"Content-Type: application/json"),
    "loop": lambda: whole(b"", b"Location: /health", status=b"302 Found"),
    "later": lambda: whole(b"", b"Retry-After: 3600", status=b"503 Service Unavailable"),
    "invalid": lambda: whole(b'{"status": "fail", '),
    "deep": lambda: whole(b"[" * 10_000 + b"]" * 10_000),
    "nan": lambda: whole(b'{"tasks_processed": NaN, "uptime": Infinity, "decisions_made": 1e999, "systems_healed": 3}'),
    "wrong": lambda: whole(json.dumps(WRONG).encode()),
    "html": lambda: whole(b"<!doctype html><title>fail</title><script>alert(1)</script>", b"Content-Type: text/html"),
    "fail": lambda: whole(b'{"status": "fail"}'),
    "warn": lambda: whole(b'{"status": "warn"}'),
    "pass": lambda: whole(b'{"status": "pass"}'),
    "early": lambda: [HEAD + b"Content-Length: 100\r\n\r\nfour"],
    "old": lambda: [b"<html>this is HTTP/0.9</html>\r\n"],
    "shout": lambda: [b"x" * 60_000 + b"\r\n\r\n"],
    "hostile": lambda: whole(json.dumps({**WELL, "last_activity": HOSTILE, "status": HOSTILE}).encode()),
    "curse": lambda: [f"HTTP/1.1 200 {HOSTILE}\r\n{HOSTILE}: x\r\n\r\n".encode(errors="replace")],
}


def mode() -> str:
    """Read how to behave."""
    with contextlib.suppress(FileNotFoundError):
        return (FOLDER / f"{KEY}.mode").read_text(encoding="utf-8").strip() or "well"
    return "well"


def pieces(how: str) -> Iterator[bytes] | list[bytes]:
    """Return what to answer."""
    if how.isdecimal():
        body = b"" if how == "204" else b"x"
        return whole(body, b"Location: /elsewhere", status=how.encode() + b" As Told")
    if how.startswith("to="):
        return whole(b"", b"Location: " + how.removeprefix("to=").encode(), status=b"307 Temporary Redirect")
    return MODES[how]()


def answer(connection: socket.socket) -> None:
    """Answer one request in the mode of the moment."""
    how = mode()
    with connection, contextlib.suppress(OSError):
        if how == "tls":
            with ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).wrap_socket(connection, server_side=True) as secure:
                secure.recv(1)
        else:
            connection.recv(65_536)
            for each in pieces(how):
                connection.sendall(each)
    with (FOLDER / f"{KEY}.asked").open("a", encoding="utf-8") as file:
        file.write(f"{how}\n")


def listen() -> socket.socket:
    """Return a listener on our port."""
    listener = socket.socket()
    if sys.platform != "win32":  # where it would let two listen at once
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", PORT))
    listener.listen()
    listener.settimeout(LOOK)
    return listener


def main() -> None:
    """Serve, and look again and again whether to."""
    if mode() in {"hostile", "curse", "die"}:
        os.write(1, f"{HOSTILE}\nlast words: {HOSTILE}\n".encode(errors="surrogatepass"))
    if mode() == "die":
        os._exit(3)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    listener: socket.socket | None = None
    while True:
        if mode() == "refused":
            if listener is not None:
                listener.close()
                listener = None
            threading.Event().wait(LOOK)
            continue
        listener = listener or listen()
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        connection.settimeout(None)
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
