"""Language detection."""

from __future__ import annotations

import pytest

from completion.language import LANGUAGES, detect


@pytest.mark.parametrize(
    ("language_id", "path", "text", "found"),
    [
        (None, "a/b.py", "", "python"),
        (None, "a\\b.TS", "", "typescript"),
        (None, "Makefile", "", "makefile"),
        (None, "run", "#!/usr/bin/env python3\n", "python"),
        (None, "run", "#!/bin/bash -e\n", "shellscript"),
        (None, "run", "#!/usr/bin/env -S deno run\n", "javascript"),
        (None, "a.weird", "hello", "plaintext"),
        (None, ".gitignore", "", "plaintext"),
        ("javascriptreact", "x", "", "javascript"),
        ("cobol", "x.go", "", "go"),
        ("plaintext", "x.rs", "", "rust"),
        (None, "", "", "plaintext"),
    ],
)
def test_detect(language_id: str | None, path: str, text: str, found: str) -> None:
    assert detect(language_id=language_id, path=path, text=text).id == found


def test_no_extension_belongs_to_two_languages() -> None:
    extensions = [extension for language in LANGUAGES for extension in language.extensions]
    assert len(extensions) == len(set(extensions))
