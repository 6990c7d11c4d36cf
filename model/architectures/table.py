"""Every architecture that tersely computes, by the name that HF's `config.json` gives it."""

from __future__ import annotations

from collections.abc import Container

from model.architectures.architecture import Architecture
from model.architectures.deepseek_v2 import DEEPSEEK_V2
from model.architectures.gpt_oss import GPT_OSS, GPT_OSS_PLAIN
from model.architectures.granite import GRANITE
from model.architectures.granitemoe import GRANITEMOE
from model.architectures.granitemoehybrid import GRANITEMOEHYBRID
from model.architectures.granitemoeshared import GRANITEMOESHARED
from model.architectures.llama import LLAMA
from model.architectures.mamba2 import MAMBA2
from model.architectures.mellum import MELLUM
from model.architectures.ministral import MINISTRAL, MINISTRAL3
from model.architectures.mistral import MISTRAL
from model.architectures.mistral3 import MISTRAL3
from model.architectures.mistral4 import MISTRAL4
from model.architectures.mistral_large4 import MISTRAL_LARGE4
from model.architectures.mixtral import MIXTRAL
from model.architectures.phi import PHI
from model.architectures.qwen2 import QWEN2
from model.architectures.qwen3 import QWEN3
from model.architectures.qwen3_moe import QWEN3_MOE
from model.architectures.qwen3_next import QWEN3_NEXT
from model.architectures.settings import Settings
from model.architectures.starcoder2 import STARCODER2
from model.errors import CheckpointError

ARCHITECTURES: dict[str, Architecture] = {
    row.name: row
    for row in (
        DEEPSEEK_V2,
        GPT_OSS,
        GRANITE,
        GRANITEMOE,
        GRANITEMOEHYBRID,
        GRANITEMOESHARED,
        LLAMA,
        MAMBA2,
        MELLUM,
        MINISTRAL,
        MINISTRAL3,
        MISTRAL,
        MISTRAL3,
        MISTRAL4,
        MISTRAL_LARGE4,
        MIXTRAL,
        PHI,
        QWEN2,
        QWEN3,
        QWEN3_MOE,
        QWEN3_NEXT,
        STARCODER2,
    )
}


def find_architecture(settings: Settings, stored: Container[str]) -> Architecture:
    """The architecture of a checkpoint with these settings and tensor names. Raises `CheckpointError`."""
    name = settings.text("model_type")
    found = ARCHITECTURES.get(name)
    if found is None:
        raise CheckpointError(
            f"{settings.source} has architecture {name!r}, which is not supported.",
            hint=f"Supported: {', '.join(sorted(ARCHITECTURES))}.",
        )
    if found is GPT_OSS and "model.layers.0.mlp.experts.gate_up_proj" in stored:
        return GPT_OSS_PLAIN
    return found
