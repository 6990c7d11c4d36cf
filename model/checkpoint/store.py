"""The seam between file formats and architectures: named tensors, described before any is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

import torch
from torch import Tensor

from model.architectures.sources import Source, Sources, only
from model.checkpoint.shapes import Shapes
from model.errors import CheckpointError

FLOATS = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor as the file describes it. `dtype` is None for a type that torch does not compute with."""

    shape: tuple[int, ...]
    dtype: torch.dtype | None
    type_name: str


class Store(Protocol):
    """Named tensors in one or several files. `name` says in errors which."""

    @property
    def name(self) -> str: ...

    @property
    def tensors(self) -> Mapping[str, Stored]: ...

    def read(self, name: str) -> Tensor:
        """The tensor as it is stored. Raises `CheckpointError`."""
        ...


def read_weights(
    store: Store, sources: Sources, shapes: Shapes, *, ignored: tuple[str, ...] = ()
) -> Iterator[tuple[str, Tensor]]:
    """Every weight under the decoder's name, one at a time, in the type it is stored in (what is packed, unpacked).

    Missing and unexpected tensors, wrong types and shapes raise `CheckpointError` with their names before the first is
    read; shapes of what is packed, when it is unpacked. Names that match one of the shell patterns in `ignored` are
    passed over.
    """
    check(store, sources, shapes, ignored=ignored)
    for ours, source in sources.items():
        try:
            weight = source.convert([store.read(name) for name in source.names])
        except RuntimeError as error:  # torch's word for numbers that cannot be laid out so
            found = store.tensors[source.names[0]].shape
            raise _wrong_shape(store, source.names[0], found, shapes[ours]) from error
        if tuple(weight.shape) != shapes[ours]:
            raise _wrong_shape(store, source.names[0], tuple(weight.shape), shapes[ours])
        yield ours, weight.contiguous()


def check(store: Store, sources: Sources, shapes: Shapes, *, ignored: tuple[str, ...] = ()) -> None:
    """Does the store hold what the sources name, and nothing else? Raises `CheckpointError`."""
    wanted = {name for source in sources.values() for name in source.names}
    extra = {name for name in store.tensors.keys() - wanted if not any(fnmatchcase(name, skip) for skip in ignored)}
    missing = wanted - store.tensors.keys()
    if missing or extra:
        raise CheckpointError(
            f"{store.name} does not fit its configuration: missing {_some(missing)}, unexpected {_some(extra)}.",
            hint="Fetch the model again; all of its files, and of one version.",
        )
    for ours, source in sources.items():
        for name in source.names:
            stored = store.tensors[name]
            if not source.packed and stored.dtype not in FLOATS:
                raise CheckpointError(
                    f"Tensor {name!r} of {store.name} has numbers of type {stored.type_name}, which is not supported.",
                    hint="Use the checkpoint in bfloat16, float16 or float32, or a GGUF of it.",
                )
        if not source.packed:
            _check_shape(store, source, shapes[ours])


def _check_shape(store: Store, source: Source, expected: tuple[int, ...]) -> None:
    """Will what the stored tensors become have the weight's shape?"""
    stored = [store.tensors[name] for name in source.names]
    if not source.uneven and any(one.shape != stored[0].shape for one in stored):
        raise CheckpointError(
            f"The {len(source.names)} tensors of {store.name} from {source.names[0]!r} on have different shapes.",
            hint="The files are not of one model; fetch it again.",
        )
    try:
        found = _converted_shape(source, stored)
    except (RuntimeError, IndexError) as error:  # torch's words for numbers that cannot be laid out so
        raise _wrong_shape(store, source.names[0], stored[0].shape, expected) from error
    if found != expected:
        raise _wrong_shape(store, source.names[0], found, expected)


def _converted_shape(source: Source, stored: list[Stored]) -> tuple[int, ...]:
    if source.convert is only:
        return stored[0].shape
    if source.convert is torch.stack:  # done without numbers, this makes torch import a second's worth of modules
        return len(stored), *stored[0].shape
    numberless = [torch.empty(one.shape, dtype=one.dtype, device="meta") for one in stored]
    return tuple(source.convert(numberless).shape)


def _wrong_shape(store: Store, name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> CheckpointError:
    return CheckpointError(
        f"Tensor {name!r} of {store.name} has shape {found}, which does not fit a weight of shape {expected}.",
        hint="The configuration and the weights are not of one model; fetch both again.",
    )


def _some(names: set[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "") if listed else "none"
