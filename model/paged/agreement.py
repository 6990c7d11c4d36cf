"""Whether a step that computes several tokens of a sequence gives the bits of computing one after another.

Only then may drafts be checked in one step: they change no token. Kernels of a GPU may add in another order for other
numbers of rows, so it is tried, with made-up tokens behind a short and a long beginning; nothing of that is kept.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from model.api import SamplingParams
from model.paged.cache import PagedCache, PagedCaches
from model.paged.decoder import PagedDecoder
from model.paged.pool import PAGE_TOKENS
from model.paged.sampling import Kind
from model.paged.spans import Spans
from model.paged.stage import MOST_QUERIES, Stage, Work

BEHIND_TOKENS = (24, 700)
"""Attention may be computed in other parts behind many tokens than behind few."""
_PIECE = 256


def rows_agree(decoder: PagedDecoder, caches: PagedCaches, stage: Stage | None) -> bool:
    """Tries what fits the context and the pages that are free; where nothing does, nothing is known, and it is no. No
    where layers are recurrent, too: what a wrong draft did to their states cannot be taken back."""
    if caches.is_recurrent:
        return False
    room = min(decoder.config.context_tokens, (caches.pool.pages - 1) * PAGE_TOKENS)
    tried = [behind for behind in BEHIND_TOKENS if behind + MOST_QUERIES < room]
    return bool(tried) and all(_agree_behind(_Trial(decoder, caches, stage), behind) for behind in tried)


class _Trial:
    """Steps of one sequence of made-up tokens."""

    def __init__(self, decoder: PagedDecoder, caches: PagedCaches, stage: Stage | None) -> None:
        self._decoder, self._caches, self._stage = decoder, caches, stage
        self._cache = PagedCache([])
        self.vocabulary = decoder.config.vocabulary

    def open(self, tokens: int) -> bool:
        return self._caches.reserve(self._cache, tokens)

    def close(self) -> None:
        self._caches.release(self._cache)

    def read(self, tokens: Sequence[int], *, start: int) -> Tensor:
        """Logits [N, V] of tokens that follow `start` others, as parts of a prompt are computed."""
        length = start + len(tokens)
        spans = Spans((len(tokens),), (length,), (tuple(self._cache.pages),), self._decoder.device)
        return self._decoder.logits(self._decoder.ragged(list(tokens), spans))

    def step(self, tokens: Sequence[int], *, start: int) -> Tensor:
        """The same as a decode step computes it."""
        if self._stage is None:
            return self.read(tokens, start=start)
        work = Work(tokens, start + len(tokens), self._cache.pages, SamplingParams(), 0)
        return self._stage.run([work], Kind.GREEDY).logits[0, : len(tokens)].clone()


@torch.inference_mode()
def _agree_behind(trial: _Trial, behind: int) -> bool:
    rng = random.Random(behind)
    tokens = [rng.randrange(trial.vocabulary) for _ in range(behind + MOST_QUERIES + 1)]
    if not trial.open(len(tokens)):
        return False
    try:
        for start in range(0, behind, _PIECE):
            trial.read(tokens[start : min(start + _PIECE, behind)], start=start)
        new = tokens[behind:]
        alone = [trial.step([token], start=behind + place) for place, token in enumerate(new)]
        for count in range(2, MOST_QUERIES + 1):
            together = trial.step(new[:count], start=behind)
            # The next token reads the keys and values that these left.
            after = trial.step([new[count]], start=behind + count)
            if not torch.equal(together, torch.cat(alone[:count])) or not torch.equal(after, alone[count]):
                return False
        return True
    finally:
        trial.close()
