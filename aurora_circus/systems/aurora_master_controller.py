"""Aurora Master Controller, the central brain: a priority queue of tasks, handed out to whoever asks.

``POST /task`` queues one, ``POST /task/next`` hands out the most urgent (among equals the oldest), ``POST
/task/done`` takes its result. A task given back as failed is queued again until it has had ``ATTEMPTS``.

It counts as *processed* a task that has ended, done or failed for good; as a *decision* each hand-out, and
each choice between another attempt and giving up; as *healed* a task that failed, was queued again, and then
was done.
"""

from __future__ import annotations

import heapq

TYPE_CHECKING = False  # checkers take it for typing's own, whose import would cost the start milliseconds
if TYPE_CHECKING or __package__:
    from ._service import Answer, Body, RequestError, System, field, whole
else:
    from _service import Answer, Body, RequestError, System, field, whole

ATTEMPTS = 3  # hand-outs of a task until it counts as failed
OPEN_MAX = 1000  # tasks queued or handed out
ENDED_MAX = 1000  # tasks remembered after their end


class MasterController(System):
    """The queue. A task's ``state`` is ``queued``, ``running``, ``done`` or ``failed``."""

    key = "master_controller"
    port = 5020

    def __init__(self) -> None:
        super().__init__()
        self.tasks: dict[int, Body] = {}
        self.queue: list[tuple[int, int]] = []  # a heap of (priority, id)
        self.ended: list[int] = []
        self.last_id = 0
        self.routes |= {
            "/task": {"POST": self.submit},
            "/task/": {"GET": self.show},
            "/task/next": {"POST": self.hand_out},
            "/task/done": {"POST": self.take_back},
        }

    def submit(self, body: Body) -> Answer:
        """Queue ``task``, an object with a ``type`` ("general"); ``priority`` is 1 (urgent) to 10, or 5."""
        task = {"type": "general"} | field(body, "task", dict)
        field(task, "type", str)
        priority = whole(body, "priority", 1, 10, default=5)
        with self.lock:
            if len(self.tasks) - len(self.ended) >= OPEN_MAX:
                raise RequestError(503, f"{OPEN_MAX} tasks are open: hand some of them in first")
            self.last_id += 1
            entry = {"id": self.last_id, "task": task, "priority": priority, "state": "queued", "attempts": 0}
            self.tasks[self.last_id] = entry | {"worker": None, "result": None, "error": None}
            heapq.heappush(self.queue, (priority, self.last_id))
            answer = {"success": True, "id": self.last_id, "queue_size": len(self.queue)}
        self.did(f"task {answer['id']} queued: {task['type']!r}, priority {priority}")
        return 201, answer

    def show(self, body: Body) -> Answer:
        """Answer with one task."""
        with self.lock:
            return 200, {"success": True, "task": dict(self._known(body))}

    def hand_out(self, body: Body) -> Answer:
        """Hand the most urgent task to ``worker`` (a name); null where none waits."""
        worker = field(body, "worker", str, "anonymous")
        with self.lock:
            if not self.queue:
                return 200, {"success": True, "task": None}
            entry = self.tasks[heapq.heappop(self.queue)[1]]
            entry |= {"state": "running", "worker": worker, "attempts": entry["attempts"] + 1}
            self.decisions_made += 1
            answer = {"success": True, "task": dict(entry)}
        self.did(f"task {entry['id']} handed to {worker!r}")
        return 200, answer

    def take_back(self, body: Body) -> Answer:
        """Take the task ``id`` back with its ``result``, or with ``ok`` false and an ``error``."""
        good = field(body, "ok", bool, default=True)
        error = None if good else field(body, "error", str, "no reason given")
        with self.lock:
            entry = self._known(body)
            if entry["state"] != "running":
                raise RequestError(409, f"task {entry['id']} is {entry['state']}, not running")
            again = not good and entry["attempts"] < ATTEMPTS
            state = "done" if good else "queued" if again else "failed"
            entry |= {"state": state, "worker": None, "result": body.get("result"), "error": error}
            self.decisions_made += not good
            if again:
                heapq.heappush(self.queue, (entry["priority"], entry["id"]))
            else:
                self.tasks_processed += 1
                self.systems_healed += good and entry["attempts"] > 1
                self.ended.append(entry["id"])
                if len(self.ended) > ENDED_MAX:
                    del self.tasks[self.ended.pop(0)]
            answer = {"success": True, "task": dict(entry)}
        self.did(f"task {entry['id']} {state} after attempt {entry['attempts']}")
        return 200, answer

    def details(self) -> Body:
        """Give how many tasks are in which state, and what waits at the head of the queue."""
        states = [entry["state"] for entry in self.tasks.values()]
        counts = {state: states.count(state) for state in ("queued", "running", "done", "failed")}
        head = self.queue[0][1] if self.queue else None
        return {"tasks": counts, "queue_size": len(self.queue), "next": head}

    def _known(self, body: Body) -> Body:
        number = field(body, "id", int)
        if number not in self.tasks:
            raise RequestError(404, f"there is no task {number}")
        return self.tasks[number]


if __name__ == "__main__":
    MasterController.main()
