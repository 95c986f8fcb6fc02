"""Hostile configuration: refused with every fault named, or taken exactly as it was meant; never half of it."""

import codecs
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
from circus.config import get_config
from hypothesis import event, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from aurora_circus import fleetfile, readback, render
from aurora_circus.config import Config
from aurora_circus.errors import ConfigError
from tests.e2e.harness import Json, toml
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
WILD: list[Damage] = [
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
            ("with hostile values", WILD),
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


# --- whole fleets --------------------------------------------------------------------------------------------------

NO_ENVIRONMENT: Mapping[str, str] = {}
FAULT = re.compile(r"[^:]*fleet\.toml: [^:]+: found .*, expected .+", re.DOTALL)
"""What every fault reads like: the file, where in it, what is there, and what should be."""
PIECES = (
    "%", "%(x)s", "$(circus.env.HOME)", "$(id)", "((circus.wid))", "$HOME", " ; ", ";", "#", "\n", "\n[watcher:x]\n",
    "'", '"', "`id`", "\\", "\u202e", "\u0000", "\u0085", "\u2028", "\r", "\t", " ", "\x1b[31m", "\x7f", "<b>", "&&",
    "|", "*", "{port}", "{python}", "{", "}", "é", "日本", "\U0001f600", "../..", "~", "\ufeff", "=", "[x]",
    "a" * 10_000,
)  # fmt: skip
HOSTILE = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=5).map("".join)
FIELDS = ("title", "command", "working_dir", "env", "probe.path", "depends_on", "log_dir", "name", "python", "circus")


def written(folder: Path, data: Mapping[str, Any]) -> Path:
    """Write a fleet file of a test's own."""
    file = folder / "fleet.toml"
    file.write_bytes(toml(data).encode("utf-8", "surrogatepass"))
    return file


def hostile_fleet(texts: Mapping[str, str]) -> Json:
    """Return the data of a fleet with these texts in these places."""
    web: Json = {"command": "{python} web.py", "port": 6000}
    head: Json = {"builtin": False}
    for field, text in texts.items():
        match field:
            case "title" | "command" | "working_dir":
                web[field] = text
            case "env":
                web["env"] = {"VALUE": text}
            case "probe.path":
                web["probe"] = {"path": text}
            case "depends_on":
                web["depends_on"] = [text]
            case "circus":
                web["circus"] = {"stdout_stream": {"class": text}}
            case _:
                head[field] = text
    return {"fleet": head, "system": {"web": web, "db": {"command": "db", "port": 6001}}}


def read_back(text: str, folder: Path) -> dict[str, Json]:
    """Return each watcher as circus itself reads it."""
    file = folder / "circus.ini"
    file.write_bytes(text.encode())
    with readback._in_utf8():
        return {each["name"]: each for each in get_config(str(file))["watchers"]}


def rendered(found: Config) -> str:
    """Return its circus.ini."""
    return render.render(found, python=sys.executable, platform="linux")


@pytest.mark.fault("configuration", "hostile strings in every field (200 fleets)")
def test_hostile_strings_are_refused_by_name_or_read_back_exactly(tmp_path: Path) -> None:
    """Each fault names its field; what is rendered, circus reads back as it was written, and no section more."""
    seen = {"refused": 0, "rendered": 0}

    @given(st.dictionaries(st.sampled_from(FIELDS), HOSTILE, min_size=1, max_size=2))
    @hypothesis_settings(deadline=None, max_examples=200, derandomize=True, database=None)
    def check(texts: dict[str, str]) -> None:
        file = written(tmp_path, hostile_fleet(texts))
        try:
            found = fleetfile.load(str(file), environ=NO_ENVIRONMENT, platform="linux")
            text = rendered(found)
        except ConfigError as error:
            seen["refused"] += 1
            event("refused")
            for fault in error.faults:
                assert FAULT.fullmatch(fault), fault
                assert fault.isprintable()
            return
        seen["rendered"] += 1
        event("rendered")
        watchers = read_back(text, tmp_path)
        assert list(watchers) == ["aurora", "db", "web"]
        system = json.loads(watchers["web"]["aurora"])
        assert system["title"] == texts.get("title", "web")
        assert system["env"] == ({"VALUE": texts["env"]} if "env" in texts else {})
        assert system["probe"]["path"] == texts.get("probe.path", "/health")
        assert json.loads(watchers["aurora"]["fleet"])["name"] == texts.get("name", "aurora")

    check()
    assert min(seen.values()) > 20, f"only one side was tried: {seen}"


WRONG: Mapping[str, tuple[Json, str]] = {
    "type": ({"critical": "yes"}, "critical"),
    "unknown": ({"comand": "x"}, "comand"),
    "port": ({"port": 70_000}, "port"),
    "dependency": ({"depends_on": ["nobody"]}, "depends_on"),
    "quote": ({"command": "web 'open"}, "command"),
    "placeholder": ({"command": "web {prt}"}, "command"),
    "number": ({"probe": {"interval": -1}}, "probe.interval"),
    "choice": ({"gate": "ajar"}, "gate"),
    "itself": ({"depends_on": ["KEY"]}, "depends_on"),
    "path": ({"working_dir": "a\nb"}, "working_dir"),
}
"""What may be wrong with one system, and where that is said to be."""


@pytest.mark.fault("configuration", "many faults at once (100 fleets)")
def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    """Whatever is wrong with however many systems: each is named, and none that is right."""

    @given(st.lists(st.sampled_from([None, *sorted(WRONG)]), min_size=1, max_size=8))
    @hypothesis_settings(deadline=None, max_examples=100, derandomize=True, database=None)
    def check(kinds: list[str | None]) -> None:
        systems, expected = {}, set()
        for number, kind in enumerate(kinds):
            key = f"s{number}"
            values, where = WRONG[kind] if kind else ({}, "")
            values = json.loads(json.dumps(values).replace("KEY", key))
            systems[key] = {"command": "web", "port": 6000 + number, **values}
            if kind:
                expected.add(f"system.{key}.{where}")
        file = written(tmp_path, {"fleet": {"builtin": False}, "system": systems})
        try:
            fleetfile.load(str(file), environ=NO_ENVIRONMENT, platform="linux")
            said = set()
        except ConfigError as error:
            said = {fault.split(": ")[1] for fault in error.faults}
        assert said == expected

    check()


def chain(count: int) -> dict[str, Json]:
    """Return so many systems, each of which depends on the one before."""
    return {
        f"s{number}": {
            "command": f"{{python}} web.py --port {{port}} {number}",
            "port": 10_000 + number,
            "depends_on": [f"s{number - 1}"] if number else [],
        }
        for number in range(count)
    }


@pytest.mark.fault("configuration", "2,000 systems in one chain")
def test_two_thousand_systems_are_rendered_and_read_back(tmp_path: Path) -> None:
    """Every one of them, in their order."""
    file = written(tmp_path, {"fleet": {"builtin": False}, "system": chain(2000)})
    found = fleetfile.load(str(file), environ=NO_ENVIRONMENT, platform="linux")
    assert [each.key for each in found.systems] == list(chain(2000))
    watchers = read_back(rendered(found), tmp_path)
    assert len(watchers) == 2001
    assert json.loads(watchers["s1999"]["aurora"])["depends_on"] == ["s1998"]
    assert watchers["s1999"]["priority"] < watchers["s0"]["priority"] < watchers["aurora"]["priority"]


@pytest.mark.fault("configuration", "cycles among 2,000 systems")
def test_every_cycle_is_named(tmp_path: Path) -> None:
    """Three of them, the longest of 1,000 systems: each is told once, and nothing is rendered."""
    systems = chain(2000)
    systems["s0"]["depends_on"] = ["s999"]
    systems["s1000"]["depends_on"] = ["s1001"]
    systems["s1998"]["depends_on"] = ["s1998"]
    file = written(tmp_path, {"fleet": {"builtin": False}, "system": systems})
    with pytest.raises(ConfigError) as caught:
        fleetfile.load(str(file), environ=NO_ENVIRONMENT, platform="linux")
    told = sorted(each.split("found ")[1][:12] for each in caught.value.faults)
    assert len(told) == 3
    assert told[1].startswith("a cycle")


PLAIN = '[fleet]\nbuiltin = false\n[system.web]\ncommand = "web"\nport = 6000\n'
UNHEARD_OF = {
    "a BOM": codecs.BOM_UTF8 + PLAIN.encode(),
    "CRLF": PLAIN.replace("\n", "\r\n").encode(),
}


@pytest.mark.fault("configuration", "fleet.toml with a BOM, with CRLF, behind a symlink")
def test_what_editors_do_to_a_file_is_borne(tmp_path: Path) -> None:
    """It is the same fleet."""
    file = tmp_path / "fleet.toml"
    file.write_text(PLAIN, encoding="utf-8")
    plain = rendered(fleetfile.load(str(file), environ=NO_ENVIRONMENT, platform="linux"))
    for content in UNHEARD_OF.values():
        file.write_bytes(content)
        assert rendered(fleetfile.load(str(file), environ=NO_ENVIRONMENT, platform="linux")) == plain
    if sys.platform != "win32":
        link = tmp_path / "linked" / "fleet.toml"
        link.parent.mkdir()
        link.symlink_to(file)
        linked = rendered(fleetfile.load(str(link), environ=NO_ENVIRONMENT, platform="linux"))
        digest = re.compile("aurora_hash = .*")  # of what names the file, too
        assert digest.sub("", linked.replace(str(link), str(file))) == digest.sub("", plain)


def none_is_there(file: Path) -> None:
    """Have no file."""
    file.unlink(missing_ok=True)


UNREADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "latin-1": (lambda file: file.write_bytes(PLAIN.encode() + b"# caf\xe9\n"), "line 6: found the byte 0xe9"),
    "UTF-16": (lambda file: file.write_bytes(PLAIN.encode("utf-16")), "text in UTF-16"),
    "duplicate keys": (lambda file: file.write_text(PLAIN + "port = 6001\n", encoding="utf-8"), "line 6"),
    "a duplicate table": (lambda file: file.write_text(PLAIN + "[fleet]\n", encoding="utf-8"), "twice"),
    "a NUL": (lambda file: file.write_bytes(PLAIN.encode() + b"\0"), "line 6"),
    "a lone surrogate": (lambda file: file.write_bytes(PLAIN.encode() + b"# \xed\xa0\x80\n"), "0xed"),
    "nothing there": (none_is_there, "nothing to read"),
    "a directory": (Path.mkdir, "nothing to read"),
}
if sys.platform != "win32":
    UNREADABLE["a FIFO"] = (os.mkfifo, "nothing to read")
    UNREADABLE["a loop of symlinks"] = (lambda file: file.symlink_to(file), "nothing to read")
    if os.geteuid() != 0:  # root reads every file
        UNREADABLE["unreadable"] = (lambda file: os.close(os.open(file, os.O_CREAT, 0)), "nothing to read")


@pytest.mark.fault(
    "configuration", "fleet.toml in latin-1, with duplicate keys, NUL, a FIFO, a directory, unreadable …"
)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path: Path) -> None:
    """It says where in which file, and nobody waits for a FIFO's writer."""
    for number, (what, (make, why)) in enumerate(UNREADABLE.items()):
        file = tmp_path / str(number) / "fleet.toml"
        file.parent.mkdir()
        make(file)
        with pytest.raises(ConfigError) as caught:
            fleetfile.load(str(file), environ=NO_ENVIRONMENT, platform="linux")
        (fault,) = caught.value.faults
        assert FAULT.fullmatch(fault), fault
        assert why in fault, what


@pytest.mark.quick
@pytest.mark.fault("configuration", "hostile values in a fleet that runs")
def test_hostile_values_reach_the_processes_as_they_were_written(arena: MakeArena) -> None:
    """By fleet.toml, circus.ini, circusd's parser and the environment, without a scratch; nothing of them is run."""
    values = {f"VALUE_{number}": piece for number, piece in enumerate(PIECES) if "\0" not in piece}
    fleet = arena({"web": {"title": "%(x)s $(id) ((x)) ;# '<b>", "env": values}})
    environ = requests.get(f"http://127.0.0.1:{fleet.ports['web']}/environ", timeout=5).json()
    assert {name: environ[name] for name in values} == values
    assert set(fleet.status()) == {"web"}
