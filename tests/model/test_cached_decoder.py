"""Every architecture with a cache: whole, in chunks and token by token the same as without one."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.cached_decoder import CachedDecoder, ModuleHead
from model.checkpoint.decoder import fill_decoder
from model.checkpoint.huggingface import HuggingFaceCheckpoint
from model.config import LayerConfig, ModelConfig
from model.decoder import Decoder
from model.errors import CheckpointError
from model.kv_cache import KvCache
from model.paged.decoder import PagedDecoder
from model.paged.gathered import GatheredAttention
from tests.model.tiny_hf import CASES, VOCABULARY, write_hf

IDS: list[int] = torch.randint(0, VOCABULARY, (40,), generator=torch.Generator().manual_seed(2)).tolist()


@pytest.fixture(scope="module", params=CASES)
def decoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    folder = write_hf(tmp_path_factory.mktemp("hf") / request.param, CASES[request.param])
    checkpoint = HuggingFaceCheckpoint(folder)
    return fill_decoder(checkpoint.config, checkpoint.weights())


def _hidden(cached: CachedDecoder, cache: KvCache, chunks: list[int]) -> Tensor:
    return torch.cat([cached.forward(IDS[len(cache.tokens) :][:size], cache, last_only=False) for size in chunks])


@pytest.mark.parametrize("chunks", [[40], [1] * 40, [7, 1, 1, 20, 11]], ids=str)
def test_any_chunking_equals_the_reference(chunks: list[int], decoder: Decoder) -> None:
    cached = CachedDecoder(decoder)
    cache = KvCache(cached.kv_shape)
    with torch.no_grad():
        expected = decoder(torch.tensor([IDS]))[0]
    torch.testing.assert_close(_hidden(cached, cache, chunks), expected, rtol=0, atol=1e-4)
    assert cache.tokens == IDS


def test_a_truncated_cache_is_continued_as_if_it_were_new(decoder: Decoder) -> None:
    cached = CachedDecoder(decoder)
    if cached.kv_shape.states:
        pytest.skip("states cannot be taken back: tests/model/paged has how one starts from earlier ones")
    cache = KvCache(cached.kv_shape)
    with torch.no_grad():
        expected = decoder(torch.tensor([IDS]))[0, 20:]
    cached.forward(IDS[:20] + [3] * 8, cache)
    cache.truncate(20)
    torch.testing.assert_close(_hidden(cached, cache, [5, 15]), expected, rtol=0, atol=1e-4)


def test_logits_of_the_last_token_are_the_references(decoder: Decoder) -> None:
    cached = CachedDecoder(decoder)
    with torch.no_grad():
        expected = decoder.head(decoder(torch.tensor([IDS])))[0]
    hidden = cached.forward(IDS, KvCache(cached.kv_shape))
    torch.testing.assert_close(ModuleHead(decoder)(hidden), expected[-1:], rtol=1e-4, atol=1e-3)


def _numbers(layer: LayerConfig, *, widest: int) -> int:
    """What a layer should remember of each token; `widest` is the latent of the layer that has most."""
    if not layer.is_attention:
        return 0
    attention = layer.attention
    if attention.latent is None:
        return attention.kv_heads * attention.head_dim * 2
    keys = 0 if attention.index is None or not attention.index.own else attention.index.dim
    return keys + (widest if attention.latent.own else 0)


def test_latent_attention_keeps_one_short_vector_a_token_and_recurrent_layers_none(decoder: Decoder) -> None:
    shape, layers = CachedDecoder(decoder).kv_shape, decoder.config.layers
    latents = [layer.attention.latent for layer in layers if layer.is_attention and layer.attention.latent is not None]
    widest = max((latent.rank + latent.rope_dim for latent in latents), default=0)
    assert shape.bytes_per_token == 4 * sum(_numbers(layer, widest=widest) for layer in layers)
    assert len(shape.states) == sum(not layer.is_attention for layer in layers)


def test_layers_with_different_caches_are_refused(tmp_path: Path) -> None:
    checkpoint = HuggingFaceCheckpoint(write_hf(tmp_path / "tiny", CASES["llama-2"]))
    first, *rest = checkpoint.config.layers
    odd = replace(first, mixer=replace(first.attention, kv_heads=4))
    config: ModelConfig = replace(checkpoint.config, layers=(odd, *rest))
    for make in (CachedDecoder, partial(PagedDecoder, attention=GatheredAttention())):
        with pytest.raises(CheckpointError, match="different shapes") as caught:
            make(Decoder(config))
        assert caught.value.hint
