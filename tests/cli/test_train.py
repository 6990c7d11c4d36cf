"""`tersely train`: options that do not fit, told before a model is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.errors import UsageError
from tersely.commands.train import command


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Give one of --repo, --corpus and --dialogues"),
        ({"repo": Path(), "corpus": Path()}, "Give one of --repo, --corpus and --dialogues"),
        ({"repo": Path(), "start": "nowhere.safetensors"}, "There is no adapter nowhere.safetensors"),
        ({"repo": Path(), "start": "none", "device": "cuda", "processes": 2}, "on a CPU only"),
        ({"repo": Path(), "experts": 2, "chosen": 3}, "Of 2 experts, 3 cannot be chosen"),
        ({"repo": Path(), "start": "none", "experts": 4}, "made of a trained model"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        command(out=tmp_path / "run", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()
