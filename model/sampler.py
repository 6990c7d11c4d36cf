"""Logits to one token: greedy, or by temperature, top-k and top-p with a seed. Knows no text.

Legend: V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.api import SamplingParams
from model.errors import RequestError

MOST_LOGPROBS = 100


@dataclass(frozen=True, slots=True)
class Choice:
    """A chosen token. `logprob` (temperature 1) and `top` (ids with theirs, best first) only where asked for."""

    token_id: int
    logprob: float = 0.0
    top: tuple[tuple[int, float], ...] = ()


class Sampler:
    """Chooses the tokens of one generation; the same seed and logits give the same tokens."""

    def __init__(self, params: SamplingParams) -> None:
        check(params)
        self._params = params
        self._generator: torch.Generator | None = None
        if params.temperature > 0:
            self._generator = torch.Generator()
            if params.seed is None:
                self._generator.seed()
            else:
                self._generator.manual_seed(params.seed)

    @property
    def greedy(self) -> bool:
        """Is the likeliest token always the one?"""
        return self._generator is None

    @torch.inference_mode()
    def choose(self, logits: Tensor, allowed: Tensor | None = None) -> Choice:
        """A token for logits, float32 [V]; with `allowed`, bool [V], one of those. Among equal greatest ones greedy
        takes the first. Log-probabilities are the model's, whatever is allowed."""
        open_logits = logits if allowed is None else logits.masked_fill(~allowed, -torch.inf)
        if self._generator is None:
            token_id = int(open_logits.argmax())
        else:
            token_id = _draw(open_logits / self._params.temperature, self._params, self._generator)
        if self._params.logprobs is None:
            return Choice(token_id)
        logprobs = torch.log_softmax(logits, 0)
        if not self._params.logprobs:
            return Choice(token_id, float(logprobs[token_id]))
        best = torch.topk(logprobs, min(self._params.logprobs, len(logits)))
        rivals = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return Choice(token_id, float(logprobs[token_id]), tuple(rivals))


def check(params: SamplingParams) -> None:
    """Raises `RequestError` for a value that makes no sense."""
    wrong = {
        "max_tokens": params.max_tokens < 1,
        "temperature": not 0 <= params.temperature < float("inf"),
        "top_p": not 0 < params.top_p <= 1,
        "top_k": params.top_k < 0,
        "seed": params.seed is not None and not -(2**63) <= params.seed < 2**64,
        "logprobs": params.logprobs is not None and not 0 <= params.logprobs <= MOST_LOGPROBS,
        "stop": any(not stop for stop in params.stop),
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise RequestError(f"{name} cannot be {getattr(params, name)!r}.", hint=_RANGES[name])


_RANGES = {
    "max_tokens": "Ask for 1 or more.",
    "temperature": "Use 0 for greedy, or a positive number.",
    "top_p": "Use a number above 0 and up to 1.",
    "top_k": "Use 0 for all tokens, or a positive number.",
    "seed": "Use a 64-bit integer.",
    "logprobs": f"Use 0 to {MOST_LOGPROBS}, or none.",
    "stop": "Leave empty strings out.",
}


def _draw(scaled: Tensor, params: SamplingParams, generator: torch.Generator) -> int:
    """One token by the probabilities of `scaled` [V], cut to the top k and then to the top p of what is left."""
    if params.top_k == 0 and params.top_p == 1.0:
        return int(torch.multinomial(torch.softmax(scaled, 0), 1, generator=generator))
    kept = min(params.top_k or len(scaled), len(scaled))
    values, ids = torch.topk(scaled, kept)
    probabilities = torch.softmax(values, 0)
    # Keep each token that is needed to reach p: what comes before it has not reached p yet. The first always stays.
    before = probabilities.cumsum(0) - probabilities
    probabilities[before >= params.top_p] = 0
    return int(ids[torch.multinomial(probabilities, 1, generator=generator)])
