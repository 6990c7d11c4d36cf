"""Conversations as plain data: what a model that follows instructions is asked, and what it answers.

No templates, no HTTP, no torch. `model.api.Engine` continues prompts; what an engine can do beyond that is told by the
two protocols here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from model.api import EngineTimings, FinishReason, Priority, Prompt, SamplingParams, Usage

if TYPE_CHECKING:
    from model.tool_formats import ToolFormat


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model wants made. `arguments` is JSON as the model wrote it; it may be invalid."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn. An assistant's may hold calls; a tool's answers the call of `call_id`, to the tool `name`."""

    role: Role
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that the model may call. `parameters` is a JSON schema of an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


class ToolChoice(StrEnum):
    """Whether the model decides, may not, or must call a tool."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One answer in a conversation. With `json` the answer is one JSON object.

    `sampling.grammar` says more closely what an answer without calls must be; hosted models know JSON schemas only.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice.AUTO
    tool_name: str | None = None
    """With `REQUIRED`: the one tool that must be called."""
    parallel: bool = True
    """May several tools be called in one answer?"""
    json: bool = False
    sampling: SamplingParams = field(default_factory=SamplingParams)
    priority: Priority = Priority.INTERACTIVE
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatChunk:
    """One step of an answer. The last, and only it, has `finish_reason` and `usage`.

    Each call comes once, whole, as soon as it is known; hosted models' calls come with the last.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    timings: EngineTimings | None = None


@runtime_checkable
class Chatting(Protocol):
    """An engine that answers conversations itself, with tools and JSON mode.

    Closing the stream cancels the request. Raises what `model.api.Engine` raises.
    """

    def chat(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        """Stream the answer."""
        ...


@runtime_checkable
class Templating(Protocol):
    """An engine that turns conversations into prompts, as its model was trained on them."""

    async def chat_prompt(self, messages: tuple[Message, ...], tools: tuple[Tool, ...] = ()) -> Prompt:
        """The prompt whose continuation is the answer. Raises `RequestError` for a model without a template."""
        ...

    async def tool_format(self) -> ToolFormat:
        """How the model writes calls."""
        ...
