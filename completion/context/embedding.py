"""What code means rather than which words it has: vectors from a server that the user names. Off unless named.

The seam is `Embedder`: texts in, vectors out. `HttpEmbedder` asks any server that speaks OpenAI's `/v1/embeddings`.
`Likeness` keeps questions fast: it never waits. Vectors that are missing are fetched on a thread of their own, and
serve the next question; until then the lexical order holds. Texts are redacted before they leave.
"""

from __future__ import annotations

import logging
import queue
import threading
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from math import sqrt
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from completion.context.redact import redact
from model.errors import EngineError, EngineUnavailableError, RequestError
from model.service.address import is_loopback, shown_url

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger(__name__)

_KEPT = 4096
_BATCH = 32
_TIMEOUT_S = 20.0
_MOST_CHARACTERS = 2000


class Embedder(Protocol):
    """Turns texts into vectors. Called on a thread of its own, one call at a time; may take its time."""

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text, all of the same length. Raises an `EngineError`."""
        ...

    def close(self) -> None:
        """Let go of connections. Can be called again."""
        ...


class HttpEmbedder:
    """`Embedder` over a server with OpenAI's embeddings (`POST {url}/embeddings`)."""

    def __init__(self, url: str, *, model: str, token: str | None = None, transport: Any = None) -> None:
        """`url`: up to `/v1`. `transport`: an `httpx.BaseTransport` in the place of the network."""
        self._url = url.rstrip("/") + "/embeddings"
        self._where = shown_url(self._url)
        self._model, self._token = model, token
        self._transport: httpx.BaseTransport | None = transport
        self._http: httpx.Client | None = None

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Raises `EngineUnavailableError` where nobody answers, `RequestError` for an answer that is no vectors."""
        import httpx

        if self._http is None:
            headers = {} if self._token is None else {"Authorization": f"Bearer {self._token}"}
            # A proxy of the environment is for the world outside, never for this machine.
            here = is_loopback(urlsplit(self._url).hostname or "")
            self._http = httpx.Client(
                transport=self._transport, headers=headers, timeout=_TIMEOUT_S, trust_env=not here
            )
        try:
            answer = self._http.post(self._url, json={"model": self._model, "input": list(texts)})
        except httpx.HTTPError as error:
            raise EngineUnavailableError(
                f"No embeddings from {self._where}: {error}.",
                hint="Start that server, or unset tersely.embeddings.url.",
            ) from error
        try:
            answer.raise_for_status()
            rows = sorted(answer.json()["data"], key=lambda row: row["index"])
            vectors = [[float(value) for value in row["embedding"]] for row in rows]
        except (httpx.HTTPStatusError, ValueError, KeyError, TypeError) as error:
            raise RequestError(
                f"{self._where} does not answer with embeddings: {answer.status_code}.",
                hint="Check tersely.embeddings.url (it ends in /v1) and tersely.embeddings.model.",
            ) from error
        if len(vectors) != len(texts):
            raise RequestError(
                f"{self._where} gave {len(vectors)} vectors for {len(texts)} texts.",
                hint="Ask a server that follows OpenAI's embeddings.",
            )
        return vectors

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None


class Likeness:
    """Cosines between texts, as far as their vectors are there. Thread-safe."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._vectors: OrderedDict[str, array[float]] = OrderedDict()
        self._wanted: queue.Queue[list[str] | None] = queue.Queue(maxsize=8)
        self._lock = threading.Lock()
        self._told: str = ""
        self._thread = threading.Thread(target=self._run, name="tersely-embeddings", daemon=True)
        self._thread.start()

    def compare(self, around: str, texts: Sequence[str]) -> list[float] | None:
        """The cosine of each text with `around`; None while a vector is missing, which is then asked for."""
        asked = [redact(text[:_MOST_CHARACTERS]) for text in (around, *texts)]
        with self._lock:
            held = [self._vectors.get(text) for text in asked]
            for text in asked:
                if text in self._vectors:
                    self._vectors.move_to_end(text)
        missing = [text for text, vector in zip(asked, held, strict=True) if vector is None]
        if missing:
            if not self._wanted.full():  # a busy server gets the newest questions later
                self._wanted.put(list(dict.fromkeys(missing)))
            return None
        first, *others = [vector for vector in held if vector is not None]
        return [sum(map(float.__mul__, first, other)) for other in others]

    def close(self) -> None:
        """End the thread; what is under way is let go."""
        while not self._wanted.empty():
            self._wanted.get()
        self._wanted.put(None)
        self._thread.join(1)
        self._embedder.close()

    def wait(self) -> None:
        """Until what was asked for is there, or was refused."""
        self._wanted.join()

    def _run(self) -> None:
        while (texts := self._wanted.get()) is not None:
            for start in range(0, len(texts), _BATCH):
                self._fetch(texts[start : start + _BATCH])
            self._wanted.task_done()

    def _fetch(self, texts: list[str]) -> None:
        with self._lock:
            texts = [text for text in texts if text not in self._vectors]
        if not texts:
            return
        try:
            vectors = self._embedder.embed(texts)
        except EngineError as error:
            if str(error) != self._told:  # once, and not at each key
                self._told = str(error)
                logger.warning("%s", error)
            return
        with self._lock:
            for text, vector in zip(texts, vectors, strict=True):
                self._vectors[text] = _unit(vector)
            while len(self._vectors) > _KEPT:
                self._vectors.popitem(last=False)


def _unit(vector: Sequence[float]) -> array[float]:
    length = sqrt(sum(value * value for value in vector)) or 1.0
    return array("f", [value / length for value in vector])
