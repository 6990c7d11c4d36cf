"""The shape of each of a decoder's weights, without making the decoder.

Written out, since a decoder on the meta device, which could tell, makes torch import a second's worth of modules.
"""

from __future__ import annotations

from model.config import (
    NO_MLP,
    AttentionConfig,
    DeltaConfig,
    IndexConfig,
    LatentConfig,
    LayerConfig,
    MlpConfig,
    ModelConfig,
    NormConfig,
    StateSpaceConfig,
)

Shapes = dict[str, tuple[int, ...]]


def weight_shapes(config: ModelConfig) -> Shapes:
    """By the decoder's names, in its order but for the order within a layer."""
    hidden = config.hidden
    shapes: Shapes = {"embedding.weight": (config.vocabulary, hidden)}
    for index, layer in enumerate(config.layers):
        shapes |= {f"layers.{index}.{name}": shape for name, shape in _layer(hidden, layer).items()}
    shapes |= _norm("norm", hidden, config.norm)
    if config.learned_rope is not None:
        shapes["rope_exponents"] = (config.learned_rope.dimensions // 2,)
    if not config.tied_embeddings:
        shapes |= _linear("lm_head", config.vocabulary, hidden, bias=config.head_bias)
    return shapes


def _layer(hidden: int, config: LayerConfig) -> Shapes:
    shapes = _norm("attention_norm", hidden, config.norm) | _mixer(hidden, config)
    if config.mlp == NO_MLP:
        return shapes
    if not config.parallel:
        shapes |= _norm("mlp_norm", hidden, config.norm)
    return shapes | (_mlp("mlp", hidden, config.mlp) if config.mlp.router is None else _mixture(hidden, config.mlp))


def _mixer(hidden: int, config: LayerConfig) -> Shapes:
    mixer = config.mixer
    if isinstance(mixer, StateSpaceConfig):
        return _state_space(hidden, mixer)
    if isinstance(mixer, DeltaConfig):
        return _delta(hidden, mixer)
    return _attention(hidden, mixer) if mixer.latent is None else _latent(hidden, mixer, mixer.latent, config.norm)


def _state_space(hidden: int, config: StateSpaceConfig) -> Shapes:
    into = config.inner + config.channels + config.heads
    shapes = _linear("mixer.in_proj", into, hidden, bias=config.bias)
    shapes["mixer.conv.weight"] = (config.channels, config.kernel)
    if config.conv_bias:
        shapes["mixer.conv.bias"] = (config.channels,)
    shapes["mixer.step_bias"] = shapes["mixer.rate_log"] = shapes["mixer.skip"] = (config.heads,)
    shapes["mixer.norm.weight"] = (config.inner,)
    return shapes | _linear("mixer.out_proj", hidden, config.inner, bias=config.bias)


def _delta(hidden: int, config: DeltaConfig) -> Shapes:
    outputs = {"qkv": config.channels, "z": config.inner, "beta": config.heads, "step": config.heads}
    shapes: Shapes = {f"mixer.{name}_proj.weight": (size, hidden) for name, size in outputs.items()}
    shapes["mixer.conv.weight"] = (config.channels, config.kernel)
    shapes["mixer.step_bias"] = shapes["mixer.rate_log"] = (config.heads,)
    shapes["mixer.norm.weight"] = (config.value_dim,)
    return shapes | _linear("mixer.out_proj", hidden, config.inner, bias=False)


def _attention(hidden: int, config: AttentionConfig) -> Shapes:
    queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
    shapes = _linear("attention.q_proj", queries, hidden, bias=config.qkv_bias)
    shapes |= _linear("attention.k_proj", keys, hidden, bias=config.qkv_bias)
    shapes |= _linear("attention.v_proj", keys, hidden, bias=config.qkv_bias)
    shapes |= _linear("attention.o_proj", hidden, queries, bias=config.out_bias)
    if config.head_norm is not None:
        shapes |= _norm("attention.q_norm", config.head_dim, config.head_norm)
        shapes |= _norm("attention.k_norm", config.head_dim, config.head_norm)
    if config.gated:
        shapes |= _linear("attention.gate_proj", queries, hidden, bias=config.qkv_bias)
    return shapes | ({"attention.sinks": (config.heads,)} if config.sinks else {})


def _latent(hidden: int, config: AttentionConfig, latent: LatentConfig, norm: NormConfig) -> Shapes:
    queries = config.heads * (latent.plain_dim + latent.rope_dim)
    shapes: Shapes = {}
    if latent.query_rank is None:
        shapes |= _linear("attention.q_proj", queries, hidden, bias=False)
    else:
        shapes |= _linear("attention.q_down_proj", latent.query_rank, hidden, bias=config.qkv_bias)
        shapes |= _norm("attention.q_norm", latent.query_rank, norm)
        shapes |= _linear("attention.q_up_proj", queries, latent.query_rank, bias=False)
    if latent.own:
        shapes |= _linear("attention.kv_down_proj", latent.rank + latent.rope_dim, hidden, bias=config.qkv_bias)
        shapes |= _norm("attention.kv_norm", latent.rank, norm)
    if config.index is not None:
        shapes |= _growth("attention", config.heads) | _indexer("attention.indexer", hidden, config.index)
    rebuilt = config.heads * (latent.plain_dim + latent.value_dim)
    shapes |= _linear("attention.kv_up_proj", rebuilt, latent.rank, bias=False)
    return shapes | _linear("attention.o_proj", hidden, config.heads * latent.value_dim, bias=config.out_bias)


def _indexer(name: str, hidden: int, config: IndexConfig) -> Shapes:
    if not config.own:
        return {}
    shapes = _linear(f"{name}.q_proj", config.heads * config.dim, hidden, bias=False)
    shapes |= _linear(f"{name}.k_proj", config.dim, hidden, bias=False)
    shapes |= _linear(f"{name}.head_weights", config.heads, hidden, bias=False)
    shapes |= _norm(f"{name}.q_norm", hidden, config.norm) | _norm(f"{name}.k_norm", config.dim, config.norm)
    return shapes | _growth(name, config.heads)


def _growth(name: str, heads: int) -> Shapes:
    return {f"{name}.growth.slope": (heads,), f"{name}.growth.base": (heads,)}


def _mlp(name: str, hidden: int, config: MlpConfig) -> Shapes:
    shapes: Shapes = {}
    for part in ("gate_proj", "up_proj") if config.gated else ("up_proj",):
        shapes |= _linear(f"{name}.{part}", config.intermediate, hidden, bias=config.bias)
    return shapes | _linear(f"{name}.down_proj", hidden, config.intermediate, bias=config.bias)


def _mixture(hidden: int, config: MlpConfig) -> Shapes:
    router, inner = config.router, config.intermediate
    assert router is not None
    shapes = _linear("mlp.router", router.experts, hidden, bias=router.bias)
    shapes["mlp.gate_proj"] = shapes["mlp.up_proj"] = (router.experts, inner, hidden)
    shapes["mlp.down_proj"] = (router.experts, hidden, inner)
    if config.bias:
        shapes["mlp.gate_bias"] = shapes["mlp.up_bias"] = (router.experts, inner)
        shapes["mlp.down_bias"] = (router.experts, hidden)
    if config.shared:
        shared = MlpConfig(intermediate=config.shared, activation=config.activation, bias=config.bias)
        shapes |= _mlp("mlp.shared", hidden, shared)
    if config.shared_gate:
        shapes["mlp.shared_gate.weight"] = (1, hidden)
    return shapes


def _linear(name: str, outputs: int, inputs: int, *, bias: bool) -> Shapes:
    weight: Shapes = {f"{name}.weight": (outputs, inputs)}
    return weight | ({f"{name}.bias": (outputs,)} if bias else {})


def _norm(name: str, size: int, config: NormConfig) -> Shapes:
    weight: Shapes = {f"{name}.weight": (size,)}
    return weight | ({f"{name}.bias": (size,)} if config.kind == "layer" else {})
