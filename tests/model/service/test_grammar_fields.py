"""What the answer must be, as clients say it; and the same over the wire to our own server and to others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from model.api import GenerateRequest, Grammar, GrammarKind, ModelInfo, SamplingParams
from model.errors import RequestError
from model.grammars import of_choice, of_object, of_schema
from model.service.request import parse_completion
from model.wire import request_json

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
REGEX = Grammar(kind=GrammarKind.REGEX, text="[ab]+")
LARK = Grammar(kind=GrammarKind.LARK, text='start: "a"')
TAGGED = Grammar(kind=GrammarKind.LARK, text="start: call", control=(("call", "[TOOL_CALLS]"),))
READ: list[tuple[dict[str, Any], Grammar | None]] = [
    ({}, None),
    ({"response_format": {"type": "text"}}, None),
    ({"response_format": None}, None),
    ({"response_format": {"type": "json_object"}}, of_object()),
    ({"response_format": {"type": "json_object", "schema": SCHEMA}}, of_schema(SCHEMA)),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}},
        of_schema(SCHEMA),
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}},
        of_schema(SCHEMA, lenient=True),
    ),
    ({"structured_outputs": {"json": SCHEMA, "regex": None}}, of_schema(SCHEMA)),
    ({"structured_outputs": {"regex": "[ab]+"}}, REGEX),
    ({"structured_outputs": {"choice": ["yes", 'n"o']}}, of_choice(["yes", 'n"o'])),
    ({"structured_outputs": {"grammar": 'start: "a"'}}, LARK),
    ({"structured_outputs": {"json_object": True}}, of_object()),
    ({"guided_json": '{"type": "object", "properties": {"a": {"type": "integer"}}}'}, of_schema(SCHEMA)),
    ({"guided_regex": "[ab]+"}, REGEX),
    ({"guided_choice": ["yes"]}, of_choice(["yes"])),
    ({"guided_grammar": 'start: "a"'}, LARK),
]
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"response_format": "json"}, "`response_format` must be an object"),
    ({"response_format": {"type": "xml"}}, "`response_format` must have a `type`"),
    ({"response_format": {"type": "json_schema"}}, "`response_format` must be an object"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}}, "must have a `schema`"),
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": []}}}, "JSON schema that is an object"),
    ({"structured_outputs": {}}, "`structured_outputs` must have one of"),
    ({"structured_outputs": {"regex": "a", "json": {}}}, "`structured_outputs` must have one of"),
    ({"structured_outputs": {"json_object": 1}}, "must be true or false"),
    ({"guided_json": "{"}, "`guided_json` must be a JSON schema"),
    ({"guided_choice": [""]}, "`guided_choice` must be a list"),
    ({"guided_regex": ""}, "`guided_regex` must be a string"),
    ({"grammar": 'root ::= "a"'}, "GBNF"),
    ({"grammar": {"kind": "ebnf", "text": "a"}}, "`grammar` must have a `kind`"),
    ({"grammar": {"kind": "lark", "text": "a", "control": [["x"]]}}, "pairs of strings"),
    ({"guided_regex": "a", "guided_choice": ["b"]}, "exclude each other"),
]


@pytest.mark.parametrize(("fields", "expected"), READ)
def test_every_spelling_is_read(fields: dict[str, Any], expected: Grammar | None) -> None:
    assert parse_completion({"prompt": "x", **fields}).sampling.grammar == expected


@pytest.mark.parametrize(("fields", "complaint"), WRONG)
def test_wrong_fields_are_named(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_completion({"prompt": "x", **fields})
    assert complaint in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("grammar", [of_schema(SCHEMA, lenient=True), REGEX, LARK, TAGGED])
def test_our_own_server_reads_what_we_send(grammar: Grammar) -> None:
    sampling = SamplingParams(grammar=grammar, control_text=True)
    body = request_json(
        GenerateRequest(prompt="x", sampling=sampling), ModelInfo(name="m", architecture="a"), native=True
    )
    assert parse_completion(json.loads(json.dumps(body))).sampling == sampling


@pytest.mark.parametrize("grammar", [of_schema(SCHEMA), REGEX, LARK])
def test_others_get_it_as_vllm_takes_it(grammar: Grammar) -> None:
    request = GenerateRequest(prompt="x", sampling=SamplingParams(grammar=grammar))
    body = request_json(request, ModelInfo(name="m", architecture="a"), native=False)
    assert set(body["structured_outputs"]) < {"json", "regex", "grammar"}
    assert parse_completion(body).sampling.grammar == grammar
