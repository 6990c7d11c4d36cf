"""Schemas and calls come from one source and agree."""

from __future__ import annotations

import json

import pytest

from completion.refactor.calls import TOOLS, ChangeKind, ChangeSignature, ParameterChange, Rename
from completion.refactor.schema import arguments_of, decode, name_of, parameters, tool
from model.errors import UsageError


@pytest.mark.parametrize("name", TOOLS)
def test_every_tool_has_a_closed_schema_and_a_description(name: str) -> None:
    told = tool(TOOLS[name])
    assert told.name == name
    assert told.description
    schema = parameters(TOOLS[name])
    assert schema["additionalProperties"] is False
    assert schema["required"]
    assert "$ref" not in json.dumps(schema)
    assert "name" not in schema["properties"]


def test_a_call_survives_its_wire_form() -> None:
    change = ParameterChange(change=ChangeKind.ADD, parameter="limit", default="10")
    call = ChangeSignature(symbol="Parser.parse", changes=(change,))
    assert arguments_of(call) == {
        "symbol": "Parser.parse",
        "changes": [{"change": "add", "parameter": "limit", "default": "10"}],
    }
    assert decode(name_of(call), json.dumps(arguments_of(call))) == call


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("delete_everything", "{}", "no tool"),
        ("rename", '{"symbol": "a"}', "new_name"),
        ("rename", '{"symbol": "a", "new_name": "2b"}', "regex.*new_name"),
        ("rename", '{"symbol": "a", "new_name": "b", "force": true}', "force"),
        ("rename", "[1]", "object"),
        ("rename", '{"symbol": ', "wrong"),
        ("rename", '{"name": 3, "symbol": "a", "new_name": "b", "path": "x"}', "path"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_field(name: str, arguments: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        decode(name, arguments)


def test_identifiers_may_be_of_any_script() -> None:
    assert decode("rename", {"symbol": "größe", "new_name": "länge"}) == Rename(symbol="größe", new_name="länge")
