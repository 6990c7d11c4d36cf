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
from model.chat import Message
from model.errors import RequestError

if TYPE_CHECKING:
    from jinja2 import Template

_PRIVATE = range(0xE000, 0xF8FF)
"""Characters that no writing uses: one that the conversation lacks breaks up what looks like a control token."""


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

    def render(self, messages: Sequence[Message]) -> tuple[Segment, ...]:
        """The prompt whose continuation is the next answer. Raises `RequestError` for what the template refuses."""
        from jinja2 import TemplateError

        mark = self._mark(messages)
        turns = [{"role": one.role.value, "content": self._broken_up(one.text, mark)} for one in messages]
        try:
            text = self._template().render(
                messages=turns, tools=None, documents=None, add_generation_prompt=True, **self._names
            )
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise RequestError(
                f"The model's chat template refuses this conversation: {error}.",
                hint="Most want an optional system message first, then user and assistant in turns.",
            ) from error
        return self._segments(text, mark)

    def _template(self) -> Template:
        if self._compiled is None:
            from jinja2.ext import loopcontrols
            from jinja2.sandbox import ImmutableSandboxedEnvironment

            environment = ImmutableSandboxedEnvironment(
                trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols], autoescape=False
            )
            environment.filters["tojson"] = _tojson
            environment.globals["raise_exception"] = _refuse
            environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
            self._compiled = environment.from_string(self._source)
        return self._compiled

    def _mark(self, messages: Sequence[Message]) -> str:
        texts = [self._source, *(message.text for message in messages)]
        found = (chr(code) for code in _PRIVATE)
        return next(character for character in found if not any(character in text for text in texts))

    def _broken_up(self, text: str, mark: str) -> str:
        return self._control.sub(lambda match: match[0][0] + mark + match[0][1:], text)

    def _segments(self, text: str, mark: str) -> tuple[Segment, ...]:
        parts: list[Segment] = []
        start = 0
        for match in self._control.finditer(text):
            parts += (Segment(text[start : match.start()].replace(mark, "")), Segment(match[0], special=True))
            start = match.end()
        parts.append(Segment(text[start:].replace(mark, "")))
        return tuple(part for part in parts if part.text)


def _tojson(value: Any, indent: int | None = None) -> str:
    """Jinja's own escapes for HTML, which models were not trained on."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> None:
    from jinja2 import TemplateError

    raise TemplateError(message)
