"""What a system writes may be too much, no text at all, or without end: nobody but its own log is the worse for it."""

import json

import pytest

from tests.e2e.harness import Json, kill
from tests.faults.arena import MakeArena

PAIR: dict[str, Json] = {"one": {}, "two": {}}
MEGABYTE = 1_000_000


@pytest.mark.fault("systems", "writes 100 MB/s to its output")
def test_a_flood_of_output_harms_nobody_and_stays_bounded(arena: MakeArena) -> None:
    """The other one is killed beside it and is back; the disk has what rotation leaves, and what came since."""
    fleet = arena(PAIR, logs={"max_bytes": MEGABYTE, "backups": 1}, start=False)
    fleet.mode("one", "flood=100")
    fleet.begin()
    before = fleet.pids()
    fleet.strike(lambda: kill(before["two"]))
    fleet.back("two", before["two"])
    fleet.event("log_dropped", "one", nth=2)
    assert fleet.pids()["one"] == before["one"]
    files = sorted((fleet.folder / ".aurora" / "logs").glob("one.log*"))
    assert len(files) == 2
    fleet.figure("its log's backup", files[1].stat().st_size / MEGABYTE, "MB")
    assert files[1].stat().st_size < 2 * MEGABYTE
    fleet.post("/api/autonomous/stop/one?wait=30")
    fleet.states(one="stopped")
    fleet.until("a log that is small again", lambda: files[0].stat().st_size < 1.5 * MEGABYTE)


@pytest.mark.fault("systems", "writes bytes that are no text, escapes, and a line without end")
def test_noise_is_bounded_and_harmless_wherever_it_is_shown(arena: MakeArena) -> None:
    """In explain, in the logs, as the reason of an exit: short JSON, and nothing in it that a terminal obeys."""
    fleet = arena(PAIR, start=False)
    fleet.mode("one", "noise crash")
    fleet.mode("two", "noise")
    fleet.settings["restart"] |= {"max_retries": 0}
    fleet.render()
    fleet.launch()
    fleet.states(one="failed", two="healthy")
    fleet.watch()
    reason = fleet.status()["one"]["error"]
    assert "no flux in one" in reason
    for path in ("explain/two", "logs/two?tail=100", "explain/one", "status"):
        response = fleet.session.get(f"{fleet.url}/api/autonomous/{path}", timeout=30)
        response.raise_for_status()
        assert len(response.content) < MEGABYTE, path
        assert not [each for each in response.content if each < 0x20 and each != 0x0A], path
        json.loads(response.content)
    before = fleet.pids()["two"]
    fleet.strike(lambda: kill(before))
    last = fleet.noticed("server_exited", "two")["details"]["last_line"]
    assert last is None or (last.isprintable() and len(last) <= 500)
