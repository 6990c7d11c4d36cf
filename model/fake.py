"""A scripted engine for tests: real timing, cancellation and counting, no weights.

It speaks through the same seam as the real ones, so that tests replace the model and nothing else.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from model.api import (
    Chunk,
    EngineTimings,
    FinishReason,
    GenerateRequest,
    ModelInfo,
    Prompt,
    TokenLogprob,
    Usage,
)

_TOKEN = re.compile(r"\s*\w+|\s*[^\w\s]|\s+")


def prompt_text(prompt: Prompt) -> str:
    """A prompt as people would write it; token ids become numbers between spaces."""
    if isinstance(prompt, str):
        return prompt
    return "".join(part.text if not isinstance(part, int) else f" {part}" for part in prompt)


class FakeEngine:
    """Answers with `script(prompt)`, one word a token, `token_delay_s` apart.

    `requests` lists what was asked, `cancelled` counts the generations that were closed before their end.
    The prefix cache it counts with is the last prompt.
    """

    def __init__(
        self,
        script: str | Callable[[str], str],
        *,
        token_delay_s: float = 0.0,
        logprob: float = -0.1,
        info: ModelInfo | None = None,
    ) -> None:
        self._script = script
        self._token_delay_s = token_delay_s
        self._logprob = logprob
        self._info = info or ModelInfo(name="fake", architecture="fake", context_tokens=4096)
        self._last_tokens: list[str] = []
        self.requests: list[GenerateRequest] = []
        self.cancelled = 0

    async def info(self) -> ModelInfo:
        return self._info

    async def count_tokens(self, texts: tuple[str, ...]) -> tuple[int, ...]:
        return tuple(len(_TOKEN.findall(text)) for text in texts)

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        self.requests.append(request)
        prompt = prompt_text(request.prompt)
        prompt_tokens = _TOKEN.findall(prompt)
        cached = _common_prefix(prompt_tokens, self._last_tokens)
        self._last_tokens = prompt_tokens
        text = self._script if isinstance(self._script, str) else self._script(prompt)
        reason = FinishReason.STOP
        for stop in request.sampling.stop:
            text = text.split(stop, 1)[0]
        tokens = _TOKEN.findall(text)
        if len(tokens) > request.sampling.max_tokens:
            tokens, reason = tokens[: request.sampling.max_tokens], FinishReason.LENGTH
        finished = False
        try:
            usage = Usage(prompt_tokens=len(prompt_tokens), cached_tokens=cached, completion_tokens=0)
            for count, token in enumerate(tokens, 1):
                await asyncio.sleep(self._token_delay_s)
                logprobs = () if request.sampling.logprobs is None else (TokenLogprob(0, token, self._logprob),)
                usage = replace(usage, completion_tokens=count)
                yield Chunk(text=token, logprobs=logprobs, usage=usage, timings=EngineTimings())
            finished = True
            yield Chunk(finish_reason=reason, usage=usage, timings=EngineTimings())
        finally:
            self.cancelled += not finished

    async def aclose(self) -> None:
        """Nothing is held."""


def _common_prefix(first: list[str], second: list[str]) -> int:
    length = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        length += 1
    return length
