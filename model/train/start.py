"""Where a run starts: with the base alone, if it can be trained, or with an adapter of that base, which it trains on.

The trained factors begin as the adapter's, so that the result is again one adapter for the same base.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from model.checkpoint.gguf import GgufFile
from model.errors import AdapterError, UsageError
from model.fim import FORMATS
from model.open_model import is_packable
from model.registry import MODELS
from model.tokenizer import read_tokenizer
from model.train.adapter import Adapter, load_adapter
from model.train.examples import FAMILY
from model.train.packed import PackedDecoder
from model.train.projection import LowRankProjection

USUAL_RANK = 32
_RECORD = "start.json"


def require_trainable(base: Path) -> None:
    """Raises `UsageError` for a model that training does not know, `CheckpointError` for a damaged file."""
    if not base.is_file():
        raise UsageError(f"{base.name} is a folder, which is not trained yet.", hint="Give the model as a GGUF file.")
    with GgufFile(base) as file:
        if not is_packable(file):
            raise UsageError(
                f"{base.name} is not a dense model of the llama family, which alone are trained yet.",
                hint="Train such a one, or the embedded model.",
            )
        missing = set(FORMATS[FAMILY].control_tokens) - read_tokenizer(file).vocabulary.keys()
    if missing:
        raise UsageError(
            f"{base.name} has no tokens {', '.join(sorted(missing))}, which the prompt layout is made of.",
            hint="Train a model with SmolLM2's vocabulary.",
        )


def shipped_adapter(model: str) -> Path | None:
    """The adapter that a named model brings, where it is there."""
    named = MODELS.get(model)
    path = named.adapter_path if named is not None else None
    return path if path is not None and path.is_file() else None


def usual_rank(folder: Path, start: Path | None) -> int:
    """The rank to train when none was asked for: that of the run in `folder`, of the adapter it starts from, or 32."""
    config = folder / "config.json"
    if (folder / "last.pt").exists() and config.exists():
        return json.loads(config.read_text(encoding="utf-8"))["rank"] or USUAL_RANK
    return load_adapter(start).info.rank if start is not None else USUAL_RANK


def usual_rounding(folder: Path, start: Path | None) -> str:
    """The rounding to train with when none was asked for: as `usual_rank`, or "none"."""
    config = folder / "config.json"
    if (folder / "last.pt").exists() and config.exists():
        return str(json.loads(config.read_text(encoding="utf-8")).get("rounding", "none"))
    return load_adapter(start).info.rounding if start is not None else "none"


def record(folder: Path, start: Path | None) -> None:
    """Note what a run in `folder` starts from. A run that is there goes on from its checkpoint, whatever it started
    from; raises `UsageError` when it is asked to start from something else."""
    digest = None if start is None else hashlib.sha256(start.read_bytes()).hexdigest()
    note = folder / _RECORD
    if not (folder / "last.pt").exists():
        folder.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps({"adapter": start and start.name, "sha256": digest}), encoding="utf-8")
    elif digest is not None and (not note.exists() or json.loads(note.read_text(encoding="utf-8"))["sha256"] != digest):
        raise UsageError(
            f"The run in {folder} did not start from {start}.",
            hint="Leave --from out to go on with the run, or choose another folder.",
        )


@torch.no_grad()
def start_from(model: PackedDecoder, adapter: Adapter, *, base_sha256: str, family: str = FAMILY) -> None:
    """Let a fresh model begin as `adapter` left it. A higher rank than the adapter's is filled up with fresh factors,
    which change nothing yet. `family`: the layout that the run teaches.

    Raises `AdapterError` for an adapter of another base or layout, `UsageError` for a lower rank than the adapter's.
    """
    if adapter.info.base_sha256 != base_sha256:
        raise AdapterError(
            f"The adapter to start from was made for the model file {adapter.info.base_sha256[:12]}….",
            hint="Start from one that was trained on this model, or give --from none.",
        )
    if (adapter.info.family, adapter.info.special_ids) != (family, model.special_ids) or adapter.rows is None:
        raise AdapterError(
            f"The adapter to start from has another prompt layout, {adapter.info.family!r}.", hint="Give --from none."
        )
    projections = {
        name: module for name, module in model.decoder.named_modules() if isinstance(module, LowRankProjection)
    }
    if not projections:
        raise UsageError("Whole weights cannot start from an adapter.", hint="Train with a rank, or give --from none.")
    for name, (a, b) in adapter.updates.items():
        module, rank = projections.get(name), len(a)
        if module is None or (a.shape[1], b.shape[0]) != (module.a.shape[1], module.b.shape[0]):
            raise AdapterError(f"The model has no projection {name} of that shape.", hint="Give --from none.")
        if rank > len(module.a):
            raise UsageError(
                f"The adapter to start from has rank {rank}, more than {len(module.a)}.",
                hint=f"Give --rank {rank} or more, or --from none.",
            )
        module.a[:rank] = a.to(module.a)
        module.b[:, :rank] = b.to(module.b) * (adapter.info.scale / module.scale)
    model.special_rows.copy_(adapter.rows)
    model.refresh()
