"""The exchange with an API: what is sent, and what comes of every kind of answer."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from aurora_circus import client
from aurora_circus.client import ApiError, Client, ForeignError, LostError, RefusedError
from tests.fake_fleet import FakeApi
from tests.free_ports import free_port


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """An API that serves."""
    with FakeApi("/run").serving() as found:
        yield found


@contextmanager
def somebody(answer: bytes | None) -> Iterator[int]:
    """Answer one connection with these bytes and close it; None: say nothing until the other side gives up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                if answer is None:
                    connection.recv(1)
                else:
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(listener.getsockname()[1])
        thread.join()


def test_it_says_who_asks_and_with_which_token(api: FakeApi) -> None:
    """The journal is to say ``by: cli``, and the token goes where the API looks for it."""
    api.on("GET /status", {"ok": True})
    assert Client("127.0.0.1", api.port, "secret").get("/status") == {"ok": True}
    (headers,) = api.headers
    assert headers["X-Aurora-Client"] == "cli"
    assert headers["Authorization"] == "Bearer secret"
    assert headers["Host"] == f"127.0.0.1:{api.port}"


def test_without_a_token_none_is_sent(api: FakeApi) -> None:
    """An empty one would be a wrong one."""
    Client("127.0.0.1", api.port).ask("GET", "/health")
    assert "Authorization" not in api.headers[0]


def test_no_proxy_is_asked(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API is on this machine, whatever the environment says."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    assert Client("127.0.0.1", api.port).ask("GET", "/health").status == 200


def test_a_query_leaves_out_what_nobody_said(api: FakeApi) -> None:
    """And quotes what somebody did."""
    api.on("GET /events", {})
    Client("127.0.0.1", api.port).get("/events", server="a&b", event=None, since=0)
    assert api.asked[-1][1] == {"server": "a&b", "since": "0"}


@pytest.mark.parametrize(
    ("listens_on", "reached_at"),
    [("0.0.0.0", "http://127.0.0.1:5"), ("::", "http://[::1]:5"), ("[::1]", "http://[::1]:5"), ("box", "http://box:5")],
)
def test_what_listens_everywhere_is_reached_here(listens_on: str, reached_at: str) -> None:
    """An address to listen on is not always one to connect to."""
    assert Client(listens_on, 5).url == reached_at


def test_nobody_there_is_told_apart() -> None:
    """A refused connection means that nothing runs."""
    with pytest.raises(RefusedError, match="connection refused"):
        Client("127.0.0.1", free_port()).get("/status")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", LostError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}", LostError),
        (b"SSH-2.0-OpenSSH_9.2\r\n", ForeignError),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", ForeignError),
        (b"HTTP/1.1 200 OK\r\n\r\n[1]", ForeignError),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100_000, ForeignError),
        (b"\xff\xfe\x00", ForeignError),
    ],
)
def test_what_is_no_answer_of_ours_is_told_apart(answer: bytes, error: type[Exception]) -> None:
    """A connection that broke is tried again; another program is not."""
    with somebody(answer) as port, pytest.raises(error):
        Client("127.0.0.1", port).get("/status")


def test_silence_has_a_bound() -> None:
    """The timeout is for all of an exchange."""
    with somebody(None) as port, pytest.raises(LostError, match=r"no answer within 0\.05 s"):
        Client("127.0.0.1", port).get("/status", timeout=0.05)


def test_an_error_is_said_in_the_words_of_the_api(api: FakeApi) -> None:
    """With its status, since 404 may mean something."""
    api.on("GET /explain/x", (404, {"success": False, "error": "there is no system 'x'"}))
    with pytest.raises(ApiError, match="no system 'x'") as caught:
        Client("127.0.0.1", api.port).get("/explain/x")
    assert caught.value.status == 404


def test_an_error_without_words_names_its_status(api: FakeApi) -> None:
    """Something has to be said."""
    api.on("GET /x", (500, {}))
    with pytest.raises(ApiError, match="status 500"):
        Client("127.0.0.1", api.port).get("/x")


def test_retry_after_is_obeyed(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is sent away comes back when he was told to."""
    paused: list[float] = []
    monkeypatch.setattr(client, "pause", paused.append)
    answers = iter([(503, {"error": "busy"}, {"Retry-After": "3"}), {"at": "last"}])
    api.on("POST /start/x", lambda _: next(answers))
    assert Client("127.0.0.1", api.port).post("/start/x").body == {"at": "last"}
    assert paused == [3.0]


def test_a_poll_that_is_sent_away_waits_no_longer_than_it_would_have(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller has other things to look at meanwhile."""
    paused: list[float] = []
    monkeypatch.setattr(client, "pause", paused.append)
    api.on("GET /events", (503, {"error": "busy"}, {"Retry-After": "30"}))
    assert Client("127.0.0.1", api.port).poll("/events", 0.25) is None
    assert paused == [0.25]


def test_a_503_of_the_controller_itself_is_no_reason_to_wait(api: FakeApi) -> None:
    """Without Retry-After it is an error like any other."""
    api.on("GET /status", (503, {"error": "no"}))
    with pytest.raises(ApiError, match=r"^no$"):
        Client("127.0.0.1", api.port).get("/status")
