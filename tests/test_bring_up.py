"""How a fleet is brought up: circusd is played by a test, the API by a fake one."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from aurora_circus import (
    bring_up,
    keeper,
    kept,
    launch,
    leftovers,
    lookup,
    operate,
    preflight,
    reach,
    render,
    session,
    succession,
    take_down,
)
from aurora_circus.bring_up import Order
from aurora_circus.config import Config
from aurora_circus.context import Context
from aurora_circus.errors import NotRunningError
from aurora_circus.facts import Process
from aurora_circus.interrupts import Interrupted
from aurora_circus.preflight import Finding
from tests.fake_fleet import FakeApi, context, fleet, record, system, write_journal, write_state
from tests.platforms import KILLED, send

PID = 77


class Child:
    """A circusd that this process has started; it lives until a test says otherwise."""

    pid = PID

    def __init__(self) -> None:
        """Live."""
        self.returncode: int | None = None
        self.waits: Callable[[], object] = lambda: None
        """Called whenever somebody waits for its end."""

    def poll(self) -> int | None:
        """Say how it ended."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        self.waits()
        if self.returncode is None:
            raise subprocess.TimeoutExpired("circusd", timeout or 0.0)
        return self.returncode


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    """The API of the fleet in ``tmp_path``: all are healthy."""
    with FakeApi(f"{tmp_path}/.aurora/run").serving() as found:
        found.on("GET /status", {"brain": system(), "router": system()})
        found.on("GET /events", events(record(6, "server_started", "brain", pid=1, took=0.5)))
        yield found


def events(*records: dict[str, Any]) -> Callable[[Any], Any]:
    """Give these records once, and then none."""
    left = list(records)

    def route(query: Any) -> Any:
        found, left[:] = left[:], []
        since = int(query.get("since", 0))
        return {"events": found, "next": found[-1]["seq"] if found else since}

    return route


class World:
    """What ``up`` meets."""

    def __init__(self, around: Config, monkeypatch: pytest.MonkeyPatch) -> None:
        """No circusd runs yet, nothing is wrong, and one that is started has its pidfile at once."""
        self._around = around
        self.child = Child()
        self.running: Process | None = None
        self.findings: list[Finding] = []
        self.taken_down: list[Process] = []
        self.rendered: list[Config] = []
        monkeypatch.setattr(lookup, "find", lambda _: self.running)
        monkeypatch.setattr(launch, "start", lambda *_: self.child)
        monkeypatch.setattr(lookup, "ask_pid", lambda *_: PID)
        monkeypatch.setattr(session, "has_begun", lambda *_: Process(PID, 1.0))
        monkeypatch.setattr(preflight, "inspect", lambda *_, **__: self.findings)
        monkeypatch.setattr(render, "render", self._render)
        monkeypatch.setattr(take_down, "circusd", self._take_down)
        monkeypatch.setattr(succession, "pause", lambda _: None)
        monkeypatch.setattr(
            keeper, "DELAYS", ()
        )  # a circusd that is gone is given up at once, unless a test is about it

    @cached_property
    def context(self) -> Context:
        """The surroundings; made within the test, for it to write to what that captures."""
        return context(self._around)

    def up(self, *keys: str, detach: bool = True) -> int:
        """Bring it up."""
        ini = Path(self.context.config.file).parent / "circus.ini"
        return bring_up.up(Order(context=self.context, ini=ini, keys=keys, detach=detach))

    def _render(self, config: Config, *, python: str) -> str:
        self.rendered.append(config)
        return "# as aurora-circus read it\n"

    def _take_down(self, _: Context, process: Process) -> int:
        self.taken_down.append(process)
        self.child.returncode = 0
        return 0


@pytest.fixture
def world(tmp_path: Path, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> World:
    """The world of a fleet in ``tmp_path``."""
    return World(fleet(tmp_path, api.port), monkeypatch)


def test_detached_it_returns_when_all_have_settled(
    world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """0 when all are healthy; it says after how long, and where to look."""
    assert world.up() == 0
    said = capsys.readouterr().out
    assert "brain   healthy after 0.50 s (pid 1)" in said
    assert "2 of 2 systems healthy after" in said
    assert "to stop  aurora-circus down" in said
    assert (tmp_path / "circus.ini").read_text() == "# as aurora-circus read it\n"
    assert not world.taken_down


def test_what_does_not_come_up_is_exit_1_and_named(
    world: World, api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """The fleet stays all the same: the others work."""
    api.on("GET /status", {"brain": system("failed", error="boom"), "router": system("stopped")})
    assert world.up() == 1
    said = capsys.readouterr()
    assert "not healthy: brain" in said.err
    assert "aurora-circus explain brain" in said.err
    assert "0 of 2 systems healthy" in said.out
    assert "stopped: router" in said.out
    assert not world.taken_down


def test_only_what_is_named_and_what_it_needs_is_wanted(world: World) -> None:
    """The rest is rendered, and wanted down."""
    world.up("brain")
    assert {each.key: each.wanted for each in world.rendered[0].systems} == {"brain": True, "router": False}
    assert bring_up.with_dependencies(world.context.config, ["router"]) == ["brain", "router"]


def test_what_is_named_is_started_although_an_operator_had_stopped_it(world: World, api: FakeApi) -> None:
    """The later word counts."""
    answers = iter([{"brain": system("stopped"), "router": system("stopped")}])
    api.on("GET /status", lambda _: next(answers, {"brain": system(), "router": system()}))
    api.on("POST /start/brain", (202, {"operation": "1"}))
    world.up("brain")
    assert "POST /start/brain" in api.calls()
    assert "POST /start/router" not in api.calls()


def test_what_keeps_it_from_starting_is_said_before_anything_is_done(
    world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Errors are exit 2; which circusd is on the PATH is none of them, since that is not the one that is run."""
    world.findings = [Finding("error", "circusd", "there is none"), Finding("warning", "api.port", "taken")]
    assert world.up() == 0
    assert capsys.readouterr().err == "warning: api.port: taken\n"
    (tmp_path / "circus.ini").unlink()
    world.findings = [Finding("error", "system.brain.command", "there is no program")]
    assert world.up() == 2
    assert not (tmp_path / "circus.ini").exists()


def test_a_taken_port_of_the_api_costs_only_the_api(
    world: World, api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """The holder is named, and the journal's file and the saved state tell how it goes."""
    api.details["fleet"] = "another"
    config = world.context.config

    def grow() -> None:
        world.child.waits = lambda: None
        write_journal(
            config,
            record(1, "port_conflict", None, port=api.port, pid=9, command="nginx"),
            record(2, "server_started", "brain", pid=1, took=0.5),
        )
        write_state(config, {"brain": {"state": "healthy"}, "router": {"state": "healthy"}}, circusd=PID)

    world.child.waits = grow
    assert world.up() == 0
    said = capsys.readouterr()
    assert f"port {api.port} is held by pid 9 (nginx)" in said.err
    assert "brain   healthy after" in said.out
    assert "its port is taken" in said.out


def test_a_restart_of_the_plugin_meanwhile_is_no_end(world: World, api: FakeApi) -> None:
    """The connection is made anew, and goes on with the next record."""
    answers = iter([None, None])
    inner = events(record(6, "server_started", "brain", pid=1, took=0.5))
    api.on("GET /events", lambda query: next(answers, inner(query)))
    assert world.up() == 0


def test_an_api_that_says_no_is_no_end_either(world: World, api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    """The files go on telling."""
    api.on("GET /events", (401, {"error": "a valid token is needed"}))
    write_state(world.context.config, {"brain": {"state": "healthy"}, "router": {"state": "failed"}}, circusd=PID)
    assert world.up() == 1
    assert "a valid token is needed; going on with" in capsys.readouterr().err
    assert not world.taken_down


def test_a_circusd_that_ends_at_once_is_exit_1_with_its_last_words(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it says 0: nobody asked for that."""
    log = launch.log_path(world.context.fleet)
    log.parent.mkdir(parents=True)
    log.write_text("Address already in use\n")
    world.child.returncode = 0
    monkeypatch.setattr(session, "has_begun", lambda *_: None)
    assert world.up() == 1
    said = capsys.readouterr().err
    assert "circusd (pid 77) ended (exited with code 0), and nobody here asked for that" in said
    assert "  Address already in use" in said
    assert "nothing of the fleet runs any more" in said


def test_a_plugin_that_never_comes_up_is_taken_down_again(
    world: World, api: FakeApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it nothing is ever started; its log says why."""
    monkeypatch.setattr(session, "CONTROLLER_PATIENCE", 0.05)
    api.details["fleet"] = "another"
    assert world.up() == 1
    assert "its plugin does not come up within 0.05 s" in capsys.readouterr().err
    assert [each.pid for each in world.taken_down] == [PID]


def interrupting(world: World, api: FakeApi, number: int) -> None:
    """Have a signal come while the second answer to /events is being waited for."""
    before = events(record(6, "server_started", "brain", pid=1, took=0.5))
    asked: list[int] = []

    def route(query: Any) -> Any:
        asked.append(1)
        if len(asked) > 2:
            send(number)
        return before(query)

    api.on("GET /events", route)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_the_foreground_ctrl_c_takes_the_fleet_down(
    world: World, api: FakeApi, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGTERM means the same; that is exit 0."""
    interrupting(world, api, number)
    assert world.up(detach=False) == 0
    assert [each.pid for each in world.taken_down] == [PID]
    assert "to stop  Ctrl-C here, or: aurora-circus down" in capsys.readouterr().out


def test_a_closed_terminal_leaves_the_fleet_running(world: World, api: FakeApi) -> None:
    """SIGHUP is no wish; on Windows it is SIGBREAK."""
    interrupting(world, api, getattr(signal, "SIGBREAK", None) or signal.SIGHUP)
    assert world.up(detach=False) == 0
    assert not world.taken_down


def test_ctrl_c_while_detached_leaves_the_fleet_running_and_says_so(
    world: World, api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is only no longer watched; what was asked for is not known to be done."""
    api.on("GET /status", {"brain": system("starting"), "router": system("waiting")})
    interrupting(world, api, signal.SIGINT)
    assert world.up() == 1
    assert "the fleet goes on coming up: aurora-circus status" in capsys.readouterr().err
    assert not world.taken_down


def test_ctrl_c_before_anything_was_started_starts_nothing(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is no traceback."""

    def interrupted(*_: object, **__: object) -> list[Finding]:
        raise Interrupted(signal.SIGINT)

    monkeypatch.setattr(preflight, "inspect", interrupted)
    assert world.up(detach=False) == 1
    assert "nothing else was started" in capsys.readouterr().err


def ending(world: World, api: FakeApi, code: int, *records: dict[str, Any]) -> None:
    """Have circusd end while its journal is being watched."""
    asked: list[int] = []
    before = events()

    def route(query: Any) -> Any:
        asked.append(1)
        if len(asked) <= 2:
            return before(query)
        write_journal(world.context.config, *records)
        world.child.returncode = code
        return None

    api.on("GET /events", route)


@pytest.mark.parametrize("wishes_last", [True, False])
def test_a_service_managers_stop_leaves_what_was_wished(
    world: World, api: FakeApi, monkeypatch: pytest.MonkeyPatch, wishes_last: bool
) -> None:
    """It says so to the plugin before circusd is told; anybody else's stop ends all wishes."""
    said: list[bool] = []
    run_dir = world.context.fleet.run_dir

    def take(context: Context, process: Process) -> int:
        said.append(kept.wishes_last(run_dir))
        return world._take_down(context, process)

    monkeypatch.setattr(take_down, "circusd", take)
    interrupting(world, api, signal.SIGTERM)
    ini = Path(world.context.config.file).parent / "circus.ini"
    order = Order(context=world.context, ini=ini, wishes_last=wishes_last)
    assert bring_up.up(order) == 0
    assert said == [wishes_last]
    assert not kept.wishes_last(run_dir), "it is said once"


def test_an_orderly_end_that_the_api_told_of_is_exit_0(world: World, api: FakeApi) -> None:
    """Its last answer may bring the record, which is not read from the journal once more when circusd has ended."""
    end = record(7, "controller_stopped", None, pid=1, why="SIGTERM", orderly=True)
    before = events(end)

    def route(query: Any) -> Any:
        found = before(query)
        if not found["events"] and int(query["since"]) >= 7:
            write_journal(world.context.config, end)
            world.child.returncode = 0
            return None
        return found

    api.on("GET /events", route)
    assert world.up(detach=False) == 0


def test_an_orderly_end_from_elsewhere_is_exit_0(
    world: World, api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """What stopped is told to the last."""
    stopped = record(7, "server_stopped", "brain")
    ending(world, api, 0, stopped, record(8, "controller_stopped", None, pid=1, why="SIGTERM", orderly=True))
    assert world.up(detach=False) == 0
    said = capsys.readouterr().out
    assert "brain                     stopped" in said
    assert "The fleet aurora was taken down from elsewhere." in said


def test_a_circusd_that_dies_is_exit_1_and_says_who_goes_on(
    world: World, api: FakeApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what to do."""
    ending(world, api, KILLED)
    monkeypatch.setattr(leftovers, "surviving", lambda *_: {"brain": []} if world.child.returncode else {})
    assert world.up(detach=False) == 1
    said = capsys.readouterr().err
    assert "circusd (pid 77) ended (killed by SIGKILL)" in said
    assert "still running, and watched by nobody: brain" in said
    assert "to go on: aurora-circus up; to end them: aurora-circus down" in said


def test_a_circusd_that_dies_is_followed_by_another(
    world: World, api: FakeApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the same circus.ini, and told whom it replaces and why; the second one's orderly end is exit 0."""
    started: list[kept.Kept] = []
    config = world.context.config
    Path(config.fleet.run_dir).mkdir(parents=True)

    def start(_: object, ini: Path, __: object, known: kept.Kept) -> Child:
        assert ini.name == "circus.ini"
        started.append(known)
        if len(started) == 2:
            world.child = Child()
            world.child.waits = end
            api.on("GET /events", lambda _: None)
        return world.child

    def end() -> None:
        world.child.returncode = 0
        write_journal(config, record(9, "controller_stopped", None, pid=1, why="SIGTERM", orderly=True))

    monkeypatch.setattr(launch, "start", start)
    monkeypatch.setattr(keeper, "DELAYS", (0.0,))
    monkeypatch.setattr(lookup, "has_begun", lambda *_: Process(PID, 1.0))
    ending(world, api, KILLED)
    assert world.up(detach=False) == 0
    assert [(each.old, each.why, each.attempt) for each in started] == [(None, "", None), (PID, "killed by SIGKILL", 0)]
    said = capsys.readouterr()
    assert "circusd (pid 77) ended (killed by SIGKILL), and nobody here asked for that" in said.err
    assert "the next one is started; the systems go on, and each is replaced once, in order" in said.err
    assert len(world.rendered) == 1


def test_a_circusd_whose_end_was_wanted_is_not_followed(
    world: World, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it came about in the end."""
    monkeypatch.setattr(keeper, "DELAYS", (0.0,))
    started: list[object] = []

    def start(*_: object) -> Child:
        started.append(1)
        return world.child

    monkeypatch.setattr(launch, "start", start)
    ending(world, api, KILLED)
    world.child.waits = lambda: kept.mark(world.context.config.fleet.run_dir)
    assert world.up(detach=False) == 1
    assert started == [1]


def test_events_are_told_while_it_is_watched(world: World, api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    """But for those that tell no change."""
    records = [
        record(7, "health_check", "brain", failures=0),
        record(8, "server_failed", "router", attempts=1, reason="x"),
    ]
    pages = iter([events()({}), events()({}), {"events": records, "next": 8}])

    def route(query: Any) -> Any:
        found = next(pages, None)
        if found is None:
            world.child.returncode = 1
        return found

    api.on("GET /events", route)
    world.up(detach=False)
    lines = capsys.readouterr().out.splitlines()
    assert len([each for each in lines if "router" in each and "given up" in each]) == 1
    assert not [each for each in lines if "brain" in each]


def test_a_closed_pipe_leaves_the_fleet_running_and_says_so(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never in silence."""

    def closed(_: str) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(world.context.terminal, "say", closed)
    assert world.up() == 1
    assert "the fleet goes on without us; to end it: aurora-circus down" in capsys.readouterr().err
    assert not world.taken_down


# --- a fleet that runs already -------------------------------------------------------------------------------------


def test_a_running_fleet_is_shown_and_left_as_it_is(
    world: World, api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 0, and nothing is started."""
    world.running = Process(PID, 1.0)
    assert world.up() == 0
    said = capsys.readouterr().out
    assert "The fleet aurora is running already (circusd, pid 77)." in said
    assert "2 of 2 systems healthy" in said
    assert not world.rendered


def test_keys_are_started_in_a_running_fleet(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what they depend on."""
    commands: list[operate.Command] = []

    def run(_: object, command: operate.Command, __: object) -> int:
        commands.append(command)
        return 1

    monkeypatch.setattr(operate, "run", run)
    world.running = Process(PID, 1.0)
    assert world.up("router") == 1
    assert commands == [operate.Command("start", ["brain", "router"])]


def test_one_that_another_up_has_started_meanwhile_is_running_already(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked for again when the lock is ours."""
    found = iter([None, Process(PID, 1.0)])
    monkeypatch.setattr(lookup, "find", lambda _: next(found))
    assert world.up() == 0
    assert "is running already" in capsys.readouterr().out


def test_a_stuck_circusd_is_exit_1_and_says_what_to_do(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although the API may go on answering."""
    world.running = Process(PID, 1.0)
    monkeypatch.setattr(lookup, "ask_pid", lambda *_: None)
    assert world.up() == 1
    said = capsys.readouterr().err
    assert "circusd (pid 77) lives and does not answer within 5.00 s" in said
    assert f"{Context.by_force(PID)}; aurora-circus up" in said


@pytest.mark.parametrize(("error", "code"), [(NotRunningError, 0), (reach.Unreachable, 1)])
def test_a_running_fleet_without_its_api_shows_what_it_saved(
    world: World,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
    code: int,
) -> None:
    """A port that is somebody else's is not the fleet's fault; a plugin that does not come back is."""

    def connect(_: object) -> object:
        raise error("no API")

    world.running = Process(PID, 1.0)
    monkeypatch.setattr(reach, "connect", connect)
    monkeypatch.setattr(reach, "circusd_pid", lambda _: PID)
    write_state(world.context.config, {"brain": {"state": "healthy", "process": [9, 1.0]}}, circusd=PID)
    assert world.up() == code
    said = capsys.readouterr()
    assert "1 of 2 systems healthy; stopped: router" in said.out
    assert "no API" in said.err


def test_left_overs_are_told_and_are_no_strangers_on_their_ports(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is replaced once, in order."""
    own: list[object] = []

    def inspect(_: object, **more: object) -> list[Finding]:
        own.append(more["own"])
        return []

    monkeypatch.setattr(preflight, "inspect", inspect)
    monkeypatch.setattr(leftovers, "surviving", lambda *_: {"brain": [Process(9, 1.0), Process(10, 1.0)]})
    assert world.up() == 0
    assert own == [[9, 10]]
    assert "Left over from an earlier circusd, each replaced once, in order: brain." in capsys.readouterr().out


def test_taking_down_is_not_ended_by_a_second_ctrl_c(
    world: World, api: FakeApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says how long that may take."""

    def circusd(_: Context, __: Process) -> int:
        signal.raise_signal(signal.SIGINT)
        world.child.returncode = 0
        return 0

    monkeypatch.setattr(take_down, "circusd", circusd)
    interrupting(world, api, signal.SIGINT)
    assert world.up(detach=False) == 0
    assert "still stopping (circusd, pid 77): it may take 25 s at most" in capsys.readouterr().err


def test_a_plugin_that_is_gone_later_is_no_reason_to_end_anything(
    world: World, api: FakeApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The systems do their work; it is said that nobody watches them, and the journal is read on."""
    asked: list[int] = []

    def route(query: Any) -> Any:
        asked.append(1)
        if len(asked) <= 2:
            return events()(query)
        api.details["fleet"] = "another"
        monkeypatch.setattr(session, "CONTROLLER_PATIENCE", 0.0)
        write_journal(world.context.config, record(7, "server_stopped", "brain"))
        return None

    def wait() -> None:
        waits.append(1)
        if len(waits) > 5:
            world.child.returncode = 1

    waits: list[int] = []
    api.on("GET /events", route)
    world.child.waits = wait
    assert world.up(detach=False) == 1
    said = capsys.readouterr()
    assert "nobody watches them until it is back" in said.err
    assert "brain                     stopped" in said.out
    assert not world.taken_down


def test_a_start_that_is_refused_costs_only_that(
    world: World, api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """A token that may only look, say."""
    api.on("GET /status", {"brain": system("stopped"), "router": system("stopped")})
    api.on("POST /start/brain", (403, {"error": "this token may look, not touch"}))
    assert world.up("brain") == 0
    assert "starting brain: this token may look, not touch" in capsys.readouterr().err
