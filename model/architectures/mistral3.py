"""Mistral Small 3.1 and its like, which also see pictures: the part that reads and writes text, which is Mistral's,
Ministral 3's (Devstral Small 2 is stored so) or Mistral Small 4's."""

from __future__ import annotations

from model.architectures import llama, ministral, mistral, mistral4
from model.architectures.architecture import Architecture
from model.architectures.settings import Settings
from model.architectures.sources import Names, Sources
from model.config import LayerConfig, ModelConfig

_PREFIX = "language_model."
_SEEING = ("vision_tower.*", "multi_modal_projector.*")
_TEXTS = {
    "mistral": mistral.configure,
    "ministral3": ministral.configure_growing,
    "mistral4": mistral4.configure,
}


def configure(settings: Settings) -> ModelConfig:
    kind, text = text_part(settings, *_TEXTS)
    return _TEXTS[kind](text)


def text_part(settings: Settings, *kinds: str) -> tuple[str, Settings]:
    """Which of these kinds the text is of, the first where that is not said; its settings, under the whole's name."""
    text = settings.section("text_config")
    if text is None:
        raise settings.wrong("text_config")
    text.require("model_type", *kinds)
    whole = {key: settings.values[key] for key in ("model_type", "tie_word_embeddings") if key in settings.values}
    return text.text("model_type", kinds[0]), Settings({**text.values, **whole}, settings.source)


def layer(config: LayerConfig) -> Sources:
    return llama.layer(config) if config.attention.latent is None else mistral4.layer(config)


_NAMES = Names()
MISTRAL3 = Architecture(
    name="mistral3",
    configure=configure,
    layer=layer,
    names=Names(
        layer=_PREFIX + _NAMES.layer,
        embedding=_PREFIX + _NAMES.embedding,
        norm=_PREFIX + _NAMES.norm,
        head=_PREFIX + _NAMES.head,
        ignored=(*_NAMES.ignored, *_SEEING),
    ),
)
