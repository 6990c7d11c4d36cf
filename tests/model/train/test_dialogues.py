"""Dialogues: what the trainer reads of a file, and how it becomes tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model.api import Segment
from model.errors import UsageError
from model.train.dialogues import DialogueMaker, load_dialogues, to_example
from tests.model.train.tiny_corpus import encode

HEADER = {"family": "someones-tools"}


def write(folder: Path, count: int) -> Path:
    path = folder / "dialogues.jsonl"
    rows = [
        {"prompt": [["<file_sep>", True], [f"say {n}", False]], "answer": f"{n}!", "end": "<|endoftext|>", "kind": "a"}
        for n in range(count)
    ]
    path.write_text("\n".join(json.dumps(row) for row in [HEADER, *rows]), encoding="utf-8")
    return path


def test_loss_is_on_the_answer_and_its_end(tmp_path: Path) -> None:
    found = load_dialogues(write(tmp_path, 3))
    assert found.family == "someones-tools"
    example = to_example(found.rows[2], encode)
    assert list(example.tokens[: example.answer]) == encode((Segment("<file_sep>", special=True), Segment("say 2")))
    assert list(example.tokens[example.answer :]) == encode((Segment("2!"), Segment("<|endoftext|>", special=True)))
    assert example.kind == "a"


def test_each_pass_takes_every_dialogue_once_in_its_own_order(tmp_path: Path) -> None:
    rows = load_dialogues(write(tmp_path, 120)).for_training()
    maker = DialogueMaker(rows, encode=encode, seed=1)
    first = [maker.make(index) for index in range(len(rows))]
    second = [maker.make(index + len(rows)) for index in range(len(rows))]
    assert first != second
    assert sorted(one.tokens for one in first) == sorted(one.tokens for one in second)
    assert sorted(one.tokens for one in first) == sorted(to_example(row, encode).tokens for row in rows)
    assert DialogueMaker(rows, encode=encode, seed=1).make(7) == first[7]
    assert [DialogueMaker(rows, encode=encode, seed=2).make(index) for index in range(len(rows))] != first


def test_validation_is_kept_apart(tmp_path: Path) -> None:
    found = load_dialogues(write(tmp_path, 120))
    kept, used = found.for_validation(), found.for_training()
    assert [row.answer for row in kept] == ["0!", "50!", "100!"]
    assert not set(kept) & set(used)
    assert len(kept) + len(used) == 120


@pytest.mark.parametrize("text", ["", "{}", '{"family": "a"}\n{"prompt": 3}', '{"family": "a"}\nnonsense', None])
def test_other_files_are_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "other.jsonl"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_dialogues(path)
    assert caught.value.hint


def test_nothing_to_train_on_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no dialogues"):
        DialogueMaker(load_dialogues(write(tmp_path, 1)).for_training(), encode=encode, seed=1)


def test_rows_of_a_scene_stay_together(tmp_path: Path) -> None:
    path = write(tmp_path, 240)
    header, *rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):
        row["scene"] = number // 3
    path.write_text("\n".join(json.dumps(row) for row in [header, *rows]), encoding="utf-8")
    found = load_dialogues(path)
    assert [row.answer for row in found.for_validation()] == ["0!", "1!", "2!", "150!", "151!", "152!"]
    maker = DialogueMaker(found.for_training(), encode=encode, seed=3)
    order = [maker.make(index).tokens for index in range(234)]
    told = {to_example(row, encode).tokens: row.scene for row in found.rows}
    numbers = [told[tokens] for tokens in order]
    assert numbers[::3] == numbers[1::3] == numbers[2::3]
    assert numbers[::3] != sorted(numbers[::3])
