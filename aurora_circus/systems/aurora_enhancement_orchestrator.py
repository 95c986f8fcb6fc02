"""Aurora Enhancement Orchestrator: runs jobs, each a list of steps that follow one another.

``POST /job`` starts one, ``GET /job/ID`` tells how it goes, ``POST /signal`` gives what a waiting step waits
for, ``POST /job/retry`` takes a failed job up again at the step that failed. The steps are ``{"action":
"words", "text": …}``, ``{"action": "checksum", "text": …}`` and ``{"action": "wait_for", "signal": …,
"seconds": 60}``, which fails when its time is up; a signal serves one step.

It counts as *processed* a job that came to an end, done or failed; as a *decision* what follows each step, to
go on or to stop; as *healed* a job that failed, was taken up again, and was then done.
"""

from __future__ import annotations

import threading
import zlib

TYPE_CHECKING = False  # checkers take it for typing's own, whose import would cost the start milliseconds
if TYPE_CHECKING or __package__:
    from ._service import Answer, Body, RequestError, System, field, whole
else:
    from _service import Answer, Body, RequestError, System, field, whole

RUNNING_MAX = 32  # jobs at once
STEPS_MAX = 100  # of a job
JOBS_MAX = 500  # remembered, running ones included
SIGNALS_MAX = 100  # given, and not yet waited for
WAIT_MAX = 3600  # seconds


class EnhancementOrchestrator(System):
    """The jobs, each ``running``, ``done`` or ``failed``; a step may be ``waiting`` for its turn as well."""

    key = "enhancement_orchestrator"
    port = 5017

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[int, Body] = {}
        self.signals: set[str] = set()
        self.signalled = threading.Condition(self.lock)
        self.last_id = 0
        self.routes |= {
            "/job": {"POST": self.submit},
            "/job/": {"GET": self.show},
            "/job/retry": {"POST": self.retry},
            "/signal": {"POST": self.signal},
        }

    def submit(self, body: Body) -> Answer:
        """Start the job ``name`` with its ``steps``."""
        name = field(body, "name", str, "unnamed")
        steps = [_checked(step) for step in field(body, "steps", list)]
        if not 1 <= len(steps) <= STEPS_MAX:
            raise RequestError(400, f"steps: found {len(steps)}, expected 1 to {STEPS_MAX}")
        with self.lock:
            self.last_id += 1
            job: Body = {"id": self.last_id, "name": name, "state": "new", "steps": steps}
            answer = self._launch(job, 0)
            self.jobs[job["id"]] = job
            if len(self.jobs) > JOBS_MAX:
                del self.jobs[next(number for number, old in self.jobs.items() if old["state"] != "running")]
        return answer

    def retry(self, body: Body) -> Answer:
        """Take the failed job ``id`` up again at the step that failed."""
        with self.lock:
            job = self._known(body)
            if job["state"] != "failed":
                raise RequestError(409, f"job {job['id']} is {job['state']}, not failed")
            return self._launch(job, [step["state"] for step in job["steps"]].index("failed"))

    def signal(self, body: Body) -> Answer:
        """Give the signal ``name``, to a step that waits for it or to the next that will."""
        name = field(body, "name", str)
        with self.signalled:
            if len(self.signals) >= SIGNALS_MAX:
                raise RequestError(503, f"{SIGNALS_MAX} signals are given that nobody waits for")
            self.signals.add(name)
            self.signalled.notify_all()
        self.did(f"signal {name!r} given")
        return 200, {"success": True, "signal": name}

    def show(self, body: Body) -> Answer:
        """Answer with one job and its steps."""
        with self.lock:
            job = self._known(body)
            return 200, {"success": True, "job": job | {"steps": [dict(step) for step in job["steps"]]}}

    def details(self) -> Body:
        """Give how many jobs are in which state, and the signals that nobody has waited for yet."""
        counts = {state: self._count(state) for state in ("running", "done", "failed")}
        return {"jobs": counts, "signals": sorted(self.signals)}

    def _known(self, body: Body) -> Body:
        if (number := field(body, "id", int)) not in self.jobs:
            raise RequestError(404, f"there is no job {number}")
        return self.jobs[number]

    def _count(self, state: str) -> int:
        return sum(job["state"] == state for job in self.jobs.values())

    def _launch(self, job: Body, first: int) -> Answer:
        if self._count("running") >= RUNNING_MAX:
            raise RequestError(503, f"{RUNNING_MAX} jobs are running")
        threading.Thread(target=self._run, args=(job, first, job["state"] == "failed"), daemon=True).start()
        job["state"] = "running"
        return 202, {"success": True, "id": job["id"]}

    def _run(self, job: Body, first: int, again: bool) -> None:  # noqa: FBT001  handed over by Thread
        title = f"job {job['id']} {job['name']!r}"
        self.did(f"{title} begins with step {first + 1} of {len(job['steps'])}")
        for step in job["steps"][first:]:
            with self.lock:
                step["state"] = "running"
            result = self._perform(step)
            with self.lock:
                step |= {"state": "failed" if result is None else "done", "result": result}
                self.decisions_made += 1
            if result is None:
                break
        with self.lock:
            job["state"] = step["state"]
            self.tasks_processed += 1
            self.systems_healed += again and job["state"] == "done"
        self.did(f"{title} {job['state']}")

    def _perform(self, step: Body) -> int | str | None:
        """Give the step's result, or nothing where it failed."""
        match step["action"]:
            case "words":
                return len(step["text"].split())
            case "checksum":
                return f"{zlib.crc32(step['text'].encode('utf-8', 'surrogatepass')):08x}"
        name: str = step["signal"]
        with self.signalled:
            given = self.signalled.wait_for(lambda: name in self.signals, step["seconds"])
            self.signals.discard(name)
        return name if given else None


def _checked(step: object) -> Body:
    """Give the step as it is kept; ``RequestError`` 400 where it cannot be done."""
    if not isinstance(step, dict):
        raise RequestError(400, "steps: expected a list of objects")
    kept: Body = {"action": field(step, "action", str), "state": "waiting", "result": None}
    if kept["action"] == "wait_for":
        return kept | {
            "signal": field(step, "signal", str),
            "seconds": whole(step, "seconds", 0, WAIT_MAX, 60),
        }
    if kept["action"] in {"words", "checksum"}:
        return kept | {"text": field(step, "text", str)}
    raise RequestError(400, f"action: found {kept['action'][:80]!r}, expected words, checksum or wait_for")


if __name__ == "__main__":
    EnhancementOrchestrator.main()
