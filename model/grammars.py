"""Makes `Grammar`s: from a JSON schema, for any JSON object, from a list of texts. Plain data; compiles nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from model.api import Grammar, GrammarKind


def of_schema(schema: Mapping[str, Any] | bool, *, lenient: bool = False) -> Grammar:
    """JSON that a schema (2020-12) describes. `lenient`: keywords that cannot be enforced are ignored."""
    text = json.dumps(schema if isinstance(schema, bool) else dict(schema), ensure_ascii=False)
    return Grammar(kind=GrammarKind.JSON_SCHEMA, text=text, lenient=lenient)


def of_object() -> Grammar:
    """Any JSON object."""
    return of_schema({"type": "object"})


def of_choice(texts: Sequence[str]) -> Grammar:
    """One of these texts."""
    return Grammar(kind=GrammarKind.LARK, text=f"start: {' | '.join(map(quoted, texts))}")


def quoted(text: str) -> str:
    """A text as a string of Lark."""
    return json.dumps(text, ensure_ascii=False)
