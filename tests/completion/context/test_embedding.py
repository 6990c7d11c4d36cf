"""Texts in, likeness out: over a server that is played by a transport, and an embedder that counts letters."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from completion.connect import connect
from completion.context.embedding import HttpEmbedder, Likeness
from completion.context.retriever import Retriever
from completion.settings import CompletionSettings
from model.errors import EngineUnavailableError, RequestError
from tests.completion.context.repository import ask, indexed


class Letters:
    """Counts of a few letters; what it was asked is kept."""

    def __init__(self, *, fails: bool = False) -> None:
        self.asked: list[str] = []
        self.fails = fails
        self.closed = False

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.asked += texts
        if self.fails:
            raise EngineUnavailableError("gone", hint="Wait.")
        return [[float(text.count(letter)) for letter in "xyz"] for text in texts]

    def close(self) -> None:
        self.closed = True


def answering(status: int, body: object, seen: list[httpx.Request]) -> httpx.MockTransport:
    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(status, json=body)

    return httpx.MockTransport(answer)


def test_a_server_is_asked_as_openai_has_it() -> None:
    seen: list[httpx.Request] = []
    rows = [{"index": 1, "embedding": [0, 1]}, {"index": 0, "embedding": [1, 0]}]
    embedder = HttpEmbedder("http://h/v1/", model="m", token="t", transport=answering(200, {"data": rows}, seen))
    assert embedder.embed(["a", "b"]) == [[1.0, 0.0], [0.0, 1.0]]
    assert str(seen[0].url) == "http://h/v1/embeddings"
    assert seen[0].headers["Authorization"] == "Bearer t"
    assert json.loads(seen[0].content) == {"model": "m", "input": ["a", "b"]}
    embedder.close()
    embedder.close()


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, {}), (200, {}), (200, []), (200, {"data": [{"index": 0}]}), (200, {"data": [{"index": 0, "embedding": 1}]}),
     (200, {"data": []})],
)  # fmt: skip
def test_what_is_no_vectors_is_said_so(status: int, body: object) -> None:
    embedder = HttpEmbedder("http://h/v1", model="m", transport=answering(status, body, []))
    with pytest.raises(RequestError) as raised:
        embedder.embed(["a"])
    assert "embeddings" in raised.value.hint


def test_a_server_that_is_gone_is_said_so() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    embedder = HttpEmbedder("http://me:word@h/v1", model="m", transport=httpx.MockTransport(refuse))
    with pytest.raises(EngineUnavailableError) as raised:
        embedder.embed(["a"])
    assert "word" not in str(raised.value)
    assert "embeddings.url" in raised.value.hint


def test_what_is_for_this_machine_goes_to_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps({"data": [{"index": 0, "embedding": [1.0]}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with HTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        embedder = HttpEmbedder(f"http://me:word@127.0.0.1:{server.server_port}/v1", model="m")
        assert embedder.embed(["a"]) == [[1.0]]
        embedder.close()
        thread.join()


def test_what_is_missing_is_fetched_for_the_next_time_and_once() -> None:
    letters = Letters()
    likeness = Likeness(letters)
    assert likeness.compare("xx", ["x", "y", "xy"]) is None
    likeness.wait()
    assert likeness.compare("xx", ["x", "y", "xy"]) == pytest.approx([1.0, 0.0, 0.5**0.5])
    assert letters.asked == ["xx", "x", "y", "xy"]
    likeness.close()
    assert letters.closed


def test_secrets_are_not_sent() -> None:
    letters = Letters()
    likeness = Likeness(letters)
    likeness.compare("x", ["AKIA" + "ABCDEFGHIJKLMNOP"])
    likeness.wait()
    assert letters.asked == ["x", "[redacted]"]
    likeness.close()


def test_failure_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    likeness = Likeness(Letters(fails=True))
    for _ in range(3):
        assert likeness.compare("x", ["y"]) is None
        likeness.wait()
    likeness.close()
    assert [record.getMessage() for record in caplog.records] == ["gone Wait."]


def test_meaning_reorders_what_has_words_in_common(tmp_path: Path) -> None:
    library = indexed(
        tmp_path,
        {"a.py": "# cart items total\ny = y\n", "b.py": "# cart items\nx = x\n"},
    )
    _, request = ask(library, "main.py", "# cart items total\nx = x\n‸")
    likeness = Likeness(Letters())
    retriever = Retriever(library, time_limit_ms=None, likeness=likeness)

    def alike() -> list[str]:
        return [one.path for one in retriever.gather(request)[1] if one.source == "alike"]

    assert alike() == ["a.py", "b.py"]
    likeness.wait()
    assert alike() == ["b.py", "a.py"]
    likeness.close()


@pytest.mark.parametrize("url", [None, "http://h/v1"])
def test_it_is_off_unless_named(url: str | None, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef")
    token.chmod(0o600)
    settings = CompletionSettings(engine_url="http://h", embeddings_url=url, embeddings_token_file=str(token))
    workspace = connect(settings)._context
    assert workspace is not None
    assert (workspace._embedder is not None) == (url is not None)
