"""Steps of fixed shapes; on a GPU, captured ones against the same run as they stand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.api import SamplingParams
from model.experts.few import has_triton
from model.experts.offload import PlainMover, offload
from model.paged.sampling import Kind
from model.paged.serve import may_capture
from model.paged.spans import Steps
from model.paged.stage import Stage, Work, room
from model.paged.triton_attention import TritonAttention
from tests.model.paged.models import paged, reference, run_ragged

PROMPT = [3, 1, 4, 1, 5, 9, 2, 6] * 9
RECURRENT = ["mamba-2", "granite-4", "qwen3-next"]


@pytest.mark.parametrize(("count", "holds"), [(1, 1), (2, 2), (3, 4), (5, 8), (8, 8)])
def test_shapes_hold_what_they_must(count: int, holds: int) -> None:
    assert room(count) == holds


def test_a_step_of_any_shape_gives_the_same_tokens(tmp_path: Path) -> None:
    decoder = reference(tmp_path, "mixtral")
    made, caches = paged(decoder)
    cache = caches.acquire(PROMPT)
    run_ragged(made, caches, [(cache, PROMPT)])
    stage = Stage(made, most_tokens=256, capture=False)
    assert caches.reserve(cache, len(PROMPT) + 8)
    new = [7, 8, 9]
    work = Work(new, len(PROMPT) + 3, cache.pages, SamplingParams(), 0)
    with torch.no_grad():
        whole = decoder(torch.tensor([PROMPT + new], device=made.device))[0, -3:]
        wanted = decoder.head(whole).argmax(-1).tolist()
    for count in (1, 2, 3, 5):
        tokens = stage.run([work] * count, Kind.GREEDY).tokens
        assert [row[:3] for row in tokens[:count]] == [wanted] * count


@pytest.mark.parametrize(
    ("name", "kernel"),
    [("mamba-2", False), ("granite-4", False), ("qwen3-next", False), ("mamba-2", True), ("qwen3-next", True)],
)
def test_a_step_of_any_shape_leaves_the_same_states(
    name: str, kernel: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several sequences, of several lengths and with fewer new tokens than there is room for, in slots out of order:
    tokens and states are those of each computed alone, and nobody else's states move."""
    monkeypatch.setattr("model.paged.recall.has_kernel", lambda _: kernel and has_triton())
    decoder = reference(tmp_path, name)
    made, caches = paged(decoder, slots=30)
    stage = Stage(made, most_tokens=256, capture=False)
    texts = [PROMPT[:8], PROMPT[:31], PROMPT, [7, *PROMPT], [5] * 3]
    news = [[7, 8, 9], [4], [1, 2, 3, 4, 5], [6, 7], [2, 9, 2, 9, 2, 9, 2]]
    for count in (1, 3, 5):
        held = [caches.acquire(text) for text in reversed(texts[:count])][::-1]
        for cache, text in zip(held, texts, strict=False):
            run_ragged(made, caches, [(cache, text)])
            assert caches.reserve(cache, len(text) + 8)
        before = [part.clone() for part in (*made.states.windows, *made.states.states)]
        works = [
            Work(new, len(text) + len(new), cache.pages, SamplingParams(), 0, cache.slot)
            for cache, text, new in zip(held, texts, news, strict=False)
        ]
        found = stage.run(works, Kind.GREEDY)
        for part, was in zip((*made.states.windows, *made.states.states), before, strict=True):
            others = [slot for slot in range(made.states.slots) if slot not in [cache.slot for cache in held]]
            assert torch.equal(part[others], was[others])
        for row, (cache, text, new) in enumerate(zip(held, texts, news, strict=False)):
            with torch.no_grad():
                wanted = decoder.head(decoder(torch.tensor([text + new], device=made.device))[0, -len(new) :])
            torch.testing.assert_close(found.logits[row, : len(new)], wanted, rtol=0, atol=1e-4 * _scale(wanted))
            assert found.tokens[row][: len(new)] == wanted.argmax(-1).tolist()
            alone = caches.acquire([3])
            run_ragged(made, caches, [(alone, text + new)])
            for part in (*made.states.windows, *made.states.states):
                torch.testing.assert_close(part[cache.slot], part[alone.slot], rtol=1e-4, atol=1e-4)
            caches.release(alone)
            caches.begin(cache, [])  # what the stage computed is not among its tokens
            caches.release(cache)


def _scale(logits: torch.Tensor) -> float:
    return float(logits.abs().max())


def test_steps_are_captured_where_the_host_need_not_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Triton (on Windows, say) the host looks at the choice of experts; where they take turns, always."""
    dense, mixture = reference(tmp_path, "llama-2"), reference(tmp_path, "mixtral")
    for there in (True, False):
        monkeypatch.setattr("model.layers.mixture.has_triton", lambda there=there: there)
        assert may_capture(dense)
        assert may_capture(mixture) is there
    monkeypatch.undo()
    offload(list(mixture.layers), slots=3, device=torch.device("cpu"), mover=PlainMover())
    assert not may_capture(mixture)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["mixtral", "deepseek-v2", "mistral-large-4-shared", "gpt-oss", "llama-2", *RECURRENT])
@pytest.mark.parametrize("kind", list(Kind))
def test_captured_equals_eager(name: str, kind: Kind, tmp_path: Path) -> None:
    decoder = reference(tmp_path, name)
    made, caches = paged(decoder, attention=TritonAttention())
    cache = caches.acquire(PROMPT)
    run_ragged(made, caches, [(cache, PROMPT)])
    params = SamplingParams(temperature=0.8, top_k=9)
    eager, captured = (Stage(made, most_tokens=256, capture=capture) for capture in (False, True))
    slots = [0] * 6
    if caches.is_recurrent:  # a step changes the states: each of both has its own
        slots = [made.states.take() for _ in slots]
        for slot in slots:
            made.states.copy(cache.slot, slot)
    for length in range(len(PROMPT), len(PROMPT) + 20):
        assert caches.reserve(cache, length + 9)
        new = [length % 50, *[3] * (length % 3)]
        one = Work(new, length + len(new), cache.pages, params, 11)
        first = eager.run([one._replace(slot=slot) for slot in slots[:3]], kind)
        wanted, logits = first.tokens, first.logits.clone()
        second = captured.run([one._replace(slot=slot) for slot in slots[3:]], kind)
        assert second.tokens == wanted
        assert torch.equal(second.logits, logits)
        for part in (*made.states.windows, *made.states.states):
            assert torch.equal(part[slots[:3]], part[slots[3:]])


def test_a_rehearsal_touches_no_page_but_the_scratch_page() -> None:
    steps = Steps(2, 2, most_tokens=300, device=torch.device("cpu"))
    steps.rehearse(2048)
    steps.begin()
    assert steps.lengths.tolist() == [320, 320]  # the room there is
    assert steps.slots().max() < 64
    steps.fill([[7]], [3], [[4]])
    steps.begin()
    assert steps.lengths.tolist() == [4, 2]
