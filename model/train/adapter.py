"""The adapter file: what training learned, as safetensors, and how it is merged into a decoder.

Two kinds of tensors per projection `layers.N.….weight`: low-rank factors `….a` [r, I] and `….b` [O, r]; and embedding
rows of control tokens, `embedding.rows` [n, D], whose ids are in the metadata. It knows no training.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.decoder import Decoder
from model.errors import AdapterError

FORMAT = "tersely-adapter-1"
_ROWS = "embedding.rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterInfo:
    """What an adapter is made for. `scale` multiplies B A; `base_sha256` is that of the base's file.

    `rounding` names the number format that it was trained to be served in, "none" where it was trained unrounded.
    """

    base_sha256: str
    rank: int
    scale: float
    family: str
    special_ids: tuple[int, ...] = ()
    note: str = ""
    rounding: str = "none"


@dataclass(frozen=True, slots=True)
class Adapter:
    """Low-rank updates by projection name (`layers.0.mlp.up_proj`), as (a [r, I], b [O, r]), and embedding rows."""

    info: AdapterInfo
    updates: dict[str, tuple[Tensor, Tensor]]
    rows: Tensor | None = None

    def save(self, path: Path) -> None:
        """Write the file in bfloat16."""
        tensors: dict[str, Tensor] = {}
        for name, (a, b) in self.updates.items():
            tensors |= {f"{name}.a": a, f"{name}.b": b}
        if self.rows is not None:
            tensors[_ROWS] = self.rows
        packed = {name: tensor.detach().to("cpu", torch.bfloat16).contiguous() for name, tensor in tensors.items()}
        partial = path.with_suffix(".partial")
        save_file(packed, partial, metadata={"format": FORMAT, "info": json.dumps(asdict(self.info))})
        partial.replace(path)

    def delta(self, name: str) -> Tensor:
        """What is added to the weight of projection `name`: scale · B A, float32 [O, I]."""
        a, b = self.updates[name]
        return self.info.scale * (b.float() @ a.float())


def load_adapter(path: Path) -> Adapter:
    """Read what `save` wrote. Raises `AdapterError` for a file that is missing, damaged or of another kind."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"{path} is not a readable adapter: {error}", hint="Train it again, or fetch it.") from error
    if metadata.get("format") != FORMAT:
        raise AdapterError(f"{path} is not an adapter of tersely.", hint="Give a file that `tersely train` wrote.")
    values = json.loads(metadata["info"])
    info = AdapterInfo(**{**values, "special_ids": tuple(values["special_ids"])})
    rows = tensors.pop(_ROWS, None)
    names = sorted({name.rsplit(".", 1)[0] for name in tensors})
    return Adapter(info, {name: (tensors[f"{name}.a"], tensors[f"{name}.b"]) for name in names}, rows)


@torch.no_grad()
def merge(decoder: Decoder, adapter: Adapter, *, base_sha256: str) -> None:
    """Add the adapter to the decoder's weights, in place.

    Raises `AdapterError` when the adapter was made for another base, or its shapes do not fit.
    """
    if adapter.info.base_sha256 != base_sha256:
        raise AdapterError(
            f"The adapter was made for the model file {adapter.info.base_sha256[:12]}…, not {base_sha256[:12]}….",
            hint="Use the model that it was trained on, or train one for this model.",
        )
    weights = dict(decoder.named_parameters())
    for name in adapter.updates:
        weight, delta = weights.get(f"{name}.weight"), adapter.delta(name)
        if weight is None or weight.shape != delta.shape:
            raise AdapterError(
                f"The model has no projection {name} of that shape.", hint="Use the adapter's own model."
            )
        weight.add_(delta.to(weight.device, weight.dtype))
    if adapter.rows is not None:
        rows = adapter.rows.to(decoder.embedding.weight.device, decoder.embedding.weight.dtype)
        decoder.embedding.weight[list(adapter.info.special_ids)] = rows
