"""Which pages serve which sequence: beginnings are shared, tails are copied, and nothing computed is thrown away soon.
Where layers are recurrent, which slots: each sequence has one, and starts from a copy of the nearest states that are
kept.

The paged counterpart of `model.kv_cache` and `model.prefix_cache`.
"""

from __future__ import annotations

from model.paged.pool import PAGE_TOKENS, PagePool, pages_for
from model.paged.snapshots import Snapshots
from model.paged.states import SCRATCH_SLOT, StatePool
from model.paged.tree import Match, Node, PrefixTree


class PagedCache:
    """One sequence's part of the pool. `tokens` are those whose keys and values are held, in order; `pages` hold them,
    and room for more; the first `len(shared)` pages are the tree's, and are never written. `slot` holds the states
    behind the last token, where layers are recurrent."""

    def __init__(self, shared: list[Node]) -> None:
        self.shared = shared
        self.tokens: list[int] = [token for node in shared for token in node.key]
        self.pages = [node.page for node in shared]
        self.slot = SCRATCH_SLOT
        self.states: dict[int, int] = {}
        """Slots of states to come back to in pages that are not shared yet, by the number of tokens before them."""
        self.coming: dict[int, int] = {}
        """Those that the step under way writes."""
        self.settled = True
        """Are the states in `slot` those behind `tokens`? Not while a step changes them, nor after one that failed."""

    @property
    def capacity_tokens(self) -> int:
        return len(self.pages) * PAGE_TOKENS

    def truncate(self, tokens: int) -> None:
        """Forget all but the first `tokens`; not fewer than are shared, and none where there are states."""
        assert self.slot == SCRATCH_SLOT
        assert tokens >= len(self.shared) * PAGE_TOKENS
        del self.tokens[tokens:]


class PagedCaches:
    """Caches for sequences, out of a pool of pages and one of slots. Keeps what ended or cancelled sequences computed,
    for those alike."""

    def __init__(self, pool: PagePool, states: StatePool) -> None:
        self.pool = pool
        self.states = states
        self._snapshots = Snapshots(states)
        self._tree = PrefixTree(self._snapshots)

    @property
    def kept_pages(self) -> int:
        """Pages in the tree, whether somebody reads them or not."""
        return len(self._tree)

    @property
    def kept_states(self) -> int:
        """Lengths, of all sequences, at which recurrent states can be come back to."""
        return len(self._snapshots)

    @property
    def is_recurrent(self) -> bool:
        return self.states.layers > 0

    @property
    def admits(self) -> bool:
        """May another sequence begin? Not while those that run have all slots."""
        return not self.is_recurrent or self._snapshots.has_slot

    def acquire(self, prompt: list[int]) -> PagedCache:
        """A cache with the longest known beginning of the prompt that can be gone on from, for one sequence that is
        admitted.

        At least the prompt's last token is left to compute, since its logits are needed.
        """
        if not self.is_recurrent:
            return self._start(self._tree.match(prompt[:-1]))
        match = self._tree.nearest(prompt[:-1])
        cache = self._start(match)
        if len(cache.tokens) < match.tokens:  # no page for the tail, which the states are behind
            self.release(cache)
            match = Match([], None, 0)
            cache = self._start(match)
        if not match.tokens:
            cache.slot = self._snapshots.take()
            self.states.clear(cache.slot)
            return cache
        source = match.slot
        self._snapshots.touch(source)
        cache.slot = self._snapshots.take()
        if cache.slot != source:  # it is the same where no other was left
            self.states.copy(source, cache.slot)
        return cache

    def _start(self, match: Match) -> PagedCache:
        """A cache of what was found: whole pages shared, what is left copied, if there is a page for it."""
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

    def begin(self, cache: PagedCache, lengths: list[int]) -> None:
        """A step is about to change the states, and to keep them at these lengths too, as far as there are slots."""
        if not self.is_recurrent:
            return
        cache.settled = False
        for length in lengths:
            if self._snapshots.has_slot:
                cache.coming[length] = self._snapshots.take()

    def settle(self, cache: PagedCache) -> None:
        """The step has computed what `tokens` says now."""
        cache.settled = True
        for length, slot in cache.coming.items():
            self._snapshots.put(cache, length, slot)
        cache.coming.clear()

    def publish(self, cache: PagedCache) -> None:
        """Let others share the full pages that a running sequence has computed."""
        while (len(cache.shared) + 1) * PAGE_TOKENS <= len(cache.tokens):
            index = len(cache.shared)
            parent = cache.shared[-1] if cache.shared else self._tree.root
            key = cache.tokens[index * PAGE_TOKENS : (index + 1) * PAGE_TOKENS]
            node, spare = self._tree.add(parent, key, cache.pages[index])
            self._tree.hold([node])
            self._snapshots.move(cache, node, past=index * PAGE_TOKENS, until=(index + 1) * PAGE_TOKENS)
            cache.shared.append(node)
            cache.pages[index] = node.page
            self._give(spare)

    def release(self, cache: PagedCache) -> None:
        """Give a cache back with all it holds, whether its sequence ended, was cancelled, or must wait."""
        self.publish(cache)
        rest = cache.pages[len(cache.shared) :]
        whole = len(cache.shared) * PAGE_TOKENS
        tail = cache.tokens[whole:]
        last = cache.shared[-1] if cache.shared else self._tree.root
        if tail:
            last, spare = self._tree.add(last, tail, rest.pop(0))
            self._snapshots.move(cache, last, past=whole, until=len(cache.tokens))
            self._give(spare)
        self._give(rest)
        self._give_slots(cache, last, len(tail) or PAGE_TOKENS)
        self._tree.drop(cache.shared)
        cache.shared, cache.pages, cache.tokens = [], [], []

    def _give_slots(self, cache: PagedCache, last: Node, behind: int) -> None:
        """Keep the states in which a sequence ends, behind so many tokens of its last page, if they are whole."""
        for slot in cache.coming.values():
            self.states.give(slot)
        cache.coming.clear()
        if cache.slot == SCRATCH_SLOT:
            return
        if cache.settled and cache.tokens:
            self._snapshots.put(last, behind, cache.slot)
        else:
            self.states.give(cache.slot)
        cache.slot = SCRATCH_SLOT

    def _take(self) -> int | None:
        if not self.pool.free_pages:
            return self._tree.evict()
        return self.pool.take()

    def _give(self, pages: list[int]) -> None:
        for page in pages:
            self.pool.give(page)
