"""llama.cpp's own filling in the middle as a contender: its real server, the same weights, prefix and suffix.

A prompt is laid out as its `/infill` does (`format_prompt_infill` in llama.cpp's tools/server): with `--spm-infill`,
the suffix's token, the suffix, the prefix's token, the prefix; of the prefix the last 3/4 of a batch at the most, of
the suffix the first 1/4; then what the model says until it ends by itself. Two things that `/infill` adds are left
out, since both would harm it here: a token that asks for the middle, which our layout has not got, so that the server
refuses the model, and a file separator with the name "filename". So the prompt goes as token ids to `/completion`,
which `/infill` ends in. Snippets of other files are not shown: `/infill` finds none by itself.

The server is `llama-server`, or the same one inside the wheel of xllamacpp.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from model.api import Prompt, Segment
from model.errors import UsageError
from model.fim import FORMATS
from model.tokenizer import Tokenizer

_BATCH_TOKENS = 2048
"""llama-server's own default."""
_CONTEXT_TOKENS = 4096
_START_S = 60.0
_ANSWER_S = 120.0
_PEER = Path(__file__).with_name("infill_peer.py")


@dataclass(frozen=True, slots=True)
class Infilled:
    """What the server said, and how many tokens it generated for it, the one that ends it apart."""

    text: str
    tokens: int
    stop_reason: str


class LlamaServer:
    """A running server of one model; an asynchronous context manager.

    Raises `UsageError` for a program that does not come to serve.
    """

    def __init__(self, program: str, model: Path, *, threads: int = 1) -> None:
        """`program`: a `llama-server`, or a `python` that has xllamacpp."""
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        if Path(program).name.startswith("python"):
            command = [program, str(_PEER), str(model), str(port), str(threads)]
        else:
            command = [program, "--model", str(model), "--host", "127.0.0.1", "--port", str(port)]
            command += ["--threads", str(threads), "--threads-batch", str(threads)]
            command += ["--ctx-size", str(_CONTEXT_TOKENS), "--parallel", "1"]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            raise _cannot_serve(program) from error
        self._client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=_ANSWER_S, trust_env=False)
        self._wait(program, port)

    def _wait(self, program: str, port: int) -> None:
        until_s = time.monotonic() + _START_S
        while time.monotonic() < until_s and self._process.poll() is None:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass  # it does not listen yet
            time.sleep(0.1)
        self._process.kill()
        self._process.wait()
        raise _cannot_serve(program)

    async def about(self) -> dict[str, Any]:
        """What the server says of itself and its model."""
        told = (await self._client.get("/props")).json()
        return {key: told.get(key) for key in ("build_info", "model_ftype")}

    async def complete(self, ids: Sequence[int], *, max_tokens: int) -> Infilled:
        """The likeliest tokens after a prompt, until the model ends it."""
        asked = {"prompt": list(ids), "n_predict": max_tokens, "temperature": 0.0, "cache_prompt": True}
        response = await self._client.post("/completion", json=asked)
        told = response.raise_for_status().json()
        ended = told["stop_type"] == "eos"  # by a token that our engine does not count
        return Infilled(told["content"], told["tokens_predicted"] - ended, told["stop_type"])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()
        self._process.kill()
        self._process.wait()


def lay_out(prompt: Prompt, tokenizer: Tokenizer, *, family: str) -> list[int]:
    """The ids of what `/infill` would make of a prompt of ours: its prefix and its suffix, cut to a batch."""
    row = FORMATS[family]
    parts = {row.prefix: "", row.suffix: ""}
    at = ""
    for segment in prompt:
        assert isinstance(segment, Segment)
        if segment.special:
            at = segment.text
        elif at in parts:
            parts[at] += segment.text
    prefix = tokenizer.encode(parts[row.prefix])[-3 * (_BATCH_TOKENS // 4) :]
    suffix = tokenizer.encode(parts[row.suffix])[: _BATCH_TOKENS // 4 - 2]
    return [tokenizer.special_id(row.suffix), *suffix, tokenizer.special_id(row.prefix), *prefix]


def _cannot_serve(program: str) -> UsageError:
    return UsageError(
        f"{program} does not serve the model.",
        hint="Give a llama-server, or a python with xllamacpp (pip install xllamacpp in an environment of its own).",
    )
