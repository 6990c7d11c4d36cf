"""Tekken vocabularies against mistral-common, on the vocabulary that it ships."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mistral_common
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mistral_common.protocol.fim.request import FIMRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from mistral_common.tokens.tokenizers.tekken import Tekkenizer

from model import fim
from model.errors import CheckpointError
from model.tekken import read_tekken
from model.tokenizer import Tokenizer

PATH = Path(mistral_common.__file__).parent / "data" / "tekken_240911.json"
TEXTS = [
    "",
    "def area(radius: float) -> float:\n    return 3.14159 * radius ** 2\n",
    "\tif (x != null) {\r\n\t\treturn 1234567;\r\n\t}",
    "Grüße, 世界 🎉\u200d👩‍💻 ﷺ",
    "   \n\n  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa abababababababab ____________ ======= ",
    "<s>[INST] spelled [/INST]</s>[SUFFIX]",
]


@pytest.fixture(scope="module")
def ours() -> Tokenizer:
    return read_tekken(PATH)


@pytest.fixture(scope="module")
def theirs() -> Tekkenizer:
    return Tekkenizer.from_file(PATH)


@pytest.mark.parametrize("text", [*TEXTS, Path(__file__).read_text(encoding="utf-8")])
def test_text_encodes_as_mistral_common_does(text: str, ours: Tokenizer, theirs: Tekkenizer) -> None:
    ids = ours.encode(text)
    assert ids == theirs.encode(text, bos=False, eos=False)
    assert ours.decode(ids) == text


@given(text=st.text(max_size=60))
@settings(deadline=None)
def test_any_text_encodes_as_mistral_common_does(text: str, ours: Tokenizer, theirs: Tekkenizer) -> None:
    assert ours.encode(text) == theirs.encode(text, bos=False, eos=False)


def test_every_token_stands_for_the_same_bytes(ours: Tokenizer, theirs: Tekkenizer) -> None:
    assert len(ours) == theirs.n_words
    for index in range(theirs.num_special_tokens, theirs.n_words):
        assert ours.bytes_of(index) == theirs.id_to_byte_piece(index)
    for name in ("<s>", "</s>", "[INST]", "[PREFIX]", "[SUFFIX]"):
        assert ours.special_id(name) == theirs.get_special_token(name)


def test_a_fim_prompt_is_encoded_as_mistral_common_does(ours: Tokenizer) -> None:
    assert fim.detect(ours.vocabulary) == "mistral"
    prefix, suffix = "def f(\n    return", " + 1\n\nprint(f(2))"
    expected = MistralTokenizer.from_file(str(PATH)).encode_fim(FIMRequest(prompt=prefix, suffix=suffix))
    assert ours.encode_prompt(fim.apply("mistral", prefix=prefix, suffix=suffix)) == expected.tokens


def _damaged(change: str) -> str:
    tokens: list[dict[str, Any]] = [{"token_bytes": "AA=="}] * 300
    config = {"default_num_special_tokens": 20, "default_vocab_size": 320, "pattern": "."}
    return {
        "no JSON": "{",
        "no vocabulary": json.dumps({"config": config}),
        "a token twice": json.dumps({"config": config, "vocab": tokens}),
        "no end token": json.dumps({"config": config, "vocab": tokens, "special_tokens": [{"token_str": "<s>"}]}),
        "no base64": json.dumps({"config": config, "vocab": [{"token_bytes": "?"}]}),
    }[change]


@pytest.mark.parametrize("change", ["no JSON", "no vocabulary", "a token twice", "no end token", "no base64"])
def test_damage_is_refused(change: str, tmp_path: Path) -> None:
    path = tmp_path / "tekken.json"
    path.write_text(_damaged(change))
    with pytest.raises(CheckpointError, match=r"tekken\.json is damaged") as caught:
        read_tekken(path)
    assert caught.value.hint
