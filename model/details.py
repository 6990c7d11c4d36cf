"""What a model is, read from its files without loading it. Imports torch only when it is asked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import MappingProxyType

from model import fim

_PLAIN_BYTES = MappingProxyType({"bfloat16": 2.0, "float32": 4.0})
_PACKED_BYTES = MappingProxyType({"int4": 0.625 + 2, "int8": 1.0 + 2, "bfloat16": 2.0, "float32": 4.0})
"""Memory for a weight. Packed weights are read for single tokens and have a bfloat16 copy beside them for prompts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDetails:
    """What a model is, read from its file or folder."""

    name: str
    path: Path
    architecture: str
    parameters: int
    context_tokens: int
    size_bytes: int
    number_formats: tuple[str, ...]
    """The formats of the weights, the one with most of them first."""
    fim_family: str
    license: str
    packable: bool = True
    """Can it be served from int8 and int4 weights?"""

    @property
    def memory_bytes(self) -> Mapping[str, int]:
        """What the weights take in memory on a CPU, for each number format that they can be served in."""
        each = _PACKED_BYTES if self.packable else _PLAIN_BYTES
        return {name: int(self.parameters * size_bytes) for name, size_bytes in each.items()}


def read_details(path: Path, *, name: str | None = None) -> ModelDetails:
    """Raises `CheckpointError` for what is damaged, and for folders that do not fit their configuration."""
    return _folder_details(path, name) if path.is_dir() else _file_details(path, name)


def _file_details(path: Path, name: str | None) -> ModelDetails:
    from model.checkpoint.gguf import GgufFile  # brings torch, which who only pulls need not load

    with GgufFile(path) as file:
        metadata = file.metadata
        weights: Counter[str] = Counter()
        for tensor in file.tensors.values():
            weights[tensor.format.name] += prod(tensor.shape)
        vocabulary = metadata.get("tokenizer.ggml.tokens")
        architecture = str(metadata.get("general.architecture", "unknown"))
        context = metadata.get(f"{architecture}.context_length", 0)
        return ModelDetails(
            name=name or str(metadata.get("general.name", path.stem)),
            path=path,
            architecture=architecture,
            parameters=weights.total(),
            context_tokens=context if isinstance(context, int) else 0,
            size_bytes=path.stat().st_size,
            number_formats=tuple(kind for kind, _ in weights.most_common()),
            fim_family=fim.detect(frozenset(map(str, vocabulary)) if isinstance(vocabulary, list) else ()),
            license=str(metadata.get("general.license", "not stated")),
            packable=architecture == "llama" and not metadata.get("llama.expert_count"),
        )


def _folder_details(path: Path, name: str | None) -> ModelDetails:
    from model.checkpoint.folder import open_folder
    from model.tokenizer_folder import has_tokenizer, read_folder_tokenizer

    checkpoint = open_folder(path)
    checkpoint.check()
    family = fim.detect(read_folder_tokenizer(path).vocabulary) if has_tokenizer(path) else "unknown: no tokenizer"
    return ModelDetails(
        name=name or path.name,
        path=path,
        architecture=checkpoint.config.architecture,
        parameters=checkpoint.parameters,
        context_tokens=checkpoint.config.context_tokens,
        size_bytes=sum(file.stat().st_size for file in path.iterdir() if file.is_file()),
        number_formats=checkpoint.number_formats,
        fim_family=family,
        license=_license(path / "README.md"),
        packable=checkpoint.config.is_plain,
    )


def _license(card: Path) -> str:
    """What a model card's first lines say."""
    if not card.exists():
        return "not stated"
    found = re.search(r"^license:\s*(\S+)\s*$", card.read_text(encoding="utf-8", errors="replace")[:4000], re.MULTILINE)
    return found[1] if found else "not stated"
