"""What `tersely model show` says of folders and files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import gguf
import mistral_common
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from model.architectures.mamba2 import CONTEXT_TOKENS as MAMBA_CONTEXT
from model.details import read_details
from model.errors import CheckpointError
from model.on_device import weigh
from model.open_model import open_config
from tersely.cli import app
from tests.model.gguf_format import architecture_name, write_gguf
from tests.model.mistral_format import write_mistral, write_mistral_mamba
from tests.model.test_gguf_model import NAMES, gguf_case
from tests.model.test_open_model import write_tokenizer
from tests.model.tiny import write_tiny
from tests.model.tiny_hf import CASES, CONTEXT, Case, count_parameters, hf_model, write_hf

LAYOUTS: dict[str, tuple[str, ...]] = {
    "hf": tuple(CASES),
    "gguf": tuple(NAMES),
    "mistral": (
        "mistral-7b-v0.1",
        "mistral-nemo",
        "ministral-8b",
        "ministral-3",
        "mistral-small-4",
        "mixtral",
        "mixtral-window",
    ),
    "mistral pickled": ("mistral-nemo", "mixtral"),
    "mistral mamba": ("mamba-2",),
}
"""Models that keep a copy for long prompts beside packed integers."""


def _write(layout: str, case: str, folder: Path) -> tuple[Path, Path]:
    """The same weights as HF has them, and in a layout; both with a tokenizer."""
    named = gguf_case(case) if layout == "gguf" else CASES[case]
    if layout == "mistral mamba":
        named = Case(
            named.config, named.settings | {"hidden_size": 64, "num_heads": 2, "head_dim": 64, "state_size": 128}
        )
    source = write_tokenizer(write_hf(folder / "tiny-1.5", named))
    if layout == "hf":
        return source, source
    if layout == "gguf":
        return source, write_gguf(source, folder / "tiny-1.5.gguf")
    target = folder / "other" / "tiny-1.5"
    target.parent.mkdir()
    if layout == "mistral mamba":
        write_mistral_mamba(source, target)
    else:
        write_mistral(source, target, pickled=layout == "mistral pickled")
    shutil.copy(source / "tokenizer.json", target)
    return source, target


@pytest.mark.parametrize(("layout", "case"), [(layout, case) for layout, cases in LAYOUTS.items() for case in cases])
def test_the_command_describes_every_tiny_checkpoint(layout: str, case: str, tmp_path: Path) -> None:
    source, path = _write(layout, case, tmp_path)
    said = CliRunner().invoke(app, ["model", "show", str(path), "--json"], catch_exceptions=False)
    assert said.exit_code == 0
    facts = json.loads(said.stdout)
    config = json.loads((source / "config.json").read_text())
    assert facts["name"] == "tiny-1.5"
    assert facts["architecture"] == (architecture_name(config) if layout == "gguf" else config["model_type"])
    assert facts["parameters"] == count_parameters(hf_model(source))
    assert facts["context_tokens"] == (MAMBA_CONTEXT if case == "mamba-2" and layout != "hf" else CONTEXT)
    assert facts["number_formats"] == ["float32" if layout == "mistral pickled" else "F32"]
    assert facts["fim_family"] == "starcoder"
    assert facts["tool_format"] == "none: no chat template"
    assert "problem" not in facts
    memory = {name: row["bytes"] for name, row in facts["memory"].items()}
    assert all(row["fits"] for row in facts["memory"].values())
    assert memory["bfloat16"] * 2 == memory["float32"] == facts["parameters"] * 4
    assert memory["int4"] < memory["int8"] == memory["fp8"] < memory["bfloat16"]


def test_mistrals_format_without_a_tokenizer_is_described(tmp_path: Path) -> None:
    folder = write_mistral(write_hf(tmp_path / "hf", CASES["mixtral"]), tmp_path / "mistral")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Tiny\n")
    details = read_details(folder)
    assert (details.architecture, details.license) == ("mixtral", "apache-2.0")
    assert details.fim_family == "unknown: no tokenizer"
    assert details.size_bytes == sum(file.stat().st_size for file in folder.iterdir())


@pytest.mark.parametrize(
    ("shipped", "name", "family", "tools"),
    [
        ("tekken_240911.json", "tekken.json", "mistral", "mistral-v3"),
        ("mistral_instruct_tokenizer_240323.model.v3", "tokenizer.model.v3", "mistral", "mistral-v3"),
        ("tokenizer.model.v1", "tokenizer.model", "none", "none: told of tools in words"),
    ],
)
def test_mistrals_tokenizers_are_found(shipped: str, name: str, family: str, tools: str, tmp_path: Path) -> None:
    folder = write_mistral(write_hf(tmp_path / "hf", CASES["mixtral"]), tmp_path / "mistral")
    shutil.copy(Path(mistral_common.__file__).parent / "data" / shipped, folder / name)
    details = read_details(folder)
    assert details.fim_family == family
    assert details.tool_format == tools


def test_a_file_may_be_packed(tiny_path: Path) -> None:
    memory = read_details(tiny_path).memory_bytes
    assert memory["int4"] < memory["int8"] == memory["fp8"] < memory["bfloat16"] < memory["float32"]


def test_a_file_of_another_kind_is_described_with_what_is_in_the_way(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "rwkv7")
    writer.add_context_length(64)
    writer.add_tensor("token_embd.weight", np.zeros((8, 8), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    details = read_details(tmp_path / "m.gguf")
    assert (details.architecture, details.parameters, details.context_tokens) == ("rwkv7", 64, 64)
    assert details.memory_bytes == {}
    assert "rwkv7" in details.problem


def test_what_does_not_fit_is_said_format_by_format(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = read_details(tiny_path).memory_bytes
    free = SimpleNamespace(available=memory["int8"])
    monkeypatch.setattr("tersely.commands.models.psutil.virtual_memory", lambda: free)
    said = CliRunner().invoke(app, ["model", "show", str(tiny_path), "--json"], catch_exceptions=False)
    fits = {name: row["fits"] for name, row in json.loads(said.stdout)["memory"].items()}
    assert fits == {"fp8": True, "bfloat16": False, "int4": True, "int8": True, "float32": False}
    words = CliRunner().invoke(app, ["model", "show", str(tiny_path)], catch_exceptions=False).stdout
    assert words.count("does not fit in the") == 2


def test_what_a_gpu_has_room_for_is_said_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that holds a mixture in eight bits, and in sixteen all but its experts."""
    path = write_tokenizer(write_hf(tmp_path / "tiny", CASES["mixtral"]))
    config = open_config(path)
    in_eight = weigh(config, "int8", torch.bfloat16).whole_bytes
    assert in_eight < weigh(config, "none", torch.bfloat16).whole_bytes
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (in_eight, 10**9))
    said = json.loads(CliRunner().invoke(app, ["model", "show", str(path), "--json"], catch_exceptions=False).stdout)
    assert said["gpu_memory_available_bytes"] == said["gpu_memory"]["int8"]["bytes"] == in_eight
    rows = {name: (row["fits"], row["experts_in_turn"]) for name, row in said["gpu_memory"].items()}
    assert rows == {"int4": (True, False), "int8": (True, False), "fp8": (True, False), "bfloat16": (False, True)}
    words = CliRunner().invoke(app, ["model", "show", str(path)], catch_exceptions=False).stdout
    assert words.count("fits in its") == 3
    assert words.count("experts take turns in its") == 1
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (100, 10**9))
    words = CliRunner().invoke(app, ["model", "show", str(path)], catch_exceptions=False).stdout
    assert words.count("does not fit in its") == 4


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_without_a_gpu_nothing_is_said_of_one(tiny_path: Path) -> None:
    assert "GPU" not in CliRunner().invoke(app, ["model", "show", str(tiny_path)], catch_exceptions=False).stdout


def test_a_file_that_lacks_a_tensor_says_which(tmp_path: Path) -> None:
    details = read_details(write_tiny(tmp_path / "m.gguf", drop="blk.1.ffn_up.weight"))
    assert "missing blk.1.ffn_up.weight" in details.problem
    assert (details.architecture, details.context_tokens, details.memory_bytes) == ("llama", 256, {})


TEMPLATES = {
    "hermes": "{% if tools %}<tool_call>{{ tools }}{% endif %}{{ messages }}",
    "qwen3-coder": "{% if tools %}<tool_call><function={{ tools }}>{% endif %}{{ messages }}",
    "none: told of tools in words": "{{ messages }}",
}


@pytest.mark.parametrize(("expected", "template"), TEMPLATES.items())
def test_the_tool_format_follows_from_the_template(expected: str, template: str, tmp_path: Path) -> None:
    folder = write_tokenizer(write_hf(tmp_path / "tiny", CASES["llama-2"]))
    (folder / "chat_template.jinja").write_text(template)
    assert read_details(folder).tool_format == expected


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
    assert (facts["architecture"], facts["tool_format"]) == ("mixtral", "none: no chat template")
    assert facts["memory"]["float32"] == {"bytes": facts["parameters"] * 4, "fits": True}
