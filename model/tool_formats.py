"""How each family of models writes calls of tools: which format, by vocabulary and template, never by name.

A format says what grammar an answer must have, and finds the calls in it. Sources: mistral-common's tokenizers
(v1–v13), and the chat templates of Qwen2.5 and 3 (the form of Hermes), Qwen3-Coder, Granite 3, Llama 3.1, DeepSeek-V3,
DeepSeek-V3.1 and gpt-oss.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from model.api import Grammar
from model.chat import Tool, ToolCall
from model.grammars import quoted
from model.tool_lark import ToolLark, json_rule

_MOST_CALLS = 16
_LAST_LINE_END = '"\\n"?'
"""Some models end the line of their last call before they end. Where that may not be, they go on to call and call."""
_DECODER = json.JSONDecoder()


class ToolFormat(Protocol):
    """One way to write calls. `marker` is what calls begin with; "" where it is the answer's first brace."""

    @property
    def name(self) -> str: ...
    @property
    def marker(self) -> str: ...
    @property
    def noise(self) -> str:
        """A regular expression for what is no part of the answer's text."""
        ...

    def grammar(self, tools: Sequence[Tool], *, required: bool, parallel: bool) -> Grammar:
        """What the whole answer must be: calls, or also text (and then maybe calls) unless `required`."""
        ...

    def take(self, text: str, tools: Sequence[Tool]) -> tuple[tuple[ToolCall, ...], str]:
        """The calls that are complete at the beginning of a text, and what stands behind them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A format whose arguments are JSON. In what stands around them, {{…}} is a token's name, and
    `before` has {name} and {call_id} where the name stands outside the JSON; else the JSON is an object with
    `name_key` and `arguments_key`."""

    name: str
    marker: str
    lead: str = ""
    start: str = ""
    before: str = ""
    after: str = ""
    between: str = ""
    tail: str = ""
    name_key: str = "name"
    arguments_key: str = "arguments"
    head: str = ""
    """A regular expression for all that may stand before a call's JSON, with `name` and `call_id` where they do."""
    foot: str = r"\s*"
    """And for what stands behind it."""
    text: str = ""
    """What stands before text that is no call."""
    noise: str = r"(?!)"
    """A regular expression for what is no part of the text."""
    with_id: bool = False
    """Mistral's models up to v7 put an identity into the object; and a blank before it, where SentencePiece does."""
    most_calls: int = _MOST_CALLS
    control: frozenset[str] = frozenset()

    def grammar(self, tools: Sequence[Tool], *, required: bool, parallel: bool) -> Grammar:
        lark = ToolLark(self.control)
        many = self.most_calls if parallel else 1
        between = f"{lark.text(self.between)} one" if self.between else "one"
        more = f" ({between}){{0,{many - 1}}}" if many > 1 else ""
        blank = '" "?' if self.with_id else ""
        end = lark.text(self.tail) or (_LAST_LINE_END if more else "")
        lark.rule("calls", f"{lark.text(self.lead)} {blank} {lark.text(self.start)} one{more} {end}")
        lark.rule("one", " | ".join(f"tool_{index}" for index in range(len(tools))))
        for index, tool in enumerate(tools):
            lark.rule(f"tool_{index}", self._call(lark, tool, f"arguments_{index}"))
            lark.rule(f"arguments_{index}", json_rule(tool.parameters))
        return lark.grammar(marker=self.marker, required=required, before_text=self.text)

    def take(self, text: str, tools: Sequence[Tool]) -> tuple[tuple[ToolCall, ...], str]:
        calls: list[ToolCall] = []
        while (found := self._one(text)) is not None:
            call, text = found
            calls.append(call)
        return tuple(calls), text

    def _call(self, lark: ToolLark, tool: Tool, arguments: str) -> str:
        before, after = self.before, lark.text(self.after)
        if "{name}" in before:
            start, _, rest = before.partition("{name}")
            identity, _, last = rest.partition("{call_id}")
            middle = f"{lark.text(identity)} CALL_ID {lark.text(last)}" if last else lark.text(identity)
            if last:
                lark.rule("CALL_ID", "/[a-zA-Z0-9]{9}/")
            return f"{lark.text(start)} {quoted(tool.name)} {middle} {arguments} {after}"
        if self.with_id:
            lark.rule("CALL_ID", "/[a-zA-Z0-9]{9}/")
            after = f"""(", \\"id\\": \\"" CALL_ID "\\"")? "}}" {after}"""
        else:
            after = f'"}}" {after}'
        opening = f'{{"{self.name_key}": {quoted(tool.name)}, "{self.arguments_key}": '
        return f"{lark.text(before)} {quoted(opening)} {arguments} {after}"

    def _one(self, text: str) -> tuple[ToolCall, str] | None:
        match = re.match(self.head, text)
        if match is None:
            return None
        try:
            value, end = _DECODER.raw_decode(text, match.end())
        except ValueError:
            return None
        foot = re.compile(self.foot).match(text, end)
        if foot is None or not isinstance(value, dict):
            return None
        named = match.groupdict()
        name = named.get("name") or value.get(self.name_key)
        arguments = value if "name" in named else _arguments(value, self.arguments_key)
        if not isinstance(name, str):
            return None
        identity = named.get("call_id") or (value.get("id") if "name" not in named else None)
        return ToolCall(str(identity or new_id()), name.strip(), _compact(arguments)), text[foot.end() :]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """Qwen3-Coder's format: each parameter between tags of its own, texts as they are, all else as JSON."""

    name: str = "qwen3-coder"
    marker: str = "<tool_call>"
    noise: str = r"(?!)"
    control: frozenset[str] = frozenset()

    def grammar(self, tools: Sequence[Tool], *, required: bool, parallel: bool) -> Grammar:
        lark = ToolLark(self.control)
        opening, closing = lark.text("{{<tool_call>}}"), lark.text("{{</tool_call>}}")
        many = f'one ("\\n" one){{0,{_MOST_CALLS - 1}}} {_LAST_LINE_END}'
        lark.rule("calls", many if parallel else "one")
        lark.rule("one", " | ".join(f"tool_{index}" for index in range(len(tools))))
        for index, tool in enumerate(tools):
            rows = [self._parameter(lark, tool, place, index) for place in range(len(_properties(tool)))]
            body = " ".join(rows)
            name = quoted(f"\n<function={tool.name}>\n")
            lark.rule(f"tool_{index}", f'{opening} {name} {body} "</function>\\n" {closing}')
        lark.rule('value[suffix="\\n</parameter>\\n"]', "/(?s:.*)/")
        return lark.grammar(marker=self.marker, required=required)

    def take(self, text: str, tools: Sequence[Tool]) -> tuple[tuple[ToolCall, ...], str]:
        calls: list[ToolCall] = []
        while match := _TAGGED_CALL.match(text):
            known = next((tool for tool in tools if tool.name == match[1].strip()), None)
            schemas = {} if known is None else _properties(known)
            values = {name: _typed(value, schemas.get(name)) for name, value in _TAGGED_VALUE.findall(match[2])}
            calls.append(ToolCall(new_id(), match[1].strip(), _compact(values)))
            text = text[match.end() :]
        return tuple(calls), text

    def _parameter(self, lark: ToolLark, tool: Tool, place: int, index: int) -> str:
        name, schema = list(_properties(tool).items())[place]
        opening = quoted(f"<parameter={name}>\n")
        if _is_text(schema) and "enum" not in schema and "const" not in schema:
            row = f"{opening} value"
        elif _is_text(schema):
            options = " | ".join(quoted(str(one)) for one in schema.get("enum", [schema.get("const")]))
            row = f'{opening} ({options}) "\\n</parameter>\\n"'
        else:
            rule = f"value_{index}_{place}"
            lark.rule(rule, json_rule(schema, tool.parameters))
            row = f'{opening} {rule} "\\n</parameter>\\n"'
        return row if name in tool.parameters.get("required", ()) else f"({row})?"


_TAGGED_CALL = re.compile(
    r"\s*(?:<tool_call>)?\s*<function=([^>\n]+)>\s*?(?:\n(.*?))?\n?</function>\s*(?:</tool_call>)\s*", re.DOTALL
)
_TAGGED_VALUE = re.compile(r"<parameter=([^>\n]+)>\n?(.*?)\n?</parameter>", re.DOTALL)


def new_id() -> str:
    """An identity for a call: nine letters and digits, as Mistral's models want it."""
    return uuid.uuid4().hex[:9]


def detect(control: Collection[str], template: str = "") -> ToolFormat:
    """The format of a model, by its control tokens and its chat template."""
    held = frozenset(control)
    return next(_built(row, held) for row in _ROWS if row.fits(held, template))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A format with how it is known: all of `tokens` in the vocabulary, all of `words` in the template."""

    format: Frame | Tagged
    tokens: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    def fits(self, control: frozenset[str], template: str) -> bool:
        return all(token in control for token in self.tokens) and all(word in template for word in self.words)


def _built(row: _Row, control: frozenset[str]) -> ToolFormat:
    return replace(row.format, control=control)


_LIST = r"\s*(?:\[TOOL_CALLS\]|<\|tool_call\|>)?\s*[\[,]\s*(?=\{)"
_LIST_END = r"\s*(?:\]\s*)?(?=[,\]]|$)"
_BARE = r"\s*(?:<\|python_tag\|>)?[;\s]*(?=\{)"
_HERMES = Frame(
    name="hermes",
    marker="<tool_call>",
    before="{{<tool_call>}}\n",
    after="\n{{</tool_call>}}",
    between="\n",
    head=r"\s*<tool_call>\s*(?=\{)",
    foot=r"\s*</tool_call>\s*",
)
_ROWS = (
    _Row(
        tokens=("<|channel|>", "<|call|>"),
        format=Frame(
            name="harmony",
            marker="<|channel|>",
            text="{{<|channel|>}}final{{<|message|>}}",
            noise=r"(?s)<\|channel\|>(?:analysis<\|message\|>.*?(?:<\|end\|>|$)|final<\|message\|>)"
            r"|<\|start\|>assistant|<\|return\|>",
            before="{{<|channel|>}}commentary to=functions.{name} {{<|constrain|>}}json{{<|message|>}}",
            head=r"\s*(?:<\|start\|>assistant)?<\|channel\|>commentary to=functions\.(?P<name>[\w.-]+)"
            r"[^<]*(?:<\|constrain\|>\s*json)?\s*<\|message\|>\s*(?=\{)",
            foot=r"\s*(?:<\|call\|>)?",
            most_calls=1,
        ),
    ),
    _Row(
        tokens=("<｜tool▁calls▁begin｜>",),
        words=("```json",),
        format=Frame(
            name="deepseek-v3",
            marker="<｜tool▁calls▁begin｜>",
            lead="{{<｜tool▁calls▁begin｜>}}",
            before="{{<｜tool▁call▁begin｜>}}function{{<｜tool▁sep｜>}}{name}\n```json\n",
            after="\n```{{<｜tool▁call▁end｜>}}",
            between="\n",
            tail="{{<｜tool▁calls▁end｜>}}",
            head=r"\s*(?:<｜tool▁calls▁begin｜>)?\s*<｜tool▁call▁begin｜>function<｜tool▁sep｜>(?P<name>[^\n]+)"
            r"\n```json\s*(?=\{)",
            foot=r"\s*```<｜tool▁call▁end｜>\s*(?:<｜tool▁calls▁end｜>)?",
        ),
    ),
    _Row(
        tokens=("<｜tool▁calls▁begin｜>",),
        format=Frame(
            name="deepseek-v3.1",
            marker="<｜tool▁calls▁begin｜>",
            lead="{{<｜tool▁calls▁begin｜>}}",
            before="{{<｜tool▁call▁begin｜>}}{name}{{<｜tool▁sep｜>}}",
            after="{{<｜tool▁call▁end｜>}}",
            tail="{{<｜tool▁calls▁end｜>}}",
            head=r"\s*(?:<｜tool▁calls▁begin｜>)?<｜tool▁call▁begin｜>(?P<name>[^\n<]+)<｜tool▁sep｜>\s*(?=\{)",
            foot=r"\s*<｜tool▁call▁end｜>\s*(?:<｜tool▁calls▁end｜>)?",
        ),
    ),
    _Row(
        tokens=("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"),
        words=("[CALL_ID]",),
        format=Frame(
            name="mistral-v11",
            marker="[TOOL_CALLS]",
            before="{{[TOOL_CALLS]}}{name}{{[CALL_ID]}}{call_id}{{[ARGS]}}",
            head=r"\s*\[TOOL_CALLS\](?P<name>[^\[\{]+)(?:\[CALL_ID\](?P<call_id>\w+))?\[ARGS\]\s*(?=\{)",
        ),
    ),
    _Row(
        tokens=("[TOOL_CALLS]", "[ARGS]"),
        format=Frame(
            name="mistral-v13",
            marker="[TOOL_CALLS]",
            before="{{[TOOL_CALLS]}}{name}{{[ARGS]}}",
            head=r"\s*\[TOOL_CALLS\](?P<name>[^\[\{]+)(?:\[CALL_ID\](?P<call_id>\w+))?\[ARGS\]\s*(?=\{)",
        ),
    ),
    _Row(
        tokens=("[TOOL_CALLS]",),
        format=Frame(
            name="mistral-v3",
            marker="[TOOL_CALLS]",
            lead="{{[TOOL_CALLS]}}",
            start="[",
            with_id=True,
            between=", ",
            tail="]",
            head=_LIST,
            foot=_LIST_END,
        ),
    ),
    _Row(
        tokens=("<|tool_call|>",),
        format=Frame(
            name="granite-3",
            marker="<|tool_call|>",
            lead="{{<|tool_call|>}}",
            start="[",
            between=", ",
            tail="]",
            head=_LIST,
            foot=_LIST_END,
        ),
    ),
    _Row(words=("<function=",), format=Tagged()),
    _Row(words=("<tool_call>",), format=_HERMES),
    _Row(tokens=("<tool_call>",), format=_HERMES),
    _Row(
        tokens=("<|python_tag|>",),
        format=Frame(name="llama-3.1", marker="", arguments_key="parameters", head=_BARE, most_calls=1),
    ),
    _Row(format=_HERMES),
)


def _properties(tool: Tool) -> dict[str, Any]:
    return dict(tool.parameters.get("properties") or {})


def _is_text(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("type") == "string"


def _typed(text: str, schema: Any) -> Any:
    """A parameter as its schema wants it; text where it is no JSON."""
    if _is_text(schema):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _arguments(value: Mapping[str, Any], key: str) -> Any:
    for name in (key, "arguments", "parameters"):
        if name in value:
            given = value[name]
            return given if not isinstance(given, str) else _loaded(given)
    return {}


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _compact(arguments: Any) -> str:
    if isinstance(arguments, str):
        return arguments
    return json.dumps(arguments, ensure_ascii=False)
