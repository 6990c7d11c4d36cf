"""Two edits make the third: the rule behind what somebody has just done at two places, each by itself.

The edits are given as whole texts before and after one of them. Learned from is the smallest piece of code around each
that stands by itself and gives a rule. The rule must make each edit where it was made, to the letter: over the text
before it comes to the same as over the text after.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from completion.language import detect
from completion.refactor.learn import Pair, learn
from completion.refactor.symbols import Parsed, parse
from completion.refactor.tools.rewrite import Rule, rewritten
from model.errors import RefusedError

if TYPE_CHECKING:
    from tree_sitter import Node

_MOST_LINES = 12


def rule_behind(edits: Sequence[Pair]) -> Rule:
    """The rule of edits of one language. Raises `RefusedError` where they have none in common."""
    pieces = [dict(reversed(list(_pieces(edit)))) for edit in edits]
    for kind in dict.fromkeys(kind for kind, _ in _pieces(edits[0])):
        if not all(kind in one for one in pieces):
            continue
        try:
            rule = learn([one[kind] for one in pieces])
        except RefusedError:
            continue
        if all(_over(rule, edit.before) == _over(rule, edit.after) for edit in edits):
            return rule
    raise RefusedError("The last two edits have no simple rule in common.", hint="Make them alike.")


def _over(rule: Rule, text: str) -> str:
    """What a rule makes of a text."""
    return rewritten(text, rule.language, rule.config, rule.fix)[0]


def _pieces(edit: Pair) -> Iterator[tuple[str, Pair]]:
    """The pieces of code around an edit, from the smallest, with their kinds: the same place before and after."""
    language = detect(path=edit.path).id
    before, after = parse(edit.before, language), parse(edit.after, language)
    if before is None or after is None:
        return
    first, last_before, last_after = _changed(before.source, after.source)
    afters = {_place(one, after): one for one in reversed(list(_around(after, first, last_after)))}
    for old in _around(before, first, last_before):
        new = afters.get(_place(old, before))
        if new is None:
            continue
        texts = [_by_itself(one, parsed) for one, parsed in ((old, before), (new, after))]
        if any(text.count("\n") > _MOST_LINES for text in texts):
            return
        if all(_stands(text, language) for text in texts):
            yield old.type, Pair(path=edit.path, before=texts[0], after=texts[1])


def _changed(before: bytes, after: bytes) -> tuple[int, int, int]:
    """Where two texts begin to differ, and where in each they end to."""
    shorter = min(len(before), len(after))
    first = next((at for at in range(shorter) if before[at] != after[at]), shorter)
    same = next((at for at in range(shorter - first) if before[-1 - at] != after[-1 - at]), shorter - first)
    return first, len(before) - same, len(after) - same


def _around(parsed: Parsed, first: int, last: int) -> Iterator[Node]:
    """The nodes that hold a span, from the smallest; not the whole text."""
    node = parsed.tree.root_node.named_descendant_for_byte_range(first, last)
    while node is not None and node.parent is not None:
        yield node
        node = node.parent


def _place(node: Node, parsed: Parsed) -> tuple[int, int]:
    """What is before a node, and what is behind it: the same in both texts, for what holds the whole edit."""
    return node.start_byte, len(parsed.source) - node.end_byte


def _by_itself(node: Node, parsed: Parsed) -> str:
    text = parsed.source[node.start_byte : node.end_byte].decode("utf-8", "replace")
    return textwrap.dedent(" " * node.start_point[1] + text) + "\n"


def _stands(text: str, language: str) -> bool:
    parsed = parse(text, language)
    return parsed is not None and bool(text.strip()) and not parsed.tree.root_node.has_error
