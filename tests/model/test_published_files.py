"""Chat templates and vocabularies that families of models publish, out of the sdist of llama.cpp's Python package.

Templates: transformers is the oracle. Vocabularies: llama.cpp's own lists of texts and ids. None of it is our file.
"""

from __future__ import annotations

import json
import re
from itertools import takewhile
from pathlib import Path

import pytest

from model import fim
from model.chat import ToolCall
from model.chat_template import ChatTemplate
from model.checkpoint.chat import read_chat_template
from model.checkpoint.gguf import GgufFile
from model.errors import RequestError
from model.tokenizer import Tokenizer
from model.tokenizer_folder import read_folder_tokenizer
from model.tokenizer_gguf import read_gguf_tokenizer
from model.tool_formats import detect
from model.tool_reader import CallReader
from tests.model.chat_oracle import CALLED_ONE, ONE, TALKS, TOOLS, USER, WITH_TOOLS, transformers_ids, write_tokenizer
from tests.model.chat_templates import Family
from tests.sdist import from_sdist

pytestmark = pytest.mark.slow

_CONTROL = re.compile(r"<\|[^|<>\s]+\|>|<｜[^｜\s]+｜>|\[/?[A-Z_]+\]|</?s>|</?tool_call>|<(?:start|end)_of_turn>")
_BETWEEN_TEXTS = "\n__ggml_vocab_test__\n"
FORMATS = {
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": "hermes",
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": "hermes",
    "Qwen-QwQ-32B": "hermes",
    "Qwen-Qwen2.5-7B-Instruct": "hermes",
    "Qwen-Qwen3-0.6B": "hermes",
    "ibm-granite-granite-4.0": "hermes",
    "ibm-granite-granite-4.1": "hermes",
    "Qwen3-Coder": "qwen3-coder",
    "Qwen3.5-4B": "qwen3-coder",
    "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": "qwen3-coder",
    "mistralai-Mistral-Nemo-Instruct-2407": "mistral-v3",
    "Mistral-Small-3.2-24B-Instruct-2506": "mistral-v11",
    "mistralai-Ministral-3-14B-Reasoning-2512": "mistral-v13",
    "unsloth-mistral-Devstral-Small-2507": "mistral-v13",
    "meta-llama-Llama-3.1-8B-Instruct": "llama-3.1",
    "meta-llama-Llama-3.3-70B-Instruct": "llama-3.1",
}
"""The published template, and how its family writes calls."""
VOCABULARIES = {
    "deepseek-coder": "deepseek",
    "deepseek-llm": "none",
    "gpt-2": "none",
    "llama-bpe": "none",
    "llama-spm": "none",
    "phi-3": "none",
    "qwen2": "none",
    "refact": "granite",
    "starcoder": "starcoder2",
}
"""The vocabulary, and its FIM format. Qwen2's is older than Qwen2.5-Coder's control tokens; Refact's has Granite's."""


@pytest.fixture(scope="module")
def files() -> Path:
    return from_sdist(
        "llama_cpp_python",
        "0.3.36",
        wanted=rf"/models/templates/[^/]+\.jinja$|/ggml-vocab-(?:{'|'.join(VOCABULARIES)})\.gguf[^/]*$",
    )


def _family(path: Path) -> Family:
    source = path.read_text(encoding="utf-8")
    tokens = tuple(dict.fromkeys([*_CONTROL.findall(source), "<s>", "</s>"]))
    return Family(source=source, tokens=tokens, bos="<s>", eos="</s>")


@pytest.mark.parametrize("talk", TALKS)
def test_every_published_template_gives_transformers_token_ids(talk: str, files: Path, tmp_path: Path) -> None:
    wrong, equal, refused = [], 0, 0
    for path in sorted(files.glob("*.jinja")):
        family = _family(path)
        tools = TOOLS if talk in WITH_TOOLS else ()
        if tools and "tools" not in family.source:  # it is told of them in words
            continue
        folder = tmp_path / path.stem
        folder.mkdir()
        tokenizer = read_folder_tokenizer(write_tokenizer(folder, family))
        expected = transformers_ids(folder, family, TALKS[talk], tools)
        template = read_chat_template(folder, control_tokens=tokenizer.control_names)
        if expected is None:
            with pytest.raises(RequestError, match="refuses this conversation"):
                template.render(TALKS[talk], tools)
            refused += 1
        else:
            equal += 1
            found = tokenizer.encode_prompt(template.render(TALKS[talk], tools))
            if found != expected:
                wrong.append(path.stem)
    assert not wrong
    assert equal >= 50
    assert refused <= 8


@pytest.mark.parametrize("name", FORMATS)
def test_a_call_as_a_published_template_writes_it_is_read_back(name: str, files: Path) -> None:
    family = _family(files / f"{name}.jinja")
    template = ChatTemplate(family.source, control_tokens=family.tokens, bos=family.bos, eos=family.eos)
    asked, told = (
        "".join(part.text for part in template.render(talk, TOOLS)) for talk in ((USER,), (USER, CALLED_ONE))
    )
    form = detect(family.tokens, family.source)
    assert form.name == FORMATS[name]
    reader = CallReader(form, TOOLS)
    _, calls = reader.feed(_behind(asked, told))
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [_content(call) for call in ONE]


def _behind(asked: str, told: str) -> str:
    """What the template wrote for the call: behind what both have, from the last token that is whole."""
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(asked, told, strict=False)))
    starts = [match.start() for match in _CONTROL.finditer(told) if match.end() > same]
    return told[min([same, *starts]) :]


def _content(call: ToolCall) -> tuple[str, object]:
    return call.name, json.loads(call.arguments)


def _tokenizer(files: Path, name: str) -> Tokenizer:
    with GgufFile(files / f"ggml-vocab-{name}.gguf") as file:
        return read_gguf_tokenizer(file)


@pytest.mark.parametrize("name", VOCABULARIES)
def test_texts_become_the_ids_that_llama_cpp_publishes(name: str, files: Path) -> None:
    tokenizer = _tokenizer(files, name)
    listed = files / f"ggml-vocab-{name}.gguf"
    texts = listed.with_suffix(".gguf.inp").read_bytes().decode().split(_BETWEEN_TEXTS)
    rows = listed.with_suffix(".gguf.out").read_text(encoding="utf-8").split("\n")
    assert len(texts) == len(rows) > 40
    for text, row in zip(texts, rows, strict=True):
        ids = tokenizer.encode(text)
        assert ids == [int(number) for number in row.split()], text
        assert tokenizer.decode(tokenizer.encode(text, bare=True)) == text


@pytest.mark.parametrize("name", VOCABULARIES)
def test_the_fim_format_is_found_in_real_vocabularies(name: str, files: Path) -> None:
    tokenizer = _tokenizer(files, name)
    family = fim.detect(tokenizer.vocabulary)
    assert family == VOCABULARIES[name]
    if family != fim.NONE:
        prompt = fim.render(family, prefix="def f(a):\n    return ", suffix="\n\nf(1)\n", path="a.py")
        ids = tokenizer.encode_prompt(prompt)
        row = fim.FORMATS[family]
        assert [ids.count(tokenizer.vocabulary[token]) for token in row.tokens] == [1] * len(row.tokens)
