"""A home of its own for each test that starts engines: short enough for Unix sockets, and without engines after."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.service import launcher


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """TERSELY_HOME; every engine that was started in it is stopped at the end."""
    folder = Path(tempfile.mkdtemp(prefix="tersely-"))
    monkeypatch.setenv("TERSELY_HOME", str(folder))
    yield folder
    launcher.stop()
    shutil.rmtree(folder)
