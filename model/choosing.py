"""What every runner does around its logits: guesses ahead, chooses row by row, takes what a grammar forces."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from model.drafts import Drafter, StepCosts
from model.sampler import Choice
from model.sequence import Sequence

Pick = Callable[[int, Tensor | None], Choice]
"""Chooses the token of a row, among those that the mask allows, bool [V]; None: all."""


class Chooser:
    """A runner's common part. `steps` counts the runs of the model.

    With `drafts`, guessed tokens are computed along with the pending one under greedy decoding, and kept as far as
    they are what would have been chosen anyway. `drafted` and `accepted` count them.
    """

    def __init__(self, *, vocabulary: int, drafts: bool, costs: StepCosts | None) -> None:
        self._vocabulary = vocabulary
        self._drafts = drafts
        self._costs = costs or StepCosts()
        self.steps = self.drafted = self.accepted = 0

    def _draft(self, sequence: Sequence, *, room: int) -> list[int]:
        """Up to `room` tokens to check beside the next one, where that promises to pay."""
        most = min(room, sequence.tokens_left - 1)
        if most < 1 or not self._drafts or not sequence.sampler.greedy:
            return []
        if sequence.drafter is None:
            sequence.drafter = Drafter(sequence.prompt + sequence.generated, self._costs)
        draft = sequence.drafter.draft(most)
        return draft if sequence.constraint is None else draft[: sequence.constraint.valid(draft)]

    def _next(self, sequence: Sequence, draft: list[int], pick: Pick) -> tuple[list[Choice], int]:
        """The tokens of 1 + len(draft) rows, up to and with the first that is not as drafted, and what a grammar then
        forces; and how many were drafted right.

        Raises `RequestError` for a grammar that cannot be followed to its end.
        """
        forced = [] if sequence.generated else self._force(sequence)
        if forced:
            return forced, 0
        choices: list[Choice] = []
        constraint = sequence.constraint
        for row, guess in enumerate([*draft, None]):
            # What is allowed in a row shows only when those before it are chosen.
            allowed = None if constraint is None else _mask_of(constraint.allowed(), self._vocabulary)
            choices.append(pick(row, allowed))
            if constraint is not None:
                constraint.advance(choices[-1].token_id)
            if choices[-1].token_id != guess or (constraint is not None and constraint.ended):
                break
        right = len(choices) - 1
        if sequence.drafter is not None:
            sequence.drafter.took([choice.token_id for choice in choices], drafted=len(draft))
        self.drafted += len(draft)
        self.accepted += right
        return choices + self._force(sequence), right

    def _force(self, sequence: Sequence) -> list[Choice]:
        """Tokens that the grammar leaves no choice about; where log-probabilities are wanted, each is computed."""
        if sequence.constraint is None or sequence.request.sampling.logprobs is not None:
            return []
        tokens = sequence.constraint.forced()
        for token in tokens:
            sequence.constraint.advance(token)
        if sequence.drafter is not None:
            sequence.drafter.follow(list(tokens))
        return [Choice(token) for token in tokens]


def _mask_of(allowed: bytes, vocabulary: int) -> Tensor:
    """Bool [V] of one byte a token; rows of the embedding that pad it are no tokens."""
    mask = torch.zeros(vocabulary, dtype=torch.bool)
    known = torch.frombuffer(bytearray(allowed), dtype=torch.uint8)[:vocabulary]
    mask[: len(known)] = known.bool()
    return mask
