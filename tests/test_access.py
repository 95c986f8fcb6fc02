"""Who may ask: hosts, origins and tokens, as headers and over real sockets."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_circus.access import Access, RefusedError, Right, Tokens, is_loopback
from aurora_circus.api import Api
from aurora_circus.errors import ConfigError
from tests.fake_backend import ROOT, FakeBackend, serve

PIECES = ("localhost", "LOCALHOST", "127.0.0.1", "[::1]", "aurora.lan", "evil", ":", "5025", ".", "@", "/", ",", " ")
"""What a Host may be made of, to be or to look like one of ours."""
BOTH = Tokens(full="open-sesame", read="peek")


def environ(method: str = "GET", path: str = f"{ROOT}/status", **headers: str) -> dict[str, str]:
    """A request as WSGI hands it over; ``headers`` by their names there, without HTTP_."""
    request = {"REQUEST_METHOD": method, "PATH_INFO": path, "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": "localhost"}
    return request | {f"HTTP_{name}": value for name, value in headers.items()}


def refusal(access: Access, request: dict[str, str]) -> int | None:
    """The status with which a request is refused, None when it is let in."""
    try:
        access.admit(request)
    except RefusedError as refused:
        return refused.status
    return None


@pytest.mark.parametrize(
    "host",
    ["localhost", "LocalHost:5025", "127.0.0.1", "127.0.0.1:5025", "127.9.8.7:1", "[::1]", "[::1]:5025", "localhost:"],
)
def test_loopback_is_this_machine(host: str) -> None:
    """Every name of loopback will do, with whatever port (it may be forwarded) or none."""
    assert refusal(Access("127.0.0.1", Tokens()), environ(HOST=host)) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:5025",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "[::2]",
        "::1",
        "",
        ":5025",
        "localhost, evil.example",
        "evil@localhost",
        "localhost:x",
        "0.0.0.0",
        "localhost/",
        "[::1",
        "2130706433",
    ],
)
def test_a_rebound_name_is_refused(host: str) -> None:
    """A page whose name was made to point here says that name in Host, and is refused: it may not even look."""
    assert refusal(Access("127.0.0.1", Tokens()), environ(HOST=host)) == 403


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3)).map("".join))
def test_no_other_host_gets_in(host: str) -> None:
    """Whatever the Host: who is let in has named loopback or the API's own host, as any URL parser sees it."""
    if refusal(Access("aurora.lan", BOTH), environ(HOST=host, AUTHORIZATION="Bearer peek")) is None:
        name = urlsplit(f"//{host}").hostname or ""
        assert is_loopback(name) or name == "aurora.lan"


def test_the_configured_host_is_known() -> None:
    """What the API listens on is a name it goes by, beside loopback."""
    access = Access("192.168.1.5", BOTH)
    seen = [
        refusal(access, environ(HOST=host, AUTHORIZATION="Bearer peek")) for host in ("192.168.1.5:80", "192.168.1.6")
    ]
    assert seen == [None, 403]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]"])
def test_who_listens_everywhere_goes_by_any_name(host: str) -> None:
    """An API on all addresses cannot know its names; its token is what keeps rebound pages out."""
    access = Access(host, BOTH)
    assert refusal(access, environ(HOST="anything.example:5025", AUTHORIZATION="Bearer peek")) is None
    assert refusal(access, environ(HOST="anything.example:5025")) == 401


def test_only_http_1_0_may_go_without_a_host() -> None:
    """HTTP/1.1 demands a Host; HTTP/1.0, which no browser speaks, had none."""
    request = environ()
    del request["HTTP_HOST"]
    assert refusal(Access("localhost", Tokens()), request) == 400
    assert refusal(Access("localhost", Tokens()), {**request, "SERVER_PROTOCOL": "HTTP/1.0"}) is None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, None),
        ({"ORIGIN": "http://localhost"}, None),
        ({"ORIGIN": "HTTP://LOCALHOST", "SEC_FETCH_SITE": "same-origin"}, None),
        ({"SEC_FETCH_SITE": "none"}, None),
        ({"ORIGIN": "http://evil.example"}, 403),
        ({"ORIGIN": "http://localhost:8080"}, 403),
        ({"ORIGIN": "https://localhost"}, 403),
        ({"ORIGIN": "null"}, 403),
        ({"ORIGIN": ""}, 403),
        ({"SEC_FETCH_SITE": "cross-site"}, 403),
        ({"SEC_FETCH_SITE": "same-site"}, 403),
        ({"ORIGIN": "http://localhost", "SEC_FETCH_SITE": "cross-site"}, 403),
    ],
)
def test_a_page_from_elsewhere_presses_no_buttons(headers: dict[str, str], status: int | None) -> None:
    """A POST that a browser sends for another page, even one on another port of this machine, is refused."""
    access = Access("127.0.0.1", Tokens())
    assert refusal(access, environ("POST", **headers)) == status
    assert refusal(access, environ("GET", **headers)) is None, "browsers keep the answer from such a page"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_from_elsewhere_takes_no_place_of_those_who_wait(site: str) -> None:
    """It may ask for what it will not be given; but few may wait, and it could keep all these places."""
    with serve() as served:
        assert served.client.get(f"{ROOT}/events?wait=60", Sec_Fetch_Site=site).status == 403
        assert served.client.get(f"{ROOT}/events?wait=0", Sec_Fetch_Site=site).status == 200
        assert served.client.get(f"{ROOT}/events?wait=0.1", Sec_Fetch_Site="same-origin").status == 200


@pytest.mark.parametrize(
    ("authorization", "look", "act"),
    [
        (None, 401, 401),
        ("", 401, 401),
        ("Bearer", 401, 401),
        ("Bearer ", 401, 401),
        ("Bearer wrong", 401, 401),
        ("Bearer open-sesam", 401, 401),
        ("Bearer open-sesame2", 401, 401),
        ("Basic open-sesame", 401, 401),
        ("open-sesame", 401, 401),
        ("Bearer \xff", 401, 401),
        ("Bearer peek", None, 403),
        ("Bearer open-sesame", None, None),
        ("bearer  open-sesame ", None, None),
    ],
)
def test_tokens(authorization: str | None, look: int | None, act: int | None) -> None:
    """The full token opens all, the read token what may be looked at; any other, and none, opens nothing."""
    headers = {} if authorization is None else {"AUTHORIZATION": authorization}
    access = Access("127.0.0.1", BOTH)
    assert refusal(access, environ("GET", **headers)) == look
    assert refusal(access, environ("HEAD", **headers)) == look
    assert refusal(access, environ("POST", f"{ROOT}/stop-all", **headers)) == act
    assert refusal(access, environ("GET", "/health", **headers)) is None
    assert refusal(access, environ("POST", "/health", **headers)) == act


def test_a_read_token_alone_makes_a_read_only_api() -> None:
    """With nothing but a read token, nobody may change anything."""
    access = Access("127.0.0.1", Tokens(read="peek"))
    assert refusal(access, environ(AUTHORIZATION="Bearer peek")) is None
    assert refusal(access, environ("POST", AUTHORIZATION="Bearer peek")) == 403
    assert refusal(access, environ("POST")) == 401


def test_a_token_need_not_be_ascii() -> None:
    """A token of any letters is compared as the bytes of its UTF-8, which is what a client sends."""
    access = Access("127.0.0.1", Tokens(full="Öffne-dich"))
    sent = "Öffne-dich".encode().decode("latin-1")
    assert access.right(environ(AUTHORIZATION=f"Bearer {sent}")) is Right.ACT


@pytest.mark.parametrize("token", ["", " ", "two words", "line\n"])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    """An empty token would let everybody in, one with a blank nobody: neither is taken."""
    with pytest.raises(ConfigError, match="api: token_file: found"):
        Tokens(full=token)
    with pytest.raises(ConfigError, match="api: read_token_file: found"):
        Tokens(read=token)


def test_a_token_is_not_printed() -> None:
    """What is logged by accident does not give a token away."""
    assert "open-sesame" not in repr(BOTH)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "aurora.lan", "::", "", "localhost.lan"])
@pytest.mark.parametrize("tokens", [Tokens(), Tokens(read="peek")])
def test_nobody_is_served_to_the_world_without_a_token(host: str, tokens: Tokens) -> None:
    """An API that other machines can reach is not even made without a full token."""
    with pytest.raises(ConfigError, match=r"api: host: found .* expected a loopback address or a token_file"):
        Api(FakeBackend(), host=host, tokens=tokens)


@pytest.mark.parametrize("path", ["/", "/openapi.json", f"{ROOT}/status", "/nothing", f"{ROOT}/start/brain"])
def test_without_a_token_not_even_a_route_is_told(path: str) -> None:
    """All a stranger learns of any path is that a token is needed, and of which kind."""
    with serve(tokens=BOTH) as served:
        answer = served.client.get(path)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert "token" in answer.error


def test_health_alone_needs_no_token_but_tells_no_details() -> None:
    """A watchdog without a token learns whether the controller is well, and nothing else."""
    with serve(tokens=BOTH) as served:
        assert served.client.get("/health").json == {"success": True, "status": "healthy"}
        assert served.client.get("/health", Authorization="Bearer wrong").json == {"success": True, "status": "healthy"}
        assert "details" in served.client.get("/health", Authorization="Bearer peek").json
        served.backend.well = False
        answer = served.client.get("/health")
        assert (answer.status, answer.error) == (503, "the controller is unhealthy")
        assert "details" not in answer.json


def test_a_refused_command_is_not_carried_out() -> None:
    """What is refused for its Host, its Origin or its token never reaches the backend."""
    with serve(tokens=BOTH) as served:
        refused = [
            served.client.post(f"{ROOT}/stop-all", Host="evil.example", Authorization="Bearer open-sesame"),
            served.client.post(f"{ROOT}/stop-all", Origin="http://evil.example", Authorization="Bearer open-sesame"),
            served.client.post(f"{ROOT}/stop-all", Authorization="Bearer peek"),
            served.client.post(f"{ROOT}/stop-all"),
        ]
        assert [each.status for each in refused] == [403, 403, 403, 401]
        assert all(each.error for each in refused)
        assert not served.backend.operations
        assert served.client.post(f"{ROOT}/stop-all", Authorization="Bearer open-sesame").status == 202
