"""What others do to the journal and to the logs while the fleet runs: nothing stops, it is said, and it mends itself.

After each fault the journal is verified as an operator would: by ``events --verify``.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aurora_circus import witness
from aurora_circus.cli import cli
from tests import journals
from tests.e2e.harness import Json, kill, unix_only
from tests.faults.arena import Arena, MakeArena
from tests.faults.disks import take_away
from tests.platforms import WINDOWS, fifos, links

PAIR: dict[str, Json] = {"one": {}, "two": {}}
held_open = pytest.mark.skipif(WINDOWS, reason="Windows renames or removes no directory in which somebody has a file")


def logs(fleet: Arena) -> Path:
    """Where the journal and the logs lie."""
    return fleet.folder / ".aurora" / "logs"


def journal(fleet: Arena) -> Path:
    """The journal itself."""
    return logs(fleet) / "events.jsonl"


def events(fleet: Arena, *words: str) -> Result:
    """Run ``aurora-circus events``."""
    return CliRunner().invoke(cli, ["events", "--fleet", str(fleet.folder / "fleet.toml"), *words])


def verified(fleet: Arena, code: int = 0) -> Json:
    """What ``events --verify`` says, and that it ends with this exit code."""
    result = events(fleet, "--verify", "--json")
    assert result.exit_code == code, result.output
    return dict(json.loads(result.stdout))


def newest(fleet: Arena) -> int:
    """The number of the newest record, be it written or not."""
    return int(fleet.get("/api/autonomous/events?limit=1")["events"][-1]["seq"])


def health(fleet: Arena) -> tuple[int, str]:
    """The status of the controller's own health, and what it complains of."""
    answer = fleet.session.get(f"{fleet.url}/health", timeout=10)
    return answer.status_code, str(answer.json().get("error"))


def complains(fleet: Arena, word: str) -> None:
    """Wait until the controller's own health is 503 and says this word."""
    fleet.until(f"a /health that says {word}", lambda: health(fleet)[0] == 503 and word in health(fleet)[1])


def is_well(fleet: Arena) -> None:
    """Wait until the controller complains of nothing."""
    fleet.until("a /health of 200", lambda: health(fleet)[0] == 200)


def written(fleet: Arena, seq: int) -> None:
    """Wait until the record of this number is in the file of that name."""
    fleet.until(f"record {seq} on the disk", lambda: [each for each in fleet.journal() if each["seq"] >= seq])


def settled(fleet: Arena) -> int:
    """Wait until all that comes of the start is on the disk, and return the last number: now nothing happens."""
    for key in fleet.ports:
        fleet.event("server_started", key)
    last = newest(fleet)
    written(fleet, last)
    return last


def bounced(fleet: Arena, key: str) -> None:
    """Kill a system and wait until it is healthy again: there is something to be written."""
    old = fleet.pids()[key]
    kill(old)
    fleet.new_process(key, old)


# --- What is rotated, emptied or taken away by others


def renamed(path: Path) -> None:
    """As logrotate does without ``dateext``."""
    path.rename(path.with_name("events.jsonl.1"))


def dated(path: Path) -> None:
    """As logrotate does with ``dateext``."""
    path.rename(path.with_name("events.jsonl-20260102"))


def emptied(path: Path) -> None:
    """As logrotate does with ``copytruncate``, while nothing is written meanwhile."""
    shutil.copy(path, path.with_name("events.jsonl.1"))
    os.truncate(path, 0)


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(renamed, marks=[pytest.mark.fault("journal", "rotated by logrotate"), pytest.mark.quick]),
        pytest.param(dated, marks=pytest.mark.fault("journal", "rotated by logrotate with dateext")),
        pytest.param(emptied, marks=pytest.mark.fault("journal", "rotated by logrotate with copytruncate")),
    ],
)
def test_a_journal_that_others_rotate_goes_on(arena: MakeArena, how: Callable[[Path], None]) -> None:
    """The next record is in a file of that name again, numbers and chain go on, and no reader misses one."""
    fleet = arena(PAIR, journal={"heartbeat": 0})
    before = settled(fleet)
    fleet.strike(lambda: how(journal(fleet)))
    bounced(fleet, "one")
    last = newest(fleet)
    written(fleet, last)
    assert fleet.journal()[0]["seq"] == before + 1
    found = verified(fleet)
    assert found["records"] >= last
    assert [each["first"] for each in found["files"]] == [1, before + 1]
    if how is not dated:  # its name is not one of ours: readers of the API begin with the current file
        fleet.holds()
    else:
        fleet.holds(but={"replay", "order", "seq"})


@pytest.mark.fault("journal", "removed")
def test_a_journal_that_is_removed_begins_again_with_the_next_number(arena: MakeArena) -> None:
    """What was in it is gone; numbers and chain go on in a new file."""
    fleet = arena(PAIR, journal={"heartbeat": 0})
    before = settled(fleet)
    fleet.strike(journal(fleet).unlink)
    bounced(fleet, "one")
    written(fleet, newest(fleet))
    assert fleet.journal()[0]["seq"] == before + 1
    (note,) = verified(fleet)["notes"]
    assert (note["what"], note["seq"]) == ("starts", before + 1)
    fleet.holds()


# --- What is put in its place


def directory(path: Path) -> Callable[[], None]:
    """Make a directory there, with something in it; return what takes it away."""
    path.mkdir()
    (path / "something").touch()
    return lambda: shutil.rmtree(path)


def fifo(path: Path) -> Callable[[], None]:
    """Make a FIFO there that nobody reads."""
    os.mkfifo(path)
    return path.unlink


def dead_link(path: Path) -> Callable[[], None]:
    """Make a link there that leads nowhere, and nowhere it could lead to."""
    path.symlink_to(path.parent / "no" / "such" / "place")
    return path.unlink


@pytest.mark.parametrize(
    ("put", "word"),
    [
        pytest.param(
            directory,
            "events.jsonl",
            marks=[pytest.mark.fault("journal", "a directory in its place"), pytest.mark.quick],
        ),
        pytest.param(fifo, "not a regular file", marks=[pytest.mark.fault("journal", "a FIFO in its place"), fifos]),
        pytest.param(
            dead_link, "No such file", marks=[pytest.mark.fault("journal", "a dead link in its place"), links]
        ),
    ],
)
def test_a_journal_that_cannot_be_written_is_said_and_made_up_for(
    arena: MakeArena, put: Callable[[Path], Callable[[], None]], word: str
) -> None:
    """Systems are brought back meanwhile; when its place is free again, all that was recorded is written."""
    fleet = arena(PAIR)
    written(fleet, newest(fleet))
    journal(fleet).rename(journal(fleet).with_name("events.jsonl.1"))
    clear = put(journal(fleet))
    bounced(fleet, "one")
    complains(fleet, word)
    last = newest(fleet)
    clear()
    is_well(fleet)
    written(fleet, last)
    fleet.holds()
    found = verified(fleet)
    assert (found["files"][0]["first"], found["notes"]) == (1, [])


@pytest.mark.fault("journal", "a link to another place in its place")
@links
def test_a_link_in_the_journals_place_is_followed(arena: MakeArena) -> None:
    """Whoever wants it on another disk may have it there."""
    fleet = arena(PAIR)
    written(fleet, newest(fleet))
    other = fleet.folder / "elsewhere.jsonl"
    journal(fleet).rename(other)
    journal(fleet).symlink_to(other)
    bounced(fleet, "one")
    written(fleet, newest(fleet))
    assert journal(fleet).is_symlink()
    assert verified(fleet)["notes"] == []
    fleet.holds()


# --- The log directory


@pytest.mark.quick
@held_open
@pytest.mark.fault("journal", "log directory removed")
def test_a_log_directory_that_is_removed_is_made_again(arena: MakeArena) -> None:
    """Systems start all the same, with a log, and the journal goes on in a new file."""
    fleet = arena(PAIR)
    before = settled(fleet)
    fleet.strike(lambda: take_away(logs(fleet)))
    bounced(fleet, "one")
    is_well(fleet)
    written(fleet, newest(fleet))
    assert fleet.journal()[0]["seq"] > before
    assert "one: ready" in (logs(fleet) / "one.log").read_text(encoding="utf-8")
    fleet.holds(but={"replay", "order"})
    verified(fleet)


@held_open
@pytest.mark.fault("journal", "log directory replaced by a file")
def test_a_log_directory_that_cannot_be_made_stops_nothing(arena: MakeArena) -> None:
    """Systems start without a log, which is said; when it can be made again, all is there again, the journal whole."""
    fleet = arena(PAIR)
    written(fleet, newest(fleet))
    aside = logs(fleet).with_name("aside")
    logs(fleet).rename(aside)
    logs(fleet).touch()
    bounced(fleet, "one")
    complains(fleet, "logs")
    seen = fleet.get("/api/autonomous/events?limit=1000&event=controller_error")["events"]
    assert "cannot be made" in seen[0]["details"]["error"]
    logs(fleet).unlink()
    aside.rename(logs(fleet))
    is_well(fleet)
    bounced(fleet, "one")
    assert "one: ready" in (logs(fleet) / "one.log").read_text(encoding="utf-8")
    fleet.holds()
    assert verified(fleet)["notes"] == []


# --- A system's own log


def closed(path: Path) -> Callable[[], None]:
    """Make a file there that nobody but root may open."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        pytest.skip("root may open every file")
    path.touch()
    path.chmod(0)
    return path.unlink


@pytest.mark.parametrize(
    "put",
    [
        pytest.param(directory, marks=pytest.mark.fault("journal", "a directory in the place of a system's log")),
        pytest.param(
            fifo,
            marks=[pytest.mark.fault("journal", "a FIFO in the place of a system's log"), fifos, pytest.mark.quick],
        ),
        pytest.param(closed, marks=[pytest.mark.fault("journal", "a system's log that nobody may open"), unix_only]),
    ],
)
def test_what_lies_in_a_logs_place_keeps_no_system_from_starting(
    arena: MakeArena, put: Callable[[Path], Callable[[], None]]
) -> None:
    """It runs without a log, the journal and ``logs`` say why, and the next start has one again."""
    fleet = arena(PAIR)
    log = logs(fleet) / "one.log"
    log.rename(log.with_name("one.log.old"))
    clear = put(log)
    old = fleet.pids()["one"]
    fleet.strike(lambda: kill(old))
    fleet.back("one", old)
    told = fleet.noticed("controller_error", step="preparing a log")["details"]["error"]
    assert f"{log}: cannot be used" in told
    answer = fleet.session.get(f"{fleet.url}/api/autonomous/logs/one", timeout=10)
    assert (answer.status_code, "one.log: cannot be read" in answer.json()["error"]) == (500, True)
    assert "cannot be read" in fleet.get("/api/autonomous/explain/one")["output_error"]
    clear()
    bounced(fleet, "one")
    assert "one: ready" in log.read_text(encoding="utf-8")
    fleet.holds()
    verified(fleet)


@fifos
@pytest.mark.fault("journal", "a FIFO in the place of the plugin's log")
def test_what_lies_in_the_plugins_logs_place_keeps_it_from_nothing(arena: MakeArena) -> None:
    """The next plugin comes up without a log."""
    fleet = arena(PAIR)
    plugin, before = fleet.plugin(), fleet.pids()
    log = logs(fleet) / "aurora.log"
    log.unlink()
    os.mkfifo(log)
    fleet.strike(lambda: kill(plugin))
    fleet.noticed("controller_started")
    fleet.holds()
    assert fleet.pids() == before


# --- Crashes, and what is done while nothing runs


@pytest.mark.fault("journal", "torn last line at the start")
def test_a_torn_last_line_is_mended_at_the_start(arena: MakeArena) -> None:
    """A gap keeps what stood of it, and the journal is whole."""
    fleet = arena(PAIR)
    fleet.lose_circusd()
    last = fleet.journal()[-1]["seq"]
    with journal(fleet).open("ab") as file:
        file.write(b'{"timestamp": "2026-01-02T03')
    assert verified(fleet)["notes"][-1]["what"] == "torn"
    fleet.strike(fleet.launch)
    fleet.all_healthy()
    gap = fleet.event("journal_gap")
    assert (gap["seq"], gap["details"]["torn"]) == (last + 1, '{"timestamp": "2026-01-02T03')
    fleet.holds()
    (note,) = verified(fleet)["notes"]
    assert (note["what"], note["seq"]) == ("gap", last + 1)


@pytest.mark.fault("journal", "end cut off while nothing ran")
def test_an_end_that_was_cut_off_is_told_before_and_after_the_start(arena: MakeArena) -> None:
    """The saved state knows of it; afterwards a gap does, and no number is given twice."""
    fleet = arena(PAIR)
    bounced(fleet, "one")
    fleet.lose_circusd()
    known = json.loads((fleet.folder / ".aurora" / "run" / "state.json").read_bytes())["journal"]["seq"]
    whole = journal(fleet).read_bytes().splitlines(keepends=True)
    kept = known - 3
    journal(fleet).write_bytes(b"".join(whole[:kept]))
    (finding,) = verified(fleet, 1)["findings"]
    assert (finding["what"], finding["seq"], finding["last"]) == ("gone", kept + 1, known)
    fleet.strike(fleet.launch)
    fleet.all_healthy()
    gap = fleet.event("journal_gap")["details"]
    assert (gap["first"], gap["gone"]) == (kept + 1, True)
    assert gap["last"] >= known
    fleet.holds()
    (finding,) = verified(fleet, 1)["findings"]
    assert (finding["what"], finding["seq"]) == ("gone", kept + 1)


@pytest.mark.fault("journal", "lines changed, removed and moved while the fleet runs")
def test_what_was_done_to_lines_is_named(arena: MakeArena) -> None:
    """File, line and number; the fleet does not mind, and after the lines are put back the journal is whole."""
    fleet = arena(PAIR, journal={"heartbeat": 0})
    assert settled(fleet) > 6
    path = journal(fleet)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    assert verified(fleet)["agreed_by"][-1] == "the API"
    forged = lines[1].replace(b'"event": "', b'"event": "un', 1)
    path.write_bytes(b"".join([lines[0], forged, lines[2], lines[5], lines[4], *lines[6:]]))
    result = events(fleet, "--verify")
    assert result.exit_code == 1
    named = [line for line in result.stdout.splitlines() if line.startswith("broken")]
    assert [line.split("events.jsonl, ")[1].split(": ")[0] for line in named] == [
        "line 2, seq 2",
        "line 4, seq 4",
        "line 5, seq 5",
    ]
    path.write_bytes(whole)
    fleet.holds()
    assert verified(fleet)["findings"] == []


@pytest.mark.fault("journal", "plugin killed again and again in the middle of writing")
def test_no_crash_of_the_plugin_breaks_the_chain(arena: MakeArena) -> None:
    """Each goes on where the last one was, whatever it was doing."""
    policy = {"max_retries": 1000}
    fleet = arena(PAIR, restart=policy, journal={"heartbeat": 0.05, "max_bytes": 4000, "backups": 1000})
    gone: int | None = None

    def another() -> int | None:
        found = fleet.plugin_pid()
        return found if found != gone and fleet.status() else None

    for _ in range(5):
        gone = fleet.until("another plugin", another)
        kill(gone)
        fleet.until("another plugin", another)
        bounced(fleet, "one")
    fleet.holds()
    found = verified(fleet)
    assert len(found["files"]) > 2
    assert found["notes"] == []
    fleet.figure("records verified", found["records"], "records")
    said = journals.documented()
    for each in witness.journal(fleet.config().fleet):
        assert set(each["details"]) <= said[each["event"]], f"not in docs/journal.md: {each}"
