"""The embedded model with its adapter merged in, as one GGUF file that llama.cpp reads: the same weights for a peer.

Matrices are written in float16, rounded to four bits before as the engine serves them. The base's metadata stays; the
tokens that our layout puts before the prefix and the suffix are named as llama.cpp's `/infill` looks them up, and the
layout's end token ends generation. Needs the `gguf` package.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from model.checkpoint.gguf import GgufFile
from model.checkpoint.llama import read_config, read_weights, tensor_names
from model.fim import FORMATS
from model.merge import read_adapter
from model.tokenizer import Tokenizer, read_tokenizer

_OWN = ("GGUF.", "general.architecture", "general.file_type", "general.quantization_version")
"""What the writer says itself, or what is no longer true."""


def write_merged(base: Path, adapter: Path, target: Path) -> Path:
    """Write `target`, all of it or nothing. Raises `AdapterError` for an adapter of another base."""
    partial = target.with_suffix(".partial")
    with GgufFile(base) as file:
        writer = gguf.GGUFWriter(partial, "llama")
        _copy_metadata(gguf.GGUFReader(base), writer)
        merge, family = read_adapter(adapter, base=base)
        _name_tokens(writer, read_tokenizer(file), family)
        for name, weight in _merged(file, merge):
            writer.add_tensor(name, weight)
        merge.check_complete()
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(target)
    return target


def _copy_metadata(reader: Any, writer: Any) -> None:
    for field in reader.fields.values():
        if field.name.startswith(_OWN) or field.name == "tokenizer.ggml.eos_token_id":
            continue
        kind, *inner = field.types
        writer.add_key_value(field.name, field.contents(), kind, inner[0] if inner else None)


def _name_tokens(writer: Any, tokenizer: Tokenizer, family: str) -> None:
    row = FORMATS[family]
    writer.add_uint32("tokenizer.ggml.fim_pre_token_id", tokenizer.special_id(row.prefix))
    writer.add_uint32("tokenizer.ggml.fim_suf_token_id", tokenizer.special_id(row.suffix))
    writer.add_eos_token_id(tokenizer.special_id(row.ends[0]))


def _merged(file: GgufFile, merge: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    config = read_config(file)
    stored = tensor_names(file, config)
    for name, weight in read_weights(file, config):
        merged = merge(name, weight)
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            merged = interleaved_rows(merged, config.layers[0].attention.head_dim)
        yield stored[name], merged.numpy().astype(np.float16 if merged.ndim > 1 else np.float32)


def interleaved_rows(weight: Tensor, head_dim: int) -> Tensor:
    """[H · E, D] with rows 0 … E−1 of each head to the order 0, E/2, 1, E/2 + 1, …: undoes `half_split_rows`."""
    heads = weight.view(-1, 2, head_dim // 2, weight.shape[1])
    return heads.transpose(1, 2).reshape(weight.shape)
