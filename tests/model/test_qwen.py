"""A model of somebody else's, whole and as published: its numbers are HF's and llama.cpp's, and it fills in code."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from completion.api import CompletionRequest
from completion.refactor.asking_chat import AskingModel
from completion.refactor.calls import ActingCall, AddDocstring, OrganizeImports, Rename
from completion.refactor.planner import Bounds, ModelPlanner
from completion.refactor.wish import Symbol, View, Wish
from completion.service import EngineCompleter
from completion.settings import CompletionSettings
from model.chat import Message
from model.checkpoint.chat import read_chat_template
from model.checkpoint.decoder import fill_decoder
from model.checkpoint.gguf import GgufFile
from model.checkpoint.gguf_model import GgufCheckpoint
from model.details import read_details
from model.kv_cache import KvCache
from model.load import Served
from model.local import LocalEngine
from model.open_model import open_model
from model.packer import Quantize
from model.tokenizer import Tokenizer
from model.tokenizer_gguf import read_gguf_tokenizer
from tests.cursor import at_cursor
from tests.model.chat_oracle import TALKS, TOOLS, WITH_TOOLS
from tests.model.qwen import qwen_file
from tests.model.test_gguf_llama_cpp import ASK

pytestmark = [pytest.mark.slow, pytest.mark.qwen]

CODE = Path(__file__).with_name("oracle.py").read_text(encoding="utf-8")
TOKENS = 200


@pytest.fixture(scope="module")
def path() -> Path:
    return qwen_file()


@pytest.fixture(scope="module")
def tokenizer(path: Path) -> Tokenizer:
    with GgufFile(path) as file:
        return read_gguf_tokenizer(file)


@pytest.fixture(scope="module")
def exact(path: Path, tokenizer: Tokenizer) -> Tensor:
    """Our logits in float32 for the beginning of CODE, [T, V]."""
    with GgufFile(path) as file, torch.no_grad():
        checkpoint = GgufCheckpoint(file)
        checkpoint.check()
        decoder = fill_decoder(checkpoint.config, checkpoint.weights())
        found: Tensor = decoder.head(decoder(torch.tensor([_ids(tokenizer)])))[0]
    return found


def _ids(tokenizer: Tokenizer) -> list[int]:
    return tokenizer.encode(CODE)[:TOKENS]


def test_what_is_shown_of_it(path: Path) -> None:
    details = read_details(path)
    assert (details.architecture, details.context_tokens) == ("qwen2", 32768)
    assert (details.fim_family, details.tool_format) == ("qwen", "hermes")
    assert details.parameters == 630_167_424  # the file has the head apart, though it is tied


def test_logits_and_tokens_are_hfs(path: Path, tokenizer: Tokenizer, exact: Tensor) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    theirs = transformers.AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
    assert theirs(CODE).input_ids == tokenizer.encode(CODE)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        str(path.parent), gguf_file=path.name, dtype=torch.float32
    )
    with torch.no_grad():
        expected = model(torch.tensor([_ids(tokenizer)])).logits[0]
    torch.testing.assert_close(exact, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    template = read_chat_template(path, control_tokens=tokenizer.control_names)
    for name, messages in TALKS.items():
        tools = TOOLS if name in WITH_TOOLS else ()
        ours = tokenizer.encode_prompt(template.render(messages, tools))
        assert ours == _hf_chat(theirs, messages, with_tools=bool(tools)), name


def _hf_chat(theirs: Any, messages: tuple[Message, ...], *, with_tools: bool) -> list[int]:
    from model.chat_json import message_json, tool_json

    found = theirs.apply_chat_template(
        [message_json(message, parsed=True) for message in messages],
        tools=[tool_json(tool) for tool in TOOLS] if with_tools else None,
        add_generation_prompt=True,
        return_dict=False,
    )
    return list(found)


@pytest.mark.parametrize(("quantize", "bound"), [(Quantize.AUTO, 0.005), (Quantize.NONE, 0.005)], ids=str)
def test_what_serves_says_nearly_the_same(
    quantize: Quantize, bound: float, path: Path, tokenizer: Tokenizer, exact: Tensor
) -> None:
    served, _ = open_model(path, dtype=torch.bfloat16, quantize=quantize)
    assert isinstance(served, Served)
    assert served.quantization == {"auto": "int4+int8", "none": "none"}[quantize]
    hidden = []
    ids, cache = _ids(tokenizer), KvCache(served.decoder.kv_shape)
    for start, stop in ((0, 160), (160, 163), *((at, at + 1) for at in range(163, TOKENS))):
        hidden.append(served.decoder.forward(ids[start:stop], cache, last_only=False))
    ours = torch.log_softmax(served.head(torch.cat(hidden)), -1)
    expected = torch.log_softmax(exact, -1)
    divergence = (expected.exp() * (expected - ours)).sum(-1)
    assert float(divergence.mean()) < bound
    assert float((ours.argmax(-1) == exact.argmax(-1)).float().mean()) > 0.95


@pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="xllamacpp is not installed")
def test_llama_cpp_finds_the_same_token_likeliest(path: Path, tokenizer: Tokenizer, exact: Tensor) -> None:
    ids, lengths = _ids(tokenizer), list(range(16, 61, 4))
    asked = json.dumps([ids[:length] for length in lengths])
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(path), asked, "1"], capture_output=True, text=True, timeout=300, check=True
    )
    rows = [json.loads(line)["choices"][0]["logprobs"]["content"][0] for line in done.stdout.splitlines()]
    same = [row["top_logprobs"][0]["id"] == int(exact[at - 1].argmax()) for row, at in zip(rows, lengths, strict=True)]
    assert sum(same) >= len(lengths) - 1  # it rounds what it multiplies to eight bits


CURSORS = {
    "count.py": (
        "def count_words(text: str) -> dict[str, int]:\n    counts = {}\n    for word in text.split():\n"
        "        counts[word] = ‸\n    return counts\n",
        "counts.get(word, 0) + 1",
    ),
    "fibonacci.py": (
        "def fibonacci(n: int) -> int:\n    if n < 2:\n        return n\n    return ‸\n",
        "fibonacci(n - 1) + fibonacci(n - 2)",
    ),
    "point.py": (
        "from dataclasses import dataclass\n\n\n@dataclass\nclass Point:\n    x: float\n    y: float\n\n"
        '    def __add__(self, other: "Point") -> "Point":\n        return ‸\n',
        "Point(self.x + other.x, self.y + other.y)",
    ),
    "settings.py": (
        "import json\n\n\ndef read_settings(path):\n    with open(path) as file:\n        return ‸\n",
        "json.load(file)",
    ),
    "gcd.go": (
        "package main\n\nfunc gcd(a, b int) int {\n\tfor b != 0 {\n\t\ta, b = ‸\n\t}\n\treturn a\n}\n",
        "b, a%b",
    ),
    "max.rs": (
        "fn max(a: i32, b: i32) -> i32 {\n    if a > b {\n        a\n    } else {\n        ‸\n    }\n}\n",
        "b",
    ),
    "area.py": ("def area(width, height):\n    return width * height‸\n\n\nprint(area(2, 3))\n", ""),
}


async def test_it_fills_in_code(path: Path) -> None:
    engine = LocalEngine.load(path, threads=1)
    settings = CompletionSettings(context=False, look_ahead=False, time_limit_ms=None)
    found: dict[str, str] = {}
    try:
        for name, (source, _) in CURSORS.items():
            text, offset = at_cursor(source)
            request = CompletionRequest(text=text, offset=offset, path=name)
            found[name] = (await EngineCompleter(engine, settings).attempt(request))[0].text
    finally:
        await engine.aclose()
    assert found == {name: expected for name, (_, expected) in CURSORS.items()}


VIEW = View(
    path="words.py",
    language="python",
    outline=(
        Symbol(name="read_lines", kind="function", path="words.py", first_line=4, last_line=8, parameters=("path",)),
        Symbol(name="count_words", kind="function", path="words.py", first_line=11, last_line=15, parameters=("text",)),
    ),
)
WISHES: dict[str, type[ActingCall]] = {
    "Rename count_words to word_counts.": Rename,
    "Add a docstring to count_words.": AddDocstring,
    "Organize the imports.": OrganizeImports,
}


async def test_it_plans_refactorings_and_ends_where_the_wish_is_granted(path: Path) -> None:
    engine = LocalEngine.load(path, threads=1)
    planner = ModelPlanner(AskingModel(engine), bounds=Bounds(seconds=300))
    try:
        plans = {
            wish: await planner.plan(Wish(instruction=wish, view=VIEW), lambda call: "There is no such symbol.")
            for wish in WISHES
        }
    finally:
        await engine.aclose()
    assert {wish: tuple(map(type, plan.calls)) for wish, plan in plans.items()} == {
        wish: (kind,) for wish, kind in WISHES.items()
    }
    assert all(plan.completion_tokens < 80 for plan in plans.values())
