"""A client that asks for the status ten times a second, whatever goes on, and notes how long each answer took.

It is a process of its own: what a test does meanwhile, with twenty threads of its own, must not count as the API's
delay. It begins with a line on its output, ends when its input does, and then says what it saw, in JSON.
"""

import http.client
import json
import subprocess
import sys
import threading
import time

ASK_EVERY = 0.1
"""Seconds between two questions."""


class HonestClient:
    """``slowest`` and ``away`` are seconds: the longest answer, and the longest time without; known once stopped."""

    def __init__(self, port: int) -> None:
        """Begin; back as soon as it asks."""
        self.slowest = self.away = 0.0
        self.answers = 0
        command = [sys.executable, "-S", __file__, str(port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline(), "it asks"

    def stop(self) -> None:
        """Ask no more."""
        seen = json.loads(self._process.communicate(timeout=30)[0])
        self.slowest, self.away, self.answers = seen["slowest"], seen["away"], seen["answers"]


def ask(port: int, over: threading.Event) -> dict[str, float]:
    """Ask until it is over."""
    slowest = away = 0.0
    answers = 0
    heard = time.monotonic()
    while not over.wait(ASK_EVERY):
        began = time.monotonic()
        wire = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            wire.request("GET", "/api/autonomous/status")
            if wire.getresponse().read():
                heard = time.monotonic()
                slowest = max(slowest, heard - began)
                answers += 1
        except (OSError, http.client.HTTPException):
            away = max(away, time.monotonic() - heard)
        finally:
            wire.close()
    return {"slowest": slowest, "away": away, "answers": answers}


def main() -> None:
    """Ask until the input ends."""
    over = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    sys.stdout.write("asking\n")
    sys.stdout.flush()
    sys.stdout.write(json.dumps(ask(int(sys.argv[1]), over)))


if __name__ == "__main__":
    main()
