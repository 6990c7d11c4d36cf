"""What a contender said, kept as it says it: a run of hours that was ended goes on, and asks nothing twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Journal:
    """JSON lines in the file at `path`, which is read first where it is there. Without a path, only in memory."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._said: dict[str, dict[str, Any]] = {}
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            return
        text = path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]  # a run that was ended may have been in the middle of a line
        if whole != text:
            path.write_text(whole, encoding="utf-8")
        for line in whole.splitlines():
            row = json.loads(line)
            self._said[row["key"]] = row["said"]

    def said(self, key: str) -> dict[str, Any] | None:
        """What was kept under `key`; None where nothing was."""
        return self._said.get(key)

    def keep(self, key: str, said: Mapping[str, Any]) -> None:
        """Keep `said` under `key`, in the file at once."""
        self._said[key] = dict(said)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "said": self._said[key]}) + "\n")
