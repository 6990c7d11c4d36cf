"""Independent readings of a llama GGUF file: weights by the `gguf` package, the model by HF transformers."""

from __future__ import annotations

from pathlib import Path

import gguf
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def dequantized(path: Path) -> dict[str, Tensor]:
    """Every tensor in float32, under the names of the file."""
    return {
        tensor.name: torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).copy())
        for tensor in gguf.GGUFReader(path).tensors
    }


def hf_model(path: Path, *, dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    """HF's Llama with the file's weights, its key-value cache and its default (SDPA) attention."""
    reader = gguf.GGUFReader(path)

    def value(key: str) -> int | float:
        number = reader.fields[f"llama.{key}"].contents()
        assert isinstance(number, int | float)
        return number

    heads, kv_heads = int(value("attention.head_count")), int(value("attention.head_count_kv"))
    weights = dequantized(path)
    config = LlamaConfig(
        vocab_size=len(weights["token_embd.weight"]),
        hidden_size=value("embedding_length"),
        intermediate_size=value("feed_forward_length"),
        num_hidden_layers=value("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=int(value("embedding_length")) // heads,
        rms_norm_eps=value("attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": value("rope.freq_base")},
        max_position_embeddings=value("context_length"),
        tie_word_embeddings="output.weight" not in weights,
    )
    state = {_hf_name(name): _hf_order(name, weight, heads, kv_heads) for name, weight in weights.items()}
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model.to_empty(device="cpu")
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}
    model.tie_weights()
    # `to_empty` leaves the table of rotary frequencies, which is no parameter, unset.
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    return model.to(dtype).eval()


def _hf_name(name: str) -> str:
    if name.startswith("blk."):
        _, index, part, kind = name.split(".")
        return f"model.layers.{index}.{_NAMES[part]}.{kind}"
    top = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    stem, kind = name.rsplit(".", 1)
    return f"{top[stem]}.{kind}"


def _hf_order(name: str, weight: Tensor, heads: int, kv_heads: int) -> Tensor:
    """Undo, row by row, the reordering of query and key rows that GGUF's interleaved rotary layout needs."""
    if "attn_q" not in name and "attn_k" not in name:
        return weight
    count = heads if "attn_q" in name else kv_heads
    head_dim = len(weight) // count
    order = [
        head * head_dim + 2 * (row % (head_dim // 2)) + row // (head_dim // 2)
        for head in range(count)
        for row in range(head_dim)
    ]
    return weight[order]
