"""The judge of function calls: BFCL's rules, on made-up tasks."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from bench.refactor.bfcl import KINDS, Task, is_right, read_tasks, schema_of

EXPECTED = [{"area": {"base": [10], "unit": ["m", "Square Metres", ""]}}]


def task(expected: list[dict[str, Any]]) -> Task:
    return Task(kind="simple", messages=[], tools=[], expected=expected)


@pytest.mark.parametrize(
    ("arguments", "right"),
    [
        ({"base": 10}, True),
        ({"base": 10.0, "unit": "m"}, True),
        ({"base": 10, "unit": "square-metres"}, True),
        ({"base": 11}, False),
        ({"unit": "m"}, False),
        ({"base": 10, "unit": "ft"}, False),
        ({"base": 10, "height": 5}, False),
        ({"base": True}, False),
    ],
)
def test_arguments_are_judged(arguments: dict[str, Any], right: bool) -> None:
    assert is_right(task(EXPECTED), [("area", arguments)]) is right
    assert not is_right(task(EXPECTED), [("volume", arguments)])


def test_calls_may_come_in_any_order_but_all_must() -> None:
    two = task([{"play": {"artist": ["A"]}}, {"play": {"artist": ["B"]}}])
    first, second = ("play", {"artist": "a"}), ("play", {"artist": "b"})
    assert is_right(two, [second, first])
    assert not is_right(two, [first, first])
    assert not is_right(two, [first])
    assert is_right(task([]), [])
    assert not is_right(task([]), [first])


def test_nested_values() -> None:
    nested = task([{"f": {"at": [{"x": [1, 2], "tags": [["a", "b"]]}], "days": [[1, 2]]}}])
    assert is_right(nested, [("f", {"at": {"x": 2, "tags": ["A", "b"]}, "days": [1, 2]})])
    assert not is_right(nested, [("f", {"at": {"x": 3, "tags": ["a", "b"]}, "days": [1, 2]})])


def test_pythons_types_become_json_schemas() -> None:
    described = {
        "type": "dict",
        "properties": {
            "type": {"type": "float", "description": "d", "default": 1.0},
            "rows": {"type": "array", "items": {"type": "tuple"}},
            "any": {"type": "any", "optional": True},
        },
        "required": ["type"],
    }
    assert schema_of(described) == {
        "type": "object",
        "properties": {
            "type": {"type": "number", "description": "d"},
            "rows": {"type": "array", "items": {"type": "array"}},
            "any": {},
        },
        "required": ["type"],
        "additionalProperties": False,
    }


def test_tasks_are_read_evenly(tmp_path: Path) -> None:
    path = tmp_path / "data.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for kind, file in KINDS.items():
            rows = [
                {
                    "id": f"{kind}_{number}",
                    "question": [[{"role": "user", "content": f"{number}"}]],
                    "function": [{"name": "f", "description": "d", "parameters": {"type": "dict", "properties": {}}}],
                }
                for number in range(10)
            ]
            archive.writestr(f"bfcl_eval/data/BFCL_v4_{file}.json", "\n".join(map(json.dumps, rows)))
            if kind != "irrelevance":
                truths = [{"id": row["id"], "ground_truth": [{"f": {}}]} for row in rows]
                archive.writestr(
                    f"bfcl_eval/data/possible_answer/BFCL_v4_{file}.json", "\n".join(map(json.dumps, truths))
                )
    tasks = read_tasks(path, each=5)
    assert [one.messages[0]["content"] for one in tasks[:5]] == ["0", "2", "4", "6", "8"]
    assert {one.kind: bool(one.expected) for one in tasks} == {kind: kind != "irrelevance" for kind in KINDS}
