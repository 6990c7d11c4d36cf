"""A checkpoint on disk to a decoder that serves, one layer at a time, so that the float32 copy is never whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from model.attention import CpuAttention
from model.checkpoint.gguf import GgufFile
from model.checkpoint.llama import read_config, read_weights
from model.config import AttentionConfig, ModelConfig
from model.errors import UsageError
from model.few_tokens import FEW_TOKENS
from model.head import Head
from model.linear import FEW_ROWS, rows_agree
from model.packer import Beside, Packer, Quantize
from model.serving import ServingDecoder, interleaved
from model.serving_layer import ServingLayer

WeightTransform = Callable[[str, Tensor], Tensor]
"""Given a decoder weight's name and its float32 value, the value to serve: how adapters are merged at load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A loaded model. `quantization` names the formats that were chosen, such as "int4" or "int8".

    `rows_agree`: does computing a few tokens at once give the same bits as one after another?
    """

    decoder: ServingDecoder
    head: Head
    config: ModelConfig
    parameters: int
    quantization: str
    rows_agree: bool


def load_served(
    file: GgufFile,
    *,
    dtype: torch.dtype,
    quantize: Quantize,
    beside: Beside = Beside.COPIES,
    transform: WeightTransform | None = None,
    progress: Callable[[float], None] | None = None,
) -> Served:
    """Read, fuse and pack. `progress` gets the fraction that is done. Raises `CheckpointError`."""
    config = read_config(file)
    weights = _transformed(read_weights(file, config), transform)
    parameters = sum(torch.Size(info.shape).numel() for info in file.tensors.values())
    return pack(
        config, weights, parameters=parameters, dtype=dtype, quantize=quantize, beside=beside, progress=progress
    )


def pack(
    config: ModelConfig,
    weights: Iterator[tuple[str, Tensor]],
    *,
    parameters: int,
    dtype: torch.dtype,
    quantize: Quantize,
    beside: Beside = Beside.COPIES,
    progress: Callable[[float], None] | None = None,
) -> Served:
    """Fuse and pack float32 weights of a plain model (`ModelConfig.is_plain`): embedding first, then layer by layer.

    `beside` as in `model.packer`.
    """
    packer = Packer(dtype=dtype, quantize=quantize, beside=beside)
    _, embedding = next(weights)
    stored = embedding.to(dtype)
    head = packer.head(embedding, stored) if config.tied_embeddings else None
    del embedding  # it is the largest, and not whole beside all others
    layers: list[ServingLayer] = []
    for index, shape in enumerate(config.layers):
        named = dict(next(weights) for _ in range(12 if shape.attention.qkv_bias else 9))
        part = {name.removeprefix(f"layers.{index}."): weight for name, weight in named.items()}
        layers.append(_fused(part, packer, shape.attention))
        if progress is not None:
            progress((index + 1) / (len(config.layers) + 1))
    rest = dict(weights)
    if head is None:
        head = packer.head(rest["lm_head.weight"], rest["lm_head.weight"].to(dtype))
    decoder = ServingDecoder(
        config,
        embedding=stored,
        layers=layers,
        norm=rest["norm.weight"],
        attention=CpuAttention(dtype, few_rows=FEW_ROWS),
        dtype=dtype,
    )
    if progress is not None:
        progress(1.0)
    return Served(
        decoder=decoder,
        head=head,
        config=config,
        parameters=parameters,
        quantization=packer.used(),
        rows_agree=_rows_agree(layers[0], head, config),
    )


def pick_dtype(name: str) -> torch.dtype:
    """The type many rows are computed in: `auto` is bfloat16 where the CPU multiplies it natively, else float32.

    Raises `UsageError`.
    """
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if name == "auto":
        return torch.bfloat16 if _has_bfloat16_units() else torch.float32
    if name not in known:
        raise UsageError(f"There is no dtype {name!r}.", hint="Use auto, float32 or bfloat16.")
    return known[name]


def _has_bfloat16_units() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _transformed(
    weights: Iterator[tuple[str, Tensor]], transform: WeightTransform | None
) -> Iterator[tuple[str, Tensor]]:
    for name, weight in weights:
        yield name, weight if transform is None else transform(name, weight)


def _fused(part: dict[str, Tensor], packer: Packer, shape: AttentionConfig) -> ServingLayer:
    gate_up = torch.cat((part["mlp.gate_proj.weight"], part["mlp.up_proj.weight"]))
    return ServingLayer(
        attention_norm=part["attention_norm.weight"],
        qkv=packer.linear(_heads(part, "weight", shape)),
        qkv_bias=_heads(part, "bias", shape) if shape.qkv_bias else None,
        out=packer.linear(part["attention.o_proj.weight"]),
        mlp_norm=part["mlp_norm.weight"],
        gate_up=packer.linear(gate_up),
        down=packer.linear(part["mlp.down_proj.weight"]),
    )


def _heads(part: dict[str, Tensor], kind: str, shape: AttentionConfig) -> Tensor:
    """The rows that make queries, keys and values, of all heads."""
    order = interleaved(shape.head_dim, shape.rope.dimensions)
    query = _reordered(part[f"attention.q_proj.{kind}"] * shape.head_dim**-0.5, order)
    key = _reordered(part[f"attention.k_proj.{kind}"], order)
    return torch.cat((query, key, part[f"attention.v_proj.{kind}"]))


def _reordered(rows: Tensor, order: list[int]) -> Tensor:
    """The rows of each head, [·, K] or [·], in another order."""
    return rows.view(-1, len(order), *rows.shape[1:])[:, order].view(rows.shape)


@torch.inference_mode()
def _rows_agree(layer: ServingLayer, head: Head, config: ModelConfig) -> bool:
    """One layer speaks for all: kernels and shapes are the same, as far as `auto` does not mix formats."""
    attended = config.layers[0].attention.heads * config.layers[0].attention.head_dim
    inputs = {
        layer.qkv: config.hidden,
        layer.out: attended,
        layer.gate_up: config.hidden,
        layer.down: config.layers[0].mlp.intermediate,
    }
    return all(
        rows_agree(linear.few, inputs=width, dtype=linear.few_dtype, rows=FEW_TOKENS)
        for linear, width in inputs.items()
    ) and rows_agree(head, inputs=config.hidden, dtype=torch.float32, rows=FEW_TOKENS)
