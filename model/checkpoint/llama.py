"""The llama architecture in GGUF: its metadata as a `ModelConfig`, and its tensors under the decoder's names.

Llama-family files (Llama, Mistral, SmolLM2) all say `llama`. Their query and key rows are stored for interleaved
rotary positions (llama.cpp's `convert_hf_to_gguf.py`, `LlamaModel.permute`); the decoder is half-split, so rows are
put back here.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from model.architectures.rotary import read_rope
from model.checkpoint.gguf import GgufFile
from model.checkpoint.gguf_rope import FACTORS, adjusted
from model.checkpoint.gguf_settings import read_settings
from model.checkpoint.shapes import weight_shapes
from model.config import AttentionConfig, LayerConfig, MlpConfig, ModelConfig, NormConfig
from model.decoder import Decoder
from model.errors import CheckpointError

_LAYER_TENSORS = {
    "attention_norm.weight": "attn_norm.weight",
    "attention.q_proj.weight": "attn_q.weight",
    "attention.k_proj.weight": "attn_k.weight",
    "attention.v_proj.weight": "attn_v.weight",
    "attention.o_proj.weight": "attn_output.weight",
    "mlp_norm.weight": "ffn_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
}


def read_config(file: GgufFile) -> ModelConfig:
    """Raises `CheckpointError` for another architecture, or when a needed key is missing or wrong."""
    architecture = file.metadata.get("general.architecture")
    if architecture != "llama":
        raise CheckpointError(
            f"{file.path.name} has architecture {architecture!r}, which is not supported.",
            hint="Use a model of the llama family (Llama, Mistral, SmolLM2).",
        )
    if _integer(file, "llama.expert_count", 0):
        raise CheckpointError(
            f"{file.path.name} is a mixture of experts, which is not supported yet.", hint="Use a dense model."
        )
    hidden, heads = _integer(file, "llama.embedding_length"), _integer(file, "llama.attention.head_count")
    head_dim = _integer(file, "llama.attention.key_length", hidden // heads)
    norm = NormConfig(epsilon=_number(file, "llama.attention.layer_norm_rms_epsilon"))
    layer = LayerConfig(
        norm=norm,
        mixer=AttentionConfig(
            heads=heads,
            kv_heads=_integer(file, "llama.attention.head_count_kv", heads),
            head_dim=head_dim,
            rope=read_rope(read_settings(file), dimensions=_integer(file, "llama.rope.dimension_count", head_dim)),
        ),
        mlp=MlpConfig(intermediate=_integer(file, "llama.feed_forward_length")),
    )
    config = ModelConfig(
        architecture="llama",
        hidden=hidden,
        vocabulary=_vocabulary(file),
        context_tokens=_integer(file, "llama.context_length"),
        layers=(layer,) * _integer(file, "llama.block_count"),
        norm=norm,
        tied_embeddings="output.weight" not in file.tensors,
    )
    return adjusted(config, file)


def load_decoder(file: GgufFile) -> Decoder:
    """The reference decoder with the file's weights in float32, in evaluation mode. Raises `CheckpointError`."""
    config = read_config(file)
    with torch.device("meta"):
        decoder = Decoder(config)
    weights = dict(read_weights(file, config))
    decoder.load_state_dict(weights, assign=True)
    return decoder.eval()


def read_weights(file: GgufFile, config: ModelConfig) -> Iterator[tuple[str, Tensor]]:
    """All tensors in float32 under the decoder's names, one at a time. Raises `CheckpointError` for missing ones,
    unexpected ones and wrong shapes, before the first is read."""
    names = tensor_names(file, config)
    for name, stored in names.items():
        weight = file.read(stored)
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            weight = half_split_rows(weight, config.layers[0].attention.head_dim)
        yield name, weight


def tensor_names(file: GgufFile, config: ModelConfig) -> dict[str, str]:
    """Decoder name to stored name, in order, checked for presence and shape."""
    names = {"embedding.weight": "token_embd.weight"}
    for index in range(len(config.layers)):
        names |= {f"layers.{index}.{ours}": f"blk.{index}.{theirs}" for ours, theirs in _LAYER_TENSORS.items()}
    names["norm.weight"] = "output_norm.weight"
    if not config.tied_embeddings:
        names["lm_head.weight"] = "output.weight"
    extra = file.tensors.keys() - set(names.values()) - {FACTORS}
    missing = set(names.values()) - file.tensors.keys()
    if missing or extra:
        raise CheckpointError(
            f"{file.path.name} does not fit its architecture: missing {_some(missing)}, unexpected {_some(extra)}.",
            hint="Fetch the model again, or convert it with a current llama.cpp.",
        )
    shapes = weight_shapes(config)
    for name, stored in names.items():
        if file.tensors[stored].shape != shapes[name]:
            raise CheckpointError(
                f"Tensor {stored!r} of {file.path.name} has shape {file.tensors[stored].shape}, not {shapes[name]}.",
                hint="Fetch the model again.",
            )
    return names


def half_split_rows(weight: Tensor, head_dim: int) -> Tensor:
    """[H · E, D] with rows of each head in interleaved order (0, E/2, 1, E/2 + 1, …) to rows 0 … E−1."""
    heads = weight.view(-1, head_dim // 2, 2, weight.shape[1])
    return heads.transpose(1, 2).reshape(weight.shape)


def _vocabulary(file: GgufFile) -> int:
    embedding = file.tensors.get("token_embd.weight")
    if embedding is None:
        raise CheckpointError(f"{file.path.name} has no tensor 'token_embd.weight'.", hint="Fetch the model again.")
    return embedding.shape[0]


def _integer(file: GgufFile, key: str, default: int | None = None) -> int:
    value = file.metadata.get(key, default)
    if not isinstance(value, int) or value < 0:
        raise CheckpointError(f"{file.path.name} says {value!r} for {key}.", hint="Fetch the model again.")
    return value


def _number(file: GgufFile, key: str) -> float:
    value = file.metadata.get(key)
    if not isinstance(value, int | float):
        raise CheckpointError(f"{file.path.name} says {value!r} for {key}.", hint="Fetch the model again.")
    return float(value)


def _some(names: set[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "") if listed else "none"
