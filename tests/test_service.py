"""How a fleet becomes a service and ceases to be one, with a service manager that a test plays."""

import os
import plistlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO, cast

import pytest
from click.testing import CliRunner

from aurora_circus import fleetfile, launch, lookup, preflight, serve, service, service_manager, take_down
from aurora_circus.cli import cli
from aurora_circus.context import Context
from aurora_circus.errors import ConfigError, MachineError, NotRunningError
from aurora_circus.facts import Process
from aurora_circus.preflight import Finding
from aurora_circus.service import Wish
from aurora_circus.service_plan import Step
from aurora_circus.terminal import Terminal
from tests.fake_fleet import toml
from tests.platforms import WINDOWS, owned, unless


class Output:
    """Whatever standard output is when something is written: pytest puts another in its place for the test itself."""

    def __getattr__(self, name: str) -> Any:
        """Be that."""
        return getattr(sys.stdout, name)


class Manager:
    """Plays a service manager: remembers its commands, and fails where a test says so."""

    def __init__(self) -> None:
        """Be well."""
        self.asked: list[str] = []
        self.fails: str | None = None
        self.lingers = "no"

    def __call__(self, step: Step) -> str:
        """Obey."""
        line = " ".join(step.argv)
        self.asked.append(line)
        if self.fails is not None and self.fails in line:
            raise MachineError(f"{line}: exit code 1: Failed to connect to bus")
        return f"{self.lingers}\n"


@pytest.fixture
def manager() -> Manager:
    """A manager that is well."""
    return Manager()


@pytest.fixture
def wish(tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Wish:
    """A user who wants the fleet in ``tmp_path`` as a service of systemd; it does not run, and nothing is wrong."""
    del capsys  # before the terminal is made, which writes to what is standard output then
    (tmp_path / "fleet.toml").write_text(toml(), encoding="utf-8")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(lookup, "find", lambda _: None)
    monkeypatch.setattr(preflight, "inspect", lambda *_, **__: [])
    found = fleetfile.load(str(tmp_path / "fleet.toml"))
    return Wish(context=Context(found, Terminal(cast("TextIO", Output()))), system=False, platform="linux", run=manager)


UNIT = "config/systemd/user/aurora-circus-aurora.service"


@unless(WINDOWS, "paths of Windows are none that a unit of systemd has")
def test_installing_writes_the_unit_and_has_it_enabled_and_started(
    wish: Wish, manager: Manager, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what it did, how to look at it, how to undo it, and that a log-in is needed."""
    assert service.install(wish, start=True) == 0
    text = (tmp_path / UNIT).read_text(encoding="utf-8")
    assert f"# Fleet file: {tmp_path / 'fleet.toml'}" in text
    assert f"PATH={os.environ['PATH']}" in text.replace("%%", "%")
    assert [each for each in manager.asked if each.startswith("systemctl")] == [
        "systemctl --user show --property=Version",
        "systemctl --user daemon-reload",
        "systemctl --user enable aurora-circus-aurora.service",
        "systemctl --user start aurora-circus-aurora.service",
    ]
    said = capsys.readouterr().out
    for each in (
        "is written",
        "is enabled",
        "is started",
        "journalctl --user -u",
        "uninstall-service",
        "enable-linger",
    ):
        assert each in said
    if not WINDOWS:
        assert (tmp_path / UNIT).stat().st_mode & 0o777 == 0o644


def test_installing_again_changes_nothing(
    wish: Wish, manager: Manager, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """And says so; who lingers already is not told to."""
    manager.lingers = "yes"
    service.install(wish, start=False)
    before = (tmp_path / UNIT).stat().st_mtime_ns
    capsys.readouterr()
    assert service.install(wish, start=False) == 0
    said = capsys.readouterr().out
    assert "is there already, and up to date" in said
    assert "enable-linger" not in said
    assert (tmp_path / UNIT).stat().st_mtime_ns == before
    assert not [each for each in manager.asked if " start " in each]


@pytest.mark.parametrize("served", [True, False])
def test_a_fleet_that_runs_is_not_started_once_more(
    wish: Wish,
    manager: Manager,
    served: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One that was started by hand is to be handed over; one that is a service takes the change up later."""
    monkeypatch.setattr(lookup, "find", lambda _: Process(77, 1.0))
    monkeypatch.setattr(serve, "served_by", lambda _: Process(76, 1.0) if served else None)
    assert service.install(wish, start=True) == 0
    said = capsys.readouterr().err
    assert ("from its next start on" in said) == served
    assert ("to hand it over: aurora-circus down" in said) == (not served)
    assert not [each for each in manager.asked if " start " in each]


def test_where_there_is_no_service_manager_nothing_is_written(wish: Wish, manager: Manager, tmp_path: Path) -> None:
    """It says what came back, and what would show the text."""
    manager.fails = "show --property"
    with pytest.raises(MachineError, match=r"(?s)no service manager to talk to: .*bus\nnothing was changed.*--print"):
        service.install(wish, start=True)
    assert not (tmp_path / UNIT).exists()


def test_a_step_that_fails_says_how_to_undo_the_others(wish: Wish, manager: Manager, tmp_path: Path) -> None:
    """What was done stays."""
    manager.fails = " start "
    with pytest.raises(MachineError, match="to undo it: aurora-circus uninstall-service --user"):
        service.install(wish, start=True)
    assert (tmp_path / UNIT).exists()


def test_a_fleet_that_could_not_start_is_not_installed(
    wish: Wish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All that is wrong is said first."""
    monkeypatch.setattr(preflight, "inspect", lambda *_, **__: [Finding("error", "system.brain", "no such program")])
    with pytest.raises(ConfigError, match="nothing was installed"):
        service.install(wish, start=True)
    assert "no such program" in capsys.readouterr().err
    assert not (tmp_path / UNIT).exists()


def test_without_a_fleet_toml_there_is_no_service(
    tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says how to get one."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="aurora-circus init"):
        service.plan_of(Wish(context=Context(fleetfile.load()), system=False, platform="linux", run=manager))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[Unit]\nDescription=mine\n", "is not one of ours"),
        (
            "# Written by aurora-circus install-service for the fleet aurora.\n# Fleet file: /else/fleet.toml\n",
            r"another fleet of that name \(Fleet file: /else/fleet.toml\)",
        ),
    ],
)
def test_somebody_elses_file_is_left_alone(wish: Wish, manager: Manager, tmp_path: Path, text: str, why: str) -> None:
    """It is neither written over nor removed."""
    (tmp_path / UNIT).parent.mkdir(parents=True)
    (tmp_path / UNIT).write_text(text, encoding="utf-8")
    with pytest.raises(MachineError, match=why):
        service.install(wish, start=True)
    with pytest.raises(MachineError, match=why):
        service.uninstall(wish)
    assert (tmp_path / UNIT).read_text(encoding="utf-8") == text
    assert not manager.asked


def test_uninstalling_undoes_it(
    wish: Wish, manager: Manager, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped and disabled, then removed, then forgotten; what fails because it is so already is no failure."""
    service.install(wish, start=True)
    manager.asked.clear()
    manager.fails = "reset-failed"
    assert service.uninstall(wish) == 0
    assert not (tmp_path / UNIT).exists()
    assert [each.split("--user ")[1] for each in manager.asked[1:]] == [
        "disable --now aurora-circus-aurora.service",
        "daemon-reload",
        "reset-failed aurora-circus-aurora.service",
    ]
    assert "is removed" in capsys.readouterr().out
    with pytest.raises(MachineError, match="no service of this fleet is installed"):
        service.uninstall(wish)


def test_a_service_that_cannot_be_stopped_keeps_its_file(wish: Wish, manager: Manager, tmp_path: Path) -> None:
    """Else nobody could find it any more."""
    service.install(wish, start=True)
    manager.fails = "disable"
    with pytest.raises(MachineError, match="exit code 1"):
        service.uninstall(wish)
    assert (tmp_path / UNIT).exists()


@owned
def test_the_machines_service_runs_as_who_owns_the_fleet(wish: Wish) -> None:
    """Or as who is named; a user that is not there is a fault, and so is a directory of another's."""
    import pwd  # noqa: PLC0415 - there is none on Windows

    me = pwd.getpwuid(os.getuid()).pw_name
    assert service.service_of(replace(wish, system=True)).user == (None if os.getuid() == 0 else me)
    assert service.service_of(replace(wish, system=True, user="daemon")).user == "daemon"
    with pytest.raises(ConfigError, match="who is no user of this machine"):
        service.service_of(replace(wish, system=True, user="nobody at all"))
    Path(wish.context.fleet.run_dir).mkdir(parents=True)
    with pytest.raises(ConfigError, match="chown -R daemon"):
        service.service_of(replace(wish, system=True, user="daemon"))


def test_what_the_service_runs_depends_on_nothing_around_it(wish: Wish, tmp_path: Path) -> None:
    """Absolute paths, this Python, and the options that were given."""
    found = service.service_of(replace(wish, project_root="scripts", python="python3"))
    assert found.argv[:6] == (sys.executable, "-P", "-m", "aurora_circus", "serve", "--fleet")
    assert found.argv[6:] == (
        str(tmp_path / "fleet.toml"),
        "--project-root",
        str(Path.cwd() / "scripts"),
        "--python",
        wish.context.config.python,
    )
    assert found.stop_within >= 2 * take_down.Patience.of(wish.context.config).longest


def test_on_macos_it_is_a_job_of_launchd(wish: Wish, manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose file says the same."""
    mac = replace(wish, platform="darwin")
    monkeypatch.setenv("HOME", str(Path(wish.context.fleet.run_dir).parent))
    monkeypatch.setenv("USERPROFILE", str(Path(wish.context.fleet.run_dir).parent))
    assert service.install(mac, start=True) == 0
    plan = service.plan_of(mac)
    assert plistlib.loads(Path(plan.file).read_bytes())["Label"] == plan.name
    assert [each.split()[1] for each in manager.asked] == ["print", "enable", "bootstrap"]
    assert service.uninstall(mac) == 0
    assert not Path(plan.file).exists()


def test_on_windows_it_is_a_task_and_the_fleet_is_taken_down_first(
    wish: Wish, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Since to end a task is to kill it."""
    down: list[str] = []

    def take(_: Context) -> int:
        down.append("down")
        raise NotRunningError("no")

    monkeypatch.setattr(take_down, "down", take)
    windows = replace(wish, platform="win32")
    assert service.install(windows, start=True) == 0
    assert [each.split()[1] for each in manager.asked] == ["/Query", "/Create", "/Run"]
    assert service.install(windows, start=False) == 0, "its own file, in UTF-16, is known again"
    manager.asked.clear()
    assert service.uninstall(windows) == 0
    assert down == ["down"]
    assert [each.split()[1] for each in manager.asked] == ["/Query", "/Delete"]


def test_a_task_of_a_bare_checkout_is_refused(wish: Wish, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would find no package to run."""
    monkeypatch.setattr(launch, "environment", lambda: {"PYTHONPATH": "C:\\checkout"})
    with pytest.raises(ConfigError, match="pip install"):
        service.service_of(replace(wish, platform="win32"))


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("raise SystemExit('no bus')", "exit code 1: no bus"),
        ("raise SystemExit(3)", "exit code 3: it said nothing"),
        ("print('out'); raise SystemExit(3)", "exit code 3: out"),
        ("import threading; threading.Event().wait()", "no end within 0.5 s"),
    ],
)
def test_a_command_that_fails_is_said_with_its_words(code: str, why: str) -> None:
    """And one that does not end is ended."""
    with pytest.raises(MachineError, match=why):
        service_manager.run(Step(argv=(sys.executable, "-c", code), says="", patience=0.5 if "wait" in code else 60.0))


def test_a_command_that_is_not_there_is_said() -> None:
    """As on a machine without systemd; one that succeeds returns what it wrote."""
    with pytest.raises(MachineError, match="there is no systemctl-of-nobody here"):
        service_manager.run(Step(argv=("systemctl-of-nobody",), says=""))
    done = service_manager.run(Step(argv=(sys.executable, "-c", "print('out')"), says="", patience=60.0))
    assert done.strip() == "out"


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """And nothing is left of the attempt."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(MachineError, match="writing"):
        service_manager.write(tmp_path / "file" / "unit", "x", "utf-8")
    (tmp_path / "folder").mkdir()
    with pytest.raises(MachineError, match=r"reading|writing"):
        service_manager.read(tmp_path / "folder", "utf-8")
    with pytest.raises(MachineError, match="removing"):
        service_manager.forget(tmp_path / "gone")
    with pytest.raises(UnicodeEncodeError):
        service_manager.write(tmp_path / "unit", "\udcff", "utf-8")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.skipif(WINDOWS, reason="Windows has a task")
def test_print_touches_nothing(tmp_path: Path) -> None:
    """The text alone, on standard output."""
    (tmp_path / "fleet.toml").write_text("", encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    done = CliRunner().invoke(cli, ["install-service", "--print", "--user", "--fleet", str(tmp_path / "fleet.toml")])
    assert done.exit_code == 0
    assert "aurora-circus install-service" in done.stdout
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", ["install-service", "uninstall-service"])
def test_without_a_fleet_file_it_is_wrong_use(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, [command])
    assert done.exit_code == 2
    assert "a service needs a fleet.toml" in done.output
