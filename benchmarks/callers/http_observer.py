"""circus's http_observer plugin, with the two arguments left out that no Tornado it allows takes any more.

The stock one hands AsyncHTTPClient an ``io_loop`` and ``fetch`` a callback: it fails as soon as it starts, and circusd
starts it again, for ever.
"""

from typing import Any

from circus.plugins.statsd import BaseObserver
from tornado.httpclient import AsyncHTTPClient


class HttpObserver(BaseObserver):  # type: ignore[misc] # circus has no types
    """Asks one service for its health every ``loop_rate`` seconds, and has it restarted when that fails."""

    name = "http_observer"

    def __init__(self, *arguments: Any, **config: Any) -> None:  # noqa: ANN401 - circus decides what it hands over
        super().__init__(*arguments, **config)
        self._client = AsyncHTTPClient()
        self._url: str = config["check_url"]
        self._timeout = float(config["timeout"])
        self._watcher: str = config["restart_on_error"]

    async def look_after(self) -> None:
        """Ask once."""
        try:
            await self._client.fetch(self._url, request_timeout=self._timeout, connect_timeout=self._timeout)
        except Exception:  # noqa: BLE001 - as in the original: whatever goes wrong counts
            self.cast("restart", name=self._watcher)
