"""What a model is made of, as data: a table of building blocks, one row a layer. Knows no checkpoint format.

An architecture is one short file that fills these in and says which tensor goes where (`model.checkpoint.llama`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class NormConfig:
    """`rms`: root-mean-square norm with a learned scale. `layer`: mean and variance, with scale and bias."""

    epsilon: float
    kind: Literal["rms", "layer"] = "rms"


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeConfig:
    """Rotary positions in the half-split layout: dimension i turns with dimension i + `dimensions` / 2.

    Dimension i turns by position · `base` ^ (−2i / `dimensions`), divided by `factors[i]` where there are factors
    (long-context variants). Dimensions of the head beyond `dimensions`, all of them where that is 0, do not turn. What
    turns is multiplied by `scale` (YaRN's attention factor). Where it is `learned`, the model has an exponent for each
    frequency, which is multiplied by e to the power of that.
    """

    base: float
    dimensions: int
    factors: tuple[float, ...] | None = None
    scale: float = 1.0
    learned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryGrowth:
    """Queries grow with their position p, by 1 + `slope` · ln(1 + ⌊p / `step_tokens`⌋), so that attention stays sharp
    over long texts (Llama 4, Ministral 3)."""

    slope: float
    step_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedGrowth:
    """Queries grow with their position p, by slope · ln(1 + p) + base, both learned for each head (scalable softmax,
    arXiv 2501.19399)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexConfig:
    """A query sees only the `chosen` tokens that an indexer scores highest (DeepSeek-V3.2, arXiv 2512.02556).

    Of each token a key of `dim` numbers is kept. The score is a sum over `heads`, each the positive part of query times
    key, weighted by what the query's token says. Queries grow by `LearnedGrowth`; what turns in attention turns here.
    """

    chosen: int
    heads: int
    dim: int
    norm: NormConfig
    """Of the keys, and of what queries are made of."""
    own: bool = True
    """Does this layer choose? Else its queries see what the last layer that did chose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentConfig:
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): keys and values are rebuilt from a short vector.

    Of each token, `rank` numbers and one rotary key of `rope_dim`, shared by all heads, are kept. A head's query and
    key have `plain_dim` dimensions that do not turn, then `rope_dim` that do; its value has `value_dim`.
    """

    rank: int
    plain_dim: int
    rope_dim: int
    value_dim: int
    query_rank: int | None = None
    """Queries pass through so many numbers too; None: they do not."""
    shared: int | None = None
    """The number under which several layers attend to the same vectors, this one among them; None: no other does."""
    own: bool = True
    """Does this layer make the vectors? Else an earlier one with the same number does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionConfig:
    """Causal attention; each key/value head serves `heads` / `kv_heads` query heads."""

    heads: int
    kv_heads: int
    head_dim: int
    rope: RopeConfig
    qkv_bias: bool = False
    out_bias: bool = False
    scale: float | None = None
    """What scores are multiplied by; None: 1 / √head_dim."""
    window: int | None = None
    """A token sees itself and the `window` − 1 before it; None: all before it."""
    head_norm: NormConfig | None = None
    """A norm of each head's query and key before they turn."""
    sinks: bool = False
    """A learned score for each head that takes its share of the softmax and gives nothing."""
    latent: LatentConfig | None = None
    gated: bool = False
    """Is what each head found multiplied by a sigmoid of the input before it is projected (Qwen3-Next)?"""
    growth: QueryGrowth | LearnedGrowth | None = None
    index: IndexConfig | None = None
    """Of latent attention with `LearnedGrowth` alone."""

    @property
    def softmax_scale(self) -> float:
        return self.head_dim**-0.5 if self.scale is None else self.scale

    @property
    def remembers(self) -> bool:
        """Does a cache hold keys and values, or latents, for this layer?"""
        return self.latent is None or self.latent.own

    @property
    def remembered(self) -> tuple[int, int]:
        """Key/value heads, and half of the numbers that a cache holds for each of a token, where it does."""
        if self.latent is None:
            return self.kv_heads, self.head_dim
        return 1, (self.latent.rank + self.latent.rope_dim + 1) // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSpaceConfig:
    """Mamba-2 (arXiv 2405.21060): each head keeps a matrix of `head_dim` × `state`, which fades and is written to.

    What is written and read passes through a causal convolution over the last `kernel` tokens. Consecutive heads of a
    group share what they write by and read by. Time steps stay within `limits`.
    """

    heads: int
    head_dim: int
    groups: int
    state: int
    kernel: int = 4
    bias: bool = False
    conv_bias: bool = True
    limits: tuple[float, float] = (0.0, inf)

    @property
    def inner(self) -> int:
        """Numbers of all heads together."""
        return self.heads * self.head_dim

    @property
    def channels(self) -> int:
        """What the convolution runs over: values, and what each group writes and reads by."""
        return self.inner + 2 * self.groups * self.state

    @property
    def state_shape(self) -> tuple[int, ...]:
        return self.heads, self.head_dim, self.state


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaConfig:
    """Gated delta rule (arXiv 2412.06464): each head keeps a matrix of `key_dim` × `value_dim`, which fades, and whose
    value at a key is moved towards a new one.

    Queries, keys and values pass through a causal convolution over the last `kernel` tokens. Each of `key_heads` serves
    `heads` / `key_heads` consecutive heads.
    """

    heads: int
    key_heads: int
    key_dim: int
    value_dim: int
    kernel: int = 4

    @property
    def inner(self) -> int:
        """Values of all heads together."""
        return self.heads * self.value_dim

    @property
    def channels(self) -> int:
        """What the convolution runs over: queries, keys and values."""
        return 2 * self.key_heads * self.key_dim + self.inner

    @property
    def state_shape(self) -> tuple[int, ...]:
        return self.heads, self.key_dim, self.value_dim


RecurrentConfig = StateSpaceConfig | DeltaConfig
"""Layers that remember a state of fixed size instead of every token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterConfig:
    """Softmax over all experts, then the `chosen` likeliest.

    With `normalize` the chosen weights are made to sum to one, which is the softmax over the chosen alone. With
    `groups`, only experts of the `groups_chosen` groups whose best expert is likeliest take part.
    """

    experts: int
    chosen: int
    normalize: bool
    scale: float = 1.0
    bias: bool = False
    groups: int = 1
    groups_chosen: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MlpConfig:
    """The feed-forward block. A dense layer is a mixture of one expert, which needs no `router`.

    `activation`: `silu`, `gelu` (tanh form), or `clamped` (gpt-oss: the gate at most 7, the other factor within ±7 and
    then raised by one, gate · sigmoid(1.702 · gate)). `gated`: two projections in, multiplied; else one. `shared` is
    the intermediate size of an expert that serves every token beside the chosen ones; 0: there is none. Its share is a
    sigmoid of the token with `shared_gate`, else one. An `intermediate` of 0: there is no block at all.
    """

    intermediate: int
    activation: Literal["silu", "gelu", "clamped"] = "silu"
    gated: bool = True
    bias: bool = False
    router: RouterConfig | None = None
    shared: int = 0
    shared_gate: bool = False


NO_MLP = MlpConfig(intermediate=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerConfig:
    """One block: norm, mixer, residual, norm, MLP, residual. The mixer is attention, or recurrent.

    With `parallel` there is one norm, and attention and MLP both read it (Phi-2). What each adds to the residual is
    multiplied by `residual_scale`. With `NO_MLP` the block ends after the mixer (Mamba-2). With `wide_residual` the
    residual is kept in float32 whatever the rest is computed in.
    """

    norm: NormConfig
    mixer: AttentionConfig | RecurrentConfig
    mlp: MlpConfig = NO_MLP
    parallel: bool = False
    residual_scale: float = 1.0
    wide_residual: bool = False

    @property
    def attention(self) -> AttentionConfig:
        """The mixer of a layer that is known to be attention."""
        assert isinstance(self.mixer, AttentionConfig)
        return self.mixer

    @property
    def is_attention(self) -> bool:
        return isinstance(self.mixer, AttentionConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A whole decoder. `context_tokens` is what it was trained for."""

    architecture: str
    hidden: int
    vocabulary: int
    context_tokens: int
    layers: tuple[LayerConfig, ...]
    norm: NormConfig
    tied_embeddings: bool
    head_bias: bool = False
    embedding_scale: float = 1.0
    logit_scale: float = 1.0
    logit_cap: float | None = None
    """Logits x become cap · tanh(x / cap)."""

    @property
    def learned_rope(self) -> RopeConfig | None:
        """The frequencies that a model learned exponents for, the same in all layers that turn; None: none."""
        ropes = (layer.attention.rope for layer in self.layers if layer.is_attention)
        return next((rope for rope in ropes if rope.learned), None)

    @property
    def is_plain(self) -> bool:
        """Is it all llama blocks of one shape, with biases on queries, keys and values or without: what the packed
        serving path computes?"""
        layer = self.layers[0]
        if not layer.is_attention:
            return False
        plain = LayerConfig(
            norm=NormConfig(epsilon=layer.norm.epsilon),
            mixer=AttentionConfig(
                heads=layer.attention.heads,
                kv_heads=layer.attention.kv_heads,
                head_dim=layer.attention.head_dim,
                rope=layer.attention.rope,
                qkv_bias=layer.attention.qkv_bias,
            ),
            mlp=MlpConfig(intermediate=layer.mlp.intermediate),
        )
        uniform = all(other == plain for other in self.layers)
        unscaled = self.embedding_scale == self.logit_scale == 1.0 and self.logit_cap is None
        fixed = self.learned_rope is None
        return uniform and self.norm == plain.norm and not self.head_bias and unscaled and fixed
