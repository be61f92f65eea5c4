"""Who may talk to the page's server: the browser of this machine that was given the address, and nobody else.

The address holds a token, which a cookie takes over. Other pages in the same browser are kept out by ``Host`` (a name
of theirs that leads to this machine), by ``Origin`` and ``Sec-Fetch-Site`` (their requests to this address), and by a
policy under which the page itself loads nothing from elsewhere.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


def new_token() -> str:
    """A token that nobody can guess."""
    return secrets.token_urlsafe(32)


class Guard:
    """An ASGI application that lets through what the page of this server asks for."""

    def __init__(self, app: App, port: int, token: str) -> None:
        self.app, self.token = app, token
        self.cookie = f"deft-review-{port}"
        self.hosts = frozenset((f"127.0.0.1:{port}", f"localhost:{port}"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        elif (refused := self._refused(scope)) is not None:
            await _answer(send, 403, [(b"content-type", b"text/plain; charset=utf-8")], refused.encode())
        elif self._enters(scope):
            cookie = f"{self.cookie}={self.token}; HttpOnly; SameSite=Strict; Path=/"
            headers = [(b"location", b"/"), (b"set-cookie", cookie.encode()), (b"cache-control", b"no-store")]
            await _answer(send, 303, headers, b"")
        else:
            await self.app(scope, receive, _with_headers(send))

    def _refused(self, scope: Scope) -> str | None:
        """Why a request is refused; None if it is not."""
        headers = _single(scope)
        if headers is None or headers.get("host") not in self.hosts:
            return "expected this server's own address, got another host; open the address that deft review printed"
        if self._enters(scope):
            return None
        if not self._knows_token(headers):
            return "expected the token of this server; open the address that deft review printed"
        if scope["path"] != "/" and headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return "expected a request of this server's own page, got one of another page"
        if scope["method"] not in ("GET", "HEAD"):
            origin = headers.get("origin", "")
            if origin.removeprefix("http://") not in self.hosts or not origin.startswith("http://"):
                return "expected a request of this server's own page, got one of another origin"
        return None

    def _enters(self, scope: Scope) -> bool:
        """Whether a request shows the token in its address."""
        if scope["method"] != "GET" or scope["path"] != "/":
            return False
        fields = (part.partition("=") for part in scope["query_string"].decode("latin-1").split("&"))
        return any(name == "token" and self._is_token(value) for name, _, value in fields)

    def _knows_token(self, headers: dict[str, str]) -> bool:
        if self._is_token(headers.get("x-deft-token", "")):
            return True
        # By hand: http.cookies drops all of them if another program of this machine has set one that is malformed.
        cookies = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
        return any(name == self.cookie and self._is_token(value) for name, _, value in cookies)

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode())


def _single(scope: Scope) -> dict[str, str] | None:
    """The headers of a request by name; None if one of those that decide is there twice."""
    names = [name.lower() for name, _ in scope["headers"]]
    if any(names.count(name) > 1 for name in (b"host", b"origin", b"sec-fetch-site", b"x-deft-token")):
        return None
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _with_headers(send: Send) -> Send:
    """Add the headers of the policy to an answer."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
        await send(message)

    return sending


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length, *_HEADERS]})
    await send({"type": "http.response.body", "body": body})
