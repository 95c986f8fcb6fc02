"""Who may do what: tokens, hosts, origins and paths, on a fleet that runs."""

import ast
import hmac
import inspect
import textwrap
from pathlib import Path

import pytest

from aurora_circus import access, ports
from tests.e2e.harness import WINDOWS, Fleet, Json, toml
from tests.faults.arena import Arena, MakeArena
from tests.faults.cli import run
from tests.faults.clients import ROOT, ask, is_json, is_refused, raw

FULL, LOOK = "open-sesame", "peek"
SYSTEMS: dict[str, Json] = {"one": {}}


def token(folder: Path, name: str, word: str) -> str:
    """Write a token's file, and return its name."""
    file = folder / name
    file.write_text(f"{word}\n", encoding="utf-8")
    if not WINDOWS:
        file.chmod(0o600)
    return name


def guarded(arena: MakeArena, tmp_path: Path) -> Arena:
    """Return a fleet that asks for tokens, ours being the full one."""
    api = {"token_file": token(tmp_path, "full", FULL), "read_token_file": token(tmp_path, "look", LOOK)}
    fleet = arena(SYSTEMS, api=api, start=False)
    fleet.session.headers["Authorization"] = f"Bearer {FULL}"
    return fleet.begin()


def routes(fleet: Fleet) -> list[tuple[str, str]]:
    """Return the method and the path of every route, for a system that is not there."""
    paths = fleet.get("/openapi.json")["paths"]
    return [
        (method.upper(), path.format(key="nobody", ident="nothing")) for path, item in paths.items() for method in item
    ]


@pytest.mark.fault("api", "every route with no token, a wrong one, the read-only one and the full one")
def test_every_route_asks_for_the_right_token(arena: MakeArena, tmp_path: Path) -> None:
    """Without one, nothing but /health, and that without details; the read-only one looks; the full one does all."""
    fleet = guarded(arena, tmp_path)
    found = routes(fleet)
    assert {method for method, _ in found} == {"GET", "POST"}
    for method, path in found:
        for sent in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {FULL}"}):
            reply = ask(fleet, method, path, **sent)
            if (method, path) == ("GET", "/health"):
                is_json(reply)
                assert (reply.status, reply.json) == (200, {"success": True, "status": "healthy"})
            else:
                is_refused(reply, 401)
                assert reply.headers["WWW-Authenticate"].startswith("Bearer")
        reply = ask(fleet, method, path, Authorization=f"Bearer {LOOK}")
        if method == "POST":
            is_refused(reply, 403)
        else:
            assert reply.status in {200, 404}
            assert (path == "/health") == ("details" in reply.json)
        assert ask(fleet, method, path, Authorization=f"Bearer {FULL}").status not in {401, 403}
    verbs = {each["details"]["verb"] for each in fleet.events("command")}
    assert verbs >= {"start", "stop", "restart"}, "the full token's, of all systems"
    assert fleet.post(f"{ROOT}/start-all?wait=60").status_code == 200


@pytest.mark.fault("api", "/health without a token tells no details, wherever one asks")
@pytest.mark.quick
def test_health_alone_is_open(arena: MakeArena, tmp_path: Path) -> None:
    """Neither another spelling of the path nor another method opens anything."""
    fleet = guarded(arena, tmp_path)
    for path in ("/health/", "/health%2f", "/./health", "/HEALTH", "/x/../health", "/health;x", "/health%00", "*"):
        is_refused(ask(fleet, "GET", path), 401)
    is_refused(ask(fleet, "GET", "/health%ff"), 400)
    is_refused(ask(fleet, "POST", "/health"), 401)
    is_refused(ask(fleet, "GET", "/health?details=1"), 400)
    assert ask(fleet, "GET", "/health").json == {"success": True, "status": "healthy"}


@pytest.mark.fault("api", "tokens are compared in constant time")
@pytest.mark.quick
def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both, whichever is right, by hmac.compare_digest; and nothing else compares what was sent."""
    compared: list[tuple[bytes, bytes]] = []
    original = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return original(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    guard = access.Access("127.0.0.1", access.Tokens(full=FULL, read=LOOK))
    for word, right in ((FULL, access.Right.ACT), (LOOK, access.Right.LOOK), ("open-sesamf", access.Right.NOTHING)):
        compared.clear()
        assert guard.right({"HTTP_AUTHORIZATION": f"Bearer {word}"}) is right
        assert compared == [(FULL.encode(), word.encode()), (LOOK.encode(), word.encode())]
    tree = ast.parse(textwrap.dedent(inspect.getsource(access.Access.right)))
    others = [ast.unparse(each) for each in ast.walk(tree) if isinstance(each, ast.Compare)]
    assert others == ["scheme.lower() != 'bearer'", "token is not None"]


STRANGERS = (
    "evil.example",
    "evil.example:5025",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "[::2]",
    "10.1.2.3",
)


@pytest.mark.fault("api", "DNS rebinding: a name that somebody made point here")
def test_a_name_that_is_not_ours_is_refused(arena: MakeArena) -> None:
    """Such a page's browser says in Host whom it takes us for; every route refuses it, /health too."""
    fleet = arena(SYSTEMS)
    for method, path in routes(fleet):
        for host in STRANGERS:
            is_refused(ask(fleet, method, path, Host=host), 403)
    assert not fleet.events("command")
    for host in ("localhost", f"127.0.0.1:{fleet.api_port}", "[::1]:1", "LOCALHOST"):
        assert ask(fleet, "GET", f"{ROOT}/status", Host=host).status == 200
    is_refused(raw(fleet, b"POST /api/autonomous/stop/one HTTP/1.1\r\n\r\n"), 400)


@pytest.mark.fault("api", "cross-site POST: a page from elsewhere presses our buttons")
def test_a_page_from_elsewhere_presses_no_buttons(arena: MakeArena) -> None:
    """By Origin or by Sec-Fetch-Site, from another host, another port, a sandbox or a file: refused on every route."""
    fleet = arena(SYSTEMS)
    own = f"localhost:{fleet.api_port}"
    pages = [
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:1"},
        {"Origin": f"https://{own}"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": f"http://{own}", "Sec_Fetch_Site": "cross-site"},
        {"Origin": "http://evil.example", "Content_Type": "application/x-www-form-urlencoded"},
    ]
    for method, path in routes(fleet):
        for page in pages:
            reply = ask(fleet, method, path, Host=own, **page)
            assert "Access-Control-Allow-Origin" not in reply.headers, "its browser keeps the answer from it"
            if method == "POST":
                is_refused(reply, 403)
    is_refused(ask(fleet, "OPTIONS", f"{ROOT}/stop/one", Host=own, Origin="http://evil.example"), 403)
    assert not fleet.events("command")
    assert ask(fleet, "POST", f"{ROOT}/start/one", Host=own, Origin=f"http://{own}").status == 200


@pytest.mark.fault("api", "path traversal in logs/KEY")
def test_a_log_is_only_a_systems_own(arena: MakeArena) -> None:
    """Dots, slashes of every spelling, absolute paths, NUL and look-alikes lead to no other file, nor do links."""
    fleet = arena(SYSTEMS)
    secret = fleet.folder / "secret.log"
    secret.write_text("the crown jewels\n", encoding="utf-8")
    up = ["../../secret", "..%2f..%2fsecret", "%2e%2e/%2e%2e/secret", "%2e%2e%2f%2e%2e%2fsecret", "..%5c..%5csecret"]
    up += ["..%252f..%252fsecret", "..%c0%af..%c0%afsecret", "%ef%bc%8e%ef%bc%8e%ef%bc%8f", "....//....//secret"]
    plain = [str(secret), f"%2f{secret}", str(secret).replace("/", "%2f"), f"file://{secret}", "%2fetc%2fpasswd"]
    odd = [
        "..",
        ".",
        "%00",
        "one%00.log",
        "one.log",
        "one/../one",
        "aurora",
        "events.jsonl",
        "",
        "one%2f..%2f..%2fsecret",
    ]
    for key in [*up, *plain, *odd, f"..%2f..%2f{secret.name}", "one;../../secret", "*", "~", "$HOME", "con", "one "]:
        for what in ("logs", "explain", "status"):
            reply = raw(fleet, f"GET {ROOT}/{what}/{key} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode("latin-1"))
            is_refused(reply, 400, 404)
            assert b"jewels" not in reply.body
            assert b"root:" not in reply.body
    if not WINDOWS:
        log = fleet.folder / ".aurora" / "logs" / "one.log"
        log.unlink()
        log.symlink_to(secret)
        for path in (f"{ROOT}/logs/one", f"{ROOT}/explain/one"):
            assert b"jewels" not in ask(fleet, "GET", path).body
        log.unlink()


@pytest.mark.fault("api", "an address that others can reach, without a token")
def test_nobody_listens_to_others_without_a_token(arena: MakeArena) -> None:
    """The command line refuses it before anything starts; a plugin whose circus.ini was changed by hand, too."""
    fleet = arena(SYSTEMS, api={"host": "0.0.0.0"}, start=False)
    (fleet.folder / "fleet.toml").write_text(toml(fleet.settings), encoding="utf-8")
    for words in (["check"], ["render"], ["up", "-d"]):
        done = run(fleet, *words)
        assert done.returncode == 2
        assert "api.token_file" in done.stderr
    fleet.settings["api"]["host"] = "127.0.0.1"
    fleet.render()
    text = fleet.ini.read_text(encoding="utf-8")
    changed = text.replace("127.0.0.1", "0.0.0.0")
    assert changed != text
    fleet.ini.write_text(changed, encoding="utf-8")
    fleet.excuse("api", "there is none: it would be open to everybody")
    fleet.launch()
    said = fleet.event("controller_error", step="opening the API")["details"]["error"]
    assert "expected a loopback address or a token_file" in said
    fleet.event("server_started", "one")
    assert not ports.listening(fleet.api_port)
