"""SentencePiece vocabularies against the sentencepiece package and mistral-common, on what the latter ships."""

from __future__ import annotations

from pathlib import Path

import mistral_common
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from mistral_common.protocol.fim.request import FIMRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

from model import fim
from model.errors import CheckpointError
from model.sentencepiece import read_sentencepiece
from model.tokenizer import Tokenizer

DATA = Path(mistral_common.__file__).parent / "data"
FILES = ["tokenizer.model.v1", "mistral_instruct_tokenizer_240323.model.v3"]
TEXTS = [
    " ",
    "def area(radius: float) -> float:\n    return 3.14159 * radius ** 2\n",
    "\tif (x != null) {\r\n\t\treturn 1234567;\r\n\t}",
    "Grüße, 世界 🎉\u200d👩‍💻 ﷺ",
    "   \n\n  aaaaaaaaaaaaaaaaaaaaaaaaaaa abababababababab ____________ ======= ",
    Path(__file__).read_text(encoding="utf-8"),
]


@pytest.fixture(scope="module", params=FILES)
def pair(request: pytest.FixtureRequest) -> tuple[Tokenizer, sentencepiece.SentencePieceProcessor]:
    path = DATA / request.param
    return read_sentencepiece(path), sentencepiece.SentencePieceProcessor(model_file=str(path))


@pytest.mark.parametrize("text", TEXTS)
def test_text_encodes_as_sentencepiece_does(
    text: str, pair: tuple[Tokenizer, sentencepiece.SentencePieceProcessor]
) -> None:
    ours, theirs = pair
    assert ours.encode(text) == theirs.encode(text)
    assert ours.decode(ours.encode(text, bare=True)) == text


@given(text=st.text(min_size=1, max_size=60))
@settings(deadline=None)
def test_any_text_encodes_as_sentencepiece_does(
    text: str, pair: tuple[Tokenizer, sentencepiece.SentencePieceProcessor]
) -> None:
    ours, theirs = pair
    if "\u2581" not in text and "\0" not in text:  # one is a blank to it, the other ends its strings
        assert ours.encode(text) == theirs.encode(text)


def test_names_and_bytes_are_the_same(pair: tuple[Tokenizer, sentencepiece.SentencePieceProcessor]) -> None:
    ours, theirs = pair
    assert len(ours) == theirs.get_piece_size()
    assert all(ours.name(index) == theirs.id_to_piece(index) for index in range(len(ours)))
    assert (ours.bos_id, ours.end_ids) == (theirs.bos_id(), {theirs.eos_id()})
    assert ours.bytes_of(theirs.piece_to_id("<0x0A>")) == b"\n"


def test_control_tokens_never_come_from_text() -> None:
    ours = read_sentencepiece(DATA / FILES[1])
    for text in ("<s>[INST] spelled [/INST]</s>", "[SUFFIX]", "<unk>"):
        assert not ours.control_ids.intersection(ours.encode(text))
        assert ours.decode(ours.encode(text, bare=True)) == text


def test_a_fim_prompt_is_encoded_as_mistral_common_does() -> None:
    path = DATA / FILES[1]
    ours = read_sentencepiece(path)
    assert fim.detect(ours.vocabulary) == "mistral"
    prefix, suffix = "def f(\n    return", "+ 1\n\nprint(f(2))"
    expected = MistralTokenizer.from_file(str(path)).encode_fim(FIMRequest(prompt=prefix, suffix=suffix))
    assert ours.encode_prompt(fim.apply("mistral", prefix=prefix, suffix=suffix)) == expected.tokens


@pytest.mark.parametrize("change", ["empty", "truncated", "noise", "unigram"])
def test_damage_is_refused(change: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model"
    whole = (DATA / FILES[0]).read_bytes()
    unigram = b"\x0a\x03\x0a\x01a" + b"\x12\x02\x18\x01"
    path.write_bytes({"empty": b"", "truncated": whole[:-1000], "noise": b"\xff" * 50, "unigram": unigram}[change])
    with pytest.raises(CheckpointError, match=r"tokenizer\.model") as caught:
        read_sentencepiece(path)
    assert caught.value.hint
