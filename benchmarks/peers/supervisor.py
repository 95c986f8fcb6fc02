"""Supervisor, and superlance's httpok where health is asked for."""

import shlex
from collections.abc import Sequence
from typing import ClassVar

from benchmarks.client import HOST, Api, HttpApi, request
from benchmarks.peer import PEERS, Peer, Plan, version_of

BIN = PEERS / "supervisor" / "bin"
CALL = "<?xml version='1.0'?><methodCall><methodName>supervisor.getAllProcessInfo</methodName></methodCall>"


class Supervisor(Peer):
    """As it comes, with autorestart."""

    name = "supervisor"
    notes = "autorestart=true, priority as the order, all else as it comes"
    sigterm = True
    program: ClassVar[tuple[str, ...]] = ()
    """More for each program."""

    @classmethod
    def versions(cls) -> dict[str, str]:
        """Return the versions of all that this is."""
        return version_of(BIN / "python", "supervisor", "superlance")

    @property
    def socket(self) -> str:
        """Where its Unix socket lies."""
        return str(self.folder / "supervisor.sock")

    def configure(self, plan: Plan) -> Sequence[str]:
        """Write supervisord.conf."""
        del plan  # httpok has no interval but its event's
        lines = ["[supervisord]", "nodaemon=true", f"logfile={self.folder}/supervisord.log"]
        lines += [f"pidfile={self.folder}/supervisord.pid", f"childlogdir={self.folder}"]
        lines += ["[unix_http_server]", f"file={self.socket}", "[inet_http_server]", f"port={HOST}:{self.ports[0]}"]
        lines += ["[rpcinterface:supervisor]"]
        lines += ["supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface"]
        lines += ["[supervisorctl]", f"serverurl=unix://{self.socket}"]
        for index, service in enumerate(self.services):
            lines += [f"[program:{service.name}]", f"command={service.command}", "autorestart=true"]
            lines += [f"priority={index + 1}", *self.program]
        for service in self.services if self.probes else ():
            url = f"http://{HOST}:{service.port}/health"
            httpok = [str(BIN / "python"), "-u", "-m", "superlance.httpok", "-p", service.name, "-t", "1", url]
            lines += [f"[eventlistener:http-{service.name}]", f"command={shlex.join(httpok)}", "events=TICK_5"]
        (self.folder / "supervisord.conf").write_text("\n".join([*lines, ""]), encoding="utf-8")
        return [str(BIN / "supervisord"), "-n", "-c", "supervisord.conf"]

    def stop_command(self) -> Sequence[str]:
        """Return what stops everything, and it."""
        return [str(BIN / "supervisorctl"), "-c", "supervisord.conf", "shutdown"]

    def status_command(self) -> Sequence[str]:
        """Return what shows the state of every service."""
        return [str(BIN / "supervisorctl"), "-c", "supervisord.conf", "status"]

    def apis(self) -> dict[str, Api]:
        """Return its status calls by their names."""
        message = request("/RPC2", "Content-Type: text/xml\r\n", CALL, "POST")
        return {"xml-rpc, unix": HttpApi(self.socket, message), "xml-rpc, tcp": HttpApi((HOST, self.ports[0]), message)}


class SupervisorHttpok(Supervisor):
    """With superlance's health check."""

    name = "supervisor+httpok"
    notes = "superlance's httpok for each service, timeout 1 s, every 5 s (TICK_5 is the shortest event)"
    probes = True
    fastest = 5.0
    period = 5.0


class SupervisorGroup(Supervisor):
    """Told to stop whole process groups."""

    name = "supervisor+group"
    notes = "stopasgroup, killasgroup"
    program = ("stopasgroup=true", "killasgroup=true")
