"""What a model is made of, as data: a table of building blocks, one row a layer. Knows no checkpoint format.

An architecture is one short file that fills these in and says which tensor goes where (`model.checkpoint.llama`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class NormConfig:
    """Root-mean-square norm with a learned scale."""

    epsilon: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeConfig:
    """Rotary positions in the half-split layout: dimension i turns with dimension i + `dimensions` / 2.

    Dimension i turns by position · `base` ^ (−2i / `dimensions`), divided by `factors[i]` where there are factors
    (long-context variants). Dimensions of the head beyond `dimensions` do not turn.
    """

    base: float
    dimensions: int
    factors: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionConfig:
    """Causal attention; each key/value head serves `heads` / `kv_heads` query heads."""

    heads: int
    kv_heads: int
    head_dim: int
    rope: RopeConfig
    qkv_bias: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MlpConfig:
    """SwiGLU. A dense layer is a mixture of one expert."""

    intermediate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerConfig:
    """One block: norm, attention, residual, norm, MLP, residual."""

    norm: NormConfig
    attention: AttentionConfig
    mlp: MlpConfig


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
