"""A radix tree over token ids: which pages hold the keys and values of which beginnings, and which slots the states.
Computes nothing.

A node is a page. Full pages are shared by everyone whose text begins so; a page that is not full is a leaf, and is
copied by who goes on from it (copy-on-write). What nobody uses stays until its page is wanted: then the leaf that was
used longest ago goes first.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from model.paged.pool import PAGE_TOKENS
from model.paged.snapshots import Snapshots
from model.prefix_cache import common_prefix


@dataclass(eq=False, slots=True)
class Node:
    """A page and the tokens that it holds, up to 64. `users` sequences read it; `used` is when last, in steps."""

    key: list[int]
    page: int
    parent: Node | None
    children: dict[int, list[Node]] = field(default_factory=dict)
    """By their first token."""
    users: int = 0
    used: int = 0
    states: dict[int, int] = field(default_factory=dict)
    """Slots of recurrent states, by how many of the page's tokens are before them."""

    @property
    def is_full(self) -> bool:
        return len(self.key) == PAGE_TOKENS

    @property
    def is_idle_leaf(self) -> bool:
        return not self.children and self.users == 0 and self.parent is not None

    def siblings(self, token: int) -> list[Node]:
        """Children that begin with a token."""
        return self.children.get(token, [])


class Match(NamedTuple):
    """The full pages that a text begins with, and the page that goes on the furthest, with for how many tokens."""

    nodes: list[Node]
    tail: Node | None
    tail_tokens: int

    @property
    def tokens(self) -> int:
        return len(self.nodes) * PAGE_TOKENS + self.tail_tokens

    @property
    def slot(self) -> int:
        """Of the states behind what `nearest` found, which must be something."""
        return self.nodes[-1].states[PAGE_TOKENS] if self.tail is None else self.tail.states[self.tail_tokens]


class PrefixTree:
    """`len` is the number of pages held. `snapshots` are told of pages that go, and of those that take their place."""

    def __init__(self, snapshots: Snapshots) -> None:
        self.root = Node([], -1, None)
        self._snapshots = snapshots
        self._clock = count(1)
        self._idle: list[tuple[int, int, Node]] = []
        self._numbers = count()
        self._held = 0

    def __len__(self) -> int:
        return self._held

    def match(self, tokens: list[int]) -> Match:
        """The longest beginning that is known. Hold its nodes before anything else is asked of the tree."""
        node, nodes = self.root, list[Node]()
        for first in range(0, len(tokens), PAGE_TOKENS):
            rest = tokens[first : first + PAGE_TOKENS]
            best, shared = None, 0
            for child in node.siblings(rest[0]):
                alike = common_prefix(child.key, rest)
                if alike > shared:
                    best, shared = child, alike
            if best is None or shared < PAGE_TOKENS:
                return Match(nodes, best, shared)
            nodes.append(best)
            node = best
        return Match(nodes, None, 0)

    def nearest(self, tokens: list[int]) -> Match:
        """As `match`, but the longest beginning behind which there are states."""
        node, nodes, best = self.root, list[Node](), Match([], None, 0)
        for first in range(0, len(tokens), PAGE_TOKENS):
            rest = tokens[first : first + PAGE_TOKENS]
            onward, holder, reached = None, None, 0
            for child in node.siblings(rest[0]):
                alike = common_prefix(child.key, rest)
                onward = child if alike == PAGE_TOKENS else onward
                longest = max((kept for kept in child.states if kept <= alike), default=0)
                if longest > reached:
                    holder, reached = child, longest
            if holder is not None:
                whole = reached == PAGE_TOKENS
                best = Match([*nodes, holder], None, 0) if whole else Match(list(nodes), holder, reached)
            if onward is None:
                break
            nodes.append(onward)
            node = onward
        return best

    def hold(self, nodes: list[Node]) -> None:
        """A sequence reads these pages: they stay."""
        now = next(self._clock)
        for node in nodes:
            node.users += 1
            node.used = now

    def drop(self, nodes: list[Node]) -> None:
        """A sequence reads these pages no longer."""
        now = next(self._clock)
        for node in nodes:
            node.users -= 1
            node.used = now
            self._offer(node)

    def touch(self, node: Node) -> None:
        """Somebody copied from a page."""
        node.used = next(self._clock)
        self._offer(node)

    def add(self, parent: Node, key: list[int], page: int) -> tuple[Node, list[int]]:
        """Keep a page under `parent`; returns the node that holds its tokens, and pages that are not needed any more.

        That may be `page` itself, where the tokens are known already; `parent` must be full, or the root.
        """
        siblings = parent.siblings(key[0])
        for sibling in siblings:
            if sibling.key[: len(key)] == key:
                self.touch(sibling)
                return sibling, [page]
        shorter = [sibling for sibling in siblings if key[: len(sibling.key)] == sibling.key]
        node = Node(key, page, parent, used=next(self._clock))
        for sibling in shorter:
            self._snapshots.move(sibling, node, until=len(sibling.key))
        spare = [self._remove(sibling) for sibling in shorter]
        parent.children.setdefault(key[0], []).append(node)
        self._held += 1
        self._offer(node)
        return node, spare

    def evict(self) -> int | None:
        """The page of the leaf that was used longest ago and that nobody reads; None when all are in use."""
        while self._idle:
            used, _, node = heapq.heappop(self._idle)
            if node.is_idle_leaf and node.used == used:
                return self._remove(node)
        return None

    def nodes(self) -> Iterator[Node]:
        """All pages held, parents first."""
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            if node is not self.root:
                yield node
            waiting += [child for siblings in node.children.values() for child in siblings]

    def _offer(self, node: Node) -> None:
        """A leaf may be evicted as of now. Older offers of it are void, since their time is not its own."""
        if node.is_idle_leaf:
            heapq.heappush(self._idle, (node.used, next(self._numbers), node))
        if len(self._idle) > 4 * self._held + 64:
            self._idle = [offer for offer in self._idle if offer[2].is_idle_leaf and offer[2].used == offer[0]]
            heapq.heapify(self._idle)

    def _remove(self, node: Node) -> int:
        parent = node.parent
        assert parent is not None
        self._snapshots.drop(node)
        siblings = parent.children[node.key[0]]
        siblings.remove(node)
        if not siblings:
            del parent.children[node.key[0]]
        node.parent = None
        self._held -= 1
        self._offer(parent)
        return node.page
