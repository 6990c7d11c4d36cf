"""One step of one sequence: a chunk of its prompt, or a few tokens. Knows no clients and no text."""

from __future__ import annotations

import time
from collections.abc import Sequence as Several

from torch import Tensor

from model.cached_decoder import ServesTokens
from model.choosing import Chooser, Pick
from model.drafts import StepCosts
from model.errors import RequestError
from model.few_tokens import FEW_TOKENS
from model.head import CANDIDATES, FEW_CANDIDATES, Head
from model.prefix_cache import PrefixCache
from model.sampler import Choice
from model.sequence import Sequence

CHUNK_TOKENS = 128
"""A prompt is computed in such pieces: others may overtake, and cancellation takes effect, between them."""
_FORCED_PIECES = 8
"""A step computes so many pieces of what a grammar forces before it lets others go on."""


class Runner(Chooser):
    """Runs the model over a sequence's pending tokens and chooses the next ones."""

    def __init__(
        self,
        decoder: ServesTokens,
        head: Head,
        prefixes: PrefixCache,
        *,
        chunk_tokens: int = CHUNK_TOKENS,
        drafts: bool = True,
        costs: StepCosts | None = None,
    ) -> None:
        super().__init__(vocabulary=decoder.config.vocabulary, drafts=drafts, costs=costs)
        self._decoder = decoder
        self._head = head
        self._prefixes = prefixes
        self._chunk_tokens = chunk_tokens

    @property
    def size_bytes(self) -> int:
        """Memory of the caches."""
        return self._prefixes.size_bytes

    def pick(self, turns: Several[Sequence]) -> list[Sequence]:
        """Which of these, in the order of their turns, the next step computes: the first."""
        return list(turns[:1])

    def step(self, picked: Several[Sequence]) -> list[list[Choice] | RequestError]:
        """Compute what `pick` picked: tokens for each, or why it cannot go on."""
        outcomes: list[list[Choice] | RequestError] = []
        for sequence in picked:
            try:
                outcomes.append(self.run(sequence))
            except RequestError as error:  # a grammar that could not be followed to its end
                outcomes.append(error)
        return outcomes

    def run(self, sequence: Sequence) -> list[Choice]:
        """Compute up to a chunk of what is pending; the next tokens when nothing is left, else none."""
        began = time.perf_counter()
        if sequence.cache is None:
            sequence.clock.queue_ms = (began - sequence.clock.queued_at) * 1e3
            sequence.cache = self._prefixes.acquire(sequence.prompt)
            sequence.cached_tokens = len(sequence.cache.tokens)
        self.steps += 1
        pending = sequence.pending()
        if sequence.generated:
            choices = self._decode(sequence, pending)
            spent_ms = (time.perf_counter() - began) * 1e3
            sequence.clock.decode_ms += spent_ms
            return choices
        choices = self._prefill(sequence, pending)
        sequence.clock.prefill_ms += (time.perf_counter() - began) * 1e3
        return choices

    def release(self, sequence: Sequence) -> None:
        """Keep what an ended sequence computed for those that begin alike."""
        if sequence.cache is not None:
            self._prefixes.release(sequence.cache)
            sequence.cache = None

    def _prefill(self, sequence: Sequence, pending: list[int]) -> list[Choice]:
        assert sequence.cache is not None
        chunk = pending[: self._chunk_tokens]
        hidden = self._decoder.forward(chunk, sequence.cache)
        if len(chunk) < len(pending):
            return []
        return self._next(sequence, [], self._pick(sequence, hidden))[0]

    def _decode(self, sequence: Sequence, pending: list[int]) -> list[Choice]:
        """The next token, and after it as many as were drafted right, and what a grammar then forces."""
        cache = sequence.cache
        assert cache is not None
        began = time.perf_counter()
        forced = len(pending) > 1
        for _ in range(_FORCED_PIECES):  # whose bits are those of one token after another
            if len(pending) <= FEW_TOKENS:
                break
            self._decoder.forward(pending[:FEW_TOKENS], cache)
            pending = pending[FEW_TOKENS:]
        else:
            return []  # others' turn
        held = len(cache.tokens)
        draft = self._draft(sequence, room=min(FEW_TOKENS, self._decoder.config.context_tokens - held) - len(pending))
        hidden = self._decoder.forward(pending + draft, cache, last_only=False)
        choices, right = self._next(sequence, draft, self._pick(sequence, hidden[len(pending) - 1 :]))
        cache.truncate(held + len(pending) + right)
        if not forced:
            self._costs.record(1 + len(draft), (time.perf_counter() - began) * 1e3)
        return choices

    def _pick(self, sequence: Sequence, hidden: Tensor) -> Pick:
        """Tokens by hidden states [1 + drafted, D]."""
        candidates = _candidates(sequence)
        logits = self._head(hidden, candidates=candidates) if sequence.constraint is None else None

        def pick(row: int, allowed: Tensor | None) -> Choice:
            if logits is not None:
                return sequence.sampler.choose(logits[row])
            exact = self._head(hidden[row : row + 1], candidates=candidates, allowed=allowed)[0]
            return sequence.sampler.choose(exact, allowed)

        return pick


def _candidates(sequence: Sequence) -> int:
    """A greedy choice needs fewer exact logits than a distribution or its rivals."""
    few = sequence.sampler.greedy and not sequence.request.sampling.logprobs
    return FEW_CANDIDATES if few else CANDIDATES
