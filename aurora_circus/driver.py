"""Puts decisions into effect: feeds facts to the fleet, carries out what it answers, once a second looks at the truth.

Everything here runs on one event loop, the plugin's, and never blocks it; what takes time is awaited or handed to a
thread. It decides nothing about systems. The broad ``except`` of :meth:`Driver.run` is the only one: whatever goes
wrong in one step is logged and journaled, and costs no other system anything.
"""

import asyncio
import dataclasses
import logging
import threading
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any, Literal

from aurora_circus import chain, facts, memory, outside, ports, processes, settings
from aurora_circus.clock import Clock, rfc3339
from aurora_circus.control import Control
from aurora_circus.drilling import Drilling
from aurora_circus.errors import AuroraError, CircusBusyError, CircusError, MachineError
from aurora_circus.facts import Fact, Outcome, Process, State
from aurora_circus.fleet import Answer, Fleet, Memory, Operation, Settled, Verb
from aurora_circus.journal import Journal
from aurora_circus.kept import wishes_last
from aurora_circus.lifecycle import SPAWN_PATIENCE
from aurora_circus.marks import Mark
from aurora_circus.reaper import Reaper
from aurora_circus.rotation import Rotation
from aurora_circus.statefile import StateFile
from aurora_circus.takeover import Takeover

LOOK_EVERY = 1.0
"""Seconds between two looks at what really runs."""
STATE_PATIENCE = 2.0
"""Seconds for the state to reach the disk at the end."""
WORD_PATIENCE = 0.5
"""Seconds for circusd to say what it was told last; it takes a millisecond."""
AWAY = 3.0
"""Seconds without a beat after which we have been away: the machine was suspended, or had no time for us."""
LATE = 0.5
"""Seconds by which a failed probe may outlast its timeout; one that takes longer failed for want of our own time."""
TRIES = 3
"""Probes in a row that may fail like that, until one counts all the same."""
PROBES_KEPT = 20
OPERATIONS_KEPT = 500
SPAWN_LIMIT = SPAWN_PATIENCE - 5.0
"""Seconds within which a spawn is answered, waiting for its turn included."""

log = logging.getLogger(__name__)


class Driver:
    """One fleet on one circusd. Every method but those of ``backend`` is called on the event loop."""

    def __init__(  # noqa: PLR0913 - one adapter each
        self,
        fleet: Fleet,
        *,
        clock: Clock,
        control: Control,
        journal: Journal,
        state: StateFile,
        threads: Executor,
        common: settings.Fleet,
        circusd: Process | None,
        catch_up: Callable[[], Awaitable[None]],
    ) -> None:
        """Take the adapters and the settings that are nobody's in particular; nothing happens before :meth:`begin`.

        ``catch_up`` has everything heard that circusd was told so far.
        """
        self.fleet = fleet
        self.common = common
        self.clock = clock
        self.journal = journal
        self.lock = threading.Lock()
        """Held while the fleet changes or is read; never while anything is waited for."""
        self.probes: dict[str, deque[dict[str, Any]]] = {}
        self.asked: dict[str, dict[str, Any]] = {}
        self.settled: dict[str, threading.Event] = {}
        self.looked_at: float | None = None
        self.trouble: str | None = None
        """What circusd last failed at; None while it answers."""
        self.short: str | None = None
        """What probes cannot be made for want of; None while they can."""
        self.stopped = asyncio.Event()
        self._control = control
        self._catch_up = catch_up
        self._state = state
        self._threads = threads
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._spawning: set[str] = set()
        self._ends = ThreadPoolExecutor(2, thread_name_prefix="end")
        self.reaper = Reaper(self, lambda: self.fleet.lives)
        self.takeover = Takeover(self)
        self.drilling = Drilling(self)
        self._rotation = Rotation(self, threads, state.look)
        self._step_faults: dict[str, str] = {}
        """What went wrong in each step, last time it was made."""
        self._heard = 0
        self._known: dict[str, Memory] = {}
        """What has to survive, as it was last saved."""
        self._saved: object = None
        """How much of circusd's commands was heard when that was."""
        self._draining: Literal["quit", "down"] | None = None
        self._seen = self.clock.monotonic()
        """When the event loop was last seen to run."""
        self._apart = False
        """Whether something was due since the last beat."""
        self._statuses: Mapping[str, str] = {}
        """What circusd said last of its watchers."""
        self._watchers: object = None
        """The number that stood for it."""
        self._circusd = None if circusd is None else list(circusd)
        self._boot = processes.boot()
        self._me = [*(processes.lineage() or ((),))[0]]

    # --- facts in, actions out -------------------------------------------------------------------------------------

    def tell(self, fact: Fact) -> None:
        """Let the fleet know, and do what it says."""
        if isinstance(fact, facts.Gone):
            self.takeover.is_clear(fact.key)
        if isinstance(fact, facts.Exited) and fact.key not in self.fleet.lives:  # taken out of the fleet as it ended
            self.start(self.takeover.clear(fact.key), f"end of what is left of {fact.key}")
        self._decide(lambda: self.fleet.handle(fact))

    def _decide(self, decide: Callable[[], Answer]) -> None:
        self._notice_gap()
        with self.lock:
            answer = decide()
        self.perform(answer)

    def perform(self, answer: Answer) -> None:
        """Carry out actions in their order; what takes time goes on by itself and comes back as a fact."""
        for each in answer:
            match each:
                case facts.Record():
                    self.record(each.event, each.key, each.details)
                case facts.Spawn():
                    self._spawning.add(each.key)
                    self.start(self._spawn(each.key), f"start of {each.key}")
                case facts.Terminate():
                    self.end(each.key, each.process, "SIGTERM")
                case facts.Kill():
                    self.end(each.key, each.process, "SIGKILL")
                case facts.Look():
                    self.start(self._probe(each.key, each.process, verify=each.verify), f"probe of {each.key}")
                case Settled():
                    event = self.settled.get(each.ident)
                    if event is not None:
                        event.set()
                case _:
                    message = f"no way to do {each}"
                    raise TypeError(message)
        self._after_change()

    def record(self, event: str, key: str | None, details: Mapping[str, object]) -> None:
        """Write into the journal, and remember who asked for what."""
        self.journal.record(event, key, details, self.clock.wall())
        if event == "command":
            said = {**details, "at": rfc3339(self.clock.wall())}
            for each in details.get("servers", ()):  # type: ignore[attr-defined] # a list of keys in this event
                self.asked[each] = said
            self.drilling.commanded(details.get("servers", ()), details.get("by"))  # type: ignore[arg-type] # as above
        elif event == "server_stopped" and key is not None:
            self.start(self._after_stop(key), f"stop of {key}")

    def command(self, verb: Verb, servers: Sequence[str], by: str) -> tuple[Operation, bool]:
        """Accept an operator's command; the second value is True when there is nothing to do."""
        if self._draining:
            message = f"{verb}: the fleet is being taken down"
            raise CircusError(message)
        ident = uuid.uuid4().hex[:12]
        nothing = self.fleet.nothing_to_do(verb, servers)
        self.settled[ident] = threading.Event()
        with self.lock:
            operation, answer = self.fleet.command(self.clock.monotonic(), ident, verb, servers, by)
            self.fleet.prune(OPERATIONS_KEPT)
        self.perform(answer)
        for gone in set(self.settled) - set(self.fleet.operations):
            del self.settled[gone]
        return operation, nothing

    def begin(self) -> None:
        """Let everything that is due have its way for the first time; circusd has just answered."""
        self.looked_at = self._seen = self.clock.monotonic()
        self._tick()

    def beat(self) -> bool:
        """Once a second, come what may: see that we have not been away, and let who may be early have its turn.

        Return whether something was due at other times since the last one.
        """
        if self.looked_at is None:
            return False  # what circusd was told before now is still being heard
        apart, self._apart = self._apart, False
        self._notice_gap()
        with self.lock:
            answer = self.fleet.tick(self.clock.monotonic())
        if answer or self.fleet.touched:
            self.perform(answer)
        return apart

    def _notice_gap(self) -> None:
        """See whether we have been away, before anything is decided by how late it is."""
        now = self.clock.monotonic()
        gap, self._seen = now - self._seen, now
        if gap < AWAY:
            return
        with self.lock:
            self.fleet.away(gap)
        self.record("controller_away", None, {"seconds": round(gap, 3)})

    def configure(self, systems: Sequence[settings.System], faults: Sequence[str]) -> None:
        """Take changed, new and removed systems up; what is new is wanted up."""
        now = self.clock.monotonic()
        with self.lock:
            before = {key: life.system for key, life in self.fleet.lives.items()}
            kept = [
                dataclasses.replace(each, port=before[each.key].port)
                if each.port_policy == "dynamic" and each.key in before
                else each
                for each in systems
            ]
            new = self.fleet.update(now, kept)
        changed = [each.key for each in kept if each.key in before and before[each.key] != each]
        removed = sorted(set(before) - {each.key for each in kept})
        details = {"systems": list(self.fleet.lives), "new": new, "changed": changed, "removed": removed}
        if new or changed or removed or faults:
            self.record("config_loaded", None, {**details, "faults": list(faults)})
        for key in new:
            self.tell(facts.Start(now, key))
        self._after_change()

    def close(self, *, orderly: bool) -> None:
        """Save what has to survive: nothing but the journal after an orderly shutdown, unless a service is stopped."""
        if orderly and self.orderly and not wishes_last(self.common.run_dir):
            self._state.clear()
        self._state.flush(STATE_PATIENCE)

    def _after_change(self) -> None:
        due = self.fleet.deadline()
        if due != self._due:
            if self._timer is not None:
                self._timer.cancel()
            # asyncio calls by its clock's resolution too early: what is not due yet would be looked at again and again
            self._timer = None if due is None else self._loop.call_at(due + self.clock.resolution, self._tick)
            self._due = due
        self._remember()
        self.drilling.check()
        if all(each.state is State.STOPPED for each in self.fleet):
            self.stopped.set()
        else:
            self.stopped.clear()

    def _tick(self) -> None:
        self._timer = self._due = None
        self._apart = True
        self._decide(lambda: self.fleet.tick(self.clock.monotonic()))

    def start(self, work: Coroutine[Any, Any, None], what: str) -> None:
        """Let ``work`` go on beside everything else."""
        task = self._loop.create_task(self.run(work, what))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def run(self, work: Awaitable[None], what: str) -> None:
        """Await one step; whatever goes wrong in it is said, and harms nobody else."""
        try:
            await work
        except MemoryError:
            raise  # what was half done may be anything: the plugin ends, and begins anew
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            if self._step_faults.get(what) == text:
                return  # said already, and as it is made again and again, it would fill the journal
            self._step_faults[what] = text
            log.exception("%s failed", what)
            self.journal.record("controller_error", None, {"step": what, "error": text}, self.clock.wall())
        else:
            self._step_faults.pop(what, None)

    # --- processes -------------------------------------------------------------------------------------------------

    async def _spawn(self, key: str) -> None:
        life = self.fleet.lives[key]
        try:
            if life.system.port_policy == "dynamic":
                await self._choose_port(key)
            await self.takeover.clear(key)
            self.reaper.begins(key, await self._rotation.prepare(life.system.log))
            dead = self._reaps(key)
            async with asyncio.timeout(SPAWN_LIMIT):
                pid = await self._control.spawn(key, dead=dead, busy=lambda: self._blocked(key))
        except (CircusBusyError, TimeoutError) as error:
            self._spawning.discard(key)
            reason = str(error) or f"circusd had no time for it within {SPAWN_LIMIT:g} s"
            self.tell(facts.SpawnFailed(self.clock.monotonic(), key, reason, busy=True))
            return
        except (AuroraError, OSError) as error:
            self._spawning.discard(key)
            self.tell(facts.SpawnFailed(self.clock.monotonic(), key, str(error)))
            return
        self._spawning.discard(key)
        self.appeared(key, await self._identify(pid) or Process(pid, 0.0))

    async def _identify(self, pid: int) -> Process | None:
        """Return who ``pid`` is, as soon as that can be seen."""
        while True:
            try:
                return processes.identify(pid)
            except MachineError as error:
                self._say_short(str(error))
            await asyncio.sleep(LOOK_EVERY)

    def _reaps(self, key: str) -> bool:
        """Say whether circusd surely holds a dead process of ``key``: its death was seen, and no command came since."""
        asked = self.asked.get(key)
        return self.fleet.lives[key].attempt > 0 and (asked is None or asked.get("by") != "circusctl")

    def _blocked(self, key: str) -> None:
        if key not in self.fleet.lives:
            message = f"{key} is no system of this fleet any more"
            raise CircusError(message)
        self._decide(lambda: self.fleet.blocked(self.clock.monotonic(), key))

    async def _choose_port(self, key: str) -> None:
        life = self.fleet.lives[key]
        if self.common.port_range is None or not await self.aside(ports.listening, life.system.port):
            return
        others = {each.system.port for each in self.fleet if each is not life} | {self.common.api.port}
        chosen = await self.aside(ports.free_port, *self.common.port_range, others)
        if chosen is None:
            message = f"no free port from {self.common.port_range[0]} to {self.common.port_range[1]}"
            raise CircusError(message)
        await self._control.set_environment(key, {"AURORA_PORT": str(chosen)})
        self.fleet.move(key, chosen)

    def appeared(self, key: str, process: Process) -> None:
        """A process of ``key`` is there: watch it, and say so."""
        life = self.fleet.lives.get(key)
        if life is None or life.process == process:
            return
        before = life.process
        self.takeover.begins(key)
        processes.hold(process, self.mark(key))
        self.reaper.watch(key, process)
        self.tell(facts.Spawned(self.clock.monotonic(), key, process))
        if before is not None:  # circusd did not wait until nobody else of that was left
            self.start(self.takeover.clear(key), f"end of what is left of {key}")
        self.drilling.appeared(key, process)

    def mark(self, key: str) -> Mark:
        """Return what a system's processes bear."""
        return Mark(self.common.run_dir, key)

    def end(self, key: str, process: Process, how: Literal["SIGTERM", "SIGKILL"]) -> None:
        """Send a signal to everybody of a system, beside everything else."""
        self.start(self._end_all(key, process, how, processes.moment()), f"{how} to {key}")

    async def _end_all(self, key: str, process: Process, how: str, moment: int) -> None:
        """Send a signal to everybody of a system; who that is takes a look at the machine, which others share."""
        send = processes.terminate_all if how == "SIGTERM" else processes.kill_all
        try:
            await self.ending(send, process, self.mark(key), moment)
        except (MachineError, OSError) as error:
            log.error("%s: %s", key, error)
            self.record("controller_error", key, {"step": f"{how} to process {process.pid}", "error": str(error)})

    async def ending(self, work: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401 - whatever it returns
        """Have ``work`` done in a thread that never waits for a disk, and return what it returns."""
        return await self._loop.run_in_executor(self._ends, work, *arguments)

    async def _after_stop(self, key: str) -> None:
        """Have circusd take note of the stop; say who else is on the port, where somebody is."""
        if self._draining:
            return
        try:
            await self._control.release(key)
        except CircusError as error:
            log.warning("%s is stopped, which circusd will see for itself: %s", key, error)
        life = self.fleet.lives.get(key)
        if life is None or life.state is not State.STOPPED:
            return
        holder = await self.aside(ports.holder, life.system.port)
        if holder is not None and life.state is State.STOPPED:
            details = {"port": life.system.port, "pid": holder.pid, "command": holder.command}
            self.record("port_conflict", key, details)

    # --- health ----------------------------------------------------------------------------------------------------

    async def _probe(self, key: str, process: Process, *, verify: bool) -> None:
        system = self.fleet.lives[key].system
        began = self.clock.wall()
        for _ in range(TRIES):
            asked = self.clock.monotonic()
            outcome = await self.drilling.look(key, process, system)
            if outcome.ok or self.clock.monotonic() - asked < system.probe.timeout + LATE:
                break
        self._say_short(None if outcome.made else outcome.reason)
        if outcome.ok and verify:
            outcome = await self._verify(key, system.port, process, outcome)
        kept = self.probes.setdefault(key, deque(maxlen=PROBES_KEPT))
        if outcome.ok or not kept or kept[-1]["reason"] != outcome.reason:
            latency = None if outcome.latency is None else round(outcome.latency * 1000, 2)
            entry = {"ok": outcome.ok, "reason": outcome.reason, "latency_ms": latency}
            kept.append({"at": rfc3339(began), **entry, "n": 1})
        else:
            kept[-1] = {**kept[-1], "at": rfc3339(began), "n": kept[-1]["n"] + 1}
        self.tell(facts.Probed(self.clock.monotonic(), key, process, outcome))

    def _say_short(self, reason: str | None) -> None:
        """Say that probes cannot be made for want of means, once, and once that they can be made again."""
        before, self.short = self.short, reason
        if (before is None) != (reason is None):
            self.record("controller_short", None, {"of": "looks", "reason": reason})

    async def _verify(self, key: str, port: int, process: Process, outcome: Outcome) -> Outcome:
        """Healthy means this process: the listener must be of its group, or have come of it."""
        ours = await self.aside(lambda: ports.belongs(port, [each.pid for each in processes.members(process)]))
        if ours is False:
            everybody = await self.ending(processes.everybody, process, self.mark(key), processes.moment())
            ours = await self.aside(ports.belongs, port, [each.pid for each in everybody])
        if ours is not False:
            return dataclasses.replace(outcome, verified=ours)
        holder = await self.aside(ports.holder, port)
        if holder is None:
            return Outcome(ok=False, reason=f"nobody listens on port {port} any more")
        return Outcome(ok=False, reason=f"port {port} is held by {holder}", verified=False, holder=holder)

    # --- circusd ---------------------------------------------------------------------------------------------------

    @property
    def heard(self) -> int:
        """The number of the last command of circusd's that was taken note of."""
        return self._heard

    def hear(self, entries: Iterable[Mapping[str, Any]]) -> bool:
        """Take note of circusd's commands that are new; return whether its watchers have to be looked at again."""
        again = False
        for entry in sorted(entries, key=lambda each: int(each["seq"])):
            if entry["seq"] <= self._heard:
                continue
            self._heard = int(entry["seq"])
            again |= self._obey(entry)
        return again

    def _obey(self, entry: Mapping[str, Any]) -> bool:
        now = self.clock.monotonic()
        running = [each.system.key for each in self.fleet if each.wanted and each.process is not None]
        what = outside.meaning(entry, self.fleet.lives, running)
        if what.kind == "reconfigure":
            details = {"verb": entry["command"], "by": "circusctl", "servers": [], "operation": None}
            self.record("command", None, details)
            return True
        if what.kind == "refused":
            self.record(
                "command_refused",
                None,
                {"verb": entry["command"], "by": outside.sender(entry), "reason": entry["reason"]},
            )
            return False
        if self._draining and what.kind != "quit":
            return False
        if what.kind in {"quit", "down"}:
            self._remember(going_down=True)  # what stood before, and that this was heard: not to be heard again
            self._draining = what.kind
            details = {
                "verb": entry["command"],
                "by": outside.sender(entry),
                "servers": list(self.fleet.lives),
                "operation": None,
            }
            self.record("command", None, details)
            self._decide(lambda: self.fleet.drain(now))
        elif what.kind == "note" and what.servers:
            self._decide(lambda: self.fleet.outside(now, what.verb, what.servers, "circusctl"))
        elif what.kind == "order" and what.servers:
            self.command(what.verb, what.servers, "circusctl")
        elif what.kind == "all":
            self.command("start", list(self.fleet.lives), "circusctl")
        elif what.kind == "went":
            for key in set(what.servers) & set(running):
                self.tell(facts.Restart(now, key, external=True))
        return False

    @property
    def draining(self) -> bool:
        """True once circusd is taking everything down, us included."""
        return self._draining is not None

    @property
    def orderly(self) -> bool:
        """True once circusd is going down in good order, which ends every wish."""
        return self._draining == "quit"

    async def catch_up(self) -> None:
        """Hear what circusd was told before now, where it answers in time; it says nothing any more once it ends."""
        if self._draining:
            return
        try:
            async with asyncio.timeout(WORD_PATIENCE):
                await self._catch_up()
        except CircusError as error:
            log.warning("what circusd was told last is not known: %s", error)
        except TimeoutError:
            log.warning("what circusd was told last is not known: no answer within %g s", WORD_PATIENCE)

    def hinted(self, key: str, pid: int) -> None:
        """Take circusd's word that it spawned a process; if it was not for us, it is taken over."""
        try:
            process = processes.identify(pid)
        except MachineError:
            return  # it is seen by looking, then
        if key in self.fleet.lives and key not in self._spawning and process is not None:
            self.start(self._follow(key, process), f"start of {key}")

    async def _follow(self, key: str, process: Process) -> None:
        """Take over what circusd has started; the end of the process before it is told first."""
        before = self.fleet.lives[key].process
        if before is not None and before != process:
            await self.reaper.last_word(key, before)
        if key not in self._spawning:
            self.appeared(key, process)

    def look(self) -> None:
        """See what no event tells of."""
        self.reaper.look()

    async def ask(self, watchers: object) -> bool:
        """Compare what we believe with what circusd says; return whether its watchers have changed.

        ``watchers`` stands for what it says of them, and is another one when that is; None: it has to be asked.
        """
        if watchers is None or watchers != self._watchers:
            self._statuses = await self._control.statuses()
            self._watchers = watchers  # as it was before that: a change since then is seen the next time
        statuses = self._statuses
        for key, life in list(self.fleet.lives.items()):
            idle = life.process is None and key not in self._spawning
            if idle and statuses.get(key) in {"active", "starting"}:
                for pid in await self._control.pids(key):
                    self.hinted(key, pid)
        self.looked_at = self.clock.monotonic()
        return any(key not in statuses for key in self.fleet.lives)

    def look_after_files(self) -> None:
        """Have the systems' logs rotated where they have grown, and our state kept on the disk."""
        self._rotation.look({each.system.key: each.system.log for each in self.fleet if each.system.log})

    async def aside(self, work: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401 - whatever the work returns
        """Have ``work`` done in a thread and return what it returns."""
        return await self._loop.run_in_executor(self._threads, work, *arguments)

    # --- memory ----------------------------------------------------------------------------------------------------

    def _remember(self, *, going_down: bool = False) -> None:
        """Save what has to survive, where it has changed; what is taken down in good order comes up by its turn."""
        if self._draining:
            return
        changed = self._heard != self._saved or going_down
        while self.fleet.touched:
            key = self.fleet.touched.pop()
            life = self.fleet.lives.get(key)
            if life is None:
                changed |= self._known.pop(key, None) is not None
            elif (now := memory.remember(life)) != self._known.get(key):
                self._known[key] = now
                changed = True
        if not changed:
            return
        self._saved = self._heard
        known = {key: memory.at_rest(each) for key, each in self._known.items()} if going_down else dict(self._known)
        past = chain.Past(self.journal.head, self.journal.last_seq)
        shift = self.clock.wall() - self.clock.monotonic()
        self._state.save(partial(self._freeze, known, shift, self._heard, past))

    def _freeze(self, known: Mapping[str, Memory], shift: float, heard: int, past: chain.Past) -> dict[str, object]:
        return {
            "systems": memory.freeze(known, shift),
            "heard": heard,
            "file": self.common.file,
            "circusd": self._circusd,
            "boot": self._boot,
            "controller": self._me,
            "journal": chain.save(past),
        }

    @property
    def state_error(self) -> str | None:
        """Why what must survive is not on the disk; None while it is."""
        return self._state.last_error

    def saved(self, timeout: float) -> bool:
        """Wait ``timeout`` seconds at most, in a thread of the caller's, until what must survive is on the disk."""
        return self._state.flush(timeout)

    def recall(self, saved: Mapping[str, Any]) -> dict[str, Memory]:
        """Read what an earlier life of ours saved; what cannot be made sense of is as if it had not been there."""
        memories, faults = memory.thaw(saved.get("systems"), self.clock.wall() - self.clock.monotonic())
        for fault in faults:
            log.warning("%s", fault)
        if saved.get("boot") != self._boot:  # pids of another life of this machine are strangers' by now
            memories = {key: dataclasses.replace(each, process=None) for key, each in memories.items()}
        self.takeover.same = saved.get("circusd") == self._circusd
        heard = saved.get("heard")
        if self.takeover.same and isinstance(heard, int):
            self._heard = heard
        return memories

    async def leftovers(self, memories: Mapping[str, Memory]) -> Mapping[str, Sequence[Process]]:
        """Return who runs of each system that no living circusd holds, be it of this fleet still or not."""
        return await self.takeover.left(self.common.run_dir, {*self.fleet.lives, *memories})

    def adopt(
        self,
        memories: Mapping[str, Memory],
        running: Mapping[str, Sequence[int]],
        left: Mapping[str, Sequence[Process]],
    ) -> list[str]:
        """Take over what runs, and return those systems; what runs against everybody's wish is stopped."""
        with self.lock:
            adopted, unwanted = self.takeover.adopt(memories, running, left)
        for key in unwanted:
            self.tell(facts.Stop(self.clock.monotonic(), key))
        return adopted
