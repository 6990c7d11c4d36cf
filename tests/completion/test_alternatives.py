"""Alternatives leave a draft where the model was least sure, and are never the same text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from completion.alternatives import branches
from completion.api import CompletionRequest, Trigger
from completion.generation import Draft, Token
from completion.service import EngineCompleter
from completion.stopping import Cut
from model.api import Chunk, EngineTimings, FinishReason, GenerateRequest, ModelInfo, TokenLogprob, Usage
from model.fake import prompt_text

Said = tuple[str, float, tuple[tuple[str, float], ...]]


def draft(*said: Said) -> Draft:
    """A draft of tokens with their log-probabilities and rivals."""
    made = Draft()
    for text, logprob, top in said:
        made.raw += text
        made.tokens.append(Token(len(made.raw), logprob, top))
    made.cut = Cut(len(made.raw), "eos")
    return made


def test_the_likeliest_rivals_are_taken() -> None:
    found = branches(
        draft(
            ("a", -0.1, (("a", -0.1), ("b", -3.0))),
            (" +", -0.7, ((" +", -0.7), (" -", -0.9), (" *", -2.0))),
            (" c", -0.2, ((" c", -0.2), (" d", -4.0))),
        ),
        count=2,
    )
    assert [one.text for one in found] == ["a -", "a *"]
    assert found[0].likelihood == pytest.approx(-1.0)
    assert [token.end for token in found[0].tokens] == [1, 3]


@pytest.mark.parametrize("rival", ["", " ", "a", "a +", "\ufffd", "<|endoftext|>"])
def test_what_may_come_out_the_same_is_no_rival(rival: str) -> None:
    assert branches(draft(("a", -0.1, (("a", -0.1), (rival, -0.5))), (" + b", -0.1, ())), count=2) == []


def test_tokens_behind_the_cut_do_not_count() -> None:
    made = draft(("a", -0.1, ()), ("\n", -0.1, ((")", -0.2),)))
    made.cut = Cut(1, "line")
    assert branches(made, count=2) == []


class _Telling:
    """Says one of two words, and tells the other as its rival."""

    def __init__(self) -> None:
        self.requests: list[GenerateRequest] = []

    async def info(self) -> ModelInfo:
        return ModelInfo(name="m", architecture="a", context_tokens=4096)

    async def count_tokens(self, texts: Sequence[str]) -> tuple[int, ...]:
        return tuple(len(text) for text in texts)

    async def generate(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        self.requests.append(request)
        usage = Usage(prompt_tokens=1, cached_tokens=0, completion_tokens=1)
        if prompt_text(request.prompt).endswith("="):
            rivals = ((" one", -0.1), ("(", -1.0), (" two", -2.0), (" three", -3.0))
            yield Chunk(text=" one", logprobs=(TokenLogprob(0, " one", -0.1, rivals),), usage=usage)
        yield Chunk(text="()", logprobs=(TokenLogprob(0, "()", -0.1),), usage=usage)
        yield Chunk(finish_reason=FinishReason.STOP, usage=usage, timings=EngineTimings())

    async def aclose(self) -> None:
        """Nothing is held."""


async def test_invoked_offers_rivals_and_explains_them() -> None:
    engine = _Telling()
    request = CompletionRequest(text="x = ", offset=4, path="a.py", trigger=Trigger.INVOKED)
    suggestions = await EngineCompleter(engine).complete(request)
    assert [one.text for one in suggestions] == ["one()", "two()", "three()"]
    assert [prompt_text(one.prompt) for one in engine.requests] == ["x =", "x = two", "x = three"]
    assert all(one.sampling.temperature == 0 for one in engine.requests)
    told = suggestions[0].explanation.candidates
    assert [one.text for one in told] == ["one()", "two()", "three()"]
    assert told[0].confidence > told[2].confidence
