"""A small HTTP service that behaves as badly as a test wants. Run as a plain script; never imported.

    python service.py FOLDER

FOLDER/KEY.mode (KEY is AURORA_SYSTEM) holds words that say how it behaves from its start on: ``crash`` (a traceback,
exit 1), ``crash=N`` (the first N starts of this test), ``stubborn`` (ignores SIGTERM, and the stop call that stands for
it on Windows), ``child`` (a grandchild that ignores SIGTERM), ``flood`` (writes to its output as fast as it can),
``flood=N`` (N megabytes a second), ``slow=S`` (starts to listen after S seconds), ``sick`` (listens, and says that it
has failed), ``noise`` (bytes that are no text, escapes, and a line without end), ``fragile`` (SIGTERM makes it crash),
``polite`` (SIGTERM makes it exit with 143, after a last word), ``kin=A,B`` (more grandchildren, each of some of
``plain``, ``apart`` (in a session of its own), ``orphan`` (that, and its parent has ended), ``cleared`` (without an
environment) and ``stubborn``, joined by ``+``), ``server=WORDS`` (such a one, which listens in its place).
Each start adds a line to FOLDER/KEY.starts: its pid, and its grandchild's; the pids of its kin stand in FOLDER/KEY.kin.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

KEY = os.environ["AURORA_SYSTEM"]
FOLDER = Path(sys.argv[1])
ANSWER = {"status": "healthy"}
HANG = threading.Event()
STUBBORN = threading.Event()


class Handler(BaseHTTPRequestHandler):
    """Answers /health and /environ, and takes orders: /hang, /fail, POST /stop."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer one request."""
        if self.path == "/hang":
            HANG.set()
        elif self.path == "/fail":
            ANSWER["status"] = "failed"
        elif self.path.startswith("/exit/"):
            os._exit(int(self.path.rpartition("/")[2]))
        elif HANG.is_set():
            threading.Event().wait()
        self.reply(
            dict(os.environ) if self.path == "/environ" else {**ANSWER, "pid": os.getpid(), "tasks_processed": 7}
        )

    def do_POST(self) -> None:
        """Stop, where that is how one is asked to."""
        self.reply({})
        if self.path == "/stop" and not STUBBORN.is_set():
            os._exit(0)

    def reply(self, value: dict[str, object]) -> None:
        """Answer 200 with an object."""
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Looks up no name of its own."""

    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without asking the resolver who we are."""
        if sys.platform != "win32":  # where it would let two listen at once
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]


def grandchild() -> int:
    """Start one that ignores SIGTERM and lives until it is killed."""
    if sys.platform == "win32":
        return subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait()"]).pid
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            signal.pause()
    return pid


KIN = """
import os, signal, sys, threading
if "stubborn" in sys.argv[3]: signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "server" in sys.argv[3]:
    from http.server import BaseHTTPRequestHandler, HTTPServer
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
        def log_message(self, *_): pass
    HTTPServer.address_family, HTTPServer.allow_reuse_address = 2, True
    HTTPServer.server_bind = lambda self: (self.socket.setsockopt(1, 2, 1), self.socket.bind(self.server_address))
    server = HTTPServer(("127.0.0.1", int(sys.argv[4])), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
with open(sys.argv[2], "a") as file: file.write(f"{os.getpid()}\\n")
while True: signal.pause()
"""


def beget(words: str) -> None:
    """Start one of our kin, and wait until it has said who it is."""
    if sys.platform == "win32":
        message = "nothing forks here"
        raise RuntimeError(message)
    file = FOLDER / f"{KEY}.kin"
    before = file.read_text(encoding="utf-8").count("\n") if file.exists() else 0
    if os.fork() == 0:
        if "apart" in words or "orphan" in words:
            os.setsid()
        if "orphan" in words and os.fork():
            os._exit(0)
        argv = [sys.executable, "-c", KIN, str(FOLDER), str(file), words, os.environ["PORT"]]
        os.execve(sys.executable, argv, {} if "cleared" in words else dict(os.environ))  # noqa: S606 - that is it
    while not file.exists() or file.read_text(encoding="utf-8").count("\n") <= before:
        threading.Event().wait(0.01)


def noise() -> None:
    """Write what is no text, what a terminal would obey, and a line that does not end."""
    os.write(1, bytes(range(256)) * 8 + b"\n\x1b[31mred\x1b]0;title\x07\x1b[2J\n")
    for _ in range(40):
        os.write(1, b"\xff\x00<script>" * 10_000)


def flood(rate: float) -> None:
    """Write ``rate`` megabytes a second; as fast as it goes when that is 0."""
    lines = (b"x" * 1023 + b"\n") * 256
    pause = len(lines) / (rate * 1e6) if rate else 0.0
    while True:
        os.write(1, lines)
        if pause:
            threading.Event().wait(pause)


def leave(mode: dict[str, str]) -> None:
    """End as told."""
    if "fragile" in mode:
        os.abort()
    if "polite" in mode:
        os.write(1, b"so long\n")
    os._exit(143 if "polite" in mode else 0)


def main() -> None:
    """Behave as told."""
    mode_file = FOLDER / f"{KEY}.mode"
    words = mode_file.read_text(encoding="utf-8").split() if mode_file.exists() else []
    mode = dict(word.partition("=")[::2] for word in words)
    child = grandchild() if "child" in mode else 0
    for each in filter(None, [*mode.get("kin", "").split(","), mode.get("server", "") and f"server+{mode['server']}"]):
        beget(each)
    starts = FOLDER / f"{KEY}.starts"
    with starts.open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()} {child}\n")
    number = len(starts.read_text(encoding="utf-8").splitlines())
    if "crash" in mode and (not mode["crash"] or number <= int(mode["crash"])):
        message = f"no flux in {KEY}"
        raise RuntimeError(message)
    if "stubborn" in mode:
        STUBBORN.set()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in mode else lambda *_: leave(mode))
    if "sick" in mode:
        ANSWER["status"] = "failed"
    if "noise" in mode:
        noise()
    if "slow" in mode:
        threading.Event().wait(float(mode["slow"]))
    if "flood" in mode:
        threading.Thread(target=flood, args=(float(mode["flood"] or 0),), daemon=True).start()
    print(f"{KEY}: ready", flush=True)  # noqa: T201 - its log is what is tested
    if "server" in mode:
        while True:
            threading.Event().wait(3600)
    Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()


if __name__ == "__main__":
    main()
