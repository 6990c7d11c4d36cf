"""Drafts are checked in one step only where that gives the bits of one token after another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from model.checkpoint.decoder import fill_decoder
from model.checkpoint.gguf import GgufFile
from model.checkpoint.gguf_model import GgufCheckpoint
from model.decoder import Decoder
from model.paged.agreement import BEHIND_TOKENS, rows_agree
from model.paged.decoder import PagedDecoder
from model.paged.runner import PagedRunner
from model.paged.spans import Spans
from model.paged.stage import Stage
from tests.model.paged.models import DEVICE, paged
from tests.model.tiny import CONTEXT, write_tiny


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    with GgufFile(write_tiny(tmp_path_factory.mktemp("agreement") / "m.gguf")) as file:
        checkpoint = GgufCheckpoint(file)
        return fill_decoder(checkpoint.config, checkpoint.weights()).to(DEVICE)


class _Model:
    """Every row is the sum of what was written up to it; `row_mark` and `key_mark` are what several rows at once add to
    their own numbers, and to what they leave for others."""

    device = torch.device("cpu")

    def __init__(self, like: PagedDecoder, *, row_mark: float = 0.0, key_mark: float = 0.0, behind: int = 0) -> None:
        self.config = like.config
        self._row_mark, self._key_mark, self._behind = row_mark, key_mark, behind
        self._written = [0.0] * 10_000

    def ragged(self, tokens: list[int], spans: Spans) -> Tensor:
        start = spans.starts[0]
        several = 1 < len(tokens) <= 8 and start > self._behind
        rows = []
        for place, token in enumerate(tokens, start):
            self._written[place] = token + self._key_mark * several
            rows.append(sum(self._written[: place + 1]) + self._row_mark * several)
        return torch.tensor(rows)[:, None]

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden


@pytest.mark.parametrize(
    ("marks", "agree"),
    [
        ({}, True),
        ({"row_mark": 0.5}, False),
        ({"key_mark": 0.5}, False),
        ({"row_mark": 0.5, "behind": BEHIND_TOKENS[0] + 1}, False),  # behind a long beginning alone
    ],
)
def test_whether_rows_agree_is_tried(decoder: Decoder, marks: dict[str, Any], agree: bool) -> None:
    like, caches = paged(decoder, pages=40)
    like.config = _with_context(like, 4096)
    free = caches.pool.free_pages
    model = cast(PagedDecoder, _Model(like, **marks))
    assert rows_agree(model, caches, None) is agree
    assert (caches.pool.free_pages, caches.kept_pages) == (free, 0)


def _with_context(like: PagedDecoder, tokens: int) -> Any:
    return replace(like.config, context_tokens=tokens)


@pytest.mark.parametrize("steady", [False, True], ids=["any shape", "fixed shapes"])
def test_a_real_decoder_is_tried_and_nothing_is_kept(decoder: Decoder, steady: bool) -> None:
    made, caches = paged(decoder, pages=12)
    stage = Stage(made, most_tokens=CONTEXT + 8, capture=False) if steady else None
    free = caches.pool.free_pages
    runner = PagedRunner(made, caches, stage=stage, drafts=True)
    runner.draft_where_rows_agree()
    assert runner._drafts is rows_agree(made, caches, stage)
    assert (caches.pool.free_pages, caches.kept_pages) == (free, 0)


def test_where_nothing_can_be_tried_nothing_is_known(decoder: Decoder) -> None:
    like, caches = paged(decoder, pages=4)
    like.config = _with_context(like, BEHIND_TOKENS[0])
    assert rows_agree(cast(PagedDecoder, _Model(like)), caches, None) is False
