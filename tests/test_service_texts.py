"""What is written for systemd, launchd and Windows, and that each reads back what was meant."""

import ctypes
import plistlib
import re
import string
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_circus import service_launchd, service_systemd, service_windows
from aurora_circus.errors import ConfigError
from aurora_circus.service_plan import MARK, Service, is_of, is_ours

ARGV = ("/opt/venv/bin/python", "-P", "-m", "aurora_circus", "serve", "--fleet", "/srv/fleet.toml")
HOSTILE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40) | st.text(
    "%$\\\"'; #\n\t-nfh{}@", max_size=12
)
ABSOLUTE = HOSTILE.map(lambda text: f"/{text}")


def service(**changes: Any) -> Service:
    """Return a service; ``changes`` are its fields."""
    values = {"fleet": "aurora", "file": "/srv/fleet.toml", "argv": ARGV, "stop_within": 70.5, "log": "/srv/s.log"}
    return Service(**{**values, **changes})


# --- systemd -------------------------------------------------------------------------------------------------------


def words(line: str) -> list[str]:
    """Take a line apart as systemd does: blanks, quotes, C escapes (systemd.syntax(7))."""
    found, current, quote, rest = [], None, "", line
    codes = {"n": "\n", "t": "\t", "r": "\r", "s": " ", "\\": "\\", '"': '"', "'": "'"}
    while rest:
        each, rest = rest[0], rest[1:]
        if each == "\\":
            if rest[0] == "x":
                each, rest = chr(int(rest[1:3], 16)), rest[3:]
            else:
                each, rest = codes[rest[0]], rest[1:]
            current = (current or "") + each
        elif quote:
            if each == quote:
                quote = ""
            else:
                current = (current or "") + each
        elif each in "\"'":
            quote, current = each, current or ""
        elif each in string.whitespace:
            if current is not None:
                found.append(current)
            current = None
        else:
            current = (current or "") + each
    assert not quote
    return found if current is None else [*found, current]


def specified(word: str) -> str:
    """Resolve specifiers, of which there may be none but %%."""
    assert not re.search("%[^%]", word.replace("%%", "")), word
    return word.replace("%%", "%")


def command(line: str) -> list[str]:
    """Read ``ExecStart=``: the words, then specifiers, then variables, of which there may be none but $$."""
    program, *arguments = [specified(each) for each in words(line)]
    assert program[0] == "/"
    assert not re.search(r"[\x00-\x1f\x7f\"'\\$]", program), "systemd takes no such path"
    assert all("$" not in each.replace("$$", "") for each in arguments)
    return [program, *(each.replace("$$", "$") for each in arguments)]


def settings(text: str) -> dict[str, list[str]]:
    """Return the settings of a unit: name → values."""
    found: dict[str, list[str]] = {}
    for line in re.split("[\n\r\0]", text):
        if line and line[0] not in "#;[":
            name, _, value = line.partition("=")
            assert re.fullmatch("[A-Za-z]+", name), line
            assert not line.endswith("\\"), "the next line would be part of it"
            found.setdefault(name, []).append(value)
    return found


@given(st.lists(ABSOLUTE, min_size=1, max_size=1), st.lists(HOSTILE, max_size=4))
def test_systemd_runs_exactly_what_was_meant(program: list[str], arguments: list[str]) -> None:
    """Whatever is in it: blanks, quotes, percent and dollar signs, control characters; an odd program by a shell."""
    argv = (*program, *arguments)
    read = command(service_systemd.command(argv))
    by_shell = ["/bin/sh", "-c", 'exec "$0" "$@"']
    assert read == list(argv) or read == [*by_shell, *argv]


@given(HOSTILE, HOSTILE, HOSTILE, st.lists(ABSOLUTE, max_size=3))
def test_no_value_breaks_out_of_its_line(name: str, path: str, variable: str, writable: list[str]) -> None:
    """The same settings are there whatever a fleet is called and wherever it lies, and each is read back."""
    plain = settings(service_systemd.text(service(system=True, environ={"PATH": "/bin"}, writable=("/srv",))))
    made = service(
        fleet=name, file=f"/{path}", system=True, environ={"PATH": variable}, writable=("/srv", *writable), user="web"
    )
    text = service_systemd.text(made)
    found = settings(text)
    assert found.keys() == {*plain, "User"}
    assert found["Description"][0].startswith("The fleet ")
    specified(found["Description"][0])
    assert [specified(each) for each in words(found["Environment"][0])] == [f"PATH={variable}"]
    odd = re.compile(r"[\x00-\x1f\x7f\"'\\]")
    read = [specified(each.strip('"')).removeprefix("-") for each in found["ReadWritePaths"]]
    assert read == list(dict.fromkeys(each for each in ("/srv", *writable) if not odd.search(each)))
    assert is_ours(text)
    assert is_of(text, made)
    assert not is_of(text, service(file="/elsewhere/fleet.toml"))


def test_a_path_that_is_no_utf8_is_refused_in_words() -> None:
    """No unit can hold it."""
    with pytest.raises(ConfigError, match="UTF-8"):
        service_systemd.text(service(argv=("/opt/python", "/srv/\udcff")))


def test_the_unit_says_what_docs_say() -> None:
    """Notify, fed by whoever in it is well; only the main process is killed, and a kill of it costs no system."""
    found = settings(service_systemd.text(service(system=True, user="web", writable=("/srv",))))
    flat = {name: values[0] for name, values in found.items()}
    assert flat["Type"] == "notify"
    assert flat["NotifyAccess"] == "all"
    assert flat["KillMode"] == "process"
    assert flat["OOMPolicy"] == "continue"
    assert flat["Restart"] == "on-failure"
    assert flat["StartLimitIntervalSec"] == "0"
    assert flat["TimeoutStopSec"] == "71"
    assert flat["NoNewPrivileges"] == "yes"
    assert flat["User"] == "web"
    assert flat["WantedBy"] == "multi-user.target"
    assert flat["ProtectSystem"] == "full"
    assert flat["ExecStart"] == " ".join(ARGV)


def test_the_page_gives_a_reason_for_each_line() -> None:
    """But for those that say what is run, and for whom."""
    page = (Path(__file__).parent.parent / "docs" / "service.md").read_text(encoding="utf-8")
    plain = {"Description", "After", "ExecStart", "User", "Environment", "WantedBy"}
    made = service(system=True, user="web", environ={"PATH": "/bin"}, writable=("/srv",))
    reasons = [line for line in page.splitlines() if line.startswith("| `")]
    for name in settings(service_systemd.text(made)).keys() - plain:
        assert any(re.search(rf"`{name}[`=]", line) for line in reasons), name
    assert MARK in page


def test_a_users_unit_asks_for_nothing_that_takes_privileges() -> None:
    """Mount namespaces are none of a user's manager's, on many machines."""
    found = settings(service_systemd.text(service(writable=("/srv",))))
    assert found["WantedBy"] == ["default.target"]
    assert not [name for name in found if name.startswith(("Protect", "ReadWrite", "Private", "User", "Requires"))]


def test_its_commands_are_the_users_or_the_machines() -> None:
    """And name the unit; lingering is said."""
    own = service_systemd.plan(service(), home="/home/me/.config/systemd/user")
    assert own.file == "/home/me/.config/systemd/user/aurora-circus-aurora.service"
    assert {each.argv[:2] for each in (own.probe, *own.install, *own.start, *own.stop, *own.removed)} == {
        ("systemctl", "--user")
    }
    assert "loginctl enable-linger" in own.notes[0]
    machines = service_systemd.plan(service(system=True), home="/nowhere")
    assert machines.file == "/etc/systemd/system/aurora-circus-aurora.service"
    assert "--user" not in " ".join((*machines.look, *machines.start[0].argv, *machines.stop[0].argv))
    assert machines.notes == ()
    assert machines.stop[0].patience > service().stop_within


@given(st.text(max_size=200))
def test_a_name_makes_a_file_name(name: str) -> None:
    """One that can be kept is kept, any other has a digest to be told apart by."""
    slug = service(fleet=name).slug
    assert re.fullmatch("[A-Za-z0-9_-]{1,109}", slug)
    assert (slug == name) == bool(re.fullmatch("[A-Za-z0-9_]([A-Za-z0-9_-]{0,98}[A-Za-z0-9_])?", name))


def test_two_names_that_look_alike_are_two_services() -> None:
    """Although neither can be kept."""
    assert service(fleet="a b").slug != service(fleet="a-b").slug != service(fleet="a/b").slug


# --- launchd -------------------------------------------------------------------------------------------------------

XML = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), max_size=40)


@given(XML, XML, st.lists(XML, max_size=3))
def test_launchd_reads_what_was_meant(name: str, path: str, arguments: list[str]) -> None:
    """Through Python's own reader of property lists; our header is a comment in it."""
    made = service(fleet=name, file=f"/{path}", argv=("/opt/python", *arguments), environ={"PATH": path})
    text = service_launchd.text(made, "org.aurora-circus.x")
    found = plistlib.loads(text.encode())
    assert found["ProgramArguments"] == ["/opt/python", *arguments]
    assert found["EnvironmentVariables"] == {"PATH": path}
    assert is_ours(text)
    assert is_of(text, made)


def test_launchd_starts_it_again_unless_it_ended_well() -> None:
    """And at boot or log-in; it gets its time to come down."""
    plan = service_launchd.plan(service(system=True, user="web"), home="/nowhere", uid=501)
    found = plistlib.loads(plan.text.encode())
    assert found["RunAtLoad"] is True
    assert found["KeepAlive"] == {"SuccessfulExit": False}
    assert found["ExitTimeOut"] == 71
    assert found["UserName"] == "web"
    assert found["StandardErrorPath"] == found["StandardOutPath"] == "/srv/s.log"
    assert plan.file == "/Library/LaunchDaemons/org.aurora-circus.aurora.plist"
    assert plan.start[0].argv == ("launchctl", "bootstrap", "system", plan.file)
    agent = service_launchd.plan(service(), home="/Users/me/Library/LaunchAgents", uid=501)
    assert agent.start[0].argv[2] == "gui/501"
    assert "UserName" not in plistlib.loads(agent.text.encode())


# --- Windows -------------------------------------------------------------------------------------------------------

TASK = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
ON_WINDOWS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Zl", "Zp", "Co", "Cf", "Zs"]), max_size=40)


@given(st.lists(st.text('ab \t"\\', max_size=8), max_size=4))
def test_windows_command_lines_are_those_of_the_standard_library(arguments: list[str]) -> None:
    """Which ``subprocess`` has, and no pure module may import."""
    assert service_windows.command_line(arguments) == subprocess.list2cmdline(arguments)


@pytest.mark.skipif(sys.platform != "win32", reason="only Windows takes command lines apart")
@given(st.lists(st.text('ab \t"\\', max_size=8), max_size=4))
def test_windows_takes_them_apart_again(arguments: list[str]) -> None:
    """By its own function."""
    count = ctypes.c_int()
    parse = ctypes.windll.shell32.CommandLineToArgvW  # type: ignore[attr-defined] # there on Windows
    parse.restype = ctypes.POINTER(ctypes.c_wchar_p)
    found = parse(f"x {service_windows.command_line(arguments)}", ctypes.byref(count))
    assert [found[n] for n in range(1, count.value)] == arguments


@given(ON_WINDOWS, st.lists(ON_WINDOWS, max_size=3))
def test_a_task_is_xml_that_says_what_was_meant(name: str, arguments: list[str]) -> None:
    """Also of names with angle brackets."""
    made = service(fleet=name, argv=("C:\\py\\pythonw.exe", *arguments), user="ME & CO\\me", log="C:\\s.log")
    task = ET.fromstring(service_windows.text(made).encode("utf-16"))  # noqa: S314 - our own text
    assert task.findtext(f".//{TASK}Command") == "C:\\py\\pythonw.exe"
    assert (task.findtext(f".//{TASK}Arguments") or "") == subprocess.list2cmdline(arguments)
    assert [each.text for each in task.iter(f"{TASK}UserId")] == ["ME & CO\\me"] * 2
    assert is_ours(service_windows.text(made))


@pytest.mark.parametrize(("system", "trigger", "logon"), [(True, "Boot", "S4U"), (False, "Logon", "InteractiveToken")])
def test_a_task_starts_at_boot_or_at_log_on(system: bool, trigger: str, logon: str) -> None:
    """It has no end, and is restarted as often as the schema allows."""
    plan = service_windows.plan(service(system=system, user="me"), home="C:\\run")
    task = ET.fromstring(plan.text.encode(plan.encoding))  # noqa: S314 - our own text
    assert task.find(f".//{TASK}{trigger}Trigger") is not None
    assert task.findtext(f".//{TASK}LogonType") == logon
    assert task.findtext(f".//{TASK}ExecutionTimeLimit") == "PT0S"
    assert task.findtext(f".//{TASK}RestartOnFailure/{TASK}Count") == "255"
    assert plan.file == "C:\\run\\task.xml"
    assert plan.name == "\\aurora-circus\\aurora"
    assert MARK in plan.text
