"""Conversations over HTTP: OpenAI's `/v1/chat/completions` and Mistral's `/v1/fim/completions`, in and out as JSON.

Knows no HTTP and no template. Source: OpenAI's API reference, "Create chat completion"; Mistral's, "FIM completion".
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from model import fim
from model.api import Chunk, GenerateRequest, SamplingParams
from model.chat import Message, Role
from model.service.fields import Fields
from model.service.reply import Json, merged, timings_json, usage_json
from model.service.request import read_stops, refuse_unsupported

DEFAULT_TOKENS = 1024
"""The longest answer where the client sets no limit."""
_MAX_SEED = 2**63 - 1
_NONE: tuple[str, ...] = ()
_NO_MESSAGES: tuple[Message, ...] = ()
_ROLES = {role.value: role for role in Role} | {"developer": Role.SYSTEM}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatCall:
    """What a client asked for."""

    messages: tuple[Message, ...]
    sampling: SamplingParams
    model: str | None
    stream: bool
    include_usage: bool


def parse_chat(body: object) -> ChatCall:
    """Read a request body. Raises `RequestError` that names every field that does not do."""
    fields = Fields(body)
    messages = fields.parsed("messages", _messages, default=_NO_MESSAGES)
    if fields.raw("messages") is None:
        fields.complain("messages", "is missing")
    if fields.raw("tools") or fields.raw("functions"):
        fields.complain("tools", "is not supported here: this engine's models get tools from tersely's own refactoring")
    if fields.raw("logprobs"):
        fields.complain("logprobs", "is not supported in conversations: use /v1/completions")
    form = fields.raw("response_format")
    if form is not None and form != {"type": "text"}:
        fields.complain("response_format", "must be text")
    refuse_unsupported(fields)
    options = fields.raw("stream_options")
    call = ChatCall(
        messages=messages,
        sampling=_sampling(fields, temperature=1.0, seed_field="seed"),
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
    if role is Role.TOOL or item.get("tool_calls"):
        raise ValueError("must hold no tool calls and no results of tools: they are not supported here")
    return Message(role=role, text=_text(item.get("content")))


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


@dataclass(slots=True)
class ChatReply:
    """One answer in the shape of chat, whole or in chunks.

    `include_usage`: the counts come in an event after the last choice (OpenAI); else with it (Mistral).
    """

    model: str
    include_usage: bool = False
    usage_with_last: bool = False
    identity: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))
    end: bytes = b"data: [DONE]\n\n"
    _begun: bool = False

    def whole(self, chunks: Sequence[Chunk]) -> Json:
        """The answer in one piece."""
        chunk = merged(chunks)
        message = {"role": "assistant", "content": chunk.text}
        body = self._envelope("chat.completion", [_choice({"message": message}, chunk)])
        return body | _counts(chunk)

    def events(self, chunk: Chunk) -> list[Json]:
        """What a chunk becomes in a stream: every event with a choice has `content`, for clients that read no less."""
        delta: Json = {"content": chunk.text} if self._begun else {"role": "assistant", "content": chunk.text}
        self._begun = True
        last = chunk.finish_reason is not None
        event = self._envelope("chat.completion.chunk", [_choice({"delta": delta}, chunk)])
        if last and self.usage_with_last:
            event |= _counts(chunk)
        events = [event]
        if last and self.include_usage:
            events.append(self._envelope("chat.completion.chunk", []) | _counts(chunk))
        return events

    def _envelope(self, kind: str, choices: list[Json]) -> Json:
        return {
            "id": self.identity,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


def _choice(said: Json, chunk: Chunk) -> Json:
    return {"index": 0, **said, "logprobs": None, "finish_reason": chunk.finish_reason}


def _counts(chunk: Chunk) -> Json:
    counts: Json = {} if chunk.usage is None else {"usage": usage_json(chunk.usage)}
    return counts if chunk.timings is None else counts | {"timings_ms": timings_json(chunk.timings)}
