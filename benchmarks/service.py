"""The measured program: a very small HTTP service, so that the figures tell of the supervisor and not of the service.

    python3 -IS service.py --port 20000 [--tag WORD] [--log FILE] [--start-delay SECONDS] [--hang-while FILE]
                           [--grandchild] [--exit-now CODE]

It is one loop on raw sockets: it starts in a few hundredths of a second, and hundreds fit on a small machine.

    GET /health        200 and JSON: pid, when it started, its grandchild, …
    GET /hang          from now on /health is accepted and never answered
    GET /fail          from now on /health answers 503
    GET /exit?code=3   answers, and leaves with that code

``--hang-while`` hangs it, also a new process of it, for as long as that file exists. SIGTERM makes it leave with 0 at
once, also while it hangs. Its grandchild it never ends: to clear that away is the supervisor's business.
"""

import contextlib
import os
import select
import signal
import socket
import sys
import time
from types import FrameType

STARTED = time.time()
VALUES = {"port": "0", "tag": "", "log": "", "start-delay": "0", "hang-while": "", "exit-now": "", "grandchild": ""}
FLAGS = frozenset({"grandchild"})


def parse(words: list[str]) -> dict[str, str]:
    """Return every option with its value; an unknown one ends the program."""
    found = dict(VALUES)
    rest = iter(words)
    for word in rest:
        name = word.removeprefix("--")
        if name not in found:
            sys.exit(f"service: unknown argument {word!r}")
        found[name] = "yes" if name in FLAGS else next(rest, "")
    return found


def grandchild(tag: str) -> int:
    """Start one that does nothing, in our process group and with our tag in its environment; return its pid."""
    pid = os.fork()
    if pid == 0:
        os.environ["BENCH_GRANDCHILD"] = tag
        os.execv("/bin/sleep", ["sleep", "3600"])  # noqa: S606 - there is nothing that a shell would do better
    return pid


def leave(_number: int, _frame: FrameType | None) -> None:
    """End at once, whatever goes on."""
    os._exit(0)


class Service:
    """What it is asked, it answers by how it is told to behave."""

    def __init__(self, port: int, hang_while: str, child: int) -> None:
        self.port = port
        self.hang_while = hang_while
        self.child = child
        self.mode = "healthy"
        self.code: int | None = None

    def health(self) -> str:
        """Return what is to be known of this process, as JSON."""
        return (
            f'{{"status": "{self.mode}", "pid": {os.getpid()}, "port": {self.port}, "started": {STARTED:.6f}, '
            f'"uptime": {time.time() - STARTED:.3f}, "grandchild": {self.child or "null"}}}'
        )

    def respond(self, path: str) -> bytes | None:
        """Return the answer to one request; none is one that hangs."""
        route, _, query = path.partition("?")
        status, body = "200 OK", self.health()
        if route == "/health":
            if self.mode == "hanging" or (self.hang_while and os.path.exists(self.hang_while)):  # noqa: PTH110 - pathlib would slow the start
                return None
            if self.mode == "failing":
                status = "503 Service Unavailable"
        elif route == "/hang":
            self.mode = "hanging"
        elif route == "/fail":
            self.mode = "failing"
        elif route == "/exit":
            self.code = int(query.partition("code=")[2] or 0)
        else:
            status, body = "404 Not Found", '{"error": "no such path"}'
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return (head + body).encode()

    def serve(self) -> int:
        """Answer until told to leave, and return the exit code."""
        listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        listener.settimeout(0)
        poller = select.poll()
        poller.register(listener, select.POLLIN)
        clients: dict[int, tuple[socket.socket, bytes]] = {}
        while self.code is None:
            for number, _ in poller.poll():
                if number == listener.fileno():
                    with contextlib.suppress(OSError):
                        client, _ = listener.accept()
                        clients[client.fileno()] = (client, b"")
                        poller.register(client, select.POLLIN)
                    continue
                client, before = clients[number]
                kept = self._hear(client, before)
                if kept is None:
                    poller.unregister(number)
                    del clients[number]
                    client.close()
                else:
                    clients[number] = (client, kept)
        return self.code

    def _hear(self, client: socket.socket, before: bytes) -> bytes | None:
        """Take what one client says; return what is not answered yet, or nothing when its connection is over."""
        try:
            data = client.recv(4096)
        except OSError:
            return None
        if not data:
            return None
        heard = before + data
        if b"\r\n\r\n" not in heard:
            return heard
        answer = self.respond(heard.split(b" ", 2)[1].decode("latin-1"))
        if answer is None:
            return b""
        try:
            client.sendall(answer)
        except OSError:
            return None
        over = b"HTTP/1.0" in heard or b"connection: close" in heard.lower()
        return None if over else b""


def main() -> int:
    """Run as told by the command line."""
    given = parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if given["log"]:
        with open(given["log"], "a", encoding="utf-8") as log:  # noqa: PTH123 - pathlib would slow the start
            log.write(f"{STARTED:.6f} {os.getpid()}\n")
    if given["exit-now"]:
        return int(given["exit-now"])
    child = grandchild(given["tag"]) if given["grandchild"] else 0
    time.sleep(float(given["start-delay"]))
    return Service(int(given["port"]), given["hang-while"], child).serve()


if __name__ == "__main__":
    sys.exit(main())
