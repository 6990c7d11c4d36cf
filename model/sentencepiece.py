"""SentencePiece vocabularies of the BPE kind, from `tokenizer.model` or from GGUF's lists, as a `Tokenizer`.

The pair whose joined piece has the highest score is merged first: each way to split a piece into two others becomes a
merge of that piece's score. Source: SentencePiece's `sentencepiece_model.proto` and `bpe_model.cc`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from tokenizers import AddedToken, models, normalizers
from tokenizers import Tokenizer as Bpe

from model.errors import CheckpointError
from model.tokenizer import END_NAMES, Tokenizer, sentencepiece_piece

NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4
"""Kinds of pieces; GGUF numbers its tokens alike."""
_BPE = 2


def build_tokenizer(
    pieces: Sequence[str],
    scores: Sequence[float],
    kinds: Sequence[int],
    *,
    blank_first: bool,
    bos_id: int | None,
    end_ids: frozenset[int],
) -> Tokenizer:
    """`blank_first`: does the vocabulary want a blank before each text? Raises `ValueError` for unfitting lists."""
    control_ids = frozenset(
        index
        for index, kind in enumerate(kinds)
        if kind in (UNKNOWN, CONTROL) or (kind == USER_DEFINED and not _is_blank(pieces[index]))
    )
    return Tokenizer(
        tokens=list(pieces),
        bpe=_bpe(pieces, scores, kinds, control_ids, blank_first=blank_first),
        bare_bpe=_bpe(pieces, scores, kinds, control_ids, blank_first=False),
        control_ids=control_ids,
        end_ids=end_ids | {index for index in control_ids if pieces[index] in END_NAMES},
        bos_id=bos_id,
        piece=sentencepiece_piece,
    )


def read_sentencepiece(path: Path) -> Tokenizer:
    """A `tokenizer.model` file. Raises `CheckpointError` for damage, and for what is not BPE over plain text."""
    try:
        fields = list(_fields(path.read_bytes()))
        rows = [_piece(value) for number, value in fields if number == 1 and isinstance(value, bytes)]
        trainer, normalizer = (_submessage(fields, number) for number in (2, 3))
        pieces, scores, kinds = (list(column) for column in zip(*rows, strict=True))
        if trainer.get(3, 1) != _BPE or normalizer.get(2):
            raise CheckpointError(
                f"{path.name} is not of the BPE kind over plain text, which is not supported.",
                hint="Use the model's tokenizer.json.",
            )
        return build_tokenizer(
            pieces,
            scores,
            kinds,
            blank_first=bool(normalizer.get(3, 1)),
            bos_id=pieces.index("<s>") if "<s>" in pieces else None,
            end_ids=frozenset(),
        )
    except (OSError, ValueError, struct.error, IndexError) as error:
        raise CheckpointError(f"{path} is damaged ({error}).", hint="Fetch the file again.") from error


def _is_blank(piece: str) -> bool:
    return not piece.replace("▁", " ").strip()


def _bpe(
    pieces: Sequence[str],
    scores: Sequence[float],
    kinds: Sequence[int],
    control_ids: frozenset[int],
    *,
    blank_first: bool,
) -> Bpe:
    ids = {piece: index for index, piece in enumerate(pieces) if kinds[index] in (NORMAL, USER_DEFINED)}
    ranked: list[tuple[float, int, int]] = []
    for piece, index in ids.items():
        if kinds[index] == NORMAL:
            halves = ((ids.get(piece[:cut]), ids.get(piece[cut:])) for cut in range(1, len(piece)))
            ranked += (
                (-scores[index], left, right) for left, right in halves if left is not None and right is not None
            )
    merges = [(pieces[left], pieces[right]) for _, left, right in sorted(ranked)]
    # What stands for control tokens gets a name that no text can spell, but for the one that the model must know.
    unknown = next((pieces[index] for index, kind in enumerate(kinds) if kind == UNKNOWN), None)
    vocabulary = {
        f"\0{index}" if index in control_ids and piece != unknown else piece: index
        for index, piece in enumerate(pieces)
    }
    bpe = Bpe(models.BPE(vocab=vocabulary, merges=merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    blanks = normalizers.Replace(" ", "▁")
    bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), blanks]) if blank_first else blanks
    runs = [pieces[index] for index, kind in enumerate(kinds) if kind == USER_DEFINED and index not in control_ids]
    bpe.add_tokens([AddedToken(run, normalized=True) for run in runs])
    return bpe


def _submessage(fields: Sequence[tuple[int, int | bytes]], number: int) -> dict[int, int | bytes]:
    return next((dict(_fields(value)) for found, value in fields if found == number and isinstance(value, bytes)), {})


def _piece(message: bytes) -> tuple[str, float, int]:
    fields = dict(_fields(message))
    text, score, kind = fields[1], fields.get(2, bytes(4)), fields.get(3, NORMAL)
    if not isinstance(text, bytes) or not isinstance(score, bytes) or not isinstance(kind, int):
        raise ValueError("a piece is not as pieces are")
    return text.decode("utf-8"), struct.unpack("<f", score)[0], kind


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of a protocol-buffer message (its encoding's wire types 0, 1, 2 and 5)."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        kind = tag & 7
        if kind == 0:
            number, position = _varint(message, position)
            yield tag >> 3, number
            continue
        if kind not in (1, 2, 5):
            raise ValueError(f"wire type {kind}")
        length, position = _varint(message, position) if kind == 2 else ({1: 8, 5: 4}[kind], position)
        if position + length > len(message):
            raise ValueError("it ends too early")
        yield tag >> 3, message[position : position + length]
        position += length


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
