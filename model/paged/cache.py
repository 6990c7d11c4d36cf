"""Which pages serve which sequence: beginnings are shared, tails are copied, and nothing computed is thrown away soon.

The paged counterpart of `model.kv_cache` and `model.prefix_cache`.
"""

from __future__ import annotations

from model.paged.pool import PAGE_TOKENS, PagePool, pages_for
from model.paged.tree import Node, PrefixTree


class PagedCache:
    """One sequence's part of the pool. `tokens` are those whose keys and values are held, in order; `pages` hold them,
    and room for more; the first `len(shared)` pages are the tree's, and are never written."""

    def __init__(self, shared: list[Node]) -> None:
        self.shared = shared
        self.tokens: list[int] = [token for node in shared for token in node.key]
        self.pages = [node.page for node in shared]

    @property
    def capacity_tokens(self) -> int:
        return len(self.pages) * PAGE_TOKENS

    def truncate(self, tokens: int) -> None:
        """Forget all but the first `tokens`; not fewer than are shared."""
        assert tokens >= len(self.shared) * PAGE_TOKENS
        del self.tokens[tokens:]


class PagedCaches:
    """Caches for sequences, out of one pool. Keeps what ended or cancelled sequences computed, for those alike."""

    def __init__(self, pool: PagePool) -> None:
        self.pool = pool
        self._tree = PrefixTree()

    @property
    def kept_pages(self) -> int:
        """Pages in the tree, whether somebody reads them or not."""
        return len(self._tree)

    def acquire(self, prompt: list[int]) -> PagedCache:
        """A cache with the longest known beginning of the prompt, for one sequence.

        At least the prompt's last token is left to compute, since its logits are needed.
        """
        match = self._tree.match(prompt[:-1])
        self._tree.hold(match.nodes)
        cache = PagedCache(match.nodes)
        if match.tail is not None:
            # Held while a page is sought, so that the search does not evict what is to be copied.
            self._tree.hold([match.tail])
            page = self._take()
            self._tree.drop([match.tail])
            if page is not None:
                self.pool.copy(match.tail.page, page, match.tail_tokens)
                cache.pages.append(page)
                cache.tokens += match.tail.key[: match.tail_tokens]
        return cache

    def reserve(self, cache: PagedCache, tokens: int) -> bool:
        """Make room for so many tokens in all; false, and nothing is changed, where too many pages are in use."""
        taken: list[int] = []
        for _ in range(pages_for(tokens) - len(cache.pages)):
            page = self._take()
            if page is None:
                for back in taken:
                    self.pool.give(back)
                return False
            taken.append(page)
        cache.pages += taken
        return True

    def publish(self, cache: PagedCache) -> None:
        """Let others share the full pages that a running sequence has computed."""
        while (len(cache.shared) + 1) * PAGE_TOKENS <= len(cache.tokens):
            index = len(cache.shared)
            parent = cache.shared[-1] if cache.shared else self._tree.root
            key = cache.tokens[index * PAGE_TOKENS : (index + 1) * PAGE_TOKENS]
            node, spare = self._tree.add(parent, key, cache.pages[index])
            self._tree.hold([node])
            cache.shared.append(node)
            cache.pages[index] = node.page
            self._give(spare)

    def release(self, cache: PagedCache) -> None:
        """Give a cache back with all it holds, whether its sequence ended, was cancelled, or must wait."""
        self.publish(cache)
        rest = cache.pages[len(cache.shared) :]
        tail = cache.tokens[len(cache.shared) * PAGE_TOKENS :]
        if tail:
            parent = cache.shared[-1] if cache.shared else self._tree.root
            _, spare = self._tree.add(parent, tail, rest.pop(0))
            self._give(spare)
        self._give(rest)
        self._tree.drop(cache.shared)
        cache.shared, cache.pages, cache.tokens = [], [], []

    def _take(self) -> int | None:
        if not self.pool.free_pages:
            return self._tree.evict()
        return self.pool.take()

    def _give(self, pages: list[int]) -> None:
        for page in pages:
            self.pool.give(page)
