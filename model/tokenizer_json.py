"""The tokenizer of a folder in HF's layout: `tokenizer.json`, and what the files beside it say of ends and beginnings.

Byte-level and SentencePiece-like BPE. The user's text must never become a control token, so added tokens are taken
out of the splitter, and what stands for them in the vocabulary gets a name that no text can spell.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Bpe

from model.errors import CheckpointError
from model.tokenizer import END_NAMES, Tokenizer, byte_level_piece, sentencepiece_piece


def read_tokenizer_json(folder: Path) -> Tokenizer:
    """Raises `CheckpointError` for files that are absent, damaged, or of a kind that is not supported."""
    path = folder / "tokenizer.json"
    layout, whole = _read(path)
    model = layout["model"]
    tokens = _tokens(model["vocab"], layout.get("added_tokens") or [])
    added = {token["id"]: token for token in layout.get("added_tokens") or []}
    literal_ids = frozenset(index for index, token in added.items() if _is_text(token))
    control_ids = frozenset(added) - literal_ids
    beside = _beside(folder)
    try:
        bpe, bare_bpe = (
            Bpe.from_str(json.dumps(_without_controls(layout, control_ids, bare))) for bare in (False, True)
        )
    except Exception as error:  # `tokenizers` raises bare Exception
        raise _damaged(path, error) from error
    return Tokenizer(
        tokens=tokens,
        bpe=bpe,
        bare_bpe=bare_bpe,
        control_ids=control_ids,
        end_ids=_end_ids(beside, tokens, control_ids),
        bos_id=_bos_id(whole, beside["tokenizer_config.json"], tokens, control_ids),
        piece=byte_level_piece if _mentions(layout, "ByteLevel") else sentencepiece_piece,
        literal_ids=literal_ids,
    )


def _read(path: Path) -> tuple[dict[str, Any], Bpe]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CheckpointError(
            f"{path.parent.name} has no tokenizer.json that can be read.",
            hint="Fetch the whole model; a tokenizer in SentencePiece form alone must be converted.",
        ) from error
    try:
        whole, layout = Bpe.from_str(text), json.loads(text)
    except Exception as error:  # `tokenizers` raises bare Exception
        raise _damaged(path, error) from error
    if layout["model"].get("type") != "BPE":
        raise CheckpointError(
            f"{path} has a model of type {layout['model'].get('type')!r}, which is not supported.",
            hint="Supported is BPE, byte-level or with SentencePiece's spelling.",
        )
    return layout, whole


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{path} is damaged ({error}).", hint="Fetch the file again.")


def _is_text(added: dict[str, Any]) -> bool:
    """Runs of blanks are added to some vocabularies (Phi-2): those are text. All else is control, whatever `special`
    says: FIM tokens often are not marked."""
    return not added["special"] and added["content"].isspace()


def _tokens(vocabulary: dict[str, int], added: list[dict[str, Any]]) -> list[str]:
    names = {index: token for token, index in vocabulary.items()} | {token["id"]: token["content"] for token in added}
    return [names.get(index, f"<unused {index}>") for index in range(max(names, default=-1) + 1)]


def _without_controls(layout: dict[str, Any], control_ids: frozenset[int], bare: bool) -> dict[str, Any]:
    """The file's JSON for text alone; `bare`: without a blank put before it."""
    model = dict(layout["model"])
    kept = model.get("unk_token")
    model["vocab"] = {
        f"\0{index}" if index in control_ids and token != kept else token: index
        for token, index in model["vocab"].items()
    }
    added = [token for token in layout.get("added_tokens") or [] if token["id"] not in control_ids]
    # Without this, `tokenizers` would number them anew.
    model["vocab"] |= {token["content"]: token["id"] for token in added}
    plain = layout | {
        "model": model,
        "added_tokens": added,
        "post_processor": None,
        "truncation": None,
        "padding": None,
    }
    if bare:
        plain["normalizer"], plain["pre_tokenizer"] = (
            _bare(layout.get("normalizer")),
            _bare(layout.get("pre_tokenizer")),
        )
    return plain


def _bare(step: dict[str, Any] | None) -> dict[str, Any] | None:
    """A step of the pipeline without whatever puts a blank before the text."""
    if step is None or step["type"] == "Prepend":
        return None
    step = dict(step)
    for key in ("normalizers", "pretokenizers"):
        if key in step:
            step[key] = [part for part in map(_bare, step[key]) if part is not None]
    if step["type"] == "Metaspace":
        step["prepend_scheme"] = "never"
    if step["type"] == "ByteLevel":
        step["add_prefix_space"] = False
    return step


def _mentions(layout: dict[str, Any], kind: str) -> bool:
    return f'"{kind}"' in json.dumps([layout.get("pre_tokenizer"), layout.get("decoder")])


def _beside(folder: Path) -> dict[str, dict[str, Any]]:
    """The other files' objects; empty ones where there is no file."""
    found: dict[str, dict[str, Any]] = {}
    for name in ("tokenizer_config.json", "generation_config.json", "config.json"):
        path = folder / name
        try:
            value = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        except (OSError, ValueError, RecursionError) as error:
            raise _damaged(path, error) from error
        found[name] = value if isinstance(value, dict) else {}
    return found


def _named(token: Any, tokens: list[str]) -> int | None:
    """The id of a token that a file names, as text or as an object with `content`."""
    name = token.get("content") if isinstance(token, dict) else token
    return tokens.index(name) if isinstance(name, str) and name in tokens else None


def _bos_id(whole: Bpe, config: dict[str, Any], tokens: list[str], control_ids: frozenset[int]) -> int | None:
    if config.get("add_bos_token") is not None:
        return _named(config.get("bos_token"), tokens) if config["add_bos_token"] else None
    first = whole.encode("", add_special_tokens=True).ids[:1]
    end = _named(config.get("eos_token"), tokens)
    return first[0] if first and first[0] in control_ids and first[0] != end else None


def _end_ids(beside: dict[str, dict[str, Any]], tokens: list[str], control_ids: frozenset[int]) -> frozenset[int]:
    """Ends that the files name, and control tokens that are ends under the names the field gives them."""
    ends = {index for index in control_ids if tokens[index] in END_NAMES}
    for name in ("generation_config.json", "config.json"):
        value = beside[name].get("eos_token_id")
        ends |= {index for index in (value if isinstance(value, list) else [value]) if isinstance(index, int)}
    named = _named(beside["tokenizer_config.json"].get("eos_token"), tokens)
    return frozenset(ends if named is None else ends | {named})
