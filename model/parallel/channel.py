"""Objects between a process and its children, over pipes: each pickled, behind its size. Both ends are ours."""

from __future__ import annotations

import pickle
import struct
from typing import Any, BinaryIO

_SIZE = struct.Struct("<Q")


def send(stream: BinaryIO, value: object) -> None:
    """Raises `OSError` where nobody reads any more."""
    packed = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(_SIZE.pack(len(packed)) + packed)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """The next object. Raises `EOFError` where none comes any more."""
    head = stream.read(_SIZE.size)
    if len(head) < _SIZE.size:
        raise EOFError
    (size,) = _SIZE.unpack(head)
    packed = stream.read(size)
    if len(packed) < size:
        raise EOFError
    return pickle.loads(packed)
