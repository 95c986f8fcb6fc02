"""The errors this package raises, named by whose fault they are.

Adapters translate what a library raises into one of these, so that the decisions above them never see ``zmq``,
``psutil`` or a bare ``OSError``. A message says what was attempted, on what, and what came back.
"""


class AuroraError(Exception):
    """The base of every error raised on purpose."""


class ConfigError(AuroraError):
    """The person's configuration is wrong: ``faults`` lists everything that is, one line each.

    A line reads ``file: key: found …, expected …``.
    """

    def __init__(self, faults: "list[str]") -> None:
        """Keep every fault; the message is all of them, one a line."""
        super().__init__("\n".join(faults))
        self.faults = faults


class CircusError(AuroraError):
    """circusd refused a command, answered nonsense, or did not answer within its deadline."""


class CircusRefusedError(CircusError):
    """circusd answered, and the answer was no."""


class CircusBusyError(CircusError):
    """circusd went on saying "already running …" (errno 5) for as long as we were ready to ask again."""


class MachineError(AuroraError):
    """The operating system refused something: a signal, a look at a process, a file."""


class NotRunningError(AuroraError):
    """There is no running fleet to talk to."""


class UnknownServerError(AuroraError):
    """Somebody named a system that this fleet does not have."""
