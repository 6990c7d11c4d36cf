"""What `tersely model show` says of folders and files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import mistral_common
import pytest

from model.details import read_details
from model.errors import CheckpointError
from tests.model.mistral_format import write_mistral
from tests.model.test_open_model import write_tokenizer
from tests.model.tiny_hf import CASES, CONTEXT, hf_model, write_hf


@pytest.mark.parametrize("case", CASES)
def test_every_tiny_checkpoint_is_described(case: str, tmp_path: Path) -> None:
    folder = write_tokenizer(write_hf(tmp_path / "tiny-1.5", CASES[case]))
    details = read_details(folder)
    assert details.name == "tiny-1.5"
    assert details.architecture == json.loads((folder / "config.json").read_text())["model_type"]
    assert details.parameters == hf_model(folder).num_parameters()
    assert details.context_tokens == CONTEXT
    assert details.number_formats == ("F32",)
    assert details.fim_family == "starcoder"
    assert details.memory_bytes["bfloat16"] * 2 == details.memory_bytes["float32"] == details.parameters * 4
    assert ("int8" in details.memory_bytes) == (
        case in ("llama-2", "llama-3.1", "llama-linear", "smollm2", "mistral-nemo")
    )


def test_mistrals_format_without_a_tokenizer_is_described(tmp_path: Path) -> None:
    folder = write_mistral(write_hf(tmp_path / "hf", CASES["mixtral"]), tmp_path / "mistral")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Tiny\n")
    details = read_details(folder)
    assert (details.architecture, details.license) == ("mixtral", "apache-2.0")
    assert details.fim_family == "unknown: no tokenizer"
    assert details.size_bytes == sum(file.stat().st_size for file in folder.iterdir())


@pytest.mark.parametrize(
    ("shipped", "name", "family"),
    [
        ("tekken_240911.json", "tekken.json", "mistral"),
        ("mistral_instruct_tokenizer_240323.model.v3", "tokenizer.model.v3", "mistral"),
        ("tokenizer.model.v1", "tokenizer.model", "none"),
    ],
)
def test_mistrals_tokenizers_are_found(shipped: str, name: str, family: str, tmp_path: Path) -> None:
    folder = write_mistral(write_hf(tmp_path / "hf", CASES["mixtral"]), tmp_path / "mistral")
    shutil.copy(Path(mistral_common.__file__).parent / "data" / shipped, folder / name)
    assert read_details(folder).fim_family == family


def test_a_file_may_be_packed(tiny_path: Path) -> None:
    memory = read_details(tiny_path).memory_bytes
    assert memory["int8"] == memory["bfloat16"] * 1.5
    assert memory["int4"] < memory["int8"] < memory["float32"]


def test_a_damaged_folder_is_refused(tmp_path: Path) -> None:
    folder = write_hf(tmp_path / "tiny", CASES["llama-2"])
    (folder / "model.safetensors").write_bytes(b"short")
    with pytest.raises(CheckpointError):
        read_details(folder)


def test_the_command_prints_memory_and_whether_it_fits(tmp_path: Path) -> None:
    folder = write_tokenizer(write_hf(tmp_path / "tiny", CASES["mixtral"]))
    command = [sys.executable, "-m", "tersely", "model", "show", str(folder)]
    words = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "memory as bfloat16" in words
    assert "fits in the" in words
    facts = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    assert facts["architecture"] == "mixtral"
    assert facts["memory"]["float32"] == {"bytes": facts["parameters"] * 4, "fits": True}
