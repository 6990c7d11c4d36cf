"""HF transformers' own classes of published models at their true sizes, without memory: names, shapes, and settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers.core_model_loading import revert_weight_conversion

from model.config import LayerConfig, ModelConfig
from tests.model.published_table import Row, Tensors

_KINDS = ("sliding_attention", "full_attention")


def hf_model(row: Row, folder: Path) -> Any:
    """What transformers makes of the settings, less those of a number format, which it would need kernels for; `hf` of
    the row are those that it has to be told, since newer ones mean something else by their absence."""
    settings = row.config | row.whole.get("hf", {})
    folder.mkdir(exist_ok=True)
    plain = {key: value for key, value in settings.items() if key != "quantization_config"}
    (folder / "config.json").write_text(json.dumps(plain))
    config = transformers.AutoConfig.from_pretrained(folder)
    kind = transformers.AutoModelForImageTextToText if "text_config" in settings else transformers.AutoModelForCausalLM
    with torch.device("meta"):
        return kind.from_config(config)


def stored_weights(model: Any) -> dict[str, Tensor]:
    """Under the names that checkpoints of the model are published with."""
    weights = model.state_dict()
    if model.config.tie_word_embeddings:
        for name in getattr(model, "_tied_weights_keys", None) or ():
            weights.pop(name, None)
    found: dict[str, Tensor] = revert_weight_conversion(model, weights)
    return found


def stored_tensors(row: Row, weights: dict[str, Tensor]) -> Tensors:
    """As they are published: in bfloat16, or in the number format that the settings name."""
    found = {name: ("BF16", tuple(weight.shape)) for name, weight in weights.items()}
    quantized = row.config.get("quantization_config", {})
    if quantized.get("quant_method") == "mxfp4":
        for name in [name for name in found if name.endswith(("gate_up_proj", "down_proj"))]:
            experts, inputs, outputs = found.pop(name)[1]
            found[f"{name}_blocks"] = ("U8", (experts, outputs, inputs // 32, 16))
            found[f"{name}_scales"] = ("U8", (experts, outputs, inputs // 32))
    if quantized.get("quant_method") == "fp8":
        rows, columns = quantized["weight_block_size"]
        for name in [name for name in found if name.endswith("_proj.weight")]:
            wide, deep = found[name][1]
            found[name] = ("F8_E4M3", (wide, deep))
            found[f"{name}_scale_inv"] = ("BF16", (-(-wide // rows), -(-deep // columns)))
    return found


def text_model(model: Any) -> Any:
    """What reads, without what sees."""
    base = model.base_model
    return getattr(base, "language_model", base)


def differences(model: Any, ours: ModelConfig) -> dict[str, object]:
    """Where what our reader makes of the settings is not what HF's classes do, and what that is."""
    text = text_model(model)
    config, found = text.config, {}
    expected: dict[str, tuple[object, object]] = {
        "context": (getattr(config, "max_position_embeddings", ours.context_tokens), ours.context_tokens),
        "vocabulary": (config.vocab_size, ours.vocabulary),
        "embedding scale": (getattr(config, "embedding_multiplier", 1.0), ours.embedding_scale),
        "logit scale": (1 / getattr(config, "logits_scaling", 1.0), ours.logit_scale),
    }
    for index, (theirs, layer) in enumerate(zip(text.layers, ours.layers, strict=True)):
        for key, pair in _layer(theirs, layer, config, index).items():
            expected[f"{index}: {key}"] = pair
    for key, (theirs, value) in expected.items():
        if theirs != value:
            found[key] = (theirs, value)
    return found | _rotary(text, ours)


def _layer(theirs: Any, ours: LayerConfig, config: Any, index: int) -> dict[str, tuple[object, object]]:
    found: dict[str, tuple[object, object]] = {
        "residual": (getattr(config, "residual_multiplier", 1.0), ours.residual_scale)
    }
    for name, module in theirs.named_modules():
        epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
        if epsilon is not None:
            found[f"epsilon of {name}"] = (epsilon, ours.norm.epsilon)
        router = ours.mlp.router
        if hasattr(module, "top_k") and hasattr(module, "num_experts"):
            assert router is not None
            found["experts"] = ((module.num_experts, module.top_k), (router.experts, router.chosen))
            found["normalized"] = (getattr(module, "norm_topk_prob", router.normalize), router.normalize)
            found["scale"] = (getattr(module, "routed_scaling_factor", router.scale), router.scale)
    if not ours.is_attention:
        return found
    attention, window = theirs.self_attn, getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    slides = window is not None and (kinds is None or kinds[index] not in _KINDS or kinds[index] == _KINDS[0])
    found["window"] = (window if slides else None, ours.attention.window)
    found["scaling"] = (round(attention.scaling, 12), round(ours.attention.softmax_scale, 12))
    return found


def _rotary(text: Any, ours: ModelConfig) -> dict[str, object]:
    """Frequencies and magnitudes, of each kind of layer."""
    shell, attending = getattr(text, "rotary_emb", None), [layer for layer in ours.layers if layer.is_attention]
    if shell is None:
        return {"turning": attending} if any(layer.attention.rope.dimensions for layer in attending) else {}
    found: dict[str, object] = {}
    with torch.device("cpu"):
        rotary = type(shell)(config=text.config)
    kinds = getattr(text.config, "layer_types", None) or [_KINDS[1]] * len(ours.layers)
    for kind, layer in zip(kinds, ours.layers, strict=True):
        if not layer.is_attention:
            continue
        prefix = f"{kind}_" if hasattr(rotary, f"{kind}_inv_freq") else ""
        rope = layer.attention.rope
        slow = torch.tensor(rope.factors or (1.0,) * (rope.dimensions // 2), dtype=torch.float64)
        steps = torch.arange(0, rope.dimensions, 2, dtype=torch.float64) / rope.dimensions
        frequencies, theirs = rope.base**-steps / slow, getattr(rotary, f"{prefix}inv_freq").double()
        if theirs.shape != frequencies.shape or not torch.allclose(theirs, frequencies, rtol=1e-5, atol=0):
            found[f"frequencies, {kind}"] = (theirs, frequencies)
        magnitude = getattr(rotary, f"{prefix}attention_scaling")
        if abs(magnitude - rope.scale) > 1e-6:
            found[f"magnitude, {kind}"] = (magnitude, rope.scale)
    return found
