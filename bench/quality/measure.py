"""From answers to figures: pass and exact rates with their intervals, edit similarity, terseness, calibration."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from typing import Any

from bench.quality.ask import Answer
from bench.quality.sandbox import passes
from bench.quality.tasks import Task

_BINS = 10


def pass_at_1(answers: Sequence[Answer]) -> dict[str, Any]:
    """HumanEval by execution."""
    passed = [passes(program(answer.task.program, answer.text)) for answer in answers]
    exact = [answer.text.strip() == answer.task.reference for answer in answers]
    return {"tasks": len(answers), "pass": rate(passed), "exact": rate(exact)}


def floors(tasks: Sequence[Task]) -> dict[str, Any]:
    """What needs no model. HumanEval: what nothing, and what the reference, would pass. Elsewhere: how often the one
    commonest answer is right."""
    programs = [(task.program, task.reference) for task in tasks if task.kind == "humaneval"]
    languages = sorted({task.language for task in tasks if task.kind != "humaneval"})
    return {
        "humaneval": {
            "empty": rate([passes(program(around, "")) for around, _ in programs]),
            "oracle": rate([passes(program(around, reference)) for around, reference in programs]),
        },
        "held_out": {
            language: {
                kind: _commonest([task.reference for task in tasks if (task.kind, task.language) == (kind, language)])
                for kind in ("line", "block")
            }
            for language in languages
        },
    }


def _commonest(references: Sequence[str]) -> dict[str, Any]:
    answer, _ = Counter(references).most_common(1)[0]
    return {"answer": answer, "exact": rate([reference == answer for reference in references])}


def program(around: tuple[str, str] | None, answer: str) -> str:
    """The program with the answer in its hole."""
    assert around is not None
    before, behind = around
    return before + answer + behind


def matches(answers: Sequence[Answer]) -> dict[str, Any]:
    """Exact match and edit similarity (difflib's ratio)."""
    exact = [answer.text == answer.task.reference for answer in answers]
    similar = [SequenceMatcher(None, answer.text, answer.task.reference, autojunk=False).ratio() for answer in answers]
    return {"tasks": len(answers), "exact": rate(exact), "similarity": round(statistics.fmean(similar), 4)}


def emptiness(answers: Sequence[Answer]) -> dict[str, Any]:
    """How often nothing was said where nothing is to be added."""
    return {"tasks": len(answers), "nothing": rate([not answer.whole.strip() for answer in answers])}


def terseness(answers: Sequence[Answer], count: Callable[[str], int]) -> dict[str, Any]:
    """Generated over needed tokens, and how often an answer that begins right also ends there."""
    ratios = [answer.tokens / max(1, count(answer.task.reference)) for answer in answers]
    right = [answer for answer in answers if answer.whole.startswith(answer.task.reference)]
    stops = [answer.ended and answer.whole == answer.task.reference for answer in right]
    return {
        "tasks": len(answers),
        "median_generated_over_needed": round(statistics.median(ratios), 3),
        "begins_right": len(right),
        "stops_there": rate(stops) if stops else None,
    }


def calibration(answers: Sequence[Answer], confidence: Callable[[Answer], float]) -> dict[str, Any]:
    """A reliability diagram: per tenth of confidence, how many answers match; and the expected calibration error."""
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(_BINS)]
    for answer in answers:
        value = confidence(answer)
        bins[min(_BINS - 1, int(value * _BINS))].append((value, answer.text == answer.task.reference))
    rows = [
        {
            "count": len(one),
            "confidence": round(statistics.fmean(value for value, _ in one), 4),
            "exact": round(statistics.fmean(hit for _, hit in one), 4),
        }
        for one in bins
        if one
    ]
    error = sum(row["count"] * abs(row["confidence"] - row["exact"]) for row in rows) / max(1, len(answers))
    return {"expected_error": round(error, 4), "bins": rows}


def rate(hits: Sequence[bool]) -> dict[str, float]:
    """A share, with Wilson's 95 % interval."""
    count, share, z = len(hits), sum(hits) / len(hits), 1.96
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * ((share * (1 - share) + z * z / (4 * count)) / count) ** 0.5 / (1 + z * z / count)
    return {
        "share": round(share, 4),
        "low": round(max(0.0, middle - half), 4),
        "high": round(min(1.0, middle + half), 4),
    }
