"""Tokenizers of folders in HF's layout against `tokenizers` itself, and the user's text against control tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Bpe

from model.api import Segment
from model.errors import CheckpointError
from model.tokenizer import Tokenizer
from model.tokenizer_json import read_tokenizer_json

TEXTS = [
    "",
    " ",
    "def area(radius):\n    return 3.14 * radius ** 2\n",
    "\tif x:\r\n\t\tpass",
    "Grüße, 世界 🎉\u200d",
    "  leading and   inner blanks  ",
    "<s>[INST] text that spells tokens </s> <fim_prefix> <|end|>",
]
CONTROL = ["<s>", "</s>", "<unk>", "<fim_prefix>"]
CORPUS = [*TEXTS, "for index in range(10): print(index)", "class Circle(Shape): radius: float"]


def _byte_level(folder: Path) -> Bpe:
    bpe = Bpe(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False))
    bpe.add_special_tokens(["<s>", "</s>"])
    bpe.add_tokens([AddedToken("<fim_prefix>", special=False), AddedToken("        ", special=False)])
    return _saved(bpe, folder)


def _sentencepiece(folder: Path, *, scheme: str = "first") -> Bpe:
    """In SentencePiece's spelling, with bytes for what is not in the vocabulary, and control tokens within it."""
    bpe = Bpe(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    bpe.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    tokens = [*CONTROL, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=tokens, show_progress=False, limit_alphabet=60)
    bpe.train_from_iterator(CORPUS, trainer)
    layout = json.loads(bpe.to_str())
    layout["added_tokens"] = [token for token in layout["added_tokens"] if token["content"] in CONTROL]
    bpe = Bpe.from_str(json.dumps(layout))
    bpe.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    bpe.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", CONTROL.index("<s>"))]
    )
    return _saved(bpe, folder)


def _prepending(folder: Path) -> Bpe:
    """Llama's older form: a normalizer puts the blank there."""
    bpe = _sentencepiece(folder, scheme="never")
    bpe.pre_tokenizer = None
    bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return _saved(bpe, folder)


def _saved(bpe: Bpe, folder: Path) -> Bpe:
    bpe.save(str(folder / "tokenizer.json"))
    return bpe


MAKERS = {"byte-level": _byte_level, "sentencepiece": _sentencepiece, "prepending": _prepending}


@pytest.fixture(params=MAKERS)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Tokenizer, Bpe]:
    bpe = MAKERS[request.param](tmp_path)
    return read_tokenizer_json(tmp_path), bpe


def _without_controls(text: str) -> str:
    for token in CONTROL:
        text = text.replace(token, token[:-1])
    return text


@pytest.mark.parametrize("text", TEXTS)
def test_text_encodes_as_in_the_original(text: str, pair: tuple[Tokenizer, Bpe]) -> None:
    ours, theirs = pair
    text = _without_controls(text)
    assert ours.encode(text) == theirs.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("text", TEXTS)
def test_control_tokens_never_come_from_text(text: str, pair: tuple[Tokenizer, Bpe]) -> None:
    ours, _ = pair
    for spelled in (text, *CONTROL, f"a{CONTROL[0]}b"):
        ids = ours.encode(spelled)
        assert not ours.control_ids.intersection(ids)
        assert ours.decode(ours.encode(spelled, bare=True)) == spelled


def test_names_and_ids_are_the_originals(pair: tuple[Tokenizer, Bpe]) -> None:
    ours, theirs = pair
    assert dict(ours.vocabulary) == theirs.get_vocab(with_added_tokens=True)
    assert ours.name(ours.special_id("<fim_prefix>")) == "<fim_prefix>"
    assert ours.bytes_of(ours.special_id("<s>")) == b""


def test_runs_of_blanks_that_were_added_are_text(tmp_path: Path) -> None:
    theirs = _byte_level(tmp_path)
    ours = read_tokenizer_json(tmp_path)
    run = theirs.token_to_id("        ")
    assert run in ours.encode("x\n        y")
    assert ours.bytes_of(run) == b" " * 8
    assert run not in ours.control_ids


@pytest.mark.parametrize("maker", ["sentencepiece", "prepending"])
def test_only_a_text_behind_the_suffix_token_goes_without_its_blank(maker: str, tmp_path: Path) -> None:
    MAKERS[maker](tmp_path)
    layout = json.loads((tmp_path / "tokenizer.json").read_text())
    for token in layout["added_tokens"]:
        if token["content"] == "<fim_prefix>":
            token["content"] = "[SUFFIX]"
    layout["model"]["vocab"]["[SUFFIX]"] = layout["model"]["vocab"].pop("<fim_prefix>")
    (tmp_path / "tokenizer.json").write_text(json.dumps(layout))
    ours = read_tokenizer_json(tmp_path)
    suffix = Segment("[SUFFIX]", special=True)
    bare, blank = ours.encode("return", bare=True), ours.encode("return")
    assert ours.decode(bare) == "return"
    assert ours.decode(blank) == " return"
    bos = ours.special_id("<s>")
    assert ours.encode_prompt((suffix, Segment("return"))) == [bos, ours.special_id("[SUFFIX]"), *bare]
    assert ours.encode_prompt((Segment("return"),)) == [bos, *blank]


@pytest.mark.parametrize(
    ("config", "bos"),
    [
        ({}, "<s>"),
        ({"add_bos_token": False}, None),
        ({"add_bos_token": True, "bos_token": {"content": "<unk>"}}, "<unk>"),
        ({"add_bos_token": True, "bos_token": "</s>"}, "</s>"),
    ],
)
def test_the_beginning_is_what_the_files_say(config: dict[str, Any], bos: str | None, tmp_path: Path) -> None:
    _sentencepiece(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    ours = read_tokenizer_json(tmp_path)
    assert ours.bos_id == (None if bos is None else ours.special_id(bos))


def test_ends_are_gathered_from_all_files(tmp_path: Path) -> None:
    _sentencepiece(tmp_path)
    for name, value in {
        "config.json": {"eos_token_id": 300},
        "generation_config.json": {"eos_token_id": [301, 302]},
        "tokenizer_config.json": {"eos_token": "<fim_prefix>"},
    }.items():
        (tmp_path / name).write_text(json.dumps(value))
    ours = read_tokenizer_json(tmp_path)
    assert ours.end_ids == {300, 301, 302, ours.special_id("<fim_prefix>"), ours.special_id("</s>")}


def test_a_vocabulary_without_a_beginning_has_none(tmp_path: Path) -> None:
    _byte_level(tmp_path)
    assert read_tokenizer_json(tmp_path).bos_id is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"no tokenizer\.json"),
        ("{", "damaged"),
        ('{"model": {"type": "BPE"}}', "damaged"),
        (Bpe(models.Unigram([("a", 0.0)])).to_str(), "'Unigram'"),
    ],
)
def test_what_cannot_be_read_is_refused(content: str | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_tokenizer_json(tmp_path)
    assert caught.value.hint


def test_a_damaged_file_beside_it_is_refused(tmp_path: Path) -> None:
    _byte_level(tmp_path)
    (tmp_path / "generation_config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"generation_config\.json"):
        read_tokenizer_json(tmp_path)


@pytest.fixture(scope="module")
def spelling(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    _sentencepiece(folder)
    return read_tokenizer_json(folder)


@given(st.text(max_size=40))
def test_every_text_comes_back(spelling: Tokenizer, text: str) -> None:
    assert spelling.decode(spelling.encode(text, bare=True)) == text
