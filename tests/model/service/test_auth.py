"""Who is let in, and which token files are taken."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest

from model.errors import UsageError
from model.fake import FakeEngine
from model.service import auth
from model.service.address import is_loopback
from model.service.app import create_app
from model.service.host import ready_host

TOKEN = "correct-horse-battery-staple"
PATHS = ("/v1/models", "/metrics")


async def get(
    path: str, *, token: str | None, headers: dict[str, str] | dict[str, bytes] | None = None
) -> httpx.Response:
    transport = httpx.ASGITransport(create_app(ready_host(FakeEngine("ok")), token=token))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.get(path, headers=headers)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "shown", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer é{TOKEN}"]
)
async def test_wrong_tokens(path: str, shown: str) -> None:
    response = await get(path, token=TOKEN, headers={"Authorization": shown.encode()} if shown else None)  # type: ignore[dict-item]
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["error"]["type"] == "authentication_error"
    assert TOKEN not in response.text


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_the_right_token_passes_from_anywhere(path: str, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {TOKEN}", "Host": "copilot.example.org", "Origin": "https://example.org"}
    assert (await get(path, token=TOKEN, headers=headers)).status_code == 200


async def test_health_without_a_token_says_no_more_than_up() -> None:
    assert (await get("/health", token=TOKEN)).json() == {"status": "ok"}
    assert "model" in (await get("/health", token=TOKEN, headers={"Authorization": f"Bearer {TOKEN}"})).json()


HEADERS = {
    "plain": ({}, 200),
    "an address": ({"Host": "127.0.0.1:8080"}, 200),
    "IPv6": ({"Host": "[::1]:8080"}, 200),
    "own page": ({"Origin": "http://localhost:8080"}, 200),
    "rebound name": ({"Host": "evil.example:8080"}, 403),
    "another page": ({"Origin": "https://evil.example"}, 403),
    "a file": ({"Origin": "null"}, 403),
    "nonsense": ({"Host": "[::1"}, 403),
    "look-alike": ({"Host": "localhost.evil.example"}, 403),
}


@pytest.mark.parametrize(("headers", "status"), HEADERS.values(), ids=HEADERS)
async def test_without_a_token_web_pages_stay_out(headers: dict[str, str], status: int) -> None:
    assert (await get("/v1/models", token=None, headers=headers)).status_code == status


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("example.org", False),
    ],
)
def test_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_token_files(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = auth.write_token(path)
    assert auth.read_token(path) == token
    assert auth.write_token(path) != token
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (None, 0o600, "cannot be read"),
        (b"short", 0o600, "16 ASCII characters"),
        (b"two words in the token", 0o600, "one word"),
        ("naïve-naïve-naïve-naïve".encode(), 0o600, "ASCII"),
        (b"\xff" * 20, 0o600, "cannot be read"),
        pytest.param(
            b"long-enough-for-a-token",
            0o644,
            "other users",
            marks=pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's"),
        ),
    ],
)
def test_bad_token_files(tmp_path: Path, content: bytes | None, mode: int, message: str) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    with pytest.raises(UsageError, match=message) as caught:
        auth.read_token(path)
    assert caught.value.hint
