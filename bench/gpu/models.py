"""The models that are measured, as their published `config.json` has them, and tiny ones for a dry run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from model.architectures.settings import Settings
from model.architectures.table import find_architecture
from model.config import AttentionConfig, ModelConfig
from model.decoder import Decoder
from model.on_device import fill_on_device, weigh


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A model, the formats it is measured in, and what is aimed at: tokens a second at batch 1, or a share of the
    roofline where that is less than 1."""

    name: str
    settings: dict[str, Any]
    aims: dict[str, float]
    """By format."""

    @property
    def config(self) -> ModelConfig:
        settings = Settings(self.settings, self.name)
        return find_architecture(settings, ()).configure(settings)


def _shape(
    kind: str, layers: int, hidden: int, inner: int, heads: int, kv_heads: int, vocabulary: int, **more: Any
) -> dict[str, Any]:
    return {
        "model_type": kind,
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocabulary,
        "max_position_embeddings": 32768,
    } | more


_QWEN = {"head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768}
_DEEPSEEK = {
    "q_lora_rank": None,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_experts_per_tok": 6,
    "moe_intermediate_size": 1408,
    "first_k_dense_replace": 1,
}
_MAMBA = {"num_heads": 128, "head_dim": 64, "state_size": 128, "n_groups": 8, "expand": 2, "conv_kernel": 4}
MODELS = (
    Measured(
        name="mistral-7b",
        settings=_shape("mistral", 32, 4096, 14336, 32, 8, 32768, sliding_window=None),
        aims={"none": 0.75, "int4": 0.5},
    ),
    Measured(
        name="mixtral-8x7b",
        settings=_shape("mixtral", 32, 4096, 14336, 32, 8, 32000),
        aims={"none": 117.0, "fp8": 231.0, "int4": 0.5},
    ),
    Measured(
        name="qwen3-coder-30b-a3b",
        settings=_shape("qwen3_moe", 48, 2048, 6144, 32, 4, 151936, norm_topk_prob=True, **_QWEN),
        aims={"none": 480.0, "fp8": 900.0},
    ),
    Measured(
        name="deepseek-coder-v2-lite",
        settings=_shape("deepseek_v2", 27, 2048, 10944, 16, 16, 102400, **_DEEPSEEK),
        aims={"none": 550.0},
    ),
    Measured(
        name="codestral-mamba-7b",
        settings={
            "model_type": "mamba2",
            "num_hidden_layers": 64,
            "hidden_size": 4096,
            "vocab_size": 32768,
            "tie_word_embeddings": False,
            **_MAMBA,
        },
        aims={"none": 0.5},
    ),
)
TINY = (
    Measured(
        name="tiny-dense",
        settings=_shape("mistral", 2, 64, 96, 4, 2, 256, sliding_window=None),
        aims={"none": 0.75, "int4": 0.5},
    ),
    Measured(
        name="tiny-mixture",
        settings=_shape("mixtral", 2, 64, 96, 4, 2, 256, num_local_experts=4),
        aims={"none": 1.0, "fp8": 1.0, "int4": 0.5},
    ),
    Measured(
        name="tiny-state-space",
        settings={
            "model_type": "mamba2",
            "num_hidden_layers": 2,
            "hidden_size": 64,
            "vocab_size": 256,
            **_MAMBA,
            "num_heads": 2,
            "n_groups": 1,
        },
        aims={"none": 0.5},
    ),
)


def random_decoder(config: ModelConfig, *, device: torch.device, dtype: torch.dtype, quantize: str) -> Decoder:
    """Random weights, made on the device, of such sizes that what flows through keeps its scale."""
    generator = torch.Generator(device).manual_seed(0)
    with torch.device("meta"):
        shapes = {name: weight.shape for name, weight in Decoder(config).state_dict().items()}

    def weights() -> Iterator[tuple[str, Tensor]]:
        for name, shape in shapes.items():
            if "norm" in name:
                yield name, torch.ones(shape, device=device, dtype=dtype)
            else:
                drawn = torch.randn(shape, device=device, dtype=dtype, generator=generator)
                yield name, drawn.mul_(shape[-1] ** -0.5)

    return fill_on_device(config, weights(), device=device, dtype=dtype, quantize=quantize)


def bytes_per_token(config: ModelConfig, quantize: str, dtype: torch.dtype, *, context_tokens: int) -> float:
    """What must be read for one token at batch 1: all weights but the embedding's table and the experts not chosen, and
    the keys and values of the context; and recurrent states, which must be written too."""
    needs = weigh(config, quantize, dtype)
    router = next((layer.mlp.router for layer in config.layers if layer.mlp.router is not None), None)
    experts = 0.0 if router is None else needs.expert_bytes * router.chosen / router.experts
    table = 0 if config.tied_embeddings else config.vocabulary * config.hidden * dtype.itemsize
    held = 0.0
    for layer in config.layers:
        if isinstance(layer.mixer, AttentionConfig):
            latent = layer.mixer.latent
            kept = 2 * layer.mixer.kv_heads * layer.mixer.head_dim if latent is None else latent.rank + latent.rope_dim
            held += kept * dtype.itemsize * context_tokens
        else:
            held += 2 * (4 * prod(layer.mixer.state_shape) + dtype.itemsize * layer.mixer.kernel * layer.mixer.channels)
    return needs.whole_bytes - needs.expert_bytes + experts - table + held
