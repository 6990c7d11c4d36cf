"""Phi-2: attention and MLP side by side from one layer norm, biases everywhere, part of each head turns."""

from __future__ import annotations

from model.architectures.architecture import Architecture, head_counts, model_config
from model.architectures.rotary import read_rope
from model.architectures.settings import Settings
from model.architectures.sources import Names, Sources, attention, linear
from model.config import AttentionConfig, LayerConfig, MlpConfig, ModelConfig, NormConfig


def configure(settings: Settings) -> ModelConfig:
    settings.require("hidden_act", "gelu_new")
    settings.require("qk_layernorm", False)
    heads, kv_heads, head_dim = head_counts(settings)
    norm = NormConfig(epsilon=settings.number("layer_norm_eps", 1e-5), kind="layer")
    turning = Settings({"partial_rotary_factor": 0.5, **settings.values}, settings.source)
    shape = LayerConfig(
        norm=norm,
        mixer=AttentionConfig(
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            rope=read_rope(turning, dimensions=head_dim),
            qkv_bias=True,
            out_bias=True,
        ),
        mlp=MlpConfig(intermediate=settings.integer("intermediate_size"), activation="gelu", gated=False, bias=True),
        parallel=True,
    )
    return model_config(settings, (shape,) * settings.integer("num_hidden_layers"), norm=norm, head_bias=True)


def layer(config: LayerConfig) -> Sources:
    mlp = linear("mlp.up_proj", "mlp.fc1", bias=True) | linear("mlp.down_proj", "mlp.fc2", bias=True)
    return attention(config.attention, {"o_proj": "dense"}) | mlp


PHI = Architecture(name="phi", configure=configure, layer=layer, names=Names(norm="model.final_layernorm"))
