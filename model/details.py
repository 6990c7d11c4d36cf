"""What a model is, read from its files without loading it. Imports torch only when it is asked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from model import fim
from model.errors import CheckpointError, RequestError

if TYPE_CHECKING:
    from model.checkpoint.checkpoint import Checkpoint
    from model.checkpoint.gguf import GgufFile

_CONTROL_KINDS = (3, 4)
"""Of `tokenizer.ggml.token_type`: control, and defined by the user."""


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
    tool_format: str
    """How it writes calls of tools, or why it does not."""
    license: str
    memory_bytes: Mapping[str, int]
    """What the weights take in memory on a CPU, for each number format that they can be served in."""
    problem: str = ""
    """Why it cannot be served, where that shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnGpu:
    """What the weights take on a GPU in one number format. `in_turn`: they do not fit, but do if experts that are not
    in use lie in the machine's memory."""

    size_bytes: int
    fits: bool
    in_turn: bool


def read_gpu(path: Path) -> tuple[int, dict[str, OnGpu]] | None:
    """The first GPU's free memory, and what a model would take of it, by number format; None without a GPU.

    Raises `CheckpointError`.
    """
    import torch

    from model.device import free_bytes, pick_device
    from model.on_device import plan_slots, weigh
    from model.open_model import open_config

    if not torch.cuda.is_available():
        return None
    config, room_bytes = open_config(path), free_bytes(pick_device("auto"))
    host_bytes = free_bytes(torch.device("cpu"))
    rows = {}
    for label, quantize in (("int4", "int4"), ("int8", "int8"), ("fp8", "fp8"), ("bfloat16", "none")):
        needs = weigh(config, quantize, torch.bfloat16)
        slots = plan_slots(config, quantize, torch.bfloat16, room_bytes)
        turns = bool(slots) and needs.expert_bytes <= host_bytes
        rows[label] = OnGpu(size_bytes=needs.whole_bytes, fits=needs.whole_bytes <= room_bytes, in_turn=turns)
    return room_bytes, rows


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
        checkpoint, problem = _opened(file)
        context = checkpoint.config.context_tokens if checkpoint else metadata.get(f"{architecture}.context_length")
        return ModelDetails(
            name=name or str(metadata.get("general.name", path.stem)),
            path=path,
            architecture=architecture,
            parameters=checkpoint.parameters if checkpoint else weights.total(),
            context_tokens=context if isinstance(context, int) else 0,
            size_bytes=file.size_bytes,
            number_formats=tuple(kind for kind, _ in weights.most_common()),
            fim_family=fim.detect(frozenset(map(str, vocabulary)) if isinstance(vocabulary, list) else ()),
            tool_format=_tool_format(path, _control_names(file)),
            license=str(metadata.get("general.license", "not stated")),
            memory_bytes=_memory(checkpoint) if checkpoint else {},
            problem=problem,
        )


def _opened(file: GgufFile) -> tuple[Checkpoint | None, str]:
    """The checkpoint, or what is in the way of serving it."""
    from model.checkpoint.gguf_model import GgufCheckpoint

    try:
        checkpoint = GgufCheckpoint(file)
        checkpoint.check()
    except CheckpointError as error:  # it is described all the same
        return None, str(error)
    return checkpoint, ""


def _control_names(file: GgufFile) -> frozenset[str]:
    """What the file marks as control tokens, or as added by its user."""
    tokens, kinds = (file.metadata.get(f"tokenizer.ggml.{name}") for name in ("tokens", "token_type"))
    if not isinstance(tokens, list) or not isinstance(kinds, list):
        return frozenset()
    return frozenset(str(token) for token, kind in zip(tokens, kinds, strict=False) if kind in _CONTROL_KINDS)


def _memory(checkpoint: Checkpoint) -> dict[str, int]:
    import torch

    from model.packer import Quantize

    rows = {name: (Quantize(name), torch.bfloat16) for name in ("int4", "int8", "fp8")}
    rows |= {"bfloat16": (Quantize.NONE, torch.bfloat16), "float32": (Quantize.NONE, torch.float32)}
    return {name: checkpoint.footprint_bytes(quantize=row[0], dtype=row[1]) for name, row in rows.items()}


def _tool_format(path: Path, control: Collection[str]) -> str:
    """By the chat template and the control tokens; by these alone where the template lies elsewhere."""
    from model.checkpoint.chat import read_chat_template
    from model.tool_formats import detect

    try:
        template = read_chat_template(path, control_tokens=control)
    except RequestError:
        found = detect(control)
        return found.name if found.marker in control else "none: no chat template"
    return detect(control, template.source).name if template.knows_tools else "none: told of tools in words"


def _folder_details(path: Path, name: str | None) -> ModelDetails:
    from model.checkpoint.folder import open_folder
    from model.tokenizer_folder import has_tokenizer, read_folder_tokenizer

    checkpoint = open_folder(path)
    checkpoint.check()
    family = tools = "unknown: no tokenizer"
    if has_tokenizer(path):
        tokenizer = read_folder_tokenizer(path)
        family, tools = fim.detect(tokenizer.vocabulary), _tool_format(path, tokenizer.control_names)
    return ModelDetails(
        name=name or path.name,
        path=path,
        architecture=checkpoint.config.architecture,
        parameters=checkpoint.parameters,
        context_tokens=checkpoint.config.context_tokens,
        size_bytes=sum(file.stat().st_size for file in path.iterdir() if file.is_file()),
        number_formats=checkpoint.number_formats,
        fim_family=family,
        tool_format=tools,
        license=_license(path / "README.md"),
        memory_bytes=_memory(checkpoint),
    )


def _license(card: Path) -> str:
    """What a model card's first lines say."""
    if not card.exists():
        return "not stated"
    found = re.search(r"^license:\s*(\S+)\s*$", card.read_text(encoding="utf-8", errors="replace")[:4000], re.MULTILINE)
    return found[1] if found else "not stated"
