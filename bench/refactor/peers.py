"""Who else could do it: rope's own commands for the same change, and the same weights writing the code freely."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from bench.refactor.wishes import Task
from completion.refactor.calls import AnyCall, ExtractFunction, ExtractVariable, Inline, OrganizeImports, Rename
from completion.refactor.layout import enclosing
from completion.refactor.overlay import Overlay
from completion.refactor.symbols import resolve
from completion.refactor.wish import Symbol
from model.api import Engine, FinishReason, GenerateRequest, SamplingParams, Segment
from model.errors import RefusedError

_MOST_LINES = 40
_FENCE = re.compile(r"```\w*\n(.*?)(?:```|\Z)", re.DOTALL)


def by_rope(task: Task) -> dict[str, str | None] | None:
    """What rope's own refactoring leaves behind; None where it has no such command, or fails."""
    from rope.base.exceptions import RopeError
    from rope.base.project import Project

    if len(task.calls) != 1:
        return None
    project = Project(str(task.root), ropefolder=None)
    try:
        changes = _rope_changes(project, task.calls[0], task)
        if changes is None:
            return None
        texts = {one.resource.path: one.new_contents for one in changes.changes if hasattr(one, "new_contents")}
        return {path: text for path, text in texts.items() if text != (task.root / path).read_text(encoding="utf-8")}
    except (RopeError, RefusedError, SyntaxError, AttributeError, RecursionError):
        return None  # rope ends in many ways
    finally:
        project.close()


def _rope_changes(project: Any, call: AnyCall, task: Task) -> Any:
    from rope.refactor.extract import ExtractMethod
    from rope.refactor.extract import ExtractVariable as RopeVariable
    from rope.refactor.importutils import ImportOrganizer
    from rope.refactor.inline import create_inline
    from rope.refactor.rename import Rename as RopeRename

    match call:
        case Rename() | Inline():
            place = resolve(Overlay(task.root), call.symbol, prefer=task.wish.view.path)
            resource = project.get_resource(place.symbol.path)
            if isinstance(call, Rename):
                return RopeRename(project, resource, place.start).get_changes(call.new_name)
            return create_inline(project, resource, place.start).get_changes()
        case ExtractFunction():
            resource = project.get_resource(call.path)
            start, end = _span(resource.read(), call.first_line, call.last_line)
            return ExtractMethod(project, resource, start, end).get_changes(call.new_name)
        case ExtractVariable():
            resource = project.get_resource(call.path)
            line, _ = _span(resource.read(), call.line, call.line)
            start = resource.read().index(call.expression, line)
            return RopeVariable(project, resource, start, start + len(call.expression)).get_changes(call.new_name)
        case OrganizeImports():
            return ImportOrganizer(project).organize_imports(project.get_resource(call.path))
    return None


def _span(text: str, first: int, last: int) -> tuple[int, int]:
    """The offsets of whole lines, without the first one's indentation and the last one's end."""
    lines = text.split("\n")
    start = sum(len(line) + 1 for line in lines[: first - 1])
    end = sum(len(line) + 1 for line in lines[:last]) - 1
    return start + len(lines[first - 1]) - len(lines[first - 1].lstrip()), end


async def by_free_editing(engine: Engine, task: Task) -> tuple[dict[str, str | None], int] | None:
    """What the model writes when it is shown the definition concerned and asked to write it anew: the texts and the
    tokens. None where the definition is too long to be shown."""
    region = _region(task)
    if region is None:
        return None
    path, first, last = region
    lines = (task.root / path).read_text(encoding="utf-8").split("\n")
    code = "\n".join(lines[first - 1 : last])
    asked = f"{task.wish.instruction}\n\n```python\n{code}\n```\n\nAnswer with the changed code alone."
    prompt = (
        Segment("<|im_start|>", special=True),
        Segment(f"user\n{asked}"),
        Segment("<|im_end|>", special=True),
        Segment("\n"),
        Segment("<|im_start|>", special=True),
        Segment("assistant\n```python\n"),
    )
    text, tokens = "", 0
    async for chunk in engine.generate(GenerateRequest(prompt=prompt, sampling=SamplingParams(max_tokens=600))):
        text += chunk.text
        if chunk.finish_reason is not None:
            assert chunk.usage is not None
            tokens = chunk.usage.completion_tokens
            if chunk.finish_reason is FinishReason.LENGTH:
                text += "\n…"
    found = _FENCE.search("```python\n" + text)
    written = (found[1] if found else text).rstrip("\n")
    whole = "\n".join([*lines[: first - 1], *written.split("\n"), *lines[last:]])
    return {path: whole}, tokens


def _region(task: Task) -> tuple[str, int, int] | None:
    """The definition that a wish is about."""
    symbol = _about(task)
    if symbol is None or symbol.last_line - symbol.first_line >= _MOST_LINES:
        return None
    return symbol.path, symbol.first_line, symbol.last_line


def _about(task: Task) -> Symbol | None:
    holder = enclosing(task.wish.view)
    call = task.calls[0]
    name = getattr(call, "symbol", None) or getattr(call, "source", None)
    if isinstance(name, str) and not name.endswith(".py"):
        try:
            return resolve(Overlay(Path(task.root)), name, prefer=task.wish.view.path).symbol
        except RefusedError:
            return holder
    return holder
