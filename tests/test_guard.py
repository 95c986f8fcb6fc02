"""The plugin is kept up from within circusd: its watcher, its processes and the loop are played by a test."""

from collections.abc import Callable
from typing import Any

import pytest
from circus.exc import ConflictError

from aurora_circus import guard, processes
from aurora_circus.facts import Process
from aurora_circus.guard import Guard


class Future:
    """What circus answers."""

    def add_done_callback(self, _: object) -> None:
        """Never call."""


class Watch:
    """A pidfd."""

    def __init__(self) -> None:
        self.call: Callable[[], object] = lambda: None
        self.closed = False

    def notify(self, _: object, call: Callable[[], object]) -> None:
        """Keep whom to call."""
        self.call = call

    def close(self) -> None:
        """Call nobody."""
        self.closed = True


class Plugin:
    """circus's watcher of the plugin, and the processes behind it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.processes: dict[int, object] = {10: object()}
        self.dead: set[int] = set()
        self.halted: set[int] = set()
        self.killed: list[int] = []
        self.starts = 0
        self.down = False
        self.locked = False
        self.watch = Watch()
        monkeypatch.setattr(processes, "identify", lambda pid: Process(pid, 1.0))
        monkeypatch.setattr(processes, "alive", lambda each: each.pid not in self.dead)
        monkeypatch.setattr(processes, "stopped", lambda each: each.pid in self.halted)
        monkeypatch.setattr(processes, "watch", lambda _: self._watch())
        monkeypatch.setattr(processes, "kill", lambda each: self.killed.append(each.pid))

    def _watch(self) -> Watch:
        self.watch = Watch()
        return self.watch

    def is_stopped(self) -> bool:
        """Say so."""
        return self.down

    def reap_process(self, pid: int) -> None:
        """Take note of an end."""
        assert pid in self.dead
        del self.processes[pid]

    def manage_processes(self) -> Future:
        """Start another."""
        assert not self.processes
        self.starts += 1
        self.processes[10 + self.starts] = object()
        return Future()

    def start(self) -> Future:
        """Start the watcher."""
        if self.locked:
            raise ConflictError
        self.down = False
        return Future()


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Plugin:
    """A plugin that runs."""
    return Plugin(monkeypatch)


class Loop:
    """A loop whose time is up when a test says so."""

    def __init__(self) -> None:
        self.later: list[Callable[[], object]] = []
        self.waits: list[float] = []

    def call_later(self, delay: float, call: Callable[[], object]) -> None:
        """Keep it."""
        self.later.append(call)
        self.waits.append(delay)


def watching(plugin: Plugin | None, looks: int = 1, *, beats: bool = True) -> Guard:
    """Return a guard that has looked so often."""
    loop: Any = Loop()
    found = Guard(loop, lambda: plugin)
    for _ in range(looks):
        found.look()
        if beats:
            found.beat()
    return found


def test_its_end_is_an_event_and_the_next_one_starts_at_once(plugin: Plugin) -> None:
    """Without another look."""
    watching(plugin, guard.YOUNG + 1)
    plugin.dead.add(10)
    plugin.watch.call()
    assert list(plugin.processes) == [11]


def test_one_that_dies_young_waits_for_some_looks(plugin: Plugin) -> None:
    """No hot loop."""
    found = watching(plugin, guard.YOUNG)
    plugin.dead.add(10)
    plugin.watch.call()
    for _ in range(guard.REST):
        assert plugin.starts == 0
        found.look()
    assert plugin.starts == 1


def test_one_that_circus_has_replaced_is_watched(plugin: Plugin) -> None:
    """The old watch is closed."""
    found = watching(plugin, 10)
    old = plugin.watch
    plugin.processes = {20: object()}
    found.look()
    assert old.closed
    assert plugin.watch is not old
    assert plugin.starts == 0


def test_a_stopped_one_is_ended_after_three_looks_and_one_that_goes_on_is_not(plugin: Plugin) -> None:
    """In a row."""
    found = watching(plugin)
    for _ in range(guard.STOPPED - 1):
        plugin.halted.add(10)
        found.look()
    plugin.halted.clear()
    found.look()
    assert plugin.killed == []
    plugin.halted.add(10)
    for _ in range(guard.STOPPED):
        assert plugin.killed == []
        found.look()
    assert plugin.killed == [10]


def test_a_stopped_one_is_looked_at_more_often(plugin: Plugin) -> None:
    """From the first look on that finds it so, until it is ended or goes on: meanwhile nobody watches the fleet."""
    loop = Loop()
    found = Guard(loop, lambda: plugin)  # type: ignore[arg-type] # as much of a loop as is needed
    found.begin()
    plugin.halted.add(10)
    loop.later.pop()()
    plugin.halted.clear()
    loop.later.pop()()
    assert loop.waits == [guard.LOOK, guard.LOOK_AGAIN, guard.LOOK]


@pytest.mark.parametrize(("beats", "looks"), [(True, guard.SILENT), (False, guard.BEGINS)])
def test_a_silent_one_is_ended_and_a_new_one_may_take_its_time(plugin: Plugin, beats: bool, looks: int) -> None:
    """Counted from its last sign of life, in looks: circusd may have been stopped itself."""
    found = watching(plugin, 1, beats=beats)
    for _ in range(looks - 1):
        found.look()
    assert plugin.killed == []
    found.look()
    assert plugin.killed == [10]


def test_nobody_is_started_whom_nobody_wants(plugin: Plugin) -> None:
    """A quit, a stop of everything, a stop of the plugin."""
    wanted = [True]
    loop: Any = Loop()
    found = Guard(loop, lambda: plugin if wanted[0] else None)
    for _ in range(10):
        found.look()
    wanted[0] = False
    plugin.dead.add(10)
    plugin.watch.call()
    found.look()
    assert plugin.starts == 0
    assert plugin.watch.closed


def test_a_watcher_that_circus_has_given_up_is_started_when_its_lock_is_free(plugin: Plugin) -> None:
    """It could start no process: there may be descriptors again."""
    found = watching(plugin, 3)
    plugin.down, plugin.locked = True, True
    found.look()
    assert plugin.down
    plugin.locked = False
    found.look()
    assert not plugin.down


def test_it_looks_again_each_second_until_it_is_closed(plugin: Plugin) -> None:
    """And then never."""
    loop = Loop()
    found = Guard(loop, lambda: plugin)  # type: ignore[arg-type] # as much of a loop as is needed
    found.begin()
    loop.later.pop()()
    found.close()
    loop.later.pop()()
    assert loop.later == []
