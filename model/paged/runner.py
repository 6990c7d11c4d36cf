"""Continuous batching: in each step, either parts of prompts, or the next tokens of up to eight sequences.

Which sequences come first is the scheduler's word (interactive before batch); they join and leave between steps. A
sequence that finds no pages, or no slot for its recurrent states, waits, and gives way: what it computed stays in the
tree for as long as its pages and slots do. Knows no clients and no text.
"""

from __future__ import annotations

import time
from collections.abc import Sequence as Several
from dataclasses import dataclass, field

import torch
from torch import Tensor

from model.choosing import Chooser
from model.drafts import StepCosts
from model.errors import RequestError
from model.paged.agreement import rows_agree
from model.paged.cache import PagedCache, PagedCaches
from model.paged.decoder import PagedDecoder
from model.paged.pool import PAGE_TOKENS
from model.paged.sampling import Kind, Sampling, kind_of, sample, seed_of
from model.paged.snapshots import marks
from model.paged.spans import Remembered, Spans
from model.paged.stage import MOST_QUERIES, MOST_SEQUENCES, Made, Stage, Work
from model.sampler import Choice
from model.sequence import Sequence

PROMPT_TOKENS = 512
"""Parts of prompts that are computed in one step: others may overtake, and cancellation takes effect, between them."""

Outcome = list[Choice] | RequestError
"""The tokens that a step chose for a sequence, none while its prompt is read; or why it cannot go on."""


@dataclass(slots=True)
class _Seat:
    """What a sequence in progress has here."""

    cache: PagedCache
    seed: int
    kind: Kind
    draft: list[int] = field(default_factory=list)
    new: list[int] = field(default_factory=list)
    """What the step computes: pending tokens, then the draft."""


class PagedRunner(Chooser):
    """Steps sequences over one decoder. `stage` None: shapes change from step to step, which suits a CPU."""

    def __init__(
        self,
        decoder: PagedDecoder,
        caches: PagedCaches,
        *,
        stage: Stage | None,
        prompt_tokens: int = PROMPT_TOKENS,
        drafts: bool = False,
        costs: StepCosts | None = None,
    ) -> None:
        drafts = drafts and not caches.is_recurrent  # whose states would have to be taken back
        super().__init__(vocabulary=decoder.config.vocabulary, drafts=drafts, costs=costs)
        self._decoder = decoder
        self._caches = caches
        self._stage = stage
        self._prompt_tokens = prompt_tokens
        self._seats: dict[Sequence, _Seat] = {}

    def draft_where_rows_agree(self) -> None:
        """Draft from now on, if that changes no token."""
        self._drafts = rows_agree(self._decoder, self._caches, self._stage)

    @property
    def most_tokens(self) -> int:
        """The longest sequence that there is room for."""
        return (self._caches.pool.pages - 1) * PAGE_TOKENS - MOST_QUERIES

    @property
    def size_bytes(self) -> int:
        """Memory of the pages and slots that hold something."""
        pool, states = self._caches.pool, self._caches.states
        slots = states.slots - 1 - states.free_slots
        return (pool.pages - 1 - pool.free_pages) * pool.page_bytes + slots * states.slot_bytes

    def pick(self, turns: Several[Sequence]) -> list[Sequence]:
        """Which of these, in the order of their turns, the next step computes: those whose next tokens can be computed
        with the first one's.

        Where none finds room beside the others of its class, the oldest takes theirs: it is never driven out itself, so
        that some sequence always comes to its end. Raises `RequestError` where not even one can be computed alone.
        """
        by_age = sorted(turns, key=lambda sequence: sequence.clock.queued_at)
        picked = self._gather(turns, drive_out=False) or self._gather(by_age, drive_out=True)
        if turns and not picked:
            raise _too_small()
        return picked

    def _gather(self, turns: Several[Sequence], *, drive_out: bool) -> list[Sequence]:
        picked: list[Sequence] = []
        room_tokens = self._prompt_tokens
        few = False
        for sequence in turns:
            seat = self._seat(sequence, turns, drive_out=drive_out and not picked)
            if seat is None:
                continue
            pending = _pending(sequence, seat)
            if not picked:
                few = len(pending) <= MOST_QUERIES
            if (len(pending) <= MOST_QUERIES) != few or len(picked) == MOST_SEQUENCES:
                continue
            new = pending if few else pending[:room_tokens]
            wanted = len(seat.cache.tokens) + max(len(new), MOST_QUERIES)
            if not new or not self._make_room(seat, wanted, turns, drive_out=drive_out and not picked):
                continue
            # Beside others, a step's rows are better spent on these.
            seat.draft = self._guess(sequence, seat, len(new)) if few and len(turns) == 1 else []
            seat.new = new + seat.draft
            picked.append(sequence)
            room_tokens -= len(new)
        return picked

    def step(self, picked: Several[Sequence]) -> list[Outcome]:
        """Compute what `pick` picked."""
        began = time.perf_counter()
        self.steps += 1
        seats = [self._seats[sequence] for sequence in picked]
        read = [len(seat.cache.tokens) < len(sequence.prompt) for sequence, seat in zip(picked, seats, strict=True)]
        work = self._read if len(seats[0].new) > MOST_QUERIES else self._write
        outcomes = work(picked, seats)
        spent_ms = (time.perf_counter() - began) * 1e3
        for sequence, reading in zip(picked, read, strict=True):
            if reading:
                sequence.clock.prefill_ms += spent_ms
            else:
                sequence.clock.decode_ms += spent_ms
        if len(picked) == 1 and not read[0] and len(seats[0].new) == 1 + len(seats[0].draft):
            self._costs.record(len(seats[0].new), spent_ms)
        return outcomes

    def release(self, sequence: Sequence) -> None:
        """Keep what an ended sequence computed for those that begin alike."""
        seat = self._seats.pop(sequence, None)
        if seat is not None:
            self._caches.release(seat.cache)

    def _seat(self, sequence: Sequence, turns: Several[Sequence], *, drive_out: bool) -> _Seat | None:
        """Its seat; None where it has none yet and there is no slot for it."""
        if sequence not in self._seats:
            while not self._caches.admits:
                if not self._drive_out_another(None, turns, those_in_turn=drive_out):
                    return None
            cache = self._caches.acquire(sequence.prompt + sequence.generated)
            if not sequence.generated and not sequence.clock.prefill_ms:
                sequence.clock.queue_ms = (time.perf_counter() - sequence.clock.queued_at) * 1e3
                sequence.cached_tokens = len(cache.tokens)
            params = sequence.request.sampling
            self._seats[sequence] = _Seat(cache, seed_of(params), kind_of(params))
        return self._seats[sequence]

    def _make_room(self, seat: _Seat, tokens: int, turns: Several[Sequence], *, drive_out: bool) -> bool:
        """Pages for so many tokens, if need be those of sequences whose turn it is not; with `drive_out`, those of any
        other, the last in turn first."""
        while not self._caches.reserve(seat.cache, tokens):
            if not self._drive_out_another(seat, turns, those_in_turn=drive_out):
                return False
        return True

    def _drive_out_another(self, seat: _Seat | None, turns: Several[Sequence], *, those_in_turn: bool) -> bool:
        order = {sequence: place for place, sequence in enumerate(turns)}
        others = [
            held for held in self._seats if self._seats[held] is not seat and (those_in_turn or held not in order)
        ]
        if others:
            self.release(max(others, key=lambda held: order.get(held, len(order))))
        return bool(others)

    def _read(self, picked: Several[Sequence], seats: list[_Seat]) -> list[Outcome]:
        """Parts of prompts. Tokens are chosen for those that come to their end."""
        self._begin(picked, seats)
        spans = self._spans(seats)
        hidden = self._decoder.ragged([token for seat in seats for token in seat.new], spans)[spans.last_rows]
        ready = [
            row
            for row, (sequence, seat) in enumerate(zip(picked, seats, strict=True))
            if len(seat.cache.tokens) + len(seat.new) == len(sequence.prompt) + len(sequence.generated)
        ]
        made = self._choose_rows([picked[row] for row in ready], [seats[row] for row in ready], hidden[ready])
        outcomes: list[Outcome] = [[] for _ in picked]
        for place, row in enumerate(ready):
            outcomes[row], _ = self._take(picked[row], seats[row], made.tokens[place], made.logits[place])
        for seat in seats:
            self._keep(seat, len(seat.new))
        return outcomes

    def _write(self, picked: Several[Sequence], seats: list[_Seat]) -> list[Outcome]:
        """The next tokens, and as many behind them as were drafted right."""
        if self._stage is None:
            self._begin(picked, seats)
            made = self._unsteady(picked, seats)
        else:  # whose shapes have no room for states on the way
            for seat in seats:
                self._caches.begin(seat.cache, [])
            made = self._steady(picked, seats)
        outcomes = []
        for sequence, seat, tokens, logits in zip(picked, seats, made.tokens, made.logits, strict=False):
            first = len(seat.new) - len(seat.draft) - 1
            outcome, right = self._take(sequence, seat, tokens[first:], logits[first:])
            self._keep(seat, first + 1 + right)
            outcomes.append(outcome)
        return outcomes

    def _begin(self, picked: Several[Sequence], seats: list[_Seat]) -> None:
        """States change, and are kept near the ends of prompts."""
        for sequence, seat in zip(picked, seats, strict=True):
            held, end = len(seat.cache.tokens), len(sequence.prompt) + len(sequence.generated)
            reading = held < len(sequence.prompt)
            self._caches.begin(seat.cache, marks(held, held + len(seat.new), end=end) if reading else [])

    def _steady(self, picked: Several[Sequence], seats: list[_Seat]) -> Made:
        assert self._stage is not None
        works = [
            Work(
                seat.new,
                len(seat.cache.tokens) + len(seat.new),
                seat.cache.pages,
                sequence.request.sampling,
                seat.seed,
                seat.cache.slot,
            )
            for sequence, seat in zip(picked, seats, strict=True)
        ]
        return self._stage.run(works, _strongest(seats))

    def _unsteady(self, picked: Several[Sequence], seats: list[_Seat]) -> Made:
        """As `_steady`, in a step of just the size that is needed."""
        hidden = self._decoder.ragged([token for seat in seats for token in seat.new], self._spans(seats))
        counts = [len(seat.new) for seat in seats]
        longest = max(counts)
        padded = hidden.new_zeros(len(seats), longest, hidden.shape[1])
        for row, part in zip(padded, torch.split(hidden, counts), strict=True):
            row[: len(part)] = part
        return self._choose_rows(picked, seats, padded.flatten(0, 1))

    def _choose_rows(self, picked: Several[Sequence], seats: list[_Seat], hidden: Tensor) -> Made:
        """Tokens for as many rows of each sequence, [B · Q, D]: those of its new tokens, or of the last of them."""
        if not seats:
            return Made([], hidden)
        queries = len(hidden) // len(seats)
        logits = self._decoder.logits(hidden)
        sampling = Sampling(len(seats), device=self._decoder.device)
        kind = _strongest(seats)
        if kind is not Kind.GREEDY:
            sampling.fill([sequence.request.sampling for sequence in picked], [seat.seed for seat in seats])
        # One row alone is the last of its part; several begin where the sequence's new tokens do.
        first = [len(seat.cache.tokens) + (len(seat.new) - 1 if queries == 1 else 0) for seat in seats]
        positions = torch.tensor([[place + row for row in range(queries)] for place in first]).flatten()
        tokens = sample(logits, sampling, positions.to(self._decoder.device), kind)
        shape = (len(seats), queries)
        return Made(tokens.view(shape).tolist(), logits.view(*shape, -1))

    def _take(self, sequence: Sequence, seat: _Seat, tokens: list[int], logits: Tensor) -> tuple[Outcome, int]:
        """What `_next` makes of rows whose tokens were chosen on the device; grammars and log-probabilities are the
        host's, and choose again."""
        on_host = sequence.request.sampling.logprobs is not None

        def pick(row: int, allowed: Tensor | None) -> Choice:
            if allowed is None and not on_host:
                return Choice(tokens[row])
            return sequence.sampler.choose(logits[row].cpu(), allowed)

        try:
            return self._next(sequence, seat.draft, pick)
        except RequestError as error:  # a grammar that could not be followed to its end
            return error, 0

    def _guess(self, sequence: Sequence, seat: _Seat, pending: int) -> list[int]:
        held = len(seat.cache.tokens) + pending
        room = min(MOST_QUERIES - pending, self._decoder.config.context_tokens - held)
        return self._draft(sequence, room=room) if sequence.generated else []

    def _spans(self, seats: list[_Seat]) -> Spans:
        return Spans(
            tuple(len(seat.new) for seat in seats),
            tuple(len(seat.cache.tokens) + len(seat.new) for seat in seats),
            tuple(tuple(seat.cache.pages) for seat in seats),
            self._decoder.device,
            tuple(_remembered(seat.cache) for seat in seats),
        )

    def _keep(self, seat: _Seat, count: int) -> None:
        """The first `count` new tokens are computed and stay."""
        seat.cache.tokens += seat.new[:count]
        self._caches.settle(seat.cache)
        self._caches.publish(seat.cache)


def _pending(sequence: Sequence, seat: _Seat) -> list[int]:
    """Tokens that are not in the cache yet."""
    held = len(seat.cache.tokens)
    if held < len(sequence.prompt):
        return sequence.prompt[held:] + sequence.generated
    return sequence.generated[held - len(sequence.prompt) :]


def _remembered(cache: PagedCache) -> Remembered:
    """Where a step finds its states, and keeps them on the way."""
    held = len(cache.tokens)
    return Remembered(cache.slot, {length - held: slot for length, slot in cache.coming.items()})


def _strongest(seats: list[_Seat]) -> Kind:
    return max((seat.kind for seat in seats), key=lambda kind: kind.value)


def _too_small() -> RequestError:
    return RequestError(
        "There is not enough memory for this request's keys and values.", hint="Send less context, or ask again later."
    )
