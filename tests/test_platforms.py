"""What another system would do, as far as it can be seen from any: its configuration, its tables, its events."""

import asyncio
import dataclasses
import os
import select
import shlex
import socket
import sys
import tomllib
import zipfile
from ipaddress import ip_address
from pathlib import Path, PureWindowsPath
from typing import Any

import pytest

from aurora_circus import client, config, endpoints, outside, ports, preflight, processes, render, settings
from aurora_circus.client import Client
from aurora_circus.config import Command, Config, Surroundings
from aurora_circus.context import Context
from aurora_circus.errors import ConfigError, MachineError
from aurora_circus.facts import Process
from tests.fake_fleet import fleet
from tests.test_render import argv, read

PYTHON = r"C:\Program Files\Python311\python.exe"
AROUND = Surroundings(
    source="fleet.toml",
    file=r"C:\My Apps\fleet.toml",
    base=PureWindowsPath(r"C:\My Apps"),
    home=PureWindowsPath(r"C:\Users\Ann"),
    bundled=PureWindowsPath(r"C:\systems"),
    interpreter=PYTHON,
    windows=True,
)


def parse(text: str, **around: Any) -> Config:
    """Read a fleet file as Windows does."""
    return config.parse(tomllib.loads(text), dataclasses.replace(AROUND, **around))


def faults(text: str) -> list[str]:
    """Return what is wrong with one."""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return [each.removeprefix("fleet.toml: ") for each in caught.value.faults]


WEB = '[fleet]\nbuiltin = false\n[system.web]\nport = 80\ncommand = "web"\n'

# --- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (r"C:\bin\web.exe --to C:\data\x", [r"C:\bin\web.exe", "--to", r"C:\data\x"]),
        (r'"C:\my bin\web.exe" --at=:{port}', [r"C:\my bin\web.exe", "--at=:80"]),
        (r"{python} -m 'a b' \\host\share\ ", [PYTHON, "-m", "a b", "\\\\host\\share\\"]),
        ("web # no comment", ["web", "#", "no", "comment"]),
    ],
)
def test_a_backslash_is_part_of_a_path_on_windows(command: str, words: list[str]) -> None:
    """It escapes nothing, and quotes of both kinds group."""
    found = parse(WEB.replace('"web"', f"'''{command}'''"))
    assert list(found.commands["web"].argv) == words


def test_a_backslash_escapes_on_unix_as_in_a_shell() -> None:
    """There it is no part of a path."""
    assert config.words(r"a\ b 'c\d'", windows=False) == ["a b", r"c\d"]
    assert config.is_path("./x", windows=False)
    assert not config.is_path(r"a\b", windows=False)
    assert config.is_path(r"a\b", windows=True)


def test_paths_start_at_the_file_or_at_home_there_too() -> None:
    r"""With ``\`` and with ``/``."""
    found = parse(
        "[fleet]\npython = 'env\\Scripts\\python.exe'\nrun_dir = '~\\run'\nlog_dir = '~/logs'\nproject_root = '/srv'\n"
    )
    assert found.python == r"C:\My Apps\env\Scripts\python.exe"
    assert (found.fleet.run_dir, found.fleet.log_dir) == (r"C:\Users\Ann\run", r"C:\Users\Ann\logs")
    assert found.systems[0].log == r"C:\Users\Ann\logs\master_controller.log"
    assert found.commands["master_controller"].working_dir == r"C:\srv"


def test_a_system_writes_utf_8_unless_it_is_told_otherwise() -> None:
    """Python would write in the machine's code page."""
    assert parse(WEB).systems[0].env == {"PYTHONUTF8": "1"}
    assert parse(WEB + '[system.web.env]\nPYTHONUTF8 = "0"\n').systems[0].env == {"PYTHONUTF8": "0"}
    assert parse(WEB, windows=False).systems[0].env == {}


def test_what_windows_has_not_is_refused() -> None:
    """Users, limits, and a log called like a device; each with its key."""
    assert faults(WEB + 'circus = { uid = "www", rlimit_nofile = 9, close_child_stdin = true }\n') == [
        'system.web.circus.uid: found "www", expected it left out: Windows has nothing like it',
        'system.web.circus.rlimit_nofile: found "9", expected it left out: Windows has nothing like it',
        'system.web.circus.close_child_stdin: found "True", expected it left out: Windows has nothing like it',
    ]
    assert faults(WEB.replace("[system.web]", "[system.com1]")) == [
        "system.com1: found the key com1, a device on Windows, expected a key that a log can be called"
    ]
    assert parse(WEB.replace("[system.web]", "[system.com1]"), windows=False).systems[0].key == "com1"


def test_a_stop_call_is_the_fleets_or_the_systems() -> None:
    """``[stop]`` for all, ``[system.KEY.stop]`` for one; it is a path, and no setting of the plugin's."""
    text = '[stop]\npath = "/quit"\n' + WEB
    assert parse(text).commands["web"].stop_path == "/quit"
    assert parse(text + '[system.web.stop]\npath = "/bye"\n').commands["web"].stop_path == "/bye"
    assert parse(WEB).commands["web"].stop_path is None
    (fault,) = faults('[stop]\npath = "quit"\n' + WEB)
    assert fault.startswith('stop.path: found "quit", expected a path that begins with /')


# --- circus.ini -------------------------------------------------------------------------------------------------------


def test_a_look_at_windows_ini_shows_ports_runners_and_no_more_difference() -> None:
    """TCP on loopback, no pidfile, no SIGHUP, one hook more; the program by ``executable``, all else by ``args``."""
    found = parse(WEB.replace('"web"', "'C:\\bin\\web.exe --x \"a b\"'") + 'stop = { path = "/bye" }\n')
    text = render.render(found, python=PYTHON, platform="win32")
    ini = read(text)
    control, events = endpoints.endpoints(found.fleet, "win32")
    assert (ini["circus"]["endpoint"], ini["circus"]["pubsub_endpoint"]) == (control, events)
    assert control.startswith("tcp://127.0.0.1:")
    assert ini["circus"]["pidfile"] is None
    web, plugin = ini["web"], ini["aurora"]
    assert (web["executable"], argv(web)[0]) == (PYTHON, "python.exe")
    assert argv(web)[1:7] == ["-I", "-S", "-X", "utf8", "-c", render.RUNNER]
    assert argv(web)[8:] == ["/bye", "2.5", r"C:\My Apps\.aurora\logs\web.log", r"C:\bin\web.exe", "--x", "a b"]
    assert argv(plugin)[1:7] == ["-P", "-X", "utf8", "-m", "aurora_circus.logged", plugin_log(found)]
    assert plugin["working_dir"] == r"C:\My Apps\.aurora\run"
    for watcher in (web, plugin):
        assert set(watcher["hooks"]) == {"before_start", "before_spawn", "before_stop", "before_signal"}
        assert watcher["send_hup"] is False
        assert not {"stdout_stream", "stderr_stream", "uid"} & {key for key, value in watcher.items() if value}
    assert settings.loads(settings.System, web["aurora"]) == found.systems[0]
    assert "PYTHONUTF8=1 in circusd" not in text


def plugin_log(found: Config) -> str:
    """Return the log of the plugin, as this machine spells a path."""
    return str(Path(found.fleet.log_dir) / "aurora.log")


def test_a_file_that_is_not_ascii_says_how_circusd_has_to_read_it() -> None:
    """circusd reads it in the machine's code page otherwise."""
    found = parse(WEB, base=PureWindowsPath("C:\\Übung"))
    assert "# First:      set PYTHONUTF8=1 in circusd's environment" in render.render(
        found, python=PYTHON, platform="win32"
    )
    assert "PYTHONUTF8=1 in" not in render.render(found, python=PYTHON, platform="linux")


def test_a_runner_is_run_by_the_base_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The python.exe of a virtual environment would be one more process; another interpreter is taken as it is."""
    command = Command(argv=("web",), working_dir=".", circus={})
    monkeypatch.setattr(sys, "_base_executable", "/base/python", raising=False)
    assert render.by_runner(sys.executable, command, "log", 5.0)[0] == "/base/python"
    assert render.by_runner("/other/python", command, "log", 5.0)[0] == "/other/python"
    monkeypatch.delattr(sys, "_base_executable")
    assert render.by_runner(sys.executable, command, "log", 5.0)[0] == sys.executable
    assert render.by_runner(sys.executable, command, "log", 5.0)[-4:] == ["-", "2.5", "log", "web"]


# --- endpoints --------------------------------------------------------------------------------------------------------


def test_ports_are_chosen_at_random_and_kept(tmp_path: Path) -> None:
    """Two that are free and nobody else's, the same until they are chosen anew; one cannot be read: an error."""
    found = fleet(tmp_path).fleet
    Path(found.run_dir).mkdir(parents=True, exist_ok=True)
    look = endpoints.endpoints(found, "win32")
    assert look == endpoints.endpoints(found, "win32")
    assert endpoints.chosen_ports(found) is None
    endpoints.choose_ports(found, [])
    chosen = endpoints.chosen_ports(found)
    assert chosen is not None
    assert chosen[0] != chosen[1]
    assert set(chosen) <= set(endpoints.PORTS)
    assert endpoints.endpoints(found, "win32") == tuple(f"tcp://127.0.0.1:{each}" for each in chosen)
    (Path(found.run_dir) / endpoints.CHOSEN).write_text("1 2 3", encoding="ascii")
    with pytest.raises(MachineError, match="reading circusd's ports from"):
        endpoints.endpoints(found, "win32")


def test_ports_that_are_taken_are_not_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by somebody who listens nor by a system; when there are none left, that is said."""
    found = fleet(tmp_path).fleet
    Path(found.run_dir).mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setattr(endpoints, "PORTS", range(port, port + 2))
        with pytest.raises(MachineError, match=f"two free ports from {port} to {port + 1}"):
            endpoints.choose_ports(found, [port + 1])


# --- what a system tells ----------------------------------------------------------------------------------------------


def listeners(monkeypatch: pytest.MonkeyPatch, *rows: tuple[str, int, int]) -> None:
    """Have Windows' table say who listens: address, port, pid."""
    table = [(ip_address(address).packed, port, pid) for address, port, pid in rows]
    monkeypatch.setattr(ports, "_LINUX", False)
    monkeypatch.setattr(ports, "_WINDOWS", True)
    monkeypatch.setattr(ports, "_table", lambda: table)


def test_windows_table_says_whose_a_listener_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The most specific address wins; who may not be seen is nobody's and not nobody."""
    listeners(
        monkeypatch,
        ("127.0.0.1", 80, 5),
        ("0.0.0.0", 80, 6),
        ("0.0.0.0", 81, 7),
        ("::", 82, 0),
        ("10.0.0.1", 83, 8),
        ("::", 85, 9),
    )
    monkeypatch.setattr(ports, "_answers", lambda port: port == 82)  # 85: by IPv6 alone
    assert [ports.listening(port) for port in (80, 81, 82, 83, 84, 85)] == [True, True, True, False, False, False]
    assert (ports.belongs(80, [5, 1]), ports.belongs(80, [6]), ports.belongs(81, [7])) == (True, False, True)
    assert (ports.belongs(82, [5]), ports.belongs(84, [5])) == (None, None)
    found = ports.holder(80)
    assert found is not None
    assert found.pid == 5
    unseen = ports.holder(82)
    assert unseen is not None
    assert (unseen.pid, ports.holder(84)) == (None, None)
    assert ports.free_port(80, 84, [83]) == 84
    assert ports.taken() == {80, 81, 82, 83, 85}


def test_a_table_that_cannot_be_had_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether somebody listens is seen by a connection then; whose it is, is not."""

    def refuse() -> None:
        raise OSError("GetExtendedTcpTable: Access denied")

    monkeypatch.setattr(ports, "_LINUX", False)
    monkeypatch.setattr(ports, "_WINDOWS", True)
    monkeypatch.setattr(ports, "_table", refuse)
    with socket.create_server(("127.0.0.1", 0)) as ours:
        port = ours.getsockname()[1]
        assert ports.listening(port)
        assert ports.belongs(port, [1]) is None
        found = ports.holder(port)
        assert found is not None
        assert found.pid is None
    assert not ports.listening(port)
    assert ports.holder(port) is None
    assert ports.taken() is None


class Queue:
    """A kqueue: a descriptor that becomes readable, by the hand of the test."""

    made: "list[Queue]" = []  # noqa: RUF012 - of one test

    def __init__(self) -> None:
        """Have a socket to be read from."""
        self.told, self.teller = socket.socketpair()
        self.closed = False
        self.asked: list[Any] = []
        self.made.append(self)

    def fileno(self) -> int:
        """Return it."""
        return self.told.fileno()

    def control(self, changes: list[Any], count: int) -> None:
        """Take what is asked for."""
        assert count == 0
        self.asked += changes
        if changes[0][0] == GONE:
            raise ProcessLookupError

    def close(self) -> None:
        """Be closed, once."""
        assert not self.closed
        self.closed = True
        self.told.close()
        self.teller.close()


GONE = 77


@pytest.mark.skipif(sys.platform == "win32", reason="Windows tells of an end by a handle")
def test_macos_tells_of_an_end_by_a_kqueue(monkeypatch: pytest.MonkeyPatch) -> None:
    """One queue a process, asked for NOTE_EXIT once; closed with its watch, and also where the process has gone."""
    monkeypatch.delattr("os.pidfd_open", raising=False)
    monkeypatch.setattr(Queue, "made", [])
    monkeypatch.setattr(select, "kqueue", Queue, raising=False)
    monkeypatch.setattr(select, "kevent", lambda *given: given, raising=False)
    for name, value in (("KQ_EV_ADD", 1), ("KQ_EV_ONESHOT", 16), ("KQ_FILTER_PROC", -5), ("KQ_NOTE_EXIT", 1 << 31)):
        monkeypatch.setattr(select, name, value, raising=False)
    monkeypatch.setattr("aurora_circus.unix.identify", lambda pid: Process(pid, 1.0))
    found = processes.watch(Process(5, 1.0))
    assert found is not None
    (queue,) = Queue.made
    assert queue.asked == [(5, -5, 17, 1 << 31)]

    async def wait() -> None:
        told = asyncio.Event()
        found.notify(asyncio.get_running_loop(), told.set)
        await asyncio.sleep(0)
        assert not told.is_set()
        queue.teller.send(b"x")
        await asyncio.wait_for(told.wait(), 30)

    asyncio.run(wait())
    found.wait(30)
    found.close()
    assert processes.watch(Process(6, 2.0)) is None
    assert processes.watch(Process(GONE, 1.0)) is None
    assert [each.closed for each in Queue.made] == [True, True, True]


def test_who_said_a_command_is_told_from_the_name_of_its_wire() -> None:
    """Our own command line, by circusd's socket where there are no signals."""
    said = [outside.sender({"client": each}) for each in (None, "aurora-cli-1", "b3c1")]
    assert said == ["signal", "cli", "circusctl"]


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("platform", "advice", "force"),
    [
        ("linux", "aurora-circus explain web --fleet '{}'", "kill -9 5"),
        ("win32", 'aurora-circus explain web --fleet "{}"', "taskkill /F /PID 5"),
    ],
)
def test_what_is_advised_can_be_typed_there(
    platform: str, advice: str, force: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quoted for its shell."""
    file = str(tmp_path / "my fleet.toml")
    context = Context(dataclasses.replace(fleet(tmp_path), source=file))
    monkeypatch.setattr(sys, "platform", platform)
    assert context.advice("explain", "web") == advice.format(file)
    assert context.by_force(5) == force
    assert shlex.split(advice.format("x"))


def test_a_long_poll_ends_before_ctrl_c_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows nothing ends a wait for an answer: so none is long."""
    asked: list[float] = []

    def exchange(_: Client, _method: str, target: str, timeout: float) -> bytes:
        asked.extend((float(target.partition("wait=")[2]), timeout))
        return b"HTTP/1.0 200 OK\r\n\r\n{}"

    monkeypatch.setattr(Client, "_exchange", exchange)
    monkeypatch.setattr(client, "LONGEST_POLL", 1.0)
    Client("127.0.0.1", 80).poll("/events", 10.0)
    assert asked == [1.0, client.PATIENCE + 1.0]


def launcher(path: Path, line: bytes) -> Path:
    """Write what pip makes of a script on Windows: a program, the line that names its Python, an archive."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__main__.py", "import circus")
    path.write_bytes(b"MZ the program #! not this\0" + line + path.read_bytes())
    return path


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"#!C:\\Python311\\python.exe\r\n", ["C:\\Python311\\python.exe"]),
        (b'#!"C:\\Program Files\\P\\python.exe" -s\n', ["C:\\Program Files\\P\\python.exe", "-s"]),
    ],
)
def test_which_python_runs_circusd_stands_in_its_launcher(tmp_path: Path, line: bytes, command: list[str]) -> None:
    """Between the program and the archive."""
    assert preflight._interpreter(launcher(tmp_path / "circusd.exe", line)) == command


def test_a_program_that_is_no_launcher_is_told(tmp_path: Path) -> None:
    """It says nothing of a Python."""
    (tmp_path / "circusd.exe").write_bytes(b"MZ")
    with pytest.raises(ValueError, match="does not say which Python"):
        preflight._interpreter(tmp_path / "circusd.exe")


def test_circusd_lies_in_scripts_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside python.exe in a virtual environment, one folder below it elsewhere; never in the current directory."""
    (tmp_path / "Scripts").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "circusd.bat").touch()
    (tmp_path / "Scripts" / "circusd.exe").touch()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(preflight, "WINDOWS", True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python.exe"))
    assert preflight.find_circusd({"PATH": ""}) == str(tmp_path / "Scripts" / "circusd.exe")
    (tmp_path / "circusd.exe").touch()
    assert preflight.find_circusd({"PATH": ""}) == str(tmp_path / "circusd.exe")


def test_a_program_is_looked_for_in_its_own_directory_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """As its runner does; and on the last PATH that is given, however that is written."""
    monkeypatch.setattr(preflight, "WINDOWS", False)
    assert preflight._search_path(Path("there"), {"PATH": "a", "Path": "b"}) == "a"
    monkeypatch.setattr(preflight, "WINDOWS", True)
    assert preflight._search_path(Path("there"), {"PATH": "a", "Path": "b"}) == f"there{os.pathsep}b"
    assert preflight._search_path(Path("there"), {}) == f"there{os.pathsep}{os.defpath}"
