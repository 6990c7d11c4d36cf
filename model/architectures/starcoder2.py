"""StarCoder2: layer norms, biases, a plain GELU MLP, grouped queries, a sliding window."""

from __future__ import annotations

from model.architectures.architecture import Architecture, head_counts, model_config
from model.architectures.rotary import read_rope
from model.architectures.settings import Settings
from model.architectures.sources import Sources, attention, linear
from model.config import AttentionConfig, LayerConfig, MlpConfig, ModelConfig, NormConfig


def configure(settings: Settings) -> ModelConfig:
    settings.require("hidden_act", "gelu_pytorch_tanh")
    heads, kv_heads, head_dim = head_counts(settings)
    biased = settings.flag("use_bias", True)
    norm = NormConfig(epsilon=settings.number("norm_epsilon", 1e-5), kind="layer")
    shape = LayerConfig(
        norm=norm,
        mixer=AttentionConfig(
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            rope=read_rope(settings, dimensions=head_dim),
            qkv_bias=biased,
            out_bias=biased,
            window=settings.optional_integer("sliding_window"),
        ),
        mlp=MlpConfig(intermediate=settings.integer("intermediate_size"), activation="gelu", gated=False, bias=biased),
    )
    return model_config(settings, (shape,) * settings.integer("num_hidden_layers"), norm=norm, tied=True)


def layer(config: LayerConfig) -> Sources:
    bias = config.mlp.bias
    mlp = linear("mlp.up_proj", "mlp.c_fc", bias=bias) | linear("mlp.down_proj", "mlp.c_proj", bias=bias)
    return attention(config.attention) | mlp


STARCODER2 = Architecture(name="starcoder2", configure=configure, layer=layer)
