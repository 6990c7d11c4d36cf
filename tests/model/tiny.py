"""A tiny random llama checkpoint, written with the `gguf` package, so that most tests need no download."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from model.tokenizer import BYTE_OF_LETTER

HIDDEN, HEADS, KV_HEADS, INTERMEDIATE, LAYERS, CONTEXT = 64, 4, 2, 96, 3, 256
CONTROL = ("<|endoftext|>", "<|im_end|>", "<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<file_sep>")
MERGES = (("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("Ġ", "Ġ"), ("ĠĠ", "ĠĠ"), ("i", "n"), ("r", "e"), ("in", "t"))


def tokens() -> list[str]:
    """The vocabulary: control tokens, bytes, merged pairs."""
    return [*CONTROL, *BYTE_OF_LETTER, *("".join(pair) for pair in MERGES)]


def write_tiny(
    path: Path,
    *,
    seed: int = 0,
    tied: bool = True,
    quantization: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    metadata: dict[str, str | int | bool] | None = None,
    drop: str = "",
) -> Path:
    """Write the checkpoint; `metadata` overrides string, integer and boolean keys, `drop` leaves a tensor out."""
    writer = gguf.GGUFWriter(path, "llama")
    strings = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm"}
    integers = {
        "llama.block_count": LAYERS,
        "llama.context_length": CONTEXT,
        "llama.embedding_length": HIDDEN,
        "llama.feed_forward_length": INTERMEDIATE,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
        "tokenizer.ggml.eos_token_id": 1,
    }
    for key, value in (strings | integers | (metadata or {})).items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        else:
            writer.add_string(key, value)
    writer.add_float32("llama.rope.freq_base", 10000.0)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    writer.add_array("tokenizer.ggml.tokens", tokens())
    writer.add_array("tokenizer.ggml.token_type", [3] * len(CONTROL) + [1] * (len(tokens()) - len(CONTROL)))
    writer.add_array("tokenizer.ggml.merges", [" ".join(pair) for pair in MERGES])
    for name, shape in _shapes(tied=tied).items():
        if name != drop:
            _add_tensor(writer, name, _random(shape, seed=seed, name=name), quantization)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _shapes(*, tied: bool) -> dict[str, tuple[int, ...]]:
    kv_hidden = HIDDEN // HEADS * KV_HEADS
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (len(tokens()), HIDDEN)}
    for layer in range(LAYERS):
        shapes |= {
            f"blk.{layer}.attn_norm.weight": (HIDDEN,),
            f"blk.{layer}.attn_q.weight": (HIDDEN, HIDDEN),
            f"blk.{layer}.attn_k.weight": (kv_hidden, HIDDEN),
            f"blk.{layer}.attn_v.weight": (kv_hidden, HIDDEN),
            f"blk.{layer}.attn_output.weight": (HIDDEN, HIDDEN),
            f"blk.{layer}.ffn_norm.weight": (HIDDEN,),
            f"blk.{layer}.ffn_gate.weight": (INTERMEDIATE, HIDDEN),
            f"blk.{layer}.ffn_up.weight": (INTERMEDIATE, HIDDEN),
            f"blk.{layer}.ffn_down.weight": (HIDDEN, INTERMEDIATE),
        }
    shapes["output_norm.weight"] = (HIDDEN,)
    return shapes if tied else shapes | {"output.weight": (len(tokens()), HIDDEN)}


def _random(shape: tuple[int, ...], *, seed: int, name: str) -> np.ndarray:
    generator = np.random.default_rng([seed, *name.encode()])
    if len(shape) == 1:
        return (1 + 0.2 * generator.standard_normal(shape)).astype(np.float32)
    # Wide enough that attention and output are far from uniform.
    return (generator.standard_normal(shape) * (1.5 / shape[1] ** 0.5)).astype(np.float32)


def _add_tensor(
    writer: gguf.GGUFWriter, name: str, values: np.ndarray, quantization: gguf.GGMLQuantizationType
) -> None:
    if values.ndim == 1 or quantization is gguf.GGMLQuantizationType.F32:
        writer.add_tensor(name, values)
    else:
        writer.add_tensor(name, gguf.quantize(values, quantization), raw_dtype=quantization)
