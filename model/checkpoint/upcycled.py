"""A dense checkpoint as the mixture that was trained from it: `tersely train --experts` to the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor

from model.checkpoint.checkpoint import Checkpoint
from model.train.upcycle import MixtureFile, mixed_table, mixed_weights


class UpcycledCheckpoint(Checkpoint):
    """`dense` with `transform` (the adapter that the mixture was made of) applied to each weight, and then experts."""

    def __init__(self, dense: Checkpoint, mixture: MixtureFile, *, transform: Callable[[str, Tensor], Tensor]) -> None:
        super().__init__(dense.path, mixed_table(dense.config, mixture.config), store=dense._store, sources={})
        self._dense = dense
        self._mixture = mixture
        self._transform = transform

    def check(self) -> None:
        """Raises `CheckpointError` for what the dense model lacks."""
        self._dense.check()

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Float32, each as it is read."""
        merged = ((name, self._transform(name, weight.float())) for name, weight in self._dense.weights())
        return mixed_weights(merged, self._mixture)
