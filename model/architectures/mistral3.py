"""Mistral Small 3.1 and its like, which also see pictures: the part that reads and writes text, which is Mistral's, or
Ministral 3's (Devstral Small 2 is stored so)."""

from __future__ import annotations

from model.architectures import llama, ministral, mistral
from model.architectures.architecture import Architecture
from model.architectures.settings import Settings
from model.architectures.sources import Names
from model.config import ModelConfig

_PREFIX = "language_model."
_SEEING = ("vision_tower.*", "multi_modal_projector.*")


def configure(settings: Settings) -> ModelConfig:
    text = settings.section("text_config")
    if text is None:
        raise settings.wrong("text_config")
    text.require("model_type", "mistral", "ministral3")
    growing = text.text("model_type", "mistral") == "ministral3"
    configure_text = ministral.configure_growing if growing else mistral.configure
    whole = {key: settings.values[key] for key in ("model_type", "tie_word_embeddings") if key in settings.values}
    return configure_text(Settings({**text.values, **whole}, settings.source))


_NAMES = Names()
MISTRAL3 = Architecture(
    name="mistral3",
    configure=configure,
    layer=llama.layer,
    names=Names(
        layer=_PREFIX + _NAMES.layer,
        embedding=_PREFIX + _NAMES.embedding,
        norm=_PREFIX + _NAMES.norm,
        head=_PREFIX + _NAMES.head,
        ignored=(*_NAMES.ignored, *_SEEING),
    ),
)
