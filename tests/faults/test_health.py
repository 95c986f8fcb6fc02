"""What /health may answer: what the system becomes by it, and that nobody beside it notices.

For each line, ``noticed`` is from the first bad answer that was possible to the journal's record; ``back`` is of a
system beside it that is killed while the bad answers go on.
"""

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.harness import PROBE_TIMEOUT, Json, kill, listener, needs_owners
from tests.faults.arena import Arena, MakeArena

ROGUE = Path(__file__).with_name("rogue.py")
MOST_GROWTH = 64
"""Megabytes that the plugin may take more after some probes of whatever kind: 1 GB of body must not be among them."""
PATIENT = 10.0
"""Seconds for an answer that comes, however busy the machine is."""
NO_HTTP = "no HTTP/1.1 came back"
NOTHING_TOLD: Json = {"tasks_processed": 0, "decisions_made": 0, "systems_healed": 0, "last_activity": "unknown"}


def systems(tmp_path: Path, timeout: float = PATIENT) -> dict[str, Json]:
    """Return the rogue and a system beside it; ``timeout`` is the rogue's probes'."""
    command = f'{{python}} "{ROGUE}" "{tmp_path}"'
    return {"rogue": {"command": command, "probe": {"timeout": timeout}}, "beside": {"probe": {"timeout": PATIENT}}}


def line(what: str, *values: object, quick: bool = False) -> object:
    """Return the values of one line of the matrix."""
    marks = [pytest.mark.fault("health", what), *([pytest.mark.quick] if quick else [])]
    return pytest.param(*values, marks=marks, id=what)


def memory(fleet: Arena) -> float:
    """Return the plugin's own megabytes."""
    return float(psutil.Process(fleet.plugin()).memory_info().rss) / 1e6


def checked_again(fleet: Arena, key: str, times: int = 2) -> None:
    """Wait until a system has been looked at so many times more."""
    for _ in range(times):
        last = fleet.status()[key]["last_check"]
        fleet.until(f"another probe of {key}", lambda last=last: fleet.status()[key]["last_check"] != last)  # type: ignore[misc] # bound now


def asked(fleet: Arena, mode: str, times: int) -> None:
    """Wait until the rogue has answered so many times in a mode."""
    file = fleet.folder / "rogue.asked"
    fleet.until(f"{times} answers of {mode}", lambda: file.exists() and file.read_text().split().count(mode) >= times)


def nobody_beside_it_suffers(fleet: Arena, before: dict[str, int]) -> None:
    """Look at the system beside: it is probed, and when it is killed, it comes back."""
    checked_again(fleet, "beside")
    assert fleet.pids()["beside"] == before["beside"]
    fleet.strike(lambda: kill(before["beside"]))
    fleet.back("beside", before["beside"])


@pytest.mark.parametrize(
    ("mode", "reason", "timeout"),
    [
        line("refused", "refused", "connection refused", PATIENT, quick=True),
        line("accepted and silent", "silent", "no answer within", PROBE_TIMEOUT, quick=True),
        line("one byte a second", "drip", "no answer within", PROBE_TIMEOUT),
        line("headers for ever", "headers", NO_HTTP, PATIENT),
        line("100 Continue for ever", "interim", f"{NO_HTTP}: no status in", PATIENT),
        line("a redirect loop", "loop", "answered 302", PATIENT),
        line("204", "204", "answered 204", PATIENT),
        line("301", "301", "answered 301", PATIENT),
        line("404", "404", "answered 404", PATIENT),
        line("429", "429", "answered 429", PATIENT),
        line("500", "500", "answered 500", PATIENT, quick=True),
        line("503 with Retry-After: an hour", "later", "answered 503", PATIENT),
        line("status: fail", "fail", "says 'fail'", PATIENT),
        line("closed early", "early", NO_HTTP, PATIENT),
        line("HTTP/0.9", "old", NO_HTTP, PATIENT),
        line("60 KB that are no status line", "shout", f"{NO_HTTP}: illegal status line", PATIENT),
        line("TLS on the port", "tls", f"{NO_HTTP}|the connection was broken off", PATIENT),
    ],
)
def test_what_is_no_health_is_noticed_and_said_in_words(
    arena: MakeArena, tmp_path: Path, mode: str, reason: str, timeout: float
) -> None:
    """It is brought down and started again; as soon as it answers well, it is healthy, all by itself."""
    fleet = arena(systems(tmp_path, timeout))
    before, held = fleet.pids(), memory(fleet)
    fleet.strike(lambda: fleet.mode("rogue", mode))
    told = str(fleet.noticed("server_unhealthy", "rogue")["details"]["reason"])
    assert re.search(reason, told)
    assert len(told) < 400, "what came is quoted, its beginning"
    nobody_beside_it_suffers(fleet, before)
    assert not fleet.status()["rogue"]["healthy"]
    grown = memory(fleet) - held
    assert grown < MOST_GROWTH
    fleet.figure("plugin grew", round(max(0.0, grown), 1), "MB")
    fleet.mode("rogue", "well")
    fleet.new_process("rogue", before["rogue"])
    fleet.holds()


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        line("a body of 1 GB", "huge", {}, quick=True),
        line("chunked without end", "chunked", {}),
        line("chunks of a byte with 30 KB of extensions", "extensions", {}),
        line("a gzip bomb", "bomb", {}),
        line("invalid JSON", "invalid", {}),
        line("JSON of depth 10,000", "deep", {}),
        line("NaN and infinity", "nan", {"systems_healed": 3}),
        line("wrong types in the metrics", "wrong", {}),
        line("HTML", "html", {}),
        line("status: warn", "warn", {}),
        line("status: pass", "pass", {}),
    ],
)
def test_a_200_is_health_with_the_metrics_that_can_be_believed(
    arena: MakeArena, tmp_path: Path, mode: str, told: Json
) -> None:
    """It stays healthy in the process that it is, however much or little sense the body makes."""
    fleet = arena(systems(tmp_path))
    before, held = fleet.pids(), memory(fleet)
    assert fleet.status()["rogue"]["tasks_processed"] == 7
    fleet.strike(lambda: fleet.mode("rogue", mode))
    asked(fleet, mode, 2)
    checked_again(fleet, "rogue")
    nobody_beside_it_suffers(fleet, before)
    asked(fleet, mode, 5)
    found = fleet.status()["rogue"]
    assert (found["healthy"], found["error"], found["pid"]) == (True, None, before["rogue"])
    assert found["reported"] == sorted(told)
    assert {name: found[name] for name in NOTHING_TOLD} == {**NOTHING_TOLD, **told}
    assert not fleet.since("server_unhealthy", "rogue")
    grown = memory(fleet) - held
    assert grown < MOST_GROWTH
    fleet.figure("plugin grew", round(max(0.0, grown), 1), "MB")
    fleet.mode("rogue", "well")
    fleet.until("its metrics again", lambda: fleet.status()["rogue"]["tasks_processed"] == 7)


@contextlib.contextmanager
def elsewhere() -> Iterator[tuple[int, list[object]]]:
    """Listen on another port, and note who comes."""
    came: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as other:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, address = other.accept()
                    came.append(address)
                    connection.close()

        threading.Thread(target=accept, daemon=True).start()
        yield other.getsockname()[1], came


@pytest.mark.fault("health", "a redirect to another host")
def test_a_redirect_leads_nowhere(arena: MakeArena, tmp_path: Path) -> None:
    """Nobody goes where a system sends him: it could be anywhere, with whatever in the address."""
    fleet = arena(systems(tmp_path))
    before = fleet.pids()
    with elsewhere() as (port, came):
        fleet.strike(lambda: fleet.mode("rogue", f"to=http://127.0.0.1:{port}/health"))
        assert "answered 307" in fleet.noticed("server_unhealthy", "rogue")["details"]["reason"]
        nobody_beside_it_suffers(fleet, before)
        fleet.mode("rogue", "well")
        fleet.new_process("rogue", before["rogue"])
        assert not came


@pytest.mark.fault("health", "an impostor on the port")
def test_an_impostor_is_not_health(arena: MakeArena, tmp_path: Path) -> None:
    """Another program that answers 200 in the system's place is named, and the system is not taken for healthy."""
    needs_owners()
    fleet = arena(systems(tmp_path))
    before = fleet.pids()
    fleet.mode("rogue", "refused")
    fleet.event("server_unhealthy", "rogue")
    with fleet.strike(lambda: listener(fleet.ports["rogue"])) as other:
        found = fleet.noticed("port_conflict", "rogue")["details"]
        assert found["pid"] == other.pid
        nobody_beside_it_suffers(fleet, before)
        status = fleet.status()["rogue"]
        assert not status["healthy"]
        assert str(other.pid) in status["error"]
    fleet.mode("rogue", "well")
    fleet.new_process("rogue", before["rogue"])
    fleet.holds()
