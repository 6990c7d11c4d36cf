"""Alternatives to a draft, each distinct by construction: they leave it at the tokens the model was least sure of.

An alternative begins as the draft does, takes a rival of one token, and goes on greedily. Since the rival's text
differs from what the draft says there, no two alternatives can come out the same at that place.
"""

from __future__ import annotations

from dataclasses import dataclass

from completion.generation import Draft, Token

_CONTROL = ("<|", "<｜", "<s>", "</s>")


@dataclass(frozen=True, slots=True)
class Branch:
    """How an alternative begins, and the tokens of that beginning. `likelihood`: natural logarithm, of all of them."""

    text: str
    tokens: tuple[Token, ...]
    likelihood: float


def branches(draft: Draft, *, count: int) -> list[Branch]:
    """The `count` likeliest beginnings that differ from the draft and from each other; none without rivals."""
    found: list[Branch] = []
    start, joint = 0, 0.0
    for index, token in enumerate(draft.tokens):
        if start >= len(draft.kept):
            break
        if token.end <= draft.given:
            start = token.end
            continue
        said = draft.raw[start:]
        for text, logprob in token.top:
            if not _differs(text, said):
                continue
            rival = Token(start + len(text), logprob)
            opening = draft.raw[:start] + text
            found.append(Branch(opening, (*draft.tokens[:index], rival), joint + logprob))
        start, joint = token.end, joint + token.logprob
    found.sort(key=lambda one: -one.likelihood)
    chosen: list[Branch] = []
    for one in found:
        if all(not _begins_alike(one.text, other.text) for other in chosen):
            chosen.append(one)
    return chosen[:count]


def _differs(rival: str, said: str) -> bool:
    """Can a text that goes on with `rival` never be the one that goes on with `said`?"""
    if not rival.strip() or "\ufffd" in rival or rival.startswith(_CONTROL):
        return False
    return not _begins_alike(rival.strip(), said.strip())


def _begins_alike(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)
