"""Builds the sdist and from it the wheel, and runs the wheel where no checkout is near.

It asks of the wheel what a user does first: help, render, and a fleet brought up, looked at and taken down.
The wheel goes into an empty virtual environment with the users' lock. Needs the developers' environment:
``make wheel`` has it.
"""

import json
import os
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import venv
import zipfile
from contextlib import ExitStack, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
SYSTEMS = (
    "master_controller",
    "autonomous_router",
    "auto_improver",
    "enhancement_orchestrator",
    "automation_hub",
)
IN_WHEEL = ("aurora_circus/cli.py", "aurora_circus/plugins/__init__.py", "aurora_circus/circus.ini.j2")
COMMAND_TIMEOUT = 60.0
"""Seconds that any one command of the product may take."""
HEALTHY_TIMEOUT = 60.0
"""Seconds from ``up -d`` until every system is healthy."""


class CheckFailedError(Exception):
    """The wheel is not what a user should get; the message says how."""


def say(text: str) -> None:
    """Print one line, at once: the steps take seconds each."""
    print(f"wheel: {text}", flush=True)


def run(*command: str | Path, cwd: Path, timeout: float = 600.0) -> str:
    """Run a command to its end and return its standard output; a failure shows all it said."""
    shown = " ".join(map(str, command))
    # Nothing of the checkout may help: not its path, not a fleet that the caller has set.
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AURORA_", "CIRCUS")) and name not in {"PYTHONPATH", "PYTHONHOME"}
    }
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=kept,
            timeout=timeout,
            check=False,
            capture_output=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as fault:
        said = f"{fault.output!r}\n{fault.stderr!r}"
        raise CheckFailedError(f"{shown}: not done after {timeout:.0f} s; it said\n{said}") from fault
    if done.returncode != 0:
        raise CheckFailedError(f"{shown}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def build(into: Path) -> Path:
    """Build the sdist and, from that, the wheel; both must hold what they should. Returns the wheel."""
    # Without isolation: the build backend is the locked one.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", into, ROOT, cwd=into)
    (wheel,) = into.glob("*.whl")
    (sdist,) = into.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    if missing := set(IN_WHEEL) - packed:
        raise CheckFailedError(f"{wheel.name} lacks {sorted(missing)}")
    if foreign := {name.split("/")[0] for name in packed if not name.startswith("aurora_circus")}:
        raise CheckFailedError(f"{wheel.name} would install {sorted(foreign)} beside the package")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = set(project["tool"]["hatch"]["build"]["targets"]["sdist"]["only-include"])
    with tarfile.open(sdist) as source:
        packed = {name.split("/")[1] for name in source.getnames()}
    if missing := wanted - packed:
        raise CheckFailedError(f"{sdist.name} lacks {sorted(missing)}")
    say(f"built {sdist.name} and, from it, {wheel.name}")
    return wheel


def install(wheel: Path, into: Path) -> Path:
    """Make an empty virtual environment of the users' lock and the wheel. Returns where its programs are."""
    venv.create(into, with_pip=False)
    programs = into / ("Scripts" if os.name == "nt" else "bin")
    pip = (sys.executable, "-m", "pip", "--quiet", "--python", programs / "python")
    run(*pip, "install", "--require-hashes", "-r", LOCK, cwd=into)
    run(*pip, "install", "--no-index", "--no-deps", wheel, cwd=into)
    say(f"installed it with {LOCK.name} into an empty virtual environment")
    return programs


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(each.getsockname()[1]) for each in sockets]


def write_fleet(file: Path) -> list[int]:
    """Write a fleet.toml with the five on free ports. Returns the ports, the API's first."""
    ports = free_ports(len(SYSTEMS) + 1)
    tables = [f"[api]\nport = {ports[0]}\n"]
    tables += [f"[system.{key}]\nport = {port}\n" for key, port in zip(SYSTEMS, ports[1:], strict=True)]
    file.write_text("\n".join(tables), encoding="utf-8")
    return ports


def until_healthy(aurora: Path, cwd: Path) -> None:
    """Ask for the status until every system is healthy."""
    deadline = time.monotonic() + HEALTHY_TIMEOUT
    while True:
        status = json.loads(run(aurora, "status", "--json", cwd=cwd, timeout=COMMAND_TIMEOUT))
        ill = {key: status.get(key) for key in SYSTEMS if not status.get(key, {}).get("healthy")}
        if not ill:
            return
        if time.monotonic() > deadline:
            raise CheckFailedError(f"not healthy {HEALTHY_TIMEOUT:.0f} s after `up -d`: {ill}")
        time.sleep(0.2)


def show_logs(here: Path) -> None:
    """Print the ends of all that the fleet wrote: the directory is about to go."""
    for file in sorted([*here.rglob("*.log"), *here.rglob("*.jsonl")]):
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
        say("\n    ".join([f"the end of {file.relative_to(here)}:", *lines]))


def listening(port: int) -> bool:
    """Whether something answers on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def use(programs: Path, here: Path) -> None:
    """Do what a user does first, in a directory that knows nothing of the checkout."""
    python, aurora = programs / "python", programs / "aurora-circus"
    where = run(python, "-c", "import aurora_circus.plugins as plugins; print(plugins.__file__)", cwd=here)
    if not Path(where.strip()).is_relative_to(programs.parent):
        raise CheckFailedError(f"imported from outside the virtual environment: {where.strip()}")
    for command in ((python, "-m", "aurora_circus", "--help"), (aurora, "render")):
        if not run(*command, cwd=here, timeout=COMMAND_TIMEOUT).strip():
            raise CheckFailedError(f"{' '.join(map(str, command))}: said nothing")
    say("--help and render work")

    ports = write_fleet(here / "fleet.toml")
    try:
        run(aurora, "up", "-d", cwd=here, timeout=COMMAND_TIMEOUT)
        until_healthy(aurora, here)
    except BaseException:
        show_logs(here)
        with suppress(CheckFailedError):  # the first fault is the one to tell
            run(aurora, "down", cwd=here, timeout=COMMAND_TIMEOUT)
        raise
    run(aurora, "down", cwd=here, timeout=COMMAND_TIMEOUT)
    if held := [port for port in ports if listening(port)]:
        raise CheckFailedError(f"still listening after `down`: ports {held}")
    say(f"up -d, status and down work: {len(SYSTEMS)} systems came up healthy and went")


def main() -> int:
    """Check the wheel; 0 when a user would be content."""
    with tempfile.TemporaryDirectory(prefix="aurora-wheel-") as directory:
        top = Path(directory).resolve()
        here = top / "somewhere else"  # a space in the path is a user's daily bread
        here.mkdir()
        try:
            use(install(build(top), top / "venv"), here)
        except CheckFailedError as fault:
            say(f"FAILED: {fault}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
