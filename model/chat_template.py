"""From a conversation to a prompt, by the Jinja template that a checkpoint brings. Knows no tokenizer and no HTTP.

Templates come with checkpoints, so they run in Jinja's sandbox. What the template writes may be control tokens; what
people wrote never is, whatever it spells.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from model.api import Segment
from model.chat import Message, Tool
from model.chat_json import message_json, tool_json
from model.errors import RequestError
from model.tools_in_words import spelled_out

if TYPE_CHECKING:
    from jinja2 import Template

_PRIVATE = range(0xE000, 0xF8FF)
"""Characters that no writing uses: one that the conversation lacks breaks up what looks like a control token."""


_WITHOUT_END = (RecursionError, MemoryError)


class ChatTemplate:
    """A template's `source` with the names that it may use: the control tokens, and those of start and end.

    Compiled at first use. Follows transformers' `apply_chat_template`: its settings, its functions, its names.
    """

    def __init__(self, source: str, *, control_tokens: Collection[str], bos: str = "", eos: str = "") -> None:
        self._source = source
        self._names = {"bos_token": bos, "eos_token": eos}
        ordered = sorted((token for token in control_tokens if token), key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, ordered)) or r"(?!)")
        self._compiled: Template | None = None

    @property
    def source(self) -> str:
        """The template as it came."""
        return self._source

    @property
    def knows_tools(self) -> bool:
        """Does the template have a place for tools?"""
        return "tools" in self._source

    def render(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> tuple[Segment, ...]:
        """The prompt whose continuation is the next answer. Raises `RequestError` for what the template refuses."""
        from jinja2 import TemplateError

        if (tools or _has_calls(messages)) and not self.knows_tools:
            messages, tools = spelled_out(messages, tools), ()
        mark = self._mark(messages, tools)
        functions = [self._defused(tool_json(tool), mark) for tool in tools] or None
        try:
            try:
                text = self._rendered(messages, functions, mark, parsed=True)
            except TypeError:  # DeepSeek's templates join arguments as text, others want them as data
                text = self._rendered(messages, functions, mark, parsed=False)
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, *_WITHOUT_END) as error:
            raise RequestError(
                f"The model's chat template refuses this conversation: {error}.",
                hint="Most want an optional system message first, then user and assistant in turns.",
            ) from error
        return self._segments(text, mark)

    def _rendered(self, messages: Sequence[Message], tools: list[Any] | None, mark: str, *, parsed: bool) -> str:
        turns = [self._defused(message_json(one, parsed=parsed), mark) for one in messages]
        return self._template().render(
            messages=turns, tools=tools, documents=None, add_generation_prompt=True, **self._names
        )

    def _template(self) -> Template:
        if self._compiled is None:
            from jinja2.ext import loopcontrols
            from jinja2.sandbox import ImmutableSandboxedEnvironment

            from model.generation_tag import GenerationTag

            environment = ImmutableSandboxedEnvironment(
                trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, GenerationTag], autoescape=False
            )
            environment.filters["tojson"] = _tojson
            environment.globals["raise_exception"] = _refuse
            environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
            self._compiled = environment.from_string(self._source)
        return self._compiled

    def _mark(self, messages: Sequence[Message], tools: Sequence[Tool]) -> str:
        texts = [self._source, *(_tojson(message_json(one, parsed=False)) for one in messages)]
        texts += [_tojson(tool_json(tool)) for tool in tools]
        found = (chr(code) for code in _PRIVATE)
        return next(one for one in found if not any(one in text or _escaped(one) in text for text in texts))

    def _defused(self, value: Any, mark: str) -> Any:
        """The same with every text in it broken up, the names of fields included."""
        if isinstance(value, str):
            return self._broken_up(value, mark)
        if isinstance(value, list):
            return [self._defused(one, mark) for one in value]
        if isinstance(value, dict):
            return {self._broken_up(str(key), mark): self._defused(one, mark) for key, one in value.items()}
        return value

    def _broken_up(self, text: str, mark: str) -> str:
        return self._control.sub(lambda match: match[0][0] + mark + match[0][1:], text)

    def _segments(self, text: str, mark: str) -> tuple[Segment, ...]:
        parts: list[Segment] = []
        start = 0
        for match in self._control.finditer(text):
            parts += (Segment(_whole(text[start : match.start()], mark)), Segment(match[0], special=True))
            start = match.end()
        parts.append(Segment(_whole(text[start:], mark)))
        return tuple(part for part in parts if part.text)


def _has_calls(messages: Sequence[Message]) -> bool:
    return any(message.tool_calls or message.call_id is not None for message in messages)


def _whole(text: str, mark: str) -> str:
    return text.replace(mark, "").replace(_escaped(mark), "")


def _escaped(mark: str) -> str:
    """As JSON in ASCII spells it, which some templates ask for."""
    return f"\\u{ord(mark):04x}"


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """With the options that transformers gives it. Jinja's own escapes for HTML, which models were not trained on."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> None:
    from jinja2 import TemplateError

    raise TemplateError(message)
