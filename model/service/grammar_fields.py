"""What a request says its answer must be: `response_format`, vLLM's `structured_outputs` and `guided_*`, our `grammar`.

Sources: OpenAI's API reference, "Structured outputs"; vLLM's documentation, "Structured outputs".
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from model import grammars
from model.api import Grammar, GrammarKind
from model.service.fields import Fields

_FORMATS = "text, json_object or json_schema"


def read_grammar(fields: Fields) -> Grammar | None:
    """The one grammar that is asked for, or None; complains of several, and of what is wrong with it."""
    asked: dict[str, Grammar] = {}
    for name, read in _FIELDS.items():
        found: Grammar | None = fields.parsed(name, read, default=None)
        if found is not None:
            asked[name] = found
    if len(asked) > 1:
        fields.complain(list(asked)[1], f"and `{next(iter(asked))}` exclude each other")
    return next(iter(asked.values()), None)


def _response_format(value: object) -> Grammar | None:
    form = _object(value)
    match form.get("type"):
        case "text":
            return None
        case "json_object":  # with a schema, as llama.cpp takes it
            return grammars.of_schema(_schema(form["schema"])) if form.get("schema") else grammars.of_object()
        case "json_schema":
            inner = _object(form.get("json_schema"))
            if "schema" not in inner:
                raise ValueError("must have a `schema` within `json_schema`")
            return grammars.of_schema(_schema(inner["schema"]), lenient=inner.get("strict") is not True)
    raise ValueError(f"must have a `type` of {_FORMATS}")


def _structured_outputs(value: object) -> Grammar | None:
    given = {name: one for name, one in _object(value).items() if one is not None and one is not False}
    kinds = [name for name in given if name in _KINDS]
    if len(kinds) != 1:
        raise ValueError(f"must have one of {', '.join(_KINDS)}")
    return _KINDS[kinds[0]](given[kinds[0]])


def _json(value: object) -> Grammar:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ValueError(f"must be a JSON schema: {error}") from error
    return grammars.of_schema(_schema(value))


def _regex(value: object) -> Grammar:
    return Grammar(kind=GrammarKind.REGEX, text=_text(value))


def _lark(value: object) -> Grammar:
    return Grammar(kind=GrammarKind.LARK, text=_text(value))


def _choice(value: object) -> Grammar:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
        raise ValueError("must be a list of strings that are not empty")
    return grammars.of_choice(value)


def _any_object(value: object) -> Grammar:
    if value is not True:
        raise ValueError("must be true or false")
    return grammars.of_object()


def _own(value: object) -> Grammar:
    if isinstance(value, str):
        raise ValueError("must be an object with `kind` and `text`: GBNF is not read here")
    given = _object(value)
    control = given.get("control") or []
    if not isinstance(control, list) or not all(_is_pair(pair) for pair in control):
        raise ValueError("must have pairs of strings in `control`")
    try:
        kind = GrammarKind(str(given.get("kind")))
    except ValueError as error:
        raise ValueError(f"must have a `kind` of {', '.join(GrammarKind)}") from error
    return Grammar(
        kind=kind,
        text=_text(given.get("text")),
        control=tuple((rule, token) for rule, token in control),
        lenient=given.get("lenient") is True,
    )


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(one, str) for one in value)


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    return value


def _schema(value: object) -> dict[str, Any] | bool:
    if not isinstance(value, dict | bool):
        raise ValueError("must have a JSON schema that is an object")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a string that is not empty")
    return value


_KINDS: dict[str, Callable[[object], Grammar]] = {
    "json": _json,
    "regex": _regex,
    "choice": _choice,
    "grammar": _lark,
    "json_object": _any_object,
}
_FIELDS: dict[str, Callable[[object], Grammar | None]] = {
    "response_format": _response_format,
    "structured_outputs": _structured_outputs,
    "guided_json": _json,
    "guided_regex": _regex,
    "guided_choice": _choice,
    "guided_grammar": _lark,
    "grammar": _own,
}
