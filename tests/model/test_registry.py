"""The models that have names: what ships with tersely for them is there, small, and made for their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from completion.refactor import layout
from model import fim, hub
from model.registry import DEFAULT_MODEL, MODELS, NamedModel, list_models
from model.train.adapter import load_adapter

ADAPTED = [row for row in MODELS.values() if row.adapter is not None]


def test_the_default_comes_first() -> None:
    assert list_models()[0].name == DEFAULT_MODEL


def test_names_are_keys() -> None:
    assert all(name == row.name for name, row in MODELS.items())


@pytest.mark.parametrize("row", ADAPTED, ids=[row.name for row in ADAPTED])
def test_adapters_are_made_for_their_base(row: NamedModel) -> None:
    assert row.adapter_path is not None
    assert row.adapter_path.stat().st_size <= 25_000_000
    info = load_adapter(row.adapter_path).info
    assert info.base_sha256 == row.sha256
    assert info.family == row.fim_family
    assert row.fim_family in {*fim.FORMATS, layout.FAMILY}


@pytest.mark.model
@pytest.mark.parametrize(("name", "family"), [("smollm2-135m", "tersely"), ("smollm2-135m-base", fim.NONE)])
def test_what_show_says_of_the_format(name: str, family: str, embedded_model: Path) -> None:
    details = hub.show(name)
    assert (details.path, details.fim_family) == (embedded_model, family)
