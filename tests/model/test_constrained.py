"""Generation under a grammar: whatever random weights would like to say, the text is of the grammar."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.api import Chunk, FinishReason, GenerateRequest, Grammar, GrammarKind, SamplingParams
from model.checkpoint.gguf import GgufFile
from model.errors import RequestError
from model.head import ExactHead
from model.load import Served, load_served
from model.local import LocalEngine
from model.packer import Quantize
from model.tokenizer import read_tokenizer
from tests.model.test_local import start
from tests.model.test_runner import Q4_1, play
from tests.model.tiny import write_tiny

PROMPT = "def the_int(the):\n    return the"
SCALARS: list[dict[str, Any]] = [
    {"type": "boolean"},
    {"type": "integer", "minimum": -5, "maximum": 999},
    {"type": "string", "maxLength": 6},
    {"type": "string", "pattern": "^[a-z]{1,4}$"},
    {"enum": ["the", "then", 3, None]},
    {"const": "in the int"},
    {"type": ["null", "boolean"]},
]
SCHEMAS = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.one_of(
        inner.map(lambda item: {"type": "array", "items": item, "maxItems": 3}),
        st.dictionaries(st.sampled_from(["a", "the", "in b"]), inner, min_size=1).map(
            lambda fields: {
                "type": "object",
                "properties": fields,
                "required": sorted(fields)[:1],
                "additionalProperties": False,
            }
        ),
        st.lists(inner, min_size=1, max_size=2).map(lambda options: {"anyOf": options}),
    ),
    max_leaves=3,
)


def schema_grammar(schema: dict[str, Any]) -> Grammar:
    return Grammar(kind=GrammarKind.JSON_SCHEMA, text=json.dumps(schema))


def regex(text: str) -> Grammar:
    return Grammar(kind=GrammarKind.REGEX, text=text)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("constrained") / "m.gguf", quantization=Q4_1)


@pytest.fixture
async def engine(packed: Path) -> AsyncIterator[LocalEngine]:
    engine = start(packed, quantize=Quantize.INT8)
    yield engine
    await engine.aclose()


async def say(engine: LocalEngine, grammar: Grammar, **sampling: Any) -> tuple[str, Chunk]:
    params = SamplingParams(**{"max_tokens": 80, "grammar": grammar, **sampling})
    chunks = [chunk async for chunk in engine.generate(GenerateRequest(prompt=PROMPT, sampling=params))]
    return "".join(chunk.text for chunk in chunks), chunks[-1]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schema=SCHEMAS, temperature=st.sampled_from([0.0, 1.0, 3.0]), seed=st.integers(0, 99))
async def test_what_random_weights_say_fits_the_schema(
    engine: LocalEngine, schema: dict[str, Any], temperature: float, seed: int
) -> None:
    text, last = await say(engine, schema_grammar(schema), temperature=temperature, seed=seed)
    if last.finish_reason is FinishReason.STOP:
        jsonschema.validate(json.loads(text), schema)
    else:
        assert last.finish_reason is FinishReason.LENGTH
        assert last.usage is not None
        assert last.usage.completion_tokens == 80


@pytest.mark.parametrize("sampling", [{}, {"temperature": 1.0, "seed": 7}, {"ignore_eos": True}, {"logprobs": 2}])
async def test_it_ends_where_the_grammar_does(engine: LocalEngine, sampling: dict[str, Any]) -> None:
    text, last = await say(engine, regex("(the|in) (int|re){2,3}!"), **sampling)
    assert re.fullmatch("(the|in) (int|re){2,3}!", text)
    assert last.finish_reason is FinishReason.STOP


async def test_requests_side_by_side_keep_to_their_own_grammars(engine: LocalEngine) -> None:
    patterns = ["[ab]{12}", "[cd]{12}", "(the){9}", "[0-9]{9}"]
    answers = await asyncio.gather(*(say(engine, regex(pattern)) for pattern in patterns))
    assert all(re.fullmatch(pattern, text) for pattern, (text, _) in zip(patterns, answers, strict=True))


async def test_what_is_forced_is_not_computed(engine: LocalEngine) -> None:
    fixed = "return the the the int the int the int" * 3
    steps = engine.steps
    text, last = await say(engine, regex(f"{fixed}[ab]"))
    assert text[:-1] == fixed
    assert last.usage is not None
    assert engine.steps - steps < last.usage.completion_tokens / 4


async def test_a_wrong_grammar_is_refused_and_the_engine_goes_on(engine: LocalEngine) -> None:
    with pytest.raises(RequestError, match="cannot be followed"):
        await say(engine, schema_grammar({"type": "objct"}))
    assert (await say(engine, regex("ab|cd")))[0] in ("ab", "cd")


async def test_a_grammar_that_grows_too_complex_fails_alone(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stuck(self: object) -> bytes:
        raise RequestError("The grammar cannot be followed any further: too complex.", hint="Use a simpler grammar.")

    with monkeypatch.context() as patched:
        patched.setattr("model.constraint.Constraint.allowed", stuck)
        with pytest.raises(RequestError, match="any further"):
            await say(engine, regex("[ab]+"))
    assert (await say(engine, regex("ab|cd")))[0] in ("ab", "cd")


async def test_cancelling_leaves_a_cache_that_is_true(engine: LocalEngine, packed: Path) -> None:
    grammar = regex("([a-z]{2} the int ){4}")
    stream = engine.generate(GenerateRequest(prompt=PROMPT, sampling=SamplingParams(max_tokens=80, grammar=grammar)))
    await anext(stream)
    await anext(stream)
    await stream.aclose()
    fresh = start(packed, quantize=Quantize.INT8)
    assert (await say(engine, grammar))[0] == (await say(fresh, grammar))[0]
    await fresh.aclose()


async def test_control_tokens_are_text_where_that_is_wanted(engine: LocalEngine) -> None:
    grammar = Grammar(kind=GrammarKind.LARK, text='start: call "x"', control=(("call", "<file_sep>"),))
    assert (await say(engine, grammar, control_text=True))[0] == "<file_sep>x"
    assert (await say(engine, grammar))[0] == "x"


GRAMMARS = st.sampled_from(
    [
        regex("(the int |return ){1,9}"),
        regex(r"[a-z ]*(\n    return the int)+"),
        schema_grammar({"type": "array", "items": {"enum": ["the", "int", "then"]}}),
        schema_grammar({"type": "object", "additionalProperties": {"type": "boolean"}, "maxProperties": 3}),
    ]
)


@pytest.fixture(scope="module")
def loaded(packed: Path) -> Any:
    with GgufFile(packed) as file:
        return load_served(file, dtype=torch.bfloat16, quantize=Quantize.INT8), read_tokenizer(file)


@settings(max_examples=8, deadline=None)
@given(grammar=GRAMMARS, logprobs=st.booleans(), repeats=st.integers(1, 5))
def test_drafts_and_forced_tokens_change_nothing(loaded: Any, grammar: Grammar, logprobs: bool, repeats: int) -> None:
    _, tokenizer = loaded
    prompt = tokenizer.encode('the int return ["the", "int"]\n    return the int' * repeats)
    sampling = SamplingParams(max_tokens=30, grammar=grammar, logprobs=0 if logprobs else None)
    with_drafts, _, _ = play(loaded, prompt, sampling, drafts=True)
    without, runner, _ = play(loaded, prompt, sampling, drafts=False)
    assert with_drafts == without
    stepwise, _, _ = play(loaded, prompt, SamplingParams(max_tokens=30, grammar=grammar, logprobs=0), drafts=False)
    assert without.text == stepwise.text
    assert runner.drafted == 0


@pytest.mark.parametrize("kind", [Quantize.INT8, Quantize.INT4])
def test_the_screened_head_chooses_as_the_exact_one_does(packed: Path, kind: Quantize) -> None:
    with GgufFile(packed) as file:
        served, tokenizer = load_served(file, dtype=torch.float32, quantize=kind), read_tokenizer(file)
    weight = served.head.weight
    exact = Served(
        decoder=served.decoder,
        head=ExactHead(weight),
        config=served.config,
        parameters=served.parameters,
        quantization=served.quantization,
        rows_agree=served.rows_agree,
    )
    prompt = tokenizer.encode(PROMPT)
    for pattern in (r"\{\"[a-z]{3,9}\": [0-9]{2,5}\}", "(the|int|in|re){6}", "[^a-z]{12}"):
        sampling = SamplingParams(max_tokens=60, grammar=regex(pattern))
        screened, _, _ = play((served, tokenizer), prompt, sampling, drafts=False)
        assert screened.text == play((exact, tokenizer), prompt, sampling, drafts=False)[0].text
        assert re.fullmatch(pattern, screened.text)
