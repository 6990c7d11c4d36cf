"""An adapter merged into weights one at a time as they are loaded, so that the whole float32 model is never held."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from model.checkpoint.checkpoint import Checkpoint
from model.checkpoint.upcycled import UpcycledCheckpoint
from model.errors import AdapterError, UsageError
from model.packer import Quantize
from model.train.adapter import Adapter, load_adapter
from model.train.projection import pick_rounding
from model.train.upcycle import MixtureFile, is_mixture, load_mixture


class AdapterMerge:
    """Called with each decoder weight's name and float32 value; returns the value to serve.

    Equal to `model.train.adapter.merge` on the whole decoder, and rounded where the adapter was trained so, unless
    packing does that anyway: `serve_as` says in which format to pack.

    Raises `AdapterError` for another base and for shapes that do not fit; `check_complete` raises it when a part of
    the adapter found no weight.
    """

    def __init__(self, adapter: Adapter, *, base_sha256: str, base: Path) -> None:
        if adapter.info.base_sha256 != base_sha256:
            raise AdapterError(
                f"The adapter was made for another model file than {base.name}.",
                hint="Use the model that it was trained on, or train one for this model.",
            )
        self._adapter = adapter
        self._left = set(adapter.updates)
        self._rounding = pick_rounding(adapter.info.rounding)

    def serve_as(self, asked: Quantize) -> Quantize:
        """The format to pack the merged weights in: where it is left to us, the one they were trained for.

        In that format packing rounds just as training did, so the weights are handed over as they are.
        """
        trained = Quantize(self._adapter.info.rounding)
        if asked is Quantize.AUTO and trained is not Quantize.NONE:
            asked = trained
        if asked is trained:
            self._rounding = None
        return asked

    def __call__(self, name: str, weight: Tensor) -> Tensor:
        projection = name.removesuffix(".weight")
        rows = self._adapter.rows
        if projection in self._adapter.updates:
            self._left.discard(projection)
            delta = self._adapter.delta(projection)
            if delta.shape != weight.shape:
                raise _misfit(projection)
            return weight + delta if self._rounding is None else self._rounding(weight + delta)
        if name == "embedding.weight" and rows is not None:
            ids = torch.tensor(self._adapter.info.special_ids)
            if rows.shape != (len(ids), weight.shape[1]) or int(ids.max()) >= len(weight):
                raise _misfit(projection)
            return weight.index_copy(0, ids, rows.float())
        return weight

    def check_complete(self) -> None:
        """To be called after the last weight."""
        if self._left:
            raise _misfit(min(self._left))


class MixtureMerge(AdapterMerge):
    """An adapter, and the experts that were trained on top of it, which make a dense checkpoint a mixture (`over`).

    They were trained beside weights that were not rounded, so the adapter's rounding does not hold.
    """

    def __init__(self, adapter: Adapter, mixture: MixtureFile, *, base_sha256: str, base: Path) -> None:
        super().__init__(adapter, base_sha256=base_sha256, base=base)
        self._rounding = None
        self._mixture = mixture

    def serve_as(self, asked: Quantize) -> Quantize:
        """What was asked for."""
        return asked

    def over(self, dense: Checkpoint) -> Checkpoint:
        """The mixture that the checkpoint of the base becomes."""
        return UpcycledCheckpoint(dense, self._mixture, transform=self)


def read_adapter(path: Path, *, base: Path) -> tuple[AdapterMerge, str]:
    """An adapter or a mixture, checked to be for this base, and the FIM family it taught.

    A mixture needs the adapter that it was made of: one that ships, or a file beside it. Raises `AdapterError`,
    `UsageError`.
    """
    if base.is_dir():
        raise UsageError("An adapter goes with a GGUF base.", hint="Leave the adapter out for this model.")
    digest = _sha256(base)
    if not is_mixture(path):
        adapter = load_adapter(path)
        return AdapterMerge(adapter, base_sha256=digest, base=base), adapter.info.family
    mixture = load_mixture(path)
    adapter = load_adapter(_adapter_of(mixture, beside=path))
    return MixtureMerge(adapter, mixture, base_sha256=digest, base=base), adapter.info.family


def _adapter_of(mixture: MixtureFile, *, beside: Path) -> Path:
    shipped = sorted((Path(__file__).parent / "adapters").glob("*.safetensors"))
    for path in (*sorted(beside.parent.glob("*.safetensors")), *shipped):
        if _sha256(path) == mixture.adapter_sha256:
            return path
    raise AdapterError(
        f"{beside.name} was made of an adapter that is not here (SHA-256 {mixture.adapter_sha256[:12]}…).",
        hint=f"Put that adapter into {beside.parent}.",
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _misfit(projection: str) -> AdapterError:
    return AdapterError(f"The model has no {projection} of that shape.", hint="Use the adapter's own model.")
