"""A hole in a file put to a model that only converses: the instruction with the code in it. Knows no HTTP."""

from __future__ import annotations

from model.chat import Message, Role
from model.hosted.hole import Hole

SYSTEM = (
    "You complete code in an editor. The user shows a file with a mark where the cursor stands. Answer with exactly "
    "the text that belongs in the place of the mark, and nothing else: no explanation, no code fence, nothing that "
    "already stands before or after the mark. Keep the file's indentation and style. If the line before the mark is "
    "unfinished, go on where it ends. Prefer the shortest text that completes the thought. Answer with nothing if "
    "nothing belongs there."
)


def hole_messages(hole: Hole) -> tuple[Message, ...]:
    """The conversation whose answer fills the hole."""
    parts = [f"{one.path}:\n{one.text}\n" for one in hole.snippets]
    mark = _mark(hole)
    head = "".join(("Other places of the repository:\n\n", "\n".join(parts), "\n")) if parts else ""
    name = hole.path or "The file"
    user = f"{head}{name}, with the mark {mark}:\n{hole.prefix}{mark}{hole.suffix}"
    return Message(role=Role.SYSTEM, text=SYSTEM), Message(role=Role.USER, text=user)


def _mark(hole: Hole) -> str:
    """A mark that the code does not hold."""
    number = 0
    while True:
        mark = f"<<CURSOR{number or ''}>>"
        if mark not in hole.prefix and mark not in hole.suffix:
            return mark
        number += 1
