"""GGUF files, versions 2 and 3, little-endian: metadata and tensors, mapped into memory and read when asked for.

Knows nothing of architectures or tokenizers. Source: ggml's `docs/gguf.md`.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch
from torch import Tensor

from model.checkpoint.dequantize import FORMATS, NumberFormat
from model.checkpoint.gguf_parts import parts_of
from model.errors import CheckpointError, UnknownModelError

Value = bool | int | float | str | list["Value"]

_MAGIC = b"GGUF"
_CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_SCALARS = {number: struct.Struct("<" + code) for number, code in _CODES.items()}
_STRING, _ARRAY = 8, 9
_MAX_DIMENSIONS = 4
_MAX_NESTING = 4


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where a tensor lies. `shape` is in torch's order: the fastest dimension comes last."""

    name: str
    shape: tuple[int, ...]
    format: NumberFormat
    offset_bytes: int
    size_bytes: int


class GgufFile:
    """An open GGUF file; a context manager, and closed when forgotten.

    `metadata` holds all keys. `tensors` holds where each tensor lies; `read` decodes one to float32.
    Where a model comes in several files, `path` is the first, the others lie beside it, and `tensors` are those of all.
    `part`: it is opened as one of these.
    Raises `CheckpointError` for what is damaged, truncated or not supported, `UnknownModelError` for no file.
    """

    def __init__(self, path: Path, *, part: bool = False) -> None:
        self.path = path
        self._others: list[GgufFile] = []
        self._data = _map(path)
        try:
            cursor = _Cursor(self._data, path)
            self.version = cursor.header()
            tensor_count, key_count = cursor.scalar(10), cursor.scalar(10)
            self.metadata: dict[str, Value] = dict(cursor.pair() for _ in range(int(key_count)))
            if len(self.metadata) != key_count:
                raise cursor.damaged("A metadata key occurs twice")
            entries = [cursor.tensor_entry() for _ in range(int(tensor_count))]
            self.tensors = self._place(entries, cursor)
            if not part:
                self._open_others()
        except BaseException:
            self.close()
            raise

    @property
    def size_bytes(self) -> int:
        """Of all its files."""
        return len(self._data) + sum(other.size_bytes for other in self._others)

    def _open_others(self) -> None:
        count, number = self.metadata.get("split.count", 0), self.metadata.get("split.no", 0)
        if count in (0, 1):
            return
        names = parts_of(self.path.name)
        if len(names) != count or number != 0 or self.path.name != names[0]:
            raise CheckpointError(
                f"{self.path.name} says that it is part {number} (from 0) of {count}; its name does not go with that.",
                hint="Give the first part, under the name it was published with: …-00001-of-….gguf.",
            )
        missing = [name for name in names if not self.path.with_name(name).is_file()]
        if missing:
            raise CheckpointError(
                f"{self.path.name} is one of {count} parts, and {', '.join(missing)} is not beside it.",
                hint="Fetch the other parts too, into the same folder.",
            )
        for name in names[1:]:
            self._others.append(other := GgufFile(self.path.with_name(name), part=True))
            if twice := other.tensors.keys() & self.tensors.keys():
                raise CheckpointError(
                    f"Tensor {min(twice)!r} is in {name}, and in a part before it.", hint="Fetch the model again."
                )
            self.tensors |= other.tensors

    def _place(self, entries: list[_Entry], cursor: _Cursor) -> dict[str, TensorInfo]:
        alignment = self.metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise cursor.damaged(f"The alignment is {alignment!r}")
        start = -(-cursor.position // alignment) * alignment
        tensors: dict[str, TensorInfo] = {}
        for entry in entries:
            if entry.name in tensors:
                raise cursor.damaged(f"Tensor {entry.name!r} occurs twice")
            info = _tensor_info(entry, start, self.path)
            if info.offset_bytes + info.size_bytes > len(self._data):
                raise CheckpointError(
                    f"{self.path.name} is truncated: tensor {info.name!r} ends at byte "
                    f"{info.offset_bytes + info.size_bytes}, the file at {len(self._data)}.",
                    hint="Fetch the model again.",
                )
            tensors[info.name] = info
        return tensors

    def read(self, name: str) -> Tensor:
        """The tensor as float32 in memory of its own. Raises `CheckpointError` when there is none of that name."""
        info = self.tensors.get(name)
        if info is None:
            raise CheckpointError(
                f"{self.path.name} has no tensor {name!r}.", hint="The file is incomplete; convert or fetch it again."
            )
        for other in self._others:
            if name in other.tensors:
                return other.read(name)
        raw = np.frombuffer(self._data, dtype=np.uint8, count=info.size_bytes, offset=info.offset_bytes)
        blocks = torch.from_numpy(raw if raw.flags.writeable else raw.copy()).view(-1, info.format.size_bytes)
        return info.format.decoded(blocks).view(info.shape)

    def close(self) -> None:
        """Release the mapping. Tensors that were read stay valid."""
        for other in self._others:
            other.close()
        self._data.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _map(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            try:  # copy-on-write: torch wants writable memory, and the file must stay as it is
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            except OSError:  # more than the memory, of which that would be a part
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UnknownModelError(
            f"There is no file {path}.", hint="Check the path, or pull the model by name."
        ) from error
    except ValueError as error:  # mmap refuses empty files
        raise CheckpointError(f"{path.name} is empty.", hint="Fetch the model again.") from error
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read: {error}.", hint="Check the file's permissions.") from error


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    shape: tuple[int, ...]
    format_number: int
    offset_bytes: int


def _tensor_info(entry: _Entry, start: int, path: Path) -> TensorInfo:
    number_format = FORMATS.get(entry.format_number)
    if number_format is None:
        raise CheckpointError(
            f"Tensor {entry.name!r} of {path.name} has number format {entry.format_number}, which is not supported.",
            hint=f"Use a file in one of {', '.join(known.name for known in FORMATS.values())}.",
        )
    if entry.shape and entry.shape[-1] % number_format.weights:
        raise CheckpointError(
            f"Tensor {entry.name!r} of {path.name} has rows of {entry.shape[-1]} numbers, "
            f"not a multiple of {number_format.name}'s block of {number_format.weights}.",
            hint="The file is damaged; fetch it again.",
        )
    size_bytes = prod(entry.shape) // number_format.weights * number_format.size_bytes
    return TensorInfo(entry.name, entry.shape, number_format, start + entry.offset_bytes, size_bytes)


class _Cursor:
    """Reads the head of the file from front to back."""

    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self._data = data
        self._path = path
        self.position = 0

    def damaged(self, what: str) -> CheckpointError:
        return CheckpointError(f"{what} in {self._path.name}: the file is damaged.", hint="Fetch the model again.")

    def _truncated(self) -> CheckpointError:
        return CheckpointError(
            f"{self._path.name} is truncated: it ends within its header.", hint="Fetch the model again."
        )

    def header(self) -> int:
        if self._data[:4] != _MAGIC:
            raise CheckpointError(
                f"{self._path.name} is not a GGUF file: it begins with {self._data[:4]!r}.",
                hint="Give the path of a .gguf file.",
            )
        self.position = 4
        version = int(self.scalar(4))
        if version not in (2, 3):
            big_endian = version & 0xFFFF == 0
            raise CheckpointError(
                f"{self._path.name} is {'a big-endian GGUF file' if big_endian else f'GGUF version {version}'}, "
                "which is not supported.",
                hint="Convert it to little-endian GGUF version 3.",
            )
        return version

    def scalar(self, kind: int) -> bool | int | float:
        layout = _SCALARS.get(kind)
        if layout is None:
            raise self.damaged(f"Unknown metadata type {kind}")
        try:
            (value,) = layout.unpack_from(self._data, self.position)
        except struct.error as error:
            raise self._truncated() from error
        self.position += layout.size
        assert isinstance(value, bool | int | float)
        return value

    def string(self) -> str:
        return self._strings(1)[0]

    def _strings(self, count: int) -> list[str]:
        """A run of strings. One flat loop, since vocabularies have a hundred thousand of them."""
        data, position, end = self._data, self.position, len(self._data)
        unpack_length = struct.Struct("<Q").unpack_from
        found: list[str] = []
        try:
            for _ in range(count):
                (length,) = unpack_length(data, position)
                start = position + 8
                position = start + length
                if position > end:
                    raise self._truncated()
                found.append(data[start:position].decode("utf-8"))
        except struct.error as error:
            raise self._truncated() from error
        except UnicodeDecodeError as error:
            raise self.damaged("Text that is not UTF-8") from error
        self.position = position
        return found

    def pair(self) -> tuple[str, Value]:
        key = self.string()
        return key, self._value(int(self.scalar(4)), depth=0)

    def _value(self, kind: int, *, depth: int) -> Value:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            return self._array(depth=depth + 1)
        return self.scalar(kind)

    def _array(self, *, depth: int) -> Value:
        if depth > _MAX_NESTING:
            raise self.damaged("Deeply nested arrays")
        kind, count = int(self.scalar(4)), int(self.scalar(10))
        if kind == _STRING:
            return list[Value](self._strings(count))
        if kind == _ARRAY:
            return [self._array(depth=depth) for _ in range(count)]
        if kind not in _SCALARS:
            raise self.damaged(f"Unknown metadata type {kind}")
        size_bytes = _SCALARS[kind].size * count
        if self.position + size_bytes > len(self._data):
            raise self._truncated()
        values = struct.unpack_from(f"<{count}{_CODES[kind]}", self._data, self.position)
        self.position += size_bytes
        return list(values)

    def tensor_entry(self) -> _Entry:
        name = self.string()
        dimensions = int(self.scalar(4))
        if dimensions > _MAX_DIMENSIONS:
            raise self.damaged(f"Tensor {name!r} has {dimensions} dimensions")
        shape = tuple(int(self.scalar(10)) for _ in range(dimensions))
        format_number, offset_bytes = int(self.scalar(4)), int(self.scalar(10))
        return _Entry(name, tuple(reversed(shape)), format_number, offset_bytes)
