"""Before anything starts, the machine is asked whether the fleet can run on it."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from aurora_circus import config, preflight
from aurora_circus.config import Config, Surroundings
from aurora_circus.preflight import Finding, inspect
from tests.free_ports import free_port, free_ports
from tests.platforms import OURSELVES, WINDOWS, listeners, owned, users

CIRCUSD = "#!/opt/python -s\nimport circus\n"
PROGRAM = "program.bat" if WINDOWS else "program"
"""What can be run is told by its mode, or on Windows by its name."""


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in a directory with a program, a script and a circusd that can import us."""
    monkeypatch.chdir(tmp_path)
    for name, text in ((PROGRAM, "#!/bin/sh\n"), ("script.py", ""), ("circusd", CIRCUSD)):
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    answering(monkeypatch, 0)
    return tmp_path


@pytest.fixture
def listener() -> Iterator[int]:
    """Give a port on which this very process listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def answering(monkeypatch: pytest.MonkeyPatch, code: int) -> list[Sequence[str]]:
    """Let no process run: whatever is run ends with ``code``. Return what was run."""
    ran: list[Sequence[str]] = []

    def run(command: Sequence[str], **_: object) -> "subprocess.CompletedProcess[bytes]":
        ran.append(command)
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(subprocess, "run", run)
    return ran


def fleet(base: Path, data: dict[str, Any] | None = None, **system: object) -> Config:
    """Return a fleet of one system, ``web``, on a port that nobody has."""
    own, apis = free_ports(2)
    what = {
        "api": {"port": apis},
        **(data or {}),
        "system": {"web": {"command": f"./{PROGRAM}", "port": own, **system}},
    }
    what["fleet"] = {"builtin": False, **what.get("fleet", {})}
    around = Surroundings(
        source="fleet.toml",
        file=str(base / "fleet.toml"),
        base=base,
        home=base,
        bundled=base,
        interpreter=sys.executable,
        windows=WINDOWS,
    )
    return config.parse(what, around)


def seen(what: Config, **options: Any) -> list[Finding]:
    """Return what is found, without the note on which circusd it is."""
    found = inspect(what, circusd="circusd", **options)
    return [each for each in found if (each.severity, each.key) != ("note", "circusd")]


def only(what: Config, **options: Any) -> Finding:
    """Return the only finding."""
    (found,) = seen(what, **options)
    return found


# --- programs --------------------------------------------------------------------------------------------------------


def test_a_fleet_that_can_run_has_no_findings(base: Path) -> None:
    """Where everything is in its place nothing is said but which circusd it is."""
    assert seen(fleet(base, command=f"./{PROGRAM}")) == []
    assert seen(fleet(base, command="{python} script.py --x")) == []
    assert seen(fleet(base, command="{python} -m web")) == []
    assert inspect(fleet(base), circusd="circusd") == [Finding("note", "circusd", "circusd runs the fleet")]


@pytest.mark.parametrize(
    ("command", "key", "message"),
    [
        ("./missing x", "system.web.command", "there is no program ./missing"),
        ("no-such-program-anywhere", "system.web.command", "there is no program no-such-program-anywhere on the PATH"),
        pytest.param("./script.txt", "system.web.command", "there is no program ./script.txt", marks=owned),
        ("{python} missing.py", "system.web.command", f"there is no script {{base}}{os.sep}missing.py"),
    ],
)
def test_a_command_that_does_not_exist_is_an_error(base: Path, command: str, key: str, message: str) -> None:
    """A program is looked for where circus will look, in its folder or on the PATH, and must be executable."""
    (base / "script.txt").touch(0o644)
    assert only(fleet(base, command=command)) == Finding("error", key, message.replace("{base}", str(base)))


def test_a_program_is_looked_for_on_the_systems_own_path(base: Path) -> None:
    """A PATH in the system's environment goes before circusd's."""
    folder = base / "bin"
    folder.mkdir()
    (base / PROGRAM).rename(folder / PROGRAM)
    assert seen(fleet(base, command="program", env={"PATH": str(folder)}), environ={"PATH": "/nowhere"}) == []
    assert seen(fleet(base, command="program"), environ={"PATH": str(folder)}) == []
    assert only(fleet(base, command="program"), environ={"PATH": "/nowhere"}).severity == "error"


def test_a_missing_interpreter_is_one_error_for_all(base: Path) -> None:
    """What every system lacks is told once."""
    python = str(base / "no" / "python")
    what = fleet(base, {"fleet": {"builtin": True, "python": python, "project_root": str(base)}})
    for each in what.commands.values():
        if each.argv[0] == python:
            (base / each.argv[1]).touch()
    assert only(what) == Finding("error", "fleet.python", f"there is no program {python}")


def test_a_folder_that_is_not_there_is_an_error(base: Path) -> None:
    """Without its folder nothing else can be said of a system."""
    found = only(fleet(base, working_dir="nowhere"))
    assert found == Finding("error", "system.web.working_dir", f"{base / 'nowhere'} is no directory")


# --- ports -----------------------------------------------------------------------------------------------------------


def test_a_taken_port_is_a_warning_with_its_holder(base: Path, listener: int) -> None:
    """Pid and command of whoever holds a system's port are told."""
    found = only(fleet(base, port=listener))
    assert (found.severity, found.key) == ("warning", "system.web.port")
    assert f"{listener} is taken by {OURSELVES}" in found.message


@listeners
def test_a_port_that_our_own_process_holds_is_no_news(base: Path, listener: int) -> None:
    """The processes of this very fleet may have its ports."""
    assert seen(fleet(base, port=listener), own={os.getpid()}) == []


def test_a_taken_port_of_the_api_costs_the_api_only(base: Path, listener: int) -> None:
    """The fleet is supervised all the same, and the holder is named."""
    found = only(fleet(base, {"api": {"port": listener}}))
    assert (found.severity, found.key) == ("warning", "api.port")
    assert OURSELVES in found.message


def test_a_dynamic_port_that_is_taken_is_a_note(base: Path, listener: int) -> None:
    """A system that may move will."""
    data = {"fleet": {"port_range": [5030, 5099]}}
    found = only(fleet(base, data, port=listener, port_policy="dynamic"))
    assert (found.severity, found.key) == ("note", "system.web.port")


def test_ports_are_looked_at_where_the_system_tells_nobody_all(
    base: Path, listener: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """macOS shows everybody's connections to root alone: then each port is asked for by itself."""

    def denied(kind: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", denied)
    assert only(fleet(base, port=listener)).key == "system.web.port"


# --- directories and files -------------------------------------------------------------------------------------------


def test_a_directory_that_cannot_be_made_is_an_error(base: Path) -> None:
    """A file where a directory should be, or come to be, is told with its path."""
    found = seen(fleet(base, {"fleet": {"run_dir": "script.py", "log_dir": "script.py/logs"}}))
    script = base / "script.py"
    assert found == [
        Finding("error", "fleet.run_dir", f"{script} cannot be made: {script} is no directory"),
        Finding("error", "fleet.log_dir", f"{script / 'logs'} cannot be made: {script} is no directory"),
    ]


def test_a_directory_that_may_not_be_written_is_an_error(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where we may not write, no fleet can run."""
    (base / "logs").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode, **_: Path(path) != base / "logs")
    found = only(fleet(base, {"fleet": {"log_dir": "logs"}}))
    assert found == Finding("error", "fleet.log_dir", f"{base / 'logs'} is not writable for us")


@owned
def test_logs_that_everybody_may_write_are_a_warning(base: Path) -> None:
    """Whoever can put a link in a log's place chooses the file we append to."""
    (base / "logs").mkdir()
    (base / "logs").chmod(0o777)
    assert only(fleet(base, {"fleet": {"log_dir": "logs"}})).severity == "warning"


@pytest.mark.parametrize(
    ("make", "severity", "message"),
    [
        (lambda path: None, "error", "cannot be read"),
        (lambda path: path.mkdir(), "error", "holds no token"),
        (lambda path: path.write_bytes(b" \n"), "error", "holds no token"),
        (lambda path: path.write_bytes(b"two words"), "error", "blanks in the token"),
        (lambda path: path.write_bytes(b"\xff"), "error", "cannot be read"),
        pytest.param(
            lambda path: (path.write_bytes(b"secret"), path.chmod(0o604)), "warning", "others may read", marks=owned
        ),
        pytest.param(
            lambda path: (path.write_bytes(b"secret"), path.chmod(0o620)), "warning", "or change", marks=owned
        ),
    ],
)
def test_a_token_must_be_there_and_secret(
    base: Path, make: Callable[[Path], object], severity: str, message: str
) -> None:
    """A token file that cannot be read or is empty is an error, one that others may read or write a warning."""
    old = os.umask(0o077)
    try:
        make(base / "token")
    finally:
        os.umask(old)
    found = only(fleet(base, {"api": {"port": free_port(), "token_file": "token"}}))
    assert (found.severity, found.key) == (severity, "api.token_file")
    assert message in found.message


def test_a_good_token_is_no_news(base: Path) -> None:
    """Mode 0600, or 0640 for a group that may know it, is as it should be."""
    for name, mode in (("token", 0o600), ("read", 0o640)):
        (base / name).write_text("secret\n", encoding="utf-8")
        (base / name).chmod(mode)
    assert seen(fleet(base, {"api": {"port": free_port(), "token_file": "token", "read_token_file": "read"}})) == []


# --- circusd, users, scripts -----------------------------------------------------------------------------------------


def test_the_circusd_beside_our_interpreter_is_the_one(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed with us goes before what the PATH has."""
    beside, on_path = (base / folder / ("circusd.exe" if WINDOWS else "circusd") for folder in ("bin", "path"))
    beside.parent.mkdir()
    (base / "circusd").rename(beside)
    on_path.parent.mkdir()
    on_path.touch(0o755)

    def found_circusd() -> str:
        return os.path.normcase(preflight.find_circusd({"PATH": str(base / "path")}) or "")

    monkeypatch.setattr(sys, "executable", str(base / "bin" / "python"))
    assert found_circusd() == os.path.normcase(beside)
    beside.unlink()
    assert found_circusd() == os.path.normcase(on_path)
    on_path.unlink()
    assert preflight.find_circusd({"PATH": str(base / "path")}) is None
    found = inspect(fleet(base), environ={"PATH": str(base / "path")})
    assert [(each.severity, each.key) for each in found] == [("error", "circusd")]


@pytest.mark.parametrize(
    ("script", "interpreter"),
    [
        (CIRCUSD, ["/opt/python", "-s"]),
        ("#!/usr/bin/env python3\n", ["/usr/bin/env", "python3"]),
        ("#!/bin/sh\n'''exec' \"/a long path/python\" \"$0\" \"$@\"\n' '''\n", ["/a long path/python"]),
    ],
)
def test_circusd_must_be_able_to_import_our_hooks(
    base: Path, monkeypatch: pytest.MonkeyPatch, script: str, interpreter: list[str]
) -> None:
    """The interpreter that circusd's first lines name is asked; where it cannot, every watcher would vanish."""
    ran = answering(monkeypatch, 1)
    (base / "circusd").write_text(script, encoding="utf-8")
    found = only(fleet(base))
    assert (found.severity, found.key) == ("error", "circusd")
    assert "install aurora-circus there" in found.message
    assert list(ran[0])[:-2] == interpreter
    assert "'aurora_circus.hooks'" in ran[0][-1]


def test_what_is_asked_of_the_interpreter_is_true_of_ours() -> None:
    """The question about the hooks is a program that runs, and this interpreter answers yes."""
    with pytest.raises(SystemExit) as caught:
        exec(preflight._IMPORTS, {})  # noqa: S102 - it is what circusd's interpreter runs
    assert not caught.value.code


@pytest.mark.parametrize("content", [b"", b"\x7fELF", None])
def test_a_circusd_that_says_nothing_of_its_interpreter_is_an_error(base: Path, content: bytes | None) -> None:
    """An unreadable or foreign program is told and not guessed at."""
    (base / "circusd").unlink()
    if content is not None:
        (base / "circusd").write_bytes(content)
    found = only(fleet(base))
    assert (found.severity, found.key) == ("error", "circusd")
    assert "cannot be run" in found.message


@users
def test_a_user_or_limit_that_is_not_there_is_an_error(base: Path) -> None:
    """circus would fail at each spawn, in its own log alone."""
    circus = {"uid": "nobody-of-this-name", "gid": "no-group-of-this-name", "rlimit_sbsize": 1, "rlimit_nofile": 9}
    found = {each.key: each.severity for each in seen(fleet(base, circus=circus))}
    expected = dict.fromkeys(("system.web.circus.uid", "system.web.circus.gid"), "error")
    if not sys.platform.startswith("freebsd"):
        expected["system.web.circus.rlimit_sbsize"] = "error"
    assert found == expected


@users
def test_only_root_may_run_a_system_as_somebody_else(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A uid of one's own is fine for anybody, another one for root alone."""
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    assert seen(fleet(base, circus={"uid": 1234})) == []
    assert only(fleet(base, circus={"uid": 0})).message == "only root may start a process as 0"


def test_scripts_that_lie_here_unused_are_pointed_out(base: Path) -> None:
    """Where the bundled systems run beside somebody's own scripts, a note says how to run those."""
    what = fleet(base, {"fleet": {"builtin": True}})
    scripts = [each.argv[-1] for key, each in what.commands.items() if key != "web"]
    for name in scripts:
        (base / name).touch()
    found = [each for each in seen(what) if each.key == "fleet.project_root"]
    assert [each.severity for each in found] == ["note"]
    assert all(name in found[0].message for name in scripts)
    assert "--project-root ." in found[0].message
    own = fleet(base, {"fleet": {"builtin": True, "project_root": "."}})
    assert [each for each in seen(own) if each.key == "fleet.project_root"] == []


def test_errors_come_first_and_nothing_is_told_twice(base: Path, listener: int) -> None:
    """Findings are in order of weight, whatever was looked at first."""
    what = fleet(base, {"fleet": {"log_dir": "script.py"}}, port=listener, command="./missing")
    found = inspect(what, circusd="circusd")
    assert [each.severity for each in found] == ["error", "error", "warning", "note"]
    assert len(set(found)) == len(found)
