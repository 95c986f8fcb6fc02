"""A disk that is full, and files that may not grow: nothing stops, it is said, and it mends itself when there is room.

The disk is a small one made for the test; the machine's own is not touched.
"""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from aurora_circus.cli import cli
from tests.e2e.harness import Json, kill
from tests.faults.arena import Arena, MakeArena
from tests.faults.disks import SmallDisk, small_disk

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither mount namespaces nor limits")
NO_ROOM = "no room is left on the disk"
PAIR: dict[str, Json] = {"one": {}, "two": {}}
TALKATIVE = {"heartbeat": 0.1}
"""Has the journal soon fill what is left of its last block, which a full disk still has for it."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A small disk. Ask for it before the arena: then it is there until the fleets have ended."""
    with small_disk(tmp_path / "disk") as made:
        yield made


def complains(fleet: Arena, *words: str) -> str:
    """Wait until the controller's own health names all of these, and return what it says."""

    def look() -> str | None:
        answer = fleet.session.get(f"{fleet.url}/health", timeout=10)
        said = str(answer.json().get("error"))
        return said if answer.status_code == 503 and all(word in said for word in words) else None

    return fleet.until(f"a /health that says {words}", look)


def is_well(fleet: Arena) -> None:
    """Wait until the controller complains of nothing."""
    fleet.until("a /health of 200", lambda: fleet.session.get(f"{fleet.url}/health", timeout=10).status_code == 200)


def seen(fleet: Arena) -> list[Json]:
    """What the API has of the journal, which may be more than the disk has."""
    return list(fleet.get("/api/autonomous/events?limit=1000")["events"])


def newest(fleet: Arena) -> int:
    """The number of the newest record, written or not."""
    return int(seen(fleet)[-1]["seq"])


def verified(fleet: Arena) -> Json:
    """What ``events --verify`` says of a journal that must be whole."""
    result = CliRunner().invoke(cli, ["events", "--verify", "--json", "--fleet", str(fleet.folder / "fleet.toml")])
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def goes_on_without_a_disk(fleet: Arena, key: str) -> None:
    """A killed system comes back while nothing can be written, and the API tells of it."""
    old = fleet.pids()[key]
    before = newest(fleet)
    fleet.strike(lambda: kill(old))
    new = fleet.new_process(key, old)
    told = [each["event"] for each in seen(fleet) if each["seq"] > before and each["server"] == key]
    assert "server_exited" in told
    assert new in fleet.pids().values()


@contextlib.contextmanager
def limited(fleet: Arena) -> Iterator[None]:
    """Let no file of the plugin grow beyond what the journal has now."""
    import resource  # noqa: PLC0415 - Unix has it

    size = (fleet.folder / ".aurora" / "logs" / "events.jsonl").stat().st_size
    plugin = fleet.plugin()
    before = resource.prlimit(plugin, resource.RLIMIT_FSIZE)
    resource.prlimit(plugin, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(plugin, resource.RLIMIT_FSIZE, before)


@pytest.mark.fault("machine", "disk of the logs full")
def test_a_full_disk_stops_nothing_and_loses_nothing(disk: SmallDisk, arena: MakeArena) -> None:
    """Systems are brought back, /health says why it is 503, and with room again every record is there."""
    fleet = arena(PAIR, fleet={"log_dir": str(disk.path / "logs")}, journal=TALKATIVE)
    disk.fill()
    goes_on_without_a_disk(fleet, "one")
    complains(fleet, "journal:", NO_ROOM)
    goes_on_without_a_disk(fleet, "two")
    last = newest(fleet)
    disk.make_room()
    is_well(fleet)
    fleet.holds()
    assert [each["seq"] for each in fleet.journal()][:last] == [*range(1, last + 1)]
    assert verified(fleet)["notes"] == []


@pytest.mark.fault("machine", "disk full, and the plugin killed meanwhile")
def test_what_a_killed_plugin_could_not_write_is_named_exactly(disk: SmallDisk, arena: MakeArena) -> None:
    """The next one goes on with the numbers, and a journal_gap says which are missing, no more and no fewer."""
    fleet = arena(PAIR, fleet={"log_dir": str(disk.path / "logs")}, journal=TALKATIVE)
    disk.fill()
    goes_on_without_a_disk(fleet, "one")
    complains(fleet, "journal:", NO_ROOM)
    written, state = fleet.journal()[-1]["seq"], fleet.folder / ".aurora" / "run" / "state.json"

    def saved() -> int | None:
        given = int(json.loads(state.read_bytes())["journal"]["given"])
        return given if given > written else None

    given = fleet.until("a saved state with numbers that are not written", saved)
    plugin, before = fleet.plugin(), fleet.pids()
    kill(plugin)
    fleet.until("another plugin", lambda: fleet.plugin_pid() not in {None, plugin} and bool(fleet.status()))
    assert fleet.pids() == before, "nobody was disturbed"
    complains(fleet, "journal:", NO_ROOM)
    disk.make_room()
    is_well(fleet)
    gap = fleet.event("journal_gap")
    assert (gap["details"]["first"], gap["details"]["last"]) == (written + 1, gap["seq"])
    assert gap["seq"] >= given
    fleet.figure("records lost", gap["seq"] - written, "records")
    fleet.holds()
    (note,) = verified(fleet)["notes"]
    assert (note["what"], note["seq"], note.get("last", note["seq"])) == ("gap", written + 1, gap["seq"])


@pytest.mark.fault("machine", "disk full while the whole fleet is restarted")
def test_a_fleet_comes_up_on_a_full_disk(disk: SmallDisk, arena: MakeArena) -> None:
    """circusd ends and is started anew while nothing can be written: all are healthy, and it is said what is wrong."""
    systems: dict[str, Json] = {"one": {}, "two": {"depends_on": ["one"]}}
    fleet = arena(systems, fleet={"log_dir": str(disk.path / "logs")}, journal=TALKATIVE)
    disk.fill()
    fleet.take_down()
    fleet.ended()
    fleet.strike(fleet.launch)
    fleet.all_healthy()
    complains(fleet, "journal:", NO_ROOM)
    disk.make_room()
    is_well(fleet)
    fleet.watch()
    fleet.holds()
    verified(fleet)


@pytest.mark.fault("machine", "disk full while the whole fleet is restarted, all of it on that disk")
def test_a_fleet_comes_up_on_a_disk_that_has_no_room_for_a_pidfile(disk: SmallDisk, arena: MakeArena) -> None:
    """circus itself dies of that; here the fleet comes up, is found, and has its pidfile when there is room."""
    run = disk.path / "run"
    fleet = arena(PAIR, fleet={"log_dir": str(disk.path / "logs"), "run_dir": str(run)}, journal=TALKATIVE)
    fleet.take_down()
    fleet.ended()
    disk.fill()
    fleet.strike(fleet.launch)
    fleet.all_healthy()
    complains(fleet, "journal:", "state:", NO_ROOM)
    assert not (run / "circusd.pid").exists()
    assert fleet.known_circusd().pid == fleet.circusd_pid()
    disk.make_room()
    is_well(fleet)
    text = f"{fleet.circusd_pid()}\n"
    fleet.until("a pidfile", lambda: (run / "circusd.pid").exists() and (run / "circusd.pid").read_text() == text)
    fleet.watch()
    fleet.holds()
    verified(fleet)


@pytest.mark.fault("machine", "disk full, state and sockets on it as well")
def test_a_wish_that_cannot_be_saved_is_accepted_with_a_warning(disk: SmallDisk, arena: MakeArena) -> None:
    """The stop is carried out, the answer says that it will not last, and with room again it does."""
    places = {"log_dir": str(disk.path / "logs"), "run_dir": str(disk.path / "run")}
    fleet = arena(PAIR, fleet=places)
    disk.fill()
    answer = fleet.strike(lambda: fleet.post("/api/autonomous/stop/one")).json()
    fleet.states(one="stopped", two="healthy")
    assert answer["success"]
    assert "should the controller end" in answer["warning"]
    assert NO_ROOM in answer["warning"]
    complains(fleet, "state:", NO_ROOM)
    disk.make_room()
    is_well(fleet)
    assert "warning" not in fleet.post("/api/autonomous/stop/one").json()
    plugin = fleet.plugin()
    kill(plugin)
    fleet.until("another plugin", lambda: fleet.plugin_pid() not in {None, plugin} and bool(fleet.status()))
    fleet.states(one="stopped", two="healthy")
    fleet.holds()


@pytest.mark.quick
@pytest.mark.fault("machine", "files may not grow (RLIMIT_FSIZE)")
def test_a_limit_to_files_stops_nothing_and_loses_nothing(arena: MakeArena) -> None:
    """As a full disk; without it, all that was recorded is written."""
    fleet = arena(PAIR)
    with limited(fleet):
        goes_on_without_a_disk(fleet, "one")
        complains(fleet, "journal:", "may not grow")
        last = newest(fleet)
    is_well(fleet)
    fleet.holds()
    assert [each["seq"] for each in fleet.journal()][:last] == [*range(1, last + 1)]
    assert verified(fleet)["notes"] == []


@pytest.mark.fault("machine", "log directory read-only")
def test_a_log_directory_that_is_read_only_stops_nothing(disk: SmallDisk, arena: MakeArena) -> None:
    """A plugin that starts there cannot write, says so, and supervises; when it is writable, the journal goes on."""
    logs = disk.path / "logs"
    fleet = arena(PAIR, fleet={"log_dir": str(logs)})
    disk.protect(logs)
    plugin, old = fleet.plugin(), fleet.pids()["one"]
    fleet.strike(lambda: kill(plugin))
    fleet.until("another plugin", lambda: fleet.plugin_pid() not in {None, plugin} and bool(fleet.status()))
    complains(fleet, "journal:", "the file system is read-only")
    kill(old)
    fleet.new_process("one", old)
    disk.unprotect(logs)
    is_well(fleet)
    fleet.holds()
    verified(fleet)


def blocked(fleet: Arena) -> Callable[[], None]:
    """Put something in the saved state's place that cannot be replaced, and return what takes it away."""
    state = fleet.folder / ".aurora" / "run" / "state.json"
    state.unlink()
    (state / "in the way").mkdir(parents=True)

    def clear() -> None:
        (state / "in the way").rmdir()
        state.rmdir()

    return clear


@pytest.mark.quick
@pytest.mark.fault("journal", "state.json cannot be written")
def test_a_state_that_cannot_be_saved_is_said_and_made_up_for(arena: MakeArena) -> None:
    """/health is 503 and says why, each accepted wish is answered with a warning, and it lasts once it can be saved."""
    fleet = arena(PAIR)
    clear = blocked(fleet)
    answer = fleet.strike(lambda: fleet.post("/api/autonomous/stop/one")).json()
    assert answer["success"]
    assert "state.json: cannot be written" in answer["warning"]
    fleet.states(one="stopped", two="healthy")
    complains(fleet, "state:", "state.json: cannot be written")
    clear()
    is_well(fleet)
    plugin = fleet.plugin()
    kill(plugin)
    fleet.noticed("controller_started")
    fleet.states(one="stopped", two="healthy")
    fleet.holds()
