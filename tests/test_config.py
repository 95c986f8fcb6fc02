"""``fleet.toml``'s data becomes checked settings, or a list of everything that is wrong with it."""

import dataclasses
import inspect
import itertools
import json
import re
import tomllib
from pathlib import PurePosixPath
from typing import Any

import pytest
from circus.commands.util import _HOOKS
from circus.watcher import Watcher
from hypothesis import event, given, settings
from hypothesis import strategies as st

from aurora_circus import config, document, probe
from aurora_circus.config import AT_SPAWN, Config, Surroundings
from aurora_circus.errors import ConfigError
from aurora_circus.settings import Api, Fleet, Journal, Logs, Probe, Restart, System
from aurora_circus.tables import Named, Table

AROUND = Surroundings(
    source="fleet.toml",
    file="/srv/app/fleet.toml",
    base=PurePosixPath("/srv/app"),
    home=PurePosixPath("/home/ann"),
    bundled=PurePosixPath("/opt/systems"),
    interpreter="/usr/bin/python3",
)
FAULT = re.compile(r"fleet\.toml: \S.*?: found .+, expected .+")


def parse(text: str, **around: object) -> Config:
    """Read TOML as if it were the fleet file of /srv/app."""
    return config.parse(tomllib.loads(text), dataclasses.replace(AROUND, **around))  # type: ignore[arg-type]  # by name


def faults(text: str, **around: object) -> list[str]:
    """Return what is wrong with some TOML, without the file's name."""
    with pytest.raises(ConfigError) as caught:
        parse(text, **around)
    assert all(FAULT.fullmatch(each) for each in caught.value.faults)
    return [each.removeprefix("fleet.toml: ") for each in caught.value.faults]


def system(found: Config, key: str) -> System:
    """Return one system of a fleet."""
    return next(each for each in found.systems if each.key == key)


# --- what is right ---------------------------------------------------------------------------------------------------


def test_an_empty_file_is_the_five_in_start_order() -> None:
    """Without any settings the five built-in systems run: the brain, the router, then the other three."""
    found = parse("")
    table = [(each.key, each.port, each.critical, each.depends_on) for each in found.systems]
    assert table == [
        ("master_controller", 5020, True, ()),
        ("autonomous_router", 5015, True, ("master_controller",)),
        ("auto_improver", 5016, False, ("autonomous_router",)),
        ("enhancement_orchestrator", 5017, False, ("autonomous_router",)),
        ("automation_hub", 5018, False, ("autonomous_router",)),
    ]
    assert found.fleet.systems == tuple(each.key for each in found.systems)
    for each in found.systems:
        assert found.commands[each.key].argv == ("/usr/bin/python3", f"aurora_{each.key}.py")
        assert each.log == f"/srv/app/.aurora/logs/{each.key}.log"


def test_the_defaults_are_those_of_the_settings() -> None:
    """What nobody sets has the settings' own defaults; only the brain's metrics have another path."""
    found = parse("")
    assert found.fleet.api == Api()
    assert found.fleet.journal == Journal()
    assert found.fleet.logs == Logs()
    assert found.fleet.run_dir == "/srv/app/.aurora/run"
    assert all(each.restart == Restart() for each in found.systems)
    assert system(found, "automation_hub").probe == Probe()
    assert system(found, "master_controller").probe == Probe(metrics_path="/status")


def test_the_five_run_bundled_until_somebody_says_where_their_own_are() -> None:
    """Without a project root the reference systems run from their folder, with one the person's own from there."""
    assert parse("").fleet.bundled
    assert parse("").commands["automation_hub"].working_dir == "/opt/systems"
    own = parse('fleet.project_root = "scripts"')
    assert not own.fleet.bundled
    assert own.commands["automation_hub"].working_dir == "/srv/app/scripts"


def test_a_fleet_without_the_five_is_not_bundled() -> None:
    """Only where a reference system really runs is the fleet called bundled."""
    five = "\n".join(f'[system.{key}]\ncommand = "x"' for key in document.BUILTIN)
    assert not parse(five).fleet.bundled
    assert not parse("fleet.builtin = false\n[system.a]\ncommand = 'a'\nport = 1").fleet.bundled
    own_folders = "\n".join(f'[system.{key}]\nworking_dir = "."' for key in document.BUILTIN)
    assert not parse(own_folders).fleet.bundled


def test_project_root_and_python_given_from_outside_beat_the_file() -> None:
    """An option or the environment goes over what the file says, for both."""
    text = '[fleet]\nproject_root = "one"\npython = "python3.12"'
    found = parse(text, project_root="/two", python="/venv/bin/python")
    assert found.commands["auto_improver"].working_dir == "/two"
    assert found.commands["auto_improver"].argv[0] == "/venv/bin/python"
    assert parse(text).commands["auto_improver"].argv[0] == "python3.12"


def test_a_table_for_one_of_the_five_overrides_what_it_names() -> None:
    """What a ``[system.KEY]`` of a built-in system does not name stays as it was."""
    found = parse(
        '[system.autonomous_router]\nport = 6000\nenv = { A = "b" }\n[system.autonomous_router.probe]\ntimeout = 9'
    )
    router = system(found, "autonomous_router")
    assert (router.port, router.critical, router.depends_on) == (6000, True, ("master_controller",))
    assert (router.env, router.probe) == ({"A": "b"}, Probe(timeout=9.0))
    assert found.commands["autonomous_router"].argv[1] == "aurora_autonomous_router.py"


def test_a_system_goes_over_the_fleet_wide_defaults_value_by_value() -> None:
    """``[system.KEY.probe]`` and its kin change single values of the fleet-wide tables, which change the defaults."""
    found = parse(
        """
        [probe]
        interval = 7
        timeout = 3
        metrics_path = "/m"
        [restart]
        max_retries = 9
        [stop]
        graceful_timeout = 1
        [system.automation_hub]
        probe = { timeout = 4, metrics_path = "" }
        restart = { jitter = 0 }
        stop = { graceful_timeout = 2 }
        """
    )
    hub, router = system(found, "automation_hub"), system(found, "autonomous_router")
    assert hub.probe == Probe(interval=7.0, timeout=4.0, metrics_path=None)
    assert hub.restart == Restart(max_retries=9, jitter=0.0)
    assert hub.graceful_timeout == 2.0
    assert router.probe == Probe(interval=7.0, timeout=3.0, metrics_path="/m")
    assert router.graceful_timeout == 1.0
    assert system(found, "master_controller").probe.metrics_path == "/status"


def test_a_system_of_ones_own_needs_a_command_and_a_port() -> None:
    """Any other key adds a system, called by its key, and run where the file lies."""
    found = parse("[system.web-1_a]\ncommand = \"'my server' --port={port} '{{x}}' {python}\"\nport = 80")
    assert found.systems[1].key == "web-1_a"
    assert found.systems[1].title == "web-1_a"
    command = found.commands["web-1_a"]
    assert command.argv == ("my server", "--port=80", "{x}", "/usr/bin/python3")
    assert command.working_dir == "/srv/app"


def test_without_the_five_their_keys_are_free() -> None:
    """With ``builtin = false`` a system may be called like one of the five and inherits nothing from it."""
    found = parse("fleet.builtin = false\n[system.automation_hub]\ncommand = 'hub'\nport = 80")
    assert [(each.key, each.title, each.depends_on) for each in found.systems] == [
        ("automation_hub", "automation_hub", ())
    ]


def test_a_dynamic_port_is_left_open_until_the_spawn() -> None:
    """``{port}`` of a system with a dynamic port is not known before it starts."""
    found = parse(
        'fleet.port_range = [5030, 5032]\n[system.a]\ncommand = "a -p{port}"\nport = 80\nport_policy = "dynamic"'
    )
    assert found.commands["a"].argv == ("a", f"-p{AT_SPAWN}")
    assert found.fleet.port_range == (5030, 5032)
    assert parse("fleet.port_range = [5030, 5030]").fleet.port_range == (5030, 5030)


def test_a_disabled_system_is_left_out_and_its_port_is_free() -> None:
    """``enabled = false`` removes a system from the fleet."""
    text = "[system.automation_hub]\nenabled = false\n[system.mine]\ncommand = 'mine'\nport = 5018"
    assert [each.key for each in parse(text).systems][1] == "mine"
    assert "automation_hub" not in parse(text).fleet.systems


def test_paths_are_absolute_and_start_at_the_file() -> None:
    """Relative paths are relative to the file's folder, ``~`` is the person's home, absolute ones stay."""
    found = parse(
        """
        [fleet]
        run_dir = "run"
        log_dir = "~/logs"
        python = "venv/bin/python"
        [api]
        token_file = "/etc/token"
        read_token_file = "~"
        [system.automation_hub]
        working_dir = "../hub"
        """
    )
    assert found.fleet.run_dir == "/srv/app/run"
    assert found.fleet.log_dir == "/home/ann/logs"
    assert found.python == "/srv/app/venv/bin/python"
    assert (found.fleet.api.token_file, found.fleet.api.read_token_file) == ("/etc/token", "/home/ann")
    assert found.commands["automation_hub"].working_dir == "/srv/app/../hub"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_a_loopback_host_needs_no_token(host: str) -> None:
    """Only what other machines can reach has to be closed; a read token alone makes the API one to look at."""
    assert parse(f'api.host = "{host}"').fleet.api.token_file is None
    assert parse('api.read_token_file = "look"').fleet.api == Api(read_token_file="/srv/app/look")


def test_circus_options_are_spelled_for_circus() -> None:
    """Options for circus's own watcher come out flat and as text."""
    found = parse(
        '[system.automation_hub.circus]\nuid = "www"\ngid = 33\nrlimit_nofile = 9\nclose_child_stdin = false\n'
        'hooks.after_start = "a.b, true"'
    )
    assert found.commands["automation_hub"].circus == {
        "uid": "www",
        "gid": "33",
        "rlimit_nofile": "9",
        "close_child_stdin": "False",
        "hooks.after_start": "a.b, true",
    }


# --- what is wrong ---------------------------------------------------------------------------------------------------

WRONG = [
    ('fleet = "x"', 'fleet: found "x", expected a table'),
    ("[fleet]\npyhton = 'x'", "fleet.pyhton: found an unknown key, expected python"),
    ("[prob]\ntimeout = 1", "prob: found an unknown key, expected probe"),
    ("[logs]\nzzz = 1", "logs.zzz: found an unknown key, expected one of max_bytes, backups"),
    ("[fleet]\nname = ''", 'fleet.name: found "", expected a string without line breaks and the like'),
    ('[fleet]\nname = "a\\nb"', 'fleet.name: found "a\\nb", expected a string without line breaks and the like'),
    ("[fleet]\nrun_dir = ''", 'fleet.run_dir: found "", expected a path'),
    (
        "[fleet]\nrun_dir = '~bob'",
        'fleet.run_dir: found "~bob", expected a path written out, or in one\'s own home directory (~/)',
    ),
    (
        "[fleet]\nport_range = [9, 5]",
        "fleet.port_range: found [9, 5], expected two ports [low, high], low no higher than high",
    ),
    ("[fleet]\nport_range = [0, 5]", "fleet.port_range: found [0, 5], expected two ports [low, high]"),
    ("[fleet]\nport_range = [5]", "fleet.port_range: found [5], expected two ports [low, high]"),
    ("[api]\nport = '5025'", 'api.port: found "5025", expected an integer from 1 to 65535'),
    ("[api]\nport = true", "api.port: found true, expected an integer from 1 to 65535"),
    ("[api]\nport = 1e3", "api.port: found 1000.0, expected an integer from 1 to 65535"),
    (
        "[api]\nhost = '0.0.0.0'",
        'api.token_file: found nothing, expected a file, since api.host "0.0.0.0" is not loopback',
    ),
    (
        "[api]\ntoken_file = 'x'\nread_token_file = 'x'",
        'api.read_token_file: found "/srv/app/x", expected another file than api.token_file',
    ),
    ("[probe]\ntimeout = nan", "probe.timeout: found nan, expected a number above 0"),
    ("[probe]\ntimeout = inf", "probe.timeout: found inf, expected a number above 0"),
    ("[probe]\npath = 'health'", 'probe.path: found "health", expected a path that begins with / and has no spaces'),
    ('[probe]\npath = "/a\\n"', 'probe.path: found "/a\\n", expected a path that begins with / and has no spaces'),
    ("[probe]\nmetrics = { uptme = 'u' }", "probe.metrics.uptme: found an unknown key, expected uptime"),
    (
        "[journal]\nmax_bytes = 1979-05-27",
        'journal.max_bytes: found "1979-05-27", expected an integer of at least 1000',
    ),
    ("[system]\nWeb = {}", 'system.Web: found "Web", expected a key of a-z, 0-9, _ and -'),
    ('[system."a b"]', 'system."a b": found "a b", expected a key of a-z, 0-9, _ and -'),
    (
        "[system.aurora]",
        "system.aurora: found a name that Aurora's own plugin has in circusd, expected another name",
    ),
    ("[system.circusd]", "system.circusd: found a name that circusd's own log has, expected another name"),
    ("[system.a]\nport = 1", "system.a.command: found nothing, expected a command, since it is no built-in system"),
    ("[system.a]\ncommand = 'a'", "system.a.port: found nothing, expected a port, since it is no built-in system"),
    ("[system.a]\ncommand = ''\nport = 1", 'system.a.command: found "", expected a program and its arguments'),
    (
        '[system.a]\ncommand = "a \'b"\nport = 1',
        (
            'system.a.command: found "a \'b", expected a command line whose quotes and escapes are closed'
            " (No closing quotation)"
        ),
    ),
    (
        "[system.a]\ncommand = 'a {prot}'\nport = 1",
        'system.a.command: found "a {prot}", expected no placeholders but {python} and {port}; {{ and }} for braces',
    ),
    (
        "[system.a]\ncommand = 'a {port!r}'\nport = 1",
        'system.a.command: found "a {port!r}", expected no placeholders but {python} and {port}; {{ and }} for braces',
    ),
    (
        "[system.a]\ncommand = 'a }'\nport = 1",
        'system.a.command: found "a }", expected no placeholders but {python} and {port}; {{ and }} for braces',
    ),
    (
        "[system.a]\ncommand = \"a '\\r'\"\nport = 1",
        (
            "system.a.command: found \"a '\\r'\", expected arguments without carriage returns, which circus's"
            " configuration loses"
        ),
    ),
    ('[system.a]\ncommand = "a \\u0000"\nport = 1', 'system.a.command: found "a \\u0000", expected a string'),
    (
        "[system.a]\ncommand = 'a'\nport = 5025",
        "system.a.port: found 5025, which is api.port too, expected a port of its own",
    ),
    (
        "[system.a]\ncommand = 'a'\nport = 5020",
        "system.a.port: found 5020, which is system.master_controller.port too, expected a port of its own",
    ),
    (
        "[system.automation_hub]\nport_policy = 'dynamic'",
        (
            "fleet.port_range: found nothing, expected [low, high], since system.automation_hub has"
            ' port_policy = "dynamic"'
        ),
    ),
    (
        "fleet.port_range = [5015, 5016]\n[system.automation_hub]\nport_policy = 'dynamic'",
        "fleet.port_range: found [5015, 5016], expected at least one port that is no system's and not the API's",
    ),
    (
        "[system.automation_hub]\nport_policy = 'dynamc'",
        'system.automation_hub.port_policy: found "dynamc", expected "fixed" or "dynamic"',
    ),
    (
        "[system.automation_hub]\ndepends_on = 'auto_improver'",
        'system.automation_hub.depends_on: found "auto_improver", expected a list of strings',
    ),
    (
        "[system.automation_hub]\ndepends_on = ['auto_imprver']",
        'system.automation_hub.depends_on: found "auto_imprver", expected auto_improver',
    ),
    (
        "[system.automation_hub]\ndepends_on = ['automation_hub']",
        'system.automation_hub.depends_on: found "automation_hub", expected another system than itself',
    ),
    (
        "[system.master_controller]\ndepends_on = ['automation_hub']",
        (
            "system.master_controller.depends_on: found a cycle master_controller → automation_hub → autonomous_router"
            " → master_controller, expected systems that can start first"
        ),
    ),
    (
        "[system.automation_hub]\ndepends_on = ['auto_improver']\n[system.auto_improver]\nenabled = false",
        (
            'system.automation_hub.depends_on: found "auto_improver", expected a system that runs: auto_improver has'
            " enabled = false; leave it out here, or enable it"
        ),
    ),
    ("[system.automation_hub]\nenv = { A = 1 }", "system.automation_hub.env.A: found 1, expected a string"),
    (
        "[system.automation_hub]\nenv = { 'A=B' = '' }",
        'system.automation_hub.env."A=B": found "A=B", expected a variable\'s name',
    ),
    (
        "[system.automation_hub]\nenv = { PORT = '1' }",
        "system.automation_hub.env.PORT: found a name that Aurora sets itself, expected another name",
    ),
    (
        "[system.automation_hub]\ncircus = { autostart = true }",
        (
            "system.automation_hub.circus.autostart: found an option that Aurora sets itself, expected it left out:"
            " Aurora starts, stops and restarts the systems"
        ),
    ),
    (
        "[system.automation_hub]\ncircus = { stdout_stream.class = 'FileStream' }",
        (
            "system.automation_hub.circus.stdout_stream: found an option that Aurora sets itself, expected [logs]: a"
            " system writes its own log file"
        ),
    ),
    (
        "[system.automation_hub]\ncircus = { 'stderr_stream.class' = 'FileStream' }",
        (
            'system.automation_hub.circus."stderr_stream.class": found an option that Aurora sets itself, expected'
            " [logs]: a system writes its own log file"
        ),
    ),
    (
        "[system.automation_hub]\ncircus = { hooks.before_spawn = 'a.b' }",
        (
            "system.automation_hub.circus.hooks.before_spawn: found an option that Aurora sets itself, expected it left"
            " out: Aurora hooks in there"
        ),
    ),
    (
        "[system.automation_hub]\ncircus = { rlimit_nofle = 1 }",
        "system.automation_hub.circus.rlimit_nofle: found an unknown key, expected rlimit_nofile",
    ),
    ("fleet.builtin = false", "system: found no enabled system, expected at least one"),
]


@pytest.mark.parametrize(("text", "fault"), WRONG, ids=[fault.partition(",")[0] for _, fault in WRONG])
def test_each_fault_names_its_key_and_what_was_expected(text: str, fault: str) -> None:
    """One thing wrong is one fault, in one line: the dotted key, what was found, what was expected."""
    assert faults(text) == [fault]


def test_a_value_too_large_to_show_is_refused_all_the_same() -> None:
    """A number beyond what Python writes in decimal digits is a fault like any other."""
    text = f"fleet.name = 0x{'f' * 5000}"
    assert faults(text) == [
        "fleet.name: found something too large to show, expected a string without line breaks and the like"
    ]


def test_all_faults_are_told_at_once() -> None:
    """Whatever can be checked is checked, however much else is wrong."""
    found = faults(
        """
        bogus = 1
        probe.timeout = -1
        [system.a]
        command = "{nope}"
        port = 5015
        depends_on = ["b", "nobody"]
        [system.b]
        command = "b"
        port = "x"
        depends_on = ["a"]
        [system.c]
        command = "c"
        port = 7
        depends_on = ["d"]
        [system.d]
        command = "d"
        port = 8
        depends_on = ["c"]
        """
    )
    keys = [each.partition(":")[0] for each in found]
    assert sorted(keys) == [
        "bogus",
        "probe.timeout",
        "system.a.command",
        "system.a.depends_on",
        "system.a.depends_on",
        "system.a.port",
        "system.b.port",
        "system.c.depends_on",
    ]


def test_a_value_of_the_wrong_type_is_not_called_missing_too() -> None:
    """What is there and wrong is one fault, not two."""
    assert len(faults("[system.a]\ncommand = 3\nport = 'x'")) == 2


def test_a_person_without_a_home_directory_cannot_name_it() -> None:
    """Where nobody knows the home directory, ``~`` is refused and not taken for a folder's name."""
    assert [each.partition(":")[0] for each in faults("fleet.run_dir = '~/run'", home=None)] == ["fleet.run_dir"]


def test_a_path_that_comes_from_outside_is_checked_as_well() -> None:
    """A folder with a line break or bytes that are not UTF-8 in its name is refused wherever it comes from."""
    for base in ("/srv/a\nb", "/srv/\udcff"):
        found = faults("", base=PurePosixPath(base))
        assert {each.partition(":")[0] for each in found} >= {"fleet.run_dir", "fleet.log_dir"}


TABLES: dict[str, type[Any]] = {"probe": Probe, "restart": Restart, "journal": Journal, "logs": Logs, "api": Api}
NUMBERS: list[tuple[str, str, dict[str, int]]] = [
    (table, each.name, dict(each.metadata))
    for table, kind in TABLES.items()
    for each in dataclasses.fields(kind)
    if each.metadata
] + [("stop", "graceful_timeout", {"ge": 0}), ("system.automation_hub", "port", {"ge": 1, "le": 65535})]


@pytest.mark.parametrize(("table", "name", "limits"), NUMBERS)
def test_the_settings_own_limits_hold(table: str, name: str, limits: dict[str, int]) -> None:
    """A number at its limit is taken, one beyond it is refused: the limits are those beside the fields."""
    good = [limit + (word == "gt") for word, limit in limits.items()]
    bad = [limit - 1 if word == "ge" else limit if word == "gt" else limit + 1 for word, limit in limits.items()]
    for number in good:
        parse(f"[{table}]\n{name} = {number}")
    for text in [*map(str, bad), "nan", "inf", "-inf"]:
        assert [each.partition(":")[0] for each in faults(f"[{table}]\n{name} = {text}")] == [f"{table}.{name}"]


# --- properties ------------------------------------------------------------------------------------------------------

KEYS = ["a", "b", "c", "d", "e", "f", "g"]


ANY_GRAPH = st.dictionaries(st.sampled_from(KEYS), st.lists(st.sampled_from(KEYS), max_size=3, unique=True), min_size=1)


@st.composite
def acyclic_graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    """Systems that depend on some of those before them, in whatever order the file has them."""
    ranked = draw(st.permutations(KEYS))
    edges = {
        key: draw(st.lists(st.sampled_from(ranked[:rank]), unique=True)) if rank else []
        for rank, key in enumerate(ranked)
    }
    return {key: edges[key] for key in draw(st.permutations(KEYS))}


@given(ANY_GRAPH | acyclic_graphs())
@settings(deadline=None)
def test_start_order_goes_level_by_level_or_names_what_is_in_the_way(graph: dict[str, list[str]]) -> None:
    """Dependencies come first, a level at a time, in the file's order; else each fault is a true one."""
    text = "fleet.builtin = false\n" + "\n".join(
        f"[system.{key}]\ncommand = 'x'\nport = {number + 1}\ndepends_on = {json.dumps(others)}"
        for number, (key, others) in enumerate(graph.items())
    )
    try:
        found = parse(text)
    except ConfigError as error:
        event("refused")
        for fault in error.faults:
            cycle = re.search(r"found a cycle (\S+(?: → \S+)+),", fault)
            if cycle:
                steps = cycle[1].split(" → ")
                assert steps[0] == steps[-1]
                assert all(after in graph[before] for before, after in itertools.pairwise(steps))
            else:
                where = re.match(r"fleet\.toml: system\.(.)\.depends_on: found \"(.)\"", fault)
                assert where
                assert where[1] == where[2] or where[2] not in graph
        return
    event("accepted")
    depth: dict[str, int] = {}
    for each in found.systems:
        depth[each.key] = 1 + max((depth[other] for other in each.depends_on), default=-1)
    levels = list(depth.values())
    assert levels == sorted(levels)
    assert list(depth) == sorted(depth, key=lambda key: (depth[key], list(graph).index(key)))


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.dates(),
    st.sampled_from([10**400, "dynamic", "/x", "a", 5020, "{port}", "~/x", "~x", "'"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def tables(kind: object) -> st.SearchStrategy[Any]:
    """Tables of the right shape, in which anything may be wrong."""
    if isinstance(kind, Table):
        keys = {name: tables(each) for name, each in kind.keys.items()}
        return st.fixed_dictionaries({}, optional={**keys, "unknwon": VALUES}) | VALUES
    if isinstance(kind, Named):
        return (
            st.dictionaries(st.sampled_from([*KEYS, "A B", "aurora", "automation_hub"]), tables(kind.of), max_size=3)
            | VALUES
        )
    return VALUES


@given(tables(document.DOCUMENT).filter(lambda data: isinstance(data, dict)))
@settings(deadline=None, max_examples=300)
def test_whatever_a_toml_file_holds_is_taken_or_refused_in_words(data: Any) -> None:
    """No data makes the check itself fail, and each fault is one line in the one form."""
    try:
        found = config.parse(data, AROUND)
    except ConfigError as error:
        told = error.faults
    else:
        told = []
        assert found.systems
    assert all(FAULT.fullmatch(each) and each.isprintable() for each in told)


# --- what is stated elsewhere too ------------------------------------------------------------------------------------


def test_every_option_of_circus_is_known() -> None:
    """Each option that circus's watcher has is either handed on or refused with a word on what to do instead."""
    kind = document.DOCUMENT.keys["system"]
    assert isinstance(kind, Named)
    assert isinstance(kind.of, Table)
    circus = kind.of.keys["circus"]
    assert isinstance(circus, Table)
    options = set(inspect.signature(Watcher.__init__).parameters) - {"self", "options"}
    assert options <= circus.keys.keys() | circus.refused.keys()
    assert not {"hooks", *circus.refused} & circus.keys.keys() - {"hooks"}
    hooks = circus.keys["hooks"]
    assert isinstance(hooks, Table)
    assert hooks.keys.keys() | hooks.refused.keys() == set(_HOOKS)


def test_every_limit_that_this_system_knows_can_be_handed_on() -> None:
    """By its name in ``resource``."""
    resource = pytest.importorskip("resource", reason="on Windows no process has limits of this kind")
    kind = document.DOCUMENT.keys["system"]
    assert isinstance(kind, Named)
    assert isinstance(kind.of, Table)
    circus = kind.of.keys["circus"]
    assert isinstance(circus, Table)
    limits = {f"rlimit_{each.removeprefix('RLIMIT_').lower()}" for each in dir(resource) if each.startswith("RLIMIT_")}
    assert limits
    assert limits <= circus.keys.keys()


def test_the_metrics_are_those_that_the_prober_looks_for() -> None:
    """Names may be given for the very metrics that are read."""
    assert set(document.METRICS) == set(probe.METRICS)


def test_the_schema_knows_every_key_its_limits_and_defaults() -> None:
    """The JSON Schema is made of the same types: each field of the settings is in it, limits and default too."""
    schema = config.schema()
    json.dumps(schema)
    top = schema["properties"]
    for table, kind in TABLES.items():
        assert top[table]["properties"].keys() == {each.name for each in dataclasses.fields(kind)}
        assert top[table]["additionalProperties"] is False
    assert top["probe"]["properties"]["interval"] == {"type": "number", "exclusiveMinimum": 0, "default": 5.0}
    assert top["api"]["properties"]["port"] == {"type": "integer", "minimum": 1, "maximum": 65535, "default": 5025}
    one = top["system"]["additionalProperties"]["properties"]
    assert one["port_policy"] == {"enum": ["dynamic", "fixed"], "default": "fixed"}
    assert one["probe"] == top["probe"]
    assert {each.name for each in dataclasses.fields(System)} - {
        "key",
        "log",
        "run_dir",
        "graceful_timeout",
        "wanted",
    } <= one.keys()
    assert {"name", "run_dir", "log_dir", "port_range"} <= {each.name for each in dataclasses.fields(Fleet)}
