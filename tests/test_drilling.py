"""What the plugin does in a drill: strikes, asks a stand-in instead, and ends it all in time."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import pytest

from aurora_circus import facts, probe, processes, settings
from aurora_circus.clock import Clock
from aurora_circus.drill_names import CONTROLLER, Fault
from aurora_circus.drilling import Drilling
from aurora_circus.drills import Order, RefusedDrillError
from aurora_circus.errors import MachineError
from aurora_circus.facts import Outcome, Process
from aurora_circus.fleet import Fleet
from tests.fake_fleet import system as shown
from tests.world import OK, system

OLD, NEW = Process(7, 1.0), Process(8, 2.0)
STANDIN = 45000
SICK = Outcome(ok=False, reason="GET /health answered 500", latency=0.01)
SILENT = Outcome(ok=False, reason="no answer within 0.1 s")
Step = Callable[["Rig"], Awaitable[None]]


class Rig:
    """A fleet of one healthy system, and its drills; what is done to processes is noted and not done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Begin within a running loop."""
        self.clock = Clock()
        self.common = settings.Fleet(api=settings.Api(port=5025))
        self.fleet = Fleet([system("web", timeout=0.1)], 0.0, heartbeat=30.0)
        self.journal: Any = self
        self.records: list[dict[str, Any]] = []
        self.struck: list[tuple[str, Process]] = []
        self.asked: list[int] = []
        self.answers: dict[int, Outcome] = {STANDIN: SICK, 5000: OK}
        self.ended = asyncio.Event()
        self.refuses: str | None = None
        for name in ("kill", "freeze", "thaw"):
            monkeypatch.setattr(processes, name, self._striking(name))
        monkeypatch.setattr(probe, "look", self._look)
        for fact in (facts.Start(0.0, "web"), facts.Opened(0.0, "web"), facts.Spawned(0.0, "web", OLD)):
            self.fleet.handle(fact)
        self.fleet.handle(facts.Probed(0.0, "web", OLD, OK))
        self.drilling = Drilling(self)

    def _striking(self, name: str) -> Callable[[Process], bool]:
        def strike(process: Process) -> bool:
            if self.refuses == name:
                raise MachineError(f"{name}: not permitted")
            self.struck.append((name, process))
            return True

        return strike

    async def _look(self, port: int, probing: settings.Probe) -> Outcome:
        self.asked.append(port)
        if self.answers[port] is SILENT:
            await asyncio.sleep(probing.timeout)
        return self.answers[port]

    def record(self, event: str, key: str | None, details: Mapping[str, object]) -> None:
        """Take note of it."""
        assert event == "drill"
        self.records.append({"key": key, **details})
        if details["phase"] == "over":
            self.ended.set()

    def start(self, work: Coroutine[Any, Any, None], what: str) -> None:
        """Keep it from being done."""
        work.close()

    async def aside(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Do it here."""
        return work(*arguments)

    def begin(self, fault: Fault, *, seconds: float = 60.0, **more: Any) -> dict[str, object]:
        """Begin a drill of ``web``."""
        port = STANDIN if fault in {Fault.SLOW_HEALTH, Fault.HTTP_500} else None
        order = Order(fault, seconds, **{"port": port, **more})
        return self.drilling.begin("web", order, "cli", self.status())

    def status(self) -> dict[str, dict[str, Any]]:
        """Return the fleet as the API shows it."""
        life = self.fleet.lives["web"]
        drill = self.drilling.fault_of("web")
        return {"web": shown(str(life.state), attempt=life.attempt, attempts=3, drill=drill)}

    async def look(self, process: Process = OLD) -> Outcome:
        """Probe ``web``."""
        return await self.drilling.look("web", process, self.fleet.lives["web"].system)

    def die(self) -> None:
        """End the process of ``web``, as the driver would be told."""
        self.fleet.handle(facts.Exited(1.0, "web", OLD, facts.Exit(signal="SIGKILL")))
        self.fleet.handle(facts.Gone(1.0, "web", OLD))
        self.drilling.check()

    @property
    def why(self) -> object:
        """Why the last drill is over; None while it is not."""
        return self.records[-1].get("why")


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[[Step], Rig]:
    """Play a scene on a new rig, and return that."""

    def play_it(scene: Step) -> Rig:
        async def within() -> Rig:
            rig = Rig(monkeypatch)
            await scene(rig)
            return rig

        return asyncio.run(within())

    return play_it


Play = Callable[[Step], Rig]


@pytest.mark.parametrize(("fault", "how"), [(Fault.KILL, "kill"), (Fault.HANG, "freeze")])
def test_a_strike_is_journaled_and_made_at_once(play: Play, fault: Fault, how: str) -> None:
    """With who wants it, for how long, and which process."""

    async def scene(rig: Rig) -> None:
        answer = rig.begin(fault)
        assert answer == {"fault": str(fault), "pid": 7, "seconds": 60.0, "strikes": 1}
        assert rig.drilling.fault_of("web") == str(fault)
        assert (rig.drilling.told("web") or {})["by"] == "cli"
        assert rig.drilling.told("other") is None

    rig = play(scene)
    assert rig.struck == [(how, OLD)]
    assert rig.records == [
        {
            "key": "web",
            "fault": str(fault),
            "phase": "begins",
            "by": "cli",
            "seconds": 60.0,
            "pid": 7,
            "port": None,
        }
    ]


def test_it_is_over_when_its_process_is_gone(play: Play) -> None:
    """What becomes of that is the fleet's affair."""

    async def scene(rig: Rig) -> None:
        rig.begin(Fault.KILL)
        rig.drilling.check()
        assert rig.why is None
        rig.die()
        assert rig.why == "its process is gone"
        assert rig.drilling.fault_of("web") is None

    play(scene)


def test_it_is_over_when_its_time_is(play: Play) -> None:
    """What was frozen goes on then."""

    async def scene(rig: Rig) -> None:
        rig.begin(Fault.HANG, seconds=0.01)
        await rig.ended.wait()

    rig = play(scene)
    assert rig.why == "its time is over"
    assert rig.struck == [("freeze", OLD), ("thaw", OLD)]


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (lambda rig: rig.drilling.end("web", "api"), "ended by api"),
        (lambda rig: rig.drilling.commanded(["web"], "cli"), "another command was given, by cli"),
        (lambda rig: rig.drilling.close(), "the controller ends"),
    ],
)
def test_whoever_ends_it_ends_the_fault(play: Play, end: Callable[[Rig], object], why: str) -> None:
    """By word, by another command for the same system, or with the controller."""

    async def scene(rig: Rig) -> None:
        rig.begin(Fault.HANG)
        rig.drilling.commanded(["other"], "cli")
        assert not rig.drilling.end("other", "cli")
        assert rig.why is None
        end(rig)

    rig = play(scene)
    assert rig.why == why
    assert rig.struck == [("freeze", OLD), ("thaw", OLD)]
    assert not rig.drilling.end("web", "cli")


def test_a_crash_loop_ends_each_new_process_and_then_lets_one_live(play: Play) -> None:
    """Two of three attempts are taken; nobody is struck twice, and nobody else."""

    async def scene(rig: Rig) -> None:
        assert rig.begin(Fault.CRASH_LOOP)["strikes"] == 2
        rig.die()
        assert rig.why is None
        rig.drilling.appeared("other", Process(1, 1.0))
        rig.fleet.handle(facts.Spawned(1.0, "web", NEW))
        rig.drilling.appeared("web", NEW)
        rig.drilling.appeared("web", Process(9, 3.0))

    rig = play(scene)
    assert rig.struck == [("kill", OLD), ("kill", NEW)]
    assert rig.why == "as many processes were ended as were to be"


def test_a_crash_loop_gives_way_to_who_stops_it(play: Play) -> None:
    """A system that is wanted down, or was taken out, is not waited for."""

    async def scene(rig: Rig) -> None:
        rig.begin(Fault.CRASH_LOOP)
        rig.fleet.handle(facts.Stop(1.0, "web"))
        rig.drilling.check()
        assert rig.why == "it is not wanted up any more"

    play(scene)


@pytest.mark.parametrize(("fault", "answer"), [(Fault.HTTP_500, SICK), (Fault.SLOW_HEALTH, SILENT)])
def test_a_stand_in_is_believed_when_it_shows_the_fault(play: Play, fault: Fault, answer: Outcome) -> None:
    """It alone is asked, and the reason says that it is a drill."""

    async def scene(rig: Rig) -> None:
        rig.begin(fault)
        rig.answers[STANDIN] = answer
        outcome = await rig.look()
        assert (outcome.ok, outcome.reason) == (False, f"drill {fault}: {answer.reason}")

    rig = play(scene)
    assert rig.asked == [STANDIN]
    assert rig.struck == []


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        (Fault.HTTP_500, OK),
        (Fault.SLOW_HEALTH, OK),
        (Fault.HTTP_500, Outcome(ok=False, reason="connection refused")),
        (Fault.SLOW_HEALTH, Outcome(ok=False, reason="connection refused")),
    ],
)
def test_a_stand_in_can_only_make_things_worse(play: Play, fault: Fault, answer: Outcome) -> None:
    """One that is gone, or says that all is well, ends the drill, and the system itself is asked."""

    async def scene(rig: Rig) -> None:
        rig.begin(fault)
        rig.answers[STANDIN] = answer
        rig.answers[5000] = Outcome(ok=False, reason="its own word")
        assert (await rig.look()).reason == "its own word"
        assert (await rig.look()).reason == "its own word"

    rig = play(scene)
    assert rig.asked == [STANDIN, 5000, 5000]
    assert str(rig.why).startswith("its stand-in does not show the fault")


def test_another_process_is_never_asked_by_a_stand_in(play: Play) -> None:
    """Nor another system."""

    async def scene(rig: Rig) -> None:
        rig.begin(Fault.HTTP_500)
        assert (await rig.look(NEW)).ok
        assert (await rig.drilling.look("other", OLD, system("other"))).ok

    assert play(scene).asked == [5000, 5000]


def test_a_probe_that_was_under_way_when_the_drill_ended_harms_nobody(play: Play) -> None:
    """The system itself is asked instead."""

    async def scene(rig: Rig) -> None:
        rig.begin(Fault.SLOW_HEALTH)
        rig.answers[STANDIN] = SILENT
        probing = asyncio.ensure_future(rig.look())
        await asyncio.sleep(0)
        rig.drilling.end("web", "cli")
        assert (await probing).ok

    assert play(scene).asked == [STANDIN, 5000]


def test_one_drill_at_a_time(play: Play) -> None:
    """The second one is refused, and nothing is done."""

    async def scene(rig: Rig) -> None:
        rig.begin(Fault.HANG)
        with pytest.raises(RefusedDrillError, match="a drill runs already: hang"):
            rig.begin(Fault.KILL, force=True)
        with pytest.raises(RefusedDrillError, match="a drill runs already: hang"):
            rig.drilling.begin(CONTROLLER, Order(Fault.PLUGIN_KILL, 60.0), "api", {})

    rig = play(scene)
    assert rig.struck == [("freeze", OLD)]
    assert len(rig.records) == 1


@pytest.mark.parametrize("port", [5000, 5025])
def test_a_port_of_the_fleet_is_no_stand_ins(play: Play, port: int) -> None:
    """Neither a system's nor the API's."""

    async def scene(rig: Rig) -> None:
        with pytest.raises(RefusedDrillError, match="is the fleet's own"):
            rig.begin(Fault.HTTP_500, port=port)

    assert play(scene).records == []


def test_a_strike_that_is_refused_is_said_and_ends_the_drill(play: Play) -> None:
    """Whoever asked is told why, and so is the journal."""

    async def scene(rig: Rig) -> None:
        rig.refuses = "kill"
        with pytest.raises(MachineError, match="not permitted"):
            rig.begin(Fault.KILL)
        assert rig.why == "kill: not permitted"
        rig.refuses = "thaw"
        rig.begin(Fault.HANG)
        rig.drilling.end("web", "cli")
        assert rig.why == "ended by cli; thaw: not permitted"

    play(scene)


def test_the_end_of_the_plugin_is_journaled_as_nobodys(play: Play) -> None:
    """No system is struck."""

    async def scene(rig: Rig) -> None:
        answer = rig.drilling.begin(CONTROLLER, Order(Fault.PLUGIN_KILL, 60.0), "api", rig.status())
        assert (answer["pid"], answer["strikes"]) == (None, 0)
        rig.drilling.check()

    rig = play(scene)
    assert rig.struck == []
    assert [(each["key"], each["phase"]) for each in rig.records] == [(None, "begins")]
