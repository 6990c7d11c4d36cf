"""`edit`, `generate` and `decline`: what remains where no tool knows the structure."""

from __future__ import annotations

from completion.language import detect
from completion.refactor.calls import Decline, Edit, Generate
from completion.refactor.outcome import Outcome
from completion.refactor.overlay import Overlay
from completion.refactor.plan import Fill, Hole
from model.errors import RefusedError


def edit(call: Edit, overlay: Overlay) -> Outcome:
    """Raises `RefusedError` where the old text is not there exactly once, or the new one is the same."""
    text = overlay.read(call.path)
    count = text.count(call.old)
    if count != 1:
        raise RefusedError(
            f"{call.path} has the text {count} times.", hint="Give a text that is there exactly once, with its blanks."
        )
    if call.old == call.new:
        raise RefusedError("The new text is the old one.", hint="Nothing is to be changed.")
    overlay.write(call.path, text.replace(call.old, call.new))
    return Outcome(changed=(call.path,))


def generate(call: Generate, overlay: Overlay, *, fill: Fill | None) -> Outcome:
    """Raises `RefusedError`: no model at hand, no such line, or nothing was written."""
    if fill is None:
        raise RefusedError("New code needs a model.", hint="Start the engine, or use edit.")
    text = overlay.read(call.path) if overlay.exists(call.path) else ""
    lines = text.split("\n")
    if call.after_line > len(lines):
        raise RefusedError(f"{call.path} has no line {call.after_line}.", hint=f"It has {len(lines)} lines.")
    before, after = lines[: call.after_line], lines[call.after_line :]
    prefix = "".join(line + "\n" for line in before)
    hole = Hole(
        prefix=prefix,
        suffix="\n".join(after),
        path=call.path,
        language=detect(path=call.path).id,
        instruction=call.instruction,
    )
    written = fill(hole).strip("\n")
    if not written.strip():
        raise RefusedError("The model wrote nothing.", hint="Say more precisely what the code is to do.")
    overlay.write(call.path, prefix + written + "\n" + hole.suffix)
    return Outcome(changed=(call.path,))


def decline(call: Decline) -> Outcome:
    """Nothing is changed; the reason is the answer."""
    return Outcome(refused=call.reason)
