"""An engine with a part of a model ends when the others may not be where it is. Here it has all parts itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from model.api import GenerateRequest, SamplingParams
from model.errors import EngineError, EngineUnavailableError
from model.local import LocalEngine
from model.open_model import open_on_device
from model.packer import Quantize
from model.parallel.followers import Followers
from model.parallel.meeting import meet
from model.parallel.shard import Part
from tests.model.service.serving import until
from tests.model.tiny import write_tiny

ASK = GenerateRequest(prompt="int " * 30, sampling=SamplingParams(max_tokens=5, ignore_eos=True))


async def test_a_step_that_fails_ends_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    followers = Followers(0)
    meet(followers.place, rank=0, processes=1, patience=timedelta(minutes=1))
    loaded, tokenizer = open_on_device(
        write_tiny(tmp_path / "tiny.gguf"),
        torch.device("cpu"),
        dtype=torch.float32,
        quantize=Quantize.NONE,
        room_bytes=10**9,
        part=Part(rank=0, processes=1),
    )
    said: list[EngineError] = []
    engine = LocalEngine(replace(loaded, followers=followers), tokenizer, name="parts", lost=said.append)
    assert [chunk async for chunk in engine.generate(ASK)]

    def fail(*arguments: object) -> object:
        raise MemoryError("no room")

    monkeypatch.setattr(engine._runner, "step", fail)
    for _ in range(2):
        with pytest.raises(EngineUnavailableError, match=r"a step failed \(no room\)") as caught:
            await anext(aiter(engine.generate(ASK)))
        assert "log" in caught.value.hint
    await until(lambda: said)
    assert len(said) == 1
    await engine.aclose()
    assert not torch.distributed.is_initialized()
