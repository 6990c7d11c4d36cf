"""Ministral 8B (2410), Mistral's block with windows in some layers; Ministral 3 and Devstral 2 (2512), without windows,
but with positions scaled by YaRN, and queries that grow with them."""

from __future__ import annotations

from dataclasses import replace

from model.architectures import mistral
from model.architectures.architecture import Architecture, windows
from model.architectures.llama import layer
from model.architectures.settings import Settings
from model.config import ModelConfig, QueryGrowth


def configure(settings: Settings) -> ModelConfig:
    """Where the file does not say which layers slide, all do."""
    model = mistral.configure(settings)
    if settings.texts("layer_types") is None:
        return model
    full = replace(model.layers[0].attention, window=None)
    layers = tuple(replace(model.layers[0], mixer=one) for one in windows(settings, full))
    return replace(model, layers=layers)


def configure_growing(settings: Settings) -> ModelConfig:
    """Without the key there is no window here."""
    model = mistral.configure(Settings({"sliding_window": None, **settings.values}, settings.source))
    growth = query_growth(settings)
    grown = tuple(replace(one, mixer=replace(one.attention, growth=growth)) for one in model.layers)
    return replace(model, layers=grown)


def query_growth(settings: Settings) -> QueryGrowth | None:
    """By Llama 4's rule, which stands among the rotary parameters."""
    scaling = settings.section("rope_parameters") or settings.section("rope_scaling")
    if scaling is None or scaling.values.get("llama_4_scaling_beta") is None:
        return None
    step = scaling.integer("original_max_position_embeddings")
    if step == 0:
        raise scaling.wrong("original_max_position_embeddings")
    return QueryGrowth(slope=scaling.number("llama_4_scaling_beta"), step_tokens=step)


MINISTRAL = Architecture(name="ministral", configure=configure, layer=layer)
MINISTRAL3 = Architecture(name="ministral3", configure=configure_growing, layer=layer)
