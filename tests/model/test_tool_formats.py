"""How families write calls: the grammar allows what they write, the reader finds it, however the text is cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mistral_common
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mistral_common.protocol.instruct.messages import AssistantMessage, ToolMessage, UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.protocol.instruct.tool_calls import FunctionCall
from mistral_common.protocol.instruct.tool_calls import ToolCall as TheirCall
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from tokenizers import Tokenizer as Bpe
from tokenizers import models, pre_tokenizers

from model.chat import Tool, ToolCall
from model.constraint import Constraint, Constraints
from model.tokenizer import BYTE_OF_LETTER, Tokenizer
from model.tool_formats import ToolFormat, detect
from model.tool_reader import CallReader

PLACE = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "tags": {"type": "array", "items": {}}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = (
    Tool(name="weather", description="The weather.", parameters=PLACE),
    Tool(
        name="stop", description="Stop.", parameters={"type": "object", "properties": {}, "additionalProperties": False}
    ),
)
CALLS = (("weather", {"city": "Ulm </p> {é}", "days": 2}), ("stop", {}))
FAMILIES: dict[str, tuple[tuple[str, ...], str, str, tuple[tuple[str, Any], ...]]] = {
    "hermes": (
        ("<tool_call>", "</tool_call>"),
        "<tool_call>",
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Ulm </p> {é}", "days": 2}}\n</tool_call>\n'
        '<tool_call>\n{"name": "stop", "arguments": {}}\n</tool_call>',
        CALLS,
    ),
    "qwen3-coder": (
        ("<tool_call>", "</tool_call>"),
        "<tool_call>\n<function=example>",
        "<tool_call>\n<function=weather>\n<parameter=city>\nUlm </p> {é}\n</parameter>\n<parameter=days>\n2\n"
        "</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=stop>\n</function>\n</tool_call>",
        CALLS,
    ),
    "mistral-v3": (
        ("[TOOL_CALLS]",),
        "",
        '[TOOL_CALLS][{"name": "weather", "arguments": {"city": "Ulm </p> {é}", "days": 2}}, '
        '{"name": "stop", "arguments": {}}]',
        CALLS,
    ),
    "mistral-v11": (
        ("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"),
        "[CALL_ID]",
        '[TOOL_CALLS]weather[CALL_ID]abcdefgh1[ARGS]{"city": "Ulm </p> {é}", "days": 2}'
        "[TOOL_CALLS]stop[CALL_ID]abcdefgh2[ARGS]{}",
        CALLS,
    ),
    "mistral-v13": (
        ("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"),
        "",
        '[TOOL_CALLS]weather[ARGS]{"city": "Ulm </p> {é}", "days": 2}[TOOL_CALLS]stop[ARGS]{}',
        CALLS,
    ),
    "granite-3": (
        ("<|tool_call|>",),
        "",
        '<|tool_call|>[{"name": "weather", "arguments": {"city": "Ulm </p> {é}", "days": 2}}, '
        '{"name": "stop", "arguments": {}}]',
        CALLS,
    ),
    "llama-3.1": (
        ("<|python_tag|>",),
        "",
        '{"name": "weather", "parameters": {"city": "Ulm </p> {é}", "days": 2}}',
        CALLS[:1],
    ),
    "deepseek-v3": (
        (
            "<｜tool▁calls▁begin｜>",
            "<｜tool▁call▁begin｜>",
            "<｜tool▁sep｜>",
            "<｜tool▁call▁end｜>",
            "<｜tool▁calls▁end｜>",
        ),
        "```json",
        '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{"city": "Ulm </p> {é}", '
        '"days": 2}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>stop\n```json\n{}\n```'
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        CALLS,
    ),
    "deepseek-v3.1": (
        (
            "<｜tool▁calls▁begin｜>",
            "<｜tool▁call▁begin｜>",
            "<｜tool▁sep｜>",
            "<｜tool▁call▁end｜>",
            "<｜tool▁calls▁end｜>",
        ),
        "",
        '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{"city": "Ulm </p> {é}", "days": 2}'
        "<｜tool▁call▁end｜><｜tool▁call▁begin｜>stop<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        CALLS,
    ),
    "harmony": (
        ("<|channel|>", "<|call|>", "<|constrain|>", "<|message|>"),
        "",
        '<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{"city": "Ulm </p> {é}", "days": 2}',
        CALLS[:1],
    ),
}
"""Control tokens, words of the template, an answer, and the calls in it."""


def tokenizer_of(control: tuple[str, ...]) -> Tokenizer:
    """Bytes, and these control tokens behind an end."""
    tokens = ["<end>", *control, *BYTE_OF_LETTER]
    bpe = Bpe(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    held = frozenset(range(len(control) + 1))
    return Tokenizer(tokens=tokens, bpe=bpe, control_ids=held, end_ids=frozenset({0}), bos_id=None)


def encode(tokenizer: Tokenizer, control: tuple[str, ...], text: str) -> list[int]:
    """Ids of an answer as the model writes it: control tokens where their names stand."""
    for token in control:
        before, found, after = text.partition(token)
        if found:
            return [
                *encode(tokenizer, control, before),
                tokenizer.special_id(token),
                *encode(tokenizer, control, after),
            ]
    return tokenizer.encode(text)


def follow(
    form: ToolFormat, control: tuple[str, ...], text: str, *, required: bool, parallel: bool = True
) -> Constraint:
    """The grammar after as much of the text as it allows."""
    tokenizer = tokenizer_of(control)
    grammar = form.grammar(TOOLS, required=required, parallel=parallel)
    constraint = Constraints(tokenizer, tokenizer.end_ids).start(grammar)
    ids = encode(tokenizer, control, text)
    allowed = constraint.valid(ids)
    assert allowed == len(ids), f"stops behind {tokenizer.decode(ids[:allowed])!r}"
    for token in ids:
        constraint.advance(token)
    return constraint


def found(calls: tuple[ToolCall, ...]) -> tuple[tuple[str, Any], ...]:
    return tuple((call.name, json.loads(call.arguments)) for call in calls)


def read(form: ToolFormat, pieces: list[str]) -> tuple[str, tuple[ToolCall, ...]]:
    reader = CallReader(form, TOOLS)
    text, calls = "", ()
    for piece in pieces:
        passed, more = reader.feed(piece)
        text, calls = text + passed, calls + more
    return text + reader.finish(), calls


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("required", [True, False])
def test_the_grammar_allows_what_the_family_writes(family: str, required: bool) -> None:
    control, template, answer, _ = FAMILIES[family]
    form = detect(control, template)
    assert form.name == family
    assert follow(form, control, answer, required=required).complete


@pytest.mark.parametrize("family", ["hermes", "qwen3-coder"])
@pytest.mark.parametrize("calls", [1, 2])
def test_the_line_of_the_last_call_may_end_before_the_answer_does(family: str, calls: int) -> None:
    """Qwen2.5-Coder ends so; where it could not, it wrote calls until no more were allowed."""
    control, template, answer, expected = FAMILIES[family]
    form = detect(control, template)
    end = "</tool_call>"
    answer = "".join(part + end for part in answer.split(end)[:calls])
    constraint = follow(form, control, answer + "\n", required=True)
    assert constraint.complete
    assert not constraint.ended  # another call may come
    text, found_calls = read(form, [answer + "\n"])
    assert (text.strip(), found(found_calls)) == ("", expected[:calls])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_reader_finds_the_calls(family: str) -> None:
    control, template, answer, expected = FAMILIES[family]
    text, calls = read(detect(control, template), [answer])
    assert found(calls) == expected
    assert text == ""
    assert all(len(call.call_id) == 9 for call in calls)


@pytest.mark.parametrize("family", FAMILIES)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_however_the_answer_is_cut(family: str, data: st.DataObject) -> None:
    control, template, answer, expected = FAMILIES[family]
    cuts = sorted(data.draw(st.sets(st.integers(0, len(answer)), max_size=8)))
    pieces = [answer[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    text, calls = read(detect(control, template), pieces)
    assert found(calls) == expected
    assert text == ""


@pytest.mark.parametrize("family", FAMILIES)
def test_text_is_text(family: str) -> None:
    control, template, _, _ = FAMILIES[family]
    form = detect(control, template)
    said = "Sure: a < b, [1] and {} are fine.\nBye"
    before = "<|channel|>final<|message|>" if family == "harmony" else ""
    assert follow(form, control, before + said, required=False).complete
    assert read(form, [before, said[:9], said[9:]]) == (said, ())
    with pytest.raises(AssertionError, match="stops behind"):
        follow(form, control, before + said, required=True)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in ("llama-3.1", "harmony")])
def test_text_before_calls_is_passed_on(family: str) -> None:
    control, template, answer, expected = FAMILIES[family]
    text, calls = read(detect(control, template), ["I look. ", answer[:5], answer[5:]])
    assert (text.strip(), found(calls)) == ("I look.", expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_call_that_breaks_off_is_text_after_all(family: str) -> None:
    control, template, answer, _ = FAMILIES[family]
    broken = answer[: answer.index("Ulm")]
    text, calls = read(detect(control, template), [broken])
    assert (text, calls) == (broken, ())


@pytest.mark.parametrize("family", [family for family in FAMILIES if len(FAMILIES[family][3]) > 1])
def test_one_call_at_a_time(family: str) -> None:
    control, template, answer, _ = FAMILIES[family]
    with pytest.raises(AssertionError, match="stops behind"):
        follow(detect(control, template), control, answer, required=True, parallel=False)


@pytest.mark.parametrize(
    ("wrong", "right"), [("weather", "whether"), ('"city"', '"town"'), ('"days": 2', '"days": "2"'), ("stop", "halt")]
)
def test_the_grammar_allows_no_other_tools_and_arguments(wrong: str, right: str) -> None:
    control, template, answer, _ = FAMILIES["hermes"]
    with pytest.raises(AssertionError, match="stops behind"):
        follow(detect(control, template), control, answer.replace(wrong, right), required=True)


def test_a_model_without_a_format_of_its_own_is_told_of_one() -> None:
    assert detect(()).name == "hermes"
    assert follow(detect(()), (), FAMILIES["hermes"][2], required=True).complete


def test_parameters_between_tags_are_typed_by_the_schema() -> None:
    form = detect((), "<function=f>")
    answer = (
        "<tool_call>\n<function=weather>\n<parameter=city>\n17\n</parameter>\n<parameter=tags>\n[1, true]\n</parameter>"
        "\n<parameter=days>\nmany\n</parameter>\n</function>\n</tool_call>"
    )
    assert found(read(form, [answer])[1]) == (("weather", {"city": "17", "tags": [1, True], "days": "many"}),)


DATA = Path(mistral_common.__file__).parent / "data"
VERSIONS = {
    "mistral_instruct_tokenizer_240216.model.v2": False,
    "mistral_instruct_tokenizer_240323.model.v3": True,
    "mistral_instruct_tokenizer_241114.model.v7": True,
    "tekken_240911.json": True,
}
"""Files that mistral-common ships, and whether their calls have identities."""


@pytest.mark.parametrize("file", VERSIONS)
def test_what_mistral_models_were_trained_to_write_is_read(file: str) -> None:
    calls = [
        TheirCall(id=f"abcdefgh{index}", function=FunctionCall(name=name, arguments=json.dumps(arguments)))
        for index, (name, arguments) in enumerate(CALLS)
    ]
    request = ChatCompletionRequest(
        messages=[
            UserMessage(content="hi"),
            AssistantMessage(tool_calls=calls),
            *(ToolMessage(tool_call_id=call.id, content="ok", name=call.function.name) for call in calls),
        ]
    )
    whole = MistralTokenizer.from_file(str(DATA / file)).encode_chat_completion(request).text or ""
    answer = whole[whole.index("[TOOL_CALLS]") : whole.index("</s>")].replace("▁", " ").replace("<0x0A>", "\n")
    control = ("[TOOL_CALLS]",)
    assert follow(detect(control), control, answer, required=True).complete
    text, read_calls = read(detect(control), [answer])
    assert (text, found(read_calls)) == ("", CALLS)
    if VERSIONS[file]:
        assert [call.call_id for call in read_calls] == [call.id for call in calls]
