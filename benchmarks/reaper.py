"""Runs a command as the parent of all its orphans, and reaps them at once: ``python3 -IS reaper.py COMMAND…``.

An ordinary init reaps at once; the first process of a container may take seconds, and until then the dead seem alive
to a supervisor whose services are orphans (monit's are, and everybody's once the supervisor was killed). So each peer
runs under one of these. It starts the command when it has read a line, so that its own start is in nobody's time,
prints the command's pid, and ends when all are gone.
"""

import ctypes
import os
import sys

PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """Run as told by the command line."""
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        return 1
    sys.stdin.readline()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.dup2(2, 1)
        os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - there is nothing that a shell would do better
    print(pid, flush=True)
    os.close(1)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return 0


if __name__ == "__main__":
    sys.exit(main())
