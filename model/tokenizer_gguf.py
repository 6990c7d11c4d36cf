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
_PATTERNS: dict[str, tuple[str, ...]] = {
    "llama-bpe": (_THREE_DIGITS,),
    "dbrx": (_THREE_DIGITS,),
    "qwen2": (_ENDINGS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _TAIL,),
    "tekken": (_CASED % ("", "") + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + _TAIL,),
    "gpt-4o": (_CASED % (_ENDINGS + "?", _ENDINGS + "?") + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + _TAIL,),
    # DeepSeek lists the letters that have case one by one, which leaves out some that Unicode has taken in since.
    "deepseek-llm": (
        r"[\r\n]",
        r"\s?[\p{Lu}\p{Ll}\p{Lt}]+",
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
