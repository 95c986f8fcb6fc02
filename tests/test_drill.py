"""The command: what it asks of the API, what it says, when it does nothing, and that it always ends what it began."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from aurora_circus import drill, lookup, promises, reach, witness
from aurora_circus.cli import cli
from aurora_circus.drill_names import CONTROLLER, Fault
from aurora_circus.drill_words import Subject
from aurora_circus.errors import AuroraError
from aurora_circus.oracle import Sight
from aurora_circus.story import Story
from tests.fake_fleet import FakeApi, context, fleet, record, system, toml

POLICY = {
    "interval": 5.0,
    "timeout": 2.0,
    "failure_threshold": 2,
    "graceful_timeout": 5.0,
    "start_timeout": 15.0,
    "backoff_base": 1.0,
    "backoff_cap": 60.0,
    "jitter": 0.1,
}
BACK = [record(6, "server_exited", "router", pid=42), record(7, "server_recovered", "router", pid=43, downtime=0.1)]


class World:
    """An API of a healthy fleet, and what is seen of it from outside."""

    def __init__(self, api: FakeApi, folder: Path) -> None:
        self.api, self.folder = api, folder
        self.status: dict[str, Any] = {"brain": system(critical=True, pid=41), "router": system()}
        self.health: str | None = None
        self.plugin = 30
        self.pages: list[Any] = []
        api.on("GET /status", lambda _: self.status)
        api.on("GET /explain/router", {"policy": POLICY, "attempts_used": 0})
        api.on("GET /explain/brain", {"policy": POLICY, "attempts_used": 0})
        api.on("GET /events", self._events)
        for key in ("router", "brain", CONTROLLER):
            api.on(f"POST /drill/{key}", self._drill)
        self.begun: Callable[[], None] = lambda: None

    def _drill(self, query: Mapping[str, str]) -> Any:
        if query["fault"] == "none":
            return {"success": True, "ended": True}
        self.begun()
        return {"success": True, "pid": 42, "fault": query["fault"], "seconds": 1.0, "strikes": 1}

    def _events(self, query: Mapping[str, str]) -> Any:
        if query.get("event") == "controller_started":
            return {"events": [record(1, "controller_started", pid=self.plugin, circusd=2)], "next": 1}
        if "since" not in query:
            return {"events": [], "next": 5}
        page = self.pages.pop(0) if self.pages else []
        return page if page is None else {"events": page, "next": 5}

    def sight(self, *_: object, **__: object) -> Sight:
        """Return what is seen: everything as the API says."""
        alive = frozenset(each["pid"] for each in self.status.values() if each["pid"])
        return Sight(status=self.status, health=self.health, told=Story(), leaders={}, alive=alive)

    def run(self, fault: Fault, key: str = "router", **more: Any) -> int:
        """Do a drill."""
        wish = drill.Wish(subject=Subject(fault, key), **{"yes": True, **more})
        return drill.run(wish, context(fleet(self.folder, self.api.port)))

    def orders(self) -> list[Mapping[str, str]]:
        """Return what was ordered of the controller."""
        return [query for call, query in self.api.asked if call.startswith("POST")]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A fleet of brain and router that is well."""
    with FakeApi(f"{tmp_path}/.aurora/run").serving() as api:
        made = World(api, tmp_path)
        monkeypatch.setattr(witness, "look", made.sight)
        monkeypatch.setattr(lookup, "find", lambda _: None)
        for name in ("POLL", "LATE", "_AGAIN", "_LOOK"):
            monkeypatch.setattr(drill, name, 0.05)
        yield made


def test_it_says_what_it_will_do_and_what_came_of_it(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """The promises by the system's own settings, what happens as it happens, and a verdict for each."""
    world.pages = [BACK]
    assert world.run(Fault.KILL) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "drill kill of router: its process group is killed (SIGKILL)"
    assert lines[1].startswith("  promised: noticed within 2.00 s")
    assert any("router  pid 42" in each for each in lines)
    assert [each.split(" after")[0] for each in lines[-6:-1]] == [
        "kept: noticed",
        "kept: healthy again",
        "kept: killed to healthy",
        "kept: no other system got a new process",
        "kept: everything is as before",
    ]
    assert lines[-1] == "drill kill of router: all is well; pid 42 is 43 now"
    assert [each["fault"] for each in world.orders()] == ["kill", "none"]


def test_as_json_it_is_one_object(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """What happens is told on standard error."""
    world.pages = [BACK]
    assert world.run(Fault.KILL, as_json=True) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["kept"] is True
    assert "drill kill of router" in said.err


def test_one_that_is_given_up_breaks_the_promise(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1, with the reason and where to ask on."""
    world.pages = [[record(6, "server_failed", "router", reason="boom", attempts=3)]]
    assert world.run(Fault.KILL) == 1
    said = capsys.readouterr()
    assert "BROKEN: it was given up: boom" in said.out
    assert "why, and what next: aurora-circus explain router" in said.err


def test_what_never_comes_is_waited_for_in_bounds(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And ended then."""
    monkeypatch.setattr(promises, "longest", lambda _: 0.05)
    assert world.run(Fault.HANG, slack=0.0) == 1
    assert "BROKEN: noticed never" in capsys.readouterr().out
    assert [each["fault"] for each in world.orders()] == ["hang", "none"]


def test_others_that_were_touched_break_the_promise(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """A drill of one is the affair of that one."""
    world.pages = [BACK]
    world.begun = lambda: world.status.update(brain=system(pid=99))
    assert world.run(Fault.KILL) == 1
    assert "BROKEN: others got a new process: brain: pid 41 → 99" in capsys.readouterr().out


def test_what_does_not_hold_afterwards_breaks_the_promise(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """What the oracle finds, and did not find before."""
    world.pages = [BACK]

    def spoil() -> None:
        world.health = "the journal is not writable"

    world.begun = spoil
    assert world.run(Fault.KILL, slack=0.0) == 1
    assert "BROKEN: health: the controller: the journal is not writable" in capsys.readouterr().out


def test_what_did_not_hold_before_is_not_the_drills(world: World) -> None:
    """Where it is forced."""
    world.pages = [BACK]
    world.health = "the journal is not writable"
    with pytest.raises(AuroraError, match="no drill: the fleet is not all well already"):
        world.run(Fault.KILL)
    assert world.orders() == []
    assert world.run(Fault.KILL, force=True) == 0
    assert world.orders()[0]["force"] == "true"


def test_what_is_refused_is_refused_before_anybody_is_asked(world: World) -> None:
    """By the same rules as the controller's."""
    world.status["router"] = system("stopped")
    with pytest.raises(AuroraError, match="no drill: router is stopped"):
        world.run(Fault.KILL, yes=False)
    assert world.orders() == []


def test_an_older_controller_cannot_be_judged(world: World) -> None:
    """It does not say all that its promises are made of."""
    world.api.on("GET /explain/router", {"policy": {"interval": 5.0}, "attempts_used": 0})
    with pytest.raises(AuroraError, match="does not say its 'timeout': it is of an earlier version"):
        world.run(Fault.KILL)


def test_an_hour_is_the_longest(world: World) -> None:
    """A system that is looked at once a day is not drilled like this."""
    world.api.on("GET /explain/router", {"policy": {**POLICY, "interval": 86400.0}, "attempts_used": 0})
    with pytest.raises(AuroraError, match="no drill lasts longer than an hour"):
        world.run(Fault.HANG)


@pytest.mark.parametrize(("answer", "orders"), [(True, ["kill", "none"]), (False, [])])
def test_whoever_is_there_is_asked(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: bool,
    orders: list[str],
) -> None:
    """With the warning that a critical one deserves; no is no."""
    world.pages = [BACK]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr(click, "confirm", lambda *_, **__: answer)
    if answer:
        assert world.run(Fault.KILL, yes=False) == 0
    else:
        with pytest.raises(AuroraError, match="nothing was done"):
            world.run(Fault.KILL, "brain", yes=False)
        assert "brain is critical" in capsys.readouterr().out
    assert [each["fault"] for each in world.orders()] == orders


def test_ctrl_c_ends_the_fault_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 1; how the system is, is told."""

    def interrupted(*_: object) -> None:
        world.status["router"] = system("unhealthy")
        raise KeyboardInterrupt

    monkeypatch.setattr(drill._Drill, "_watch", interrupted)
    assert world.run(Fault.HANG) == 1
    assert [each["fault"] for each in world.orders()] == ["hang", "none"]
    said = capsys.readouterr().err
    assert "interrupted: the fault is ended" in said
    assert "router is unhealthy, and is brought back without you" in said


def test_a_stand_in_answers_while_the_fault_lasts(world: World) -> None:
    """On the port that the controller is told."""
    from tests.test_standin import look  # noqa: PLC0415 - beside its only use

    seen = []

    def ask() -> None:
        seen.append(look(int(world.orders()[-1]["port"]), 30.0).reason)

    world.pages = [[record(6, "server_unhealthy", "router", pid=42, reason="x"), BACK[1]]]
    world.begun = ask
    assert world.run(Fault.HTTP_500) == 0
    assert seen == ["GET /health answered 500"]


def test_a_drill_that_was_not_begun_is_not_ended(world: World) -> None:
    """It is somebody else's that runs there."""
    world.api.on("POST /drill/router", (409, {"success": False, "error": "a drill runs already: hang of router"}))
    with pytest.raises(AuroraError, match="a drill runs already"):
        world.run(Fault.KILL)
    assert [each["fault"] for each in world.orders()] == ["kill"]


def test_a_lost_connection_is_made_anew(world: World) -> None:
    """A plugin may be restarted meanwhile."""
    world.pages = [None, BACK]
    assert world.run(Fault.KILL) == 0


def test_an_end_that_nobody_hears_is_told(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """The fault is bounded all the same."""
    world.pages = [BACK]
    world.api.on(
        "POST /drill/router",
        lambda query: (500, {"error": "no"}) if query["fault"] == "none" else {"pid": 42},
    )
    assert world.run(Fault.KILL) == 0
    assert "could not be told to end the fault: no\nit ends by itself" in capsys.readouterr().err


def test_a_plugin_that_is_back_is_another_one(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Known by its pid; there is no system to be explained."""

    def restart() -> None:
        world.plugin = 31

    world.begun = restart
    assert world.run(Fault.PLUGIN_KILL, CONTROLLER) == 0
    assert "drill plugin-kill: all is well; pid 30 is 31 now" in capsys.readouterr().out


def test_a_plugin_that_does_not_come_back_breaks_the_promise(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though somebody answers."""
    monkeypatch.setattr(promises, "longest", lambda _: 0.05)
    assert world.run(Fault.PLUGIN_KILL, CONTROLLER, slack=0.0) == 1
    said = capsys.readouterr()
    assert "BROKEN: the API is back never" in said.out
    assert "aurora-circus events" in said.err


def test_an_api_that_stays_away_is_reported_like_anything_else(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason, and as JSON where that was asked for."""

    def gone(*_: object) -> None:
        raise reach.Unreachable("nobody listens")

    world.begun = lambda: monkeypatch.setattr(reach, "connect", gone)
    monkeypatch.setattr(promises, "longest", lambda _: 0.05)
    assert world.run(Fault.PLUGIN_KILL, CONTROLLER, slack=0.0, as_json=True) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["kept"], found["findings"]) == (False, ["api: nobody listens"])


def typed(*words: str) -> Result:
    """Type a command."""
    return CliRunner().invoke(cli, ["drill", *words])


@pytest.mark.parametrize(
    "words",
    [(), ("kill",), ("plugin-kill", "router"), ("nonsense", "router"), ("kill", "router", "--slack", "-1")],
)
def test_wrong_use_is_exit_2(words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fault but one needs a system."""
    monkeypatch.chdir(tmp_path)
    found = typed(*words)
    assert (found.exit_code, found.stdout) == (2, "")


def test_the_exit_code_says_what_is_wrong(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """3: no fleet runs; 2: nobody can be asked, or there is no such system; 1: it is refused."""
    monkeypatch.chdir(world.folder)
    file = world.folder / "fleet.toml"
    file.write_text(toml())
    assert typed("kill", "router", "--yes").exit_code == 3
    file.write_text(toml(world.api.port))
    unasked = typed("kill", "router")
    assert (unasked.exit_code, "say --yes" in unasked.stderr) == (2, True)
    assert typed("kill", "ruoter", "--yes").exit_code == 2
    world.status["brain"] = system("failed")
    assert typed("kill", "router", "--yes").exit_code == 1
    assert world.orders() == []
