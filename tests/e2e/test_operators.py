"""Operators win, by the API and by plain circusctl, and the fleet is as they meant it: on real processes."""

import contextlib
from typing import Any

import psutil
import pytest
import requests

from tests.e2e.conftest import Make
from tests.e2e.harness import Fleet, freeze, kill, unix_only

CHAIN: dict[str, dict[str, Any]] = {
    "brain": {"critical": True},
    "router": {"depends_on": ["brain"]},
    "left": {"depends_on": ["router"]},
}


def order(running: Fleet, event: str, *, after: int) -> list[str]:
    """Return whom an event was about, since a number."""
    found = running.get(f"/api/autonomous/events?since={after}&event={event}&limit=1000")["events"]
    return [each["server"] for each in found]


def last(running: Fleet) -> int:
    """Return the newest number."""
    return int(running.get("/api/autonomous/events?limit=1")["next"])


def test_stop_start_and_restart_of_one_by_the_api(fleet: Make) -> None:
    """Accepted at once with an operation, done when waited for; the journal says who."""
    running = fleet(CHAIN).start()
    old = running.pids()["left"]
    assert running.post("/api/autonomous/stop/left?wait=20").json()["success"] is True
    assert running.status()["left"]["state"] == "stopped"
    running.until("circusd's word", lambda: "left: stopped" in running.circusctl("status"))
    accepted = running.post("/api/autonomous/start/left")
    assert accepted.status_code == 202
    operation = accepted.json()["operation"]
    running.new_process("left", old)
    running.until("its end", lambda: running.get(f"/api/autonomous/operations/{operation}")["state"] == "succeeded")
    old = running.pids()["left"]
    assert running.post("/api/autonomous/restart/left?wait=20").status_code == 200
    assert running.pids()["left"] != old
    said = running.event("command", "left", verb="restart")["details"]
    assert said["by"] == "api"
    assert running.post("/api/autonomous/start/left").json()["success"] is True
    assert running.status()["left"]["attempt"] == 0


def test_stop_all_in_reverse_and_start_all_in_order(fleet: Make) -> None:
    """Each level when the one above it is gone; back in dependency order."""
    running = fleet(CHAIN).start()
    mark = last(running)
    assert running.post("/api/autonomous/stop-all?wait=30").status_code == 200
    running.event("server_stopped", "brain")
    assert order(running, "server_stopped", after=mark) == ["left", "router", "brain"]
    assert running.leftovers() == []
    mark = last(running)
    assert running.post("/api/autonomous/start-all?wait=30").status_code == 200
    running.until("three starts", lambda: len(order(running, "server_started", after=mark)) == 3)
    assert order(running, "server_started", after=mark) == ["brain", "router", "left"]


def test_restart_all_by_the_api(fleet: Make) -> None:
    """Everybody is new, in order."""
    running = fleet(CHAIN).start()
    before = running.pids()
    assert running.post("/api/autonomous/restart-all?wait=30").status_code == 200
    assert not set(before.values()) & set(running.pids().values())
    assert [len(running.started(key)) for key in CHAIN] == [2, 2, 2]


def test_a_stop_by_circusctl_is_a_wish_that_lasts(fleet: Make) -> None:
    """It is not fought, it is journaled as circusctl's, and it outlives the plugin; start brings it back."""
    running = fleet(CHAIN).start()
    assert running.circusctl("stop", "left", "--waiting").strip() == "ok"
    running.states(left="stopped")
    assert running.event("command", "left", verb="stop")["details"]["by"] == "circusctl"
    kill(running.plugin())
    running.event("controller_started", nth=2)
    running.states(brain="healthy", router="healthy", left="stopped")
    assert len(running.started("left")) == 1
    running.circusctl("start", "left")
    running.all_healthy()
    assert len(running.started("left")) == 2


def test_what_circusctl_said_while_the_plugin_was_away_is_heard(fleet: Make) -> None:
    """The wish is read from circusd when the plugin is back."""
    running = fleet(CHAIN).start()
    plugin = running.plugin()
    freeze(plugin)
    running.circusctl("stop", "left", "--waiting")
    with contextlib.suppress(psutil.NoSuchProcess):  # circusd ends one that is stopped for long, too
        kill(plugin)
    running.event("controller_started", nth=2)
    running.event("command", "left", verb="stop")
    running.states(brain="healthy", router="healthy", left="stopped")


def test_a_restart_by_circusctl_makes_one_new_process(fleet: Make) -> None:
    """Nobody restarts it a second time, and it is no failure."""
    running = fleet(CHAIN).start()
    old = running.pids()["left"]
    running.circusctl("restart", "left", "--waiting")
    running.new_process("left", old)
    assert len(running.started("left")) == 2
    assert running.status()["left"]["attempt"] == 0
    assert running.event("server_exited", "left")["details"]["pid"] == old


def test_circusctl_stop_and_start_of_everything(fleet: Make) -> None:
    """Stop ends the plugin too, in order and with nothing left; start brings back all that is wanted, in order."""
    made = fleet(CHAIN)
    made.mode("left", "child")
    running = made.start()
    running.circusctl("stop", "--waiting")
    assert running.leftovers() == []
    running.circusctl("start", "--waiting")
    running.event("controller_started", nth=2)
    running.all_healthy()
    assert [len(running.started(key)) for key in CHAIN] == [2, 2, 2]
    assert order(running, "server_started", after=running.events("controller_started")[1]["seq"]) == list(CHAIN)


@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_a_pattern_that_hits_the_plugin_touches_nobody_it_does_not_name(fleet: Make, verb: str) -> None:
    """circusctl stop 'a*' means alpha and the plugin aurora: the others run on, and the wish is heard."""
    running = fleet({"alpha": {}, "brain": {}}).start()
    before = running.pids()
    running.circusctl(verb, "a*", "--waiting")
    if verb == "stop":
        running.circusctl("start", "aurora", "--waiting")
    running.event("controller_started", nth=2)
    running.states(brain="healthy", alpha={"stop": "stopped", "restart": "healthy"}[verb])
    assert running.pids()["brain"] == before["brain"]
    assert not running.events("server_exited", "brain")


def test_circusctl_restart_of_everything_keeps_the_wishes(fleet: Make) -> None:
    """What is wanted is up again, and nothing else."""
    running = fleet(CHAIN).start()
    running.post("/api/autonomous/stop/left?wait=20")
    running.circusctl("restart")
    running.event("controller_started", nth=2)
    running.states(brain="healthy", router="healthy", left="stopped")
    assert [len(running.started(key)) for key in CHAIN] == [2, 2, 1]


def test_circusctl_reload_is_a_restart_in_order_of_what_runs(fleet: Make) -> None:
    """Everybody that runs is new, once; what was stopped stays so; the plugin is the one it was."""
    running = fleet(CHAIN).start()
    running.post("/api/autonomous/stop/left?wait=20")
    before, plugin = running.pids(), running.plugin()
    running.circusctl("reload")
    running.new_process("brain", before["brain"])
    running.new_process("router", before["router"])
    running.states(left="stopped")
    assert [len(running.started(key)) for key in CHAIN] == [2, 2, 1]
    assert running.plugin() == plugin


def test_reloadconfig_takes_changes_up_and_starts_what_is_new(fleet: Make) -> None:
    """A changed system is up in a new process under its new settings, a new one is up, one taken out is gone."""
    running = fleet(CHAIN).start()
    before = running.pids()
    running.settings["system"]["left"]["env"] = {"FLAVOUR": "$HOME/%x"}
    running.settings["system"]["left"]["probe"] = {"interval": 0.7}
    del running.settings["system"]["router"]
    running.settings["system"]["left"]["depends_on"] = ["brain"]
    running.render()
    running.circusctl("reloadconfig", "--waiting")
    running.new_process("left", before["left"])
    environ = requests.get(f"http://127.0.0.1:{running.ports['left']}/environ", timeout=5).json()
    assert (environ["FLAVOUR"], environ["AURORA_SYSTEM"]) == ("$HOME/%x", "left")
    running.until("the router's end", lambda: "router" not in running.status())
    assert running.pids()["brain"] == before["brain"]
    assert running.get("/api/autonomous/explain/left")["policy"]["interval"] == 0.7
    assert not running.events("server_failed")


@unix_only
def test_a_watcher_added_by_circusctl_is_not_managed_by_us(fleet: Make) -> None:
    """circusctl add cannot carry our options: circus alone looks after it."""
    running = fleet(CHAIN).start()
    running.circusctl("add", "--start", "guest", "sleep 1000")
    assert set(running.status()) == set(CHAIN)
    running.circusctl("rm", "guest", "--waiting")


def test_an_operators_slow_stop_does_not_keep_a_critical_system_down(fleet: Make) -> None:
    """circusctl stop of one that ignores SIGTERM holds circusd; when the brain dies meanwhile, force ends the wait."""
    made = fleet({"brain": {"critical": True}, "stubborn": {"stop": {"graceful_timeout": 35.0}}})
    made.mode("stubborn", "stubborn")
    running = made.start()
    before = running.pids()
    running.circusctl("stop", "stubborn")
    running.event("command", "stubborn", verb="stop")
    kill(before["brain"])
    running.new_process("brain", before["brain"])
    running.states(stubborn="stopped")
    assert running.events("server_exited", "stubborn")[0]["details"]["signal"] == "SIGKILL"


@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_a_command_during_a_backoff_wins(fleet: Make, verb: str) -> None:
    """Stop: no further attempt. Restart: an attempt now, counted from none."""
    made = fleet({"web": {}}, restart={"backoff_base": 30.0, "backoff_cap": 30.0, "max_retries": 5})
    made.mode("web", "crash=2")
    made.render()
    made.launch()
    made.states(web="backoff")
    assert made.post(f"/api/autonomous/{verb}/web?wait=20").status_code == 200
    assert made.status()["web"]["state"] == {"stop": "stopped", "restart": "healthy"}[verb]
    assert len(made.started("web")) == {"stop": 2, "restart": 3}[verb]


def test_a_later_command_supersedes_the_one_that_is_waited_for(fleet: Make) -> None:
    """The first waiter is told by whom."""
    made = fleet({"web": {"stop": {"graceful_timeout": 2.0}}})
    made.mode("web", "stubborn")
    running = made.start()
    first = running.post("/api/autonomous/restart/web").json()["operation"]
    second = running.post("/api/autonomous/stop/web?wait=20")
    assert second.status_code == 200
    told = running.get(f"/api/autonomous/operations/{first}")
    assert (told["state"], told["error"]) == ("superseded", f"superseded by operation {second.json()['operation']}")


def test_the_api_answers_while_every_system_hangs(fleet: Make) -> None:
    """Status is served from memory: no request waits for a system."""
    running = fleet(CHAIN, probe={"interval": 60.0}).start()
    for pid in running.pids().values():
        freeze(pid)
    try:
        assert requests.get(f"{running.url}/api/autonomous/status", timeout=5).status_code == 200
        assert requests.get(f"{running.url}/health", timeout=5).status_code == 200
    finally:
        for pid in running.pids().values():
            kill(pid)
