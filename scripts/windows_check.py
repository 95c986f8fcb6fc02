"""Runs the tests by Windows' Python, under Wine, on the built wheel.

The tests come from the sdist, the package from the wheel: no source of it is near. Each run has a copy of its own of
what ``scripts/wine.sh`` made, drive and registry and processes, and removes it in the end: two runs do not meet, and
what a test leaves running is ended here. Wine is evidence, not proof: the workflow in ``.github`` runs the same on
Windows.

    windows_check.py [ARGUMENTS OF PYTEST]      all tests; or, where the arguments name any, those

Exit: pytest's; 77 where Wine cannot be had. Why is then told in the file that ``$AURORA_SKIPPED`` names, too: make,
which stands between, says 2 for everything. Needs the developers' environment: ``make test-windows`` has it.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path, PureWindowsPath
from typing import BinaryIO, Self

from wheel_check import CheckFailedError, build

ROOT = Path(__file__).resolve().parent.parent
HERE = PureWindowsPath("C:/somewhere else")  # a space in the path is a user's daily bread
PACKAGED = ("aurora_circus", "circus.ini.j2", "plugins")
"""What of the sdist must not lie beside the tests: it is in the wheel."""
OF_THE_SOURCES = (
    "--ignore=tests/test_architecture.py",
    "--deselect=tests/test_packaging.py::test_the_plugins_are_found_beside_the_package",
    "--deselect=tests/test_sentences.py::test_every_event_that_we_write_has_its_words",
    "--deselect=tests/test_docs.py::test_every_event_is_on_the_journals_page_and_no_other",
)
"""Tests that read the package's sources: they are the same everywhere."""
UNIT = ("--ignore=tests/e2e", "--ignore=tests/faults", "--timeout=300")
E2E = ("tests/e2e", "--timeout=900", "--durations=10")
NAMED = ("--timeout=900",)
STAGES = ((UNIT, 900.0), (E2E, 1500.0))
"""As `make unit` and `make e2e` do, first those that take seconds; and the seconds that each may take, all told: thrice
what they take. Starting a Python takes one under Wine."""
OLD = 86_400.0
"""Seconds after which what a killed run left behind is removed."""
SKIPPED = 77
NOTHING_COLLECTED = 5
"""pytest's exit code where a choice like ``-k`` left no test."""


def say(text: str) -> None:
    """Print one line, at once."""
    print(f"windows: {text}", flush=True)


def wine() -> Path | None:
    """Where Windows' Python lies ready; it is made when it is not. None where it cannot be had; why is told."""
    # Its steps go to stderr as they come; the last line of stdout is where the Python is, or why there is none.
    made = subprocess.run([ROOT / "scripts" / "wine.sh"], check=False, stdout=subprocess.PIPE, encoding="utf-8")
    if made.returncode == SKIPPED:
        why = made.stdout.rstrip().splitlines()[-1]
        say(why)
        if told := os.environ.get("AURORA_SKIPPED"):
            with Path(told).open("a", encoding="utf-8") as file:
                file.write(f"test-windows {why}\n")
        return None
    if made.returncode:
        raise CheckFailedError(f"scripts/wine.sh: exit {made.returncode}")
    return Path(made.stdout.strip().splitlines()[-1]).parent


class Windows:
    """A Windows of our own: a copy of the one that ``wine.sh`` made. Nothing of it outlives the block."""

    def __init__(self, made: Path) -> None:
        """Copy ``made`` on entering, beside it."""
        self._made = made
        self._directory = made

    def __enter__(self) -> Self:
        """Copy it, and remove what runs that were killed have left."""
        for old in self._made.parent.glob(f"{self._made.name}-run-*"):
            if time.time() - old.stat().st_mtime > OLD:
                shutil.rmtree(old, ignore_errors=True)
        self._directory = Path(tempfile.mkdtemp(prefix=f"{self._made.name}-run-", dir=self._made.parent))
        subprocess.run(["cp", "-a", "--reflink=auto", f"{self._made}/.", self._directory], check=True)
        self.path(HERE).mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        """End and remove all of it."""
        self._end_all()
        shutil.rmtree(self._directory)

    def path(self, there: PureWindowsPath) -> Path:
        """Where a path of the drive C: lies on this side."""
        return self._directory.joinpath("prefix", "drive_c", *there.parts[1:])

    def python(self, *arguments: str, timeout: float) -> int:
        """Run Windows' Python in ``HERE``, its output through ours, and end what it leaves; return its exit code."""
        self._wineserver("-p60")  # started by Python, it would tell our output of all that it ends with
        with subprocess.Popen(
            [self._directory / "wpy", *arguments],
            cwd=self.path(HERE),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            if process.stdout is None:
                raise AssertionError
            # An orphan may hold the pipe for ever: we wait for Python, and only then, all others ended, for the pipe.
            passing = threading.Thread(target=pass_on, args=(process.stdout,))
            passing.start()
            try:
                return process.wait(timeout)
            except subprocess.TimeoutExpired:
                raise CheckFailedError(f"python {' '.join(arguments)}: not done after {timeout:.0f} s") from None
            finally:
                self._end_all()
                passing.join()

    def _end_all(self) -> None:
        self._wineserver("-k")  # both fail where nothing runs
        self._wineserver("-w")

    def _wineserver(self, option: str) -> None:
        env = {**os.environ, "WINEPREFIX": str(self._directory / "prefix")}
        quiet = subprocess.DEVNULL
        subprocess.run(["wineserver", option], env=env, check=False, stdout=quiet, stderr=quiet, timeout=60.0)


def pass_on(output: BinaryIO) -> None:
    """Copy what comes, as it comes."""
    while some := os.read(output.fileno(), 65_536):
        sys.stdout.buffer.write(some)
        sys.stdout.buffer.flush()


def furnish(windows: Windows) -> None:
    """Install the wheel, and lay the tests and what they read beside them into ``HERE``."""
    with tempfile.TemporaryDirectory(prefix="aurora-windows-") as directory:
        wheel = build(Path(directory))
        (sdist,) = Path(directory).glob("*.tar.gz")
        subprocess.run(["tar", "-x", "-f", sdist, "-C", directory], check=True)  # tarfile has filters since 3.11.4
        source = Path(directory) / sdist.name.removesuffix(".tar.gz")
        for each in source.iterdir():
            if each.name not in PACKAGED:
                shutil.move(each, windows.path(HERE))
        shutil.copy(wheel, windows.path(HERE))
        code = windows.python(
            *("-m", "pip", "--quiet", "--disable-pip-version-check", "install"),
            *("--no-index", "--no-deps", "--force-reinstall", "--no-warn-script-location", wheel.name),
            timeout=300.0,
        )
    if code:
        raise CheckFailedError(f"installing {wheel.name}: exit {code}")
    say(f"installed {wheel.name}")


def test(windows: Windows, arguments: list[str]) -> int:
    """Run the tests; return pytest's exit code, the first that is bad. What was chosen may all lie in one stage."""
    named = any(each.startswith("tests") for each in arguments)
    codes = []
    for stage, timeout in ((NAMED, 1500.0),) if named else STAGES:
        began = time.monotonic()
        options = ("-X", "utf8", "-m", "pytest", "-p", "no:cacheprovider", *OF_THE_SOURCES)
        code = windows.python(*options, *stage, *arguments, timeout=timeout)
        say(f"pytest {' '.join((*stage, *arguments))}: exit {code} after {time.monotonic() - began:.0f} s")
        codes.append(code)
        if code and not (arguments and code == NOTHING_COLLECTED):
            return code
    return min(codes)


def main() -> int:
    """Run the tests on Windows' Python; 0 when all are content."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that what runs is ended then, too
    try:
        made = wine()
        if made is None:
            return SKIPPED
        with Windows(made) as windows:
            furnish(windows)
            return test(windows, sys.argv[1:])
    except CheckFailedError as fault:
        say(f"FAILED: {fault}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
