"""`tersely complete`'s answers, over a scripted engine."""

from __future__ import annotations

from completion.service import EngineCompleter
from editors.headless.complete import as_json, complete_at
from editors.headless.target import Target
from model.fake import FakeEngine

KEYS = {"text", "range", "stop_reason", "confidence", "model", "tokens", "timings_ms"}


async def test_json_has_the_documented_keys() -> None:
    target = Target("a = 1\nb = \n", 10, "a.py", None)
    suggestion = await complete_at(EngineCompleter(FakeEngine("2\nmore")), target)
    answer = as_json(suggestion, target)
    assert answer.keys() == KEYS
    assert answer["text"] == "2"
    assert answer["range"] == {"start": {"line": 2, "column": 5}, "end": {"line": 2, "column": 5}}
    assert answer["tokens"].keys() == {"prompt", "reused", "generated"}
    assert answer["timings_ms"].keys() == {
        "context",
        "prompt",
        "guard",
        "polish",
        "queue",
        "prefill",
        "decode",
        "total",
    }


async def test_explain_says_what_went_in_and_what_was_done() -> None:
    target = Target("a = 1\nb = \n", 10, "a.py", None)
    answer = as_json(await complete_at(EngineCompleter(FakeEngine(" 2  \nmore")), target), target, explain=True)
    explained = answer["explain"]
    assert explained["context"][0]["lines"] == [1, 2]
    assert explained["prompt"] == "a = 1\nb ="  # the blank is left to the model
    assert explained["generated"].startswith("2")
    assert explained["filters"]
    assert explained["context"][0].keys() >= {"tokens", "cached"}
    assert explained["vetoes"] == []
    assert explained["candidates"] == [{"text": "2", "confidence": answer["confidence"]}]
    assert explained["signals"]["tokens"] > 0


async def test_an_empty_answer_is_an_answer() -> None:
    target = Target("name", 2, "a.py", None)
    answer = as_json(await complete_at(EngineCompleter(FakeEngine("x")), target), target, explain=True)
    assert answer["text"] == ""
    assert answer["stop_reason"] == "silent"
    assert "inside a word" in answer["explain"]["filters"][0]
