"""Mistral's Tekken vocabularies (`tekken.json`) as a `Tokenizer`.

The file lists byte strings by rank, as tiktoken does: the pair whose joined bytes have the lowest rank is merged first.
Each way to split a token into two others becomes a merge of that token's rank. Source: mistral-common, `tekken.py`.
"""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Any

from tokenizers import Regex, models, pre_tokenizers
from tokenizers import Tokenizer as Bpe

from model.errors import CheckpointError
from model.tokenizer import BYTE_OF_LETTER, Tokenizer

_FIRST_SPECIAL = (
    "<unk>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[TOOL_CALLS]",
    "[IMG]",
    "<pad>",
    "[IMG_BREAK]",
    "[IMG_END]",
    "[PREFIX]",
    "[MIDDLE]",
    "[SUFFIX]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[TOOL_CONTENT]",
)
"""Control tokens of files that do not list theirs, in order from 0."""
_LETTERS = {byte: letter for letter, byte in BYTE_OF_LETTER.items()}


def read_tekken(path: Path) -> Tokenizer:
    """Raises `CheckpointError` for a file that is damaged."""
    try:
        layout = json.loads(path.read_text(encoding="utf-8"))
        config = layout["config"]
        reserved = int(config["default_num_special_tokens"])
        ranked = layout["vocab"][: int(config["default_vocab_size"]) - reserved]
        pieces = [base64.b64decode(token["token_bytes"], validate=True) for token in ranked]
        special = _special(layout, reserved)
        start, end = special.index("<s>"), special.index("</s>")
        bpe = _bpe(pieces, reserved, str(config["pattern"]))
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError, binascii.Error) as error:
        raise CheckpointError(f"{path} is damaged ({error!r}).", hint="Fetch the file again.") from error
    tokens = [*special, *map(_spelled, pieces)]
    return Tokenizer(
        tokens=tokens,
        bpe=bpe,
        control_ids=frozenset(range(reserved)),
        end_ids=frozenset({end}),
        bos_id=start,
    )


def _special(layout: dict[str, Any], reserved: int) -> list[str]:
    listed = layout.get("special_tokens")
    names = _FIRST_SPECIAL if listed is None else [str(token["token_str"]) for token in listed]
    return [*names, *(f"<SPECIAL_{index}>" for index in range(len(names), reserved))]


def _spelled(piece: bytes) -> str:
    return "".join(_LETTERS[byte] for byte in piece)


def _bpe(pieces: list[bytes], reserved: int, pattern: str) -> Bpe:
    ranks = {piece: rank for rank, piece in enumerate(pieces)}
    if len(ranks) != len(pieces) or pieces[:256] != [bytes([byte]) for byte in range(256)]:
        raise ValueError("a token occurs twice, or bytes are missing")
    spelled = {piece: _spelled(piece) for piece in pieces}
    merges: list[tuple[str, str]] = []
    for piece in pieces[256:]:
        halves = ((piece[:cut], piece[cut:]) for cut in range(1, len(piece)))
        known = sorted((ranks[left], ranks[right]) for left, right in halves if left in ranks and right in ranks)
        merges += ((spelled[pieces[left]], spelled[pieces[right]]) for left, right in known)
    vocabulary = {spelled[piece]: rank + reserved for piece, rank in ranks.items()}
    bpe = Bpe(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    bytes_alone = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_alone])
    return bpe
