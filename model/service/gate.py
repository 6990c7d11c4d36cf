"""Who may talk to the engine: those who show its token, and without one this machine alone, browsers kept out.

Knows nothing of what is served.
"""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from model.errors import EngineAuthError
from model.service.address import is_loopback
from model.service.page import is_page
from model.service.reply import error_json

OPEN_PATHS = frozenset({"/health"})
"""What answers without a token; it tells such a client no more than whether the engine is up."""


class Gate:
    """Lets a request through to `app` when it may pass; marks in `scope` whether it showed the token.

    With a token: every path but `OPEN_PATHS` and the page's files, which hold nothing of the user's, needs
    `Authorization: Bearer …`, compared in constant time; the page asks the user for the token. Without one
    (Unix socket or loopback): `Host` and `Origin` must be of this machine, so that no web page reaches the engine
    through the user's browser, by DNS rebinding or otherwise.
    """

    def __init__(self, app: ASGIApp, *, token: str | None = None) -> None:
        self._app = app
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        trusted = self._may_pass(headers)
        is_open = scope["path"] in OPEN_PATHS or (self._token is not None and is_page(scope["path"]))
        if not trusted and not is_open:
            status, body = error_json(self._refusal())
            challenge = {"WWW-Authenticate": "Bearer"} if self._token is not None else None
            status = status if self._token is not None else 403
            await JSONResponse(body, status_code=status, headers=challenge)(scope, receive, send)
            return
        await self._app({**scope, "tersely.trusted": trusted}, receive, send)

    def _may_pass(self, headers: dict[bytes, bytes]) -> bool:
        if self._token is not None:
            scheme, _, shown = headers.get(b"authorization", b"").partition(b" ")
            return scheme.lower() == b"bearer" and hmac.compare_digest(shown.strip(), self._token)
        addresses = [f"//{headers.get(b'host', b'localhost').decode('latin-1')}"]
        if b"origin" in headers:
            addresses.append(headers[b"origin"].decode("latin-1"))
        return all(_is_local_address(address) for address in addresses)

    def _refusal(self) -> EngineAuthError:
        if self._token is not None:
            return EngineAuthError(
                "The token is missing or wrong.", hint="Send `Authorization: Bearer …` with the token of the engine."
            )
        return EngineAuthError(
            "This engine answers to its own machine alone.", hint="Start it with a token file to reach it otherwise."
        )


def _is_local_address(address: str) -> bool:
    try:
        host = urlsplit(address).hostname
    except ValueError:
        return False
    return host is not None and is_loopback(host)
