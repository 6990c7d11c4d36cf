"""The one door to the tools: an acting call changes the overlay, or is refused and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from completion.refactor.calls import (
    ActingCall,
    AddDocstring,
    AddTypes,
    ChangeSignature,
    Decline,
    Edit,
    ExtractFunction,
    ExtractVariable,
    Generate,
    Inline,
    Move,
    OrganizeImports,
    Rename,
    Rewrite,
)
from completion.refactor.outcome import Outcome
from completion.refactor.overlay import Overlay
from completion.refactor.plan import Fill
from completion.refactor.renamer import Renamer
from completion.refactor.verify import broken
from model.errors import RefusedError

if TYPE_CHECKING:
    from completion.refactor.tools.rewrite import Rule


def carry_out(
    call: ActingCall, overlay: Overlay, *, fill: Fill | None = None, prefer: str = "", renamer: Renamer | None = None
) -> Outcome:
    """Carry out one call, and verify what came of it; blocks, so call it on a thread.

    `fill` writes new code where the call asks for it. `prefer`: the file in focus, which wins where a name may mean
    several symbols. `renamer`: who else can rename. A refusal, and a change that would break the code, leave the
    overlay as it was.
    """
    return _verified(overlay, lambda: _dispatch(call, overlay, fill, prefer, renamer))


def apply_rule(rule: Rule, overlay: Overlay, *, under: str = "") -> Outcome:
    """Apply an ast-grep rule to a folder or file, with the same guard: refused, it changes nothing."""
    from completion.refactor.tools.rewrite import carry_out_rule

    return _verified(overlay, lambda: carry_out_rule(rule, overlay, under=under))


def _verified(overlay: Overlay, work: Callable[[], Outcome]) -> Outcome:
    mark = overlay.mark()
    try:
        outcome = work()
        lost = broken(overlay, mark) if outcome.done else []
    except RefusedError as error:
        overlay.rollback(mark)
        return Outcome(refused=f"{error.message} {error.hint}".strip())
    if lost:
        more = f" (and {len(lost) - 3} more)" if len(lost) > 3 else ""
        outcome = Outcome(refused=f"It would break the code: {'; '.join(lost[:3])}{more}.")
    if not outcome.done:
        overlay.rollback(mark)
    return outcome


def _dispatch(call: ActingCall, overlay: Overlay, fill: Fill | None, prefer: str, renamer: Renamer | None) -> Outcome:
    # Each backend is imported when it is first needed: rope and LibCST take their time.
    match call:
        case Rename():
            from completion.refactor.tools.rename import rename

            return rename(call, overlay, prefer=prefer, renamer=renamer)
        case Move():
            from completion.refactor.tools.move import move

            return move(call, overlay, prefer=prefer)
        case ExtractFunction():
            from completion.refactor.tools.extract import extract_function

            return extract_function(call, overlay)
        case ExtractVariable():
            from completion.refactor.tools.extract import extract_variable

            return extract_variable(call, overlay)
        case Inline():
            from completion.refactor.tools.inline import inline

            return inline(call, overlay, prefer=prefer)
        case ChangeSignature():
            from completion.refactor.tools.signature import change_signature

            return change_signature(call, overlay, prefer=prefer)
        case Rewrite():
            from completion.refactor.tools.rewrite import rewrite

            return rewrite(call, overlay)
        case OrganizeImports():
            from completion.refactor.tools.organize import organize_imports

            return organize_imports(call, overlay)
        case AddTypes():
            from completion.refactor.tools.annotate import add_types

            return add_types(call, overlay, prefer=prefer)
        case AddDocstring():
            from completion.refactor.tools.docstring import add_docstring

            return add_docstring(call, overlay, fill=fill, prefer=prefer)
        case Generate():
            from completion.refactor.tools.edit import generate

            return generate(call, overlay, fill=fill)
        case Edit():
            from completion.refactor.tools.edit import edit

            return edit(call, overlay)
        case Decline():
            from completion.refactor.tools.edit import decline

            return decline(call)
