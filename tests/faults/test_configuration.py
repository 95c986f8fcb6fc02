"""Hostile configuration: refused with every fault named, or taken exactly as it was meant; never half of it."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.harness import Json
from tests.faults.arena import Arena, MakeArena

CHAIN: dict[str, Json] = {"one": {}, "two": {"depends_on": ["one"]}}
SECRET = "hunter2-is-no-password"

# --- reloadconfig --------------------------------------------------------------------------------------------------


def replaced(old: str, new: str) -> Callable[[Path], None]:
    """Return what puts ``new`` in the place of the first ``old`` in a file."""

    def change(file: Path) -> None:
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


def cut(where: Callable[[str], int]) -> Callable[[Path], None]:
    """Return what cuts a file off."""

    def change(file: Path) -> None:
        text = file.read_text(encoding="utf-8")
        file.write_text(text[: where(text)], encoding="utf-8")

    return change


def without(section: str) -> Callable[[Path], None]:
    """Return what takes a whole section out."""

    def change(file: Path) -> None:
        text = file.read_text(encoding="utf-8")
        begins = text.index(f"[{section}]")
        ends = text.find("\n[", begins)
        file.write_text(text[:begins] + (text[ends + 1 :] if ends > 0 else ""), encoding="utf-8")

    return change


def instead(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Return what puts something else in a file's place."""

    def change(file: Path) -> None:
        file.unlink()
        make(file)

    return change


def add_latin_1(file: Path) -> None:
    """Add a comment in another encoding."""
    with file.open("ab") as opened:
        opened.write(b"; caf\xe9\n")


TWO = "[watcher:two]\n"
Damage = tuple[str, Callable[[Path], None], str]
"""What was done to the file, how, and what is said of it."""
TORN: list[Damage] = [
    ("a broken line", replaced(TWO, f"{TWO}{SECRET}\n"), "not understood: line"),
    ("text before the first section", replaced("[circus]", f"{SECRET} = 1\n[circus]"), "no section has begun"),
    ("cut off in the middle of a section", cut(lambda text: text.index("aurora = ", text.index(TWO)) + 40), "cut off"),
    ("cut off within a hash", cut(lambda text: len(text.rstrip()) - 3), "aurora_hash"),
    ("cut off between two sections", cut(lambda text: text.index(TWO)), "[watcher:two]: not there"),
    ("a byte that is no UTF-8", add_latin_1, "no text in UTF-8"),
]
INCOMPLETE: list[Damage] = [
    ("nothing in it", cut(lambda _: 0), "[circus]"),
    ("no [circus]", without("circus"), "[circus]: "),
    ("another [circus]", replaced("check_delay = 1", "check_delay = 7"), "[circus]: check_delay"),
    ("no plugin", without("watcher:aurora"), "[watcher:aurora]: not there"),
]
HOSTILE: list[Damage] = [
    ("no number of processes", replaced(TWO, f"{TWO}numprocesses = {SECRET}\n"), "invalid literal"),
    ("a singleton of five", replaced("numprocesses = 1\n", "numprocesses = 5\n"), "singleton"),
    ("no such hook", replaced(TWO, f"{TWO}hooks.after_start = no.such\n"), "no"),
    ("no such signal", replaced("stop_signal = SIGTERM", "stop_signal = SIGNOTHING"), "no attribute"),
    ("no number as a limit", replaced(TWO, f"{TWO}rlimit_nofile = many\n"), "invalid literal"),
    ("settings that are no JSON", replaced('aurora = {"key": "two"', 'aurora = {"key" "two"'), "[watcher:two]"),
    ("another system's settings", replaced('"key": "two"', '"key": "six"'), "about another system"),
    ("settings of a wrong type", replaced('"title": "two"', f'"title": ["{SECRET}"]'), "System.title"),
    ("a section twice, once in upper case", replaced(TWO, "[watcher:TWO]\ncmd = x\n\n[watcher:two]\n"), "2 times"),
]
GONE: list[Damage] = [
    ("deleted", Path.unlink, "No such file"),
    ("a directory", instead(Path.mkdir), "not a regular file"),
]
if sys.platform != "win32":
    GONE.append(("a FIFO", instead(os.mkfifo), "not a regular file"))
    if os.geteuid() != 0:  # root reads every file
        GONE.append(("unreadable", lambda file: file.chmod(0), "Permission denied"))


def refused(fleet: Arena, what: str, damage: Callable[[Path], None], why: str) -> None:
    """Damage circus.ini, and see ``reloadconfig`` refused, with the reason, by word and in the journal."""
    before, plugin, circusd = fleet.pids(), fleet.plugin(), fleet.circusd_pid()
    good = fleet.ini.read_bytes()
    fleet.strike(lambda: damage(fleet.ini))
    said = fleet.circusctl("reloadconfig", "--waiting")
    assert "nothing was touched" in said, f"{what}: {said}"
    assert why in said, what
    assert SECRET not in said
    reason = fleet.noticed("command_refused", verb="reloadconfig", by="circusctl")["details"]["reason"]
    assert why in reason
    assert SECRET not in reason
    fleet.holds()
    assert (fleet.pids(), fleet.plugin(), fleet.circusd_pid()) == (before, plugin, circusd)
    if fleet.ini.is_dir():
        fleet.ini.rmdir()
    else:
        fleet.ini.unlink(missing_ok=True)
    fleet.ini.write_bytes(good)
    assert fleet.circusctl("reloadconfig", "--waiting").strip() == "ok"
    assert (fleet.pids(), fleet.plugin()) == (before, plugin)


@pytest.mark.parametrize(
    "damages",
    [
        pytest.param(damages, marks=pytest.mark.fault("configuration", f"`reloadconfig` of a file {what}"))
        for what, damages in (
            ("that is torn or garbled", TORN),
            ("without [circus] or the plugin, or with another [circus]", INCOMPLETE),
            ("with hostile values", HOSTILE),
            ("that is gone, unreadable, a directory or a FIFO", GONE),
        )
    ],
)
def test_a_bad_reloadconfig_takes_nobody_down(arena: MakeArena, damages: list[Damage]) -> None:
    """circusctl is told what is wrong, the journal has it, and every process is the one it was."""
    fleet = arena(CHAIN)
    for what, damage, why in damages:
        refused(fleet, what, damage, why)


@pytest.mark.quick
@pytest.mark.fault("configuration", "`reloadconfig`: bad, then good: one changed, one added, one removed")
def test_a_good_reloadconfig_works_after_a_bad_one(arena: MakeArena) -> None:
    """The changed one is new, the added one comes up, the removed one is gone, and the rest goes on."""
    fleet = arena({"keep": {}, "change": {}, "remove": {}}, start=False)
    systems = fleet.settings["system"]
    added = {**systems["keep"], "port": systems["remove"]["port"]}
    fleet.begin()
    before = fleet.pids()
    whole = fleet.ini.read_text(encoding="utf-8")
    fleet.ini.write_text(whole[: len(whole) // 2], encoding="utf-8")
    assert "nothing was touched" in fleet.circusctl("reloadconfig")
    systems["change"]["env"] = {"FLAVOUR": "new"}
    del systems["remove"], fleet.ports["remove"]
    systems["add"] = added
    fleet.ports["add"] = added["port"]
    fleet.strike(fleet.render)
    assert fleet.circusctl("reloadconfig", "--waiting").strip() == "ok"
    fleet.back("change", before["change"])
    fleet.until("the removed one's end", lambda: "remove" not in fleet.status())
    fleet.all_healthy()
    fleet.holds()
    assert fleet.pids()["keep"] == before["keep"]
    assert not fleet.alive(before["remove"])
