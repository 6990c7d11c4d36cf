"""Tokenizers of GGUF files against the packages that made their vocabularies."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import gguf
import mistral_common
import pytest
import sentencepiece
from mistral_common.tokens.tokenizers.tekken import Tekkenizer
from tokenizers import AddedToken, Regex, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Bpe

from model.checkpoint.gguf import GgufFile
from model.errors import CheckpointError
from model.tekken import read_tekken
from model.tokenizer import BYTE_OF_LETTER, Tokenizer
from model.tokenizer_gguf import read_gguf_tokenizer

DATA = Path(mistral_common.__file__).parent / "data"
TEXTS = [
    "def area(radius: float) -> float:\n    return 3.14159 * radius ** 2  # it's HERE'S\n",
    "\tif (x != null) {\r\n\t\treturn 1234567;\r\n\t}",
    "Grüße, 世界 🎉\u200d👩‍💻",
    "Привет, ΚΌΣΜΕ! 한국어 x²+½ «ok» ",
    "   \n\n  aaaaaaaaaaaa ____________ ======= //\n",
]


def _write(path: Path, **lists: Any) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    for key, value in lists.items():
        key = f"tokenizer.ggml.{key}"
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_array(key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _read(path: Path, **lists: Any) -> Tokenizer:
    with GgufFile(_write(path, **lists)) as file:
        return read_gguf_tokenizer(file)


def test_a_sentencepiece_vocabulary_encodes_as_sentencepiece_does(tmp_path: Path) -> None:
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(DATA / "mistral_instruct_tokenizer_240323.model.v3"))
    count = range(theirs.get_piece_size())
    kinds = [2 if theirs.is_unknown(i) else 3 if theirs.is_control(i) else 6 if theirs.is_byte(i) else 1 for i in count]
    ours = _read(
        tmp_path / "m.gguf",
        model="llama",
        tokens=[theirs.id_to_piece(index) for index in count],
        scores=[theirs.get_score(index) for index in count],
        token_type=kinds,
        bos_token_id=1,
        eos_token_id=2,
    )
    for text in TEXTS:
        assert ours.encode(text) == theirs.encode(text)
        assert ours.decode(ours.encode(text, bare=True)) == text
    assert (ours.bos_id, ours.end_ids) == (1, {2})
    assert not ours.control_ids.intersection(ours.encode("<s>[INST]</s>"))


def test_tekken_encodes_as_mistral_common_does(tmp_path: Path) -> None:
    source = DATA / "tekken_240911.json"
    theirs, listed = Tekkenizer.from_file(source), read_tekken(source)
    words = [listed.name(index) for index in range(len(listed))]
    known = set(words[1000:20_000])
    merges = [
        f"{word[:cut]} {word[cut:]}"
        for word in words[1256:20_000]
        for cut in range(1, len(word))
        if word[:cut] in known and word[cut:] in known
    ]
    ours = _read(
        tmp_path / "m.gguf",
        model="gpt2",
        pre="tekken",
        tokens=words[:20_000],
        token_type=[3] * 1000 + [1] * 19_000,
        merges=merges,
    )
    for text in (text for text in TEXTS if text.isascii()):
        expected = theirs.encode(text, bos=False, eos=False)
        assert ours.decode(ours.encode(text)) == text
        if max(expected) < 20_000:
            assert ours.encode(text) == expected


_CASELESS_HERE = (
    (0x560, 0x58F),
    (0xA78F, 0xA7FF),
    (0xAB30, 0xAB6F),
)
_FAR_LETTERS = (
    (0x10400, 0x1044F),
    (0x104B0, 0x104D3),
    (0x104D8, 0x104FB),
    (0x10C80, 0x10CB2),
    (0x10CC0, 0x10CF2),
    (0x118A0, 0x118DF),
    (0x1E900, 0x1E943),
)


def _is_deepseeks(letter: str) -> bool:
    """Its list, said the other way: what has case, without some scripts; beyond U+FFFF a few scripts alone."""
    code, cased = ord(letter), unicodedata.category(letter) in ("Lu", "Ll", "Lt")
    if code > 0xFFFF:
        return any(first <= code <= last for first, last in _FAR_LETTERS)
    return cased and not any(first <= code <= last for first, last in _CASELESS_HERE)


def test_deepseeks_letters_are_those_that_it_lists(tmp_path: Path) -> None:
    """A letter that is one joins the `é` before it, since the vocabulary merges `é` with any letter's first byte.

    Left out is what it splits off in any case: what it takes for Asian (U+0800 to U+9FA5) and for punctuation (wide
    letters).
    """
    accented, spelled = "Ã©", [letter for letter, byte in BYTE_OF_LETTER.items() if byte >= 0xC2]
    tokens = [*BYTE_OF_LETTER, accented, *(f"{accented}{first}" for first in spelled)]
    merges = ["Ã ©", *(f"{accented} {first}" for first in spelled)]
    pre, kinds = "deepseek-llm", [1] * len(tokens)
    ours = _read(tmp_path / "m.gguf", model="gpt2", pre=pre, tokens=tokens, token_type=kinds, merges=merges)
    letters = [
        chr(code)
        for code in (*range(0xA0, 0x800), *range(0x9FA6, 0xAC00), *range(0xF900, 0xFF00), *range(0xFF5F, 0x1F000))
    ]
    letters = [letter for letter in letters if unicodedata.category(letter)[0] == "L" and letter != "é"]
    joined = {letter for letter in letters if ours.encode(f"é{letter}")[0] > len(BYTE_OF_LETTER)}
    assert joined == {letter for letter in letters if _is_deepseeks(letter)}
    assert 900 < len(joined) < len(letters) / 4


_LETTERS = r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-Ֆ]+"
"""DeepSeek's, of Latin, Greek, Cyrillic and Armenian."""
_PRES = ["llama-bpe", "dbrx", "qwen2", "gpt-4o", "phi-2", "deepseek-llm", "deepseek-coder", "mellum", "mellum2"]


@pytest.mark.parametrize("pre", _PRES)
def test_patterns_split_as_the_published_ones(pre: str, tmp_path: Path) -> None:
    """Patterns as the models' own `tokenizer.json` files have them, over a vocabulary trained with them."""
    ends = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    lower, upper = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
    tail = r"\s*[\r\n]+|\s+(?!\S)|\s+"
    llama_3 = rf"{ends}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{tail}"
    published = {
        "llama-bpe": [llama_3],
        "dbrx": [llama_3],
        "qwen2": [rf"{ends}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{tail}"],
        "gpt-4o": [
            rf"[^\r\n\p{{L}}\p{{N}}]?{upper}*{lower}+{ends}?|[^\r\n\p{{L}}\p{{N}}]?{upper}+{lower}*{ends}?"
            rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{tail}"
        ],
        "deepseek-llm": ["[\r\n]", _LETTERS, r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", "[一-龥ࠀ-一가-퟿]+"],
        "deepseek-coder": ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+"],
    }
    theirs = Bpe(models.BPE())
    split: list[Any] = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in published.get(pre, [])]
    if pre.startswith(("deepseek", "mellum2")):
        split.append(pre_tokenizers.Digits(individual_digits=True))
    bytes_alone = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pre not in published)
    theirs.pre_tokenizer = pre_tokenizers.Sequence([*split, bytes_alone])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False)
    theirs.train_from_iterator(TEXTS * 3, trainer)
    theirs.add_tokens([AddedToken("  ", special=False, normalized=False)])
    size = theirs.get_vocab_size()
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in _merges(theirs)]
    ours = _read(
        tmp_path / "m.gguf",
        model="gpt2",
        pre=pre,
        tokens=[*(theirs.id_to_token(index) for index in range(size)), "<think>", "<|endoftext|>"],
        token_type=[*[1] * (size - 1), 4, 4, 3],
        merges=merges,
        bos_token_id=size + 1,
        eos_token_id=size + 1,
        add_bos_token=False,
    )
    for text in [*TEXTS, "x  y <think> <|endoftext|>"]:
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False).ids
        assert ours.decode(ours.encode(text)) == text
    assert ours.control_ids == {size, size + 1}
    assert (ours.bos_id, ours.end_ids) == (None, {size + 1})


def _merges(bpe: Bpe) -> list[Any]:
    merges: list[Any] = json.loads(bpe.to_str())["model"]["merges"]
    return merges


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"model": "llama"}, "tokens"),
        ({"model": "llama", "tokens": ["a"], "token_type": [1]}, "scores"),
        ({"model": "llama", "tokens": ["a", "b"], "token_type": [1, 1], "scores": [0.5]}, "scores"),
        ({"model": "gpt2", "pre": "qwen2", "tokens": ["a"], "token_type": [1]}, "merges"),
        ({"model": "gpt2", "pre": "qwen2", "tokens": ["a"], "token_type": [1], "merges": ["b c"]}, "merges"),
        ({"model": "bert", "tokens": ["a"]}, "kind 'bert'"),
    ],
)
def test_what_cannot_be_read_is_refused(lists: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        _read(tmp_path / "m.gguf", **lists)
    assert caught.value.hint
