"""Gets what is to be measured into ``build/peers``, or says why it cannot be had: nothing here fails a run.

Ours is installed as its users have it: the lock, and the wheel of this checkout as it is now, in a virtual environment.
monit, runit and s6 are Debian's: where apt-get is there and we are root, what is missing is installed.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.peer import PEERS, ROOT, environment

PINS = {
    "circus": ("circus==0.19.0",),
    "supervisor": ("supervisor==4.3.0", "superlance==2.0.0", "setuptools<81"),  # superlance needs pkg_resources
}
"""What goes into a virtual environment of its own."""
PM2 = "pm2@7.0.4"
DEBIAN = {"monit": "monit", "runit": "runsvdir", "s6": "s6-svscan"}
"""A package, and the program by which it is known to be there."""
LAST_LINES = 3
PATIENCE = 900.0


class NotHadError(Exception):
    """It cannot be had here; the message says why."""


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """Run a command to its end; its last words are the reason when it fails."""
    try:
        done = subprocess.run(
            [str(each) for each in command],
            cwd=cwd,
            env=environment(DEBIAN_FRONTEND="noninteractive"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotHadError(str(error)) from error
    if done.returncode:
        last = " · ".join(done.stdout.strip().splitlines()[-LAST_LINES:])
        raise NotHadError(f"{Path(command[0]).name}: exit {done.returncode}: {last}")


def venv(name: str, *wanted: str | Path, fresh: bool = False) -> Path:
    """Make a virtual environment with these arguments of pip's in it, once; return its Python."""
    place = PEERS / name
    python, made_of = place / "bin" / "python", place / "made-of"
    text = "\n".join(str(each) for each in wanted)
    if fresh or not made_of.exists() or made_of.read_text(encoding="utf-8") != text:
        run(sys.executable, "-m", "venv", "--clear", place)
        pip(python, *wanted)
        made_of.write_text(text, encoding="utf-8")
    return python


def pip(python: Path, *words: str | Path) -> None:
    """Install by the pip of a virtual environment."""
    run(python, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", "install", *words)


def aurora() -> None:
    """Install the users' lock once, and this checkout's wheel anew."""
    lock = ROOT / "requirements.lock"
    kept = PEERS / "aurora.lock"
    stale = not kept.exists() or kept.read_bytes() != lock.read_bytes()
    python = venv("aurora", "--require-hashes", "-r", lock, fresh=stale)
    shutil.copyfile(lock, kept)
    pip(python, "--no-index", "--no-deps", "--no-build-isolation", "--force-reinstall", ROOT)


def pm2() -> None:
    """Install it by npm, without running anybody's scripts."""
    place = PEERS / "pm2"
    if not (place / "node_modules" / "pm2").exists():
        place.mkdir(parents=True, exist_ok=True)
        run("npm", "install", "--prefix", place, "--ignore-scripts", "--no-audit", "--no-fund", PM2)


def debian(package: str) -> None:
    """Install one of Debian's packages, where it is missing and may be installed."""
    program = DEBIAN[package]
    if shutil.which(program):
        return
    if not shutil.which("apt-get"):
        raise NotHadError(f"there is no {program} on the PATH, and no apt-get to install {package} with")
    if os.geteuid() != 0:
        raise NotHadError(f"there is no {program} on the PATH, and only root may install {package}")
    install = ("apt-get", "install", "-y", "--no-install-recommends", package)
    try:
        run(*install)
    except NotHadError:  # its lists may be missing or old
        run("apt-get", "update")
        run(*install)


STEPS: dict[str, Callable[[], object]] = {
    "aurora": aurora,
    **{name: partial(venv, name, *pins) for name, pins in PINS.items()},
    "pm2": pm2,
    **{name: partial(debian, name) for name in DEBIAN},
}
"""How each is got, by the first word of the names of its kinds."""


def source(kind: str) -> str:
    """Return whose step gets a kind of peer: ``circus-0.1+http`` is circus."""
    return next(step for step in STEPS if kind == step or kind.startswith((f"{step}-", f"{step}+")))


def install(kinds: Sequence[str], say: Callable[[str], None]) -> dict[str, str]:
    """Get all of these; return those that cannot be had, and why."""
    PEERS.mkdir(parents=True, exist_ok=True)
    missing: dict[str, str] = {}
    for step in dict.fromkeys(source(kind) for kind in kinds):
        say(f"installing {step}")
        try:
            STEPS[step]()
        except NotHadError as error:
            missing |= {kind: str(error) for kind in kinds if source(kind) == step}
            say(f"SKIPPED {step}: {error}")
    return missing
