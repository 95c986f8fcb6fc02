"""The plainest faults, and the oracle itself: it must see what it is there to see."""

import pytest

from tests.e2e.harness import BY_KILL, kill
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
