"""Aurora Automation Hub: nine small jobs on itself, each at its interval.

``POST /toggle`` switches one off or on, ``POST /run`` runs one now. ``AURORA_HUB_INTERVAL`` (seconds)
overrides all intervals.

It counts as *processed* each run that gave a result; as a *decision* each run it began by itself because its
time had come; as *healed* a job that had failed and then worked again.
"""

from __future__ import annotations

import gc
import os
import socket
import threading
import time
import zlib

TYPE_CHECKING = False  # checkers take it for typing's own, whose import would cost the start milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn
if TYPE_CHECKING or __package__:
    from ._service import HOST, Answer, Body, RequestError, System, field, setting
else:
    from _service import HOST, Answer, Body, RequestError, System, field, setting

OPEN_FILES_MAX = 256  # file numbers looked at
PROBE_TIMEOUT = 2.0  # seconds


class AutomationHub(System):
    """The jobs, what they found, and one thread that waits for the next deadline."""

    key = "automation_hub"
    port = 5018

    def __init__(self) -> None:
        super().__init__()
        self.work: dict[str, tuple[float, Callable[[], Body]]] = {  # seconds from run to run, and what is run
            "clock_step": (30.0, self.clock_step),
            "cpu_share": (20.0, self.cpu_share),
            "garbage": (60.0, lambda: {"unreachable_objects": gc.collect()}),
            "open_files": (20.0, lambda: {"open_files": sum(map(_is_open, range(OPEN_FILES_MAX)))}),
            "parent_watch": (10.0, self.parent_watch),
            "schedule_lag": (10.0, lambda: {"lag_ms": round(self.lag * 1000, 3)}),
            "self_probe": (30.0, self.self_probe),
            "source_checksum": (60.0, self.source_checksum),
            "threads": (20.0, lambda: {"threads": threading.active_count()}),
        }
        blank = {"enabled": True, "runs": 0, "failures": 0, "result": None, "error": None}
        pace = setting("AURORA_HUB_INTERVAL", 0.0, 0.0, 86_400.0)
        self.jobs: dict[str, Body] = {
            name: {"interval": pace or interval, **blank} for name, (interval, _) in self.work.items()
        }
        self.turn = threading.Lock()  # one job at a time
        self.lag = 0.0
        self.parent = os.getppid()
        self.wall = time.time() - self.started
        self.cpu, self.cpu_at = time.process_time(), self.started
        self.source = _checksum()
        self.routes |= {"/run": {"POST": self.run}, "/toggle": {"POST": self.toggle}}

    def start(self) -> None:
        """Begin to wait for the deadlines."""
        threading.Thread(target=self._keep_time, daemon=True).start()

    def run(self, body: Body) -> Answer:
        """Run ``automation`` now; 500 where it fails."""
        name = self._known(body)
        result, error = self._run(name)
        if error is not None:
            raise RequestError(500, f"{name}: {error}")
        return 200, {"success": True, "automation": name, "result": result}

    def toggle(self, body: Body) -> Answer:
        """Switch ``automation`` on or, with ``enabled`` false, off; with all off, nothing runs by itself."""
        name, enabled = self._known(body), field(body, "enabled", bool, default=True)
        with self.lock:
            self.jobs[name]["enabled"] = enabled
            self.autonomous_mode = any(job["enabled"] for job in self.jobs.values())
        self.did(f"automation {name} switched {'on' if enabled else 'off'}")
        return 200, {"success": True, "automation": name, "enabled": enabled}

    def details(self) -> Body:
        """Give each job with its interval in seconds, its runs, and what it found last."""
        return {"automations": {name: dict(job) for name, job in self.jobs.items()}}

    def clock_step(self) -> Body:
        """Say by how many seconds the wall clock was set, since the start."""
        return {"step_s": round(time.time() - time.monotonic() - self.wall, 3) or 0.0}  # never -0.0

    def cpu_share(self) -> Body:
        """Say how much of a core this process used, since the last look."""
        used, at = time.process_time(), time.monotonic()
        share = (used - self.cpu) / max(at - self.cpu_at, 0.001)
        self.cpu, self.cpu_at = used, at
        return {"percent": round(share * 100, 2)}

    def parent_watch(self) -> Body:
        """Say whether what started this process has gone."""
        return {"parent": os.getppid(), "changed": os.getppid() != self.parent}

    def self_probe(self) -> Body:
        """Ask its own ``/health``; ``OSError`` where no good answer comes."""
        at = time.monotonic()
        with socket.create_connection((HOST, self.port), PROBE_TIMEOUT) as connection:
            connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            if not connection.recv(4096).startswith(b"HTTP/1.1 200 "):
                raise OSError("/health did not answer 200")
        return {"latency_ms": round((time.monotonic() - at) * 1000, 3)}

    def source_checksum(self) -> Body:
        """Say whether this file is still what was started; ``OSError`` where it has gone."""
        now = _checksum()
        return {"crc32": now, "changed": now != self.source}

    def _known(self, body: Body) -> str:
        if (name := field(body, "automation", str)) not in self.jobs:
            raise RequestError(404, f"no automation {name[:80]!r}; there are {', '.join(self.jobs)}")
        return name

    def _keep_time(self) -> NoReturn:
        begin, pause = time.monotonic(), threading.Event()  # which nobody sets: it is there to be waited for
        due = {  # a ninth of the interval apart, so that they do not all run at once
            name: begin + job["interval"] * place / len(self.jobs)
            for place, (name, job) in enumerate(self.jobs.items(), 1)
        }
        while True:
            at, name = min((at, name) for name, at in due.items())
            pause.wait(at - time.monotonic())
            self.lag = time.monotonic() - at
            if self.jobs[name]["enabled"]:
                with self.lock:
                    self.decisions_made += 1
                self._run(name)
            due[name] = max(at + self.jobs[name]["interval"], time.monotonic())  # missed runs are not made up

    def _run(self, name: str) -> tuple[Body | None, str | None]:
        """Run one job and note the outcome; give the result, or what went wrong."""
        job, result, error = self.jobs[name], None, None
        with self.turn:
            try:
                result = self.work[name][1]()
            except Exception as failure:  # noqa: BLE001  one job's fault must not end the other eight
                error = str(failure) or type(failure).__name__
            with self.lock:
                self.systems_healed += error is None and job["error"] is not None
                self.tasks_processed += error is None
                job |= {"result": result, "error": error, "runs": job["runs"] + 1}
                job["failures"] += error is not None
        self.did(f"automation {name}: {error or result}")
        return result, error


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _checksum() -> str:
    with open(__file__, "rb") as source:  # noqa: PTH123  pathlib would cost the start milliseconds
        return f"{zlib.crc32(source.read()):08x}"


if __name__ == "__main__":
    AutomationHub.main()
