"""Holes filled by completion: what `generate` and `add_docstring` write comes from the model's fill-in-the-middle."""

from __future__ import annotations

import asyncio

from completion.api import CompletionRequest, Trigger
from completion.language import detect
from completion.refactor.cost import total
from completion.refactor.plan import Filled, Hole
from completion.service import EngineCompleter

_MOST_TOKENS = 256


class Filler:
    """`Filling` over a completer whose event loop runs on another thread than the one that calls."""

    def __init__(self, completer: EngineCompleter, loop: asyncio.AbstractEventLoop) -> None:
        self._completer = completer
        self._loop = loop

    def __call__(self, hole: Hole) -> Filled:
        """The text for a hole; the instruction stands above it as a comment, which is not part of the answer."""
        comment = detect(path=hole.path).line_comment
        said = f"{comment} {hole.instruction}\n" if comment and hole.prefix.endswith("\n") else ""
        prefix = hole.prefix + said
        request = CompletionRequest(
            text=prefix + hole.suffix,
            offset=len(prefix),
            path=hole.path,
            trigger=Trigger.INVOKED,
            max_tokens=_MOST_TOKENS,
        )
        found = asyncio.run_coroutine_threadsafe(self._completer.attempt(request), self._loop).result()
        # Something was asked for, so where the likeliest answer is nothing, another one it is.
        text = next((one.text for one in found if one.text.strip()), "")
        return Filled(text=text, usage=total(*(one.usage for one in found)))
