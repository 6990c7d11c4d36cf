"""The GGUF reader against the `gguf` package, and against damage of every kind."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from model.checkpoint.dequantize import FORMATS
from model.checkpoint.gguf import GgufFile
from model.errors import CheckpointError, UnknownModelError
from tests.model.oracle import dequantized
from tests.model.tiny import tokens, write_tiny


@pytest.mark.parametrize("number", FORMATS, ids=lambda number: FORMATS[number].name)
def test_every_format_decodes_as_the_gguf_package_does(number: int) -> None:
    layout = FORMATS[number]
    raw = np.random.default_rng(number).integers(0, 256, (64, layout.size_bytes), dtype=np.uint8)
    ours = layout.decode(torch.from_numpy(raw))
    with np.errstate(all="ignore"):  # random bytes hold infinities and NaNs as scales: they must agree too
        if layout.name == "F64":  # the package has no opinion on it
            theirs = raw.view(np.float64).astype(np.float32)
        else:
            plain = {"F32": np.float32, "F16": np.float16}.get(layout.name)
            theirs = gguf.dequantize(raw if plain is None else raw.view(plain), gguf.GGMLQuantizationType(number))
    assert ours.shape == (64, layout.weights)
    torch.testing.assert_close(ours, torch.from_numpy(theirs.copy()), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_whole_files_read_as_the_gguf_package_reads_them(name: str, tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", quantization=gguf.GGMLQuantizationType[name])
    with GgufFile(path) as file:
        expected = dequantized(path)
        assert list(file.tensors) == list(expected)
        for tensor_name, values in expected.items():
            torch.testing.assert_close(file.read(tensor_name), values, rtol=0, atol=0)


def test_metadata_reads_as_the_gguf_package_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    expected = {
        "u8": (writer.add_uint8, 200),
        "i8": (writer.add_int8, -3),
        "u16": (writer.add_uint16, 65535),
        "i16": (writer.add_int16, -30000),
        "u32": (writer.add_uint32, 4_000_000_000),
        "i32": (writer.add_int32, -5),
        "u64": (writer.add_uint64, 2**63),
        "i64": (writer.add_int64, -(2**60)),
        "f32": (writer.add_float32, 0.5),
        "f64": (writer.add_float64, 0.1),
        "yes": (writer.add_bool, True),
        "text": (writer.add_string, "Grüße 🎉"),
        "texts": (writer.add_array, ["a", "", "ß"]),
        "numbers": (writer.add_array, [1, 2, 3]),
        "flags": (writer.add_array, [True, False]),
    }
    for key, (add, value) in expected.items():
        add(key, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with GgufFile(path) as file:
        assert {key: file.metadata[key] for key in expected} == {key: value for key, (_, value) in expected.items()}


def test_tensors_outlive_the_file_and_never_write_to_it(tiny_path: Path) -> None:
    before = tiny_path.read_bytes()
    with GgufFile(tiny_path) as file:
        tensor = file.read("output_norm.weight")
    tensor.zero_()
    assert tiny_path.read_bytes() == before


def _patched(tiny_path: Path, tmp_path: Path, position: int, replacement: bytes) -> Path:
    raw = bytearray(tiny_path.read_bytes())
    raw[position : position + len(replacement)] = replacement
    path = tmp_path / "damaged.gguf"
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    ("position", "replacement", "message"),
    [
        (0, b"PK\x03\x04", "not a GGUF file"),
        (4, struct.pack("<I", 1), "GGUF version 1"),
        (4, struct.pack(">I", 3), "big-endian"),
        (16, struct.pack("<Q", 2**62), "damaged|truncated"),
        (24, struct.pack("<Q", 2**62), "truncated"),
        (32, b"\xff\xfe\xfd", "not UTF-8"),
    ],
)
def test_a_damaged_head_is_refused(
    tiny_path: Path, tmp_path: Path, position: int, replacement: bytes, message: str
) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        GgufFile(_patched(tiny_path, tmp_path, position, replacement))
    assert caught.value.hint


def test_a_truncated_file_is_refused_wherever_it_ends(tiny_path: Path, tmp_path: Path) -> None:
    whole = tiny_path.read_bytes()
    path = tmp_path / "short.gguf"
    for length in [*range(1, 60), *range(60, len(whole), 9973), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError) as caught:
            GgufFile(path)
        assert caught.value.hint


def test_truncation_names_the_tensor(tiny_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.gguf"
    path.write_bytes(tiny_path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="output_norm"):
        GgufFile(path)


def test_an_unsupported_number_format_names_tensor_and_formats(tiny_path: Path, tmp_path: Path) -> None:
    raw = tiny_path.read_bytes()
    at = raw.index(b"token_embd.weight") + len(b"token_embd.weight") + 4 + 16
    with pytest.raises(CheckpointError, match=r"token_embd.weight.*number format 99") as caught:
        GgufFile(_patched(tiny_path, tmp_path, at, struct.pack("<I", 99)))
    assert "Q4_1" in caught.value.hint


def test_empty_missing_and_folder_are_told_apart(tmp_path: Path) -> None:
    empty = tmp_path / "empty.gguf"
    empty.touch()
    with pytest.raises(CheckpointError, match="empty"):
        GgufFile(empty)
    for path in (tmp_path / "none.gguf", tmp_path):
        with pytest.raises(UnknownModelError):
            GgufFile(path)


def test_reading_an_absent_tensor_names_it(tiny_file: GgufFile) -> None:
    with pytest.raises(CheckpointError, match=r"no_such\.weight"):
        tiny_file.read("no_such.weight")


def test_the_vocabulary_is_read_whole(tiny_file: GgufFile) -> None:
    assert tiny_file.metadata["tokenizer.ggml.tokens"] == tokens()
