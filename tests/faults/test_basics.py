"""The plainest faults, and the oracle itself: it must see what it is there to see."""

import pytest
import requests

from tests.e2e.harness import BY_KILL, DEADLINE, kill
from tests.faults.arena import MakeArena

pytestmark = pytest.mark.quick
CHAIN = {"brain": {"critical": True}, "router": {"depends_on": ["brain"]}, "left": {"depends_on": ["router"]}}


@pytest.mark.fault("systems", "killed (SIGKILL)")
def test_a_killed_one_is_back_and_nobody_else_is_touched(arena: MakeArena) -> None:
    """Its death is seen, it is healthy again in one attempt, the others keep their processes."""
    fleet = arena(CHAIN)
    before = fleet.pids()
    fleet.strike(lambda: kill(before["router"]))
    exited = fleet.noticed("server_exited", "router")["details"]
    assert {name: exited[name] for name in BY_KILL} == BY_KILL
    new = fleet.back("router", before["router"])
    fleet.holds()
    assert fleet.pids() == {**before, "router": new}
    assert fleet.since("server_recovered", "router")[0]["details"]["attempt"] == 1


@pytest.mark.fault("watcher", "plugin killed")
def test_a_killed_plugin_costs_nobody_anything(arena: MakeArena) -> None:
    """The next one takes over what runs: no pid changes, and the journal's numbers go on."""
    fleet = arena(CHAIN)
    before, plugin = fleet.pids(), fleet.plugin()
    fleet.strike(lambda: kill(plugin))
    fleet.noticed("controller_started")
    fleet.holds()
    assert fleet.pids() == before


@pytest.mark.fault("watcher", "plugin killed while a system hangs that nobody has noticed yet")
def test_a_hang_is_noticed_by_the_next_plugin_and_not_only_after_a_whole_start(arena: MakeArena) -> None:
    """One that was healthy has as long as its probes take to fail, not the time of a start."""
    patient = {"start_timeout": 10 * DEADLINE}
    fleet = arena({"web": {}, "other": {}}, restart=patient, probe={"interval": 10 * DEADLINE})
    before, plugin = fleet.pids(), fleet.plugin()
    requests.get(f"http://127.0.0.1:{fleet.ports['web']}/hang", timeout=DEADLINE)
    fleet.strike(lambda: kill(plugin))
    reason = fleet.noticed("server_unhealthy", "web")["details"]["reason"]
    assert "of being taken over" in reason
    fleet.back("web", before["web"])
    assert fleet.pids()["other"] == before["other"]
