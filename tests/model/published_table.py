"""Published models as rows of settings, and files of their true sizes that hold no numbers, only holes.

`published_configs.json` has three tables: HF's `config.json`, Mistral's `params.json`, and the metadata of GGUF files.
A row's settings are those `like` another's with its own on top, less those `without`; keys that change no computation
(token ids, how weights were first drawn) are left out. `from` says where they were seen: `file` in somebody's copy of
the published file, `dump` in what programs print that read it, or in parts, `table` in another project's table of
models, `card` in what its authors write, `converter` in the program that writes such files. `says` is what is known of
the model from elsewhere, `beside` what its files hold that nothing is computed with. A list may be written as
{"repeat": [a, b], "times": n}, or as {"runs": [[a, n], [b, m]]}.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import pytest

TABLE = Path(__file__).with_name("published_configs.json")
Tensors = Mapping[str, tuple[str, tuple[int, ...]]]
"""By name: safetensors' word for the type, and the shape."""
_BYTES = {"BF16": 2, "F32": 4, "F8_E4M3": 1, "U8": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`whole`: the row as it stands in the table."""

    name: str
    config: dict[str, Any]
    says: dict[str, Any]
    whole: dict[str, Any]


@cache
def rows(kind: str) -> dict[str, Row]:
    """One of the tables, by name."""
    found: dict[str, Row] = {}
    for row in json.loads(TABLE.read_text(encoding="utf-8"))[kind]:
        before = found[row["like"]].config if "like" in row else {}
        kept = {key: value for key, value in before.items() if key not in row.get("without", ())}
        config = kept | _expanded(row.get("config", {}))
        found[row["name"]] = Row(name=row["name"], config=config, says=row.get("says", {}), whole=row)
    return found


def _expanded(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "runs" in value:
        return [item for item, times in value["runs"] for _ in range(times)]
    if "repeat" in value:
        return value["repeat"] * value["times"]
    return {key: _expanded(item) for key, item in value.items()}


def write_holes(path: Path, tensors: Tensors) -> Path:
    """A safetensors file of which the header alone lies on the disk."""
    header, start = {}, 0
    for name, (kind, shape) in tensors.items():
        end = start + prod(shape) * _BYTES[kind]
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    stretch(path, path.stat().st_size + start)
    return path


def stretch(path: Path, size_bytes: int) -> None:
    """Make a file that long without writing to it. Skips the test where a disk would be filled for it."""
    before = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(min(size_bytes, before + 2**24))
    blocks = getattr(path.stat(), "st_blocks", None)  # Windows does not say
    if blocks is None or blocks * 512 > before + 2**23:
        pytest.skip("this file system has no files with holes")
    with path.open("r+b") as file:
        file.truncate(size_bytes)


def remove_files(folder: Path) -> None:
    """So that nobody copies what seems to be terabytes."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()


def write_folder(folder: Path, config: Mapping[str, Any], tensors: Tensors, *, names: tuple[str, str]) -> Path:
    """What was published but its numbers: `names` of the settings' file, and of the weights'."""
    folder.mkdir()
    (folder / names[0]).write_text(json.dumps(config))
    write_holes(folder / names[1], tensors)
    return folder


def mistral_tensors(params: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The tensors of Mistral's layout that these settings go with, written down from its own code."""
    hidden, heads, head_dim = params["dim"], params["n_heads"], params["head_dim"]
    keys = params.get("n_kv_heads", heads) * head_dim
    moe = params.get("moe") or {}
    found = {"tok_embeddings.weight": (params["vocab_size"], hidden), "norm.weight": (hidden,)}
    for index in range(params["n_layers"]):
        part: dict[str, tuple[int, ...]] = {"attention_norm": (hidden,), "ffn_norm": (hidden,)}
        if "kv_lora_rank" in params:
            part |= _latent(params, hidden, heads)
        else:
            sizes = {"wq": (heads * head_dim, hidden), "wk": (keys, hidden), "wv": (keys, hidden)}
            part |= {f"attention.{name}": size for name, size in sizes.items()}
            part["attention.wo"] = (hidden, heads * head_dim)
        if not moe or index < moe.get("first_k_dense_replace", 0):
            part |= _block("feed_forward", hidden, params["hidden_dim"])
        else:
            prefix = "" if "expert_hidden_dim" in moe else "feed_forward."
            wide = moe.get("expert_hidden_dim", params["hidden_dim"])
            part[f"{prefix}gate"] = (moe["num_experts"], hidden)
            for expert in range(moe["num_experts"]):
                part |= _block(f"{prefix}experts.{expert}", hidden, wide)
            if shared := moe.get("num_shared_experts", 0):
                part |= _block("shared_experts", hidden, shared * wide)
        found |= {f"layers.{index}.{name}.weight": shape for name, shape in part.items()}
    return found | ({} if params.get("tied_embeddings") else {"output.weight": (params["vocab_size"], hidden)})


def _block(prefix: str, hidden: int, wide: int) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}.w1": (wide, hidden), f"{prefix}.w2": (hidden, wide), f"{prefix}.w3": (wide, hidden)}


def _latent(params: Mapping[str, Any], hidden: int, heads: int) -> dict[str, tuple[int, ...]]:
    queries, keys = params["q_lora_rank"], params["kv_lora_rank"]
    plain, turning, value = params["qk_nope_head_dim"], params["qk_rope_head_dim"], params["v_head_dim"]
    sizes: dict[str, tuple[int, ...]] = {
        "wq_a": (queries, hidden),
        "q_a_norm": (queries,),
        "wq_b": (heads * (plain + turning), queries),
        "wkv_a_with_mqa": (keys + turning, hidden),
        "kv_a_norm": (keys,),
        "wkv_b": (heads * (plain + value), keys),
        "wo": (hidden, heads * value),
    }
    return {f"attention.{name}": size for name, size in sizes.items()}
