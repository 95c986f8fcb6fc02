"""Operators, many and at once, at the worst of times, and gone in the middle: what they said last is what holds."""

import contextlib
import http.client
import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence

import pytest
import requests

from aurora_circus import lookup
from tests.e2e.harness import BY_KILL, DEADLINE, Json, kill, toml, unix_only
from tests.faults.arena import Arena, MakeArena
from tests.free_ports import free_ports

CHAIN: dict[str, Json] = {
    "brain": {"critical": True},
    "router": {"depends_on": ["brain"]},
    "left": {"depends_on": ["router"]},
    "right": {"depends_on": ["router"]},
}
CLIENTS = 20
ORDERS = ("start", "stop", "restart")
ACCEPTED = {200, 202, 503}
"""Also that there are too many who wait; never a 500, which is for a command that was waited for."""


def operate(fleet: Arena, seed: int, orders: int, until: float = 0.0) -> Counter[int]:
    """Give an order again and again, as one of many operators; return how often which status was answered.

    ``until``: go on until then (monotonic seconds), however many that are.
    """
    draw = random.Random(seed)
    answers: Counter[int] = Counter()
    with requests.Session() as session:
        session.trust_env = False
        while orders > 0 or time.monotonic() < until:
            orders -= 1
            verb = draw.choice(ORDERS)
            path = f"{verb}-all" if draw.random() < 0.2 else f"{verb}/{draw.choice([*CHAIN])}"
            answers[session.post(f"{fleet.url}/api/autonomous/{path}", timeout=DEADLINE).status_code] += 1
    return answers


def all_at_once(fleet: Arena, seed: int, orders: int, until: float = 0.0) -> Counter[int]:
    """Have twenty operators at it, and return what they were answered."""
    answers: Counter[int] = Counter()
    lock = threading.Lock()

    def one(number: int) -> None:
        found = operate(fleet, seed * 1000 + number, orders, until)
        with lock:
            answers.update(found)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(CLIENTS)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return answers


def settles(fleet: Arena, answers: Counter[int], orders: int) -> None:
    """Check what the operators were answered, and that the last word is what holds."""
    assert set(answers) <= ACCEPTED, answers
    assert sum(answers.values()) >= CLIENTS * orders
    assert fleet.post("/api/autonomous/stop-all?wait=30").status_code == 200
    fleet.states(**dict.fromkeys(CHAIN, "stopped"))
    assert fleet.leftovers() == []
    assert fleet.post("/api/autonomous/start-all?wait=30").status_code == 200
    fleet.all_healthy()
    fleet.holds()
    assert not fleet.since("server_failed")


@pytest.mark.quick
@pytest.mark.fault("operators", "twenty clients, five orders each")
def test_twenty_operators_at_once(arena: MakeArena) -> None:
    """Each gets an answer, none runs twice, and whoever speaks last is obeyed."""
    fleet = arena(CHAIN)
    settles(fleet, fleet.strike(lambda: all_at_once(fleet, 7, 5)), 5)


@pytest.mark.timeout(300)
@pytest.mark.fault("operators", "twenty clients for a minute")
def test_twenty_operators_for_a_minute(arena: MakeArena) -> None:
    """Likewise, whatever was drawn; the seed is printed."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - for who has to see it again
    fleet = arena(CHAIN)
    answers = fleet.strike(lambda: all_at_once(fleet, seed, 1, time.monotonic() + 60))
    fleet.figure("orders", sum(answers.values()), "in all")
    settles(fleet, answers, 1)


# --- at a bad time -------------------------------------------------------------------------------------------------


@pytest.mark.fault("operators", "stop during a backoff")
def test_a_stop_during_a_backoff(arena: MakeArena) -> None:
    """There is no further attempt."""
    fleet = arena({"web": {}}, start=False, restart={"backoff_base": 30.0, "backoff_cap": 30.0, "max_retries": 5})
    fleet.mode("web", "crash=2")
    fleet.render()
    fleet.launch()
    fleet.states(web="backoff")
    assert fleet.strike(lambda: fleet.post("/api/autonomous/stop/web?wait=20")).status_code == 200
    fleet.noticed("server_stopped", "web")
    fleet.holds()
    assert fleet.status()["web"]["state"] == "stopped"
    assert len(fleet.started("web")) == 2


@pytest.mark.fault("operators", "stop during a start")
def test_a_stop_while_it_starts(arena: MakeArena) -> None:
    """The half-started process is gone, and nothing is called a failure."""
    fleet = arena({"web": {}}, start=False)
    fleet.mode("web", "slow=1000")
    fleet.render()
    fleet.launch()
    fleet.until("its process", lambda: fleet.started("web"))
    fleet.states(web="starting")
    assert fleet.strike(lambda: fleet.post("/api/autonomous/stop/web?wait=20")).status_code == 200
    fleet.noticed("server_stopped", "web")
    fleet.holds()
    assert fleet.leftovers() == []
    assert not fleet.events("restart_scheduled")


@pytest.mark.fault("operators", "stop, restart and start during a stop")
def test_orders_while_it_stops(arena: MakeArena) -> None:
    """It keeps the grace period that it has; the last order is the one that holds."""
    fleet = arena({"web": {}}, start=False, stop={"graceful_timeout": 2.0})
    fleet.mode("web", "stubborn")
    fleet.begin()
    old = fleet.pids()["web"]
    operations = [fleet.strike(lambda: fleet.post("/api/autonomous/stop/web")).json()["operation"]]
    fleet.states(web="stopping")
    operations += [
        fleet.post(f"/api/autonomous/{verb}/web").json()["operation"] for verb in ("stop", "restart", "stop")
    ]
    assert fleet.post("/api/autonomous/start/web?wait=30").status_code == 200
    for ident in operations:
        assert fleet.get(f"/api/autonomous/operations/{ident}")["state"] == "superseded"
    fleet.back("web", old)
    fleet.holds()
    assert len(fleet.started("web")) == 2


@pytest.mark.fault("operators", "restart of one that was given up")
def test_a_restart_of_a_failed_one(arena: MakeArena) -> None:
    """It is started at once, with all its attempts anew."""
    fleet = arena({"web": {}}, start=False, restart={"max_retries": 1, "retry_failed_after": 500.0})
    fleet.mode("web", "crash=2")
    fleet.render()
    fleet.launch()
    fleet.states(web="failed")
    fleet.watch()
    fleet.holds()
    assert fleet.strike(lambda: fleet.post("/api/autonomous/restart/web?wait=30")).status_code == 200
    fleet.back("web", 0)
    fleet.holds()
    assert fleet.status()["web"]["attempt"] == 0


@pytest.mark.fault("operators", "clients that wait and hang up, 30 times")
def test_who_waits_and_hangs_up_costs_nothing(arena: MakeArena) -> None:
    """The order is carried out all the same, and the places of those who wait are free again."""
    fleet = arena({"web": {}}, stop={"graceful_timeout": 1.0})

    def hang_up() -> None:
        for _ in range(30):
            wire = http.client.HTTPConnection("127.0.0.1", fleet.api_port, timeout=DEADLINE)
            wire.request("POST", "/api/autonomous/restart/web?wait=30", headers={"Content-Length": "0"})
            wire.close()

    old = fleet.pids()["web"]
    fleet.strike(hang_up)
    fleet.noticed("command", "web", verb="restart")
    fleet.back("web", old)
    fleet.until("a place to wait", lambda: fleet.post("/api/autonomous/stop/web?wait=30").status_code == 200)
    assert fleet.post("/api/autonomous/start/web?wait=30").status_code == 200
    fleet.holds()


# --- a command line that is killed ---------------------------------------------------------------------------------


def command(fleet: Arena, *words: str) -> "subprocess.Popen[str]":
    """Start the command line in the fleet's folder."""
    return subprocess.Popen(
        [sys.executable, "-u", "-X", "utf8", "-m", "aurora_circus", *words],
        cwd=fleet.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        start_new_session=True,
    )


def killed_at(process: "subprocess.Popen[str]", word: str) -> None:
    """Kill a command when it says ``word``."""
    assert process.stdout is not None
    for line in process.stdout:
        if word in line:
            break
    process.kill()
    process.wait()
    process.stdout.close()


def ran(fleet: Arena, *words: str) -> tuple[int, str]:
    """Run a command to its end."""
    process = command(fleet, *words)
    out, _ = process.communicate(timeout=DEADLINE)
    return process.returncode, out


def settled(fleet: Arena) -> dict[str, str]:
    """Return every system's state once the API answers and nobody is under way; nothing before."""
    states = {key: str(each["state"]) for key, each in fleet.status().items()}
    return states if states and set(states.values()) <= {"healthy", "stopped", "failed"} else {}


def eventually(fleet: Arena, wanted: str) -> None:
    """Wait until all systems are in that state, where no circusd of the harness's own runs."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        states = settled(fleet)
        if states and set(states.values()) == {wanted}:
            return
        threading.Event().wait(0.05)
    raise AssertionError(f"not all {wanted}: {fleet.status()}\n{fleet.told_by_logs()}")


@contextlib.contextmanager
def by_command_line(fleet: Arena):  # type: ignore[no-untyped-def] # noqa: ANN201 - a context manager for the lines below
    """Write fleet.toml alone; end whatever circusd there is afterwards, by its pid."""
    (fleet.folder / "fleet.toml").write_text(toml(fleet.settings), encoding="utf-8")
    try:
        yield
    finally:
        code, out = ran(fleet, "down")
        assert code in {0, 3}, out
    assert fleet.leftovers() == []


@unix_only
@pytest.mark.parametrize(
    ("words", "word"),
    [
        pytest.param(("up",), "brain", marks=pytest.mark.fault("operators", "`up` killed in the middle")),
        pytest.param(("up", "-d"), "brain", marks=pytest.mark.fault("operators", "`up -d` killed in the middle")),
    ],
)
def test_an_up_that_is_killed_leaves_a_fleet_that_comes_up(arena: MakeArena, words: Sequence[str], word: str) -> None:
    """circusd goes on without it; the next `up` finds it, and `down` takes it down."""
    fleet = arena(CHAIN, start=False)
    with by_command_line(fleet):
        killed_at(command(fleet, *words), word)
        eventually(fleet, "healthy")
        first = lookup.find(fleet.config().fleet)
        code, out = ran(fleet, "up", "-d")
        assert code == 0, out
        assert first is not None
        assert lookup.find(fleet.config().fleet) == first
        assert [len(fleet.started(key)) for key in CHAIN] == [1, 1, 1, 1]


@unix_only
@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        pytest.param(
            ("restart", "--all"),
            "healthy",
            marks=pytest.mark.fault("operators", "`restart --all` killed in the middle"),
        ),
        pytest.param(
            ("stop", "--all"), "stopped", marks=pytest.mark.fault("operators", "`stop --all` killed in the middle")
        ),
    ],
)
def test_an_order_outlives_who_gave_it(arena: MakeArena, words: Sequence[str], wanted: str) -> None:
    """What was accepted is carried out; nothing is half done for ever."""
    fleet = arena(CHAIN, start=False)
    for key in CHAIN:
        fleet.mode(key, "stubborn")  # so that there is a middle
    fleet.begin()
    old = fleet.pids()
    process = fleet.strike(lambda: command(fleet, *words))
    fleet.noticed("server_stopping")
    process.kill()
    process.communicate()
    fleet.states(**dict.fromkeys(CHAIN, wanted))
    fleet.holds()
    assert not set(old.values()) & set(fleet.pids().values())


@unix_only
@pytest.mark.fault("operators", "`down` killed in the middle")
def test_a_down_that_is_killed_is_carried_out(arena: MakeArena) -> None:
    """circusd was told, and ends with everything."""
    fleet = arena(CHAIN, start=False)
    for key in CHAIN:
        fleet.mode(key, "stubborn")
    fleet.begin()
    process = fleet.strike(lambda: command(fleet, "down"))
    fleet.noticed("command", verb="quit")
    process.kill()
    process.communicate()
    fleet.ended()
    assert fleet.leftovers() == []
    assert fleet.journal()[-1]["event"] == "controller_stopped"


# --- plain circusctl -----------------------------------------------------------------------------------------------


@pytest.mark.quick
@pytest.mark.fault("operators", "`circusctl restart` of one that is up, told before it dies")
def test_a_restart_by_circusctl_is_no_crash(arena: MakeArena) -> None:
    """However quickly it dies: the plugin knows whose wish that was, and counts nothing."""
    fleet = arena({"web": {}})
    for _ in range(5):
        old = fleet.pids()["web"]
        fleet.strike(lambda: fleet.circusctl("restart", "web", "--waiting"))
        fleet.back("web", old)
        assert not fleet.since("restart_scheduled")
    fleet.holds()
    assert len(fleet.started("web")) == 6


@pytest.mark.fault("operators", "circusctl commands that circus refuses")
def test_what_circus_refuses_is_nobodys_wish(arena: MakeArena) -> None:
    """A command without its name, of nobody, with options that are none: an error, and everything as before."""
    fleet = arena({"web": {}, "other": {}})
    before = fleet.pids()
    endpoint = fleet.config()
    said = [
        lookup._say(endpoint.fleet, "rm"),
        lookup._say(endpoint.fleet, "set", name="web", options="nonsense"),
        lookup._say(endpoint.fleet, "set", name="web", options={"no_such_option": 1}),
        lookup._say(endpoint.fleet, "incr"),
        lookup._say(endpoint.fleet, "no_such_command", name="web"),
        lookup._say(endpoint.fleet, "stop", name="nobody", match="simple"),
    ]
    assert [None if each is None else each["status"] for each in said] == ["error"] * len(said)
    fleet.circusctl("stop", "other", "--waiting")
    heard = [each["details"]["verb"] for each in fleet.events("command")]
    fleet.states(web="healthy", other="stopped")
    fleet.holds()
    assert fleet.pids() == {"web": before["web"]}
    assert "rm" not in heard


@pytest.mark.fault("operators", "`circusctl incr` and `decr`")
def test_incr_never_makes_two(arena: MakeArena) -> None:
    """circus says that it is a singleton, and nothing happens."""
    fleet = arena({"web": {}})
    before = fleet.pids()
    for verb in ("incr", "decr"):
        assert "ingleton" in fleet.strike(lambda verb=verb: fleet.circusctl(verb, "web"))  # type: ignore[misc]
    assert "ingleton" in fleet.circusctl("set", "web", "numprocesses", "2")
    fleet.holds()
    assert fleet.pids() == before
    assert not fleet.events("server_exited")


@pytest.mark.fault("operators", "`circusctl set KEY numprocesses 0`")
def test_no_process_allowed_is_said_and_comes_to_an_end(arena: MakeArena) -> None:
    """It is told as what it is: circusd starts none. Allowed again and started, it is back."""
    fleet = arena({"web": {}}, restart={"max_retries": 1, "retry_failed_after": 500.0})
    old = fleet.pids()["web"]
    fleet.strike(lambda: fleet.circusctl("set", "web", "numprocesses", "0"))
    failed = fleet.noticed("server_failed", "web")["details"]["reason"]
    assert "numprocesses is 0" in failed
    fleet.holds()
    assert not fleet.alive(old)
    fleet.circusctl("set", "web", "numprocesses", "1")
    fleet.strike(lambda: fleet.circusctl("start", "web"))
    fleet.back("web", old)
    fleet.holds()


@pytest.mark.fault("operators", "`circusctl rm` and `reloadconfig` while one crashes")
def test_rm_in_the_middle_of_a_crash_loop(arena: MakeArena) -> None:
    """The removed one is gone for good, the others go on; `reloadconfig` brings it back, up."""
    fleet = arena({"web": {}, "other": {}}, start=False, restart={"max_retries": 50, "backoff_cap": 0.05})
    fleet.mode("web", "crash")
    fleet.render()
    fleet.launch()
    fleet.states(other="healthy")
    fleet.event("restart_scheduled", "web", nth=2)
    fleet.watch()
    other = fleet.pids()["other"]
    fleet.strike(lambda: fleet.until("rm", lambda: fleet.circusctl("rm", "web", "--waiting").strip() == "ok"))
    fleet.until("it is forgotten", lambda: set(fleet.status()) == {"other"})
    fleet.holds()
    fleet.mode("web", "")
    fleet.circusctl("reloadconfig", "--waiting")
    fleet.all_healthy()
    fleet.holds()
    assert fleet.pids()["other"] == other


@pytest.mark.fault("operators", "`circusctl set` of a command line while another one dies")
def test_set_in_the_middle_of_a_death(arena: MakeArena) -> None:
    """The one is replaced once, the other recovers."""
    fleet = arena({"web": {}, "other": {}})
    old = fleet.pids()
    fleet.strike(lambda: kill(old["other"]))
    fleet.until("set", lambda: fleet.circusctl("set", "web", "working_dir", str(fleet.folder)).strip() == "ok")
    fleet.back("other", old["other"])
    fleet.back("web", old["web"])
    fleet.holds()
    assert fleet.since("server_exited", "other", **BY_KILL)
    assert len(fleet.started("web")) == 2


@pytest.mark.fault("operators", "`circusctl quit` in the middle of a recovery")
def test_quit_in_the_middle_of_a_recovery(arena: MakeArena) -> None:
    """Everything goes down in order, and nothing is left."""
    fleet = arena(CHAIN)
    old = fleet.pids()
    fleet.strike(lambda: kill(old["left"]))
    with contextlib.suppress(subprocess.TimeoutExpired):
        for _ in range(50):
            fleet.circusctl("quit")
            assert fleet.circusd is not None
            fleet.circusd.wait(1)
            break
    fleet.ended()
    assert fleet.leftovers() == []
    assert fleet.journal()[-1]["event"] == "controller_stopped"


@pytest.mark.fault("operators", "a slow `reloadconfig`: /health stays well")
def test_the_look_each_second_does_not_wait_for_a_reloadconfig(arena: MakeArena) -> None:
    """While circusd waits for a stubborn one that has changed, the controller is well, and looks after the others."""
    fleet = arena({"slow": {"stop": {"graceful_timeout": 12.0}}, "other": {}}, start=False)
    fleet.mode("slow", "stubborn")
    fleet.begin()
    before = fleet.pids()
    fleet.settings["system"]["slow"]["env"] = {"NEW": "1"}
    fleet.render()
    looked = [fleet.get("/health")]
    fleet.strike(lambda: fleet.circusctl("reloadconfig"))
    fleet.noticed("command", verb="reloadconfig")
    while fleet.alive(before["slow"]):
        looked.append(fleet.session.get(f"{fleet.url}/health", timeout=DEADLINE).json())
        threading.Event().wait(0.2)
    fleet.back("slow", before["slow"])
    assert [each for each in looked if not each["details"]["circusd"]["ok"]] == []
    fleet.holds()
    assert fleet.pids()["other"] == before["other"]


# --- two fleet files -----------------------------------------------------------------------------------------------


@pytest.mark.fault("operators", "two fleet files that share one run_dir")
def test_a_command_never_acts_on_another_files_fleet(arena: MakeArena) -> None:
    """`up`, `stop` and `down` with the other file are refused, naming the one whose fleet runs."""
    fleet = arena({"web": {}})
    before = fleet.pids()
    other = fleet.folder / "other.toml"
    settings = json.loads(json.dumps(fleet.settings))
    settings["system"]["web"]["port"], settings["api"]["port"] = free_ports(2)
    other.write_text(toml(settings), encoding="utf-8")
    for words in (("up", "-d"), ("stop", "web"), ("restart", "--all"), ("down",), ("status",)):
        code, out = fleet.strike(lambda words=words: ran(fleet, *words, "--fleet", str(other)))  # type: ignore[misc]
        assert code == 2, out
        assert str(fleet.folder / "fleet.toml") in out
    fleet.holds()
    assert fleet.pids() == before
    assert ran(fleet, "stop", "web")[0] == 0
    assert ran(fleet, "start", "web", "--fleet", str(fleet.folder / "fleet.toml"))[0] == 0
