"""Tokenizers of GGUF files beyond those of `model.tokenizer`: SentencePiece vocabularies, and splitting by a pattern.

Source: llama.cpp's `llama-vocab.cpp`. The user's text never becomes a control token; runs of blanks that a vocabulary
adds are text.
"""

from __future__ import annotations

from tokenizers import AddedToken, Regex, models, pre_tokenizers
from tokenizers import Tokenizer as Bpe

from model.checkpoint.gguf import GgufFile
from model.errors import CheckpointError
from model.sentencepiece import CONTROL, USER_DEFINED, build_tokenizer
from model.tokenizer import END_NAMES, Tokenizer, read_tokenizer

_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_CASED = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+%s"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*%s"
)
_THREE_DIGITS = _ENDINGS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _TAIL
_GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_ASIAN = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
_DEEPSEEK_LETTERS = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373"
    "\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f"
    "\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77"
    "\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d"
    "\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb"
    "\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128"
    "\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4"
    "\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf"
    "\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3"
    "\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"
)
"""DeepSeek lists letters that have case one by one, without several scripts and whatever Unicode took in since."""
_PATTERNS: dict[str, tuple[str, ...]] = {
    "llama-bpe": (_THREE_DIGITS,),
    "dbrx": (_THREE_DIGITS,),
    "qwen2": (_ENDINGS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _TAIL,),
    "tekken": (_CASED % ("", "") + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + _TAIL,),
    "gpt-4o": (_CASED % (_ENDINGS + "?", _ENDINGS + "?") + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + _TAIL,),
    "deepseek-llm": (
        r"[\r\n]",
        rf"\s?[{_DEEPSEEK_LETTERS}]+",
        r"\s?[!-/:-~！-／：-～‘-‟\u3000-。]+",
        r"\s+$",
        _ASIAN,
        r"\p{N}",
    ),
    "deepseek-coder": (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _ASIAN, r"\p{N}"),
    "phi-2": (_GPT_2,),
    "mellum": (_GPT_2,),
    "mellum2": (r"\p{N}", _GPT_2),
}
"""By `tokenizer.ggml.pre`: patterns that split one after another."""
_WHOLE_WORDS = frozenset({"llama-bpe", "tekken"})
"""Here a word that is a token becomes it, whatever the merges would make of it."""


def read_gguf_tokenizer(file: GgufFile) -> Tokenizer:
    """Raises `CheckpointError` for a kind that is not supported, and for lists that are damaged."""
    kind, pre = file.metadata.get("tokenizer.ggml.model"), file.metadata.get("tokenizer.ggml.pre")
    if kind == "llama":
        return _sentencepiece(file)
    if kind == "gpt2" and pre in _PATTERNS:
        return _patterned(file, str(pre))
    return read_tokenizer(file)


def _sentencepiece(file: GgufFile) -> Tokenizer:
    pieces = _texts(file, "tokens")
    scores, kinds = _numbers(file, "scores"), _numbers(file, "token_type")
    if not len(pieces) == len(scores) == len(kinds):
        raise _damaged(file, "scores")
    return build_tokenizer(
        pieces,
        scores,
        [int(number) for number in kinds],
        blank_first=bool(file.metadata.get("tokenizer.ggml.add_space_prefix", True)),
        bos_id=_id(file, "bos") if file.metadata.get("tokenizer.ggml.add_bos_token", True) else None,
        end_ids=_ends(file),
    )


def _patterned(file: GgufFile, pre: str) -> Tokenizer:
    tokens, kinds = _texts(file, "tokens"), _numbers(file, "token_type")
    merges = [(first, second) for first, _, second in (merge.partition(" ") for merge in _texts(file, "merges"))]
    added = [index for index, kind in enumerate(kinds) if kind == USER_DEFINED]
    literal_ids = frozenset(index for index in added if tokens[index].isspace())
    control_ids = frozenset(index for index, kind in enumerate(kinds) if kind == CONTROL).union(added) - literal_ids
    vocabulary = {f"\0{index}" if index in control_ids else token: index for index, token in enumerate(tokens)}
    try:
        bpe = Bpe(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=pre in _WHOLE_WORDS))
    except Exception as error:  # `tokenizers` raises bare Exception for merges outside the vocabulary
        raise _damaged(file, "merges") from error
    bpe.pre_tokenizer = _splitting(_PATTERNS[pre])
    bpe.add_tokens([AddedToken(tokens[index], normalized=False) for index in literal_ids])
    return Tokenizer(
        tokens=tokens,
        bpe=bpe,
        control_ids=control_ids,
        end_ids=_ends(file) | {index for index in control_ids if tokens[index] in END_NAMES},
        bos_id=_id(file, "bos") if file.metadata.get("tokenizer.ggml.add_bos_token", pre == "llama-bpe") else None,
        literal_ids=literal_ids,
    )


def _splitting(patterns: tuple[str, ...]) -> pre_tokenizers.PreTokenizer:
    splits = [pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in patterns]
    return pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _ends(file: GgufFile) -> frozenset[int]:
    return frozenset(index for index in (_id(file, role) for role in ("eos", "eot", "eom")) if index is not None)


def _id(file: GgufFile, role: str) -> int | None:
    value = file.metadata.get(f"tokenizer.ggml.{role}_token_id")
    return value if isinstance(value, int) else None


def _texts(file: GgufFile, key: str) -> list[str]:
    values = file.metadata.get(f"tokenizer.ggml.{key}")
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise _damaged(file, key)
    return [str(value) for value in values]


def _numbers(file: GgufFile, key: str) -> list[float]:
    values = file.metadata.get(f"tokenizer.ggml.{key}")
    if not isinstance(values, list):
        raise _damaged(file, key)
    return [float(value) for value in values if isinstance(value, int | float)]


def _damaged(file: GgufFile, key: str) -> CheckpointError:
    return CheckpointError(f"{file.path.name} has no usable tokenizer.ggml.{key}.", hint="Fetch the model again.")
