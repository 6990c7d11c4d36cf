"""The veto while decoding: what the index knows not to exist is taken back, and the model goes on with its next best.

Looks at each claim once it is complete (`completion.claims`), and asks the index (`completion.context.symbols`) on the
index's thread while the engine decodes on. Off wherever a name is not resolved for certain, in strings and comments,
and for languages other than Python.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from completion.claims import Claim, read_claims, statement_start
from completion.generation import Judge, Veto
from completion.situation import Situation

if TYPE_CHECKING:
    from completion.context.library import Library
    from completion.context.symbols import Ruling
    from completion.context.workspace import Workspace

logger = logging.getLogger(__name__)


def judge_for(situation: Situation, context: Workspace | None) -> Judge | None:
    """A judge of one generation's claims; None where the index has no say."""
    if context is None or situation.language.id != "python" or situation.request.root is None:
        return None
    start = statement_start(situation.text[: situation.offset])
    head = situation.text[start : situation.offset]
    passed: set[tuple[int, str]] = set()

    async def judge(generated: str, final: bool) -> Veto | None:
        for claim in read_claims(head + generated, final=final):
            if claim.end <= len(head) or (claim.end, claim.name) in passed:
                continue
            if not _in_code(situation):
                return None
            text = situation.text[: situation.offset] + generated
            try:
                ruling = await context.ask(
                    situation.request.root, _Question(situation, text[: start + claim.end], claim)
                )
            except Exception:
                logger.exception("No veto, because of a defect")
                return None
            if ruling is not None:
                return _veto(ruling, claim, head)
            passed.add((claim.end, claim.name))
        return None

    return judge


def _in_code(situation: Situation) -> bool:
    """Does the cursor stand in code?"""
    syntax = situation.syntax()
    return syntax is None or syntax.kind_at() == "code"


class _Question:
    """Asks the index of one claim."""

    def __init__(self, situation: Situation, text: str, claim: Claim) -> None:
        self._situation = situation
        self._text = text
        self._claim = claim

    def __call__(self, library: Library) -> Ruling | None:
        from completion.context.symbols import SymbolTable

        situation = self._situation
        path = situation.request.path
        if not library.has_buffer(path):
            library.put(path, situation.text, situation.language.id)
        behind = situation.text[situation.offset :]
        return SymbolTable(library, path=path, text=self._text, behind=behind).judge(self._claim)


def _veto(ruling: Ruling, claim: Claim, head: str) -> Veto | None:
    """What to take back, in the generated text; what the user typed of a name stays as it begins."""
    at = claim.at - len(head)
    if at >= 0:
        return Veto(at, ruling.reason, ruling.instead)
    typed = head[claim.at :]
    openings = tuple(name[len(typed) :] for name in ruling.instead if name.startswith(typed) and name != typed)
    return Veto(0, ruling.reason, openings) if openings else None
