"""From a run's checkpoint to an adapter file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.checkpoint.gguf import GgufFile
from model.errors import UsageError
from model.fim import FORMATS
from model.tokenizer import Tokenizer, read_tokenizer
from model.train.adapter import Adapter, AdapterInfo
from model.train.examples import FAMILY


def control_ids(tokenizer: Tokenizer) -> tuple[int, ...]:
    """The spare tokens that the layout uses: their embedding rows are trained."""
    row = FORMATS[FAMILY]
    names = [name for name in (row.file_separator, row.suffix, row.prefix) if name is not None]
    return tuple(tokenizer.special_id(name) for name in names)


def export(checkpoint: Path, *, base: Path, note: str = "", family: str = FAMILY) -> Adapter:
    """What a low-rank run had learned when `checkpoint` (such as its `last.pt`) was written, as an adapter.

    `note`: by default how much it had trained. `family`: the layout that it learned.
    Raises `UsageError` for a run that trained whole weights.
    """
    state: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    rank, scale = state["config"]["rank"], state["config"]["scale"]
    if rank is None:
        raise UsageError("This run trained whole weights, which no adapter holds.", hint="Train with a rank.")
    with GgufFile(base) as file:
        special_ids = control_ids(read_tokenizer(file))
    learned: dict[str, Tensor] = state["trained"]
    updates = {
        name.removeprefix("decoder.").removesuffix(".a"): (tensor, learned[name.removesuffix("a") + "b"])
        for name, tensor in learned.items()
        if name.endswith(".a")
    }
    progress = state["progress"]
    note = note or f"{progress['step']:,} steps, {progress['tokens']:,} tokens"
    digest = hashlib.sha256(base.read_bytes()).hexdigest()
    info = AdapterInfo(
        base_sha256=digest,
        rank=rank,
        scale=scale,
        family=family,
        special_ids=special_ids,
        note=note,
        rounding=state["config"].get("rounding", "none"),
    )
    return Adapter(info, updates, learned["special_rows"])
