"""Grammars of answers that call tools, as they are put together: literal text, control tokens, JSON by schemas.

Lark as llguidance reads it; compiles nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from model.api import Grammar, GrammarKind
from model.grammars import quoted

_WHITESPACE = r"[ \n]?"
_TOKEN = re.compile(r"\{\{(.+?)\}\}")


class ToolLark:
    """A grammar as it is put together: literal text, with control tokens as rules of their own."""

    def __init__(self, control: frozenset[str]) -> None:
        self._known = control
        self._rules: dict[str, str] = {}
        self._control: dict[str, str] = {}

    def rule(self, name: str, body: str) -> None:
        """Add a rule."""
        self._rules[name] = body

    def text(self, template: str) -> str:
        """Literal text with {{tokens}}, as parts of a rule."""
        parts = []
        for place, piece in enumerate(_TOKEN.split(template)):
            if place % 2 and piece in self._known:
                parts.append(self._control.setdefault(piece, f"control_{len(self._control)}"))
            elif piece:
                parts.append(quoted(piece))
        return " ".join(parts)

    def grammar(self, *, marker: str, required: bool, before_text: str = "") -> Grammar:
        """Calls; unless they are `required` also text, and calls behind it where a control token tells them apart."""
        if required:
            start = "calls"
        elif before_text:
            start, self._rules["TEXT"] = f"calls | {self.text(before_text)} TEXT", r"/(?s:.+)/"
        elif marker and any(marker.startswith(token) for token in self._known):
            start, self._rules["TEXT"] = "TEXT calls? | calls", r"/(?s:.+)/"
        else:
            # A first character that begins no call decides: it is text to the end.
            start, self._rules["TEXT"] = "calls | TEXT", r"/[^<{\s](?s:.*)/"
        rules = "\n".join(f"{name}: {body}" for name, body in self._rules.items())
        return Grammar(
            kind=GrammarKind.LARK,
            text=f"start: {start}\n{rules}",
            control=tuple((rule, token) for token, rule in self._control.items()),
            lenient=True,
        )


def json_rule(schema: Any, whole: Mapping[str, Any] | None = None) -> str:
    """JSON of a schema as part of a grammar. `whole`: where the schema's references lead."""
    own = dict(schema) if isinstance(schema, Mapping) else {}
    if whole is not None:
        own |= {key: whole[key] for key in ("$defs", "definitions") if key in whole}
    own["x-guidance"] = {"whitespace_pattern": _WHITESPACE, "lenient": True}
    return f"%json {json.dumps(own, ensure_ascii=False)}"
