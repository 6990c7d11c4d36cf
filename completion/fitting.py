"""What the lines behind the cursor ask of the line between them and those above, where only one kind of line will do.

Where they stand deeper, it is the head of a block, or a line that leaves a bracket open: anything else leaves a file
that cannot be parsed. The parser tells, by probing; the engine then follows a grammar from the first token on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from completion.language import Language
from completion.missing import missing_names
from completion.situation import Situation
from completion.stopping import Site, indent_of, opens_block
from completion.syntax import Syntax
from model.api import Grammar, GrammarKind

_PLAIN = {"indent": ("x",), "brace": ("x", "x,")}
"""What else a line may be: a statement, or an item between brackets."""
_HEADS: Mapping[str, str] = MappingProxyType(
    {
        "if x:": r"if [^\n#]+",
        "for x in y:": r"for [^\n#]+ in [^\n#]+",
        "while x:": r"while [^\n#]+",
        "with x:": r"with [^\n#]+",
        "elif x:": r"elif [^\n#]+",
        "else:": r"else",
        "try:": r"try",
        "except x:": r"except(?: [^\n#]+)?",
        "finally:": r"finally",
        "def x():": r"def [A-Za-z0-9_]+\([^\n#]*\)(?: -> [^\n#]+)?",
        "async def x():": r"async def [A-Za-z0-9_]+\([^\n#]*\)(?: -> [^\n#]+)?",
        "class x:": r"class [A-Za-z0-9_]+(?:\([^\n#]*\))?",
    }
)
"""Python's heads: an example to probe with, and what such look like before their colon."""
_BINDING_HEADS: Mapping[str, str] = MappingProxyType(
    {
        "for x in y:": r"for NAME(?:, ?[A-Za-z0-9_]+)* in [^\n#]+",
        "with x:": r"with [^\n#]+ as NAME",
        "except x:": r"except [^\n#]+ as NAME",
        "def x():": r"def [A-Za-z0-9_]+\([^\n#()]*NAME[^\n#()]*\)(?: -> [^\n#]+)?",
    }
)
"""Those that bind a name, and where it stands in them."""
_BINDING = r"(?::[^\n=]+|,[^\n=]+)? ?= ?[^\n= ](?s:.*)"
"""What follows a name in an assignment."""
_OPENERS = ("x = {", "x = [", "x(", "x({")
_LEFT_OPEN = r"[^\n#/]*[{(\[,]"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The one kind of line that will do, why, in words, and what every such line begins with."""

    grammar: Grammar
    reason: str
    forced: str = ""


def line_wanted(situation: Situation) -> Wanted | None:
    """What the lines behind the cursor want; None: any line may do."""
    site, language = situation.site, situation.language
    if site.line.strip() or site.rest_of_line.strip() or not _in_column(site, language):
        return None
    if language.blocks not in _PLAIN:
        return None
    syntax = situation.syntax()
    if syntax is None or syntax.kind_at() != "code" or (language.id == "python" and syntax.in_brackets()):
        return None
    missing = missing_names(situation.text, situation.offset) if language.id == "python" else []
    if indent_of(site.next_line) > indent_of(site.line) and (least := min(map(syntax.faults, _PLAIN[language.blocks]))):
        heads = [head for head in _HEADS if language.id == "python" and (head != "try:" or _has_clauses(situation))]
        return _beginning_of_block(syntax, heads, [one.name for one in missing if one.in_block], least)
    if not missing or syntax.faults("pass") > syntax.faults(""):
        return None
    names = [one.name for one in missing]
    reason = f"the code behind the cursor reads {' and '.join(names)}, which nothing binds"
    grammar = _regex(f"(?:{'|'.join(names)}){_BINDING}")
    return Wanted(grammar, reason, forced=names[0] if len(names) == 1 else "")


def _has_clauses(situation: Situation) -> bool:
    """Does an `except` or a `finally` stand behind the block that begins behind the cursor?"""
    here = indent_of(situation.site.line)
    for line in situation.text[situation.offset :].splitlines()[1:]:
        if line.strip() and indent_of(line) <= here:
            return indent_of(line) == here and line.strip().startswith(("except", "finally"))
    return False


def _beginning_of_block(syntax: Syntax, heads: Sequence[str], missing: list[str], least: int) -> Wanted | None:
    heads = _fewest(syntax, heads, less_than=least)
    if _fewest(syntax, _OPENERS, less_than=syntax.faults(heads[0]) if heads else least):
        return Wanted(_regex(_LEFT_OPEN), "the lines behind the cursor need an open bracket")
    if not heads:
        return None
    patterns = [_HEADS[head] for head in heads]
    reason = "the lines behind the cursor need the head of a block"
    if missing and (binding := [_BINDING_HEADS[head] for head in heads if head in _BINDING_HEADS]):
        patterns = [one.replace("NAME", f"(?:{'|'.join(missing)})") for one in binding]
        reason += f", and something that binds {' and '.join(missing)}"
    return Wanted(_regex(f"(?:{'|'.join(patterns)}):"), reason)


def _regex(pattern: str) -> Grammar:
    return Grammar(kind=GrammarKind.REGEX, text=pattern)


def _in_column(site: Site, language: Language) -> bool:
    """Does the cursor stand as far in as a statement here may?"""
    here, above = indent_of(site.line), indent_of(site.opener)
    if opens_block(site.opener, language):
        return here > above
    if here >= above:
        return here == above
    # At the line's very beginning, the indentation is still to be said.
    return bool(site.line) and here in _outer_columns(site)


def _outer_columns(site: Site) -> set[int]:
    """How far in the statements stand that the last line above is part of."""
    columns: set[int] = set()
    least = indent_of(site.opener)
    for line in reversed(site.above):
        least = min(least, indent_of(line))
        columns.add(least)
    return columns


def _fewest(syntax: Syntax, probes: Sequence[str], *, less_than: int) -> list[str]:
    """The probes that leave the fewest faults, if those are fewer."""
    faults = {probe: syntax.faults(probe) for probe in probes}
    least = min(faults.values(), default=less_than)
    return [probe for probe in probes if faults[probe] == least] if least < less_than else []
