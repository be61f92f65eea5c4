"""Who is let through: only the page of this server, with its token, in a browser of this machine."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from deft.review.guard import Guard, new_token

TOKEN = "the token"
HOST = ("host", "127.0.0.1:8765")
COOKIE = ("cookie", f"deft-review-8765={TOKEN}")
ORIGIN = ("origin", "http://127.0.0.1:8765")


def asked(method: str, address: str, *headers: tuple[str, str], kind: str = "http") -> tuple[list[Any], bool]:
    """What is answered, and whether the application was asked."""
    reached: list[Any] = []
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope)
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"secret"})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing of a body is needed")

    path, _, query = address.partition("?")
    scope = {
        **{"type": kind, "method": method, "path": path, "query_string": query.encode()},
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }
    with ThreadPoolExecutor(1) as thread:  # this one may have the event loop of a browser that other tests drive
        thread.submit(asyncio.run, Guard(app, 8765, TOKEN)(scope, receive, send)).result()
    return sent, bool(reached)


def status(method: str, address: str, *headers: tuple[str, str]) -> int:
    sent, reached = asked(method, address, *headers)
    assert reached == (sent[0]["status"] == 200)
    return int(sent[0]["status"])


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765"])
def test_the_page_is_let_through(host: str) -> None:
    assert status("GET", "/api/run", ("host", host), COOKIE) == 200
    assert status("POST", "/api/stop", ("host", host), COOKIE, ("origin", f"http://{host}")) == 200
    assert status("GET", "/api/run", ("host", host), ("x-deft-token", TOKEN)) == 200
    others = ("cookie", f"a=b; broken, =; deft-review-8764=x; deft-review-8765={TOKEN}; z")
    assert status("GET", "/", ("host", host), others, ("sec-fetch-site", "same-origin")) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1", "127.0.0.1:8766", "127.0.0.1:8765.evil.example", ""]
)
def test_other_hosts_are_refused(host: str) -> None:
    """A name of somebody else that leads to this machine (DNS rebinding)."""
    for address in ("/api/run", f"/?token={TOKEN}"):
        assert status("GET", address, ("host", host), COOKIE) == 403
    assert status("GET", "/api/run", COOKIE) == 403
    assert status("GET", "/api/run", HOST, ("host", host), COOKIE) == 403


@pytest.mark.parametrize(
    "cookie", ["", "deft-review-8765=", "deft-review-8765=the token2", f"deft-review-8766={TOKEN}", f"x={TOKEN}", "é"]
)
def test_without_the_token_nothing_is_told(cookie: str) -> None:
    for path in ("/", "/api/run", "/files/photo/0.jpg", "/static/page/main.js", "/?token=wrong", "/?token=", "/nope"):
        assert status("GET", path, HOST, ("cookie", cookie)) == 403
    assert status("POST", "/api/stop", HOST, ORIGIN, ("cookie", cookie)) == 403
    assert status("GET", f"/api/run?token={TOKEN}", HOST, ("cookie", cookie)) == 403  # only where one enters
    assert status("POST", f"/?token={TOKEN}", HOST, ORIGIN, ("cookie", cookie)) == 403


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "http://127.0.0.1:8766", "https://127.0.0.1:8765", "null", "", "127.0.0.1:8765", None],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_pages_change_nothing(origin: str | None, method: str) -> None:
    headers = () if origin is None else (("origin", origin),)
    assert status(method, "/api/stop", HOST, COOKIE, *headers) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_pages_embed_nothing(site: str) -> None:
    assert status("GET", "/files/photo/0.jpg", HOST, COOKIE, ("sec-fetch-site", site)) == 403
    assert status("GET", "/", HOST, COOKIE, ("sec-fetch-site", site)) == 200  # a link to the page


def test_the_address_with_the_token_sets_a_cookie_and_hides_the_token() -> None:
    sent, reached = asked("GET", "/?x=1&token=the token", HOST)
    assert not reached
    headers = dict(sent[0]["headers"])
    assert sent[0]["status"] == 303
    assert headers[b"location"] == b"/"
    assert headers[b"set-cookie"] == b"deft-review-8765=the token; HttpOnly; SameSite=Strict; Path=/"
    assert headers[b"referrer-policy"] == b"no-referrer"


@pytest.mark.parametrize("headers", [(HOST, COOKIE), (HOST,), ()])
def test_every_answer_forbids_what_comes_from_elsewhere(headers: tuple[tuple[str, str], ...]) -> None:
    sent, _ = asked("GET", "/", *headers)
    found = dict(sent[0]["headers"])
    policy = dict(part.strip().split(" ", 1) for part in found[b"content-security-policy"].decode().split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert found[b"x-content-type-options"] == b"nosniff"
    assert found[b"cross-origin-resource-policy"] == b"same-origin"


def test_web_sockets_are_closed() -> None:
    sent, reached = asked("GET", "/", HOST, COOKIE, kind="websocket")
    assert ([message["type"] for message in sent], reached) == (["websocket.close"], False)


def test_tokens_are_long_and_differ() -> None:
    tokens = {new_token() for _ in range(20)}
    assert len(tokens) == 20
    assert min(map(len, tokens)) >= 43
    assert all(
        set(token) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") for token in tokens
    )
