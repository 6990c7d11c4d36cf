"""Steps of fixed shapes; on a GPU, captured ones against the same run as they stand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model.api import SamplingParams
from model.experts.offload import PlainMover, offload
from model.paged.sampling import Kind
from model.paged.serve import may_capture
from model.paged.spans import Steps
from model.paged.stage import Stage, Work, room
from model.paged.triton_attention import TritonAttention
from tests.model.paged.models import paged, reference, run_ragged

PROMPT = [3, 1, 4, 1, 5, 9, 2, 6] * 9


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
@pytest.mark.parametrize("name", ["mixtral", "deepseek-v2", "gpt-oss", "llama-2"])
@pytest.mark.parametrize("kind", list(Kind))
def test_captured_equals_eager(name: str, kind: Kind, tmp_path: Path) -> None:
    decoder = reference(tmp_path, name)
    made, caches = paged(decoder, attention=TritonAttention())
    cache = caches.acquire(PROMPT)
    run_ragged(made, caches, [(cache, PROMPT)])
    params = SamplingParams(temperature=0.8, top_k=9)
    eager, captured = (Stage(made, most_tokens=256, capture=capture) for capture in (False, True))
    for length in range(len(PROMPT), len(PROMPT) + 20):
        assert caches.reserve(cache, length + 9)
        works = [Work([length % 50], length + 1, cache.pages, params, 11)] * 3
        first = eager.run(works, kind)
        wanted, logits = first.tokens, first.logits.clone()
        second = captured.run(works, kind)
        assert second.tokens == wanted
        assert torch.equal(second.logits, logits)


def test_a_rehearsal_touches_no_page_but_the_scratch_page() -> None:
    steps = Steps(2, 2, most_tokens=300, device=torch.device("cpu"))
    steps.rehearse(2048)
    steps.begin()
    assert steps.lengths.tolist() == [320, 320]  # the room there is
    assert steps.slots().max() < 64
    steps.fill([[7]], [3], [[4]])
    steps.begin()
    assert steps.lengths.tolist() == [4, 2]
