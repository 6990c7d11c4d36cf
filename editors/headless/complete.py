"""`tersely complete`: one completion at one place, for people and for programs."""

from __future__ import annotations

from typing import Any

from completion.api import CompletionRequest, Suggestion, Trigger
from completion.service import EngineCompleter
from editors.headless.target import Target, place_of


async def complete_at(completer: EngineCompleter, target: Target) -> Suggestion:
    """The best suggestion at a target, shown or not: `text` is empty where nothing would be offered."""
    request = CompletionRequest(
        text=target.text,
        offset=target.offset,
        path=target.path,
        root=target.root,
        trigger=Trigger.AUTOMATIC,
    )
    return (await completer.attempt(request))[0]


def as_json(suggestion: Suggestion, target: Target, *, explain: bool = False) -> dict[str, Any]:
    """The documented JSON form: places are 1-based, columns in characters, times in milliseconds."""
    engine = suggestion.timings.engine
    answer: dict[str, Any] = {
        "text": suggestion.text,
        "range": {"start": _place(target.text, suggestion.start), "end": _place(target.text, suggestion.end)},
        "stop_reason": suggestion.stop_reason,
        "confidence": suggestion.confidence,
        "model": suggestion.model,
        "tokens": {
            "prompt": suggestion.usage.prompt_tokens,
            "reused": suggestion.usage.cached_tokens,
            "generated": suggestion.usage.completion_tokens,
        },
        "timings_ms": {
            "context": round(suggestion.timings.context_ms, 2),
            "prompt": round(suggestion.timings.prompt_ms, 2),
            "queue": round(engine.queue_ms, 2),
            "prefill": round(engine.prefill_ms, 2),
            "decode": round(engine.decode_ms, 2),
            "total": round(suggestion.timings.total_ms, 2),
        },
    }
    if explain:
        answer["explain"] = {
            "context": [
                {
                    "source": use.source,
                    "path": use.path,
                    "lines": [use.first_line, use.last_line],
                    "characters": use.characters,
                    "reason": use.reason,
                }
                for use in suggestion.explanation.context
            ],
            "prompt": suggestion.explanation.prompt,
            "generated": suggestion.explanation.raw,
            "filters": list(suggestion.explanation.filters),
        }
    return answer


def _place(text: str, offset: int) -> dict[str, int]:
    line, column = place_of(text, offset)
    return {"line": line, "column": column}
