"""Aurora Autonomous Router: says which agent should take a task, by the task's type and the agents' load.

``POST /route`` names the least loaded agent for a type, ``POST /route/done`` says how it went, ``POST
/agent`` adds an agent or changes one. A route reported as failed goes to an agent that has not tried it,
where there is one. The router only answers: it speaks to no agent itself.

It counts as *processed* a route that has ended, done or failed for good; as a *decision* each choice of an
agent; as *healed* a route that one agent failed and another one finished.
"""

from __future__ import annotations

TYPE_CHECKING = False  # checkers take it for typing's own, whose import would cost the start milliseconds
if TYPE_CHECKING or __package__:
    from ._service import Answer, Body, RequestError, System, field, whole
else:
    from _service import Answer, Body, RequestError, System, field, whole

CAPACITY = 8  # routes an agent has at once, unless it says otherwise
AGENTS_MAX = 100
AGENTS = {  # until somebody says otherwise
    "auto_improver": ["enhancement", "fix", "improve"],
    "automation_hub": ["automate", "monitor"],
    "enhancement_orchestrator": ["coordinate", "enhancement", "general", "improve"],
}


class AutonomousRouter(System):
    """The agents, and the routes under way. An agent's load is its number of those."""

    key = "autonomous_router"
    port = 5015

    def __init__(self) -> None:
        super().__init__()
        self.agents: dict[str, Body] = {}
        self.open: dict[int, Body] = {}
        self.last_id = 0
        for name, types in AGENTS.items():
            self._set(name, types, CAPACITY)
        self.routes |= {
            "/route": {"POST": self.route},
            "/route/done": {"POST": self.finish},
            "/agent": {"POST": self.set_agent},
        }

    def set_agent(self, body: Body) -> Answer:
        """Add the agent ``name`` for ``types`` (a list of names) with ``capacity`` (8), or change it."""
        name = field(body, "name", str)
        types = field(body, "types", list)
        capacity = whole(body, "capacity", 0, 1000, CAPACITY)
        if not all(isinstance(each, str) for each in types):
            raise RequestError(400, "types: expected a list of strings")
        with self.lock:
            if name not in self.agents and len(self.agents) >= AGENTS_MAX:
                raise RequestError(503, f"there are {AGENTS_MAX} agents already")
            self._set(name, types, capacity)
            answer = {"success": True, "agent": {"name": name, **self.agents[name]}}
        self.did(f"agent {name!r} takes {types!r}, {capacity} at once")
        return 200, answer

    def route(self, body: Body) -> Answer:
        """Choose an agent for ``type`` ("general"): 404 where none takes it, 503 where they are full."""
        kind = field(body, "type", str, "general")
        with self.lock:
            if not any(kind in agent["types"] for agent in self.agents.values()):
                raise RequestError(404, f"no agent takes {kind[:80]!r}")
            name = self._choose(kind, [])
            if name is None:
                raise RequestError(503, f"every agent that takes {kind[:80]!r} is full")
            self.last_id += 1
            number = self.last_id
            self.open[number] = {"type": kind, "agents": [name]}
            answer = {"success": True, "route": number, "agent": name, "load": self.agents[name]["load"]}
        self.did(f"route {number}: {kind!r} to {name!r}")
        return 200, answer

    def finish(self, body: Body) -> Answer:
        """End ``route``; with ``ok`` false pass it on to the ``agent`` of the answer (null: none is left)."""
        good = field(body, "ok", bool, default=True)
        number = field(body, "route", int)
        with self.lock:
            if number not in self.open:
                raise RequestError(404, f"no route {number} is under way")
            kind, tried = self.open[number]["type"], self.open[number]["agents"]
            self.agents[tried[-1]]["load"] -= 1
            following = None if good else self._choose(kind, tried)
            if following is not None:
                tried.append(following)
            else:
                del self.open[number]
                self.tasks_processed += 1
                self.systems_healed += good and len(tried) > 1
        outcome = "done" if good else f"passed on to {following!r}" if following is not None else "failed"
        self.did(f"route {number}: {outcome}")
        return 200, {"success": True, "route": number, "agent": following}

    def details(self) -> Body:
        """Give the agents with their load, and how many routes are under way."""
        return {
            "agents": {name: dict(agent) for name, agent in self.agents.items()},
            "open_routes": len(self.open),
        }

    def _set(self, name: str, types: list[str], capacity: int) -> None:
        counts = self.agents.get(name, {"load": 0, "routed": 0})
        self.agents[name] = counts | {"types": types, "capacity": capacity}

    def _choose(self, kind: str, tried: list[str]) -> str | None:
        """Count one more route on the agent least loaded for its capacity, among equals the least used."""
        ranked = [
            (agent["load"] / agent["capacity"], agent["routed"], name)
            for name, agent in self.agents.items()
            if kind in agent["types"] and name not in tried and agent["load"] < agent["capacity"]
        ]
        if not ranked:
            return None
        name = min(ranked)[2]
        self.agents[name]["load"] += 1
        self.agents[name]["routed"] += 1
        self.decisions_made += 1
        return name


if __name__ == "__main__":
    AutonomousRouter.main()
