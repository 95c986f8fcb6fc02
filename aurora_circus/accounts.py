"""What this machine has to say to the users, groups and limits that circus is to start processes with. Unix alone."""

import sys

assert sys.platform != "win32"  # noqa: S101 - for the type checker: there is nothing of this there

import grp  # noqa: E402 - what follows is not there on Windows
import os  # noqa: E402
import pwd  # noqa: E402
import resource  # noqa: E402
from collections.abc import Iterator, Mapping  # noqa: E402


def faults(circus: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Go through what is wrong: the option, and why."""
    users = {each.pw_name: each.pw_uid for each in pwd.getpwall()}
    groups = {each.gr_name: each.gr_gid for each in grp.getgrall()}
    for option, known, mine in (("uid", users, os.geteuid()), ("gid", groups, os.getegid())):
        name = circus.get(option)
        if name is None:
            continue
        number = int(name) if name.isdecimal() else known.get(name)
        if number is None:
            yield option, f"there is no {name} on this machine"
        elif os.geteuid() and number != mine:
            yield option, f"only root may start a process as {name}"
    for option in circus:
        if option.startswith("rlimit_") and not hasattr(resource, option.upper()):
            yield option, "there is no such limit on this machine"
