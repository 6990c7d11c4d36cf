"""HF transformers on the same shape, device and random weights: the better of eager and of a compiled static cache."""

from __future__ import annotations

import time
from inspect import signature
from statistics import median
from typing import Any

import torch

from bench.gpu.measure import free, wait
from bench.gpu.models import Measured


def measure_peer(
    model: Measured, *, device: torch.device, dtype: torch.dtype, context_tokens: int, steps: int, until: float
) -> dict[str, Any]:
    """Tokens a second at batch 1 by way; a way that fails, or for which no time is left, says so."""
    import transformers

    found: dict[str, Any] = {"transformers": transformers.__version__}
    if time.monotonic() > until:
        return found | {"eager": "no time was left"}
    settings = dict(model.settings)
    kind = settings.pop("model_type")
    peer = None
    try:
        config = transformers.AutoConfig.for_model(kind, **settings)
        with torch.device(device):
            peer = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
        for way in ("eager", "compiled"):
            if time.monotonic() > until:
                found[way] = "no time was left"
                continue
            try:
                found[way] = _steps(peer, way, device, context_tokens=context_tokens, steps=steps)
            except Exception as error:  # noqa: BLE001 - what the peer cannot do is a finding
                found[way] = f"{type(error).__name__}: {str(error)[:200]}"
    except Exception as error:  # noqa: BLE001 - likewise
        found["eager"] = f"{type(error).__name__}: {str(error)[:200]}"
    del peer
    free(device)
    rates = [value for value in found.values() if isinstance(value, float)]
    return found | ({"best_tokens_per_s": max(rates)} if rates else {})


@torch.inference_mode()
def _steps(peer: Any, way: str, device: torch.device, *, context_tokens: int, steps: int) -> float:
    from transformers import StaticCache

    prompt = torch.randint(0, peer.config.vocab_size, (1, context_tokens), device=device)
    call, cache = peer, None
    if way == "compiled":
        cache = StaticCache(config=peer.config, max_cache_len=context_tokens + steps + 8)
    # State spaces have another name for what they remember.
    held = "cache_params" if "cache_params" in signature(peer.forward).parameters else "past_key_values"
    out = peer(prompt, **{held: cache}, use_cache=True, logits_to_keep=1)
    cache = getattr(out, held)
    if way == "compiled":
        call = torch.compile(peer, mode="reduce-overhead", fullgraph=False)
    token = out.logits[:, -1:].argmax(-1)
    spent = []
    for step in range(steps + 4):
        place = torch.tensor([context_tokens + step], device=device)
        wait(device)
        began = time.perf_counter()
        out = call(token, **{held: cache}, cache_position=place, use_cache=True)
        token = out.logits[:, -1:].argmax(-1).clone()
        wait(device)
        spent.append(time.perf_counter() - began)
    return round(1 / median(spent[4:]), 1)
