"""Conversations over HTTP: OpenAI's `/v1/chat/completions` and Mistral's `/v1/fim/completions`, in and out as JSON.

Knows no HTTP and no template. Source: OpenAI's API reference, "Create chat completion"; Mistral's, "FIM completion".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from model import fim
from model.api import GenerateRequest, Priority, SamplingParams
from model.chat import ChatRequest, Message, Role, Tool, ToolCall, ToolChoice
from model.chat_json import assistant_calls
from model.service.fields import Fields
from model.service.grammar_fields import read_grammar
from model.service.request import read_priority, read_stops, refuse_unsupported

DEFAULT_TOKENS = 1024
"""The longest answer where the client sets no limit."""
_MAX_SEED = 2**63 - 1
_NONE: tuple[str, ...] = ()
_NO_MESSAGES: tuple[Message, ...] = ()
_NO_TOOLS: tuple[Tool, ...] = ()
_MODEL_CHOOSES: tuple[ToolChoice, str | None] = (ToolChoice.AUTO, None)
_MAX_TOOLS = 128
_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_CHOICES = {choice.value: choice for choice in ToolChoice} | {"any": ToolChoice.REQUIRED}
_ROLES = {role.value: role for role in Role} | {"developer": Role.SYSTEM}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatCall:
    """What a client asked for."""

    request: ChatRequest
    model: str | None
    stream: bool
    include_usage: bool


def parse_chat(body: object) -> ChatCall:
    """Read a request body. Raises `RequestError` that names every field that does not do."""
    fields = Fields(body)
    messages = fields.parsed("messages", _messages, default=_NO_MESSAGES)
    if fields.raw("messages") is None:
        fields.complain("messages", "is missing")
    if fields.raw("functions") or fields.raw("function_call"):
        fields.complain("functions", "is the older way: send `tools` and `tool_choice`")
    if fields.raw("logprobs"):
        fields.complain("logprobs", "is not supported in conversations: use /v1/completions")
    refuse_unsupported(fields)
    options = fields.raw("stream_options")
    choice, name = fields.parsed("tool_choice", _tool_choice, default=_MODEL_CHOOSES)
    sampling = _sampling(fields, temperature=1.0, seed_field="seed")
    call = ChatCall(
        request=ChatRequest(
            messages=messages,
            tools=fields.parsed("tools", _tools, default=_NO_TOOLS),
            tool_choice=choice,
            tool_name=name,
            parallel=fields.raw("parallel_tool_calls") is not False,
            sampling=replace(sampling, grammar=read_grammar(fields)),
            priority=fields.parsed("priority", read_priority, default=Priority.INTERACTIVE),
        ),
        model=fields.text("model"),
        stream=fields.flag("stream"),
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )
    fields.check()
    return call


def _messages(value: object) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("must be a list of messages, not empty")
    return tuple(_message(item) for item in value)


def _message(item: object) -> Message:
    if not isinstance(item, dict) or item.get("role") not in _ROLES:
        raise ValueError(f"must hold objects with a `role` of {', '.join(_ROLES)}")
    role = _ROLES[item["role"]]
    calls = _calls(item.get("tool_calls")) if role is Role.ASSISTANT else ()
    content = item.get("content")
    call_id = item.get("tool_call_id") if role is Role.TOOL else None
    if role is Role.TOOL and not isinstance(call_id, str):
        raise ValueError("must have a `tool_call_id` in each result of a tool")
    name = item.get("name") if role is Role.TOOL else None
    return Message(
        role=role,
        text="" if content is None and calls else _text(content),
        tool_calls=calls,
        call_id=call_id,
        name=name if isinstance(name, str) else None,
    )


def _calls(value: object) -> tuple[ToolCall, ...]:
    try:
        return assistant_calls(value)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("must have calls with an `id` and a `function` of `name` and `arguments`") from error


def _tools(value: object) -> tuple[Tool, ...]:
    if not isinstance(value, list) or len(value) > _MAX_TOOLS:
        raise ValueError(f"must be a list of at most {_MAX_TOOLS} tools")
    tools = tuple(_tool(item) for item in value)
    if len({tool.name for tool in tools}) < len(tools):
        raise ValueError("must have names that differ")
    return tools


def _tool(item: object) -> Tool:
    function: Any = item.get("function") if isinstance(item, dict) and item.get("type") == "function" else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise ValueError('must hold objects of `type` "function", each with a `function` that has a `name`')
    if not _NAME.fullmatch(function["name"]):
        raise ValueError("must have names of letters, digits, _, - and dots")
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    if not isinstance(parameters, dict):
        raise ValueError("must have `parameters` that are a JSON schema")
    return Tool(name=function["name"], description=str(function.get("description") or ""), parameters=parameters)


def _tool_choice(value: object) -> tuple[ToolChoice, str | None]:
    if isinstance(value, str) and value in _CHOICES:
        return _CHOICES[value], None
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        name = value["function"].get("name")
        if isinstance(name, str):
            return ToolChoice.REQUIRED, name
    raise ValueError(f"must be {', '.join(_CHOICES)}, or an object that names a function")


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        kinds = {part.get("type") for part in content}
        if kinds <= {"text"} and all(isinstance(part.get("text"), str) for part in content):
            return "".join(part["text"] for part in content)
        raise ValueError("must hold text alone: this engine sees no pictures")
    raise ValueError("must each have a `content` that is a string or a list of parts")


@dataclass(frozen=True, slots=True, kw_only=True)
class FimCall:
    """A hole, in Mistral's shape."""

    prefix: str
    suffix: str
    sampling: SamplingParams
    model: str | None
    stream: bool

    def generate_request(self, *, fim_family: str) -> GenerateRequest:
        """The request in the engine's terms. A model that was not trained to fill in continues the prefix."""
        return GenerateRequest(
            prompt=fim.render(fim_family, prefix=self.prefix, suffix=self.suffix), sampling=self.sampling
        )


def parse_fim(body: object) -> FimCall:
    """Read a request body; without a `temperature` the likeliest text is taken. Raises `RequestError`."""
    fields = Fields(body)
    prefix = fields.text("prompt")
    if prefix is None:
        fields.complain("prompt", "is missing")
    refuse_unsupported(fields)
    call = FimCall(
        prefix=prefix or "",
        suffix=fields.text("suffix") or "",
        sampling=_sampling(fields, temperature=0.0, seed_field="random_seed"),
        model=fields.text("model"),
        stream=fields.flag("stream"),
    )
    fields.check()
    return call


def _sampling(fields: Fields, *, temperature: float, seed_field: str) -> SamplingParams:
    seed = fields.integer(seed_field, -1, least=0, most=_MAX_SEED)
    limits = [fields.integer(name, -1, least=-1) for name in ("max_completion_tokens", "max_tokens", "n_predict")]
    return SamplingParams(
        max_tokens=next((max(1, limit) for limit in limits if limit >= 0), DEFAULT_TOKENS),
        temperature=fields.number("temperature", temperature, least=0.0, most=100.0),
        top_p=fields.number("top_p", 1.0, least=0.0, most=1.0),
        top_k=max(0, fields.integer("top_k", 0, least=-1)),
        seed=None if seed < 0 else seed,
        stop=fields.parsed("stop", read_stops, default=_NONE),
    )
