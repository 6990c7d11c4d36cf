"""JSON Schemas of the calls, and calls from JSON. Both come from the types in `calls`; nothing is written twice."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from completion.refactor.calls import TOOLS, AnyCall, Call
from model.chat import Tool
from model.errors import UsageError


def name_of(call: Call | type[Call]) -> str:
    """The wire name of a call or of its tool."""
    return str((call if isinstance(call, type) else type(call)).__struct_config__.tag)


def arguments_of(call: Call) -> dict[str, Any]:
    """The arguments of a call as plain JSON data, without those left out."""
    data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(call))
    del data["name"]
    return data


def parameters(tool: type[Call]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a tool's arguments, with every reference resolved in place."""
    (outer,), components = msgspec.json.schema_components([tool], ref_template="{name}")
    schema = _resolve(outer, components)
    del schema["properties"]["name"]
    schema["required"] = [name for name in schema["required"] if name != "name"]
    del schema["title"], schema["description"]
    return dict(schema)


def tool(kind: type[Call]) -> Tool:
    """A tool as a model that follows instructions is told of it."""
    return Tool(name=name_of(kind), description=inspect.cleandoc(kind.__doc__ or ""), parameters=parameters(kind))


def decode(name: str, arguments: str | Mapping[str, Any]) -> AnyCall:
    """The call that a model wrote. `arguments`: JSON text of an object, or the object.

    Raises `UsageError` for a tool that does not exist and for arguments that do not fit it, with the field's path.
    """
    kind = TOOLS.get(name)
    if kind is None:
        raise UsageError(f"There is no tool named {name!r}.", hint=f"Tools: {', '.join(TOOLS)}.")
    try:
        data = msgspec.json.decode(arguments) if isinstance(arguments, str) else dict(arguments)
        if not isinstance(data, dict):
            raise msgspec.ValidationError("Expected an object")
        return cast(AnyCall, msgspec.convert({**data, "name": name}, kind))
    except msgspec.MsgspecError as error:
        raise UsageError(
            f"The arguments of {name} are wrong: {error}.", hint="They must fit the tool's JSON Schema."
        ) from error


def _resolve(schema: Any, components: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_resolve(one, components) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _resolve(components[schema["$ref"]], components)
    return {key: _resolve(value, components) for key, value in schema.items()}
