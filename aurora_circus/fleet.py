"""The whole fleet: who may start when, in which order things stop, and what became of each command. Pure.

It owns one :class:`~aurora_circus.lifecycle.Lifecycle` for each system and routes facts to them. It must never
import circus, zmq, requests, threads or a clock.

The gate
--------
A first start waits for each dependency until that is healthy, has failed, is wanted down, or has used up one
``start_timeout`` since it was first spawned, whichever comes first; then it goes ahead and the journal names what was
not there. ``gate = "strict"`` waits for health alone. A restart after a crash never waits.

Commands
--------
A command on many systems stops them in reverse order: each when nothing of the same command that depends on it is up
any more. A command given while another is under way on the same system supersedes it there.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from aurora_circus import facts
from aurora_circus.agenda import Agenda
from aurora_circus.facts import Action, Fact, Kill, Process, Record, State
from aurora_circus.lifecycle import WITH_PROCESS, Lifecycle
from aurora_circus.settings import System

TOGETHER = 8
"""How many are probed at once where some of them are early; more would hold up everything else."""
Verb = Literal["start", "stop", "restart"]
Answer = list["Action | Record | Settled"]


@dataclass(frozen=True, slots=True)
class Settled:
    """The operation ``ident`` has come to its end."""

    ident: str


@dataclass(slots=True)
class Operation:
    """One accepted command and how it is going."""

    ident: str
    verb: Verb
    servers: tuple[str, ...]
    by: str
    at: float
    pending: set[str] = field(default_factory=set)
    """Systems it has not been carried out on yet, since others come first."""
    running: set[str] = field(default_factory=set)
    errors: dict[str, str] = field(default_factory=dict)
    superseded_by: str | None = None
    finished: float | None = None

    @property
    def state(self) -> Literal["running", "succeeded", "failed", "superseded"]:
        """Say how it stands."""
        if self.finished is None:
            return "running"
        if self.superseded_by is not None:
            return "superseded"
        return "failed" if self.errors else "succeeded"

    @property
    def error(self) -> str | None:
        """Say in words why it did not succeed; None while it runs or when it did."""
        if self.superseded_by is not None:
            return f"superseded by operation {self.superseded_by}"
        return "; ".join(f"{key}: {why}" for key, why in self.errors.items()) or None


@dataclass(frozen=True, slots=True)
class Memory:
    """What must be known of a system to take it up again after everything died. Times are monotonic seconds."""

    wanted: bool = True
    state: State = State.STOPPED
    attempt: int = 0
    restarts: int = 0
    due: float | None = None
    down_since: float | None = None
    error: str | None = None
    failed_at: float | None = None
    failure: str | None = None
    process: Process | None = None
    port: int | None = None


class Fleet:
    """The systems of one fleet, in start order."""

    def __init__(
        self,
        systems: Sequence[System],
        at: float,
        *,
        heartbeat: float = 0.0,
        spread: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Begin with every system stopped and not wanted.

        ``heartbeat``: seconds between two records of everybody's health; 0 means none.
        """
        self._spread = spread
        self.heartbeat = heartbeat
        self._beat_at = at + heartbeat
        self.touched: set[str] = set()
        """Systems of which something may have changed; whoever saves that takes them out."""
        self._agenda = Agenda()
        self._early = Agenda()
        """From when on each may be probed where others are."""
        self._footing: dict[str, object] = {}
        """What others go by, of each system."""
        self._starting: set[str] = set()
        """Who has a process that is not healthy yet."""
        self._moved = True
        """Whether something may follow that was not looked for yet."""
        self._gate_at: float | None = None
        """When the next gate opens as things stood when it was last looked for what follows."""
        self.lives: dict[str, Lifecycle] = {each.key: self._new(each, at) for each in systems}
        self._places = {key: number for number, key in enumerate(self.lives)}
        self.operations: dict[str, Operation] = {}
        self.draining = False

    def _new(self, system: System, at: float) -> Lifecycle:
        life = Lifecycle(system, at, self._spread)
        life.touched, life.crowd = self._touch, self._crowd
        return life

    def _crowd(self) -> int:
        return len(self._starting)

    def _place(self, key: str) -> int:
        return self._places[key]

    def _touch(self, life: Lifecycle) -> None:
        key = life.system.key
        if self.lives.get(key) is not life:
            return  # it was taken out
        life.changes += 1
        self.touched.add(key)
        self._agenda.put(key, life.deadline())
        self._early.put(key, life.early_at)
        if life.state is State.STARTING and life.process is not None:
            self._starting.add(key)
        else:
            self._starting.discard(key)
        footing = (life.state, life.since, life.wanted, life.began)
        if self._footing.get(key) != footing:
            self._footing[key] = footing
            self._moved = True

    def __iter__(self) -> Iterator[Lifecycle]:
        """Go through the systems in start order."""
        return iter(self.lives.values())

    def deadline(self) -> float | None:
        """Return the monotonic time at which :meth:`tick` is wanted, or None."""
        gate = self._next_gate() if self._moved else self._gate_at
        times = (self._agenda.next(), gate, self._beat_at if self.heartbeat else None)
        return min((each for each in times if each is not None), default=None)

    def _next_gate(self) -> float | None:
        times = [self.gate_opens(each) for each in self if each.state is State.WAITING]
        return min((each for each in times if each is not None), default=None)

    # --- facts -----------------------------------------------------------------------------------------------------

    def handle(self, fact: Fact) -> Answer:
        """Tell one system of ``fact``, and whoever is concerned by what came of it."""
        life = self.lives.get(fact.key)
        if life is None:
            return []
        return [*life.handle(fact), *self._follow(fact.at)]

    def tick(self, at: float) -> Answer:
        """Let every deadline that has passed have its way; whoever may be probed early is, where that makes few."""
        answer: Answer = []
        keys = self._agenda.take(at)
        while len(keys) < TOGETHER and (early := self._early.pop(at)) is not None:
            keys.add(early)
        for key in sorted(keys, key=self._place):
            answer += self.lives[key].handle(facts.Tick(at, key))
        if self.heartbeat and at >= self._beat_at:
            self._beat_at = at + self.heartbeat
            answer += [Record(each.system.key, "health_check", each.check()) for each in self]
        return [*answer, *self._follow(at)]

    def away(self, seconds: float) -> None:
        """Take note that we did not run for so long, and perhaps nobody did: no process may pay for that."""
        for each in self:
            each.away(seconds)

    def blocked(self, at: float, key: str) -> Answer:
        """Take note that circusd has no time for ``key``: where that is critical, slow outside stops end by force."""
        life = self.lives.get(key)
        if life is None or not life.system.critical:
            return []
        return [
            Kill(each.system.key, each.process)
            for each in self
            if each.external and each.process is not None and each.system.key != key and each.since < at
        ]

    def drain(self, at: float) -> Answer:
        """Take note that circusd is going down with everything: start nothing any more, end nothing."""
        self.draining = self._moved = True
        answer: Answer = []
        for each in self:
            answer += each.handle(facts.Drain(at, each.system.key))
        return [*answer, *self._follow(at)]

    # --- commands --------------------------------------------------------------------------------------------------

    def command(self, at: float, ident: str, verb: Verb, servers: Iterable[str], by: str) -> tuple[Operation, Answer]:
        """Carry out an operator's command on ``servers``, in dependency order, and keep track of it as ``ident``."""
        chosen = set(servers)
        keys = tuple(key for key in self.lives if key in chosen)
        operation = Operation(ident, verb, keys, by, at, pending=set(keys), running=set(keys))
        self.operations[ident] = operation
        self._moved = True
        details: dict[str, object] = {"verb": verb, "by": by, "servers": list(keys), "operation": ident}
        answer: Answer = [Record(keys[0] if len(keys) == 1 else None, "command", details)]
        for other in list(self.operations.values()):
            if other is not operation and other.finished is None and other.running & set(keys):
                other.superseded_by, other.finished = ident, at
                other.pending, other.running = set(), set()
                answer.append(Settled(other.ident))
        return operation, [*answer, *self._follow(at)]

    def outside(self, at: float, verb: Verb, servers: Iterable[str], by: str, *, external: bool = True) -> Answer:
        """Take note of a command that circusd is carrying out itself (``circusctl stop KEY``)."""
        chosen = set(servers)
        self._moved = True
        answer: Answer = []
        for key in [each for each in self.lives if each in chosen]:
            answer.append(Record(key, "command", {"verb": verb, "by": by, "servers": [key], "operation": None}))
            for other in self.operations.values():
                if other.finished is None and key in other.running:
                    other.superseded_by, other.finished = f"{verb} by {by}", at
                    other.pending, other.running = set(), set()
                    answer.append(Settled(other.ident))
            if verb == "start":
                answer += self.lives[key].handle(facts.Start(at, key))
            elif verb == "stop":
                answer += self.lives[key].handle(facts.Stop(at, key, external=external))
            else:
                answer += self.lives[key].handle(facts.Restart(at, key, external=external))
        return [*answer, *self._follow(at)]

    def nothing_to_do(self, verb: Verb, servers: Iterable[str]) -> bool:
        """Say whether ``verb`` would change nothing at all: all are healthy, or stopped, and stay so."""
        lives = [self.lives[key] for key in servers]
        if verb == "start":
            return all(each.state is State.HEALTHY and each.wanted for each in lives)
        return verb == "stop" and all(each.state is State.STOPPED and not each.wanted for each in lives)

    # --- membership ------------------------------------------------------------------------------------------------

    def update(self, at: float, systems: Sequence[System]) -> list[str]:
        """Take changed settings, new systems and the new order; return the keys that are new.

        A system that is no longer there is forgotten: circusd has brought it down, or will not manage it.
        """
        new = [each.key for each in systems if each.key not in self.lives]
        lives: dict[str, Lifecycle] = {}
        for each in systems:
            life = self.lives.get(each.key) or self._new(each, at)
            life.system = each
            lives[each.key] = life
        for key in set(self.lives) - set(lives):
            self.touched.add(key)
            self._agenda.put(key, None)
            self._early.put(key, None)
            self._footing.pop(key, None)
            self._starting.discard(key)
        self.lives = lives
        self._places = {key: number for number, key in enumerate(lives)}
        self._moved = True
        for life in lives.values():
            self._touch(life)
        for operation in self.operations.values():
            operation.pending &= set(lives)
            operation.running &= set(lives)
        return new

    def move(self, key: str, port: int) -> None:
        """Take note that a system is on another port from now on."""
        life = self.lives[key]
        life.system = replace(life.system, port=port)
        self._touch(life)

    def remember(self, memories: Mapping[str, Memory], at: float) -> None:
        """Take up what was known before: wishes, attempts, backoff and ``failed`` go on where they were."""
        for key, life in self.lives.items():
            memory = memories.get(key, Memory(wanted=life.system.wanted))
            life.wanted = memory.wanted
            life.restarts = memory.restarts
            self._touch(life)
            if memory.failed_at is not None and memory.failure is not None:
                life.failure = (memory.failed_at, memory.failure)
            if not memory.wanted:
                continue
            life.attempt, life.down_since, life.error = memory.attempt, memory.down_since, memory.error
            held = memory.state if memory.state in {State.BACKOFF, State.FAILED} else State.WAITING
            life.resume(at, held, memory.due)

    # --- what follows ----------------------------------------------------------------------------------------------

    def _follow(self, at: float) -> Answer:
        """Open gates, go on with commands whose turn it is, and settle those that are done, until nothing moves."""
        if not self._moved and (self._gate_at is None or self._gate_at > at):
            return []
        answer: Answer = []
        self._moved = True
        while self._moved:
            self._moved = False
            moves = [*self._proceed(at), *self._open_gates(at), *self._settle(at)]
            self._moved = self._moved or bool(moves)
            answer += moves
        self._gate_at = self._next_gate()
        return answer

    def _proceed(self, at: float) -> Answer:
        answer: Answer = []
        for operation in self.operations.values():
            for key in sorted(operation.pending, key=self._place, reverse=True):
                life = self.lives[key]
                if operation.verb != "start" and self._held_up(operation, key):
                    continue
                operation.pending.discard(key)
                self._moved = True
                if operation.verb == "start":
                    answer += life.handle(facts.Start(at, key))
                elif operation.verb == "stop":
                    answer += life.handle(facts.Stop(at, key))
                else:
                    answer += life.handle(facts.Restart(at, key, rejoin=len(operation.servers) > 1))
        return answer

    def _held_up(self, operation: Operation, key: str) -> bool:
        """Say whether something of the same command that depends on ``key`` is still up."""
        return any(
            other in operation.pending or self.lives[other].state in WITH_PROCESS
            for other in operation.servers
            if other in self.lives and key in self.lives[other].system.depends_on
        )

    def _open_gates(self, at: float) -> Answer:
        if self.draining:
            return []
        answer: Answer = []
        for life in self:
            opens = self.gate_opens(life) if life.state is State.WAITING else None
            if opens is not None and opens <= at:
                missing = tuple(
                    each
                    for each in life.system.depends_on
                    if each in self.lives and self.lives[each].state is not State.HEALTHY
                )
                answer += life.handle(facts.Opened(at, life.system.key, missing))
        return answer

    def gate_opens(self, life: Lifecycle) -> float | None:
        """Return when the gate of a waiting system opens as things stand; None where only an event can open it."""
        opens = life.since
        for key in life.system.depends_on:
            dependency = self.lives.get(key)
            if dependency is None:
                continue
            if any(key in each.pending for each in self.operations.values()):
                return None  # it is yet to be brought down by the command that this one belongs to
            if dependency.state is State.HEALTHY:
                continue
            if life.system.gate == "strict":
                return None
            if dependency.state is State.FAILED or not dependency.wanted:
                continue
            if dependency.began is None or dependency.state is State.STOPPING:
                return None
            opens = max(opens, dependency.began + dependency.system.restart.start_timeout)
        return opens

    def waits_for(self, key: str) -> list[str]:
        """Return the dependencies that a waiting system is waiting for."""
        life = self.lives[key]
        if life.state is not State.WAITING:
            return []
        return [
            each
            for each in life.system.depends_on
            if each in self.lives and self.lives[each].state is not State.HEALTHY
        ]

    def _settle(self, at: float) -> Answer:
        answer: Answer = []
        for operation in self.operations.values():
            if operation.finished is not None:
                continue
            for key in sorted(operation.running - operation.pending):
                life = self.lives[key]
                if operation.verb == "stop":
                    done = life.state is State.STOPPED
                else:
                    done = life.state in {State.HEALTHY, State.FAILED, State.STOPPED}
                    if done and life.state is not State.HEALTHY:
                        operation.errors[key] = life.error or f"is {life.state}"
                if done:
                    operation.running.discard(key)
            if not operation.running:
                operation.finished = at
                answer.append(Settled(operation.ident))
        return answer

    def prune(self, keep: int) -> None:
        """Forget the oldest finished operations beyond ``keep``."""
        finished = [each for each, operation in self.operations.items() if operation.finished is not None]
        for each in finished[: max(0, len(finished) - keep)]:
            del self.operations[each]
