"""What crashes, hangs or loops is brought back, and nobody else notices: on real processes."""

import requests

from tests.e2e.conftest import Make
from tests.e2e.harness import (
    BY_KILL,
    PROBE_TIMEOUT,
    WINDOWS,
    Json,
    freeze,
    kill,
    listener,
    needs_owners,
    seqs_are_whole,
)

CHAIN: dict[str, Json] = {
    "brain": {"critical": True},
    "router": {"critical": True, "depends_on": ["brain"]},
    "left": {"depends_on": ["router"]},
    "right": {"depends_on": ["router"]},
}


def test_the_fleet_comes_up_in_dependency_order(fleet: Make) -> None:
    """Nobody is started before what it depends on is healthy; the journal has it all, numbered without a hole."""
    running = fleet(CHAIN).start()
    running.event("server_started", "right")
    running.event("server_started", "left")
    order = [(each["event"], each["server"]) for each in running.journal()]
    for key, values in CHAIN.items():
        for other in values.get("depends_on", []):
            assert order.index(("server_started", other)) < order.index(("server_starting", key))
    seqs_are_whole(running.journal())
    status = running.status()
    assert [status[key]["port"] for key in CHAIN] == [running.ports[key] for key in CHAIN]
    assert all(running.leads(status[key]["pid"], running.started(key)[0][0]) for key in CHAIN)
    assert status["brain"]["tasks_processed"] == 7
    assert status["brain"]["reported"] == ["tasks_processed"]


def test_a_killed_system_is_healthy_again_in_one_start(fleet: Make) -> None:
    """kill -9: the exit is journaled with its signal, one attempt, recovered; nobody else is touched."""
    running = fleet(CHAIN).start()
    before = running.pids()
    kill(before["left"])
    pid = running.new_process("left", before["left"])
    running.event("server_exited", "left", pid=before["left"], **BY_KILL)
    recovered = running.event("server_recovered", "left")
    assert (recovered["details"]["attempt"], recovered["details"]["pid"]) == (1, pid)
    assert len(running.started("left")) == 2
    assert {**running.pids(), "left": before["left"]} == before


def test_a_frozen_system_is_noticed_ended_and_brought_back(fleet: Make) -> None:
    """SIGSTOP: connects still work; it goes on to end in good order, but on Windows, where only force helps."""
    running = fleet({"web": {}}).start()
    old = running.pids()["web"]
    freeze(old)
    running.new_process("web", old)
    assert f"no answer within {PROBE_TIMEOUT:g} s" in running.event("server_unhealthy", "web")["details"]["reason"]
    exited = running.event("server_exited", "web")["details"]
    assert (exited["code"], exited["signal"]) == ((None, "SIGKILL") if WINDOWS else (0, None))


def test_a_system_that_says_it_failed_is_brought_back(fleet: Make) -> None:
    """A 200 whose body says failed is not health."""
    running = fleet({"web": {}}).start()
    old = running.pids()["web"]
    requests.get(f"http://127.0.0.1:{running.ports['web']}/fail", timeout=5)
    running.new_process("web", old)
    assert "says 'failed'" in running.event("server_unhealthy", "web")["details"]["reason"]


def test_one_that_hangs_and_will_not_go_delays_nobody_else(fleet: Make) -> None:
    """While one that ignores SIGTERM waits out its grace period, another is killed and back."""
    made = fleet({"stubborn": {"stop": {"graceful_timeout": 15.0}}, "web": {}})
    made.mode("stubborn", "stubborn")
    running = made.start()
    before = running.pids()
    requests.get(f"http://127.0.0.1:{running.ports['stubborn']}/hang", timeout=5)
    running.event("server_unhealthy", "stubborn")
    kill(before["web"])
    running.new_process("web", before["web"])
    assert running.status()["stubborn"]["state"] == "unhealthy"
    assert not running.events("server_exited", "stubborn")
    kill(before["stubborn"])


def test_what_a_crash_leaves_behind_is_ended_before_the_restart(fleet: Make) -> None:
    """A grandchild that ignores SIGTERM is gone when the new process starts, and after a stop as well."""
    made = fleet({"web": {}})
    made.mode("web", "child")
    running = made.start()
    (pid, child), old = running.started("web")[0], running.pids()["web"]
    kill(pid)
    running.new_process("web", old)
    running.gone(child)
    (_, child) = running.started("web")[-1]
    assert running.post("/api/autonomous/stop/web?wait=20").status_code == 200
    running.gone(child)


def test_crash_loops_end_in_failed_and_change_nothing_for_the_others(fleet: Make) -> None:
    """Three that die at once, the router among them: 3, 3 and 6 attempts, with the traceback's last line as the reason.

    The good ones are healthy, and one of them that is killed is back.
    """
    made = fleet({**CHAIN, "extra": {"depends_on": ["left"]}})
    for key in ("router", "left", "right"):
        made.mode(key, "crash")
    made.render()
    made.launch()
    made.states(brain="healthy", router="failed", left="failed", right="failed", extra="healthy")
    assert {key: len(made.started(key)) for key in made.ports} == {
        "brain": 1,
        "router": 7,
        "left": 4,
        "right": 4,
        "extra": 1,
    }
    failed = made.event("server_failed", "left")["details"]
    assert failed["reason"] == "exited with code 1: RuntimeError: no flux in left"
    assert failed["attempts"] == 3
    assert made.event("server_starting", "extra")["details"]["missing"] == ["left"]
    old = made.pids()["extra"]
    kill(old)
    made.new_process("extra", old)
    explained = made.get("/api/autonomous/explain/left")
    assert explained["next"]["action"] == "one more attempt by itself"
    assert explained["output"][-1] == "RuntimeError: no flux in left"


def test_without_its_brain_the_rest_of_the_fleet_is_up(fleet: Make) -> None:
    """The gate has an end: the others go ahead without the one that fails."""
    made = fleet(CHAIN)
    made.mode("brain", "crash")
    made.render()
    made.launch()
    made.states(brain="failed", router="healthy", left="healthy", right="healthy")


def test_one_that_fails_three_times_and_then_starts_needs_nobody(fleet: Make) -> None:
    """Its last attempt is its first good one."""
    made = fleet({"web": {}})
    made.mode("web", "crash=3")
    made.start()
    assert len(made.started("web")) == 4
    made.event("server_recovered", "web", attempt=3)


def test_a_failed_system_is_back_by_its_own_retry(fleet: Make) -> None:
    """failed is left by its own retry, once its cause is gone."""
    made = fleet({"web": {}}, restart={"max_retries": 1, "retry_failed_after": 0.5})
    made.mode("web", "crash=3")
    made.render()
    made.launch()
    made.event("server_failed", "web")
    made.all_healthy()
    made.event("server_starting", "web", cause="retry")


def test_an_impostor_on_the_port_is_named_and_never_healthy(fleet: Make) -> None:
    """Another program answers 200 there: port_conflict with its pid and command."""
    needs_owners()
    made = fleet({"web": {}}, restart={"max_retries": 1})
    with listener(made.ports["web"]) as other:
        made.render()
        made.launch()
        conflict = made.event("port_conflict", "web")
        assert conflict["details"]["pid"] == other.pid
        assert "http.server" in conflict["details"]["command"]
        failed = made.event("server_failed", "web")
        assert f"pid {other.pid}" in failed["details"]["reason"]
        assert not made.events("server_started", "web")
    made.post("/api/autonomous/start/web")
    made.all_healthy()


def test_a_taken_api_port_costs_the_api_and_nothing_else(fleet: Make) -> None:
    """port_conflict without a server names the holder; the fleet is up, and the API too as soon as the port is free."""
    needs_owners()
    made = fleet({"web": {}})
    with listener(made.api_port) as other:
        made.render()
        made.launch()
        conflict = made.event("port_conflict")
        assert (conflict["server"], conflict["details"]["pid"]) == (None, other.pid)
        made.event("server_started", "web")
    made.all_healthy()


def test_a_dynamic_port_gives_way_and_the_system_is_told(fleet: Make) -> None:
    """port_policy = dynamic: a taken port becomes the next free one, in PORT and in the API."""
    made = fleet({"web": {"port_policy": "dynamic"}}, fleet={"port_range": [20000, 29000]})
    with listener(made.ports["web"]):
        made.start()
        status = made.status()["web"]
        assert status["port"] != made.ports["web"]
        pid = requests.get(f"http://127.0.0.1:{status['port']}/health", timeout=5).json()["pid"]
        assert made.leads(status["pid"], pid)


def test_a_flood_of_output_harms_nobody_and_stays_bounded(fleet: Make) -> None:
    """A program that writes as fast as it can: its log is rotated and bounded, its neighbour and the API well."""
    made = fleet({"loud": {}, "web": {}}, logs={"max_bytes": 2_000_000, "backups": 1})
    made.mode("loud", "flood")
    made.start()
    logs = made.folder / ".aurora" / "logs"
    made.event("log_dropped", "loud", nth=2)
    assert (logs / "loud.log.1").stat().st_size < 4_000_000
    assert made.status()["web"]["healthy"]
