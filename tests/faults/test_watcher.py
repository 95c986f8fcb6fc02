"""The watcher dies, hangs, is stopped; and so does the watcher's watcher: who watches them is seen to do so."""

import os
import signal
import subprocess
import sys

import pytest

from aurora_circus import processes
from aurora_circus.endpoints import endpoints
from tests.e2e.harness import DEADLINE, kill, seqs_are_whole, unix_only
from tests.faults.arena import Arena, MakeArena
from tests.faults.ups import command, replaced, up, up_detached

CHAIN = {"brain": {"critical": True}, "router": {"depends_on": ["brain"]}, "left": {"depends_on": ["router"]}}
PAIR = {"brain": {"critical": True}, "router": {"depends_on": ["brain"]}}


def stop(pid: int) -> None:
    """Stop a process as Ctrl-Z does, but whether it wants or not; wait until it is."""
    os.kill(pid, signal.SIGSTOP)
    found = processes.identify(pid)
    assert found is not None
    while not processes.stopped(found):
        pass


def circusd_log(fleet: Arena) -> str:
    """Return what circusd has said."""
    return (fleet.folder / "circusd.out").read_text(encoding="utf-8", errors="replace")


@unix_only
@pytest.mark.fault("watcher", "plugin stopped (SIGSTOP)")
def test_a_stopped_plugin_is_ended_and_started_again(arena: MakeArena) -> None:
    """Its own watchdog is stopped as well: circusd sees it. No system is touched."""
    fleet = arena(CHAIN)
    before, plugin = fleet.pids(), fleet.plugin()
    fleet.strike(lambda: stop(plugin))
    fleet.noticed("controller_started")
    fleet.holds()
    assert fleet.pids() == before
    assert f"the plugin (pid {plugin}) was stopped: it is ended by force" in circusd_log(fleet)


@unix_only
@pytest.mark.fault("watcher", "plugin hangs without dying: its stacks are in its log")
def test_a_plugin_that_hangs_gives_itself_up(arena: MakeArena, monkeypatch: pytest.MonkeyPatch) -> None:
    """It notices that its loop does not turn any more, leaves the stacks of all its threads, and is started again."""
    fleet = arena(PAIR, start=False)
    (fleet.folder / "hanging.py").write_text(
        "import signal, threading\n"
        "from aurora_circus.plugins.aurora import AuroraPlugin\n"
        "class Hanging(AuroraPlugin):\n"
        "    def initialize(self):\n"
        "        super().initialize()\n"
        "        self.loop.asyncio_loop.add_signal_handler(signal.SIGUSR1, self.hang_here)\n"
        "    def hang_here(self):\n"
        "        threading.Event().wait()\n",
        encoding="utf-8",
    )
    fleet.render()
    text = fleet.ini.read_text(encoding="utf-8")
    ours = "aurora_circus.plugins.aurora.AuroraPlugin"
    assert ours in text
    fleet.ini.write_text(text.replace(ours, "hanging.Hanging"), encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(fleet.folder), prepend=os.pathsep)
    fleet.launch()
    fleet.all_healthy()
    fleet.watch()
    before, plugin = fleet.pids(), fleet.plugin()
    fleet.strike(lambda: os.kill(plugin, signal.SIGUSR1))
    fleet.noticed("controller_started")
    fleet.holds()
    assert fleet.pids() == before
    said = (fleet.folder / ".aurora" / "logs" / "aurora.log").read_text(encoding="utf-8", errors="replace")
    assert "Timeout (0:00:10)!" in said
    assert "in hang_here" in said


@unix_only
@pytest.mark.fault("watcher", "plugin out of memory")
def test_a_plugin_without_memory_ends_and_is_started_again(arena: MakeArena, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not live on half: whatever it was about to do is done by the next one."""
    fleet = arena(PAIR, start=False)
    (fleet.folder / "hungry.py").write_text(
        "import signal\n"
        "from aurora_circus.plugins.aurora import AuroraPlugin\n"
        "class Hungry(AuroraPlugin):\n"
        "    def initialize(self):\n"
        "        super().initialize()\n"
        "        self.loop.asyncio_loop.add_signal_handler(signal.SIGUSR1, bytearray, 1 << 60)\n",
        encoding="utf-8",
    )
    fleet.render()
    text = fleet.ini.read_text(encoding="utf-8")
    fleet.ini.write_text(text.replace("aurora_circus.plugins.aurora.AuroraPlugin", "hungry.Hungry"), encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(fleet.folder), prepend=os.pathsep)
    fleet.launch()
    fleet.all_healthy()
    fleet.watch()
    before, plugin = fleet.pids(), fleet.plugin()
    fleet.strike(lambda: os.kill(plugin, signal.SIGUSR1))
    fleet.noticed("controller_started")
    fleet.holds()
    assert fleet.pids() == before
    assert "out of memory" in (fleet.folder / ".aurora" / "logs" / "aurora.log").read_text(errors="replace")


@unix_only
@pytest.mark.fault("watcher", "plugin killed while an operator's slow stop holds circusd's lock")
def test_a_plugin_is_back_whatever_circusd_is_busy_with(arena: MakeArena) -> None:
    """circusd itself looks after nobody until the stop is over, which takes as long as the grace period."""
    fleet = arena({**CHAIN, "mule": {}}, start=False, stop={"graceful_timeout": DEADLINE})
    fleet.mode("mule", "stubborn")
    fleet.begin()
    mule, plugin = fleet.pids()["mule"], fleet.plugin()
    slow = subprocess.Popen(
        [
            *(sys.executable, "-m", "circus.circusctl", "--endpoint"),
            *(endpoints(fleet.config().fleet)[0], "--timeout", "120", "stop", "mule", "--waiting"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        fleet.until("the stop", lambda: "stopping" in fleet.circusctl("status", "mule"))
        fleet.strike(lambda: kill(plugin))
        fleet.noticed("controller_started")
        assert slow.poll() is None or not fleet.alive(mule)
        kill(mule)
        slow.wait(DEADLINE)
    finally:
        slow.kill()
        slow.wait()
    fleet.states(mule="stopped", brain="healthy", router="healthy", left="healthy")
    assert "Traceback" not in (fleet.folder / "circusd.out").read_text(encoding="utf-8")


@pytest.mark.fault("watcher", "circusd killed, and started again by hand")
def test_under_plain_circusd_the_systems_serve_on_until_somebody_comes(arena: MakeArena) -> None:
    """Nobody replaces a circusd that somebody runs himself; the next one replaces one system after the other."""
    fleet = arena(CHAIN)
    before, plugin = fleet.pids(), fleet.plugin()
    assert fleet.circusd is not None
    fleet.strike(fleet.circusd.kill)
    fleet.circusd.wait()
    fleet.launch_waits_for(plugin)
    assert all(fleet.alive(pid) for pid in before.values())
    assert not (fleet.folder / ".aurora" / "logs" / "circusd.log").exists(), "a keeper says there what it does"
    fleet.launch()
    fleet.noticed("controller_started")
    replaced(fleet, 2)
    fleet.holds()


@unix_only
@pytest.mark.fault("watcher", "circusd killed under `up`")
def test_up_replaces_a_dead_circusd(arena: MakeArena) -> None:
    """The systems serve on, are replaced in order, and the journal says why."""
    fleet = arena(CHAIN, start=False)
    with up(fleet):
        old = fleet.known_circusd()
        fleet.strike(lambda: kill(old.pid))
        told = fleet.noticed("circusd_replaced")["details"]
        replaced(fleet, 2)
        assert (told["why"], told["old"], told["new"]) == ("killed by SIGKILL", old.pid, fleet.known_circusd().pid)
        assert not fleet.events("port_conflict")


@unix_only
@pytest.mark.fault("watcher", "circusd killed under `up -d`")
def test_the_plugin_replaces_a_dead_circusd_where_no_up_is_left(arena: MakeArena) -> None:
    """It has no other process for that; status and down go on working."""
    fleet = up_detached(arena(CHAIN, start=False))
    for starts in (2, 3):
        old = fleet.known_circusd()
        fleet.strike(lambda pid=old.pid: kill(pid))  # type: ignore[misc] # mypy knows no defaults of a lambda
        told = fleet.noticed("circusd_replaced")["details"]
        replaced(fleet, starts)
        assert (told["old"], told["new"]) == (old.pid, fleet.known_circusd().pid)
    fleet.holds()
    assert command(fleet, "status").returncode == 0
    fleet.quiet()
    down = command(fleet, "down")
    assert down.returncode == 0, down.stdout + down.stderr
    assert "by force" not in down.stdout
    assert fleet.journal()[-1]["event"] == "controller_stopped"
    assert fleet.leftovers() == []
    assert fleet.circusd is not None
    assert fleet.circusd.poll() is not None


@unix_only
@pytest.mark.fault("watcher", "`reloadconfig` of what has not changed, under `up -d`")
def test_a_reload_of_what_has_not_changed_bounces_nobody(arena: MakeArena) -> None:
    """How circusd was started is in its environment when it reads its file first, and no more: that is no change."""
    fleet = up_detached(arena(CHAIN, start=False))
    before, plugin = fleet.pids(), fleet.plugin()
    assert fleet.strike(lambda: fleet.circusctl("reloadconfig", "--waiting")).strip() == "ok"
    fleet.noticed("command", verb="reloadconfig")
    fleet.holds()
    assert (fleet.pids(), fleet.plugin()) == (before, plugin)
    assert not fleet.since("server_exited")


@unix_only
@pytest.mark.fault("watcher", "circusd stopped (SIGSTOP) under `up`")
def test_up_replaces_a_stuck_circusd(arena: MakeArena) -> None:
    """It answers nothing: it is ended by force, and then it is a dead one."""
    fleet = arena(PAIR, start=False)
    with up(fleet):
        old = fleet.known_circusd()
        fleet.strike(lambda: stop(old.pid))
        told = fleet.noticed("circusd_replaced")["details"]
        replaced(fleet, 2)
        assert told["old"] == old.pid
        assert told["why"].startswith("it did not answer for")


@unix_only
@pytest.mark.fault("watcher", "circusd stopped (SIGSTOP) under `up -d`")
def test_the_plugin_replaces_a_stuck_circusd_where_no_up_is_left(arena: MakeArena) -> None:
    """As `up` would."""
    fleet = up_detached(arena(PAIR, start=False))
    old = fleet.known_circusd()
    fleet.strike(lambda: stop(old.pid))
    told = fleet.noticed("circusd_replaced")["details"]
    replaced(fleet, 2)
    assert told["old"] == old.pid
    assert told["why"].startswith("it did not answer for")


@unix_only
@pytest.mark.fault("watcher", "`up` killed, and then circusd")
def test_when_up_is_gone_the_plugin_keeps_circusd(arena: MakeArena) -> None:
    """Whoever is left does it."""
    fleet = arena(PAIR, start=False)
    with up(fleet) as foreground:
        foreground.kill()
        foreground.wait()
        old = fleet.known_circusd()
        fleet.strike(lambda: kill(old.pid))
        fleet.noticed("circusd_replaced")
        replaced(fleet, 2)


@unix_only
@pytest.mark.fault("watcher", "circusd and plugin killed in the same moment under `up`")
def test_up_replaces_both(arena: MakeArena) -> None:
    """It needs neither of them."""
    fleet = arena(CHAIN, start=False)
    with up(fleet):
        old, plugin = fleet.known_circusd(), fleet.plugin()

        def both() -> None:
            stop(plugin)  # so that it cannot be the quicker one
            kill(old.pid)
            kill(plugin)

        fleet.strike(both)
        fleet.noticed("circusd_replaced")
        replaced(fleet, 2)


@unix_only
@pytest.mark.fault("watcher", "circusd and plugin killed in the same moment under `up -d`, then `up -d`")
def test_where_nobody_is_left_the_next_up_takes_over(arena: MakeArena) -> None:
    """Nobody replaces them then, but a service manager; the systems serve on until somebody says `up`."""
    fleet = up_detached(arena(PAIR, start=False))
    before, old, plugin = fleet.pids(), fleet.known_circusd(), fleet.plugin()

    def both() -> None:
        stop(plugin)
        kill(old.pid)
        kill(plugin)

    fleet.strike(both)
    fleet.launch_waits_for(old.pid)
    fleet.launch_waits_for(plugin)
    assert all(fleet.alive(pid) for pid in before.values())
    again = command(fleet, "up", "-d")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Left over from an earlier circusd, each replaced once, in order" in again.stdout
    replaced(fleet, 2)


@unix_only
@pytest.mark.fault("watcher", "plugin stopped (SIGSTOP), and circusd killed")
def test_a_plugin_that_was_left_behind_is_no_second_brain(arena: MakeArena) -> None:
    """It holds the API's port and would write on in the journal: the next plugin ends it."""
    fleet = arena(PAIR)
    plugin = fleet.plugin()
    assert fleet.circusd is not None
    fleet.strike(lambda: stop(plugin))
    fleet.circusd.kill()
    fleet.circusd.wait()
    fleet.launch()
    fleet.noticed("controller_started")
    replaced(fleet, 2)
    assert not fleet.alive(plugin)
    fleet.holds()


@unix_only
@pytest.mark.fault("watcher", "`down` of a circusd that is stopped (SIGSTOP)")
def test_down_ends_what_is_stuck_and_nobody_undoes_it(arena: MakeArena) -> None:
    """After all grace periods it is ended by force, then what it leaves; the plugin starts no other one."""
    fleet = up_detached(arena(PAIR, start=False))
    stop(fleet.known_circusd().pid)
    fleet.quiet()
    down = command(fleet, "down")
    assert down.returncode == 0, down.stdout + down.stderr
    assert "does not answer: killed" in down.stderr
    assert fleet.leftovers() == []
    assert not fleet.events("circusd_replaced")
    assert fleet.events("command")[-1]["details"]["by"] == "cli"
    assert {each["server"] for each in fleet.events("server_stopped")} == set(PAIR)
    seqs_are_whole(fleet.journal())
    assert fleet.circusd is not None
    assert fleet.circusd.poll() is not None


@unix_only
@pytest.mark.fault("watcher", "circusd told to end (SIGTERM, circusctl quit) under `up -d`")
@pytest.mark.parametrize("how", [pytest.param("both", id="both")])
def test_an_end_that_somebody_wanted_is_never_undone(arena: MakeArena, how: str) -> None:
    """Whoever asks for it, and however: the plugin goes with it and starts nothing."""
    del how
    fleet = arena(PAIR, start=False)
    for end in (lambda: os.kill(fleet.known_circusd().pid, signal.SIGTERM), lambda: fleet.circusctl("quit")):
        up_detached(fleet)
        plugin, circusd = fleet.plugin(), fleet.known_circusd()
        fleet.quiet()
        end()
        fleet.launch_waits_for(circusd.pid)
        fleet.launch_waits_for(plugin)
        assert fleet.leftovers() == []
        assert fleet.circusd is not None
        assert fleet.circusd.poll() is not None
        assert fleet.journal()[-1]["details"]["orderly"] is True
    assert not fleet.events("circusd_replaced")
