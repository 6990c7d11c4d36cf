"""Two edits make a rule: an ast-grep rule inferred from texts before and after, that reproduces every one of them.

What the edits share stays in the pattern, what differs becomes a metavariable; a part of the result that varies must be
one that the pattern has, too. A rule is offered only where it turns each text before into exactly the text after.
What is not known: rules that need more than one pattern, and conditions on what a metavariable stands for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, Any

from completion.language import detect
from completion.plain_file import read_plain
from completion.refactor.disk import disk_errors, write
from completion.refactor.symbols import Parsed, parse
from completion.refactor.tools.rewrite import LANGUAGE_NAMES, Rule, pattern_for, rewritten
from model.errors import RefusedError

if TYPE_CHECKING:
    from tree_sitter import Node

_MOST_LEVELS = 4
"""How far above the changed text a pattern may begin."""
_FOLDER = ".tersely/rules"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A file before and after somebody's edit."""

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class _Change:
    """One edited place: the nodes around it, from the smallest, before and after."""

    before: tuple[Node, ...]
    after: tuple[Node, ...]


@dataclass(slots=True)
class _Names:
    """Metavariables by what they stand for in each of the edits."""

    by_texts: dict[tuple[str, ...], str] = field(default_factory=dict)

    def of(self, texts: tuple[str, ...], *, several: bool = False) -> str:
        """The metavariable of these texts: the same texts, the same name."""
        if texts not in self.by_texts:
            name = chr(ord("A") + len(self.by_texts)) if len(self.by_texts) < 26 else f"V{len(self.by_texts)}"
            self.by_texts[texts] = ("$$$" if several else "$") + name
        return self.by_texts[texts]


def learn(pairs: Sequence[Pair], *, rule_id: str = "") -> Rule:
    """The rule behind edits of one language; there must be at least two edited places.

    Raises `RefusedError` where the edits have no rule in common that reproduces them exactly.
    """
    languages = {detect(path=pair.path).id for pair in pairs}
    if len(languages) != 1 or not languages <= LANGUAGE_NAMES.keys():
        raise RefusedError("The edits are not all of one known language.", hint="Give edits of one language.")
    language = languages.pop()
    changes = [change for pair in pairs for change in _changes(pair, language)]
    if len(changes) < 2:
        raise RefusedError("There is but one edit.", hint="Make the same kind of edit twice.")
    for level in range(_MOST_LEVELS):
        for candidate in _candidates(changes, level):
            rule = _rule(*candidate, language=LANGUAGE_NAMES[language], rule_id=rule_id)
            if rule is not None and reproduces(rule, pairs):
                return rule
    raise RefusedError("The edits have no simple rule in common.", hint="Make them alike, or write the rule by hand.")


def reproduces(rule: Rule, pairs: Sequence[Pair]) -> bool:
    """Whether the rule makes each text before into the text after, to the letter."""
    try:
        return all(rewritten(pair.before, rule.language, rule.config, rule.fix)[0] == pair.after for pair in pairs)
    except RefusedError:
        return False


def as_yaml(rule: Rule) -> str:
    """The rule as ast-grep and `tersely refactor --rule` read it."""
    import yaml

    data: dict[str, Any] = {"id": rule.id, "language": rule.language, **rule.config, "fix": rule.fix}
    return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))


def rule_path(rule: Rule) -> str:
    """Where a workspace keeps a rule."""
    return f"{_FOLDER}/{rule.id}.yml"


def save(rule: Rule, root: Path) -> Path:
    """Keep a rule in the workspace's `.tersely/rules/`. Raises `RefusedError` where another has its name, or a link
    of the workspace's leads elsewhere.
    """
    file, text = root / rule_path(rule), as_yaml(rule).encode()
    if any(part.is_symlink() for part in (file, file.parent, file.parent.parent)):
        raise RefusedError(f"{rule_path(rule)} leads elsewhere.", hint="Remove the link, then try again.")
    if file.exists() and read_plain(file, most_bytes=len(text)) != text:
        raise RefusedError(f"There is another rule {rule.id}.", hint="Give it another name.")
    with disk_errors("The rule was not kept."):
        file.parent.mkdir(parents=True, exist_ok=True)
        write(file, text)
    return file


def _changes(pair: Pair, language: str) -> Iterator[_Change]:
    """The edited places of a pair: runs of differing tokens, with the nodes around them."""
    before, after = parse(pair.before, language), parse(pair.after, language)
    if before is None or after is None or before.tree.root_node.has_error or after.tree.root_node.has_error:
        raise RefusedError(f"{pair.path} does not parse.", hint="Learn from edits of whole code.")
    left, right = list(_tokens(before)), list(_tokens(after))
    matcher = SequenceMatcher(None, [one.text for one in left], [one.text for one in right], autojunk=False)
    groups: list[list[int]] = []
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            continue
        if groups and _one_statement(left, groups[-1][1], a):
            groups[-1][1], groups[-1][3] = b, d
        else:
            groups.append([a, b, c, d])
    for a, b, c, d in groups:
        ups_before = _around(before, left, a, b)
        ups_after = _around(after, right, c, d)
        yield _Change(ups_before, ups_after)


def _tokens(parsed: Parsed) -> Iterator[Node]:
    from completion.refactor.scopes import leaves

    return (one for one in leaves(parsed.tree.root_node) if one.end_byte > one.start_byte)


def _one_statement(tokens: list[Node], last: int, first: int) -> bool:
    """Whether two runs of changed tokens belong to one edit: no line ends between them."""
    if not 0 < last <= first < len(tokens):
        return False
    return tokens[last - 1].end_point[0] == tokens[first].start_point[0]


def _around(parsed: Parsed, tokens: list[Node], first: int, last: int) -> tuple[Node, ...]:
    """The named nodes that hold a run of tokens, from the smallest up."""
    if not tokens:
        return (parsed.tree.root_node,)
    start = tokens[min(first, len(tokens) - 1)]
    end = tokens[max(first, last - 1)] if last > first else start
    node = parsed.tree.root_node.named_descendant_for_byte_range(start.start_byte, end.end_byte)
    found: list[Node] = []
    while node is not None:
        if not found or (node.start_byte, node.end_byte) != (found[-1].start_byte, found[-1].end_byte):
            found.append(node)
        node = node.parent
    return tuple(found)


def _candidates(changes: list[_Change], level: int) -> Iterator[tuple[str, str]]:
    """Patterns and replacements whose pattern begins `level` nodes above the smallest that each edit has in common."""
    firsts = []
    for change in changes:
        if level >= len(change.before):
            return
        firsts.append(change.before[level])
    if len({one.type for one in firsts}) != 1:
        firsts = [_of_type(change.before, changes[0].before[level].type) for change in changes]
        if any(one is None for one in firsts):
            return
    for after_level in range(_MOST_LEVELS):
        seconds = [change.after[after_level] for change in changes if after_level < len(change.after)]
        if len(seconds) != len(changes):
            return
        names = _Names()
        pattern = _generalised([one for one in firsts if one is not None], names, fixed=None)
        fix = _generalised(seconds, names, fixed=dict(names.by_texts))
        if pattern and fix is not None:
            yield pattern, fix


def _of_type(nodes: tuple[Node, ...], wanted: str) -> Any:
    return next((one for one in nodes if one.type == wanted), None)


def _generalised(nodes: Sequence[Node], names: _Names, *, fixed: dict[tuple[str, ...], str] | None) -> str | None:
    """What the nodes share, with metavariables where they differ.

    With `fixed` (a replacement), only metavariables that the pattern has may be used: None where that does not do.
    """
    texts = tuple(_text(one) for one in nodes)
    if fixed is not None and texts in fixed:
        return fixed[texts]
    if len(set(texts)) == 1:
        return texts[0]
    kinds = {one.type for one in nodes}
    counts = {one.child_count for one in nodes}
    inner = tuple(text[1:-1] for text in texts)
    if len(kinds) == 1 and len(counts) == 1 and nodes[0].child_count and not any("string" in one for one in kinds):
        return _by_children(nodes, names, fixed=fixed)
    if kinds <= {"argument_list", "arguments"} and (fixed is None or inner in fixed):
        return f"({names.of(inner, several=True)})"
    if fixed is not None:
        return None
    return names.of(texts) if all(one.is_named for one in nodes) else None


def _by_children(nodes: Sequence[Node], names: _Names, *, fixed: dict[tuple[str, ...], str] | None) -> str | None:
    """The children one by one, with the blanks between them as the first has them."""
    pieces: list[str] = []
    at = nodes[0].start_byte
    for position in range(nodes[0].child_count):
        row = [one.children[position] for one in nodes]
        made = _generalised(row, names, fixed=fixed)
        if made is None:
            if fixed is None and all(one.is_named for one in nodes):
                return names.of(tuple(_text(one) for one in nodes))
            return None
        blank = row[0].start_byte - at
        pieces.append(_blank(nodes[0], at, blank) + made)
        at = row[0].end_byte
    return "".join(pieces)


def _blank(node: Node, start: int, length: int) -> str:
    first = start - node.start_byte
    return (node.text or b"")[first : first + length].decode("utf-8", "replace")


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")


def _rule(pattern: str, fix: str, *, language: str, rule_id: str) -> Rule | None:
    if re.fullmatch(r"\s*\$*\w*\s*", pattern) or pattern == fix:
        return None  # it would match everything, or any use of a name, or change nothing
    name = rule_id or re.sub(r"[^a-z0-9]+", "-", f"{pattern} to {fix}".lower()).strip("-")[:48].strip("-")
    return Rule(id=name, language=language, fix=fix, config={"rule": {"pattern": pattern_for(language, pattern)}})
