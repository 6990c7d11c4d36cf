"""What the leading process of an engine tells the others, so that they compute along. Plain data: computes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from model.packer import Quantize
from model.paged.sampling import Kind
from model.paged.spans import Remembered
from model.paged.stage import Work
from model.parallel.shard import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Meet the others at `place`, then load a part of a model."""

    path: Path
    part: Part
    device: torch.device
    dtype: torch.dtype
    quantize: Quantize
    adapter: Path | None
    threads: int
    place: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class LayOut:
    """Make room for keys, values and states, as `model.paged.serve.lay_out`."""

    context_tokens: int
    cache_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """`PagedDecoder.ragged`: the tokens, and what `Spans` says of them."""

    tokens: Sequence[int]
    queries: tuple[int, ...]
    lengths: tuple[int, ...]
    pages: tuple[tuple[int, ...], ...]
    states: tuple[Remembered, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """`Stage.run`."""

    works: Sequence[Work]
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """`PagePool.copy`."""

    source: int
    target: int
    tokens: int


@dataclass(frozen=True, slots=True)
class ClearStates:
    """`StatePool.clear`."""

    slot: int


@dataclass(frozen=True, slots=True)
class CopyStates:
    """`StatePool.copy`."""

    source: int
    target: int


@dataclass(frozen=True, slots=True)
class Stop:
    """End."""


Deed = Read | Write | Copy | ClearStates | CopyStates
"""What changes what is remembered, in all processes alike and in the same order."""
Order = Load | LayOut | Deed | Stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A follower's answer to `Load`, and before that, that it is there: nothing, or why it cannot."""

    problem: str = ""
    hint: str = ""
