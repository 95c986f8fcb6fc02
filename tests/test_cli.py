"""What may be typed, and what comes back: exit codes, streams, and that nothing is done that should not be."""

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import aurora_circus
from aurora_circus import bring_up, checks, endpoints, fleetfile, follow, reach, take_down
from aurora_circus.cli import cli
from aurora_circus.document import BUILTIN
from aurora_circus.errors import NotRunningError
from tests.fake_fleet import FakeApi, record, system, toml, write_state
from tests.free_ports import free_port
from tests.platforms import WINDOWS, owned, sockets

COMMANDS = [
    "init",
    "check",
    "render",
    "schema",
    "up",
    "down",
    "status",
    "start",
    "stop",
    "restart",
    "explain",
    "events",
]
COMMANDS += ["logs", "env", "drill", "install-service", "uninstall-service", "serve"]
NEED_A_FLEET = [["status"], ["status", "--json"], ["start", "--all"], ["stop", "brain"], ["restart", "brain"]]
NEED_A_FLEET += [["explain", "brain"], ["events"], ["events", "-f"], ["logs", "brain"], ["down"]]
READ_THE_FILE = [*NEED_A_FLEET, ["up"], ["up", "-d"], ["check"], ["check", "--live"], ["render"], ["env"]]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory of one's own."""
    monkeypatch.chdir(tmp_path)
    for name in ("AURORA_PROJECT_ROOT", "AURORA_PYTHON", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def api(here: Path) -> Iterator[FakeApi]:
    """The API of the fleet that lies here."""
    with FakeApi(f"{here}/.aurora/run").serving() as found:
        found.on("GET /status", {"brain": system(), "router": system("failed", error="boom")})
        (here / "fleet.toml").write_text(toml(found.port))
        yield found


def names(folder: Path) -> list[str]:
    """Return what lies in a directory."""
    return sorted(each.name for each in folder.iterdir())


def run(*words: str) -> Result:
    """Type a command."""
    return CliRunner().invoke(cli, words)


# --- help and wrong use --------------------------------------------------------------------------------------------


def test_the_help_names_every_command_in_the_order_of_use() -> None:
    """And the exit codes."""
    text = run("--help").output
    places = [text.index(f"\n  {each} ") for each in COMMANDS]
    assert places == sorted(places)
    assert list(cli.commands) == COMMANDS
    assert "3 the fleet is not running" in " ".join(text.split())
    assert run("--version").output.endswith(f"version {aurora_circus.__version__}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_help_by_both_names(command: str) -> None:
    """``-h`` is typed as often; its first line ends as a sentence does, uncut in the list."""
    found = run(command, "-h")
    assert found.exit_code == 0
    assert found.output == run(command, "--help").output
    assert "..." not in next(line for line in run("--help").output.splitlines() if line.startswith(f"  {command} "))


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["start"],
        ["start", "--all", "brain"],
        ["explain"],
        ["logs"],
        ["status", "--nonsense"],
        ["events", "-n", "many"],
        ["events", "-n", "-1"],
        ["env", "--shell", "cmd"],
        ["status", "brain"],
    ],
)
def test_wrong_use_is_exit_2(words: Sequence[str]) -> None:
    """With the usage on standard error, and nothing on standard output."""
    found = run(*words)
    assert (found.exit_code, found.stdout) == (2, "")
    assert "Usage:" in found.stderr


# --- configuration -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", READ_THE_FILE, ids=" ".join)
def test_a_bad_configuration_is_exit_2_with_every_fault_and_nothing_written(here: Path, words: Sequence[str]) -> None:
    """One line each, on standard error."""
    (here / "fleet.toml").write_text('[fleet]\nnmae = "x"\n[system.web]\nport = "x"\n')
    found = run(*words)
    assert (found.exit_code, found.stdout) == (2, "")
    lines = found.stderr.splitlines()
    assert [each.split(":")[1].strip() for each in lines] == ["fleet.nmae", "system.web.port", "system.web.command"]
    assert all(each.startswith("fleet.toml: ") and ": found " in each and ", expected " in each for each in lines)
    assert names(here) == ["fleet.toml"]


@pytest.mark.parametrize("words", READ_THE_FILE, ids=" ".join)
def test_a_fleet_file_that_is_not_there_is_exit_2(here: Path, words: Sequence[str]) -> None:
    """Only the default may be missing."""
    found = run(*words, "--fleet", "none.toml")
    assert found.exit_code == 2
    assert found.stderr.startswith("none.toml: ")
    assert names(here) == []


def test_init_writes_a_fleet_that_is_checked_next(here: Path) -> None:
    """And never writes over one."""
    found = run("init")
    assert (found.exit_code, found.stderr) == (0, "")
    assert "the bundled reference systems" in found.stdout
    assert "next: aurora-circus check, then aurora-circus up\n" in found.stdout
    before = (here / "fleet.toml").read_text()
    found = run("init")
    assert (found.exit_code, found.stdout) == (1, "")
    assert "is there already" in found.stderr
    assert (here / "fleet.toml").read_text() == before


def test_init_takes_the_scripts_that_lie_here(here: Path) -> None:
    """The next command is for the same file."""
    for each in BUILTIN.values():
        (here / str(each["command"]).split()[-1]).write_text("")
    found = run("init", "--fleet", "mine.toml")
    assert "the five scripts beside it" in found.stdout
    assert "aurora-circus up --fleet mine.toml" in found.stdout


def test_render_gives_the_ini_and_makes_its_directories(here: Path) -> None:
    """On standard output, with nothing else."""
    found = run("render")
    assert (found.exit_code, found.stderr) == (0, "")
    assert found.stdout.startswith("# The fleet aurora, as aurora-circus read it from the built-in defaults.")
    assert "[watcher:master_controller]" in found.stdout
    assert (here / ".aurora" / "run").is_dir()
    assert (here / ".aurora" / "logs").is_dir()


@owned
def test_render_makes_the_directory_of_the_sockets_private(here: Path) -> None:
    """Whoever can reach a socket in it may run commands."""
    assert run("render").exit_code == 0
    assert (here / ".aurora" / "run").stat().st_mode & 0o777 == 0o700


def test_render_into_a_file_says_how_to_run_it(here: Path) -> None:
    """What it says is not in the way of a pipe."""
    found = run("render", "-o", "my.ini")
    assert (found.exit_code, found.stdout) == (0, "")
    assert found.stderr == "my.ini is written; run it: circusd my.ini\n"
    assert (here / "my.ini").read_text() == run("render").stdout
    assert run("render", "-o", "none/my.ini").exit_code == 1


def test_options_beat_the_file(here: Path) -> None:
    """As everywhere."""
    (here / "there").mkdir()
    python = str(here / "bin" / "python9")
    text = run("render", "--project-root", "there", "--python", python).stdout
    assert f"working_dir = {here / 'there'}\n" in text
    assert shlex.join([python, "aurora_master_controller.py"]) in text


def test_the_schema_is_json() -> None:
    """For editors."""
    assert json.loads(run("schema").output)["title"] == "fleet.toml"


@pytest.mark.parametrize(
    ("shell", "form"),
    [
        ([], "$env:CIRCUSCTL_ENDPOINT = {}" if WINDOWS else "export CIRCUSCTL_ENDPOINT={}"),
        (["--shell", "sh"], "export CIRCUSCTL_ENDPOINT={}"),
        (["--shell", "fish"], "set -gx CIRCUSCTL_ENDPOINT {}"),
        (["--shell", "powershell"], "$env:CIRCUSCTL_ENDPOINT = {}"),
    ],
)
def test_env_is_for_eval_and_needs_no_running_fleet(here: Path, shell: Sequence[str], form: str) -> None:
    """The endpoint is quoted, always."""
    endpoint = f"ipc://{here}/.aurora/run/circusd.sock"
    if WINDOWS:
        endpoint = endpoints.endpoints(fleetfile.load().fleet)[0]
        assert endpoint.startswith("tcp://127.0.0.1:")
    assert run("env", *shell).stdout == form.format(f"'{endpoint}'") + "\n"


@sockets
def test_env_quotes_what_a_shell_would_take_for_its_own(here: Path) -> None:
    """A quote in a path, of all things."""
    (here / "fleet.toml").write_text('[fleet]\nrun_dir = "it\'s $HOME"\n')
    endpoint = f"ipc://{here}/it's $HOME/circusd.sock"
    assert shlex.split(run("env").stdout) == ["export", f"CIRCUSCTL_ENDPOINT={endpoint}"]
    assert "it\\'s $HOME" in run("env", "--shell", "fish").stdout
    assert "it''s $HOME" in run("env", "--shell", "powershell").stdout


def test_check_is_asked_for_both_kinds(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its exit code is the command's."""
    asked: list[bool] = []

    def check(_: object, *, live: bool) -> int:
        asked.append(live)
        return 2 if live else 0

    monkeypatch.setattr(checks, "run", check)
    assert run("check").exit_code == 0
    assert run("check", "--live").exit_code == 2
    assert asked == [False, True]
    assert names(here) == []


# --- the fleet -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", NEED_A_FLEET, ids=" ".join)
def test_a_fleet_that_does_not_run_is_exit_3_and_says_how_to_start_it(here: Path, words: Sequence[str]) -> None:
    """On standard error; nothing is left behind by asking."""
    (here / "my.toml").write_text(toml(free_port()))
    found = run(*words, "--fleet", "my.toml")
    assert (found.exit_code, found.stdout) == (3, "")
    assert "is not running" in found.stderr
    assert "start it: aurora-circus up --fleet my.toml" in found.stderr
    assert names(here) == ["my.toml"]


def test_up_is_told_what_to_bring_up_and_where_the_ini_goes(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the fleet's file; an unknown key is wrong use, and starts nothing."""
    orders: list[bring_up.Order] = []

    def up(order: bring_up.Order) -> int:
        orders.append(order)
        return 1

    monkeypatch.setattr(bring_up, "up", up)
    (here / "sub").mkdir()
    (here / "sub" / "fleet.toml").write_text(toml())
    assert run("up", "-d", "brain", "--fleet", "sub/fleet.toml").exit_code == 1
    assert (orders[0].ini, orders[0].keys, orders[0].detach) == (here / "sub" / "circus.ini", ("brain",), True)
    assert run("up").exit_code == 1
    assert (orders[1].ini, orders[1].keys, orders[1].detach) == (here / "circus.ini", (), False)
    found = run("up", "brian", "--fleet", "sub/fleet.toml")
    assert (found.exit_code, len(orders)) == (2, 2)
    assert "did you mean brain?" in found.stderr


def test_the_exit_code_of_down_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be ended is a failure."""
    monkeypatch.setattr(take_down, "down", lambda _: 1)
    assert run("down").exit_code == 1


def test_status_is_a_table_in_plain_text(api: FakeApi) -> None:
    """Exit 0, whatever is broken: it could be shown."""
    api.details["bundled"] = True
    found = run("status")
    assert (found.exit_code, found.stderr) == (0, "")
    assert "\x1b" not in found.stdout
    assert "router  failed   5000  –    –           0         –        –        boom" in found.stdout
    assert "1 of 2 systems healthy; failed: router" in found.stdout
    assert "why, and what next: aurora-circus explain router" in found.stdout
    assert "The bundled reference systems run here" in found.stdout


def test_status_says_when_the_controller_itself_is_ill(api: FakeApi) -> None:
    """What it shows may be old then."""
    api.routes["GET /health"] = lambda _: (
        503,
        {"success": False, "details": {**api.details, "journal": {"ok": False}}},
    )
    found = run("status")
    assert found.exit_code == 0
    assert "unhealthy: the controller itself: its journal cannot be written" in found.stdout


def test_status_as_json_is_the_apis_own(api: FakeApi) -> None:
    """By key, for scripts."""
    found = run("status", "--json")
    assert json.loads(found.stdout) == {"brain": system(), "router": system("failed", error="boom")}


def test_status_shows_what_was_saved_where_the_api_is_not(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its port is another's: exit 3 and who that is, but the fleet is not out of sight."""

    def connect(_: object) -> object:
        raise NotRunningError("the port is held by nginx")

    (here / "fleet.toml").write_text(toml(free_port()))
    monkeypatch.setattr(reach, "connect", connect)
    monkeypatch.setattr(reach, "circusd_pid", lambda _: 77)
    write_state(fleetfile.load(), {"brain": {"state": "healthy", "process": [9, 1.0], "port": 1}}, circusd=77)
    found = run("status")
    assert found.exit_code == 3
    assert "1 of 2 systems healthy; stopped: router" in found.stdout
    assert found.stderr == "the port is held by nginx\n"
    found = run("status", "--json")
    assert (found.exit_code, found.stdout) == (3, "")


def test_a_command_is_carried_out_and_waited_for(api: FakeApi) -> None:
    """The API is told that it was the command line."""
    api.on("POST /restart/brain", (202, {"operation": "1", "server": "brain"}))
    api.on("GET /events", {"events": [], "next": 1})
    api.on("GET /operations/1", {"state": "succeeded", "pending": [], "error": None})
    found = run("restart", "brain")
    assert found.exit_code == 0
    assert "brain  healthy" in found.stdout
    assert all(each["X-Aurora-Client"] == "cli" for each in api.headers)


def test_all_systems_are_one_command(api: FakeApi) -> None:
    """The API knows their order."""
    api.on("POST /stop-all", (202, {"operation": "1", "servers": ["brain", "router"]}))
    api.on("GET /events", {"events": [], "next": 1})
    found = run("stop", "--all", "--no-wait")
    assert found.stdout == "stop of brain, router is accepted (operation 1)\n"
    assert "POST /stop-all" in api.calls()


@pytest.mark.parametrize("words", [["start", "brian"], ["explain", "brian"], ["logs", "brian"]])
@pytest.mark.usefixtures("api")
def test_an_unknown_system_is_exit_2_with_those_there_are(words: Sequence[str]) -> None:
    """And the one that was meant."""
    found = run(*words)
    assert (found.exit_code, found.stdout) == (2, "")
    assert "did you mean brain?" in found.stderr
    assert "this fleet has: brain, router" in found.stderr


def test_explain_is_words_or_json(api: FakeApi) -> None:
    """The same answer."""
    answer = {**system("failed"), "server": "brain", "cause": "boom"}
    api.on("GET /explain/brain", answer)
    assert "brain is failed: all attempts are used up.\nWhy: boom." in run("explain", "brain").stdout
    assert json.loads(run("explain", "brain", "--json").stdout) == answer


def test_events_are_lines_or_json(api: FakeApi) -> None:
    """The same records."""
    api.on("GET /events", {"events": [record(1, "server_stopped", "brain")], "next": 1})
    assert "brain                     stopped" in run("events").stdout
    assert json.loads(run("events", "--json").stdout) == record(1, "server_stopped", "brain")


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(("words", "what"), [(["events", "-f"], follow.Events), (["logs", "-f", "brain"], follow.Logs)])
def test_ctrl_c_is_how_following_ends(words: Sequence[str], what: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 0, and nothing is said."""

    def show(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(what, "show", show)
    found = run(*words)
    assert (found.exit_code, found.output) == (0, "")


@pytest.mark.usefixtures("api")
def test_ctrl_c_anywhere_else_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 1: it was not done."""

    def connect(_: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(reach, "connect", connect)
    found = run("status")
    assert found.exit_code == 1
    assert "Traceback" not in found.output
