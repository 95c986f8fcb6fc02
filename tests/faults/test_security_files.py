"""What lies on the disk and stands in the process list: secrets nowhere, and nobody else where we are at home."""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from aurora_circus.endpoints import CONTROL, EVENTS, socket_dir
from tests.e2e.harness import DEADLINE, WINDOWS, Fleet, Json, kill, toml, unix_only
from tests.faults.arena import Arena, MakeArena
from tests.faults.cli import run
from tests.faults.clients import ROOT, ask

SECRET = "s3cret-of-the-environment"
FULL, LOOK = "s3cret-to-open", "s3cret-to-look"
NOBODY = 65534
"""Another user: whoever has this number has nothing to do with us."""


def as_root() -> None:
    """Skip a test that plays another user."""
    if WINDOWS or os.geteuid() != 0:
        pytest.skip("only root can be somebody else")


def mode(path: Path) -> int:
    """Return a file's permissions."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that every user can enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="aurora-faults-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def written(fleet: Arena) -> Arena:
    """Write fleet.toml, and nothing else."""
    (fleet.folder / "fleet.toml").write_text(toml(fleet.settings), encoding="utf-8")
    return fleet


# --- Secrets ---------------------------------------------------------------------------------------------------


@pytest.mark.fault("api", "secrets in env and token files: in no answer, record, log, command line or open file")
def test_secrets_are_shown_nowhere(arena: MakeArena, tmp_path: Path) -> None:
    """They stand in circus.ini and in what is handed to the system, and only its owner can read either."""
    for name, word in (("full", FULL), ("look", LOOK)):
        (tmp_path / name).write_text(word, encoding="utf-8")
        (tmp_path / name).chmod(0o600)
    systems: dict[str, Json] = {"one": {"env": {"PASSWORD": SECRET}}, "two": {"env": {"PASSWORD": SECRET}}}
    api = {"token_file": "full", "read_token_file": "look"}
    fleet = arena(systems, api=api, start=False)
    fleet.session.headers["Authorization"] = f"Bearer {FULL}"
    fleet.begin()
    assert (
        fleet.session.get(f"http://127.0.0.1:{fleet.ports['one']}/environ", timeout=DEADLINE).json()["PASSWORD"]
        == SECRET
    )
    old = fleet.pids()
    fleet.strike(lambda: kill(old["one"]))
    fleet.back("one", old["one"])
    assert fleet.post(f"{ROOT}/restart/two?wait=60").status_code == 200
    said = shown(fleet)
    assert "killed by" in said, "this is where it would stand"
    for secret in (SECRET, FULL, LOOK):
        assert secret not in said
    holding = {
        each.relative_to(tmp_path).as_posix() for each in files(tmp_path) if SECRET.encode() in each.read_bytes()
    }
    assert holding == {"circus.ini", "fleet.toml"}
    if not WINDOWS:
        private = ["circus.ini", ".aurora/run/state.json"]
        assert {name: mode(tmp_path / name) for name in private} == dict.fromkeys(private, 0o600)
        assert mode(tmp_path / ".aurora" / "run") == mode(tmp_path / ".aurora" / "logs") == 0o700


def files(folder: Path) -> list[Path]:
    """Return all regular files below a folder."""
    return [each for each in folder.rglob("*") if each.is_file() and not each.is_socket()]


def shown(fleet: Arena) -> str:
    """Return all that is shown of a fleet: by the API, by the command line, and by `ps`."""
    paths = ["/", "/health", "/openapi.json", f"{ROOT}/status", f"{ROOT}/events?limit=1000", f"{ROOT}/operations/x"]
    paths += [f"{ROOT}/{what}/{key}" for what in ("status", "explain", "logs") for key in fleet.ports]
    answers = [ask(fleet, "GET", path, Authorization=f"Bearer {FULL}").body.decode() for path in paths]
    commands = [["status"], ["events"], ["explain", "one"], ["logs", "one"], ["env"], ["check"], ["status", "--json"]]
    told = [run(fleet, *words) for words in commands]
    lines = [" ".join(each.cmdline()) for each in psutil.Process(fleet.circusd_pid()).children(recursive=True)]
    lines += psutil.Process(fleet.circusd_pid()).cmdline()
    return "\n".join([*answers, *(each.stdout + each.stderr for each in told), *lines])


@pytest.mark.fault("api", "a token file that others may read or change")
@unix_only
@pytest.mark.quick
def test_a_token_file_that_others_may_read_is_told(arena: MakeArena) -> None:
    """Before anything starts, with what to do."""
    fleet = written(arena({"one": {}}, api={"token_file": "full"}, start=False))
    file = fleet.folder / "full"
    file.write_text(FULL, encoding="utf-8")
    for bits, told in ((0o600, False), (0o640, False), (0o644, True), (0o620, True), (0o602, True)):
        file.chmod(bits)
        done = run(fleet, "check")
        assert done.returncode == 0
        assert (f"warning: api.token_file: others may read or change {file}: chmod 600" in done.stdout) is told
        assert FULL not in done.stdout + done.stderr


# --- Directories -----------------------------------------------------------------------------------------------


def given_away(path: Path) -> None:
    """Make a directory that is another user's."""
    path.mkdir(parents=True)
    os.chown(path, NOBODY, NOBODY)


def linked_to_theirs(path: Path) -> None:
    """Make a link to a directory of another user's."""
    given_away(path.with_name("theirs"))
    path.symlink_to("theirs")


def their_link(path: Path) -> None:
    """Make a link that is another user's, to a directory of ours."""
    path.with_name("ours").mkdir(parents=True, mode=0o700)
    path.symlink_to("ours")
    os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def refused_everywhere(fleet: Fleet, *words: str) -> None:
    """Check that nothing is rendered, brought up or asked, and that it is said why."""
    for command in (["render", "-o", "new.ini"], ["up", "-d"]):
        done = run(fleet, *command)
        assert done.returncode in {1, 2}, done.stdout
        assert all(word in done.stderr for word in words), done.stderr
    assert not (fleet.folder / "new.ini").exists()
    assert fleet.leftovers() == []


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        pytest.param(
            given_away,
            ["fleet.run_dir", f"belongs to user {NOBODY}"],
            marks=pytest.mark.fault("api", "run_dir belongs to another user"),
        ),
        pytest.param(
            linked_to_theirs,
            ["fleet.run_dir", f"belongs to user {NOBODY}"],
            marks=pytest.mark.fault("api", "run_dir is a link to another user's directory"),
        ),
        pytest.param(
            their_link,
            ["run", f"belongs to user {NOBODY}"],
            marks=pytest.mark.fault("api", "run_dir is another user's link to a directory of ours"),
        ),
    ],
)
def test_a_run_dir_that_is_not_ours_is_refused(
    arena: MakeArena, prepare: Callable[[Path], None], words: list[str]
) -> None:
    """Whoever owns it could put his own circusd's socket there."""
    as_root()
    fleet = written(arena({"one": {}}, start=False))
    prepare(fleet.folder / ".aurora" / "run")
    refused_everywhere(fleet, *words)


@pytest.mark.fault("api", "run_dir that others may enter")
@unix_only
def test_a_run_dir_is_closed(arena: MakeArena) -> None:
    """An empty one, and one that is a fleet's already, gets mode 0700; one that holds other things is refused."""
    fleet = written(arena({"one": {}}, start=False))
    folder = fleet.folder / ".aurora" / "run"
    folder.mkdir(parents=True)
    for _ in range(2):
        folder.chmod(0o777)
        assert run(fleet, "render", "-o", "new.ini").returncode == 0
        assert mode(folder) == 0o700
        assert mode(fleet.folder / "new.ini") == 0o600
        (folder / "state.json").touch()
    (folder / "state.json").unlink()
    (fleet.folder / "new.ini").unlink()
    (folder / "thesis.txt").touch()
    folder.chmod(0o755)
    refused_everywhere(fleet, "fleet.run_dir", "which others may enter")
    assert mode(folder) == 0o755, "what is not ours alone is not changed"


@pytest.fixture
def far(arena: MakeArena) -> Iterator[tuple[Arena, Path]]:
    """Return a fleet whose run_dir is too long for sockets, and the directory in /tmp that these lie in instead."""
    as_root()
    fleet = written(arena({"one": {}}, fleet={"run_dir": "x" * 100}, start=False))
    short = Path(socket_dir(fleet.config().fleet))
    assert short.parent != fleet.folder
    assert not short.exists()
    yield fleet, short
    if short.is_symlink():
        short.unlink()
    elif short.exists():
        for name in (CONTROL, EVENTS):
            (short / name).unlink(missing_ok=True)
        short.rmdir()


@pytest.mark.fault("api", "the sockets' directory in /tmp, prepared by another user")
def test_a_socket_directory_that_is_waiting_for_us_is_refused(far: tuple[Arena, Path], tmp_path: Path) -> None:
    """Be it a directory of his, or a link, wherever that leads."""
    fleet, short = far
    short.mkdir(mode=0o700)
    os.chown(short, NOBODY, NOBODY)
    refused_everywhere(fleet, str(short), f"{NOBODY}")
    short.rmdir()
    (tmp_path / "trap").mkdir(mode=0o700)
    short.symlink_to(tmp_path / "trap")
    refused_everywhere(fleet, str(short))


@pytest.mark.fault("api", "the sockets' directory in /tmp, taken by another user before a plain circusd starts")
def test_a_plugin_believes_nobody_in_a_directory_that_is_not_its_own(far: tuple[Arena, Path]) -> None:
    """It says so in its log and does nothing: who answers there could be anybody."""
    fleet, short = far
    fleet.render()
    assert mode(short) == 0o700
    os.chown(short, NOBODY, NOBODY)
    fleet.excuse("api", "nobody serves it")
    fleet.launch()
    log = fleet.folder / ".aurora" / "logs" / "aurora.log"
    words = f"circusd's sockets lie in {short}, which belongs to user {NOBODY}"
    fleet.until("a word of the plugin's", lambda: log.exists() and words in log.read_text(encoding="utf-8"))
    assert fleet.journal() == []
    assert fleet.started("one") == []
    done = run(fleet, "status")
    assert done.returncode in {1, 3}
    os.chown(short, 0, 0)
    fleet.event("server_started", "one")


ENTER = """
import os, socket, sys
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
os.listdir(sys.argv[2])
for path in sys.argv[3:]:
    try:
        if path.endswith(".sock"):
            socket.socket(socket.AF_UNIX).connect(path)
        else:
            open(path).close()
        print("open")
    except PermissionError:
        print("refused")
"""


@pytest.mark.fault("api", "another user of the machine at circusd's socket, circus.ini, state, journal and logs")
def test_another_user_gets_nowhere(open_folder: Path, arena: MakeArena) -> None:
    """What he would need for circusctl is refused to him, though he can enter the fleet's folder."""
    as_root()
    fleet = arena({"one": {"env": {"PASSWORD": SECRET}}}, folder=str(open_folder))
    folder = open_folder / ".aurora"
    names = [
        "run/circusd.sock",
        "run/events.sock",
        "run/state.json",
        "logs/events.jsonl",
        "logs/one.log",
        "logs/aurora.log",
    ]
    paths = [str(fleet.ini), *(str(folder / name) for name in names)]
    assert all(Path(each).exists() for each in paths)
    for number, expected in ((0, "open"), (NOBODY, "refused")):
        done = subprocess.run(
            [sys.executable, "-c", ENTER, str(number), str(open_folder), *paths],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=True,
        )
        assert done.stdout.split() == [expected] * len(paths)
