"""What an architecture is: a name, a reading of its configuration, and the places of its weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from model.architectures.settings import Settings
from model.architectures.sources import Names, Sources, whole
from model.config import AttentionConfig, LayerConfig, ModelConfig, NormConfig

HF_NAMES = Names()


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One family as HF's `config.json` and tensor names have it. `name` is its `model_type`."""

    name: str
    configure: Callable[[Settings], ModelConfig]
    layer: Callable[[LayerConfig], Sources]
    names: Names = HF_NAMES

    def sources(self, config: ModelConfig) -> Sources:
        """Where each weight lies."""
        return whole(config, self.names, self.layer)


def model_config(
    settings: Settings,
    layers: tuple[LayerConfig, ...],
    *,
    norm: NormConfig,
    tied: bool = False,
    head_bias: bool = False,
    embedding_scale: float = 1.0,
    logit_scale: float = 1.0,
    context_tokens: int | None = None,
) -> ModelConfig:
    """What every family says in the same words. `tied`: are embeddings tied when the file does not say?

    `context_tokens`: what the length is when the file does not say; None: it must.
    """
    if not layers:
        raise settings.wrong("num_hidden_layers")
    return ModelConfig(
        architecture=settings.text("model_type"),
        hidden=settings.integer("hidden_size"),
        vocabulary=settings.integer("vocab_size"),
        context_tokens=settings.integer("max_position_embeddings", context_tokens),
        layers=layers,
        norm=norm,
        tied_embeddings=settings.flag("tie_word_embeddings", tied),
        head_bias=head_bias,
        embedding_scale=embedding_scale,
        logit_scale=logit_scale,
    )


def head_counts(settings: Settings) -> tuple[int, int, int]:
    """Query heads, key/value heads, dimensions of a head."""
    heads = settings.integer("num_attention_heads")
    kv_heads = settings.integer("num_key_value_heads", heads)
    if not heads or not kv_heads or heads % kv_heads:
        raise settings.wrong("num_key_value_heads")
    return heads, kv_heads, settings.integer("head_dim", settings.integer("hidden_size") // heads)


def windows(settings: Settings, attention: AttentionConfig) -> list[AttentionConfig]:
    """The attention of each layer, where `layer_types` says which slide (gpt-oss, Qwen)."""
    count = settings.integer("num_hidden_layers")
    kinds = settings.texts("layer_types") or ("full_attention",) * count
    if len(kinds) != count or set(kinds) - {"full_attention", "sliding_attention"}:
        raise settings.wrong("layer_types")
    window = settings.optional_integer("sliding_window")
    return [attention if kind == "full_attention" else replace(attention, window=window) for kind in kinds]
