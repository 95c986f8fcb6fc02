"""Programs that nobody here wrote, as ``examples/foreign`` documents them: started, killed, frozen and stopped.

The fleet under test is a copy of the example, with free ports and a faster pace; everything else is as a user finds it.
Most tests share one fleet: each waits for it to be whole, and looks at the journal from there on only.
"""

import contextlib
import os
import re
import shutil
import signal
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import requests

from aurora_circus import fleetfile, ports, processes, render
from aurora_circus.facts import Process
from tests.e2e.harness import WINDOWS, Fleet, Json, kill, seqs_are_whole

pytestmark = pytest.mark.skipif(
    WINDOWS, reason="one of the four is started by a Unix shell, and Wine hands no socket on to uvicorn's workers"
)
EXAMPLE = Path(__file__).parents[2] / "examples" / "foreign"
KEYS = ("files", "httpbin", "datasette", "starlette")
PACE = {"probe": {"interval": 0.3, "timeout": 2.0, "failure_threshold": 2}, "stop": {"graceful_timeout": 5.0}}
"""Looks often; for the rest, what a user has who says nothing."""


@contextlib.contextmanager
def foreign_fleet(folder: Path) -> Iterator[Fleet]:
    """Start the example in ``folder``, all healthy; end it afterwards, whatever becomes of it."""
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(".aurora", "circus.ini"), dirs_exist_ok=True)
    example = tomllib.loads((EXAMPLE / "fleet.toml").read_text(encoding="utf-8"))
    systems = {key: without_port(table) for key, table in example.pop("system").items()}
    running = Fleet(folder, systems, **{**PACE, **example, "api": without_port(example["api"])})
    try:
        yield running.start()
    finally:
        running.end()


def without_port(table: Json) -> Json:
    """Return a table of the example, for the harness to give it a port that is free."""
    return {name: value for name, value in table.items() if name != "port"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One fleet for all tests that leave it whole."""
    with foreign_fleet(tmp_path_factory.mktemp("foreign")) as running:
        yield running


@pytest.fixture
def running(shared: Fleet) -> Fleet:
    """The shared fleet, whole, whatever an earlier test did to it."""
    shared.all_healthy()
    return shared


def leaders(running: Fleet) -> dict[str, Process]:
    """Return the leader of each system's process group."""
    found = {key: processes.identify(pid) for key, pid in running.pids().items()}
    return {key: each for key, each in found.items() if each is not None}


def last(running: Fleet) -> int:
    """Return the newest number in the journal."""
    return int(running.journal()[-1]["seq"])


def details(running: Fleet, name: str, key: str, *, after: int) -> Json:
    """Wait for an event of a system that came after a number, and return its details."""

    def look() -> Json | None:
        return next((each["details"] for each in running.events(name, key) if each["seq"] > after), None)

    return running.until(f"{name} {key} after {after}", look)


def dependencies(running: Fleet) -> list[tuple[str, str]]:
    """Return (a system, one that it depends on), for all of them."""
    return [(key, other) for key, each in running.status().items() for other in each["depends_on"]]


def test_the_example_is_good_as_it_stands() -> None:
    """Its own ports and folders are accepted and rendered; what it is to be installed with is what runs here."""
    config = fleetfile.load(str(EXAMPLE / "fleet.toml"))
    assert {system.key for system in config.systems} == set(KEYS)
    assert "[watcher:starlette]" in render.render(config, python=sys.executable)
    readme = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    named = re.search(r"pip install (.+)", readme)
    assert named is not None
    assert all(version(name) for name in named[1].split())
    assert all(str(system.port) in readme for system in config.systems)
    assert str(config.fleet.api.port) in readme


def test_they_come_up_in_dependency_order(running: Fleet) -> None:
    """Nobody is started before what it depends on is healthy, each by a health of its own, and none has metrics."""
    order = [(each["event"], each["server"]) for each in running.journal()]
    assert len(dependencies(running)) == 3
    for key, other in dependencies(running):
        assert order.index(("server_started", other)) < order.index(("server_starting", key))
    status = running.status()
    assert {key: each["port"] for key, each in status.items()} == running.ports
    assert {key: each["reported"] for key, each in status.items()} == {key: [] for key in KEYS}
    assert [each["error"] for each in status.values()] == [None] * len(KEYS)
    versions = requests.get(f"http://127.0.0.1:{running.ports['datasette']}/-/versions.json", timeout=20).json()
    assert versions["datasette"]["version"] == version("datasette")
    seqs_are_whole(running.journal())


@pytest.mark.parametrize("key", KEYS)
def test_a_killed_one_is_healthy_in_a_new_process(running: Fleet, key: str) -> None:
    """kill -9 of the process that was started: its workers are gone as well, and nobody else is touched."""
    before, groups, mark = running.pids(), leaders(running), last(running)
    kill(before[key])
    pid = running.new_process(key, before[key])
    exited = details(running, "server_exited", key, after=mark)
    assert (exited["signal"], exited["pid"]) == ("SIGKILL", before[key])
    assert details(running, "server_recovered", key, after=mark)["pid"] == pid
    assert processes.members(groups[key]) == []
    assert {**running.pids(), key: before[key]} == before


def test_frozen_ones_are_noticed_and_brought_back(running: Fleet) -> None:
    """SIGSTOP to every process of all four: connects still work, nothing answers, and no force is needed."""
    before, groups, mark = running.pids(), leaders(running), last(running)
    for pid in before.values():
        os.killpg(pid, signal.SIGSTOP)
    for key, old in before.items():
        pid = running.new_process(key, old)
        assert "no answer within 2 s" in details(running, "server_unhealthy", key, after=mark)["reason"]
        exited = details(running, "server_exited", key, after=mark)
        assert exited["pid"] == old
        assert exited["signal"] in {"SIGTERM", None}
        assert details(running, "server_recovered", key, after=mark)["pid"] == pid
        assert processes.members(groups[key]) == []


def test_its_end_is_in_reverse_order_and_leaves_nothing(tmp_path: Path) -> None:
    """SIGTERM to circusd: what depends on another goes before it; no process of any group, no port, no force needed."""
    with foreign_fleet(tmp_path) as running:
        groups, pairs = leaders(running), dependencies(running)
        assert set(groups) == set(KEYS)
        assert len(processes.members(groups["starlette"])) > 2
        assert running.circusd is not None
        os.kill(running.circusd.pid, signal.SIGTERM)
        assert running.ended() == 0
        stopped = [each["server"] for each in running.events("server_stopped")]
        assert sorted(stopped) == sorted(KEYS)
        assert all(stopped.index(key) < stopped.index(other) for key, other in pairs)
        assert not running.events("restart_scheduled")
        assert {each["details"]["signal"] for each in running.events("server_exited")} <= {"SIGTERM", None}
        assert [processes.members(each) for each in groups.values()] == [[]] * len(KEYS)
        assert running.leftovers() == []
        assert not any(ports.listening(port) for port in (*running.ports.values(), running.api_port))
        seqs_are_whole(running.journal())
