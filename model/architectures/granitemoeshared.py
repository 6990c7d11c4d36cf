"""Granite 3 mixtures with an expert that serves every token (IBM's research models of that kind)."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from model.architectures import granitemoe
from model.architectures.architecture import Architecture
from model.architectures.settings import Settings
from model.architectures.sources import Source, Sources, only
from model.config import LayerConfig, ModelConfig


def configure(settings: Settings) -> ModelConfig:
    model = granitemoe.configure(settings)
    shape = model.layers[0]
    shared = replace(shape, mlp=replace(shape.mlp, shared=settings.integer("shared_intermediate_size", 1024)))
    return replace(model, layers=(shared,) * len(model.layers))


def layer(config: LayerConfig) -> Sources:
    return granitemoe.layer(config) | (dense("mlp.shared") if config.mlp.shared else {})


def dense(ours: str) -> Sources:
    """The block that every token passes through, its gates and ups stored together."""
    into = ("shared_mlp.input_linear.weight",)
    return {
        f"{ours}.gate_proj.weight": Source(into, _upper),
        f"{ours}.up_proj.weight": Source(into, _lower),
        f"{ours}.down_proj.weight": Source(("shared_mlp.output_linear.weight",)),
    }


def _upper(tensors: list[Tensor]) -> Tensor:
    """[2 I, D], gates before ups, to the gates."""
    return only(tensors).chunk(2)[0]


def _lower(tensors: list[Tensor]) -> Tensor:
    """[2 I, D], gates before ups, to the ups."""
    return only(tensors).chunk(2)[1]


GRANITEMOESHARED = Architecture(name="granitemoeshared", configure=configure, layer=layer)
