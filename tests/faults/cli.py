"""The command line as its user has it, with and without a terminal."""

import os
import re
import subprocess
import sys
from contextlib import suppress

from tests.e2e.harness import DEADLINE, Fleet

COMMAND = [sys.executable, "-X", "utf8", "-m", "aurora_circus"]


def run(fleet: Fleet, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command in the fleet's directory, without a terminal."""
    return subprocess.run(
        [*COMMAND, *words],
        cwd=fleet.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=DEADLINE,
        check=False,
    )


def on_terminal(fleet: Fleet, *words: str) -> tuple[int, str]:
    """Run a command on a terminal of its own, and return its exit code and all that it wrote there."""
    import pty  # noqa: PLC0415 - Unix alone

    ours, theirs = pty.openpty()
    try:
        environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200", "LINES": "50"}
        environ.pop("NO_COLOR", None)
        process = subprocess.Popen(
            [*COMMAND, *words], cwd=fleet.folder, stdin=theirs, stdout=theirs, stderr=theirs, env=environ
        )
        os.close(theirs)
        said = bytearray()
        with suppress(OSError):  # EIO: the last one has closed it
            while data := os.read(ours, 65_536):
                said += data
        return process.wait(DEADLINE), said.decode(errors="surrogateescape")
    finally:
        os.close(ours)


OURS = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[[0-9]*[AK]|\r")
"""Colours, and what a table needs that is drawn again and again."""


def obeyed(text: str) -> list[str]:
    """Return what in a text a terminal would obey, but for what we say to it ourselves, with what stands around it."""
    rest = OURS.sub("", text)
    found = (at for at, each in enumerate(rest) if not (each.isprintable() or each == "\n"))
    return [rest[max(0, at - 20) : at + 20] for at in found]
