"""Memory for keys and values, and index keys, in pages of 64 tokens, for all layers. Knows no tokens and no policy.

Legend: L layers, C places (pages × 64), G key/value heads, E head dimensions, I index dimensions.
"""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from torch import Tensor

from model.errors import ModelTooLargeError
from model.kv_cache import KvShape

PAGE_TOKENS = 64
"""What xformers' paged kernel needs at least."""

SCRATCH_PAGE = 0
"""Padding writes here; it is never given to a sequence."""


class PagePool:
    """`pages` pages, handed out by number. Raises `ModelTooLargeError` where not even one can be had.

    Layer l's keys and values are `keys[l]` and `values[l]`, [C, G, E]; page p holds the places from 64 p on. They are
    finite throughout: what was zero or written once. With `joined` both are one tensor, [C, G, 2 E]: latent attention
    keeps one vector a token, of which keys and values are parts. Layers that choose what is seen have `index_keys` of
    the same places, [C, I].
    """

    def __init__(self, shape: KvShape, *, pages: int, device: torch.device, joined: bool = False) -> None:
        if pages < 2:
            raise ModelTooLargeError(
                "There is no memory left for the keys and values of even one sequence.",
                hint="Use a smaller model, a tighter number format, or free memory on the device.",
            )
        self.shape = shape
        self.pages = pages
        self.device = device
        places = pages * PAGE_TOKENS
        parts, width = (1, 2 * shape.head_dim) if joined else (2, shape.head_dim)
        store = (shape.layers, parts, places, shape.kv_heads, width)
        self._store = zeros(store, dtype=shape.dtype, device=device)
        self.keys: list[Tensor] = [layer[0] for layer in self._store]
        self.values: list[Tensor] = [layer[-1] for layer in self._store]
        self._index = zeros((shape.index_layers, places, shape.index_dim), dtype=shape.dtype, device=device)
        self.index_keys: list[Tensor] = list(self._index)
        self._free = list(range(pages - 1, SCRATCH_PAGE, -1))

    @property
    def free_pages(self) -> int:
        return len(self._free)

    @property
    def page_bytes(self) -> int:
        return PAGE_TOKENS * self.shape.bytes_per_token

    def take(self) -> int:
        """A page that nobody else has. There must be one."""
        return self._free.pop()

    def give(self, page: int) -> None:
        """Take a page back."""
        assert page != SCRATCH_PAGE
        self._free.append(page)

    def copy(self, source: int, target: int, tokens: int) -> None:
        """The first `tokens` tokens of a page into another, for all layers."""
        there, here = target * PAGE_TOKENS, source * PAGE_TOKENS
        self._store[:, :, there : there + tokens] = self._store[:, :, here : here + tokens]
        self._index[:, there : there + tokens] = self._index[:, here : here + tokens]


def pages_for(tokens: int) -> int:
    """Pages that hold so many tokens."""
    return -(-tokens // PAGE_TOKENS)


def pages_within(shape: KvShape, room_bytes: int, *, most_tokens: int) -> int:
    """How many pages fit, but no more than for `most_tokens` tokens; the scratch page counts. Those of recurrent layers
    alone take nothing."""
    most = pages_for(most_tokens) + 1
    return min(room_bytes // (PAGE_TOKENS * shape.bytes_per_token), most) if shape.bytes_per_token else most


def zeros(size: tuple[int, ...], *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """As `torch.zeros`, which on a CPU writes them all: here the system gives memory where it is first written."""
    size_bytes = prod(size) * dtype.itemsize
    if device.type != "cpu" or not size_bytes:
        return torch.zeros(size, dtype=dtype, device=device)
    return torch.from_numpy(np.zeros(size_bytes, dtype=np.uint8)).view(dtype).view(size)
