"""Where text goes, as the doctor tells it. What else it looks at is tested where that is: hosted models, the CLI."""

from __future__ import annotations

import pytest

from model.doctor import examine

ENGINE = "text around the cursor is sent to https://engine.example"
PIECES = "pieces of the workspace's files are sent to https://alike.example/v1"


@pytest.mark.parametrize(
    ("url", "embeddings_url", "expected"),
    [
        (None, None, ["text goes to the engine on this machine only"]),
        ("https://engine.example", None, [ENGINE]),
        (None, "https://alike.example/v1", ["text around the cursor goes to the engine on this machine", PIECES]),
        ("https://engine.example", "https://me:secret@alike.example/v1", [ENGINE, PIECES]),
    ],
)
def test_every_server_that_gets_text_is_named(url: str | None, embeddings_url: str | None, expected: list[str]) -> None:
    found = examine("smollm2-135m", url=url, embeddings_url=embeddings_url)
    assert [finding.detail for finding in found if finding.subject == "privacy"] == expected
