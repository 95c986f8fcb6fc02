"""Who may ask: what a request's headers say about its sender, before anybody looks at what it wants. Pure.

Three dangers, one check each. A web page whose name was made to point at this machine (DNS rebinding) gives
itself away by its ``Host``; a page that makes its visitor's browser press our buttons, by its ``Origin``; and
a stranger, where tokens are set, by not knowing one. It must never look at the fleet: all are told the same.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from aurora_circus.errors import AuroraError, ConfigError

OPEN_PATH = "/health"
"""What may be looked at without a token, so that a load balancer or a watchdog can ask it."""
SAFE_METHODS = frozenset({"GET", "HEAD"})
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:/@,\s]+)(?::[0-9]*)?", re.IGNORECASE)
"""``name``, ``name:port``, ``[::1]`` or ``[::1]:port``."""
_OWN_SITE = frozenset({"same-origin", "none"})
"""What ``Sec-Fetch-Site`` says of our own page, and of what a person typed. Another port is "same-site"."""
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="aurora_circus"'}


class RefusedError(AuroraError):
    """A request that is not carried out: the status to answer with, why, and what headers go with it."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


class Right(IntEnum):
    """What a sender may do."""

    NOTHING = 0
    LOOK = 1
    ACT = 2


@dataclass(frozen=True, slots=True)
class Tokens:
    """The secrets that open the API, as read from their files.

    Both None: whoever reaches the API may do everything. ``full`` alone: nothing without it. ``read`` alone:
    nothing without it, and nobody may change anything. ConfigError for one that no header can carry.
    """

    full: str | None = field(default=None, repr=False)
    read: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse a token that everybody or nobody could send."""
        faults = [
            f"api: {name}: found {'blanks in the token' if token else 'no token'}, expected one word"
            for name, token in (("token_file", self.full), ("read_token_file", self.read))
            if token is not None and not re.fullmatch(r"\S+", token)
        ]
        if faults:
            raise ConfigError(faults)

    @property
    def any(self) -> bool:
        """Whether any token is set at all."""
        return self.full is not None or self.read is not None


def is_loopback(host: str) -> bool:
    """Say whether ``host``, a name or an address (IPv6 with or without brackets), is loopback."""
    name = _bare(host)
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Access:
    """The rules for one API; ``host`` is what it listens on.

    Raises ConfigError where other machines can reach ``host`` and no full token keeps them off.
    """

    def __init__(self, host: str, tokens: Tokens) -> None:
        if not is_loopback(host) and tokens.full is None:
            raise ConfigError(
                [f"api: host: found {host!r} and no token_file, expected a loopback address or a token_file"]
            )
        self.tokens = tokens
        self._host = _bare(host)
        self._anywhere = self._host in {"", "0.0.0.0", "::"}  # noqa: S104 - compared, not bound

    def admit(self, environ: Mapping[str, Any]) -> None:
        """Let a WSGI request in, or raise :class:`RefusedError`."""
        self._check_host(environ)
        safe = environ["REQUEST_METHOD"] in SAFE_METHODS
        right = self.right(environ)
        if right is Right.NOTHING and not (safe and environ["PATH_INFO"] == OPEN_PATH):
            raise RefusedError(401, "a valid token is needed", _CHALLENGE)
        if safe:
            return
        self._check_origin(environ)
        if right is not Right.ACT:
            raise RefusedError(403, "this token may look, not touch")

    def right(self, environ: Mapping[str, Any]) -> Right:
        """Return what the sender's token, or the absence of all tokens, allows."""
        if not self.tokens.any:
            return Right.ACT
        scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return Right.NOTHING
        import hmac  # noqa: PLC0415 - 3 ms, for a command line that asks this module about addresses alone

        # WSGI hands bytes over as Latin-1 (PEP 3333). Both are always compared: the time taken tells nothing.
        word = given.strip(" ").encode("latin-1")
        full, read = (
            token is not None and hmac.compare_digest(token.encode(), word)
            for token in (self.tokens.full, self.tokens.read)
        )
        return Right.ACT if full else Right.LOOK if read else Right.NOTHING

    def _check_host(self, environ: Mapping[str, Any]) -> None:
        host = environ.get("HTTP_HOST")
        if host is None:
            if environ["SERVER_PROTOCOL"] == "HTTP/1.0":  # which had none; every browser sends one
                return
            raise RefusedError(400, "the Host header is missing")
        match = _HOST.fullmatch(host)
        name = _bare(match[1]) if match else ""
        # Who listens everywhere does not know all his names; there, a token is set, which no such page has.
        if not name or not (self._anywhere or name == self._host or is_loopback(name)):
            raise RefusedError(403, f"this API is not at {host[:100]!r}; use localhost or its own host")

    @staticmethod
    def keep(environ: Mapping[str, Any]) -> None:
        """Let a request wait, or raise :class:`RefusedError`: few may, and a page from elsewhere could be all."""
        if environ.get("HTTP_SEC_FETCH_SITE", "none") not in _OWN_SITE:
            raise RefusedError(403, "a web page from elsewhere may not wait here")

    @staticmethod
    def _check_origin(environ: Mapping[str, Any]) -> None:
        origin = environ.get("HTTP_ORIGIN")
        ours = f"http://{environ.get('HTTP_HOST', '')}".lower()
        site = environ.get("HTTP_SEC_FETCH_SITE", "none")
        if (origin is not None and origin.lower() != ours) or site not in _OWN_SITE:
            raise RefusedError(403, "a web page from elsewhere may not change anything here")


def _bare(host: str) -> str:
    return host.lower().removeprefix("[").removesuffix("]")
