"""Several sequences at once over pages give what the reference gives for each alone: every architecture that fits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.decoder import Decoder
from model.paged.attention import PagedAttention
from model.paged.spans import Steps
from model.paged.triton_attention import TritonAttention
from tests.model.paged.models import DEVICE, paged, reference, run_ragged, run_steady
from tests.model.tiny_hf import CASES, VOCABULARY

GENERATOR = torch.Generator().manual_seed(5)
FIRST, SECOND, THIRD = (torch.randint(0, VOCABULARY, (count,), generator=GENERATOR).tolist() for count in (90, 70, 5))


@pytest.fixture(scope="module", params=CASES)
def decoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    return reference(tmp_path_factory.mktemp("hf"), request.param)


def expected(decoder: Decoder, tokens: list[int]) -> Tensor:
    with torch.no_grad():
        hidden: Tensor = decoder(torch.tensor([tokens], device=DEVICE))[0]
    return hidden


def assert_close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-4)


def test_prompts_of_several_lengths_in_chunks_then_token_by_token(decoder: Decoder) -> None:
    made, caches = paged(decoder)
    texts = (FIRST, SECOND, THIRD)
    mine = [caches.acquire(text) for text in texts]
    found: list[list[Tensor]] = [[], [], []]
    for chunk in ((20, 65, 0), (60, 0, 1)):
        work = [(number, texts[number][len(mine[number].tokens) :][:size]) for number, size in enumerate(chunk) if size]
        for (number, _), hidden in zip(
            work, run_ragged(made, caches, [(mine[n], new) for n, new in work]), strict=True
        ):
            found[number].append(hidden)
    steps = Steps(4, 2, most_tokens=128, device=DEVICE)  # one row to spare
    while any(len(cache.tokens) < len(text) for cache, text in zip(mine, texts, strict=True)):
        left = [
            (n, texts[n][len(mine[n].tokens) :][: 1 + n % 2]) for n in range(3) if len(mine[n].tokens) < len(texts[n])
        ]
        for (number, _), hidden in zip(
            left, run_steady(made, caches, steps, [(mine[n], new) for n, new in left]), strict=True
        ):
            found[number].append(hidden)
    for text, pieces in zip(texts, found, strict=True):
        assert_close(torch.cat(pieces), expected(decoder, text))
    assert_close(made.logits(found[0][-1]), decoder.head(expected(decoder, FIRST)[-1:]).detach())


def test_what_was_computed_for_another_is_reused(decoder: Decoder) -> None:
    made, caches = paged(decoder)
    first = caches.acquire(FIRST)
    run_ragged(made, caches, [(first, FIRST)], keep=80)
    caches.release(first)
    changed = [*FIRST[:80], *SECOND[:9]]
    cache = caches.acquire(changed)
    assert len(cache.tokens) == 80
    (hidden,) = run_ragged(made, caches, [(cache, changed[80:])])
    assert_close(hidden, expected(decoder, changed)[80:])


@pytest.mark.parametrize("name", ["mixtral", "gpt-oss", "deepseek-v2"])
def test_with_the_kernels(name: str, tmp_path: Path) -> None:
    pytest.importorskip("triton", reason="triton is not installed: pip install triton --no-deps")
    decoder = reference(tmp_path, name)
    attention: PagedAttention = TritonAttention()
    made, caches = paged(decoder, attention=attention)
    mine = [caches.acquire(SECOND), caches.acquire(THIRD)]
    run_ragged(made, caches, [(mine[0], SECOND[:-1]), (mine[1], THIRD[:-2])])
    steps = Steps(2, 2, most_tokens=128, device=DEVICE)
    found = run_steady(made, caches, steps, [(mine[0], SECOND[-1:]), (mine[1], THIRD[-2:])])
    assert_close(found[0], expected(decoder, SECOND)[-1:])
    assert_close(found[1], expected(decoder, THIRD)[-2:])
