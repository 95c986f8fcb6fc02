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
        monkeypatch.setattr(processes, "glance", self._glance)
        monkeypatch.setattr(processes, "stopped", lambda each: each.pid in self.halted)
        monkeypatch.setattr(processes, "watch", lambda _: self._watch())
        monkeypatch.setattr(processes, "kill", lambda each: self.killed.append(each.pid))

    def _glance(self, pid: int) -> tuple[Process, processes.How]:
        return Process(pid, 1.0), "ended" if pid in self.dead else "stopped" if pid in self.halted else "runs"

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


class Timer:
    """What is to happen later."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        """Never do it."""
        self.cancelled = True


class Loop:
    """A loop whose time is up when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0
        self.later: list[Timer] = []
        self.waits: list[float] = []
        self.soon: list[Callable[[], object]] = []

    def time(self) -> float:
        """Return what the test says."""
        return self.now

    def call_soon(self, call: Callable[[], object]) -> None:
        """Keep it."""
        self.soon.append(call)

    def call_later(self, delay: float, call: Callable[[], object]) -> Timer:
        """Keep it."""
        self.later.append(Timer(call))
        self.waits.append(delay)
        return self.later[-1]

    def turn(self) -> None:
        """Let the one timer that is set have its time."""
        (timer,) = [each for each in self.later if not each.cancelled]
        self.later.clear()
        timer.call()


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


def test_one_that_dies_young_waits_for_the_next_look(plugin: Plugin) -> None:
    """No hot loop."""
    found = watching(plugin, guard.YOUNG)
    plugin.dead.add(10)
    plugin.watch.call()
    assert plugin.starts == 0
    found.look()
    assert plugin.starts == 1


def test_the_look_after_an_early_end_does_not_wait_for_its_time(plugin: Plugin) -> None:
    """The API is away."""
    loop = Loop()
    found = Guard(loop, lambda: plugin)  # type: ignore[arg-type] # as much of a loop as is needed
    found.begin()
    plugin.dead.add(10)
    plugin.watch.call()
    loop.turn()
    assert plugin.starts == 1
    assert loop.waits == [guard.LOOK, guard.MISSING_LOOK, guard.LOOK]


def test_what_else_is_looked_after_is_so_whatever_becomes_of_the_plugin(
    plugin: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a descriptor nobody can be seen, and the others may end all the same."""

    def unseen(_: int) -> None:
        raise OSError

    monkeypatch.setattr(processes, "glance", unseen)
    loop, others = Loop(), list[float]()
    found = Guard(loop, lambda: plugin, lambda: others.append(loop.now))  # type: ignore[arg-type] # as above
    with pytest.raises(OSError):  # noqa: PT011 - it says nothing
        found.begin()
    assert others == [loop.now]
    assert loop.waits == [guard.MISSING_LOOK]


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


def test_a_stopped_one_is_looked_at_at_once_and_more_often(plugin: Plugin) -> None:
    """From the event on, until it is ended or goes on: meanwhile nobody watches the fleet."""
    loop = Loop()
    found = Guard(loop, lambda: plugin)  # type: ignore[arg-type] # as much of a loop as is needed
    found.begin()
    found.child()  # of another one
    plugin.halted.add(10)
    found.child()
    found.child()  # what others do meanwhile does not count
    plugin.halted.clear()
    loop.turn()
    assert loop.waits == [guard.LOOK, guard.STOPPED_LOOK, guard.LOOK]


def test_the_first_sign_of_life_makes_a_new_one_known(plugin: Plugin) -> None:
    """From then on its stop is an event."""
    loop = Loop()
    there = [False]
    found = Guard(loop, lambda: plugin if there[0] else None)  # type: ignore[arg-type] # as much of a loop as is needed
    found.begin()
    there[0] = True
    found.beat()
    found.beat()
    (soon,) = loop.soon
    soon()
    plugin.halted.add(10)
    found.child()
    assert loop.waits == [guard.MISSING_LOOK, guard.LOOK, guard.STOPPED_LOOK]


def test_a_sign_of_life_once_a_second_is_what_it_looks_by(plugin: Plugin) -> None:
    """Once for each second's, after what it came with; and by the timer where none comes."""
    loop, others = Loop(), list[float]()
    found = Guard(loop, lambda: plugin, lambda: others.append(loop.now))  # type: ignore[arg-type] # as above
    found.begin()
    for _ in range(3):
        loop.now += 1.0
        found.beat()
        found.beat()
        (soon,) = loop.soon
        loop.soon.clear()
        assert others[-1] < loop.now
        soon()
    found.beat()
    assert loop.soon == []
    loop.now += guard.LOOK
    loop.turn()
    assert others == [100.0, 101.0, 102.0, 103.0, 103.0 + guard.LOOK]


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


def test_it_looks_again_and_again_until_it_is_closed(plugin: Plugin) -> None:
    """And then never."""
    loop = Loop()
    found = Guard(loop, lambda: plugin)  # type: ignore[arg-type] # as much of a loop as is needed
    found.begin()
    loop.turn()
    found.close()
    loop.turn()
    assert loop.later == []
