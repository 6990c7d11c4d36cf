"""The completer over a hosted model: parts of the file go out, and text without probabilities is shown all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from completion.api import CompletionRequest, Level
from completion.service import EngineCompleter
from model.hosted.accounting import Ledger
from model.hosted.address import parse_hosted
from model.hosted.client import HostedClient
from model.hosted.engine import HostedEngine
from tests.cursor import at_cursor
from tests.model.hosted.playing import Player
from tests.model.service.serving import serve


@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize("spelling", ["mistral:m", "deepseek:m", "mistral/chat:m"])
async def test_a_suggestion_from_a_host(spelling: str, level: Level, tmp_path: Path) -> None:
    player = Player(pieces=("a + ", "b\n", "print(1)\n"))
    text, offset = at_cursor("def add(a, b):\n    return ‸\n\nadd(1, 2)\n")
    async with serve(player.app()) as url:
        model = parse_hosted(f"{spelling}@{url}")
        engine = HostedEngine(model, HostedClient(model, None), Ledger(tmp_path / "usage.jsonl", {}))
        completer = EngineCompleter(engine)
        completer.set_level(level)
        (suggestion,) = await completer.complete(CompletionRequest(text=text, offset=offset, path="calc.py"))
        await completer.aclose()
    assert suggestion.text == "a + b"
    assert suggestion.model == model.name
    [(_, _, body)] = player.requests
    if "chat" in spelling:
        assert "return <<CURSOR>>\n\nadd(1, 2)" in body["messages"][1]["content"]
    else:
        assert (body["prompt"], body["suffix"]) == ("def add(a, b):\n    return ", "\n\nadd(1, 2)\n")
