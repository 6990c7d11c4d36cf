"""From a checkout to an adapter that serving can merge, on a tiny checkpoint."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.checkpoint.gguf import GgufFile
from model.checkpoint.llama import load_decoder
from model.errors import UsageError
from model.train import card, corpus
from model.train.adapter import load_adapter, merge
from model.train.cli import TrainOptions, train
from model.train.collect import repository_files
from model.train.export import export
from model.train.loop import Limits, LoopConfig
from tests.model import tiny
from tests.model.train.tiny_corpus import CONTROL, MAIN, SCRIPT, SHAPES


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny checkpoint with the layout's tokens."""
    monkeypatch.setattr(tiny, "CONTROL", CONTROL)
    return tiny.write_tiny(tmp_path / "tiny.gguf")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    for name, text in (("paint/shapes.py", SHAPES), ("paint/main.py", MAIN), ("web/walk.ts", SCRIPT + "// end\n" * 4)):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_training_on_a_checkout_gives_an_adapter_and_resumes(base: Path, repository: Path, tmp_path: Path) -> None:
    loop = LoopConfig(rank=2, learning_rate=1e-2, batch_tokens=800, micro_tokens=800, warmup_steps=1)
    options = TrainOptions(
        out=tmp_path / "run", repository=repository, model=str(base), loop=loop, limits=Limits(steps=2)
    )
    assert train(options).step == 2
    assert train(replace(options, limits=Limits(steps=4))).step == 4
    adapter = load_adapter(tmp_path / "run" / "adapter.safetensors")
    assert (tmp_path / "run" / "loss.png").stat().st_size > 1000
    assert adapter.info.family == "tersely"
    assert adapter.info.special_ids == (1, 2, 3)
    with GgufFile(base) as file:
        decoder, merged = load_decoder(file), load_decoder(file)
    merge(merged, adapter, base_sha256=hashlib.sha256(base.read_bytes()).hexdigest())
    ids = torch.tensor([[2, 40, 41, 3, 50]])
    with torch.no_grad():
        assert not torch.allclose(decoder(ids), merged(ids), atol=1e-3)


def test_dialogues_give_an_adapter_of_their_own_family(base: Path, tmp_path: Path) -> None:
    row = '{"prompt": [["<file_sep>", true], ["go", false]], "answer": "gone", "end": "<|endoftext|>", "kind": "a"}\n'
    (tmp_path / "dialogues.jsonl").write_text('{"family": "tools"}\n' + row * 20, encoding="utf-8")
    loop = LoopConfig(rank=2, learning_rate=1e-2, batch_tokens=200, micro_tokens=200, warmup_steps=1, validate_steps=1)
    options = TrainOptions(
        out=tmp_path / "run",
        dialogues=tmp_path / "dialogues.jsonl",
        model=str(base),
        loop=loop,
        limits=Limits(steps=6),
    )
    assert train(options).step == 6
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run" / "log.jsonl").open() if '"rate"' in line]
    assert losses[-1] < losses[0] - 0.5
    assert load_adapter(tmp_path / "run" / "adapter.safetensors").info.family == "tools"


def test_a_run_of_whole_weights_has_no_adapter(base: Path, repository: Path, tmp_path: Path) -> None:
    loop = LoopConfig(rank=None, batch_tokens=400, micro_tokens=400)
    train(TrainOptions(out=tmp_path, repository=repository, model=str(base), loop=loop, limits=Limits(steps=1)))
    with pytest.raises(UsageError, match="trained whole weights"):
        export(tmp_path / "last.pt", base=base)


def test_only_what_git_tracks_is_learned_from(repository: Path) -> None:
    every = {file.path for file in repository_files(repository)}
    assert every == {"paint/shapes.py", "paint/main.py", "web/walk.ts"}
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    subprocess.run(["git", "-C", str(repository), "add", "paint/main.py"], check=True)
    assert [file.path for file in repository_files(repository)] == ["paint/main.py"]


def test_nothing_to_train_on_is_said(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Nothing to train on"):
        train(TrainOptions(out=tmp_path / "run", model=str(base)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="has no Python"):
        repository_files(tmp_path / "empty")


def test_the_data_card_names_packages_and_what_was_left_out(tmp_path: Path) -> None:
    packages = [
        corpus.Package("pypi", "paint", "1.0", "MIT", (("a.py", SHAPES), ("b.rs", SHAPES))),
        corpus.Package("pypi", "closed", "2.0", "GPL-3.0", (("a.py", MAIN),)),
    ]
    files, counted = corpus.build(packages, excluded_lines=frozenset())
    corpus.save(files, counted, tmp_path)
    text = card.markdown(corpus.load_card(tmp_path), held_out=["rich"])
    assert "| pypi | paint | 1.0 | MIT | 1 | 1 |" in text
    assert "closed (licence: GPL-3.0)" in text
    assert "| language | 1 |" in text
    assert "rich." in text
