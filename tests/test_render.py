"""A checked fleet becomes a ``circus.ini`` from which circus reads exactly what the person wrote."""

import dataclasses
import os
import re
import shlex
import stat
import string
import tempfile
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from types import SimpleNamespace
from typing import Any

import pytest
from circus.config import get_config
from circus.process import Process
from hypothesis import event, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from aurora_circus import config, endpoints, readback, render, rundir, settings
from aurora_circus.config import Config, Surroundings
from aurora_circus.errors import ConfigError, MachineError
from aurora_circus.readback import Section
from aurora_circus.settings import Fleet, System
from aurora_circus.tables import Faults
from tests.platforms import fifos, links, owned, sockets, users

PYTHON = "/opt/venv/bin/python"
HERE = PurePosixPath("/srv/app")


def fleet(data: dict[str, Any], base: PurePath = HERE) -> Config:
    """Check the data of a fleet file, which is one for Unix unless it lies in a directory of this machine."""
    around = Surroundings(
        source="fleet.toml",
        file="/srv/app/fleet.toml",
        base=base,
        home=PurePosixPath("/home/ann"),
        bundled=PurePosixPath("/opt/systems"),
        interpreter="/usr/bin/python3",
        windows=isinstance(base, PureWindowsPath),
    )
    return config.parse(data, around)


def one(**system: object) -> dict[str, Any]:
    """Return the data of a fleet of one system, ``web``."""
    return {"fleet": {"builtin": False}, "system": {"web": {"command": "web", "port": 80, **system}}}


def read(text: str) -> dict[str, dict[str, Any]]:
    """Return circus's own reading, in UTF-8: its main options as ``circus``, and each watcher by its name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "circus.ini"
        path.write_text(text, encoding="utf-8")
        with readback._in_utf8():
            found = get_config(str(path))
    watchers = {each["name"]: each for each in found.pop("watchers")}
    assert found.pop("plugins") == found.pop("sockets") == []
    return {"circus": found, **watchers}


def argv(watcher: dict[str, Any], **env: str) -> list[str]:
    """Return what circus would start, with everything in reach that its expansions may look at."""
    everything = SimpleNamespace(sockets=None, optnames=tuple(watcher), **watcher)
    process = Process(
        watcher["name"],
        1,
        watcher["cmd"],
        args=watcher["args"],
        env={**watcher["env"], **env},
        working_dir=watcher["working_dir"],
        watcher=everything,
        spawn=False,
        pipe_stdout=False,
        pipe_stderr=False,
    )
    found: list[str] = process.format_args()
    return found


def rendered(what: Config, python: str = PYTHON) -> str:
    """Return its ``circus.ini`` for Unix; for Windows, see ``test_platforms``."""
    return render.render(what, python=python, platform="linux")


def told(data: dict[str, Any]) -> list[str]:
    """Return the faults of a fleet that cannot be rendered."""
    with pytest.raises(ConfigError) as caught:
        rendered(fleet(data))
    return caught.value.faults


# --- what stands in the file -----------------------------------------------------------------------------------------


def test_circusd_is_reached_through_private_sockets_only() -> None:
    """circusd binds two Unix sockets in the run directory, no TCP or UDP port, and starts nothing on the side."""
    found = read(rendered(fleet({})))["circus"]
    assert found["endpoint"] == "ipc:///srv/app/.aurora/run/circusd.sock"
    assert found["pubsub_endpoint"] == "ipc:///srv/app/.aurora/run/events.sock"
    assert found["multicast_endpoint"] == ""
    assert found["pidfile"] == "/srv/app/.aurora/run/circusd.pid"
    assert (found["check_delay"], found["warmup_delay"]) == (1.0, 0)
    assert not found["statsd"]
    assert not found["httpd"]


def test_circusd_starts_the_plugin_and_nothing_else() -> None:
    """The plugin's watcher is started and restarted by circusd; a system's watcher is the plugin's to start."""
    found = read(rendered(fleet({})))
    for name in ("autostart", "respawn", "send_hup", "copy_path"):
        assert {each: watcher[name] for each, watcher in found.items() if each != "circus"} == {
            each: each == "aurora" for each in found if each != "circus"
        }
    assert (found["aurora"]["max_retry"], found["master_controller"]["max_retry"]) == (1, 1)


def test_the_plugin_is_run_by_circus_own_runner_with_its_own_log() -> None:
    """The plugin runs in the interpreter that rendered, and is told where circusd is and which section is its own."""
    found = read(rendered(fleet({})))
    assert argv(found["aurora"]) == [
        *("/bin/sh", "-c", render.SHELL, "/srv/app/.aurora/logs/aurora.log"),
        *(PYTHON, "-c", "from circus import plugins; plugins.main()"),
        *("--endpoint", found["circus"]["endpoint"], "--pubsub", found["circus"]["pubsub_endpoint"]),
        *("--config", "watcher:aurora", "--log-level", "info", "aurora_circus.plugins.aurora.AuroraPlugin"),
    ]
    assert found["aurora"]["working_dir"] == "/srv/app/.aurora/run"
    assert found["aurora"]["graceful_timeout"] == 10.0
    assert found["aurora"]["aurora_commands"] == ""


def test_the_plugin_reads_the_settings_back_as_they_were() -> None:
    """``fleet`` and ``aurora`` are the settings themselves."""
    what = fleet({"api": {"port": 5030}, "system": {"automation_hub": {"env": {"A": "$(circus.env.HOME) ;x"}}}})
    found = read(rendered(what))
    assert settings.loads(Fleet, found["aurora"]["fleet"]) == what.fleet
    for each in what.systems:
        assert settings.loads(System, found[each.key]["aurora"]) == each


def test_priorities_follow_the_start_order() -> None:
    """The plugin is above all, and each level of dependents below the one it needs, with room between any two.

    What may come up together shares a priority: so a system more or less changes nothing of the others' watchers,
    which circus would restart for it.
    """
    what = fleet({})
    found = read(rendered(what))
    priorities = [found[key]["priority"] for key in ("aurora", *what.fleet.systems)]
    assert priorities == [1010, 1000, 990, 980, 980, 980]


def test_a_system_runs_its_own_command_in_its_own_place() -> None:
    """Command, folder, grace period and the options for circus are the system's own."""
    data = one(
        command="{python} -u 'my app.py' --port={port}",
        working_dir="/srv/my app",
        stop={"graceful_timeout": 2.5},
        circus={"uid": "www", "rlimit_nofile": 99, "hooks": {"after_start": "my.hook"}},
    )
    web = read(rendered(fleet(data)))["web"]
    command = ["/usr/bin/python3", "-u", "my app.py", "--port=80"]
    assert argv(web) == ["/bin/sh", "-c", render.SHELL, "/srv/app/.aurora/logs/web.log", *command]
    assert (web["working_dir"], web["graceful_timeout"]) == ("/srv/my app", 2.5)
    assert (web["uid"], web["rlimits"]) == ("www", {"nofile": 99})
    hooks = {name: [f"aurora_circus.hooks.{name}", False] for name in ("before_start", "before_spawn", "before_stop")}
    assert web["hooks"] == {**hooks, "after_start": ["my.hook", False]}


def test_a_dynamic_port_is_filled_in_when_circus_spawns() -> None:
    """Until then the command holds a variable that the hook sets in the process's environment."""
    data = one(command="web -p {port} --at=:{port}/x '{{port}} {port}'", port_policy="dynamic")
    data["fleet"]["port_range"] = [5030, 5040]
    web = read(rendered(fleet(data)))["web"]
    assert argv(web, AURORA_PORT="5031")[4:] == ["web", "-p", "5031", "--at=:5031/x", "{port} 5031"]


def test_a_variable_that_would_fill_in_the_port_too_soon_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """circus expands the environment of circusd first: a port that stands there would become everybody's."""
    monkeypatch.setenv("AURORA_PORT", "4711")
    data = one(command="web {port}", port_policy="dynamic")
    data["fleet"]["port_range"] = [5030, 5040]
    (fault,) = told(data)
    assert re.match(r"fleet\.toml: system\.web\.command: found \"….*\$\(circus\.env\.aurora_port\)\", expected", fault)
    assert fault.endswith('web 4711"')


def test_every_option_of_ours_is_always_there() -> None:
    """Systems differ in values, not in options, but for what somebody hands on to circus."""
    found = read(rendered(fleet({"system": {"automation_hub": {"env": {"A": "b"}, "critical": True}}})))
    options = {frozenset(watcher) for name, watcher in found.items() if name not in {"circus", "aurora"}}
    assert len(options) == 1


def test_the_same_fleet_gives_the_same_bytes() -> None:
    """Nothing but the fleet and the interpreter goes into the text."""
    data = {"system": {"automation_hub": {"env": {"B": "1", "A": "2"}}}}
    assert rendered(fleet(data)) == rendered(fleet(data))


def hashes(data: dict[str, Any]) -> dict[str, str]:
    """Return the hash of each watcher."""
    found = read(rendered(fleet(data)))
    return {name: watcher["aurora_hash"] for name, watcher in found.items() if name != "circus"}


@pytest.mark.parametrize(
    "change",
    [{"title": "x"}, {"env": {"A": ""}}, {"circus": {"uid": 1}}, {"working_dir": "/x"}, {"probe": {"timeout": 1}}],
)
def test_a_watchers_hash_changes_with_its_section_and_only_then(change: dict[str, Any]) -> None:
    """circus's reloadconfig sees that an option is new or gone by the changed hash, and leaves the others alone."""
    before, after = hashes({}), hashes({"system": {"automation_hub": change}})
    assert {name for name in before if before[name] != after[name]} == {"automation_hub"}
    assert all(re.fullmatch("[0-9a-f]{12}", each) for each in before.values())


def test_the_comments_say_how_to_reach_the_fleet_and_cannot_become_options() -> None:
    """The header names circusctl's endpoint; a title in a comment stays one line, whatever is in it."""
    text = rendered(fleet(one(title="a\u2028b\x85[watcher:c]")))
    assert text.startswith("# The fleet aurora, as aurora-circus read it from /srv/app/fleet.toml.\n")
    assert "circusctl --endpoint ipc:///srv/app/.aurora/run/circusd.sock status" in text
    assert r"# a\u2028b\x85[watcher:c]: port 80" in text
    assert set(read(text)) == {"circus", "aurora", "web"}


@sockets
def test_a_run_directory_too_long_for_a_socket_gets_a_short_one_beside_it() -> None:
    """From 108 bytes of path on the sockets go to a directory of their own that the file names."""
    fits = "/" + "x" * (endpoints.LONGEST_SOCKET - len("//circusd.sock"))
    text = rendered(fleet({"fleet": {"run_dir": fits}}))
    assert read(text)["circus"]["endpoint"] == f"ipc://{fits}/circusd.sock"
    what = fleet({"fleet": {"run_dir": fits[:-1] + "é"}})
    text = rendered(what)
    folder = endpoints.socket_dir(what.fleet)
    assert re.fullmatch(rf"/tmp/aurora-{os.getuid()}-[0-9a-f]{{12}}", folder)  # noqa: S108 - what is promised
    assert f"mkdir -m 700 {folder}\n" in text
    found = read(text)["circus"]
    assert (found["endpoint"], found["pubsub_endpoint"]) == render.endpoints(what.fleet, "linux")
    assert found["endpoint"] == f"ipc://{folder}/circusd.sock"
    assert found["pidfile"].startswith(fits[:-1])


def test_two_hundred_systems_are_rendered() -> None:
    """Many systems are as good as one."""
    names = [f"s{number}" for number in range(200)]
    data = {
        "fleet": {"builtin": False},
        "system": {
            name: {"command": "'a b' {port}", "port": 6000 + number, "depends_on": names[max(0, number - 1) : number]}
            for number, name in enumerate(names)
        },
    }
    found = read(rendered(fleet(data)))
    assert [found[name]["priority"] for name in ("aurora", *names)] == list(range(1010, -1000, -10))


# --- what circus would read otherwise ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (one(working_dir="/srv/$(circus.env.HOME)"), "system.web.working_dir"),
        (one(working_dir="/srv/((CIRCUS.ENV.HOME))"), "system.web.working_dir"),
        (one(working_dir="/srv/a ;b"), "system.web.working_dir"),
        (one(working_dir="/srv/a "), "system.web.working_dir"),
        (one(working_dir="/srv/a\u2003"), "system.web.working_dir"),
    ],
)
def test_a_value_that_circus_would_change_is_refused(
    data: dict[str, Any], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What circus expands, cuts or strips is no matter of luck: the fault names the key."""
    monkeypatch.setenv("HOME", "/home/ann")
    (fault,) = told(data)
    assert fault.startswith(f"fleet.toml: {key}: found ")
    assert "expected a value that circus can hold" in fault


def test_a_run_directory_that_circus_would_change_is_refused() -> None:
    """The sockets' and the pidfile's places come out as they went in, or not at all."""
    assert {each.split(": ")[1] for each in told({"fleet": {"run_dir": "/srv/a ;b"}})} == {"fleet.run_dir"}


@pytest.mark.parametrize("path", ["/opt/\udcff/python", "/opt/a\rb/python", "/opt/\r[circus]\rcheck_delay = 9/python"])
def test_an_interpreter_that_the_file_cannot_hold_is_refused(path: str) -> None:
    """A path of bytes that are no UTF-8, or one that would end a line, cannot stand in the file."""
    with pytest.raises(ConfigError, match=r"^fleet\.toml: fleet: found .*, expected .* in UTF-8 .*$"):
        rendered(fleet({}), path)


@pytest.mark.parametrize(
    "text",
    [
        "[watcher:web]\ncmd = web\nargs = one\n",
        "[watcher:web]\ncmd = web\nargs = a b\nuid = root\n",
        "[watcher:web]\ncmd = web\n",
        "[watcher:web]\ncmd = web\nargs = a b\n[env]\nA = b\n",
        "[watcher:web]\ncmd = web\nargs = a b\nnonsense\n",
        "[watcher:web]\ncmd = web\nargs = a b\nnumprocesses = x\n",
    ],
)
def test_whatever_is_read_back_otherwise_is_a_fault(text: str) -> None:
    """A value changed, added, lost, a section more, or text that circus takes for none: each is noticed."""
    origin = {"": ("system", "web"), "args": ("system", "web", "command")}
    section = Section(
        name="watcher:web", comment=[], options={"cmd": "web", "args": "a b"}, origin=origin, argv=["web", "a", "b"]
    )
    faults = Faults("fleet.toml")
    readback.compare("[watcher:web]\ncmd = web\nargs = a b\n", [section], {}, faults)
    assert not faults
    readback.compare(text, [section], {}, faults)
    assert len(faults) == 1


PIECES = st.sampled_from(
    [
        *(
            "%",
            "%(x)s",
            "$",
            "$(",
            "((",
            "$(circus.env.HOME)",
            "$(circus.wid)",
            "((circus.working_dir))",
            "((CIRCUS.name))",
        ),
        *(
            "$(circus.env.aurora_port)",
            "$$(circus.env.HOME)",
            "$HOME",
            "$WID",
            " ;",
            ";",
            " #",
            "#",
            "\n",
            "\n\n",
            "\r",
            "\t",
        ),
        *(
            "'",
            '"',
            '""',
            "'\\''",
            "\\",
            "\\\n",
            " ",
            "  ",
            "\x0b",
            "\x1f",
            "\x85",
            "\xa0",
            "\u2028",
            "\x00",
            "\x7f",
            "=",
            ":",
        ),
        *(
            "[x]",
            "[watcher:x]",
            "rem ",
            "REM x",
            "{",
            "}",
            "{{",
            "{port}",
            "é",
            "日本",
            "😀",
            "-",
            "--x=",
            "`x`",
            "&&",
            "|",
            "*",
        ),
    ]
)
HOSTILE = st.lists(PIECES | st.text(alphabet=string.ascii_letters, max_size=3) | st.text(max_size=3), max_size=6).map(
    "".join
)


def braced(text: str) -> str:
    """Write text into a command so that it means itself."""
    return text.replace("{", "{{").replace("}", "}}")


@given(st.lists(HOSTILE, min_size=1, max_size=4))
@example(["$(circus.env.HOME)", "((circus.wid))", "(((circus.wid)))", "$((circus.wid))"])
@example(["a \n b", "\n", "", " ", "a\n\nb", "\n#x", "\n;x", "\n[x]"])
@example(["''", "'", "\\'", '"', "a'$('b"])
@hypothesis_settings(deadline=None, max_examples=200)
def test_any_argument_reaches_the_process_as_it_was_written(arguments: list[str]) -> None:
    """But for NUL and carriage return, which no argument or no line can hold, everything survives circus."""
    data = one(command=braced(shlex.join(["web", *arguments])))
    if any(each in argument for argument in arguments for each in "\0\r"):
        event("refused")
        with pytest.raises(ConfigError, match=r"system\.web\.command: found"):
            fleet(data)
        return
    event("accepted")
    found = read(rendered(fleet(data)))
    assert argv(found["web"])[4:] == ["web", *arguments]
    assert set(found) == {"circus", "aurora", "web"}


PLACES = {
    "name": ("fleet", "name", ""),
    "run_dir": ("fleet", "run_dir", "/"),
    "log_dir": ("fleet", "log_dir", "/"),
    "python": ("fleet", "python", "x"),
    "project_root": ("fleet", "project_root", "/"),
    "token_file": ("api", "token_file", "/"),
    "host": ("api", "host", ""),
    "title": ("web", "title", ""),
    "working_dir": ("web", "working_dir", "/"),
    "path": ("probe", "path", "/"),
    "metrics_path": ("probe", "metrics_path", "/"),
    "uid": ("circus", "uid", ""),
    "after_stop": ("hooks", "after_stop", "a"),
}
"""Where text may stand: the table, the key, and what a good value begins with."""


@given(st.dictionaries(st.sampled_from(sorted(PLACES)), HOSTILE, min_size=1, max_size=2))
@hypothesis_settings(deadline=None, max_examples=300)
def test_any_text_anywhere_is_read_back_exactly_or_refused(texts: dict[str, str]) -> None:
    """Whatever a person writes into whatever key: circus and the plugin read exactly that, or the person is told."""
    hooks: dict[str, str] = {}
    circus: dict[str, Any] = {"hooks": hooks}
    probe: dict[str, str] = {}
    data = one(command="{python} x", circus=circus, probe=probe)
    data["api"] = {"token_file": "/token"}
    tables = {**data, "web": data["system"]["web"], "circus": circus, "hooks": hooks, "probe": probe}
    for place, text in texts.items():
        table, key, first = PLACES[place]
        tables[table][key] = first + text
    try:
        what = fleet(data)
        text = rendered(what)
    except ConfigError as error:
        event("refused")
        told = error.faults
        assert all(re.fullmatch(r"fleet\.toml: \S+: found .+, expected .+", each) for each in told)
        return
    event("accepted")
    found = read(text)
    assert set(found) == {"circus", "aurora", "web"}
    (web,) = what.systems
    assert settings.loads(System, found["web"]["aurora"]) == web
    assert settings.loads(Fleet, found["aurora"]["fleet"]) == what.fleet
    assert found["web"]["working_dir"] == what.commands["web"].working_dir
    if "uid" in texts:
        assert found["web"]["uid"] == texts["uid"]
    assert argv(found["web"]) == ["/bin/sh", "-c", render.SHELL, web.log, *what.commands["web"].argv]
    assert argv(found["aurora"])[3:5] == [f"{what.fleet.log_dir}/aurora.log", PYTHON]
    assert found["circus"]["pidfile"] == f"{what.fleet.run_dir}/circusd.pid"
    assert (found["circus"]["endpoint"], found["circus"]["pubsub_endpoint"]) == render.endpoints(what.fleet, "linux")


@given(st.dictionaries(st.from_regex(r"[A-Z_a-z]{1,3}", fullmatch=True), HOSTILE, max_size=3), HOSTILE)
@hypothesis_settings(deadline=None)
def test_any_environment_travels_untouched(env: dict[str, str], title: str) -> None:
    """Values of variables are refused for a NUL alone, titles for control characters alone."""
    nul = any("\0" in value for value in env.values())
    control = not title or re.search(r"[\x00-\x1f\x7f]", title)
    try:
        what = fleet(one(env=env, title=title))
    except ConfigError:
        assert nul or control
        return
    assert not nul
    assert not control
    web = read(rendered(what))["web"]
    found = settings.loads(System, web["aurora"])
    assert (found.env, found.title) == (env, title)


# --- files -----------------------------------------------------------------------------------------------------------


@owned
def test_a_file_that_others_may_read_is_closed(tmp_path: Path) -> None:
    """Although it holds the text already."""
    path = tmp_path / "circus.ini"
    path.write_text("a\n", encoding="utf-8")
    path.chmod(0o644)
    render.write("a\n", path)
    assert path.stat().st_mode & 0o777 == 0o600


@owned
def test_a_written_file_is_for_its_owner_only(tmp_path: Path) -> None:
    """The file may hold secrets: nobody else may read it, not even for a moment, whatever was there before."""
    path = tmp_path / "circus.ini"
    path.write_text("old", encoding="utf-8")
    path.chmod(0o644)
    render.write("né\n", path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_written_file_replaces_what_was_there(tmp_path: Path) -> None:
    """The same bytes on every system, and nothing beside them."""
    path = tmp_path / "circus.ini"
    path.write_text("old", encoding="utf-8")
    render.write("né\n", path)
    assert path.read_bytes() == "né\n".encode()
    assert [each.name for each in tmp_path.iterdir()] == ["circus.ini"]


def test_what_is_there_already_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which takes no room; what others may read, or is another text, is."""
    path = tmp_path / "circus.ini"
    render.write("né\n", path)
    with monkeypatch.context() as full:
        full.setattr(render, "_replace", lambda *_: pytest.fail("it is there"))
        render.write("né\n", path)
    render.write("nè\n", path)
    assert path.read_bytes() == "nè\n".encode()


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk costs the new file, not the old one, and leaves no rubbish."""
    path = tmp_path / "circus.ini"
    path.write_text("old", encoding="utf-8")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MachineError, match="No space left"):
        render.write("new", path)
    assert [each.read_text(encoding="utf-8") for each in tmp_path.iterdir()] == ["old"]
    with pytest.raises(MachineError, match="No such file"):
        render.write("new", tmp_path / "nowhere" / "circus.ini")


@fifos
def test_what_is_no_regular_file_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    """``-o /dev/stdout`` and its kin stay what they are. Here a pipe stands for them: a mistake may cost a pipe."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        render.write("text", path)
        assert stat.S_ISFIFO(path.stat().st_mode)
        assert os.read(reader, 10) == b"text"
    finally:
        os.close(reader)


def mode(path: str | Path) -> int:
    """Return the permission bits of a path."""
    return stat.S_IMODE(Path(path).stat().st_mode)


def located(tmp_path: Path, **system: object) -> Config:
    """Return a fleet that lives in a temporary directory."""
    return fleet(one(**system), base=tmp_path)


@owned
def test_the_directories_are_made_private(tmp_path: Path) -> None:
    """Run and log directory come into being with mode 0700, and making them again changes nothing."""
    what = located(tmp_path)
    render.make_directories(what)
    render.make_directories(what)
    assert mode(what.fleet.run_dir) == mode(what.fleet.log_dir) == 0o700


@users
def test_a_system_that_runs_as_somebody_else_can_reach_its_log(tmp_path: Path) -> None:
    """Where a system has a uid of its own, the log directory may be entered, though not listed."""
    what = located(tmp_path, circus={"uid": os.getuid()})
    render.make_directories(what)
    assert mode(what.fleet.log_dir) == 0o711
    if os.geteuid() == 0:
        assert Path(what.systems[0].log).stat().st_uid == os.getuid()


@owned
@pytest.mark.parametrize("name", [None, "circusd.pid", "state.json"])
def test_a_run_directory_of_ours_that_is_open_is_closed(tmp_path: Path, name: str | None) -> None:
    """An empty one, or one that a fleet has run in, gets mode 0700."""
    what = located(tmp_path)
    run = Path(what.fleet.run_dir)
    run.mkdir(parents=True, mode=0o755)
    if name:
        (run / name).touch()
    render.make_directories(what)
    assert mode(run) == 0o700


@owned
def test_a_directory_that_holds_other_things_is_not_closed(tmp_path: Path) -> None:
    """``run_dir = "/tmp"`` is a fault and not the end of everybody's /tmp."""
    (tmp_path / "somebody's").touch()
    tmp_path.chmod(0o755)
    data = one()
    data["fleet"]["run_dir"] = str(tmp_path)
    with pytest.raises(
        ConfigError, match=r"fleet\.toml: fleet\.run_dir: found .* holds other things, expected .*chmod 700"
    ):
        render.make_directories(fleet(data, base=tmp_path))
    assert mode(tmp_path) == 0o755


@owned
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns the directory owns the sockets in it; so does a link to such a directory."""
    what = located(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / ".aurora").mkdir()
    Path(what.fleet.run_dir).symlink_to(elsewhere)
    render.make_directories(what)  # a link to one of ours will do
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(ConfigError, match=r"fleet\.run_dir: found .*, which belongs to user \d+, expected .* 54321"):
        render.make_directories(what)


@owned
def test_a_link_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """Though it leads to a directory of ours: he could have it lead elsewhere at any time."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a link that is somebody else's")
    what = located(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (tmp_path / ".aurora").mkdir()
    Path(what.fleet.run_dir).symlink_to(elsewhere)
    os.chown(what.fleet.run_dir, 54321, -1, follow_symlinks=False)
    with pytest.raises(ConfigError, match=r"fleet\.run_dir: found .*, a link that belongs to user 54321"):
        render.make_directories(what)


@sockets
def test_the_short_directory_must_not_be_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody may make things in /tmp: a link that waits there under our name is refused, wherever it leads."""
    data = one()
    data["fleet"]["run_dir"] = f"{tmp_path}/{'x' * 100}"
    what = fleet(data, base=tmp_path)
    short = tmp_path / "short"
    monkeypatch.setattr(rundir, "socket_dir", lambda fleet: str(short))
    render.make_directories(what)
    assert mode(short) == 0o700
    short.rmdir()
    (tmp_path / "trap").mkdir()
    short.symlink_to(tmp_path / "trap")
    with pytest.raises(ConfigError, match="no directory"):
        render.make_directories(what)


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    """What is no directory, or cannot be one, is a fault with its path."""
    what = located(tmp_path)
    (tmp_path / ".aurora").mkdir()
    (tmp_path / ".aurora" / "logs").touch()
    with pytest.raises(ConfigError, match=r"fleet\.log_dir: found .*logs, which is no directory"):
        render.make_directories(what)
    (tmp_path / ".aurora" / "logs").unlink()
    (tmp_path / "file").touch()
    below = dataclasses.replace(what.fleet, run_dir=str(tmp_path / "file" / "x" / "y"))
    with pytest.raises(MachineError, match="making the directory"):
        render.make_directories(dataclasses.replace(what, fleet=below))


@owned
def test_a_log_directory_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner could put a link in a log's place; root, who could do that anyway, is trusted."""
    what = located(tmp_path)
    for owner, refused in ((54321, True), (0, False), (os.geteuid(), False)):
        found = SimpleNamespace(st_mode=stat.S_IFDIR | 0o755, st_uid=owner)
        with monkeypatch.context() as patch:
            patch.setattr(rundir, "_private", lambda *_: None)
            patch.setattr(rundir, "_look", lambda _, found=found: found)
            if refused:
                with pytest.raises(ConfigError, match=r"fleet\.log_dir: found .*, which belongs to user 54321"):
                    render.make_directories(what)
            else:
                render.make_directories(what)


@users
def test_a_log_is_handed_to_its_systems_user_and_group(tmp_path: Path) -> None:
    """The file is made for the user that will write it; one that does not exist is told."""
    log = tmp_path / "web.log"
    rundir._hand_over(str(log), {"uid": str(os.getuid()), "gid": str(os.getgid())})
    assert (log.stat().st_uid, log.stat().st_gid) == (os.getuid(), os.getgid())
    with pytest.raises(MachineError, match=r"handing the log .* over to its system: .*nobody-of-this-name"):
        rundir._hand_over(str(log), {"uid": "nobody-of-this-name"})


@links
def test_a_link_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    """A run directory that is a dangling link can neither be made nor looked at."""
    what = located(tmp_path)
    (tmp_path / ".aurora").mkdir()
    Path(what.fleet.run_dir).symlink_to("nowhere")
    with pytest.raises(MachineError, match=r"looking at the directory .*: No such file"):
        render.make_directories(what)
