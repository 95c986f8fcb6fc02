"""What systems say, where people see it: nothing that a terminal or a page would obey gets through."""

from pathlib import Path

import pytest

from tests.e2e.harness import Json, listener, toml, unix_only
from tests.faults.arena import Arena, MakeArena
from tests.faults.cli import obeyed, on_terminal, run
from tests.faults.clients import ROOT, ask, is_json

ROGUE = Path(__file__).with_name("rogue.py")
OWNED = "owned"
"""A word of the rogue's title, which is left where it could be read and not where it would be obeyed."""


def systems(folder: Path) -> dict[str, Json]:
    """Return systems that say what is hostile: in health and output, in what is no health, in dying, in their title."""
    command = f'{{python}} "{ROGUE}" "{folder}"'
    once = {"max_retries": 1, "backoff_base": 0.05}
    return {
        "hostile": {"command": command},
        "curse": {"command": command, "restart": {**once, "start_timeout": 3.0}},  # it lives, and is never healthy
        "die": {"command": command, "restart": once},
        "taken": {"restart": once},
    }


def hostile(arena: MakeArena, tmp_path: Path) -> Arena:
    """Return such a fleet, with fleet.toml written, and nothing running."""
    fleet = arena(systems(tmp_path), start=False)
    for key in ("hostile", "curse", "die"):
        fleet.mode(key, key)
    (tmp_path / "fleet.toml").write_text(toml(fleet.settings), encoding="utf-8")
    return fleet


IMPOSTOR = (
    "import http.server, sys\n"
    "s = http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.BaseHTTPRequestHandler)\n"
    "print('ready', flush=True); s.serve_forever()  # \x1b[2J\x1b]0;owned\x07\x9b31m\u202e"
)


@pytest.mark.fault("api", "HTML and escapes in health data, output, last words and commands: on a terminal")
@unix_only
@pytest.mark.timeout(400)  # fifteen programs in turn, on a machine that may be busy
def test_nothing_that_a_system_says_steers_a_terminal(arena: MakeArena, tmp_path: Path) -> None:
    """Every command that shows what others said, on a terminal and without one, writes text and our colours alone."""
    fleet = hostile(arena, tmp_path)
    try:
        with listener(fleet.ports["taken"], IMPOSTOR):
            code, said = on_terminal(fleet, "up", "-d")
            assert code == 1, said
            assert obeyed(said) == []
            assert "1 of 4 systems healthy" in said
            for words in (
                ("status",),
                *(("explain", key) for key in fleet.ports),
                ("events", "-n", "1000"),
                ("events", "-n", "1000", "--json"),
                ("explain", "hostile", "--json"),
                ("logs", "hostile"),
                ("check",),
                ("up", "-d"),
            ):
                said = on_terminal(fleet, *words)[1]
                assert obeyed(said) == [], words
                assert said.strip(), words
            for words in (("status", "--json"), ("logs", "die")):
                piped = run(fleet, *words)
                assert obeyed(piped.stdout + piped.stderr) == [], words
            assert "last words: " in on_terminal(fleet, "logs", "die")[1], "what can be read is shown"
    finally:
        down = on_terminal(fleet, "down")
    assert down[0] == 0
    assert obeyed(down[1]) == []
    assert fleet.leftovers() == []


@pytest.mark.fault(
    "api", "HTML and escapes in health data, output, last words and commands: in the API and the journal"
)
def test_nothing_that_a_system_says_leaves_the_api_as_more_than_data(arena: MakeArena, tmp_path: Path) -> None:
    """Every answer is JSON that no browser takes for a page, in seen ASCII; in the journal there is nothing unseen."""
    fleet = hostile(arena, tmp_path)
    fleet.settings["system"].pop("taken")
    fleet.ports.pop("taken")
    fleet.render()
    fleet.launch()
    fleet.states(hostile="healthy", curse="failed", die="failed")
    paths = [
        "/",
        "/health",
        "/openapi.json",
        f"{ROOT}/status",
        f"{ROOT}/events?limit=1000",
        "/<script>",
        f"{ROOT}/logs/x",
    ]
    paths += [f"{ROOT}/{what}/{key}" for what in ("status", "explain", "logs") for key in fleet.ports]
    for path in paths:
        is_json(ask(fleet, "GET", path))
    assert "<script>" in str(ask(fleet, "GET", f"{ROOT}/logs/die").json["lines"]), "as data, it is all there"
    activity = fleet.status()["hostile"]["last_activity"]
    assert activity.startswith("\x1b[2J"), "as data, it is what the system said"
    journal = (tmp_path / ".aurora" / "logs" / "events.jsonl").read_text(encoding="utf-8")
    assert all(each.isprintable() for each in journal.splitlines())
    assert OWNED not in fleet.status()["die"]["error"], "a reason is what a terminal would have shown"
