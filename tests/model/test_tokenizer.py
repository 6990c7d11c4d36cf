"""The tokenizer against a slow BPE written out here, and its promise about the user's text."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from model.api import Segment
from model.checkpoint.gguf import GgufFile
from model.detokenizer import Detokenizer
from model.errors import CheckpointError, RequestError
from model.tokenizer import BYTE_OF_LETTER, Tokenizer, read_tokenizer
from tests.model.tiny import CONTROL, write_tiny

# GPT-2's splitting (Radford et al. 2019, `encoder.py`), after each digit has been set apart.
_GPT2 = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
_LETTER_OF_BYTE = {byte: letter for letter, byte in BYTE_OF_LETTER.items()}

SAMPLES = [
    "def add(a: int, b: int = 12345) -> int:\n\treturn a + b\n",
    "    if (x >= 0x1F && y != -1) { return `${name}`; }\r\n\r\n",
    "I'll say we're  done;   don't\n\n\n",
    "Straße, naïve, Ελληνικά, русский, 日本語, 한국어, עברית, हिन्दी",
    "🎉👩‍👩‍👧‍👦 \U0001f1e9\U0001f1ea e\u0301 \u200b\u2028\u2029\ufeff",
    "½ ² Ⅷ ٣ 1234567890",
    "a\x00b\x0cc\x0bd\x7f\x85",
    "\t\t  \t x\n   \n  y",
    "<|im_start|>user<|endoftext|><file_sep>[INST]",
    "",
    " ",
    "x" * 500,
]


class SlowBpe:
    """Merge the pair of lowest rank, again and again."""

    def __init__(self, file: GgufFile) -> None:
        tokens, merges = file.metadata["tokenizer.ggml.tokens"], file.metadata["tokenizer.ggml.merges"]
        assert isinstance(tokens, list)
        assert isinstance(merges, list)
        self._ids = {str(token): index for index, token in enumerate(tokens)}
        self._ranks = {tuple(str(merge).split(" ", 1)): rank for rank, merge in enumerate(merges)}

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for part in regex.findall(r"\p{N}|\P{N}+", text):
            for word in _GPT2.findall(part):
                ids += self._merge([_LETTER_OF_BYTE[byte] for byte in word.encode()])
        return ids

    def _merge(self, pieces: list[str]) -> list[int]:
        while True:
            ranked = [(self._ranks[pair], at) for at, pair in enumerate(pairwise(pieces)) if pair in self._ranks]
            if not ranked:
                return [self._ids[piece] for piece in pieces]
            _, at = min(ranked)
            pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]


@pytest.fixture(scope="module")
def tokenizer(tiny_path: Path) -> Tokenizer:
    with GgufFile(tiny_path) as file:
        return read_tokenizer(file)


@pytest.fixture(scope="module")
def slow(tiny_path: Path) -> SlowBpe:
    with GgufFile(tiny_path) as file:
        return SlowBpe(file)


@pytest.mark.parametrize("text", SAMPLES)
def test_equals_the_slow_bpe(text: str, tokenizer: Tokenizer, slow: SlowBpe) -> None:
    assert tokenizer.encode(text) == slow.encode(text)


@given(text=st.text())
def test_any_text_equals_the_slow_bpe_and_comes_back(text: str, tokenizer: Tokenizer, slow: SlowBpe) -> None:
    ids = tokenizer.encode(text)
    assert ids == slow.encode(text)
    assert tokenizer.decode(ids) == text


@lru_cache(maxsize=1)
def _embedded(path: Path) -> tuple[Tokenizer, SlowBpe]:
    with GgufFile(path) as file:
        return read_tokenizer(file), SlowBpe(file)


@pytest.mark.model
@pytest.mark.parametrize("text", [sample for sample in SAMPLES if "\x00" not in sample])
def test_the_embedded_models_tokenizer_equals_the_slow_bpe(text: str, embedded_path: Path) -> None:
    tokenizer, slow = _embedded(embedded_path)
    assert tokenizer.encode(text) == slow.encode(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("name", CONTROL)
def test_user_text_never_becomes_a_control_token(name: str, tokenizer: Tokenizer) -> None:
    assert not set(tokenizer.encode(f"a{name}b {name}")) & tokenizer.control_ids
    assert tokenizer.decode(tokenizer.encode(name)) == name


def test_prompts_of_every_kind_become_ids(tokenizer: Tokenizer) -> None:
    separator = tokenizer.vocabulary["<file_sep>"]
    assert tokenizer.encode_prompt("the int") == tokenizer.encode("the int")
    mixed = (Segment("<file_sep>", special=True), Segment("a.py\n"), Segment("<file_sep>"))
    assert tokenizer.encode_prompt(mixed) == [separator, *tokenizer.encode("a.py\n"), *tokenizer.encode("<file_sep>")]
    assert tokenizer.encode_prompt((3, 4, 5)) == [3, 4, 5]
    assert tokenizer.encode_prompt("") == []


@pytest.mark.parametrize("prompt", [(Segment("<no_such>", special=True),), (-1,), (10**6,)])
def test_unknown_tokens_are_refused(prompt: tuple[Segment, ...] | tuple[int, ...], tokenizer: Tokenizer) -> None:
    with pytest.raises(RequestError) as caught:
        tokenizer.encode_prompt(prompt)
    assert caught.value.hint


def test_a_beginning_token_comes_first_and_once(tmp_path: Path) -> None:
    wants = {"tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.bos_token_id": 0}
    with GgufFile(write_tiny(tmp_path / "m.gguf", metadata=wants)) as file:
        tokenizer = read_tokenizer(file)
    assert tokenizer.encode_prompt("the") == [0, *tokenizer.encode("the")]
    assert tokenizer.encode_prompt((Segment(CONTROL[0], special=True), Segment("the"))) == [0, *tokenizer.encode("the")]
    assert tokenizer.encode_prompt((5, 6)) == [5, 6]
    assert tokenizer.encode_prompt("") == [0]


def test_ends_are_found_by_role_and_by_name(tokenizer: Tokenizer) -> None:
    assert tokenizer.end_ids == {tokenizer.vocabulary["<|endoftext|>"], tokenizer.vocabulary["<|im_end|>"]}


def test_lone_surrogates_become_replacement_characters(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) == "a\ufffdb"


@given(text=st.text())
def test_text_streams_whole_characters(text: str, tokenizer: Tokenizer) -> None:
    stream = Detokenizer(tokenizer)
    pieces = [stream.add(token_id) for token_id in tokenizer.encode(text)]
    assert "".join(pieces) == text
    assert all("\ufffd" not in piece for piece in pieces) or "\ufffd" in text


def test_an_unfinished_character_is_never_shown(tokenizer: Tokenizer) -> None:
    stream = Detokenizer(tokenizer)
    assert [stream.add(token_id) for token_id in tokenizer.encode("🎉")[:-1]] == ["", "", ""]


def test_control_tokens_have_a_name_and_no_text(tokenizer: Tokenizer) -> None:
    end = tokenizer.vocabulary["<|endoftext|>"]
    assert (tokenizer.bytes_of(end), tokenizer.text(end), Detokenizer(tokenizer).add(end)) == (b"", "<|endoftext|>", "")


@pytest.mark.parametrize(
    "metadata", [{"tokenizer.ggml.model": "llama"}, {"tokenizer.ggml.pre": "no-such"}], ids=["model", "pre"]
)
def test_an_unsupported_tokenizer_is_refused(metadata: dict[str, str | int | bool], tmp_path: Path) -> None:
    with (
        GgufFile(write_tiny(tmp_path / "m.gguf", metadata=metadata)) as file,
        pytest.raises(CheckpointError, match="not supported"),
    ):
        read_tokenizer(file)
