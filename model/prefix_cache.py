"""Which key-value cache serves which prompt: the longest common prefix is reused, across requests. No arithmetic.

Several caches ("slots") are kept. A request takes over the slot it shares most with when little would be lost, and
else copies the shared part, so that two documents that alternate do not destroy each other's cache.
"""

from __future__ import annotations

from collections import OrderedDict

from model.kv_cache import KvCache, KvShape

_CHEAP_TOKENS = 128
"""Losing so many is no worse than the copy that would save them: about one prefill chunk."""


_ANSWER_TOKENS = 64
"""Room for a prompt is made once, with so much beside it as most answers need."""


class PrefixCache:
    """Slots in the order of their last use, within `budget_bytes` beside those in use, and at most `slots`.

    Not for recurrent layers, whose states cannot be cut to a prefix: `model.paged` keeps some to start from.
    """

    def __init__(self, shape: KvShape, *, budget_bytes: int, slots: int) -> None:
        assert not shape.states
        self._shape = shape
        self._budget_bytes = budget_bytes
        self._slots = slots
        self._idle: OrderedDict[int, KvCache] = OrderedDict()
        self._busy: dict[int, KvCache] = {}

    def acquire(self, prompt: list[int]) -> KvCache:
        """A cache that holds the longest known prefix of the prompt and nothing else; for this request alone.

        At least the prompt's last token is left to compute, since its logits are needed.
        """
        best, shared = self._longest(prompt)
        if best is None or shared == 0:
            cache = KvCache(self._shape)
        elif id(best) in self._idle and len(best.tokens) - shared <= max(shared, _CHEAP_TOKENS):
            cache = self._idle.pop(id(best))
            cache.truncate(shared)
        else:
            cache = KvCache(self._shape)
            cache.copy_prefix(best, shared)
        cache.reserve(len(prompt) + _ANSWER_TOKENS)
        self._busy[id(cache)] = cache
        self._evict()
        return cache

    def release(self, cache: KvCache) -> None:
        """Give a cache back with all it holds, whether its request ended or was cancelled."""
        del self._busy[id(cache)]
        if cache.tokens:
            self._idle[id(cache)] = cache
        self._evict()

    @property
    def size_bytes(self) -> int:
        """Memory of all slots."""
        return sum(cache.size_bytes for cache in (*self._idle.values(), *self._busy.values()))

    def _longest(self, prompt: list[int]) -> tuple[KvCache | None, int]:
        best: KvCache | None = None
        longest = 0
        for cache in (*self._idle.values(), *self._busy.values()):
            shared = min(common_prefix(cache.tokens, prompt), len(prompt) - 1)
            if shared > longest:
                best, longest = cache, shared
        return best, longest

    def _evict(self) -> None:
        while self._idle and (self.size_bytes > self._budget_bytes or len(self._idle) + len(self._busy) > self._slots):
            self._idle.popitem(last=False)


def common_prefix(first: list[int], second: list[int]) -> int:
    """How many tokens two lists begin with in common. Bisects, since comparing whole slices is fast."""
    low, high = 0, min(len(first), len(second))
    if first[:high] == second[:high]:
        return high
    while low + 1 < high:
        middle = (low + high) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle
    return low
