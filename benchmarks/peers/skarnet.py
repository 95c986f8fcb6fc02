"""The two families of daemontools: runit, and skarnet's s6. A small process watches each service."""

import signal
from collections.abc import Sequence

from benchmarks.peer import Peer, Plan
from benchmarks.peers.debian import debian_version

TREE = "service"


class Runit(Peer):
    """As it comes."""

    name = "runit"
    notes = "runsvdir -P"

    @classmethod
    def versions(cls) -> dict[str, str]:
        """Return the versions of all that this is."""
        return debian_version("runit")

    def configure(self, plan: Plan) -> Sequence[str]:
        """Write a directory for each service."""
        del plan  # neither asks for health
        for service in self.services:
            run = self.folder / TREE / service.name / "run"
            run.parent.mkdir(parents=True)
            run.write_text(f"#!/bin/sh\nexec {service.command}\n", encoding="utf-8")
            run.chmod(0o755)
        return ["runsvdir", "-P", TREE]

    def stop_command(self) -> Sequence[str]:
        """Return what stops everything, and it."""
        return ["kill", f"-{signal.SIGHUP:d}", str(self.main_pid())]

    def status_command(self) -> Sequence[str]:
        """Return what shows the state of every service."""
        return ["sv", "status", *(f"./{TREE}/{each.name}" for each in self.services)]


class S6(Runit):
    """As it comes."""

    name = "s6"
    notes = "s6-svscan"

    @classmethod
    def versions(cls) -> dict[str, str]:
        """Return the versions of all that this is."""
        return debian_version("s6")

    def configure(self, plan: Plan) -> Sequence[str]:
        """Write a directory for each service."""
        super().configure(plan)
        return ["s6-svscan", TREE]

    def stop_command(self) -> Sequence[str]:
        """Return what stops everything, and it."""
        return ["s6-svscanctl", "-t", TREE]

    def status_command(self) -> Sequence[str]:
        """Return what shows the state of every service."""
        return ["sh", "-c", "; ".join(f"s6-svstat {TREE}/{each.name}" for each in self.services)]
