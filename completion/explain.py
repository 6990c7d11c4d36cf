"""A suggestion as plain data for programs and people: what was offered, what it cost, and how it came about."""

from __future__ import annotations

from typing import Any

from completion.api import Suggestion


def describe(suggestion: Suggestion, *, explain: bool = True) -> dict[str, Any]:
    """The documented JSON form; times in milliseconds.

    `explain` adds context, prompt, raw text, filters, vetoes, candidates, and what the confidence was computed from.
    """
    engine = suggestion.timings.engine
    told: dict[str, Any] = {
        "text": suggestion.text,
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
            "guard": round(suggestion.timings.guard_ms, 2),
            "polish": round(suggestion.timings.polish_ms, 2),
            "queue": round(engine.queue_ms, 2),
            "prefill": round(engine.prefill_ms, 2),
            "decode": round(engine.decode_ms, 2),
            "total": round(suggestion.timings.total_ms, 2),
        },
    }
    if explain:
        explanation = suggestion.explanation
        told["explain"] = {
            "context": [
                {
                    "source": use.source,
                    "path": use.path,
                    "lines": [use.first_line, use.last_line],
                    "characters": use.characters,
                    "tokens": use.tokens,
                    "cached": use.cached,
                    "reason": use.reason,
                }
                for use in explanation.context
            ],
            "prompt": explanation.prompt,
            "generated": explanation.raw,
            "filters": list(explanation.filters),
            "vetoes": list(explanation.vetoes),
            "candidates": [{"text": one.text, "confidence": one.confidence} for one in explanation.candidates],
            "signals": {name: round(value, 4) for name, value in explanation.signals.items()},
        }
    return told
