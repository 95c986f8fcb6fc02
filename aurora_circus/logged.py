"""Runs circus's plugin runner with all its output appended to a file. For Windows, where no shell can do that.

python -m aurora_circus.logged LOG ARGUMENTS...
"""

import os
import sys


def main() -> None:
    """Take the first argument for the log, and leave the rest to circus."""
    try:
        log = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError:  # a fleet that is watched without a log is better than one that is not watched
        log = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)  # what writes past Python too: the stacks of a process that hangs
    sys.stdout = sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    from circus import plugins  # noqa: PLC0415 - from here on, an error leaves its trace

    plugins.main()


if __name__ == "__main__":
    main()
